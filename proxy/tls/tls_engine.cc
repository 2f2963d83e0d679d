#include "proxy/tls/tls_engine.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <utility>

#include "cache/crypto/keys_unread.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/crypto/openssl_insides.h"
#include "cache/crypto/openssl_ptr.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/client_rules.h"
#include "proxy/tls/handshake_crypto.h"
#include "proxy/tls/ticket.h"
#include "proxy/tls/tls12_handshake.h"
#include "proxy/tls/tls13_handshake.h"
#include "proxy/tls/tls_callbacks.h"
#include "proxy/tls/tls_key_use.h"
#include "proxy/tls/tls_resumption.h"
#include "proxy/tls/tls_session_swap.h"

namespace sallyport {

TlsEngine::TlsEngine(const TlsContext& context, Verifier* verifier, ByteBuffer& output)
    : context_(context.default_context()),
      swap_(&context.session_swap()),
      server_(context.handshake_server()),
      resumption_(context.resumption()),
      alone_(context.openssl_alone()),
      verifier_(verifier),
      output_(output) {
  SSL_CTX_up_ref(context_);
}

TlsEngine::~TlsEngine() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

Step TlsEngine::handshake(Pace pace) {
  const OpensslAlone scope(alone_);
  if (pace == Pace::OneRecord) input_.hold_back_all_but_one_record();
  const Step step = shake();
  input_.release();
  return step;
}

Step TlsEngine::shake() {
  if (records_.active()) return Step::Done;
  if (due_alert_ != 0) return Step::Failed;
  if (ours_ == nullptr && ssl_ == nullptr) {
    const Step step = choose();
    if (step != Step::Done) return step;
  }
  return ours_ != nullptr ? shake_ours() : shake_openssl();
}

namespace {

// Whether a whole header may be that of a ClientHello's record: RFC 8446, section 5.1.
bool begins_hello(std::span<const std::uint8_t> header) {
  return header[0] == static_cast<std::uint8_t>(ContentType::Handshake) && header[1] == 3 && header[2] >= 1 &&
         header[2] <= 3 && record_length(header) <= kMostPlain;
}

// How many bytes the first record has, or its header where there is no more, or where it is none of a ClientHello.
std::size_t hello_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < RecordCipher::kHeaderBytes || !begins_hello(bytes)) return RecordCipher::kHeaderBytes;
  return RecordCipher::kHeaderBytes + record_length(bytes);
}

}  // namespace

// Done once either has the handshake.
Step TlsEngine::choose() {
  if (resumption_ != nullptr) endings_ = resumption_->endings();
  if (server_ != nullptr && !input_.ended()) {
    const std::span<const std::uint8_t> record = input_.next_record(hello_bytes);
    if (record.empty()) return Step::WantInput;
    if (begins_hello(record) && begin_ours(record)) {
      input_.done_with_record();
      return Step::Done;
    }
    if (due_alert_ != 0) return refuse(output_.size());
    input_.put_back(record);  // it goes to OpenSSL as it came
  }
  if (begin_openssl()) return Step::Done;
  error_ = {Origin::Proxy, Reason::InternalError, 0, "out of memory"};
  return Step::Failed;
}

// Of a handshake in which nothing of ours was encrypted yet. What was answered since `output_before` is not said.
Step TlsEngine::refuse(std::size_t output_before) {
  const std::array<std::uint8_t, 2> alert = {SSL3_AL_FATAL, due_alert_};
  output_.keep_first(output_before);
  append_record(ContentType::Alert, alert, output_);
  SSL_free(ssl_);
  ssl_ = nullptr;
  return not_proven(Step::Failed);
}

bool TlsEngine::begin_ours(std::span<const std::uint8_t> record) {
  ours_ = answer(record.subspan(RecordCipher::kHeaderBytes));
  clear_errors();
  if (ours_ != nullptr || due_alert_ != 0) handshake_by_ = TlsMaker::Own;
  if (ours_ == nullptr) {
    verdict_.reset();
    by_ticket_ = false;
    ticket_fate_ = TicketFate::None;
  }
  return ours_ != nullptr;
}

