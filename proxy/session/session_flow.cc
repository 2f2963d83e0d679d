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

// TCP's own timeouts: the peer is gone, or takes nothing (socket_options.h).
Cause cause_of(int error) {
  return error == ETIMEDOUT ? Cause::Timeout : Cause::Reset;
}

}  // namespace

// Ends of a multishot operation that say nothing of the connection: start it again where it is wanted.
bool Session::merely_stopped(int value) {
  return value == -ENOBUFS || value == -ECANCELED;
}

bool StreamWatch::note(const IoResult& result) {
  constexpr std::uint8_t kBecomes = 4, kCeases = 16;
  constexpr std::size_t kLittle = 2 * 1024;
  const bool speaks = large_ ? result.data.size() < kLittle : result.filled;
  streak_ = speaks ? static_cast<std::uint8_t>(streak_ + 1) : std::uint8_t{0};
  if (streak_ < (large_ ? kCeases : kBecomes)) return false;
  streak_ = 0;
  large_ = !large_;
  return large_;
}

void StreamWatch::taken(bool all) {
  all_taken_ = all ? static_cast<std::uint8_t>(std::min<int>(all_taken_ + 1, kTrusted)) : std::uint8_t{0};
}

Reading StreamWatch::reading(bool stalled) const {
  if (large_) return all_taken_ >= kTrusted ? Reading::Whole : Reading::Large;
  return stalled ? Reading::Once : Reading::Multishot;
}

// Looked at four times in idle_timeout, so that a byte that passes costs no look at the clock.
void Session::watch_idle() {
  const std::chrono::milliseconds limit = settings_.config->idle_timeout;
  quiet_ = 0;
  if (limit.count() > 0) start_timer(idle_timer_, static_cast<std::uint64_t>(limit.count() + 3) / 4);
}

// The look after the last byte is the first that counts, and may come at once: so five are a whole idle_timeout.
void Session::on_idle_timer() {
  constexpr std::uint8_t kLooks = 5;
  if (state_ != State::Forwarding) return;
  if (++quiet_ < kLooks) {
    return start_timer(idle_timer_, static_cast<std::uint64_t>(settings_.config->idle_timeout.count() + 3) / 4);
  }
  if (!client_.closed()) client_.end = ClientEnd::Truncated;
  deliver({Origin::Proxy, Reason::None, 0, "no byte either way for idle_timeout"}, Cause::Timeout, Manner::Orderly);
}

void Session::start_client_recv() {
  if (client_recv_.submitted() || client_.fin || client_.paused) return;
  // Before the CONNECT a stranger decides what is held, so it is read shot by shot; a session that stalled
  // once is, too: a multishot receive may deliver much more before its cancellation arrives.
  if (state_ == State::Handshaking && client_.received.size() >= kHandshakeBytes) return;
  const Reading reading = state_ == State::Forwarding ? client_.stream.reading(client_.stalled) : Reading::Once;
  host_->loop.io().recv(client_.socket, reading, client_recv_);
}

void Session::on_client_recv(const IoResult& result) {
  if (state_ > State::Forwarding) return on_client_recv_leaving(result);
  if (merely_stopped(result.value)) return start_client_recv();
  quiet_ = 0;
  if (result.value <= 0) {
    client_.fin = true;
    client_.error = -result.value;
    if (client_.error != 0 && client_.closed()) return on_client_closed();
  }
  if (state_ == State::Handshaking) {
    // Nothing it said is left: while a step is due for what it said, its socket is not read.
    if (client_.error != 0) {
      if (!client_.handshake_underway && client_.received.empty()) return left_silently();
      const Reason reason = header_due_ ? Reason::BadProxyHeader : Reason::TlsError;
      return terminate({Origin::Client, reason, client_.error, "the client's connection broke"}, Cause::Reset);
    }
    client_.received.append(result.data);
    if (!client_.handshake_underway && !comes_to_tls()) return;
    return host_->schedule.wants_handshake(*this);
  }
  if (state_ == State::Forwarding && client_.stream.note(result)) host_->loop.io().cancel(client_recv_);
  take_ciphertext(result.data);
  if (state_ <= State::Forwarding) start_client_recv();
}

