// The way out, in three steps without reference counts: terminate() counts, logs and asks for the end of
// every operation; advance_ending() goes on whenever one of them has ended; when none is in flight the
// sockets are closed and the session is given back.
//
// The client gets its last words (alert, CONNACK, close_notify): they are sent, then our FIN, then what
// still comes in is swallowed for a moment, for closing with unread data would reset the connection and
// destroy them on their way.
#include <cerrno>

#include "cache/base/check.h"
#include "proxy/session/session.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kFarewellMs = 1'000;
constexpr std::size_t kSwallowBytes = 256 * 1024;

}  // namespace

void Session::terminate(const Error& error, Cause cause, Manner manner) {
  CHECK(state_ != State::Free);
  if (state_ == State::Ending) return;
  const bool served = state_ == State::Forwarding || (state_ == State::Halted && served_);
  host_->over(*this, error, cause, served);
  state_ = State::Ending;
  host_->timers().stop(timer_);
  host_->timers().stop(register_timer_);
  host_->timers().stop(expiry_timer_);
  host_->index().remove(entry_);
  engine_->lend({});  // a buffer of the kernel's, or what is released here
  from_client_.release();
  to_broker_.release();
  // A broker must not take an abrupt end for an orderly one.
  broker_abort_ = cause != Cause::Closed;
  client_abort_ = manner == Manner::Abrupt;
  farewell_ = manner == Manner::Abrupt ? Farewell::Close : Farewell::Flush;
  if (manner == Manner::Orderly) {
    if (!to_client_plain_.empty()) encrypt(to_client_plain_.bytes());
    engine_->close();
    start_timer(timer_, kFarewellMs);
  }
  to_client_plain_.release();
  advance_ending();
}

void Session::advance_ending() {
  const bool broker_over = end_broker();
  const bool client_over = end_client();
  if (!broker_over || !client_over || gone_) return;
  host_->timers().stop(timer_);
  gone_ = true;
  host_->gone(*this);
}

bool Session::end_broker() {
  if (!broker_.valid()) return true;
  Io& io = host_->io();
  for (Completion* completion : {&broker_connect_, &broker_recv_, &broker_send_}) io.cancel(*completion);
  if (broker_connect_.submitted() || broker_recv_.submitted() || broker_send_.submitted()) return false;
  if (broker_abort_) {
    io.abort(broker_);
  } else {
    io.close(broker_);
  }
  broker_ = Socket();
  to_broker_sending_.release();
  if (broker_reached_) host_->broker_left(route_);
  return true;
}

bool Session::end_client() {
  if (!client_.valid()) return true;
  Io& io = host_->io();
  if (farewell_ == Farewell::Flush) {
    flush_client();
    if (client_send_.submitted()) return false;
    if (!client_fin_sent_) io.end_sending(client_);
    client_fin_sent_ = true;
    farewell_ = client_fin_ ? Farewell::Close : Farewell::Drain;
  }
  if (farewell_ == Farewell::Drain) {
    if (!client_recv_.submitted()) io.recv(client_, Reading::Once, client_recv_);
    return false;
  }
  io.cancel(client_recv_);
  io.cancel(client_send_);
  if (client_recv_.submitted() || client_send_.submitted()) return false;
  if (client_abort_) {
    io.abort(client_);
  } else {
    io.close(client_);
  }
  client_ = Socket();
  return true;
}

void Session::on_client_recv_ending(const IoResult& result) {
  drained_bytes_ += result.data.size();
  // -ECANCELED and -ENOBUFS end an operation, not the connection.
  if (result.value == 0 || drained_bytes_ > kSwallowBytes) client_fin_ = true;
  if (result.value < 0 && result.value != -ECANCELED && result.value != -ENOBUFS) client_fin_ = true;
  if (client_fin_ && farewell_ == Farewell::Drain) farewell_ = Farewell::Close;
  advance_ending();
}

// Back to how the constructor left it, but for the armed callbacks.
void Session::recycle() {
  CHECK(state_ == State::Ending && gone_);
  CHECK(!client_recv_.submitted() && !client_send_.submitted() && !broker_recv_.submitted() &&
        !broker_send_.submitted() && !broker_connect_.submitted());
  engine_.reset();
  for (ByteBuffer* buffer :
       {&from_client_, &to_broker_, &to_broker_sending_, &to_client_plain_, &to_client_, &to_client_sending_}) {
    buffer->release();
  }
  client_stream_ = broker_stream_ = {};
  client_paused_ = broker_paused_ = client_stalled_ = broker_stalled_ = false;
  client_fin_ = client_closed_ = client_truncated_ = false;
  broker_fin_sent_ = client_fin_sent_ = broker_ended_ = broker_reached_ = client_first_ = gone_ = false;
  handshake_underway_ = false;
  mqtt_known_ = served_ = torn_ = farewell_due_ = false;
  framing_ = {};
  client_id_.clear();
  attempt_ = 0;
  farewell_ = Farewell::Flush;
  client_abort_ = broker_abort_ = false;
  drained_bytes_ = 0;
  entry_.cas.clear();
  state_ = State::Free;
}

}  // namespace sallyport
