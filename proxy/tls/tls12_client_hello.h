// A ClientHello that asks for what nearly every device without TLS 1.3 asks for. Pure; never fails: whatever is not
// what is looked for is OpenSSL's to judge.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/tls/client_hello.h"

namespace sallyport {

inline constexpr std::uint16_t kEcdheEcdsaAes128 = 0xC02B, kEcdheRsaAes128 = 0xC02F;  // RFC 5289, section 3.2

// A full TLS 1.2 handshake (RFC 5246, section 7.4.1.2) with ECDHE over X25519 or P-256 (RFC 8422), AES-128-GCM
// (RFC 5289), the extended master secret (RFC 7627) and secure renegotiation (RFC 5746). The spans point into the
// message.
struct PlainHello12 {
  std::array<std::uint8_t, 32> random{};
  Group group = Group::X25519;                      // X25519 where there are both
  bool p256 = false;                                // among the groups: what a P-256 certificate needs
  bool ecdsa = false, rsa = false;                  // ECDHE_ECDSA_ and ECDHE_RSA_WITH_AES_128_GCM_SHA256 are offered
  std::span<const std::uint8_t> signature_schemes;  // two bytes each
  std::optional<std::string_view> server_name;      // not checked to be one
  bool point_formats = false;                       // RFC 8422, section 5.1.2: it sent its own
  bool takes_tickets = false;                       // RFC 5077, section 3.2; it has none yet

  bool offers(std::uint16_t signature_scheme) const;
};

// Nothing for a message that asks for more or other: another version or cipher first, a ticket that comes back, a
// fallback (RFC 7507), a fragment length, other signatures in certificates, or anything that is there twice.
std::optional<PlainHello12> plain_hello12(std::span<const std::uint8_t> message);

}  // namespace sallyport
