// How a session ends that lost its standing. Two steps, for closing very many at once is paced while being in
// force is not: halt() stops both directions at once; farewell(), when its turn has come, says what the protocol has
// for it (MQTT 5: DISCONNECT at a packet boundary) and ends the session.
//
// What was encrypted before the halt is on its way: it cannot be taken back without breaking the TLS stream, and the
// client has a second to take it. Beyond that a client of MQTT 5 gets the rest of the packet it is in the middle of, if
// it comes within 100 ms: without it no DISCONNECT could be understood. Nobody else gets another byte.
#include <algorithm>
#include <array>
#include <utility>

#include "cache/base/check.h"
#include "proxy/session/session.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kBoundaryMs = 100;    // for the broker to send the rest of a packet
constexpr std::uint64_t kOnItsWayMs = 1'000;  // for the client to take what was encrypted already

}  // namespace

void Session::cut(Reason why) {
  halt({Origin::Proxy, why, 0,
        why == Reason::Clone ? "a newer session of its certificate came from elsewhere" : "its standing ended"},
       Cause::Cut);
}

void Session::cut_by_operator() {
  halt({Origin::Proxy, Reason::None, 0, "cut by an operator"}, Cause::Cut);
}

// Sallyport drains, and has time: what it had sent goes to the broker as if it had left by itself.
void Session::leave() {
  if (state_ == State::Free || over() || state_ == State::Delivering) return;
  if (state_ != State::Forwarding) return shut_down();
  halt({Origin::Proxy, Reason::ShuttingDown, 0, "sallyport drains"}, Cause::Shutdown);
  farewell();
}

void Session::halt(const Error& error, Cause cause) {
  if (state_ == State::Free || over() || (state_ == State::Halted && parting_.cause == Cause::Cut)) return;
  if (state_ == State::Handshaking) return terminate(error, cause, Manner::Abrupt);
  parting_.by = error;
  parting_.cause = cause;
  if (cause == Cause::Cut) drop_for_broker();
  if (state_ == State::Halted) return;  // Sallyport stops, and its turn has come already
  const bool delivering = state_ == State::Delivering;
  parting_.at_us = host_->loop.now_us();
  parting_.served = delivering || state_ == State::Forwarding;
  // What was encrypted already cannot be taken back without breaking the TLS stream: it goes now or never.
  if (state_ == State::Forwarding && !client_send_.submitted() && !client_.to_send.empty()) flush_client_ciphertext();
  client_.torn = delivering || !client_.to_send.empty();
  for (Timer* timer : {&timer_, &register_timer_, &expiry_timer_, &idle_timer_}) host_->loop.timers().stop(*timer);
  client_.received.release();
  become(State::Halted);
  if (wants_rest()) {
    finish_packet(client_.plain.bytes());
    if (!client_send_.submitted()) flush_client_ciphertext();
  }
  if (wants_rest()) {  // still with the broker, which was not read while the client took little
    broker_.paused = false;
    start_broker_recv();
  }
  client_.plain.release();
  host_->schedule.wants_farewell(*this);
}

// Where Sallyport stops what the client had sent still goes to the broker; a cut finds the session until it has.
void Session::drop_for_broker() {
  host_->admission.index().remove(entry_);
  broker_.to_send.release();
  if (broker_.tls) broker_.tls->output().release();
  broker_.held.release();
  host_->loop.io().cancel(broker_send_);
  host_->loop.io().cancel(broker_connect_);
}

// The client is in the middle of a packet whose end it may still get.
bool Session::wants_rest() const {
  return parting_.served && mqtt_.is_5() && !mqtt_.framing.at_boundary() && !broker_.ended && !client_.torn &&
         host_->loop.now_us() - parting_.at_us < kBoundaryMs * 1000;
}

void Session::finish_packet(std::span<const std::uint8_t> from_broker) {
  const std::size_t n = mqtt_.framing.rest_of_packet(from_broker);
  if (n > 0) encrypt(from_broker.first(n));
}

