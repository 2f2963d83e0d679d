// What is left to do for a client that is gone, whatever its end was: what it had sent, every byte of it authenticated,
// goes to the broker, and then its end. What the broker says meanwhile is read and dropped: a broker that cannot send
// may stop reading, and closing with unread data would reset the connection and destroy what is still on its way.
//
// The session stays in the index of live sessions, so that a cut drops what is left. A broker that takes nothing for
// kTakeMs, at most twice that, has hung: what is left for it here is dropped, too.
#include <algorithm>
#include <utility>

#include "proxy/session/session.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kTakeMs = 30'000;    // for the broker to take some of it, or to end when it has it all
constexpr std::uint64_t kHurriedMs = 1'000;  // the same for all of it, where Sallyport stops
constexpr std::uint64_t kClientMs = 1'000;   // for the client to take its last words
constexpr std::uint64_t kLookMs = 20;        // until the broker's kernel is asked again

}  // namespace

// What came before the failure was good, and stays so.
void Session::client_failed(const Error& error, Cause cause, Manner manner) {
  if (state_ < State::Connecting) return terminate(error, cause, manner);
  engine_->lend({});
  client_.received.release();
  client_.end = ClientEnd::Failed;
  client_.ended_first = !broker_.ended;
  if (state_ != State::Delivering) {
    parting_.by = error;
    parting_.cause = cause;
    parting_.manner = manner;
  }
  host_->schedule.wants_flush(*this);  // the alert
  on_client_closed();
}

void Session::engine_failed() {
  client_failed(engine_->error(), engine_->has_spent_key() ? Cause::KeyLimit : Cause::Protocol);
}

void Session::deliver(const Error& error, Cause cause, Manner manner) {
  parting_.by = error;
  parting_.cause = cause;
  parting_.manner = manner;
  parting_.until_us = host_->loop.now_us() + (parting_.hurried ? kHurriedMs : kTakeMs) * 1000;
  become(State::Delivering);
  leave_use();  // its device may be elsewhere now, and no clone
  broker_.paused = false;
  start_broker_recv();
  // It takes nothing more, but its last bytes are still to be read.
  if (!client_.closed()) {
    client_.plain.release();
    start_client_recv();
  }
  advance_delivery();
}

void Session::advance_delivery() {
  flush_broker();
  if (broker_.tls && broker_.tls->failed() && !broker_.fin_sent) {
    return terminate({Origin::Broker, Reason::None, broker_.tls->error().detail, "the broker's TLS broke"},
                     Cause::Protocol, parting_.manner);
  }
  if (client_.closed()) {
    if (client_.farewell == Farewell::NotYet) part_from_client(parting_.manner);
    (void)end_client();
    if (to_broker_held() == 0 && pass_end_on()) {
      return terminate(parting_.by, parting_.cause, parting_.manner);
    }
  }
  watch_delivery();
}

// All was handed to the kernel. True: the broker's connection may be closed.
//
// In MQTT a FIN does for every end: what was sent has a DISCONNECT or has none, and without one the broker publishes
// the Will. A reset would say no more, and destroy what the broker has not read yet. A stream of bytes cannot say that
// it was cut off; a reset does, once the broker's kernel has all of it.
bool Session::pass_end_on() {
  Io& io = host_->loop.io();
  if (passed_on_as_reset()) return io.unsent(broker_.socket) == 0;
  if (!broker_.fin_sent && left_whole() && !closed_towards_broker()) return false;
  if (!broker_.fin_sent) io.end_sending(broker_.socket);
  broker_.fin_sent = true;
  return broker_.ended;
}

bool Session::passed_on_as_reset() const {
  return settings_.config->protocol == Protocol::Tcp && parting_.cause != Cause::Closed && !broker_.fin_sent;
}

void Session::watch_delivery() {
  const std::uint64_t now = host_->loop.now_us();
  std::uint64_t until = parting_.until_us;
  if (client_.farewell != Farewell::NotYet && client_.socket.valid()) until = std::min(until, parting_.client_until_us);
  if (client_.closed() && to_broker_held() == 0 && passed_on_as_reset()) until = std::min(until, now + kLookMs * 1000);
  start_timer(timer_, until > now ? (until - now) / 1000 : 0);
}

