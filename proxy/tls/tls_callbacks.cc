#include "proxy/tls/tls_callbacks.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "cache/crypto/openssl_ptr.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/client_rules.h"
#include "proxy/tls/handshake_crypto.h"
#include "proxy/tls/hello_fields.h"
#include "proxy/tls/ticket.h"
#include "proxy/tls/tls_engine.h"

namespace sallyport {

namespace {

TlsEngine* engine_of(BIO* bio) {
  return static_cast<TlsEngine*>(BIO_get_data(bio));
}

const BIO_METHOD* bio_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sallyport");
    if (made == nullptr) return made;
    BIO_meth_set_read(made, &TlsCallbacks::bio_read);
    BIO_meth_set_write(made, &TlsCallbacks::bio_write);
    BIO_meth_set_ctrl(made, &TlsCallbacks::bio_control);
    return made;
  }();
  return method;
}

// The X509_V_ERR_* that OpenSSL maps to an alert. A code that its table does not know yields certificate_unknown.
int verify_error_for(Alert alert) {
  switch (alert) {
    case Alert::CertificateRevoked: return X509_V_ERR_CERT_REVOKED;
    case Alert::CertificateExpired: return X509_V_ERR_CERT_HAS_EXPIRED;
    case Alert::UnknownCa: return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    default: return X509_V_ERR_EXCLUDED_VIOLATION;
  }
}

}  // namespace

BIO* TlsCallbacks::make_bio(void* engine) {
  const BIO_METHOD* method = bio_method();
  BIO* bio = method == nullptr ? nullptr : BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, engine);
  BIO_set_init(bio, 1);
  return bio;
}

int TlsCallbacks::bio_read(BIO* bio, char* into, int size) {
  TlsEngine& engine = *engine_of(bio);
  BIO_clear_retry_flags(bio);
  const std::size_t n = engine.input_.read({reinterpret_cast<std::uint8_t*>(into), static_cast<std::size_t>(size)});
  if (n > 0) return static_cast<int>(n);
  if (engine.input_.ended()) return 0;
  BIO_set_retry_read(bio);
  return -1;
}

int TlsCallbacks::bio_write(BIO* bio, const char* from, int size) {
  engine_of(bio)->output_.append({reinterpret_cast<const std::uint8_t*>(from), static_cast<std::size_t>(size)});
  return size;
}

long TlsCallbacks::bio_control(BIO* bio, int command, long, void*) {
  const TlsEngine& engine = *engine_of(bio);
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return engine.input_.ended() && engine.input_.empty() ? 1 : 0;
    default: return 0;
  }
}

namespace {

std::optional<BrokenRule> rule_broken_by(std::span<const std::uint8_t> message, bool tls13) {
  switch (message.front()) {
    case SSL3_MT_CLIENT_HELLO: return rule_broken_by_hello(message);
    case SSL3_MT_CLIENT_KEY_EXCHANGE: return rule_broken_by_key_exchange(message);
    case SSL3_MT_CERTIFICATE: return tls13 ? rule_broken_by_certificate(message) : std::nullopt;
    default: return std::nullopt;
  }
}

}  // namespace

// A client's key of TLS 1.2 begins behind its ChangeCipherSpec.
void TlsCallbacks::on_message(int written, int, int type, const void* bytes, std::size_t length, SSL* ssl, void* of) {
  TlsEngine& engine = *static_cast<TlsEngine*>(of);
  const auto* const first = static_cast<const std::uint8_t*>(bytes);
  if (written != 0 || length == 0) return;
  if (type == SSL3_RT_HEADER) {
    engine.sealed_by_client_ = *first == SSL3_RT_CHANGE_CIPHER_SPEC ? 0 : engine.sealed_by_client_ + 1;
  } else if (type == SSL3_RT_HANDSHAKE && engine.due_alert_ == 0) {
    const bool tls13 = SSL_version(ssl) == TLS1_3_VERSION;
    const auto rule = rule_broken_by({first, length}, tls13);
    if (!rule) return;
    engine.error_ = {Origin::Client, Reason::TlsError, rule->reason, rule->what};
    // A Certificate of TLS 1.3 is encrypted, and the alert behind it would have to be: verify() ends that one.
    if (!tls13 || *first != SSL3_MT_CERTIFICATE) engine.due_alert_ = rule->alert;
  }
}

