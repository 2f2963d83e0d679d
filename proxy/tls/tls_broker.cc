#include "proxy/tls/tls_broker.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "cache/base/file.h"
#include "cache/crypto/openssl_ptr.h"
#include "proxy/tls/tls_files.h"
#include "proxy/tls/tls_key_use.h"

namespace sallyport {

namespace {

constexpr std::size_t kFileLimit = 1024 * 1024;
constexpr int kSecurityLevel = 2;
constexpr std::size_t kPlainRoom = 16 * 1024;  // a record's: RFC 8446, section 5.1
// ECDHE with AEAD only (RFC 9325, section 4.2). Of TLS 1.3 OpenSSL's own.
constexpr const char* kTls12Ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

using ContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<&SSL_CTX_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;

Refusal no(const std::string& file, const std::string& what) {
  char text[160] = "";
  if (const unsigned long error = ERR_peek_last_error()) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return {Refusal::Kind::Invalid, file + ": " + what + (text[0] == '\0' ? "" : std::string(": ") + text)};
}

Answer<std::vector<Certificate>> certificates_in(const std::string& path) {
  const auto pem = read_file(path, kFileLimit);
  if (!pem) return pem.error();
  auto all = Certificate::bundle_from_pem(*pem);
  if (!all) return Refusal{Refusal::Kind::Invalid, path + ": " + all.error().what};
  return all;
}

bool show(SSL_CTX* context, const std::vector<Certificate>& chain, EVP_PKEY* key) {
  if (SSL_CTX_use_cert_and_key(context, chain.front().x509(), key, nullptr, 1) != 1) return false;
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].x509()) != 1) return false;
  }
  return SSL_CTX_check_private_key(context) == 1;
}

bool bound(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_security_level(context, kSecurityLevel);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  // Whatever the file names is trusted, an issuing CA without its root as well.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_cipher_list(context, kTls12Ciphers) == 1;
}

bool is_ip(const std::string& host) {
  in6_addr ip{};
  return ::inet_pton(AF_INET, host.c_str(), &ip) == 1 || ::inet_pton(AF_INET6, host.c_str(), &ip) == 1;
}

}  // namespace

// The last session with each server, while its certificate is in date: who resumes shows none. What is kept is a copy
// of the connection's, and what is given a copy of that: OpenSSL marks the session of a connection that broke as not
// to be resumed, and no two threads may have one of them.
class BrokerTlsContext::Sessions {
 public:
  static void release(void*, void* sessions, CRYPTO_EX_DATA*, int, long, void*) {
    const std::unique_ptr<Sessions> owned(static_cast<Sessions*>(sessions));
  }
  static int index() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &Sessions::release);
    return index;
  }
  static Sessions& of(SSL_CTX* context) { return *static_cast<Sessions*>(SSL_CTX_get_ex_data(context, index())); }

  void keep(const std::string& server, SSL_SESSION* session) {
    SessionPtr copy(SSL_SESSION_dup(session));
    const std::lock_guard lock(mutex_);
    if (copy) by_server_[server] = std::move(copy);
  }
  SessionPtr last(const std::string& server) {
    const std::lock_guard lock(mutex_);
    const auto found = by_server_.find(server);
    if (found == by_server_.end()) return nullptr;
    const X509* shown = SSL_SESSION_get0_peer(found->second.get());
    if (shown == nullptr || X509_cmp_current_time(X509_get0_notAfter(shown)) <= 0) {
      by_server_.erase(found);
      return nullptr;
    }
    return SessionPtr(SSL_SESSION_dup(found->second.get()));
  }

 private:
  std::mutex mutex_;
  std::map<std::string, SessionPtr> by_server_;
};

BrokerTlsContext::BrokerTlsContext(SSL_CTX* context, std::string server_name)
    : context_(context), server_name_(std::move(server_name)) {}

BrokerTlsContext::~BrokerTlsContext() {
  SSL_CTX_free(context_);
}