// The handshake that has answered the ClientHello `message`, or null where OpenSSL may.
std::unique_ptr<OwnHandshake> TlsEngine::answer(std::span<const std::uint8_t> message) {
  if (const auto hello = plain_hello(message, has_post_quantum_exchange())) return answer13(*hello, message);
  const auto hello = plain_hello12(message);
  if (!hello) return nullptr;
  asks_for(hello->server_name);
  auto begun = std::make_unique<Tls12Handshake>(*server_, resumption_, server_name_, verifier_, verdict_, output_);
  return begun->begin(*hello, message) ? std::move(begun) : nullptr;
}

std::unique_ptr<OwnHandshake> TlsEngine::answer13(const PlainHello& hello, std::span<const std::uint8_t> message) {
  Secret256 secret;
  bool resumes = false;
  asks_for(hello.server_name);
  if (hello.ticket && resumption_ != nullptr) {
    const auto ticket = resumption_->open(hello.ticket->ticket, std::time(nullptr), secret, ticket_fate_);
    // A good ticket with a bad binder must end the handshake: RFC 8446, section 4.2.11.
    if (ticket && !Tls13Handshake::binder_holds(*hello.ticket, message, secret)) {
      error_ = {Origin::Client, Reason::TlsError, SSL_R_BINDER_DOES_NOT_VERIFY,
                "the binder of the client's ticket is wrong"};
      due_alert_ = SSL_AD_DECRYPT_ERROR;
      return nullptr;
    }
    resumes = ticket && honours(*ticket);
  }
  auto begun = std::make_unique<Tls13Handshake>(*server_, verifier_, verdict_, output_);
  return begun->begin(hello, message, resumes ? &secret : nullptr) ? std::move(begun) : nullptr;
}

