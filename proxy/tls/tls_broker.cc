#include "proxy/tls/tls_broker.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "cache/base/file.h"
#include "cache/crypto/openssl_ptr.h"
#include "proxy/config/host_name.h"
#include "proxy/tls/tls_files.h"
#include "proxy/tls/tls_key_use.h"

namespace sallyport {

namespace {

constexpr std::size_t kBrokerFileLimit = 1024 * 1024;
constexpr int kBrokerSecurityLevel = 2;
constexpr std::size_t kPlainRoom = 16 * 1024;  // a record's: RFC 8446, section 5.1
// ECDHE with AEAD only (RFC 9325, section 4.2). Of TLS 1.3 OpenSSL's own.
constexpr const char* kBrokerCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

using ContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<&SSL_CTX_free>>;

Refusal broker_refusal(const std::string& file, const std::string& what) {
  char text[160] = "";
  if (const unsigned long error = ERR_peek_last_error()) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return {Refusal::Kind::Invalid, file + ": " + what + (text[0] == '\0' ? "" : std::string(": ") + text)};
}

Answer<std::vector<Certificate>> certificates_in(const std::string& path) {
  const auto pem = read_file(path, kBrokerFileLimit);
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
  SSL_CTX_set_security_level(context, kBrokerSecurityLevel);
  // Whatever the file names is trusted, an issuing CA without its root as well.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_cipher_list(context, kBrokerCiphers) == 1;
}

// OpenSSL has them, for a connection may outlive its context.
void release_sessions(void*, void* sessions, CRYPTO_EX_DATA*, int, long, void*) {
  const std::unique_ptr<BrokerSessions> owned(static_cast<BrokerSessions*>(sessions));
}
int sessions_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &release_sessions);
  return index;
}
BrokerSessions& sessions_of(const SSL* ssl) {
  return *static_cast<BrokerSessions*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), sessions_index()));
}

std::uint32_t next_number() {
  static std::atomic<std::uint32_t> last{0};
  return ++last;
}

}  // namespace

BrokerTlsContext::BrokerTlsContext(SSL_CTX* context, std::string server_name)
    : context_(context), number_(next_number()), server_name_(std::move(server_name)) {}

BrokerTlsContext::~BrokerTlsContext() {
  SSL_CTX_free(context_);
}

Answer<std::unique_ptr<BrokerTlsContext>> BrokerTlsContext::create(const BrokerTlsConfig& config) {
  auto trusted = certificates_in(config.ca);
  if (!trusted) return trusted.error();
  ContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context || !bound(context.get())) return broker_refusal(config.ca, "OpenSSL refuses a client");
  for (const Certificate& each : *trusted) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), each.x509()) != 1) {
      return broker_refusal(config.ca, "OpenSSL refuses " + each.subject());
    }
  }
  std::vector<Certificate> shown;
  if (!config.certificate.empty()) {
    auto chain = certificates_in(config.certificate);
    if (!chain) return chain.error();
    const auto key = load_private_key(config.key);
    if (!key) return key.error();
    if (X509_check_private_key(chain->front().x509(), key->get()) != 1) {
      return broker_refusal(config.key, "the key does not belong to the first certificate in " + config.certificate);
    }
    if (!show(context.get(), *chain, key->get())) return broker_refusal(config.certificate, "OpenSSL refuses it");
    shown = std::move(*chain);
  }
  auto sessions = std::make_unique<BrokerSessions>();
  if (SSL_CTX_set_ex_data(context.get(), sessions_index(), sessions.get()) != 1) {
    return broker_refusal(config.ca, "OpenSSL refuses a client");
  }
  sessions.release();
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), &BrokerTls::keep_session);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, &BrokerTls::on_verified);
  SSL_CTX_set_msg_callback(context.get(), &BrokerTls::on_message);
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

BrokerTls::BrokerTls(const BrokerTlsContext& context, const Endpoint& server, Resumes resumes, std::int64_t now)
    : ssl_(SSL_new(context.context_)), server_(server.text()), now_(now) {
  if (ssl_ == nullptr) return;
  SSL_set_app_data(ssl_, this);
  SSL_set_connect_state(ssl_);
  BIO* bio = name_server(context.server_name_.empty() ? server.host : context.server_name_) ? make_bio(this) : nullptr;
  if (bio == nullptr) {
    SSL_free(std::exchange(ssl_, nullptr));
    clear_errors();
    return;
  }
  SSL_set_bio(ssl_, bio, bio);
  if (resumes == Resumes::No) return;
  const BrokerSessions::Kept last = sessions_of(ssl_).last(server_, now_);
  if (last.session && SSL_set_session(ssl_, last.session.get()) == 1) offered_ = {last.proof, last.number};
  clear_errors();
}

BrokerTls::~BrokerTls() {
  if (!established_) forget();
  SSL_free(ssl_);
}

void BrokerTls::forget() {
  if (offered()) sessions_of(ssl_).forget(server_, offered_.number);
}

