// What our own handshakes present on one listener: for each server name the certificates, as messages that are ready to
// send, and their keys. Immutable once built; shared by every shard; owned by its TlsContext.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/certificate.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/handshake_crypto.h"
#include "proxy/tls/handshake_message.h"
#include "proxy/tls/server_name.h"
#include "proxy/tls/tls12_client_hello.h"

namespace sallyport {

struct ServerCredential {
  TranscriptSigner signer;
  Message certificate, certificate12;  // the whole message, of TLS 1.3 and TLS 1.2
};

// The certificates of one server name: one, or one of each kind of key.
class ServerCredentials {
 public:
  // `sent`: the leaf and what is sent behind it. Where the key is neither P-256 nor RSA, nothing is offered any more:
  // OpenSSL chooses among all there are.
  void add(std::span<const Certificate> sent, const KeyPtr& key);
  // As OpenSSL does, by our order: ECDSA, then RSA. Null where the client can verify neither, or OpenSSL might take
  // another signature scheme.
  const ServerCredential* choose(const PlainHello& hello) const;
  const ServerCredential* choose(const PlainHello12& hello) const;

 private:
  std::vector<ServerCredential> offered_;
  bool complete_ = true;
};

struct HandshakeServer {
  bool mutual = false;
  bool tls12 = false;                          // not TLS 1.3 alone
  const ServerNames* names = nullptr;          // of the same owner
  std::vector<ServerCredentials> credentials;  // the default first, then by what `names` finds

  template <class AnyHello>
  const ServerCredential* choose(const AnyHello& hello) const {
    const auto found = hello.server_name ? names->find(*hello.server_name) : std::nullopt;
    const std::size_t which = found.value_or(0);
    return which < credentials.size() ? credentials[which].choose(hello) : nullptr;
  }
};

}  // namespace sallyport
