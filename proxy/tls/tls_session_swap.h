// Exchanges the SSL_SESSION of a live connection. OpenSSL keeps in it what only a resumption would need, above all
// the peer's parsed certificate: kilobytes for as long as the connection lives (README.md). One
// belongs to each TlsContext and lives as long as any connection made from it. Any thread. Included by the tls_*
// files alone.
#pragma once

#include <openssl/ssl.h>

#include <map>
#include <mutex>
#include <string>

namespace sallyport {

class SessionSwap {
 public:
  explicit SessionSwap(std::string session_context) : session_context_(std::move(session_context)) {}
  ~SessionSwap();
  SessionSwap(const SessionSwap&) = delete;
  SessionSwap& operator=(const SessionSwap&) = delete;

  // Puts `session` in the place of the connection's own. False: it has kept its own, as where OpenSSL does not allow it
  // (openssl_exchanges_sessions()).
  bool put(SSL* ssl, SSL_SESSION* session);
  // After the handshake: puts one that all connections of this version and cipher share in its place. Harmless
  // where it cannot be done; what the client negotiated for its records (RFC 6066, section 4) stays in force.
  void lighten(SSL* ssl);

 private:
  // A context without anything, of the connection's own version.
  SSL_CTX* bare(const SSL* ssl);
  SSL_SESSION* shared(const SSL* ssl);

  const std::string session_context_;
  std::once_flag made_[2];
  SSL_CTX* bare_[2] = {nullptr, nullptr};
  std::mutex mutex_;
  std::map<std::pair<int, const SSL_CIPHER*>, SSL_SESSION*> shared_;
};

}  // namespace sallyport
