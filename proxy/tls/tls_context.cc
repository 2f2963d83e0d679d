#include "proxy/tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <ctime>

#include "cache/crypto/keys_unread.h"
#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_alone.h"
#include "proxy/tls/handshake_server.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/server_name.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_callbacks.h"
#include "proxy/tls/tls_resumption.h"

namespace sallyport {

namespace {

using ContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<&SSL_CTX_free>>;

// ECDHE with AEAD only (RFC 9325, section 4.2).
constexpr const char* kTls12Ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
// SHA-256 has instructions of its own where SHA-384 has none: 25 us of a handshake. RFC 8446, section 9.1, asks for it.
constexpr const char* kTls13Ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr int kSecurityLevel = 2;

Refusal openssl_refusal(const std::string& what) {
  char text[160] = "";
  ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
  ERR_clear_error();
  return {Refusal::Kind::Invalid, what + ": " + text};
}

// No resumption needs all of these: with SSL_OP_NO_TICKET alone TLS 1.3 still sends two tickets, and a
// cached TLS 1.2 id resumes without the verify callback.
void forbid_resumption(SSL_CTX* context) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
}

// Tickets and ids are of one listener and one mode alone.
std::string session_context_of(const ListenerConfig& listener, AuthMode auth) {
  return listener.name.substr(0, 30) + (auth == AuthMode::Mutual ? "m" : "o");
}

bool bound(SSL_CTX* context, const ListenerConfig& listener, const std::string& session_context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_max_cert_list(context, static_cast<long>(kMostCertificateBytes));
  SSL_CTX_set_security_level(context, kSecurityLevel);
  forbid_resumption(context);
  // Listener and mode are part of a session's identity: nothing of one is ever good at another.
  const int version = listener.tls_min == TlsMin::V13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  return SSL_CTX_set_min_proto_version(context, version) == 1 && SSL_CTX_set_cipher_list(context, kTls12Ciphers) == 1 &&
         SSL_CTX_set_ciphersuites(context, kTls13Ciphers) == 1 && SSL_CTX_set1_groups_list(context, kGroups) == 1 &&
         SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(session_context.data()),
                                        static_cast<unsigned>(session_context.size())) == 1;
}

// The leaf and what is sent behind it. The root is left out: a client that trusts it has it (RFC 8446, section 4.4.2).
std::vector<Certificate> sent_of(const ServerCertificate& certificate) {
  std::vector<Certificate> sent = {certificate.chain.front()};
  for (std::size_t i = 1; i < certificate.chain.size(); ++i) {
    const Certificate& above = certificate.chain[i];
    const bool root = above.self_issued() && above.signed_by(X509_get0_pubkey(above.x509()));
    if (!root) sent.push_back(above);
  }
  return sent;
}

bool use(SSL_CTX* context, const ServerCertificate& certificate, ServerCredentials& credentials) {
  const KeyPtr key = certificate.key.form(openssl_alone());
  const std::vector<Certificate> sent = sent_of(certificate);
  if (!key || SSL_CTX_use_cert_and_key(context, sent.front().x509(), key.get(), nullptr, 1) != 1) return false;
  SSL_CTX_clear_chain_certs(context);
  for (std::size_t i = 1; i < sent.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, sent[i].x509()) != 1) return false;
  }
  if (!openssl_alone()) credentials.add(sent, key);  // what our own handshakes sign with
  return true;
}

bool share_a_name(const ServerCertificate& a, const ServerCertificate& b) {
  return std::any_of(a.names.begin(), a.names.end(), [&](const std::string& name) {
    return std::find(b.names.begin(), b.names.end(), name) != b.names.end();
  });
}

bool is_rsa(const ServerCertificate& certificate) {
  return certificate.chain.front().key_type() == KeyType::Rsa;
}

}  // namespace

// Owned by the default SSL_CTX, which every connection holds until its end: what the callbacks of a handshake
// borrow is alive for as long as a handshake may run, also when the TlsContext is gone.
class TlsContext::Impl {
 public:
  Impl(const std::string& session_context, bool openssl_alone) : swap(session_context), alone(openssl_alone) {}
  static void release(void*, void* impl, CRYPTO_EX_DATA*, int, long, void*) {
    const std::unique_ptr<Impl> owned(static_cast<Impl*>(impl));
  }
  static int index() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &Impl::release);
    return index;
  }

  std::vector<Certificate> leaves;
  std::vector<ServerKey> keys;     // so that whoever loads one of them meanwhile gets this one
  std::vector<ContextPtr> others;  // one for each certificate but the first
  ServerNames names;
  TlsCallbacks::Chooser chooser;
  SessionSwap swap;
  const bool alone;
  std::optional<Resumption> resumption;
  HandshakeServer server;
};