void Session::take_ciphertext(std::span<const std::uint8_t> data) {
  if (client_.closed()) return;
  if (client_.paused) return client_.received.append(data);
  // What is kept is a torn record: it is completed, and the rest goes without a copy.
  while (!client_.received.empty() && !data.empty()) {
    const std::size_t missing = engine_->missing(client_.received.bytes());
    const std::size_t n = missing == 0 ? data.size() : std::min(missing, data.size());
    client_.received.append(data.first(n));
    data = data.subspan(n);
    decrypt();
    if (over() || state_ == State::Halted || client_.closed()) return;
    if (client_.paused) return client_.received.append(data);
  }
  if (data.empty() && !client_.fin) return;
  // The common case: straight out of the kernel's buffer.
  engine_->lend(data);
  decrypt();
}

// Reads plaintext for as long as there is room for it. What the engine has not read is kept.
void Session::decrypt() {
  const bool kept = !client_.received.empty();
  const std::size_t lent = client_.received.size();
  if (kept) engine_->lend(client_.received.bytes());
  if (client_.fin) engine_->end_of_input();
  while (!client_.closed()) {
    if (state_ != State::AwaitingConnect && to_broker_held() >= kHighWater) {
      client_.paused = client_.stalled = true;
      host_->loop.io().cancel(client_recv_);
      break;
    }
    if (engine_->drained()) break;
    std::size_t n = 0;
    const bool straight = engine_->unread() >= kLargeRead;
    const std::size_t room = std::max(engine_->unread(), kRecord);
    const Step step = engine_->read(straight ? broker_.to_send.prepare(room) : host_->loop.scratch(), n);
    // Data for the client is not encrypted while a send is in flight: what grows then are such answers alone.
    if (client_send_.submitted() && client_.to_send.size() > kMostAnswers) {
      return client_failed({Origin::Client, Reason::TlsError, 0, "the client asks and does not read"}, Cause::Protocol,
                           Manner::Abrupt);
    }
    if (step == Step::WantInput) break;
    if (step == Step::Failed) return engine_failed();
    if (step == Step::Closed || step == Step::Truncated) {
      client_.end = step == Step::Truncated ? ClientEnd::Truncated : ClientEnd::Orderly;
      client_.ended_first = !broker_.ended;
      break;
    }
    if (straight) {
      broker_.to_send.commit(n);
    } else {
      broker_.to_send.append(host_->loop.scratch().first(n));
    }
    if (state_ == State::AwaitingConnect) collect_connect();
    if (over()) return;
  }
  const std::size_t unread = engine_->unread();
  if (kept) {
    engine_->lend({});
    client_.received.consume(lent - unread);
  } else {
    client_.received.append(engine_->rest());
    engine_->lend({});
  }
  host_->schedule.wants_flush(*this);
  if (client_.closed()) on_client_closed();
}

// Nothing more comes from the client. Before the broker is reached that waits for it, with what the client said.
void Session::on_client_closed() {
  if (state_ == State::AwaitingConnect) {
    return terminate({Origin::Client, Reason::BadConnect, client_.error, "the client left before a whole CONNECT"},
                     Cause::Closed);
  }
  if (state_ == State::Delivering) {
    if (client_.end == ClientEnd::Orderly) parting_.cause = Cause::Closed;  // known only now that all was read
    return advance_delivery();
  }
  if (state_ < State::Forwarding && client_.left_us == 0) client_.left_us = host_->loop.now_us();
  if (state_ != State::Forwarding) return;
  if (client_.end == ClientEnd::Failed) return deliver(parting_.by, parting_.cause, parting_.manner);
  if (broker_.ended && to_broker_held() == 0) return both_ended();
  if (client_.end == ClientEnd::Truncated) {
    const bool broke = client_.error != 0;
    return deliver({Origin::Client, Reason::None, client_.error,
                    broke ? "the client's connection broke" : "the client left without a close_notify"},
                   broker_.ended ? Cause::Closed : cause_of(client_.error), Manner::Orderly);
  }
  // After a close_notify it may still be told something, unless its connection broke.
  if (client_.error != 0) {
    return deliver({Origin::Client, Reason::None, client_.error, "the client's connection broke"}, Cause::Closed,
                   Manner::Orderly);
  }
  if (broker_.fin_sent) return;
  start_timer(timer_, kHalfClosedMs);
  if (to_broker_held() > 0 || !closed_towards_broker()) return;
  host_->loop.io().end_sending(broker_.socket);
  broker_.fin_sent = true;
}

