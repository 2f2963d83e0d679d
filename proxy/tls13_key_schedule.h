// The key schedule of one TLS 1.3 handshake with SHA-256 and without a PSK (RFC 8446, sections 4.4.1 and 7.1): the
// transcript and the secrets that come of it. Every call answers false where OpenSSL's digest failed; then nothing of
// it may be used. One thread's; all secrets are wiped at its end.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "cache/hkdf.h"
#include "cache/openssl_ptr.h"

namespace sallyport {

inline constexpr std::size_t kSha256Bytes = 32;
using TranscriptHash = std::array<std::uint8_t, kSha256Bytes>;

struct Tls13Secret : std::array<std::uint8_t, kSha256Bytes> {
  Tls13Secret() : array{} {}
  Tls13Secret(const Tls13Secret&) = delete;
  Tls13Secret& operator=(const Tls13Secret&) = delete;
  ~Tls13Secret();
};

class Tls13KeySchedule {
 public:
  bool begin();

  // A handshake message, header included, in the order of the handshake.
  bool add(std::span<const std::uint8_t> message);
  bool transcript(TranscriptHash& hash) const;  // of all that was added

  // After the ServerHello; `shared`: what the key exchange came to.
  bool derive_handshake(std::span<const std::uint8_t> shared);
  // After the server's Finished.
  bool derive_application();
  // After the client's Finished: the secret of the ticket with this nonce (section 4.6.1).
  bool derive_ticket(std::span<const std::uint8_t> nonce, Tls13Secret& secret) const;

  const Tls13Secret& client_handshake() const { return client_handshake_; }
  const Tls13Secret& server_handshake() const { return server_handshake_; }
  const Tls13Secret& client_application() const { return client_application_; }
  const Tls13Secret& server_application() const { return server_application_; }

 private:
  using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;

  MdContextPtr transcript_;
  Tls13Secret handshake_, master_;
  Tls13Secret client_handshake_, server_handshake_, client_application_, server_application_;
};

// The verify_data of a Finished message (section 4.4.4), with the sender's handshake secret.
bool finished_mac(const Tls13Secret& secret, const TranscriptHash& hash, TranscriptHash& mac);

}  // namespace sallyport