namespace {

int choose_by_name(SSL* ssl, int*, void* names_and_contexts) {
  const auto* choose = static_cast<const TlsCallbacks::Chooser*>(names_and_contexts);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_OK;
  if (const auto found = choose->names->find(name)) SSL_set_SSL_CTX(ssl, choose->contexts[*found]);
  // RFC 6066, section 3: not when a session is resumed.
  return SSL_session_reused(ssl) == 1 ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

Answer<std::unique_ptr<TlsContext>> TlsContext::create(const ListenerConfig& listener, const TicketKeys* tickets) {
  auto certificates = load_server_certificates(listener.certificates);
  if (!certificates) return certificates.error();
  return create(listener, listener.auth, std::move(*certificates), tickets);
}

Answer<std::unique_ptr<TlsContext>> TlsContext::create(const ListenerConfig& listener, AuthMode auth,
                                                       std::vector<ServerCertificate> certificates,
                                                       const TicketKeys* tickets) {
  if (certificates.empty()) {
    return Refusal{Refusal::Kind::Invalid, "listener " + listener.name + " has no certificate"};
  }
  const bool alone = listener.tls_engine == TlsMadeBy::Openssl;
  const OpensslAlone scope(alone);
  const std::string session_context = session_context_of(listener, auth);
  auto made = std::make_unique<Impl>(session_context, alone);
  if (tickets != nullptr && listener.resumption) {
    const auto max_age = std::chrono::duration_cast<std::chrono::seconds>(listener.resumption_max_age).count();
    made->resumption.emplace(*tickets, listener.name, max_age, session_context, made->swap);
  }
  made->server.mutual = auth == AuthMode::Mutual;
  made->server.tls12 = listener.tls_min != TlsMin::V13;
  made->server.names = &made->names;
  std::vector<ContextPtr> contexts;
  for (const ServerCertificate& primary : certificates) {
    OSSL_LIB_CTX* const light = light_parsing_context();
    ContextPtr context(
        SSL_CTX_new_ex(light != nullptr ? light : named_default_context(), nullptr, TLS_server_method()));
    if (!context || !bound(context.get(), listener, session_context))
      return openssl_refusal("listener " + listener.name);
    ServerCredentials& credentials = made->server.credentials.emplace_back();
    // Beside the certificate itself, one for the same name with the other kind of key: OpenSSL serves by
    // what the client can verify.
    for (const ServerCertificate& other : certificates) {
      if (&other != &primary && is_rsa(other) != is_rsa(primary) && share_a_name(other, primary)) {
        if (!use(context.get(), other, credentials)) return openssl_refusal("listener " + listener.name);
        break;
      }
    }
    if (!use(context.get(), primary, credentials)) return openssl_refusal("listener " + listener.name);
    TlsCallbacks::install(context.get(), auth == AuthMode::Mutual);
    SSL_CTX_set_read_ahead(context.get(), alone ? 1 : 0);  // take_over() needs what came behind a handshake
    if (made->resumption) made->resumption->install(context.get());
    for (const std::string& name : primary.names) made->names.add(name, contexts.size());
    made->leaves.push_back(primary.chain.front());
    made->keys.push_back(primary.key);
    contexts.push_back(std::move(context));
  }
  made->chooser.names = &made->names;
  for (const ContextPtr& context : contexts) made->chooser.contexts.push_back(context.get());
  for (const ContextPtr& context : contexts) {
    SSL_CTX_set_tlsext_servername_callback(context.get(), &choose_by_name);
    SSL_CTX_set_tlsext_servername_arg(context.get(), &made->chooser);
  }
  ContextPtr first = std::move(contexts.front());
  contexts.erase(contexts.begin());
  made->others = std::move(contexts);
  Impl* impl = made.get();
  if (SSL_CTX_set_ex_data(first.get(), Impl::index(), made.get()) != 1)
    return openssl_refusal("listener " + listener.name);
  made.release();
  return std::unique_ptr<TlsContext>(new TlsContext(first.release(), impl));
}

const std::vector<Certificate>& TlsContext::leaves() const {
  return impl_->leaves;
}
SessionSwap& TlsContext::session_swap() const {
  return impl_->swap;
}
bool TlsContext::openssl_alone() const {
  return impl_->alone;
}
const HandshakeServer* TlsContext::handshake_server() const {
  const OpensslAlone scope(impl_->alone);
  return light_parsing_context() != nullptr && RecordCipher::available() ? &impl_->server : nullptr;
}
std::optional<Ticket> TlsContext::devices_ticket(const TicketOffer& offer, std::int64_t now) const {
  const OpensslAlone scope(impl_->alone);
  return resumption() != nullptr ? resumption()->devices(offer, now) : std::nullopt;
}
const Resumption* TlsContext::resumption() const {
  return impl_->resumption ? &*impl_->resumption : nullptr;
}
SSL_CTX* TlsContext::default_context() const {
  return context_;
}

}  // namespace sallyport