// Whether its kernel took some of what ours holds since it was asked last, which is never asked of one that is quick.
bool Session::broker_takes() {
  const std::size_t before = std::exchange(parting_.unsent, host_->loop.io().unsent(broker_.socket));
  if (parting_.hurried || parting_.unsent >= before) return false;
  parting_.until_us = host_->loop.now_us() + kTakeMs * 1000;
  return true;
}

void Session::on_delivery_timer() {
  const std::uint64_t now = host_->loop.now_us();
  if (now >= parting_.until_us && !broker_takes()) {
    if (parting_.hurried) {
      return terminate({Origin::Proxy, Reason::ShuttingDown, 0, "sallyport stops"}, Cause::Shutdown, Manner::Abrupt);
    }
    return terminate(
        {Origin::Broker, Reason::None, 0, "the broker does not take what the client sent, or does not end"},
        Cause::Timeout, Manner::Abrupt);
  }
  if (client_.farewell != Farewell::NotYet && now >= parting_.client_until_us) {
    client_.farewell = Farewell::Close;
    client_.abort = true;
  }
  advance_delivery();
}

void Session::hurry_delivery() {
  parting_.until_us = std::min(parting_.until_us, host_->loop.now_us() + kHurriedMs * 1000);
  watch_delivery();
}

void Session::part_from_client(Manner manner) {
  client_.abort = manner == Manner::Abrupt;
  client_.farewell = manner == Manner::Abrupt ? Farewell::Close : Farewell::Flush;
  if (manner == Manner::Orderly) {
    if (!client_.plain.empty()) encrypt(client_.plain.bytes());
    engine_->close();
  }
  client_.plain.release();
  client_.received.release();
  parting_.client_until_us = host_->loop.now_us() + kClientMs * 1000;
}

void Session::on_client_recv_leaving(const IoResult& result) {
  if (over()) return on_client_recv_ending(result);
  if (state_ == State::Halted) {  // whatever it says is heard no more
    client_.fin = client_.fin || (result.value <= 0 && !merely_stopped(result.value));
    return;
  }
  if (client_.farewell != Farewell::NotYet) return on_client_recv_ending(result);
  if (merely_stopped(result.value)) return start_client_recv();
  if (result.value <= 0) {
    client_.fin = true;
    client_.error = -result.value;
  }
  take_ciphertext(result.data);
  client_.to_send.release();  // what TLS itself answers
  if (state_ == State::Delivering && client_.farewell == Farewell::NotYet) start_client_recv();
}

void Session::on_broker_recv_leaving(const IoResult& result) {
  if (over()) return advance_ending();
  if (state_ == State::Halted) return on_broker_recv_halted(result);
  if (merely_stopped(result.value)) return start_broker_recv();
  if (broker_.ended) return;  // by a close_notify
  if (result.value > 0) {     // nobody is there to hear it
    ByteBuffer room;
    (void)said_by_broker(result.data, room);
    start_broker_recv();
    if (!broker_.tls) return;
    if (broker_.ended) host_->loop.io().cancel(broker_recv_);
    return advance_delivery();
  }
  broker_.ended = true;
  if (result.value < 0 && !broker_.fin_sent) {
    return terminate({Origin::Broker, Reason::None, -result.value, "the broker's connection broke"}, Cause::Reset,
                     parting_.manner);
  }
  advance_delivery();
}

void Session::on_broker_send_leaving(const IoResult& result) {
  if (over()) return advance_ending();
  const bool halted = state_ == State::Halted;
  if (halted && (parting_.cause == Cause::Cut || result.value < 0)) return;
  if (result.value < 0) {
    return terminate({Origin::Broker, Reason::None, -result.value, "the broker no longer takes data"},
                     broker_.ended ? Cause::Closed : Cause::Reset, parting_.manner);
  }
  taken_by_broker(static_cast<std::size_t>(result.value));
  if (halted) return flush_broker();
  if (!parting_.hurried) parting_.until_us = host_->loop.now_us() + kTakeMs * 1000;
  if (!client_.closed()) {
    resume_client();
    client_.to_send.release();
  }
  if (state_ == State::Delivering) advance_delivery();
}

}  // namespace sallyport