// Kept for the ticket: names are compared without case (RFC 6066, section 3).
void TlsEngine::asks_for(std::optional<std::string_view> server_name) {
  server_name_.assign(server_name.value_or(std::string_view()));
  for (char& c : server_name_) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Whether a ticket that came back stands for a handshake: the device's standing is asked for now, and then in verdict_.
bool TlsEngine::honours(const Ticket& ticket) {
  ticket_fate_ = fate_of(ticket);
  if (ticket_fate_ != TicketFate::Resumed) return false;
  authenticated_at_ = ticket.authenticated_at;
  return true;
}

TicketFate TlsEngine::fate_of(const Ticket& ticket) {
  // RFC 6066, section 3: a session of another name is not resumed. TLS 1.3 leaves that open.
  if (ticket.mutual != (verifier_ != nullptr) || ticket.server_name != server_name_) return TicketFate::OtherName;
  if (resumption_ == nullptr || !resumption_->young(ticket, std::time(nullptr))) return TicketFate::TooOld;
  if (!ticket.mutual) return TicketFate::Resumed;
  if (!ticket.identity) return TicketFate::NoStanding;
  verdict_ = verifier_->resume(*ticket.identity, ticket.chain_id, ticket.epoch);
  by_ticket_ = verdict_->admitted();
  if (!by_ticket_) verdict_.reset();
  return by_ticket_ ? TicketFate::Resumed : TicketFate::NoStanding;
}

// A client may take its time between its ticket and its Finished: what ended all tickets meanwhile ended this one.
bool TlsEngine::outlived_its_key() {
  if (resumption_ == nullptr || resumption_->endings() == endings_) return false;
  error_ = {Origin::Proxy, Reason::TlsError, 0, "all tickets were ended while its own was being resumed"};
  return true;
}

Ticketed TlsEngine::ticketed(bool resumed) const {
  const bool decided = verdict_ && by_ticket_ == resumed;
  return {verifier_ != nullptr, decided ? &*verdict_ : nullptr, server_name_, resumed ? authenticated_at_ : 0};
}

bool TlsEngine::begin_openssl() {
  ssl_ = SSL_new(context_);
  BIO* bio = ssl_ == nullptr ? nullptr : TlsCallbacks::make_bio(this);
  if (bio == nullptr) {
    SSL_free(ssl_);
    ssl_ = nullptr;
    return false;
  }
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_msg_callback(ssl_, &TlsCallbacks::on_message);
  SSL_set_msg_callback_arg(ssl_, this);
  SSL_set_accept_state(ssl_);
  return true;
}

Step TlsEngine::shake_ours() {
  for (;;) {
    const std::span<const std::uint8_t> record =
        input_.next_record([this](std::span<const std::uint8_t> bytes) { return ours_->record_bytes(bytes); });
    if (record.empty()) return input_.ended() ? not_proven(Step::Truncated) : Step::WantInput;
    const Step step = ours_->read(record);
    clear_errors();
    input_.done_with_record();
    switch (step) {
      case Step::WantInput: break;
      case Step::Done: return finish_ours();
      case Step::Failed: error_ = ours_->error(); return not_proven(step);
      case Step::Closed:
      case Step::Truncated: return not_proven(step);
    }
  }
}

// Whose ticket came back has proven nothing where the handshake did not go on.
Step TlsEngine::not_proven(Step step) {
  if (by_ticket_) verdict_.reset();
  return step;
}

namespace {

KeyGroup label_of(Group group) {
  switch (group) {
    case Group::X25519: return KeyGroup::X25519;
    case Group::X25519MlKem768: return KeyGroup::X25519MlKem768;
    case Group::P256: break;
  }
  return KeyGroup::P256;
}

// By the names of OpenSSL's table of groups, which its providers fill: a group of theirs has no NID.
KeyGroup key_group_of(SSL* ssl) {
  if (SSL_session_reused(ssl) == 1 && SSL_version(ssl) < TLS1_3_VERSION) return KeyGroup::None;  // RFC 5077
  struct Named {
    const char* name;
    KeyGroup group;
  };
  static constexpr Named kNamed[] = {{"x25519", KeyGroup::X25519},
                                     {"X25519MLKEM768", KeyGroup::X25519MlKem768},
                                     {"secp256r1", KeyGroup::P256},
                                     {"secp384r1", KeyGroup::P384},
                                     {"secp521r1", KeyGroup::P521}};
  const long id = SSL_get_negotiated_group(ssl);
  const char* name = id == 0 ? nullptr : SSL_group_to_name(ssl, static_cast<int>(id));
  const auto* found = std::find_if(std::begin(kNamed), std::end(kNamed), [&](const Named& each) {
    return name != nullptr && OPENSSL_strcasecmp(each.name, name) == 0;
  });
  return found == std::end(kNamed) ? KeyGroup::None : found->group;
}

}  // namespace

Step TlsEngine::finish_ours() {
  // One ticket, so its nonce may be any: RFC 8446, section 4.6.1.
  static constexpr std::array<std::uint8_t, 1> kNonce = {0};
  if (!ours_->hand_over(records_)) {
    error_ = {Origin::Proxy, Reason::InternalError, 0, "the handshake's keys cannot be used"};
    return Step::Failed;
  }
  resumed_ = ours_->resumes();
  if (resumed_ && outlived_its_key()) return Step::Failed;
  ticket_issued_ = ours_->issued_ticket();
  cipher_name_ = ours_->cipher_name();
  group_ = label_of(ours_->group());
  Secret256 secret;
  std::uint32_t age_add = 0;
  if (resumption_ != nullptr && ours_->ticket_secret(kNonce, secret) &&
      RAND_bytes(reinterpret_cast<unsigned char*>(&age_add), sizeof age_add) == 1) {
    if (const auto issued = resumption_->issue(ticketed(resumed_), secret, std::time(nullptr))) {
      ticket_issued_ = true;
      records_.send_message(new_session_ticket(issued->lifetime, age_add, kNonce, issued->ticket), output_);
    }
    clear_errors();
  }
  settle();
  return Step::Done;
}

// The handshake is over, and nothing of the context is needed any more.
void TlsEngine::settle() {
  ours_.reset();
  SSL_free(ssl_);
  ssl_ = nullptr;
  SSL_CTX_free(context_);
  context_ = nullptr;
}

// It begins where libssl opens a ticket, or writes one, and ends behind that: libssl has not come there.
void TlsEngine::ticket_not_opened() {
  KeysUnread::give_up();
  error_ = {Origin::Proxy, Reason::InternalError, 0, "a provider of OpenSSL's could not open a ticket"};
}

Step TlsEngine::shake_openssl() {
  clear_errors();
  const std::size_t output_before = output_.size();
  const TrafficSecretsTap tap(records_.secrets());
  const KeysUnread ended_with_this{};
  const int outcome = SSL_do_handshake(ssl_);
  if (KeysUnread::begun()) ticket_not_opened();
  KeysUnread::end();
  if (due_alert_ != 0) {
    clear_errors();
    return refuse(output_before);
  }
  if (outcome == 1) {
    resumed_ = SSL_session_reused(ssl_) == 1;
    if (resumed_ && outlived_its_key()) {
      // The next ticket is written, and goes; what comes behind it could not be read then, so nothing does.
      ticket_issued_ = false;
      output_.keep_first(output_before);
      SSL_free(std::exchange(ssl_, nullptr));
      return Step::Failed;
    }
    cipher_name_ = SSL_CIPHER_get_name(SSL_get_current_cipher(ssl_));
    group_ = key_group_of(ssl_);
    // No verify callback runs on resumption: what was found when the ticket came back is the verdict, and without
    // one there is none. Neither does a ticket that OpenSSL did not use after all stand for a certificate.
    if (resumed_ != by_ticket_) verdict_.reset();
    if (!resumed_ && ticket_fate_ == TicketFate::Resumed) ticket_fate_ = TicketFate::TooOld;  // as OpenSSL looks at it
    if (!take_over(output_before)) {
      count_key_use(ssl_, records_.key_uses());
      swap_->lighten(ssl_);
    }
    return Step::Done;
  }
  const unsigned long code = ERR_peek_error();
  const Step step = step_after(outcome);
  if (step != Step::WantInput) not_proven(step);
  if (step != Step::Failed) return step;
  if (const auto alert = ERR_GET_LIB(code) == ERR_LIB_SSL ? mended_alert(ERR_GET_REASON(code)) : std::nullopt) {
    due_alert_ = *alert;
    return refuse(output_before);
  }
  if (verdict_ && !verdict_->admitted()) {
    error_ = refused_for(*verdict_);
  } else if (error_.detail == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    error_ = {Origin::Client, Reason::NoCertificate, 0, "the client sent no certificate"};
  }
  return step;
}

// Reads OpenSSL's error queue once and empties it.
Step TlsEngine::step_after(int outcome) {
  const int kind = SSL_get_error(ssl_, outcome);
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  clear_errors();
  switch (kind) {
    case SSL_ERROR_WANT_READ: return input_.ended() ? Step::Truncated : Step::WantInput;
    case SSL_ERROR_ZERO_RETURN: return Step::Closed;
    case SSL_ERROR_SYSCALL: return Step::Truncated;
    default: break;
  }
  // OpenSSL 3 reports an abrupt close as an error of its own: openssl/openssl issue 11378.
  if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return Step::Truncated;
  // A callback of ours has said more.
  if (error_.what.data() == nullptr) {
    error_ = {Origin::Client, Reason::TlsError, reason, text != nullptr ? text : "TLS failed"};
  }
  return Step::Failed;
}

bool TlsEngine::has_spent_key() const {
  return records_.active() ? records_.has_spent_key()
                           : ssl_ != nullptr && sallyport::has_spent_key(ssl_, records_.key_uses());
}

Step TlsEngine::read(std::span<std::uint8_t> into, std::size_t& n) {
  n = 0;
  if (has_spent_key()) {
    error_ = kSpentKey;
    return Step::Failed;
  }
  if (records_.active()) {
    const Step step = records_.read(input_.lent(), into, n, output_);
    if (step == Step::WantInput && input_.ended()) return Step::Truncated;
    if (step == Step::Failed) {
      const char* text = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, records_.failure()));
      error_ = {Origin::Client, Reason::TlsError, records_.failure(), text != nullptr ? text : "TLS failed"};
    }
    return step;
  }
  if (ssl_ == nullptr) return Step::Failed;  // no handshake has finished
  clear_errors();
  const int outcome = SSL_read_ex(ssl_, into.data(), into.size(), &n);
  if (outcome == 1) return Step::Done;
  const Step step = step_after(outcome);
  if (step != Step::WantInput || SSL_in_init(ssl_) == 0 || SSL_version(ssl_) >= TLS1_3_VERSION) return step;
  // OpenSSL would collect 128 KiB of it and decline then. Our own records take none that is in pieces, either.
  error_ = {Origin::Client, Reason::TlsError, SSL_R_UNEXPECTED_MESSAGE,
            "the client asks for another handshake, in pieces"};
  return Step::Failed;
}

