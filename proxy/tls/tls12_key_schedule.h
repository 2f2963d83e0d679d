// The key schedule of TLS 1.2 (RFC 5246, sections 5, 6.3, 7.4.9 and 8.1) with the extended master secret (RFC 7627) and
// AES-GCM (RFC 5288). Pure. Where a call answers false nothing of it may be used.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "cache/crypto/hkdf.h"
#include "proxy/tls/record_cipher.h"

namespace sallyport {

// Wiped at its end.
struct Tls12MasterSecret : std::array<std::uint8_t, 48> {
  Tls12MasterSecret() : array{} {}
  Tls12MasterSecret(const Tls12MasterSecret&) = delete;
  Tls12MasterSecret& operator=(const Tls12MasterSecret&) = delete;
  ~Tls12MasterSecret();
};

// What a handshake comes to: the PRF's hash, the secret, and who began how.
struct Tls12Agreement {
  using Random = std::array<std::uint8_t, 32>;
  const KdfHash* hash = nullptr;
  Tls12MasterSecret master;
  Random client_random{}, server_random{};
};

// RFC 7627, section 4; `session_hash`: of all messages up to ClientKeyExchange.
bool derive_master(const KdfHash& hash, std::span<const std::uint8_t> premaster,
                   std::span<const std::uint8_t> session_hash, Tls12MasterSecret& master);

// Both directions' keys of `key_bytes`, with their sequences and explicit nonces at zero.
bool derive_record_keys(const Tls12Agreement& agreement, std::size_t key_bytes, RecordKey& client, RecordKey& server);

// RFC 5246, section 7.4.9.
using VerifyData = std::array<std::uint8_t, 12>;
inline constexpr std::string_view kClientFinished = "client finished", kServerFinished = "server finished";
bool derive_verify_data(const Tls12Agreement& agreement, std::string_view label,
                        std::span<const std::uint8_t> transcript_hash, VerifyData& data);

}  // namespace sallyport
