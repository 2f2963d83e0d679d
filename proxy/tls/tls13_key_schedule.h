// The key schedule of one TLS 1.3 handshake with SHA-256 (RFC 8446, sections 4.4.1 and 7.1): the transcript and the
// secrets that come of it. Where a call answers false nothing of it may be used. One thread's; all secrets are wiped at
// its end.
#pragma once

#include <cstdint>
#include <span>

#include "cache/crypto/hkdf.h"
#include "cache/crypto/sha2.h"
#include "proxy/tls/secret256.h"

namespace sallyport {

using TranscriptHash = Sha256::Hash;

class Tls13KeySchedule {
 public:
  // A handshake message, header included, in the order of the handshake.
  void add(std::span<const std::uint8_t> message) { transcript_.add(message); }
  TranscriptHash transcript() const { return transcript_.of_all(); }  // of all that was added

  // First of all, where a ticket with this secret is honoured.
  bool begin_with(const Secret256& ticket_secret);
  // After the ServerHello; `shared`: what the key exchange came to, in one or two parts, one behind the other.
  bool derive_handshake(std::span<const std::uint8_t> shared, std::span<const std::uint8_t> and_behind = {});
  // After the server's Finished.
  bool derive_application();
  // After the client's Finished: the secret of the ticket with this nonce (section 4.6.1).
  bool derive_ticket(std::span<const std::uint8_t> nonce, Secret256& secret) const;

  const Secret256& client_handshake() const { return client_handshake_; }
  const Secret256& server_handshake() const { return server_handshake_; }
  const Secret256& client_application() const { return client_application_; }
  const Secret256& server_application() const { return server_application_; }

 private:
  Sha256 transcript_;
  Secret256 early_;  // derived from the early secret of a ticket
  bool resumes_ = false;
  Secret256 handshake_, master_;
  Secret256 client_handshake_, server_handshake_, client_application_, server_application_;
};

// The binder (section 4.2.11.2) of a ticket with this secret; `hash`: of the ClientHello up to its binders. All three
// are as long as a hash of SHA-256 or of SHA-384.
bool binder_mac(std::span<const std::uint8_t> ticket_secret, std::span<const std::uint8_t> hash,
                std::span<std::uint8_t> mac);

// The verify_data of a Finished message (section 4.4.4), with the sender's handshake secret.
bool finished_mac(const Secret256& secret, const TranscriptHash& hash, TranscriptHash& mac);

}  // namespace sallyport