bool TlsEngine::drained() const {
  if (has_spent_key()) return false;  // read() says so
  if (records_.active()) return !input_.ended() && records_.missing(input_.lent()) > 0;
  return ssl_ != nullptr && input_.empty() && !input_.ended() && SSL_has_pending(ssl_) == 0;
}

std::size_t TlsEngine::missing(std::span<const std::uint8_t> kept) const {
  return records_.active() ? records_.missing(kept) : 0;
}

bool TlsEngine::takes_data() const {
  return records_.active() || ssl_ == nullptr || SSL_in_init(ssl_) == 0;
}

Step TlsEngine::write(std::span<const std::uint8_t> plain) {
  const Step step = seal(plain);
  if (step != Step::Done || !has_spent_key()) return step;
  error_ = kSpentKey;
  return Step::Failed;
}

// OpenSSL gives its buffers back after each record, so that an idle connection has none. In a stream the next record
// would get other memory, which no cache holds. So a stream keeps them, some 34 KB, and the first piece that is less
// than a record ends that.
void TlsEngine::keep_buffers(bool keep) {
  if (keep == keeps_buffers_) return;
  keeps_buffers_ = keep;
  keep ? SSL_clear_mode(ssl_, SSL_MODE_RELEASE_BUFFERS) : SSL_set_mode(ssl_, SSL_MODE_RELEASE_BUFFERS);
}