int TlsCallbacks::verify(X509_STORE_CTX* store_context, void*) {
  const auto* ssl =
      static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store_context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* engine = static_cast<TlsEngine*>(SSL_get_app_data(ssl));
  // Fail closed: without a verifier nobody can say that the certificate is good.
  if (engine == nullptr || engine->verifier_ == nullptr) {
    X509_STORE_CTX_set_error(store_context, X509_V_ERR_EXCLUDED_VIOLATION);
    return 0;
  }
  // on_message() has found that it came with what OpenSSL ignores. Of the alerts that there are here, none is due.
  if (engine->error_.what.data() != nullptr) {
    X509_STORE_CTX_set_error(store_context, X509_V_ERR_EXCLUDED_VIOLATION);
    return 0;
  }
  if (X509_get0_pubkey(X509_STORE_CTX_get0_cert(store_context)) == nullptr) {
    clear_errors();
    engine->error_ = unknown_key();
    X509_STORE_CTX_set_error(store_context, X509_V_ERR_INVALID_PURPOSE);  // its alert is unsupported_certificate
    return 0;
  }
  const PeerChain peer{X509_STORE_CTX_get0_cert(store_context), X509_STORE_CTX_get0_untrusted(store_context)};
  engine->by_ticket_ = false;
  engine->verdict_ = engine->verifier_->verify(peer);
  if (engine->verdict_->admitted()) {
    X509_STORE_CTX_set_error(store_context, X509_V_OK);
    return 1;
  }
  X509_STORE_CTX_set_error(store_context, verify_error_for(certificate_alert(engine->verdict_->reason)));
  return 0;
}

int TlsCallbacks::on_client_hello(SSL* ssl, int*, void*) {
  const unsigned char* names = nullptr;
  std::size_t names_length = 0;
  const bool named = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &names, &names_length) == 1;
  if (auto* engine = static_cast<TlsEngine*>(SSL_get_app_data(ssl)); engine != nullptr) {
    if (engine->due_alert_ != 0) return SSL_CLIENT_HELLO_ERROR;  // on_message() has found it
    engine->asks_for(named ? host_name({names, names_length}) : std::nullopt);
  }
  const unsigned char* shares = nullptr;
  std::size_t length = 0;
  if (has_post_quantum_exchange() && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_key_share, &shares, &length) == 1 &&
      has_share_for(Group::X25519MlKem768, {shares, length}) && SSL_set1_groups_list(ssl, kPostQuantumGroups) != 1) {
    clear_errors();  // the handshake goes on with the others
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

Ticketed TlsCallbacks::ticketed(const SSL* ssl) {
  const auto* engine = static_cast<const TlsEngine*>(SSL_get_app_data(ssl));
  return engine == nullptr ? Ticketed{.mutual = true} : engine->ticketed(SSL_session_reused(ssl) == 1);
}

bool TlsCallbacks::resume(SSL* ssl, const Ticket& ticket) {
  auto* engine = static_cast<TlsEngine*>(SSL_get_app_data(ssl));
  return engine != nullptr && engine->honours(ticket);
}

void TlsCallbacks::declined(SSL* ssl, TicketFate fate) {
  if (auto* engine = static_cast<TlsEngine*>(SSL_get_app_data(ssl)); engine != nullptr) engine->ticket_fate_ = fate;
}

void TlsCallbacks::issued(SSL* ssl) {
  if (auto* engine = static_cast<TlsEngine*>(SSL_get_app_data(ssl)); engine != nullptr) engine->ticket_issued_ = true;
}

void TlsCallbacks::install(SSL_CTX* context, bool mutual) {
  SSL_CTX_set_client_hello_cb(context, &TlsCallbacks::on_client_hello, nullptr);
  if (mutual) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_cert_verify_callback(context, &TlsCallbacks::verify, nullptr);
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  }
}

}  // namespace sallyport
