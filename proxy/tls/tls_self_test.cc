#include "proxy/tls/tls_self_test.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/crypto/openssl_insides.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/identity.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_engine.h"
#include "proxy/tls/verifier.h"

namespace sallyport {

namespace {

using ContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<&SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslFree<&SSL_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;
using Bytes = std::vector<std::uint8_t>;

// What a client asks for. Our own handshakes are of AES-128-GCM over X25519 or P-256, in TLS 1.2 with an extended
// master secret; every other is OpenSSL's.
struct Kind {
  const char* fails;  // what does not hold where it does not work
  int version;
  const char* suite;
  const char* groups = "X25519:P-256";
  bool extended_master = true;       // of TLS 1.2: RFC 7627
  const char* crossed_to = nullptr;  // resumed with these groups, too: a ticket of ours by OpenSSL, or the other way
};
constexpr const char* kOurs = "X25519";
constexpr const char* kTheirs = "P-384";

constexpr Kind kKinds[] = {
    {"our TLS 1.3 handshake", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", kOurs, true, kTheirs},
    {"our TLS 1.3 handshake over P-256", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "P-256"},
    {"taking over a TLS 1.3 connection", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", kTheirs, true, kOurs},
    {"taking over a TLS 1.3 connection with SHA-384", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
    {"exchanging a TLS 1.3 session", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
    {"our TLS 1.2 handshake", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"taking over a TLS 1.2 connection", TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"a TLS 1.2 session without extended master secret", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256",
     "X25519:P-256", false},
    {"exchanging a TLS 1.2 session", TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
};

// A certificate for either side, self-signed.
struct Holder {
  KeyPtr key{EVP_EC_gen("P-256")};
  std::optional<Certificate> certificate;

  Holder() {
    const X509Ptr made(X509_new());
    X509_NAME* name = made ? X509_get_subject_name(made.get()) : nullptr;
    constexpr std::array<unsigned char, 9> kName = {'s', 'e', 'l', 'f', '-', 't', 'e', 's', 't'};
    const bool done = key && name != nullptr && X509_set_version(made.get(), X509_VERSION_3) == 1 &&
                      ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1) == 1 &&
                      X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600) != nullptr &&
                      X509_gmtime_adj(X509_getm_notAfter(made.get()), 86400) != nullptr &&
                      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, kName.data(), kName.size(), -1, 0) == 1 &&
                      X509_set_issuer_name(made.get(), name) == 1 && X509_set_pubkey(made.get(), key.get()) == 1 &&
                      X509_sign(made.get(), key.get(), EVP_sha256()) != 0;
    if (!done) return;
    auto parsed = Certificate::from_x509(made.get());
    if (parsed) certificate = std::move(*parsed);
  }
};

// Lets everyone in, as the holder.
class Admits : public Verifier {
 public:
  explicit Admits(const Certificate& certificate) : identity_(make_identity(certificate)) {}
  Verdict verify(const PeerChain&) override { return {.identity = identity_}; }
  Verdict resume(const Identity& identity, std::uint64_t, std::uint32_t) override { return {.identity = identity}; }

 private:
  const Identity identity_;
};

// One connection: OpenSSL's client on one side of two memory BIOs, the engine on the other.
class Connection {
 public:
  Connection(const TlsContext& server, Verifier& verifier, SSL_CTX* client, const Holder& holder, const Kind& kind,
             SSL_SESSION* session)
      : engine_(server, &verifier, output_), ssl_(SSL_new(client)) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    if (!ssl_ || in_ == nullptr || out_ == nullptr) return;
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
    if (!kind.extended_master) SSL_set_options(ssl_.get(), SSL_OP_NO_EXTENDED_MASTER_SECRET);
    const auto choose = kind.version == TLS1_3_VERSION ? &SSL_set_ciphersuites : &SSL_set_cipher_list;
    ready_ = SSL_set_min_proto_version(ssl_.get(), kind.version) == 1 &&
             SSL_set_max_proto_version(ssl_.get(), kind.version) == 1 && choose(ssl_.get(), kind.suite) == 1 &&
             SSL_set1_groups_list(ssl_.get(), kind.groups) == 1 &&
             SSL_use_certificate(ssl_.get(), holder.certificate->x509()) == 1 &&
             SSL_use_PrivateKey(ssl_.get(), holder.key.get()) == 1 &&
             (session == nullptr || SSL_set_session(ssl_.get(), session) == 1);
  }

  // As if it had been closed in order: otherwise OpenSSL marks its session as unfit for resumption.
  ~Connection() {
    if (ssl_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool shake() {
    Step step = Step::WantInput;
    bool finished = false;
    for (int turn = 0; ready_ && turn < 10 && !(finished && step == Step::Done); ++turn) {
      finished = SSL_do_handshake(ssl_.get()) == 1;
      if (step != Step::Done) step = hear([this] { return engine_.handshake(); });
      if (step != Step::Done && step != Step::WantInput) return false;
      to_client();
    }
    return finished && step == Step::Done;
  }
  bool resumed() const { return SSL_session_reused(ssl_.get()) == 1 && engine_.resumed(); }
  // There and back, with a key update between where there is one.
  bool talks() {
    for (int turn = 0; turn < 2; ++turn) {
      const Bytes asked(500, static_cast<std::uint8_t>(turn));
      std::size_t n = 0;
      if (SSL_write_ex(ssl_.get(), asked.data(), asked.size(), &n) != 1 || !heard(asked)) return false;
      if (engine_.write(asked) != Step::Done) return false;
      to_client();
      Bytes answer(asked.size());
      if (SSL_read_ex(ssl_.get(), answer.data(), answer.size(), &n) != 1 || n != asked.size() || answer != asked) {
        return false;
      }
      const bool updates = SSL_version(ssl_.get()) == TLS1_3_VERSION;
      if (updates && SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) != 1) return false;
    }
    return true;
  }
  SessionPtr ticket() const {
    SessionPtr session(SSL_get1_session(ssl_.get()));
    return session && SSL_SESSION_is_resumable(session.get()) == 1 ? std::move(session) : nullptr;
  }

 private:
  // Lends the engine all that the client has to send.
  template <class Call>
  Step hear(Call call) {
    Bytes more(BIO_ctrl_pending(out_));
    if (!more.empty()) BIO_read(out_, more.data(), static_cast<int>(more.size()));
    kept_.insert(kept_.end(), more.begin(), more.end());
    engine_.lend(kept_);
    const Step step = call();
    kept_.erase(kept_.begin(), kept_.end() - static_cast<std::ptrdiff_t>(engine_.unread()));
    engine_.lend(kept_);
    return step;
  }
  bool heard(const Bytes& expected) {
    Bytes into(TlsRecords::kMostOpened);
    std::size_t n = 0;
    const Step step = hear([&] { return engine_.read(into, n); });
    into.resize(n);
    return step == Step::Done && into == expected;
  }
  void to_client() {
    BIO_write(in_, output_.bytes().data(), static_cast<int>(output_.size()));
    output_.consume(output_.size());
  }

  ByteBuffer output_;
  TlsEngine engine_;
  SslPtr ssl_;
  BIO* in_ = nullptr;  // of ssl_
  BIO* out_ = nullptr;
  Bytes kept_;
  bool ready_ = false;
};

struct Parties {
  Holder holder;
  TicketKeys keys{std::time(nullptr)};
  std::optional<Admits> admits;
  std::unique_ptr<TlsContext> server;
  ContextPtr client{SSL_CTX_new(TLS_client_method())};

  Parties() {
    if (!holder.certificate) return;
    admits.emplace(*holder.certificate);
    ListenerConfig listener;
    listener.name = "self-test";
    std::vector<ServerCertificate> certificates;
    EVP_PKEY_up_ref(holder.key.get());
    certificates.push_back({{*holder.certificate}, ServerKey(KeyPtr(holder.key.get())), {"self-test"}});
    auto made = TlsContext::create(listener, AuthMode::Mutual, std::move(certificates), &keys);
    if (made) server = std::move(*made);
  }

  // A session to resume with; null where the connection does not work, or does not do as `session` has it.
  SessionPtr connect(const Kind& kind, SSL_SESSION* session) {
    Connection connection(*server, *admits, client.get(), holder, kind, session);
    if (!connection.shake() || !connection.talks() || connection.resumed() != (session != nullptr)) return nullptr;
    return connection.ticket();
  }
};

}  // namespace

std::string_view tls_self_test() {
  const NoErrorsLeft no_errors_left;
  Parties parties;
  if (!parties.server || !parties.client) return "a certificate to test TLS with cannot be made";
  for (const Kind& kind : kKinds) {
    const SessionPtr session = parties.connect(kind, nullptr);
    if (!session) return kind.fails;
    const SessionPtr next = parties.connect(kind, session.get());  // a ticket of TLS 1.3 is for one use
    if (!next) return kind.fails;
    if (kind.crossed_to == nullptr) continue;
    Kind other = kind;
    other.groups = kind.crossed_to;
    if (!parties.connect(other, next.get())) return kind.fails;
  }
  return {};
}

namespace {

// Once: what held at the start holds until the end.
void settle_openssl_insides() {
  static const bool settled = [] {
    const OpensslAlone not_alone(false);
    if (light_parsing_context() == nullptr) return true;
    const std::string_view failed = tls_self_test();
    if (!failed.empty()) give_up_openssl_insides(failed);
    return true;
  }();
  (void)settled;
}

}  // namespace

bool any_listener_by(TlsMadeBy by, const Config& config) {
  return config.tls_engine == by || std::any_of(config.listeners.begin(), config.listeners.end(),
                                                [&](const ListenerConfig& each) { return each.tls_engine == by; });
}

Answer<void> check_tls_engines(const Config& config) {
  note_openssl_configuration();
  const bool alone = any_listener_by(TlsMadeBy::Openssl, config);
  std::string lacks = alone ? openssl_alone_lacks() : openssl_providers_lack();
  if (lacks.empty()) return {};
  return Refusal{Refusal::Kind::Invalid, (alone ? "tls_engine = \"openssl\": " : "") + std::move(lacks)};
}

void settle_tls_engines(const Config& config) {
  if (any_listener_by(TlsMadeBy::Auto, config)) settle_openssl_insides();
}

}  // namespace sallyport