void Session::flush() {
  if (state_ == State::Free || over()) return;
  if (state_ == State::Delivering) return advance_delivery();
  flush_client();
  if (state_ == State::Forwarding && client_.torn) return engine_failed();
  if (state_ == State::Forwarding && broker_.tls && broker_.tls->has_spent_key()) {
    return client_failed(kSpentKey, Cause::KeyLimit);
  }
  if (state_ == State::Forwarding || (state_ == State::Asking && !broker_.leaving)) flush_broker();
}

// The broker's bytes are encrypted when they can be sent, no earlier: what was not may still be dropped.
void Session::pass_to_client(std::span<const std::uint8_t> plain) {
  if (client_send_.submitted() || !client_.plain.empty() || !engine_->takes_data()) {
    client_.plain.append(plain);
  } else {
    encrypt(plain);
  }
}

void Session::encrypt(std::span<const std::uint8_t> plain) {
  if (mqtt_.version) mqtt_.framing.advance(plain);
  if (plain.size() >= kLargeRead) {  // its room at once, instead of record by record
    client_.to_send.prepare(plain.size() + (plain.size() / kRecord + 1) * kRecordOverhead);
  }
  // A failure is found, and told, by the next read or write of the session.
  if (engine_->write(plain) != Step::Done) client_.torn = true;
}

void Session::flush_client() {
  if (client_send_.submitted()) return;
  // A piece at a time: what waits is then held once, as it came, and not a second time encrypted.
  if (client_.to_send.empty() && client_.sending.empty() && !client_.plain.empty() && engine_->takes_data()) {
    const std::size_t n = std::min(client_.plain.size(), kHighWater);
    encrypt(client_.plain.bytes().first(n));
    client_.plain.consume(n);
  }
  flush_client_ciphertext();
}

void Session::flush_client_ciphertext() {
  if (client_send_.submitted()) return;
  if (client_.sending.empty()) client_.sending.swap(client_.to_send);
  if (client_.sending.empty()) return;
  const bool last = client_.to_send.empty() && client_.plain.empty() && !client_.fin_sent &&
                    (broker_.ended || client_.farewell == Farewell::Flush);
  host_->loop.io().send(client_.socket, client_.sending.bytes(), last ? Behind::TheEnd : Behind::Others, client_send_);
}

void Session::flush_broker() {
  if (broker_send_.submitted() || broker_.fin_sent) return;
  if (broker_.tls) return flush_broker_tls();
  if (broker_.sending.empty()) broker_.sending.swap(broker_.to_send);
  if (broker_.sending.empty()) return;
  const bool last = broker_.to_send.empty() && broker_.held.empty() && ends_behind_client();
  host_->loop.io().send(broker_.socket, broker_.sending.bytes(), last ? Behind::TheEnd : Behind::Others, broker_send_);
}

// Whether the broker is told of the client's end as soon as it has what the client sent: the same questions as
// on_client_closed() and pass_end_on() ask then.
bool Session::ends_behind_client() const {
  if (state_ == State::Delivering) return client_.closed() && !passed_on_as_reset();
  return state_ == State::Forwarding && client_.end == ClientEnd::Orderly && client_.error == 0;
}

void Session::on_client_send(const IoResult& result) {
  if (result.value > 0) {
    quiet_ = 0;
    client_.sending.consume(static_cast<std::size_t>(result.value));
    broker_.stream.taken(client_.sending.empty());
  }
  if (state_ == State::Halted) return on_client_send_halted(result);
  if (state_ > State::Forwarding) {
    if (result.value < 0) client_.farewell = Farewell::Close;
    return over() ? advance_ending() : advance_delivery();
  }
  if (result.value < 0) return on_client_unwritable(-result.value);
  client_.sending.trim();  // a piece most of which was taken: another is read when little of it is left
  flush_client();
  if (client_.torn) return engine_failed();
  if (broker_.ended && to_client_held() == 0) on_broker_ended();
  if (state_ == State::Forwarding) resume_broker();
}

// It takes nothing more. What it had sent before is still to be read: then its end comes, too.
void Session::on_client_unwritable(int error) {
  client_.to_send.release();
  client_.sending.release();
  const Error gone{Origin::Client, Reason::None, error, "the client no longer takes data"};
  if (state_ == State::Handshaking) {
    return terminate({Origin::Client, Reason::TlsError, error, gone.what}, Cause::Reset);
  }
  if (state_ != State::Forwarding) return;
  if (broker_.ended && to_broker_held() == 0) return both_ended();
  deliver(gone, client_.closed() ? Cause::Closed : cause_of(error), Manner::Abrupt);
}

