#include "proxy/tls_engine.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>

#include "proxy/ticket.h"
#include "proxy/tls_callbacks.h"
#include "proxy/tls_session_swap.h"

namespace sallyport {

namespace {

// Clearing an empty queue costs as much as a small record.
void clear_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

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

// The alert each refusal is answered with (the contract, section 6), as the X509_V_ERR_* that OpenSSL maps
// to it. A code that its table does not know yields certificate_unknown.
int verify_error_for(Reason reason) {
  switch (reason) {
    case Reason::DeviceRevoked: return X509_V_ERR_CERT_REVOKED;
    case Reason::Expired: return X509_V_ERR_CERT_HAS_EXPIRED;
    case Reason::CaUnknown: return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
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
  if (engine.input_.empty()) {
    if (engine.input_ended_) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t n = std::min(engine.input_.size(), static_cast<std::size_t>(size));
  std::memcpy(into, engine.input_.data(), n);
  engine.input_ = engine.input_.subspan(n);
  return static_cast<int>(n);
}

int TlsCallbacks::bio_write(BIO* bio, const char* from, int size) {
  engine_of(bio)->output_.append({reinterpret_cast<const std::uint8_t*>(from), static_cast<std::size_t>(size)});
  return size;
}

long TlsCallbacks::bio_control(BIO* bio, int command, long, void*) {
  const TlsEngine& engine = *engine_of(bio);
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return engine.input_ended_ && engine.input_.empty() ? 1 : 0;
    default: return 0;
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
  const PeerChain peer{X509_STORE_CTX_get0_cert(store_context), X509_STORE_CTX_get0_untrusted(store_context)};
  engine->by_ticket_ = false;
  engine->verdict_ = engine->verifier_->verify(peer);
  if (engine->verdict_->admitted()) {
    X509_STORE_CTX_set_error(store_context, X509_V_OK);
    return 1;
  }
  X509_STORE_CTX_set_error(store_context, verify_error_for(engine->verdict_->reason));
  return 0;
}

Ticketed TlsCallbacks::ticketed(const SSL* ssl) {
  const auto* engine = static_cast<const TlsEngine*>(SSL_get_app_data(ssl));
  if (engine == nullptr) return {true, nullptr};
  const bool resumed = SSL_session_reused(ssl) == 1;
  const bool decided = engine->verdict_ && engine->by_ticket_ == resumed;
  return {engine->verifier_ != nullptr, decided ? &*engine->verdict_ : nullptr};
}

bool TlsCallbacks::resume(SSL* ssl, const Ticket& ticket) {
  auto* engine = static_cast<TlsEngine*>(SSL_get_app_data(ssl));
  if (engine == nullptr || ticket.mutual != (engine->verifier_ != nullptr)) return false;
  if (!ticket.mutual) return true;
  if (!ticket.identity) return false;
  engine->verdict_ = engine->verifier_->resume(*ticket.identity, ticket.chain_id);
  engine->by_ticket_ = engine->verdict_->admitted();
  if (!engine->by_ticket_) engine->verdict_.reset();
  return engine->by_ticket_;
}

void TlsCallbacks::install(SSL_CTX* context, bool mutual) {
  if (mutual) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_cert_verify_callback(context, &TlsCallbacks::verify, nullptr);
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  }
}

TlsEngine::TlsEngine(const TlsContext& context, Verifier* verifier, ByteBuffer& output)
    : ssl_(SSL_new(context.default_context())), swap_(&context.session_swap()), verifier_(verifier), output_(output) {
  if (ssl_ == nullptr) return;
  BIO* bio = TlsCallbacks::make_bio(this);
  if (bio == nullptr) {
    SSL_free(ssl_);
    ssl_ = nullptr;
    return;
  }
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_accept_state(ssl_);
}

TlsEngine::~TlsEngine() {
  SSL_free(ssl_);
}

void TlsEngine::lend(std::span<const std::uint8_t> ciphertext) {
  input_ = ciphertext;
}
std::size_t TlsEngine::unread() const {
  return input_.size();
}
void TlsEngine::end_of_input() {
  input_ended_ = true;
}

// What is held back is as if it had not arrived.
Step TlsEngine::handshake(Pace pace) {
  const std::span<const std::uint8_t> lent = input_;
  const bool ended = input_ended_;
  if (pace == Pace::OneRecord && lent.size() > RecordCipher::kHeaderBytes) {
    const std::size_t record = RecordCipher::kHeaderBytes + (std::size_t{lent[3]} << 8 | lent[4]);
    input_ = lent.first(std::min(record, lent.size()));
  }
  const std::span<const std::uint8_t> held_back = lent.subspan(input_.size());
  input_ended_ = ended && held_back.empty();
  const Step step = shake();
  input_ = {input_.data(), input_.size() + held_back.size()};
  input_ended_ = ended;
  return step;
}

Step TlsEngine::shake() {
  if (ssl_ == nullptr) {
    error_ = {Origin::Proxy, Reason::InternalError, 0, "out of memory"};
    return Step::Failed;
  }
  clear_errors();
  const std::size_t output_before = output_.size();
  const TrafficSecretsTap tap(records_.secrets());
  const int outcome = SSL_do_handshake(ssl_);
  if (outcome == 1) {
    resumed_ = SSL_session_reused(ssl_) == 1;
    // No verify callback runs on resumption: what was found when the ticket came back is the verdict, and without
    // one there is none. Neither does a ticket that OpenSSL did not use after all stand for a certificate.
    if (resumed_ != by_ticket_) verdict_.reset();
    if (!take_over(output_before)) swap_->lighten(ssl_);
    return Step::Done;
  }
  const Step step = step_after(outcome);
  // Whose ticket came back has proven nothing where the handshake did not go on.
  if (step != Step::WantInput && by_ticket_) verdict_.reset();
  if (step != Step::Failed) return step;
  if (verdict_ && !verdict_->admitted()) {
    error_ = {Origin::Client, verdict_->reason, verdict_->detail, "the device's certificate was refused"};
  } else if (error_.detail == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    error_ = {Origin::Client, Reason::NoCertificate, 0, "the client sent no certificate"};
  }
  return step;
}

namespace {

// RFC 8446, appendix B.4; 0: not AES-GCM of TLS 1.3.
std::size_t key_bytes_of(const SSL_CIPHER* cipher) {
  switch (cipher == nullptr ? 0 : SSL_CIPHER_get_protocol_id(cipher)) {
    case 0x1301: return 16;  // TLS_AES_128_GCM_SHA256
    case 0x1302: return 32;  // TLS_AES_256_GCM_SHA384
    default: return 0;
  }
}

// How many records there are in `bytes`, whole and of application data each: what a server writes when it has the
// client's Finished, its tickets. Nothing where there is anything else.
std::optional<std::uint64_t> application_records(std::span<const std::uint8_t> bytes) {
  std::uint64_t count = 0;
  while (!bytes.empty()) {
    if (bytes.size() < RecordCipher::kHeaderBytes || bytes[0] != SSL3_RT_APPLICATION_DATA) return std::nullopt;
    const std::size_t whole = RecordCipher::kHeaderBytes + (std::size_t{bytes[3]} << 8 | bytes[4]);
    if (bytes.size() < whole) return std::nullopt;
    bytes = bytes.subspan(whole);
    ++count;
  }
  return count;
}

}  // namespace

// The handshake has finished, and OpenSSL has read no byte beyond it, for it does not read ahead: from here on it is
// only records. `output_before` is what was in the output before the client's Finished was read. Each record since then
// has used a sequence number of the server's key, which must never be used again.
bool TlsEngine::take_over(std::size_t output_before) {
  if (SSL_version(ssl_) != TLS1_3_VERSION || SSL_has_pending(ssl_) != 0) return false;
  const SSL_SESSION* session = SSL_get_session(ssl_);
  if (session == nullptr || SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED) {
    return false;
  }
  const auto written = application_records(output_.bytes().subspan(output_before));
  if (!written || !records_.begin(key_bytes_of(SSL_get_current_cipher(ssl_)), *written)) return false;
  SSL_free(ssl_);
  ssl_ = nullptr;
  return true;
}

// Reads OpenSSL's error queue once and empties it.
Step TlsEngine::step_after(int outcome) {
  const int kind = SSL_get_error(ssl_, outcome);
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  clear_errors();
  switch (kind) {
    case SSL_ERROR_WANT_READ: return input_ended_ ? Step::Truncated : Step::WantInput;
    case SSL_ERROR_ZERO_RETURN: return Step::Closed;
    case SSL_ERROR_SYSCALL: return Step::Truncated;
    default: break;
  }
  // OpenSSL 3 reports an abrupt close as an error of its own: openssl/openssl issue 11378.
  if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return Step::Truncated;
  error_ = {Origin::Client, Reason::TlsError, reason, text != nullptr ? text : "TLS failed"};
  return Step::Failed;
}

Step TlsEngine::read(std::span<std::uint8_t> into, std::size_t& n) {
  n = 0;
  if (records_.active()) {
    const Step step = records_.read(input_, into, n, output_);
    if (step == Step::WantInput && input_ended_) return Step::Truncated;
    if (step == Step::Failed) {
      const char* text = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, records_.failure()));
      error_ = {Origin::Client, Reason::TlsError, records_.failure(), text != nullptr ? text : "TLS failed"};
    }
    return step;
  }
  clear_errors();
  const int outcome = SSL_read_ex(ssl_, into.data(), into.size(), &n);
  return outcome == 1 ? Step::Done : step_after(outcome);
}

bool TlsEngine::drained() const {
  if (records_.active()) return !input_ended_ && TlsRecords::missing(input_) > 0;
  return input_.empty() && !input_ended_ && SSL_pending(ssl_) == 0;
}

std::size_t TlsEngine::missing(std::span<const std::uint8_t> kept) const {
  return records_.active() ? TlsRecords::missing(kept) : 0;
}

Step TlsEngine::write(std::span<const std::uint8_t> plain) {
  if (records_.active()) {
    if (records_.write(plain, output_)) return Step::Done;
    if (error_.what.data() == nullptr) {
      error_ = {Origin::Client, Reason::TlsError, 0, "the TLS session takes no more data"};
    }
    return Step::Failed;
  }
  clear_errors();
  while (!plain.empty()) {
    std::size_t written = 0;
    const int outcome = SSL_write_ex(ssl_, plain.data(), plain.size(), &written);
    if (outcome != 1) {
      // The output always takes everything, so there is nothing to wait for.
      const Step step = step_after(outcome);
      if (step != Step::Failed) error_ = {Origin::Client, Reason::TlsError, 0, "the TLS session takes no more data"};
      return Step::Failed;
    }
    plain = plain.subspan(written);
  }
  return Step::Done;
}

void TlsEngine::close() {
  if (records_.active()) return records_.close(output_);
  // SSL_shutdown(3): not after a fatal error, and not before the handshake has finished.
  if (ssl_ == nullptr || close_sent_ || !established() || error_.what.data() != nullptr) return;
  close_sent_ = true;
  clear_errors();
  SSL_shutdown(ssl_);
  clear_errors();
}

bool TlsEngine::established() const {
  return records_.active() || (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1);
}
int TlsEngine::version_index() const {
  return records_.active() || (ssl_ != nullptr && SSL_version(ssl_) >= TLS1_3_VERSION) ? 1 : 0;
}
const std::optional<Verdict>& TlsEngine::verdict() const {
  return verdict_;
}
std::optional<Verdict>& TlsEngine::verdict() {
  return verdict_;
}
const Error& TlsEngine::error() const {
  return error_;
}

}  // namespace sallyport
