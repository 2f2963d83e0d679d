// TLS on the way to a broker, where its upstream has it. It is made within connect_timeout, in Connecting: a broker
// that fails it is one that cannot be reached, and the next server gets the same bytes. From Asking on `sending` is
// ciphertext, and what was encrypted for a broker that has not answered is kept as it was before that.
//
// Bytes are encrypted when they can be sent, a piece at a time, and counted then. While a message of TLS itself has
// come in part (a ticket in two records) nothing can be encrypted: so every byte of the broker's is taken, also where
// nobody wants it any more, and after each take what waits goes on. An orderly end has a close_notify before its FIN; a
// stream of bytes that ends without one was cut off.
//
// A handshake that offered a session and failed is made once more without, with the same server; nobody is offered that
// session again.
#include <algorithm>

#include "proxy/session/session.h"

namespace sallyport {

// Connected. What is left of connect_timeout is for TLS.
void Session::begin_broker_tls() {
  const std::uint64_t spent_ms = (host_->loop.now_us() - broker_.connect_began_us) / 1000;
  const auto limit_ms = static_cast<std::uint64_t>(settings_.upstream->connect_timeout.count());
  start_timer(timer_, limit_ms > spent_ms ? limit_ms - spent_ms : 0);
  step_broker_tls({});
}

void Session::step_broker_tls(std::span<const std::uint8_t> ciphertext) {
  ByteBuffer said;
  const Step step = broker_.tls->take(ciphertext, said);
  if (step == Step::Failed) return broker_tls_failed(BrokerFault::Tls, broker_.tls->error());
  // Without a CONNECT it may say all it has to say by itself.
  if (step == Step::Closed && mqtt_.version) {
    return broker_tls_failed(BrokerFault::Tls, {Origin::Broker, Reason::None, 0, "it ends the handshake"});
  }
  if (step != Step::WantInput) return reached_broker(said.bytes(), step == Step::Closed);
  flush_broker_tls();
  start_broker_recv();
}

void Session::broker_tls_failed(BrokerFault fault, const Error& why) {
  host_->loop.timers().stop(timer_);
  broker_.tls->forget();
  broker_.again = fault == BrokerFault::Tls && broker_.tls->offered();
  broker_.route.anew = broker_.again;
  if (!broker_.again) host_->brokers.broker_failed(broker_.route, fault, 0, why.what);
  broker_.leaving = true;
  leave_server();
}

void Session::on_broker_recv_shaking(const IoResult& result) {
  if (broker_.leaving) return leave_server();
  if (merely_stopped(result.value)) return start_broker_recv();
  if (result.value <= 0) {
    host_->loop.timers().stop(timer_);
    return broker_tls_failed(BrokerFault::Tls, {Origin::Broker, Reason::None, 0, "it ends the handshake"});
  }
  step_broker_tls(result.data);
}

void Session::on_broker_send_shaking(const IoResult& result) {
  if (broker_.leaving) return leave_server();
  // What it said before it ended may say why: that is read yet.
  if (result.value < 0) return;
  broker_.sending.consume(static_cast<std::size_t>(result.value));
  flush_broker_tls();
}

// While its bytes are awaited that pass: Forwarding.
void Session::on_broker_recv_tls(const IoResult& result) {
  ByteBuffer said;
  const Step step = result.value == 0 ? Step::Truncated : broker_.tls->take(result.data, said);
  if (!said.empty()) {
    take_from_broker(said.bytes());
    if (state_ != State::Forwarding) return;
  }
  switch (step) {
    case Step::Failed:
      blame_broker_tls();
      return terminate({Origin::Broker, Reason::None, broker_.tls->error().detail, "the broker's TLS broke"},
                       Cause::Protocol, cut_off());
    case Step::Truncated:
      blame_broker_tls();
      if (cut_off() == Manner::Abrupt) {
        return terminate({Origin::Broker, Reason::None, 0, "the broker left without a close_notify"}, Cause::Reset,
                         Manner::Abrupt);
      }
      return hear_broker_end();
    case Step::Closed: host_->loop.io().cancel(broker_recv_); return hear_broker_end();
    case Step::Done:
    case Step::WantInput: break;
  }
  start_broker_recv();
  go_on_towards_broker();
}

// After a take: what TLS itself answers, what waited for the rest of a message, or that a key is spent.
void Session::go_on_towards_broker() {
  if (!broker_.tls->output().empty() || !broker_.to_send.empty() || broker_.tls->has_spent_key()) {
    return host_->schedule.wants_flush(*this);
  }
  if (state_ == State::Forwarding && client_.closed() && !broker_.fin_sent && to_broker_held() == 0) on_client_closed();
}

// With TLS 1.3 a broker says only after the handshake that it does not take our certificate. In MQTT its answer to the
// CONNECT is awaited, and this comes instead; where there is none, it has had the client's bytes.
void Session::blame_broker_tls() {
  const BrokerTls& tls = *broker_.tls;
  if (tls.heard() || (!tls.failed() && tls.accepted())) return;
  broker_.tls->forget();
  host_->brokers.broker_failed(broker_.route, BrokerFault::Tls, 0,
                               tls.failed() ? tls.error().what : "it asks for our certificate and leaves");
}

// `room` outlives what is returned.
std::span<const std::uint8_t> Session::said_by_broker(std::span<const std::uint8_t> received, ByteBuffer& room) {
  if (!broker_.tls) return received;
  const Step step = broker_.tls->take(received, room);
  broker_.ended = broker_.ended || step == Step::Failed || step == Step::Closed;
  return room.bytes();
}

void Session::flush_broker_tls() {
  if (broker_send_.submitted() || broker_.fin_sent) return;
  ByteBuffer& output = broker_.tls->output();
  if (broker_.sending.empty() && broker_.tls->established() && state_ != State::Connecting &&
      !broker_.to_send.empty()) {
    const auto piece = broker_.to_send.bytes().first(std::min(broker_.to_send.size(), kHighWater));
    // A failure is found, and told, by the next read; what cannot be written now waits for one.
    if (broker_.tls->write(piece) == Step::Done) {
      if (state_ == State::Asking) {
        broker_.held.append(piece);
      } else {
        count_to_broker(piece.size());
      }
      broker_.to_send.consume(piece.size());
    }
  }
  if (broker_.sending.empty()) broker_.sending.swap(output);
  if (!broker_.sending.empty())
    host_->loop.io().send(broker_.socket, broker_.sending.bytes(), Behind::Others, broker_send_);
}

// Everything was sent: whether that there is nothing more was, too. Where not, the end of the send comes back, or the
// next take.
bool Session::closed_towards_broker() {
  if (!broker_.tls) return true;
  const bool said = broker_.tls->close();
  flush_broker_tls();
  return said && to_broker_held() == 0;
}

}  // namespace sallyport
