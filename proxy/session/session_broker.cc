// The way to a broker that answers. A server counts as good when it has answered the CONNECT, no earlier: until then
// what the client said is kept, and one that refuses the connection, ends it, says nothing or says that it cannot serve
// is left for the next, which gets the same bytes. Any other answer, a refusal included, is the broker's word.
//
// A CONNECT that got no answer may be at fault itself: what the others do with it says whose fault it was.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/base/check.h"
#include "proxy/mqtt/mqtt_connack.h"
#include "proxy/session/session.h"

namespace sallyport {

void Session::connect_broker() {
  if (!host_->brokers.choose_broker(settings_.config->upstream, mqtt_.client_id, broker_.attempt, broker_.route)) {
    return no_broker();
  }
  broker_.chosen = true;
  broker_.source_attempt = 0;
  const std::uint64_t wait_us = broker_.route.wait_us;
  if (wait_us == 0) return reach_broker();
  host_->loop.shard_counters().slow_started.add();
  const std::uint64_t wait_ms = wait_us / 1000 + 1;  // of UINT64_MAX still very long
  if (wait_ms > static_cast<std::uint64_t>(settings_.config->connect_timeout.count())) {
    say_refused(Reason::BrokerUnavailable);
    return terminate({Origin::Broker, Reason::BrokerUnavailable, 0, "the broker has just come back, and too many wait"},
                     Cause::Closed);
  }
  broker_.waits = true;
  start_timer(timer_, wait_ms);
}

void Session::reach_broker() {
  for (;;) {
    broker_.socket = host_->brokers.open_broker(broker_.route, *settings_.config);
    if (broker_.socket.valid()) break;
    out_of(-std::exchange(broker_.socket, Socket()).handle());
    if (!host_->brokers.another_source(broker_.route, ++broker_.source_attempt)) return next_server();
  }
  broker_.connect_began_us = host_->loop.now_us();
  host_->loop.io().connect(broker_.socket, broker_.route.address, broker_.route.length, broker_connect_);
  start_timer(timer_, static_cast<std::uint64_t>(settings_.upstream->connect_timeout.count()));
}

void Session::on_broker_connect(const IoResult& result) {
  if (over()) return advance_ending();
  if (state_ == State::Halted) return;
  host_->loop.timers().stop(timer_);
  if (result.value < 0) {
    host_->loop.io().close(broker_.socket);
    broker_.socket = Socket();
    const int error = -result.value;
    if (is_our_shortage(error)) {
      out_of(error);
      return host_->brokers.another_source(broker_.route, ++broker_.source_attempt) ? reach_broker() : next_server();
    }
    const bool late = error == ECANCELED || error == ETIMEDOUT;
    host_->brokers.broker_failed(broker_.route, late ? BrokerFault::Timeout : BrokerFault::Unreachable, error, "");
    return next_server();
  }
  if (!host_->brokers.route_holds(broker_.route)) return choose_anew();
  broker_.tls = host_->brokers.broker_tls(broker_.route);
  if (broker_.tls) return begin_broker_tls();
  reached_broker({});
}

// A reload has come in between. It has heard nothing, and is not at fault.
void Session::choose_anew() {
  host_->loop.io().abort(broker_.socket);
  broker_.socket = Socket();
  leave_broker();
  broker_.attempt = 0;
  connect_broker();
}

// `said`: what it has said by itself, if it may; `ends`: and that was all.
void Session::reached_broker(std::span<const std::uint8_t> said, bool ends) {
  host_->loop.timers().stop(timer_);
  host_->brokers.broker_connected(broker_.route, host_->loop.now_us() - broker_.connect_began_us);
  // The last look before the first byte goes to the broker.
  if (!standing_holds()) return;
  if (!mqtt_.version) return answered_by_broker(said, ends);
  broker_.answer.append(said);
  become(State::Asking);
  start_timer(timer_, static_cast<std::uint64_t>(settings_.upstream->connack_timeout.count()));
  start_broker_recv();
  start_client_recv();
  host_->schedule.wants_flush(*this);
}

void Session::next_server() {
  leave_broker();
  if (has_left_for_long()) {
    return terminate(
        {Origin::Client, Reason::BrokerUnavailable, client_.error, "the client left before a broker answered"},
        Cause::Closed);
  }
  ++broker_.attempt;
  connect_broker();
}

// What it said before it left is for a broker yet, and another is asked in any case; but not one after the other of
// many that are silent: that would hold its place for servers * connack_timeout.
bool Session::has_left_for_long() const {
  const auto most_us = static_cast<std::uint64_t>(settings_.upstream->connack_timeout.count()) * 2000;
  return client_.left_us != 0 && host_->loop.now_us() - client_.left_us >= most_us;
}

// The broker has no part in it: it is not down.
void Session::out_of(int error) {
  broker_.short_of = error;
  host_->brokers.out_of(settings_.config->upstream, error);
}

void Session::no_broker() {
  say_refused(Reason::BrokerUnavailable);
  if (broker_.short_of != 0) {
    return terminate({Origin::Proxy, Reason::BrokerUnavailable, broker_.short_of,
                      "this machine has no socket for the way to a broker"},
                     Cause::Internal);
  }
  terminate({Origin::Broker, Reason::BrokerUnavailable, 0,
             broker_.blamed.empty() ? "no server of the upstream can be reached"
                                    : "no server of the upstream answers the CONNECT"},
            Cause::Closed);
}

void Session::on_broker_recv_asking(const IoResult& result) {
  if (broker_.leaving) return leave_server();
  if (merely_stopped(result.value)) return start_broker_recv();
  if (result.value <= 0) return not_answered(BrokerFault::Closed, -result.value);
  Step step = Step::Done;
  if (!broker_.tls) {
    broker_.answer.append(result.data);
  } else {
    step = broker_.tls->take(result.data, broker_.answer);
    // Of TLS 1.3 a client hears only now that its certificate was not taken.
    if (step == Step::Failed) return broker_tls_failed(BrokerFault::Tls, broker_.tls->error());
  }
  switch (broker_word(*mqtt_.version, broker_.answer.bytes())) {
    case BrokerWord::NeedMore:
      if (step == Step::Closed) return not_answered(BrokerFault::Closed, 0);
      start_broker_recv();
      if (broker_.tls) go_on_towards_broker();
      return;
    case BrokerWord::Unavailable: return not_answered(BrokerFault::Unavailable, 0);
    case BrokerWord::NotMqtt: return not_answered(BrokerFault::NotMqtt, 0);
    case BrokerWord::Spoken: break;
  }
  ByteBuffer said;
  said.swap(broker_.answer);
  answered_by_broker(said.bytes(), step == Step::Closed);
}

void Session::on_broker_send_asking(const IoResult& result) {
  if (broker_.leaving) return leave_server();
  // An alert that it sent before it ended says why: that is read yet.
  if (result.value < 0 && broker_.tls && broker_recv_.submitted()) return;
  if (result.value < 0) return not_answered(BrokerFault::Closed, -result.value);
  const auto taken = static_cast<std::size_t>(result.value);
  if (!broker_.tls) broker_.held.append(broker_.sending.bytes().first(taken));
  broker_.sending.consume(taken);
  flush_broker();
}

// `said`: its first bytes; `ends`: and its last. From here on nothing is kept for another server.
void Session::answered_by_broker(std::span<const std::uint8_t> said, bool ends) {
  host_->loop.timers().stop(timer_);
  host_->brokers.broker_answered(broker_.route);
  broker_.answered = true;
  settle_blame(true);
  count_to_broker(broker_.held.size());
  broker_.held.release();
  become(State::Forwarding);
  host_->schedule.begun(*this);
  watch_idle();
  host_->schedule.wants_flush(*this);
  broker_.ended = ends;
  if (!said.empty()) take_from_broker(said);
  if (state_ != State::Forwarding) return;
  if (ends) {
    host_->loop.io().cancel(broker_recv_);
    hear_broker_end();
    if (state_ != State::Forwarding) return;
  }
  start_broker_recv();
  resume_client();
  if (state_ != State::Forwarding) return;
  start_client_recv();
  if (client_.closed()) on_client_closed();
}

void Session::not_answered(BrokerFault fault, int error) {
  host_->loop.timers().stop(timer_);
  host_->brokers.broker_failed(broker_.route, fault, error, "");
  if (broker_.tls && fault != BrokerFault::Unavailable) broker_.tls->forget();
  broker_.leaving = true;
  broker_.chosen = false;
  broker_.blamed.push_back(broker_.route);
  leave_server();
}

// Once nothing of it is in flight.
void Session::leave_server() {
  Io& io = host_->loop.io();
  io.cancel(broker_recv_);
  io.cancel(broker_send_);
  if (broker_recv_.submitted() || broker_send_.submitted()) return;
  io.abort(broker_.socket);
  broker_.socket = Socket();
  ByteBuffer again = std::move(broker_.held);
  if (!broker_.tls) again.append(broker_.sending.bytes());  // held has what was encrypted
  again.append(broker_.to_send.bytes());
  broker_.held.release();
  broker_.sending.release();
  broker_.answer.release();
  broker_.to_send.swap(again);
  broker_.stream = StreamWatch();
  broker_.tls.reset();
  broker_.leaving = false;
  const bool same = std::exchange(broker_.again, false);
  const bool asked = state_ == State::Asking;
  if (asked) become(State::Connecting);
  if (same) return reach_broker();
  next_server();
  if (asked && broker_.chosen) host_->loop.shard_counters().failovers.add();  // there was one to go on to
}

void Session::settle_blame(bool proven) {
  for (const BrokerRoute& each : broker_.blamed) {
    host_->brokers.broker_unanswered(each, who(), proven);
    host_->brokers.broker_left(each, false);
  }
  broker_.blamed = {};
}

void Session::leave_broker() {
  if (std::exchange(broker_.chosen, false)) {
    host_->brokers.broker_left(broker_.route, std::exchange(broker_.answered, false));
  }
}

// Never 0. One device, or one address where there are no devices.
std::uint64_t Session::who() const {
  std::uint64_t hash = 0;
  if (proven_) {
    std::memcpy(&hash, entry_.device.data(), sizeof hash);
  } else {
    std::memcpy(&hash, peer_.ip.data(), sizeof hash);  // of IPv6 its /64
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace sallyport