// Fail closed: without a name that is looked at there is no connection. The subject's CN is none (RFC 9525, section
// 2): whoever issues to devices writes there what they like.
bool BrokerTls::name_server(const std::string& host) {
  X509_VERIFY_PARAM* looked_at = SSL_get0_param(ssl_);
  X509_VERIFY_PARAM_set_hostflags(looked_at,
                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (is_ip_address(host)) return X509_VERIFY_PARAM_set1_ip_asc(looked_at, host.c_str()) == 1;
  if (!is_dns_name(host)) {
    error_.what = "there is no host name or address to look for in the broker's certificate: set tls.server_name";
    return false;
  }
  const std::string name(without_root_dot(host));
  return SSL_set1_host(ssl_, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl_, name.c_str()) == 1;
}

bool BrokerTls::has_spent_key() const {
  return ssl_ != nullptr && sallyport::has_spent_key(ssl_, key_uses_);
}

bool BrokerTls::resumed() const {
  return ssl_ != nullptr && SSL_session_reused(ssl_) == 1;
}

bool BrokerTls::accepted() const {
  return established_ && (!asked_ || spoke_ || SSL_version(ssl_) < TLS1_3_VERSION);
}

Step BrokerTls::take(std::span<const std::uint8_t> ciphertext, ByteBuffer& plain) {
  if (ssl_ == nullptr || failed_) return Step::Failed;
  clear_errors();
  lent_ = ciphertext;
  if (!established_) {
    const int outcome = SSL_do_handshake(ssl_);
    if (outcome != 1) return SSL_get_error(ssl_, outcome) == SSL_ERROR_WANT_READ ? Step::WantInput : fail();
    established_ = true;
    wears_keys_ = wears_keys(ssl_);
  }
  if (output_.empty()) answers_ = 0;
  asides_ = 0;
  answering_ = true;
  const Step step = read_all(plain);
  answering_ = false;
  lent_ = {};
  return step;
}

Step BrokerTls::read_all(ByteBuffer& plain) {
  std::size_t n = 0;
  while (SSL_read_ex(ssl_, plain.prepare(kPlainRoom).data(), kPlainRoom, &n) == 1) {
    plain.commit(n);
    heard_ = spoke_ = true;
  }
  if (plain.empty()) plain.release();
  if (flooded_) return fail({Origin::Broker, Reason::None, 0, "the broker asks and does not read"});
  switch (SSL_get_error(ssl_, 0)) {
    case SSL_ERROR_WANT_READ: return Step::Done;
    case SSL_ERROR_ZERO_RETURN: return Step::Closed;
    default: return fail();
  }
}

Step BrokerTls::fail() {
  const long verified = SSL_get_verify_result(ssl_);
  const bool of_name = verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH;
  // All are static: OpenSSL's tables, and ours.
  const char* reason = of_name && unnamed_     ? "its certificate has no subjectAltName, and its CN is not looked at: "
                                                 "issue it with the server's name or address there"
                       : verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                                               : ERR_reason_error_string(ERR_peek_error());
  return fail({Origin::Broker, Reason::None, static_cast<int>(verified), reason != nullptr ? reason : "not TLS"});
}

Step BrokerTls::fail(const Error& why) {
  clear_errors();
  lent_ = {};
  error_ = why;
  failed_ = true;
  return Step::Failed;
}

Step BrokerTls::write(std::span<const std::uint8_t> plain) {
  if (plain.empty()) return Step::Done;
  if (!established_ || failed_) return Step::Failed;
  std::size_t written = 0;
  clear_errors();
  renew_spent_key(ssl_, key_uses_);
  if (SSL_write_ex(ssl_, plain.data(), plain.size(), &written) == 1) return Step::Done;
  return SSL_get_error(ssl_, 0) == SSL_ERROR_WANT_READ ? Step::WantInput : fail();
}

bool BrokerTls::close() {
  if (!established_ || failed_ || closed_) return true;
  closed_ = SSL_shutdown(ssl_) >= 0;
  clear_errors();
  return closed_;
}

int BrokerTls::keep_session(SSL* ssl, ssl_session_st* session) {
  const auto* of = static_cast<const BrokerTls*>(SSL_get_app_data(ssl));
  const bool resumed = SSL_session_reused(ssl) == 1;
  const BrokerSessions::Proof proof = resumed ? of->offered_.proof : BrokerSessions::proof_of(ssl, of->now_);
  sessions_of(ssl).keep(of->server_, session, proof);
  return 0;  // the copy is ours, the session stays its connection's
}

// Changes nothing; it only sees the certificate that is refused.
int BrokerTls::on_verified(int good, X509_STORE_CTX* context) {
  if (good == 1) return good;
  const auto* ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const X509* leaf = X509_STORE_CTX_get0_cert(context);
  const bool unnamed = leaf != nullptr && X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1) < 0;
  if (ssl != nullptr) static_cast<BrokerTls*>(SSL_get_app_data(ssl))->unnamed_ = unnamed;
  return good;
}

void BrokerTls::on_message(int sent, int, int type, const void* bytes, std::size_t size, SSL* ssl, void*) {
  auto& of = *static_cast<BrokerTls*>(SSL_get_app_data(ssl));
  if (of.wears_keys_) count_record(sent, type, bytes, size, of.key_uses_);
  if (sent == 0 && type == SSL3_RT_HANDSHAKE && size > 0) of.count_aside(*static_cast<const std::uint8_t*>(bytes));
}

void BrokerTls::count_aside(std::uint8_t message) {
  asked_ = asked_ || message == SSL3_MT_CERTIFICATE_REQUEST;
  if (!established_) return;
  spoke_ = true;
  if (++asides_ <= kMostAsides) return;
  flooded_ = true;
  lent_ = {};  // of a record that it has already it takes the rest
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
  auto& of = *static_cast<BrokerTls*>(BIO_get_data(bio));
  const auto bytes = static_cast<std::size_t>(size);
  if (of.answering_) of.answers_ += bytes;
  of.flooded_ = of.flooded_ || of.answers_ > kMostAnswers;
  if (!of.flooded_) of.output_.append({reinterpret_cast<const std::uint8_t*>(from), bytes});
  return size;
}

long BrokerTls::bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace sallyport
