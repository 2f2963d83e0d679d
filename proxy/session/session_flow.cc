// The two flows of a session: client -> broker through the engine's read side, broker -> client through
// its write side. Each has a high-water mark above which its source is not read; half-closes pass through.
#include <algorithm>
#include <cerrno>

#include "cache/base/check.h"
#include "proxy/session/session.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kHalfClosedMs = 10'000;  // for the other side to follow
constexpr std::size_t kHandshakeBytes = 16 * 1024;
constexpr std::size_t kLargeRead = 4 * 1024;  // from here on plaintext goes straight to where it is sent from
constexpr std::size_t kRecord = 16 * 1024;    // of plaintext, at most: RFC 8446, section 5.1
constexpr std::size_t kRecordOverhead = 64;   // header, tag, and room to spare
// Of what TLS itself answers (a KeyUpdate, a renegotiation declined) while the client takes nothing.
constexpr std::size_t kMostAnswers = 16 * 1024;

}  // namespace

// Ends of a multishot operation that say nothing of the connection: start it again where it is wanted.
bool Session::merely_stopped(int value) {
  return value == -ENOBUFS || value == -ECANCELED;
}

bool Session::Stream::note(const IoResult& result) {
  constexpr std::uint8_t kBecomes = 4, kCeases = 16;
  constexpr std::size_t kLittle = 2 * 1024;
  const bool speaks = large_ ? result.data.size() < kLittle : result.filled;
  streak_ = speaks ? static_cast<std::uint8_t>(streak_ + 1) : std::uint8_t{0};
  if (streak_ < (large_ ? kCeases : kBecomes)) return false;
  streak_ = 0;
  large_ = !large_;
  return large_;
}

void Session::Stream::taken(bool all) {
  all_taken_ = all ? static_cast<std::uint8_t>(std::min<int>(all_taken_ + 1, kTrusted)) : std::uint8_t{0};
}

Reading Session::Stream::reading(bool stalled) const {
  if (large_) return all_taken_ >= kTrusted ? Reading::Whole : Reading::Large;
  return stalled ? Reading::Once : Reading::Multishot;
}

void Session::start_client_recv() {
  if (client_recv_.submitted() || client_fin_ || client_paused_) return;
  // Before the CONNECT a stranger decides what is held, so it is read shot by shot; a session that stalled
  // once is, too: a multishot receive may deliver much more before its cancellation arrives.
  if (state_ == State::Handshaking && from_client_.size() >= kHandshakeBytes) return;
  const Reading reading = state_ == State::Forwarding ? client_stream_.reading(client_stalled_) : Reading::Once;
  host_->io().recv(client_, reading, client_recv_);
}

// What a client did that was simply gone.
Reason Session::reason_for_leaving() const {
  if (state_ == State::Handshaking) return Reason::TlsError;
  return state_ == State::AwaitingConnect ? Reason::BadConnect : Reason::None;
}

void Session::on_client_recv(const IoResult& result) {
  if (state_ == State::Ending) return on_client_recv_ending(result);
  if (state_ == State::Halted) {  // whatever it says is heard no more
    client_fin_ = client_fin_ || (result.value <= 0 && !merely_stopped(result.value));
    return;
  }
  if (merely_stopped(result.value)) return start_client_recv();
  if (result.value < 0) {
    if (broker_ended_) return both_ended();  // how the client leaves after that says nothing
    const bool orderly = client_closed_ && !client_truncated_;
    return terminate({Origin::Client, reason_for_leaving(), -result.value, "the client's connection broke"},
                     orderly ? Cause::Closed : Cause::Reset);
  }
  if (result.value == 0) client_fin_ = true;
  if (state_ == State::Handshaking) {
    from_client_.append(result.data);
    return host_->wants_handshake(*this);
  }
  if (state_ == State::Forwarding && client_stream_.note(result)) host_->io().cancel(client_recv_);
  take_ciphertext(result.data);
  if (state_ != State::Ending) start_client_recv();
}

void Session::take_ciphertext(std::span<const std::uint8_t> data) {
  if (client_closed_) return;
  if (client_paused_) return from_client_.append(data);
  // What is kept is a torn record: it is completed, and the rest goes without a copy.
  while (!from_client_.empty() && !data.empty()) {
    const std::size_t missing = engine_->missing(from_client_.bytes());
    const std::size_t n = missing == 0 ? data.size() : std::min(missing, data.size());
    from_client_.append(data.first(n));
    data = data.subspan(n);
    decrypt();
    if (state_ == State::Ending || state_ == State::Halted || client_closed_) return;
    if (client_paused_) return from_client_.append(data);
  }
  if (data.empty() && !client_fin_) return;
  // The common case: straight out of the kernel's buffer.
  engine_->lend(data);
  decrypt();
}