void Session::start_broker_recv() {
  if (broker_recv_.submitted() || broker_.ended || broker_.paused) return;
  host_->loop.io().recv(broker_.socket, broker_.stream.reading(broker_.stalled), broker_recv_);
}

void Session::on_broker_recv(const IoResult& result) {
  if (state_ > State::Forwarding) return on_broker_recv_leaving(result);
  if (state_ == State::Asking) return on_broker_recv_asking(result);
  if (state_ == State::Connecting) return on_broker_recv_shaking(result);
  if (broker_.tls && broker_.ended) return;  // by a close_notify
  if (merely_stopped(result.value)) return start_broker_recv();
  quiet_ = 0;
  if (result.value < 0) {
    if (broker_.tls) blame_broker_tls();
    return terminate({Origin::Broker, Reason::None, -result.value, "the broker's connection broke"},
                     cause_of(-result.value), cut_off());
  }
  if (result.value > 0 && broker_.stream.note(result)) host_->loop.io().cancel(broker_recv_);
  if (broker_.tls) return on_broker_recv_tls(result);
  if (result.value == 0) return hear_broker_end();
  take_from_broker(result.data);
}

void Session::hear_broker_end() {
  broker_.ended = true;
  if (client_.plain.empty()) engine_->close();
  start_timer(timer_, kHalfClosedMs);
  host_->schedule.wants_flush(*this);
  if (to_client_held() == 0) on_broker_ended();
}

void Session::take_from_broker(std::span<const std::uint8_t> data) {
  host_->loop.shard_counters().bytes_to_client.add(data.size());
  bytes_to_client_ += data.size();
  pass_to_client(data);
  if (client_.torn) return engine_failed();
  host_->schedule.wants_flush(*this);
  if (to_client_held() >= kHighWater && !broker_.paused) {
    broker_.paused = broker_.stalled = true;
    host_->loop.io().cancel(broker_recv_);
  }
  start_broker_recv();
}

// Everything of the broker's has been sent: its end is passed on, and the client may still finish.
void Session::on_broker_ended() {
  if (client_.fin_sent) return;
  engine_->close();  // the first time only
  flush_client();
  if (to_client_held() > 0) return;  // on_client_send() comes back here
  host_->loop.io().end_sending(client_.socket);
  client_.fin_sent = true;
  if (client_.closed()) on_client_closed();
}

// Whoever ended first is named as the one who did. The broker is told of an orderly end, here as in on_client_closed().
void Session::both_ended() {
  if (left_whole() && !broker_.fin_sent && !closed_towards_broker()) return;
  terminate({client_.ended_first ? Origin::Client : Origin::Broker, Reason::None, 0, "both sides closed"},
            Cause::Closed);
}

void Session::on_broker_send(const IoResult& result) {
  if (state_ > State::Forwarding) return on_broker_send_leaving(result);
  if (state_ == State::Asking) return on_broker_send_asking(result);
  if (state_ == State::Connecting) return on_broker_send_shaking(result);
  if (result.value < 0) {
    if (broker_.tls && !broker_.ended) blame_broker_tls();
    return terminate({Origin::Broker, Reason::None, -result.value, "the broker no longer takes data"},
                     broker_.ended ? Cause::Closed : cause_of(-result.value),
                     broker_.ended ? Manner::Orderly : cut_off());
  }
  taken_by_broker(static_cast<std::size_t>(result.value));
  flush_broker();
  resume_client();
  if (state_ == State::Forwarding && client_.closed()) on_client_closed();
}

void Session::taken_by_broker(std::size_t bytes) {
  quiet_ = 0;
  if (!broker_.tls) count_to_broker(bytes);  // else when it was encrypted
  broker_.sending.consume(bytes);
  broker_.sending.trim();
  client_.stream.taken(broker_.sending.empty());
}

void Session::count_to_broker(std::size_t bytes) {
  host_->loop.shard_counters().bytes_to_broker.add(bytes);
  bytes_to_broker_ += bytes;
}

void Session::resume_client() {
  if (!client_.paused || to_broker_held() > kLowWater) return;
  client_.paused = false;
  decrypt();
  if (!over() && client_.farewell == Farewell::NotYet) start_client_recv();
}

void Session::resume_broker() {
  if (!broker_.paused || to_client_held() > kLowWater) return;
  broker_.paused = false;
  start_broker_recv();
}

}  // namespace sallyport