Answer<std::unique_ptr<BrokerTlsContext>> BrokerTlsContext::create(const BrokerTlsConfig& config) {
  auto trusted = certificates_in(config.ca);
  if (!trusted) return trusted.error();
  ContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context || !bound(context.get())) return no(config.ca, "OpenSSL refuses a client");
  for (const Certificate& each : *trusted) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), each.x509()) != 1) {
      return no(config.ca, "OpenSSL refuses " + each.subject());
    }
  }
  std::vector<Certificate> shown;
  if (!config.certificate.empty()) {
    auto chain = certificates_in(config.certificate);
    if (!chain) return chain.error();
    const auto key = load_private_key(config.key);
    if (!key) return key.error();
    if (X509_check_private_key(chain->front().x509(), key->get()) != 1) {
      return no(config.key, "the key does not belong to the first certificate in " + config.certificate);
    }
    if (!show(context.get(), *chain, key->get())) return no(config.certificate, "OpenSSL refuses it");
    shown = std::move(*chain);
  }
  auto sessions = std::make_unique<Sessions>();
  if (SSL_CTX_set_ex_data(context.get(), Sessions::index(), sessions.get()) != 1) {
    return no(config.ca, "OpenSSL refuses a client");
  }
  sessions.release();
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), &BrokerTls::keep_session);
  std::unique_ptr<BrokerTlsContext> made(new BrokerTlsContext(context.release(), config.server_name));
  made->trusted_ = std::move(*trusted);
  made->shown_ = std::move(shown);
  return made;
}

Answer<BrokerTlsContexts> prepare_broker_tls(const std::vector<UpstreamConfig>& upstreams) {
  BrokerTlsContexts all;
  for (const UpstreamConfig& upstream : upstreams) {
    if (!upstream.tls.asked()) continue;
    auto made = BrokerTlsContext::create(upstream.tls);
    if (!made) return Refusal{made.error().kind, "upstream " + upstream.name + ": tls: " + made.error().what};
    all[upstream.name] = std::move(*made);
  }
  return all;
}

BrokerTls::BrokerTls(const BrokerTlsContext& context, const Endpoint& server)
    : ssl_(SSL_new(context.context_)), server_(server.text()) {
  if (ssl_ == nullptr) return;
  SSL_set_app_data(ssl_, this);
  SSL_set_connect_state(ssl_);
  name_server(context, server);
  const SessionPtr last = BrokerTlsContext::Sessions::of(context.context_).last(server_);
  if (last) SSL_set_session(ssl_, last.get());
  clear_errors();
}

BrokerTls::~BrokerTls() {
  SSL_free(ssl_);
}

