// TLS tickets (DESIGN.md 3.10 and section 4): stateless, small, without the certificate, sealed with keys the
// shards share. Installs OpenSSL's callbacks on a context and does what they ask. Included by tls_context.cc
// and tls_engine.cc alone.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <string>

#include "proxy/ticket_keys.h"
#include "proxy/tls_session_swap.h"

namespace sallyport {

// Of one TlsContext, shared by all its SSL_CTX; lives as long as any connection made from them.
class Resumption {
 public:
  Resumption(const TicketKeys& keys, std::string listener, SessionSwap& swap)
      : keys_(keys), listener_(std::move(listener)), swap_(swap) {}
  Resumption(const Resumption&) = delete;
  Resumption& operator=(const Resumption&) = delete;

  void install(SSL_CTX* context);
  const std::string& listener() const { return listener_; }

 private:
  static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                        int encrypt);
  static int generate(SSL* ssl, void* self);
  static int decrypted(SSL* ssl, SSL_SESSION* session, const unsigned char* name, std::size_t length, int status,
                       void* self);
  // Puts `body` into a copy of the connection's session that has no certificate, and that copy in its place.
  bool replace_session(SSL* ssl, const std::string& body, std::int64_t lifetime);

  const TicketKeys& keys_;
  const std::string listener_;
  SessionSwap& swap_;
};

}  // namespace sallyport