void Session::farewell() {
  if (state_ != State::Halted) return;
  const std::uint64_t now = host_->loop.now_us();
  if (!std::exchange(parting_.farewell_due, true)) parting_.until_us = now + kOnItsWayMs * 1000;
  const bool sends = client_send_.submitted() && !client_.torn;
  if (!sends && !wants_rest()) return say_farewell();
  const std::uint64_t left_ms = parting_.until_us > now ? (parting_.until_us - now) / 1000 : 0;
  start_timer(timer_, sends ? left_ms : std::min(left_ms, kBoundaryMs));
}

void Session::say_farewell() {
  const bool clean = !client_.torn && to_client_held() == 0;
  if (clean && parting_.served && mqtt_.is_5() && mqtt_.framing.at_boundary()) {
    if (mqtt_.framing.any_packet()) {
      say_disconnect();
    } else {
      say_refused(parting_.by.reason);  // the broker has not answered the CONNECT yet
    }
  } else if (clean && !parting_.served) {
    say_refused(parting_.by.reason);
  }
  const Manner manner = clean ? Manner::Orderly : Manner::Abrupt;
  if (parting_.cause == Cause::Cut || !parting_.served) return terminate(parting_.by, parting_.cause, manner);
  if (!client_.closed()) client_.end = ClientEnd::Truncated;
  deliver(parting_.by, parting_.cause, manner);
}

void Session::say_disconnect() {
  std::array<std::uint8_t, kMovedBytes + kLongestReference> packet;
  const bool stops = parting_.by.reason == Reason::ShuttingDown;
  const std::string_view elsewhere = stops ? server_reference() : "";
  const std::size_t length = elsewhere.empty()
                                 ? write_disconnect(stops ? kServerShuttingDown : kAdministrativeAction, packet)
                                 : write_moved(MovedBy::Disconnect, elsewhere, packet);
  encrypt({packet.data(), length});
}

// Of MQTT 5; empty: there is none.
std::string_view Session::server_reference() const {
  return mqtt_.is_5() && settings_.upstream != nullptr ? std::string_view(settings_.upstream->server_reference) : "";
}

void Session::on_client_send_halted(const IoResult& result) {
  client_.torn = client_.torn || result.value < 0;
  // What its kernel did not take at once is on its way like the rest.
  if (!client_.torn) flush_client_ciphertext();
  if (parting_.farewell_due) farewell();
}

void Session::on_broker_recv_halted(const IoResult& result) {
  if (result.value == 0 || (result.value < 0 && !merely_stopped(result.value))) broker_.ended = true;
  const bool rest = wants_rest();
  if (rest || broker_.tls) {  // TLS needs every byte, or what comes later makes no sense
    ByteBuffer room;
    const std::span<const std::uint8_t> said = said_by_broker(result.data, room);
    if (rest) finish_packet(said);
    if (!client_send_.submitted()) flush_client_ciphertext();
    if (wants_rest()) start_broker_recv();
    if (broker_.tls && parting_.served && parting_.cause != Cause::Cut) flush_broker();
  }
  if (parting_.farewell_due) farewell();
}

void Session::look_again() {
  if (over() || state_ == State::Halted || verdict() == nullptr) return;
  const Reason reason = host_->admission.recheck(*verdict(), own_now());
  if (reason != Reason::None && host_->admission.cuts_sessions(settings_.listener)) return cut(reason);
  watch_expiry();
}

// A wall clock that is set back gives nobody time: since a session was admitted, as much has passed as the steady clock
// says, or as the wall clock says, whichever is more.
std::int64_t Session::own_now() const {
  const auto steady = static_cast<std::int64_t>(host_->loop.now_us() / 1'000'000);
  return std::max(host_->loop.unix_now(), steady + admitted_ahead_s_);
}

// Looks again at least once an hour: chains move. Where the clock is set, look_again() comes at once.
void Session::watch_expiry() {
  constexpr std::int64_t kLongest = 3600;
  constexpr std::int64_t kAgain = 60;
  if (verdict() == nullptr) return;
  const std::int64_t left = verdict()->good_until + 1 - own_now();
  const std::int64_t after = left <= 0 ? kAgain : std::min(left, kLongest);
  start_timer(expiry_timer_, static_cast<std::uint64_t>(after) * 1000);
}

}  // namespace sallyport
