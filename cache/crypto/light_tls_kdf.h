// The key schedules of TLS for the light context, over OpenSSL's SHA-256 and SHA-384: TLS13-KDF (EVP_KDF-TLS13_KDF(7);
// RFC 8446, section 7.1) and TLS1-PRF (EVP_KDF-TLS1_PRF(7); RFC 5246, section 5). A handshake asks nineteen times, or
// four, and OpenSSL 3.0's own spend most of each on copying parameters and contexts and on looking up the digest and
// HMAC again. The whole of what libssl asks for is here and nothing else: every parameter comes in the derivation's
// call, and TLS13-KDF has the modes EXTRACT_ONLY and EXPAND_ONLY. Beside them is what TlsRecords goes on with: the
// traffic secrets of a handshake.
#pragma once

#include <openssl/core.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sallyport {

// For a provider's table of OSSL_OP_KDF. Any thread. Both fail, as a KDF does, for another digest, a missing secret
// and one longer than a block of the digest; TLS13-KDF for an unknown mode, for a label or context longer than the
// wire has room for, and for an output longer than one digest.
OSSL_ALGORITHM tls13_kdf();
OSSL_ALGORITHM tls1_prf();

// What TLS 1.3 protects application data with: client_ and server_application_traffic_secret_N of RFC 8446,
// section 7.1. Wiped at its end.
struct TrafficSecrets {
  static constexpr std::size_t kMostBytes = 48;  // of SHA-384
  std::array<std::uint8_t, kMostBytes> client{}, server{};
  std::size_t client_bytes = 0, server_bytes = 0;  // 0: not derived yet

  TrafficSecrets() = default;
  TrafficSecrets(const TrafficSecrets&) = delete;
  TrafficSecrets& operator=(const TrafficSecrets&) = delete;
  ~TrafficSecrets();
};

// While it exists, what handshakes on this thread derive is copied to `into`: OpenSSL itself gives its traffic secrets
// to a key log alone, as text. One at a time on a thread.
class TrafficSecretsTap {
 public:
  explicit TrafficSecretsTap(TrafficSecrets& into);
  ~TrafficSecretsTap();
  TrafficSecretsTap(const TrafficSecretsTap&) = delete;
  TrafficSecretsTap& operator=(const TrafficSecretsTap&) = delete;
};

}  // namespace sallyport