Step TlsEngine::seal(std::span<const std::uint8_t> plain) {
  if (records_.active()) {
    if (records_.write(plain, output_)) return Step::Done;
    if (error_.what.data() == nullptr) {
      error_ = {Origin::Client, Reason::TlsError, 0, "the TLS session takes no more data"};
    }
    return Step::Failed;
  }
  if (ssl_ == nullptr) return Step::Failed;
  clear_errors();
  keep_buffers(plain.size() >= SSL3_RT_MAX_PLAIN_LENGTH);
  while (!plain.empty()) {
    std::size_t written = 0;
    renew_spent_key(ssl_, records_.key_uses());
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
  const bool failed = error_.what.data() != nullptr && !has_spent_key();
  if (ssl_ == nullptr || close_sent_ || !established() || failed) return;
  close_sent_ = true;
  clear_errors();
  SSL_shutdown(ssl_);
  clear_errors();
}

bool TlsEngine::established() const {
  return records_.active() || (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1);
}
int TlsEngine::version_index() const {
  if (ssl_ != nullptr) return SSL_version(ssl_) >= TLS1_3_VERSION ? 1 : 0;
  const TlsVersion version = ours_ != nullptr ? ours_->version() : records_.version();
  return (ours_ != nullptr || records_.active()) && version == TlsVersion::V13 ? 1 : 0;
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
