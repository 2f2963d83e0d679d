// What our TLS 1.3 handshake presents on one listener: for each server name the certificates, as messages that are
// ready to send, and their keys. Immutable once built; shared by every shard; owned by its TlsContext.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/certificate.h"
#include "cache/openssl_ptr.h"
#include "proxy/client_hello.h"
#include "proxy/server_name.h"
#include "proxy/tls13_crypto.h"
#include "proxy/tls13_messages.h"

namespace sallyport {

struct Tls13Credential {
  TranscriptSigner signer;
  Message certificate;  // the whole message
};

// The certificates of one server name: one, or one of each kind of key.
class Tls13Credentials {
 public:
  // `sent`: the leaf and what is sent behind it. Where the key is neither P-256 nor RSA, nothing is offered any more:
  // OpenSSL chooses among all there are.
  void add(std::span<const Certificate> sent, const KeyPtr& key);
  // As OpenSSL does, by our order: ECDSA, then RSA. Null where the client can verify neither.
  const Tls13Credential* choose(const PlainHello& hello) const;

 private:
  std::vector<Tls13Credential> offered_;
  bool complete_ = true;
};

struct Tls13Server {
  bool mutual = false;
  const ServerNames* names = nullptr;         // of the same owner
  std::vector<Tls13Credentials> credentials;  // the default first, then by what `names` finds

  const Tls13Credential* choose(const PlainHello& hello) const;
};

}  // namespace sallyport