// Reads plaintext for as long as there is room for it. What the engine has not read is kept.
void Session::decrypt() {
  const bool kept = !from_client_.empty();
  const std::size_t lent = from_client_.size();
  if (kept) engine_->lend(from_client_.bytes());
  if (client_fin_) engine_->end_of_input();
  while (!client_closed_) {
    if (state_ != State::AwaitingConnect && to_broker_held() >= kHighWater) {
      client_paused_ = client_stalled_ = true;
      host_->io().cancel(client_recv_);
      break;
    }
    if (engine_->drained()) break;
    std::size_t n = 0;
    const bool straight = engine_->unread() >= kLargeRead;
    const std::size_t room = std::max(engine_->unread(), kRecord);
    const Step step = engine_->read(straight ? to_broker_.prepare(room) : host_->scratch(), n);
    // Data for the client is not encrypted while a send is in flight: what grows then are such answers alone.
    if (client_send_.submitted() && to_client_.size() > kMostAnswers) {
      return terminate({Origin::Client, Reason::TlsError, 0, "the client asks and does not read"}, Cause::Protocol,
                       Manner::Abrupt);
    }
    if (step == Step::WantInput) break;
    if (step == Step::Failed) return terminate(engine_->error(), Cause::Protocol);
    if (step == Step::Closed || step == Step::Truncated) {
      client_closed_ = true;
      client_first_ = !broker_ended_;
      client_truncated_ = step == Step::Truncated;
      break;
    }
    if (straight) {
      to_broker_.commit(n);
    } else {
      to_broker_.append(host_->scratch().first(n));
    }
    if (state_ == State::AwaitingConnect) collect_connect();
    if (state_ == State::Ending) return;
  }
  const std::size_t unread = engine_->unread();
  if (kept) {
    engine_->lend({});
    from_client_.consume(lent - unread);
  } else {
    from_client_.append(engine_->rest());
    engine_->lend({});
  }
  host_->wants_flush(*this);
  if (client_closed_) on_client_closed();
}

void Session::on_client_closed() {
  if (state_ == State::AwaitingConnect) {
    return terminate({Origin::Client, Reason::BadConnect, 0, "the client left before a whole CONNECT"}, Cause::Closed);
  }
  if (state_ != State::Forwarding || to_broker_held() > 0 || broker_fin_sent_) return;
  if (broker_ended_) return both_ended();
  if (client_truncated_) {
    return terminate({Origin::Client, Reason::None, 0, "the client left without a close_notify"}, Cause::Reset);
  }
  host_->io().end_sending(broker_);
  broker_fin_sent_ = true;
  start_timer(timer_, kHalfClosedMs);
}

void Session::flush() {
  if (state_ == State::Free || state_ == State::Ending) return;
  flush_client();
  if (state_ == State::Forwarding && torn_) return terminate(engine_->error(), Cause::Protocol);
  if (state_ == State::Forwarding) flush_broker();
}

// The broker's bytes are encrypted when they can be sent, no earlier: what was not may still be dropped.
void Session::pass_to_client(std::span<const std::uint8_t> plain) {
  if (client_send_.submitted() || !to_client_plain_.empty()) {
    to_client_plain_.append(plain);
  } else {
    encrypt(plain);
  }
}

void Session::encrypt(std::span<const std::uint8_t> plain) {
  if (mqtt_known_) framing_.advance(plain);
  if (plain.size() >= kLargeRead) {  // its room at once, instead of record by record
    to_client_.prepare(plain.size() + (plain.size() / kRecord + 1) * kRecordOverhead);
  }
  // A failure is found, and told, by the next read or write of the session.
  if (engine_->write(plain) != Step::Done) torn_ = true;
}

void Session::flush_client() {
  if (client_send_.submitted()) return;
  // A piece at a time: what waits is then held once, as it came, and not a second time encrypted.
  if (to_client_.empty() && to_client_sending_.empty() && !to_client_plain_.empty()) {
    const std::size_t n = std::min(to_client_plain_.size(), kHighWater);
    encrypt(to_client_plain_.bytes().first(n));
    to_client_plain_.consume(n);
  }
  flush_client_ciphertext();
}

void Session::flush_client_ciphertext() {
  if (client_send_.submitted()) return;
  if (to_client_sending_.empty()) to_client_sending_.swap(to_client_);
  if (!to_client_sending_.empty()) host_->io().send(client_, to_client_sending_.bytes(), client_send_);
}

