// How a session ends that lost its standing. Two steps, for closing very many at once is paced while being in
// force is not: halt() lets no further byte pass in either direction, at once; farewell(), when its turn has
// come, says what the protocol has for it (MQTT 5: DISCONNECT at a packet boundary) and ends the session.
//
// What was handed to the kernel before the halt is on its way. Beyond it the client still gets the rest of the
// packet it was in the middle of, if that comes within 100 ms, for without it no DISCONNECT could be understood.
#include <algorithm>

#include "cache/base/check.h"
#include "proxy/session/session.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kBoundaryMs = 100;

}  // namespace

void Session::cut(Reason why) {
  halt({Origin::Proxy, why, 0, "its standing ended"}, Cause::Cut);
}

void Session::cut_by_operator() {
  halt({Origin::Proxy, Reason::None, 0, "cut by an operator"}, Cause::Cut);
}

void Session::halt(const Error& error, Cause cause) {
  if (state_ == State::Free || state_ == State::Ending || state_ == State::Halted) return;
  if (state_ == State::Handshaking) return terminate(error, cause, Manner::Abrupt);
  halted_by_ = error;
  halted_cause_ = cause;
  halted_at_us_ = host_->now_us();
  served_ = state_ == State::Forwarding;
  // What was encrypted already cannot be taken back without breaking the TLS stream: it goes now or never.
  if (served_ && !client_send_.submitted() && !to_client_.empty()) flush_client_ciphertext();
  torn_ = !to_client_.empty();
  host_->index().remove(entry_);
  for (Timer* timer : {&timer_, &register_timer_, &expiry_timer_}) host_->timers().stop(*timer);
  from_client_.release();
  to_broker_.release();
  host_->io().cancel(broker_send_);
  host_->io().cancel(broker_connect_);
  state_ = State::Halted;
  if (wants_rest()) {
    finish_packet(to_client_plain_.bytes());
    if (!client_send_.submitted()) flush_client_ciphertext();
  }
  to_client_plain_.release();
  host_->wants_farewell(*this);
}

// The client is in the middle of a packet whose end it may still get.
bool Session::wants_rest() const {
  return served_ && mqtt_known_ && mqtt_version_ == MqttVersion::V5 && !framing_.at_boundary() && !broker_ended_ &&
         !torn_ && host_->now_us() - halted_at_us_ < kBoundaryMs * 1000;
}

void Session::finish_packet(std::span<const std::uint8_t> from_broker) {
  const std::size_t n = framing_.rest_of_packet(from_broker);
  if (n > 0) encrypt(from_broker.first(n));
}

void Session::farewell() {
  if (state_ != State::Halted) return;
  farewell_due_ = true;
  const bool waits = (client_send_.submitted() && !torn_) || wants_rest();
  if (!waits) return say_farewell();
  start_timer(timer_, kBoundaryMs);
}

void Session::say_farewell() {
  const bool clean = !torn_ && to_client_held() == 0;
  if (clean && served_ && mqtt_known_ && mqtt_version_ == MqttVersion::V5 && framing_.at_boundary()) {
    std::uint8_t packet[8];
    if (framing_.any_packet()) {
      const bool stops = halted_by_.reason == Reason::ShuttingDown;
      encrypt({packet, write_disconnect(stops ? kServerShuttingDown : kAdministrativeAction, packet)});
    } else {
      say_refused(halted_by_.reason);  // the broker has not answered the CONNECT yet
    }
  } else if (clean && !served_) {
    say_refused(halted_by_.reason);
  }
  terminate(halted_by_, halted_cause_, clean ? Manner::Orderly : Manner::Abrupt);
}

void Session::on_client_send_halted(const IoResult& result) {
  torn_ = torn_ || result.value < 0 || !to_client_sending_.empty();
  if (!torn_ && !to_client_.empty()) flush_client_ciphertext();
  if (farewell_due_) farewell();
}

void Session::on_broker_recv_halted(const IoResult& result) {
  if (result.value == 0 || (result.value < 0 && !merely_stopped(result.value))) broker_ended_ = true;
  if (wants_rest()) {
    finish_packet(result.data);
    if (!client_send_.submitted()) flush_client_ciphertext();
    if (wants_rest()) start_broker_recv();
  }
  if (farewell_due_) farewell();
}

void Session::on_expiry() {
  if (state_ == State::Ending || state_ == State::Halted || verdict() == nullptr) return;
  const Reason reason = host_->recheck(*verdict());
  if (reason != Reason::None && host_->cuts_sessions(settings_.listener)) return cut(reason);
  watch_expiry();
}

// Looks again at least once an hour: clocks are set, and chains move.
void Session::watch_expiry() {
  constexpr std::int64_t kLongest = 3600;
  constexpr std::int64_t kAgain = 60;
  if (verdict() == nullptr) return;
  const std::int64_t left = verdict()->good_until + 1 - host_->unix_now();
  const std::int64_t after = left <= 0 ? kAgain : std::min(left, kLongest);
  start_timer(expiry_timer_, static_cast<std::uint64_t>(after) * 1000);
}

}  // namespace sallyport
