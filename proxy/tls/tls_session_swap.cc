#include "proxy/tls/tls_session_swap.h"

#include <openssl/err.h>

#include <memory>

#include "cache/crypto/openssl_insides.h"

namespace sallyport {

SessionSwap::~SessionSwap() {
  for (SSL_CTX* context : bare_) SSL_CTX_free(context);
  for (const auto& [kind, session] : shared_) SSL_SESSION_free(session);
}

SSL_CTX* SessionSwap::bare(const SSL* ssl) {
  const std::size_t which = SSL_version(ssl) >= TLS1_3_VERSION ? 1 : 0;
  std::call_once(made_[which], [&] {
    SSL_CTX* context = SSL_CTX_new(SSL_get_ssl_method(ssl));
    if (context == nullptr) return;
    SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(session_context_.data()),
                                   static_cast<unsigned>(session_context_.size()));
    bare_[which] = context;
  });
  return bare_[which];
}

// SSL_set_session() resets a live connection whose method is not its context's: so for the moment of the call it
// gets a context of its own version (proxy/tls/README.md).
bool SessionSwap::put(SSL* ssl, SSL_SESSION* session) {
  if (!openssl_exchanges_sessions()) return false;
  SSL_CTX* own = SSL_get_SSL_CTX(ssl);
  SSL_CTX* other = bare(ssl);
  if (other == nullptr || SSL_CTX_up_ref(own) != 1) return false;
  bool done = SSL_set_SSL_CTX(ssl, other) != nullptr && SSL_set_session(ssl, session) == 1;
  done = SSL_set_SSL_CTX(ssl, own) != nullptr && done;
  SSL_CTX_free(own);
  return done;
}

SSL_SESSION* SessionSwap::shared(const SSL* ssl) {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  const int version = SSL_version(ssl);
  const std::lock_guard lock(mutex_);
  SSL_SESSION*& found = shared_[{version, cipher}];
  if (found != nullptr) return found;
  SSL_SESSION* made = SSL_SESSION_new();
  if (made == nullptr) return nullptr;
  if (SSL_SESSION_set_protocol_version(made, version) != 1 || SSL_SESSION_set_cipher(made, cipher) != 1) {
    SSL_SESSION_free(made);
    return nullptr;
  }
  return found = made;
}

void SessionSwap::lighten(SSL* ssl) {
  if (!openssl_exchanges_sessions()) return;
  // OpenSSL reads the record size that was negotiated from the session, at every record.
  const SSL_SESSION* session = SSL_get_session(ssl);
  if (session == nullptr || SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED) return;
  SSL_SESSION* light = shared(ssl);
  if (light != nullptr) put(ssl, light);
  ERR_clear_error();
}

}  // namespace sallyport
