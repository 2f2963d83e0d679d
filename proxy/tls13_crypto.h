// What our TLS 1.3 handshake asks of OpenSSL's libcrypto: the key exchange, our signature and the client's, and the
// client's certificates read. All of it in the light context (cache/light_parsing.h). Any thread; everything answers
// false, or nothing, where it fails, and leaves OpenSSL's error queue empty.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/openssl_ptr.h"
#include "proxy/client_hello.h"
#include "proxy/tls13_key_schedule.h"

namespace sallyport {

// Signature schemes: RFC 8446, section 4.2.3.
inline constexpr std::uint16_t kEcdsaP256Sha256 = 0x0403, kRsaPssRsaeSha256 = 0x0804;

// Those a client's certificate may have been signed with, and, but for the RSASSA-PKCS1-v1_5 ones, its
// CertificateVerify may use: what OpenSSL asks for at security level 2, in its order.
inline constexpr std::array<std::uint16_t, 14> kAcceptedSchemes = {
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601};

// A key of our own for this handshake alone and what comes of it and the peer's share: RFC 8446, section 7.4. False
// for a share that is no point of the curve, or of small order.
struct KeyExchange {
  std::vector<std::uint8_t> share;  // ours
  Tls13Secret shared;
};
bool exchange_keys(Group group, std::span<const std::uint8_t> peer, KeyExchange& made);

// Who a CertificateVerify is from: section 4.4.3.
inline constexpr std::string_view kServerContext = "TLS 1.3, server CertificateVerify";
inline constexpr std::string_view kClientContext = "TLS 1.3, client CertificateVerify";

// `scheme` is one of the two above and fits the key.
bool sign_transcript(EVP_PKEY* key, std::uint16_t scheme, const TranscriptHash& hash,
                     std::vector<std::uint8_t>& signature);

enum class Proof : std::uint8_t { Good, Bad, WrongScheme };  // WrongScheme: not accepted, or not of this kind of key
Proof check_transcript(EVP_PKEY* key, std::uint16_t scheme, const TranscriptHash& hash,
                       std::span<const std::uint8_t> signature);

// A peer's certificate and its key. `keyless`: the key is not in the certificate itself.
struct ReadCertificate {
  X509Ptr x509;
  KeyPtr key;
  bool keyless = false;
};

// Exactly one certificate with a key that can be read, or null.
X509Ptr read_certificate(std::span<const std::uint8_t> der);
// The same for a leaf; half as dear where its key is on P-256.
ReadCertificate read_leaf(std::span<const std::uint8_t> der);

}  // namespace sallyport