void Session::flush_broker() {
  if (broker_send_.submitted() || broker_fin_sent_) return;
  if (to_broker_sending_.empty()) to_broker_sending_.swap(to_broker_);
  if (!to_broker_sending_.empty()) host_->io().send(broker_, to_broker_sending_.bytes(), broker_send_);
}

void Session::on_client_send(const IoResult& result) {
  if (result.value > 0) {
    to_client_sending_.consume(static_cast<std::size_t>(result.value));
    broker_stream_.taken(to_client_sending_.empty());
  }
  if (state_ == State::Ending) {
    if (result.value < 0) farewell_ = Farewell::Close;
    return advance_ending();
  }
  if (state_ == State::Halted) return on_client_send_halted(result);
  if (result.value < 0) {
    if (broker_ended_) return both_ended();
    return terminate({Origin::Client, reason_for_leaving(), -result.value, "the client no longer takes data"},
                     client_closed_ ? Cause::Closed : Cause::Reset);
  }
  to_client_sending_.trim();  // a piece most of which was taken: another is read when little of it is left
  flush_client();
  if (torn_) return terminate(engine_->error(), Cause::Protocol);
  if (broker_ended_ && to_client_held() == 0) on_broker_ended();
  if (state_ == State::Forwarding) resume_broker();
}

void Session::start_broker_recv() {
  if (broker_recv_.submitted() || broker_ended_ || broker_paused_) return;
  host_->io().recv(broker_, broker_stream_.reading(broker_stalled_), broker_recv_);
}

void Session::on_broker_recv(const IoResult& result) {
  if (state_ == State::Ending) return advance_ending();
  if (state_ == State::Halted) return on_broker_recv_halted(result);
  if (merely_stopped(result.value)) return start_broker_recv();
  if (result.value < 0) {
    return terminate({Origin::Broker, Reason::None, -result.value, "the broker's connection broke"}, Cause::Reset);
  }
  if (result.value == 0) {
    broker_ended_ = true;
    if (to_client_plain_.empty()) engine_->close();
    start_timer(timer_, kHalfClosedMs);
    host_->wants_flush(*this);
    if (to_client_held() == 0) on_broker_ended();
    return;
  }
  host_->shard_counters().bytes_to_client.add(result.data.size());
  if (broker_stream_.note(result)) host_->io().cancel(broker_recv_);
  pass_to_client(result.data);
  if (torn_) return terminate(engine_->error(), Cause::Protocol);
  host_->wants_flush(*this);
  if (to_client_held() >= kHighWater && !broker_paused_) {
    broker_paused_ = broker_stalled_ = true;
    host_->io().cancel(broker_recv_);
  }
  start_broker_recv();
}

// Everything of the broker's has been sent: its end is passed on, and the client may still finish.
void Session::on_broker_ended() {
  if (client_fin_sent_) return;
  engine_->close();  // the first time only
  flush_client();
  if (to_client_held() > 0) return;  // on_client_send() comes back here
  host_->io().end_sending(client_);
  client_fin_sent_ = true;
  if (client_closed_) both_ended();
}

// Whoever ended first is named as the one who did.
void Session::both_ended() {
  terminate({client_first_ ? Origin::Client : Origin::Broker, Reason::None, 0, "both sides closed"}, Cause::Closed);
}

void Session::on_broker_send(const IoResult& result) {
  if (state_ == State::Ending) return advance_ending();
  if (state_ == State::Halted) return;
  if (result.value < 0) {
    return terminate({Origin::Broker, Reason::None, -result.value, "the broker no longer takes data"},
                     broker_ended_ ? Cause::Closed : Cause::Reset);
  }
  host_->shard_counters().bytes_to_broker.add(static_cast<std::uint64_t>(result.value));
  to_broker_sending_.consume(static_cast<std::size_t>(result.value));
  to_broker_sending_.trim();
  client_stream_.taken(to_broker_sending_.empty());
  flush_broker();
  resume_client();
  if (state_ == State::Forwarding && client_closed_) on_client_closed();
}

void Session::resume_client() {
  if (!client_paused_ || to_broker_held() > kLowWater) return;
  client_paused_ = false;
  decrypt();
  if (state_ != State::Ending) start_client_recv();
}

void Session::resume_broker() {
  if (!broker_paused_ || to_client_held() > kLowWater) return;
  broker_paused_ = false;
  start_broker_recv();
}

}  // namespace sallyport