// Fail closed: without a name that is looked at there is no connection.
void BrokerTls::name_server(const BrokerTlsContext& context, const Endpoint& server) {
  const std::string& host = context.server_name_.empty() ? server.host : context.server_name_;
  X509_VERIFY_PARAM* looked_at = SSL_get0_param(ssl_);
  X509_VERIFY_PARAM_set_hostflags(looked_at, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool named = is_ip(host) ? X509_VERIFY_PARAM_set1_ip_asc(looked_at, host.c_str()) == 1
                                 : !host.empty() && SSL_set1_host(ssl_, host.c_str()) == 1 &&
                                       SSL_set_tlsext_host_name(ssl_, host.c_str()) == 1;
  BIO* bio = named ? make_bio(this) : nullptr;
  if (bio == nullptr) {
    SSL_free(ssl_);
    ssl_ = nullptr;
    return;
  }
  SSL_set_bio(ssl_, bio, bio);
}

bool BrokerTls::has_spent_key() const {
  return ssl_ != nullptr && sallyport::has_spent_key(ssl_, key_uses_);
}

bool BrokerTls::resumed() const {
  return ssl_ != nullptr && SSL_session_reused(ssl_) == 1;
}

Step BrokerTls::take(std::span<const std::uint8_t> ciphertext, ByteBuffer& plain) {
  if (ssl_ == nullptr) {
    error_ = {Origin::Proxy, Reason::InternalError, 0, "out of memory"};
    return Step::Failed;
  }
  clear_errors();
  lent_ = ciphertext;
  if (!established_) {
    const int outcome = SSL_do_handshake(ssl_);
    if (outcome != 1) return SSL_get_error(ssl_, outcome) == SSL_ERROR_WANT_READ ? Step::WantInput : fail();
    established_ = true;
    count_key_use(ssl_, key_uses_);
  }
  for (;;) {
    std::size_t n = 0;
    if (SSL_read_ex(ssl_, plain.prepare(kPlainRoom).data(), kPlainRoom, &n) == 1) {
      plain.commit(n);
      continue;
    }
    if (plain.empty()) plain.release();
    switch (SSL_get_error(ssl_, 0)) {
      case SSL_ERROR_WANT_READ: return Step::Done;
      case SSL_ERROR_ZERO_RETURN: return Step::Closed;
      default: return fail();
    }
  }
}

Step BrokerTls::fail() {
  const long verified = SSL_get_verify_result(ssl_);
  const char* reason =
      verified != X509_V_OK ? X509_verify_cert_error_string(verified) : ERR_reason_error_string(ERR_peek_error());
  clear_errors();
  // Both are of OpenSSL's static tables.
  error_ = {Origin::Broker, Reason::None, static_cast<int>(verified), reason != nullptr ? reason : "not TLS"};
  return Step::Failed;
}

bool BrokerTls::write(std::span<const std::uint8_t> plain) {
  std::size_t written = 0;
  clear_errors();
  if (plain.empty()) return true;
  if (established_) renew_spent_key(ssl_, key_uses_);
  if (established_ && SSL_write_ex(ssl_, plain.data(), plain.size(), &written) == 1) return true;
  (void)fail();
  return false;
}

void BrokerTls::close() {
  if (!established_ || std::exchange(closed_, true)) return;
  (void)SSL_shutdown(ssl_);
  clear_errors();
}

int BrokerTls::keep_session(SSL* ssl, ssl_session_st* session) {
  const auto* of = static_cast<const BrokerTls*>(SSL_get_app_data(ssl));
  BrokerTlsContext::Sessions::of(SSL_get_SSL_CTX(ssl)).keep(of->server_, session);
  return 0;  // the copy is ours, the session stays its connection's
}

BIO* BrokerTls::make_bio(BrokerTls* of) {
  using Method = std::unique_ptr<BIO_METHOD, OpensslFree<&BIO_meth_free>>;
  static const Method method = [] {
    Method made(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "broker"));
    if (made) {
      BIO_meth_set_read(made.get(), &BrokerTls::bio_read);
      BIO_meth_set_write(made.get(), &BrokerTls::bio_write);
      BIO_meth_set_ctrl(made.get(), &BrokerTls::bio_control);
    }
    return made;
  }();
  BIO* bio = method ? BIO_new(method.get()) : nullptr;
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, of);
  BIO_set_init(bio, 1);
  return bio;
}

int BrokerTls::bio_read(BIO* bio, char* into, int size) {
  auto& lent = static_cast<BrokerTls*>(BIO_get_data(bio))->lent_;
  BIO_clear_retry_flags(bio);
  const std::size_t n = std::min(lent.size(), static_cast<std::size_t>(size));
  if (n == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  std::memcpy(into, lent.data(), n);
  lent = lent.subspan(n);
  return static_cast<int>(n);
}

int BrokerTls::bio_write(BIO* bio, const char* from, int size) {
  auto& output = static_cast<BrokerTls*>(BIO_get_data(bio))->output_;
  output.append({reinterpret_cast<const std::uint8_t*>(from), static_cast<std::size_t>(size)});
  return size;
}

long BrokerTls::bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace sallyport
