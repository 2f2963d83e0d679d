#include "proxy/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <ctime>

#include "proxy/server_name.h"
#include "proxy/tls_callbacks.h"
#include "proxy/tls_files.h"

namespace sallyport {

namespace {

using ContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<&SSL_CTX_free>>;

// ECDHE with AEAD only (RFC 9325, section 4.2).
constexpr const char* kTls12Ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
// X25519 first: a P-256 exchange costs 60 us more. P-384 is last and only there because OpenSSL refuses a
// TLS 1.2 client certificate on a curve that is not in this list.
constexpr const char* kGroups = "X25519:P-256:P-384";
// 240 client certificates cost 32 ms inside one handshake step before any callback (DESIGN.md section 4).
constexpr long kClientCertificateBytes = 16384;
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

bool bound(SSL_CTX* context, const ListenerConfig& listener) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_max_cert_list(context, kClientCertificateBytes);
  SSL_CTX_set_security_level(context, kSecurityLevel);
  forbid_resumption(context);
  // Listener and mode are part of a session's identity: nothing of one is ever good at another.
  const std::string session_context = listener.name.substr(0, 30) + (listener.auth == AuthMode::Mutual ? "m" : "o");
  const int version = listener.tls_min == TlsMin::V13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  return SSL_CTX_set_min_proto_version(context, version) == 1 && SSL_CTX_set_cipher_list(context, kTls12Ciphers) == 1 &&
         SSL_CTX_set1_groups_list(context, kGroups) == 1 &&
         SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(session_context.data()),
                                        static_cast<unsigned>(session_context.size())) == 1;
}

bool use(SSL_CTX* context, const ServerCertificate& certificate) {
  if (SSL_CTX_use_cert_and_key(context, certificate.chain.front().x509(), certificate.key.get(), nullptr, 1) != 1)
    return false;
  SSL_CTX_clear_chain_certs(context);
  for (std::size_t i = 1; i < certificate.chain.size(); ++i) {
    const Certificate& above = certificate.chain[i];
    // The root is left out: a client that trusts it has it (RFC 8446, section 4.4.2).
    const bool root = above.self_issued() && above.signed_by(X509_get0_pubkey(above.x509()));
    if (!root && SSL_CTX_add1_chain_cert(context, above.x509()) != 1) return false;
  }
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

class TlsContext::Impl {
 public:
  std::vector<ServerCertificate> certificates;
  std::vector<Certificate> leaves;
  std::vector<ContextPtr> contexts;  // one for each certificate; the first is the default
  ServerNames names;
};

namespace {

int choose_by_name(SSL* ssl, int*, void* names_and_contexts) {
  const auto* choose = static_cast<const TlsCallbacks::Chooser*>(names_and_contexts);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_OK;
  if (const auto found = choose->names->find(name)) SSL_set_SSL_CTX(ssl, choose->contexts[*found]);
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsContext::TlsContext() : impl_(std::make_unique<Impl>()) {}
TlsContext::~TlsContext() = default;

Answer<std::unique_ptr<TlsContext>> TlsContext::create(const ListenerConfig& listener) {
  std::unique_ptr<TlsContext> made(new TlsContext);
  Impl& impl = *made->impl_;
  for (const CertificateFiles& files : listener.certificates) {
    auto certificate = load_server_certificate(files, std::time(nullptr));
    if (!certificate) return certificate.error();
    impl.leaves.push_back(certificate->chain.front());
    impl.certificates.push_back(std::move(*certificate));
  }
  for (std::size_t i = 0; i < impl.certificates.size(); ++i) {
    const ServerCertificate& primary = impl.certificates[i];
    ContextPtr context(SSL_CTX_new(TLS_server_method()));
    if (!context || !bound(context.get(), listener)) return openssl_refusal("listener " + listener.name);
    // Beside the certificate itself, one for the same name with the other kind of key: OpenSSL serves by
    // what the client can verify.
    for (const ServerCertificate& other : impl.certificates) {
      if (&other != &primary && is_rsa(other) != is_rsa(primary) && share_a_name(other, primary)) {
        if (!use(context.get(), other)) return openssl_refusal(listener.certificates[i].chain);
        break;
      }
    }
    if (!use(context.get(), primary)) return openssl_refusal(listener.certificates[i].chain);
    TlsCallbacks::install(context.get(), listener.auth == AuthMode::Mutual);
    for (const std::string& name : primary.names) impl.names.add(name, i);
    impl.contexts.push_back(std::move(context));
  }
  if (impl.contexts.empty())
    return Refusal{Refusal::Kind::Invalid, "listener " + listener.name + " has no certificate"};
  made->chooser_ = std::make_unique<TlsCallbacks::Chooser>();
  made->chooser_->names = &impl.names;
  for (const ContextPtr& context : impl.contexts) made->chooser_->contexts.push_back(context.get());
  for (const ContextPtr& context : impl.contexts) {
    SSL_CTX_set_tlsext_servername_callback(context.get(), &choose_by_name);
    SSL_CTX_set_tlsext_servername_arg(context.get(), made->chooser_.get());
  }
  return made;
}

const std::vector<Certificate>& TlsContext::leaves() const {
  return impl_->leaves;
}
SSL_CTX* TlsContext::default_context() const {
  return impl_->contexts.front().get();
}

}  // namespace sallyport
