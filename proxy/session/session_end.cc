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
  if (over()) return;
  const bool served =
      state_ == State::Forwarding || state_ == State::Delivering || (state_ == State::Halted && parting_.served);
  host_->schedule.over(*this, error, cause, served);
  become(State::Ending);
  for (Timer* timer : {&timer_, &register_timer_, &expiry_timer_, &idle_timer_}) host_->loop.timers().stop(*timer);
  host_->admission.index().remove(entry_);
  leave_place();
  settle_blame(false);
  engine_->lend({});  // a buffer of the kernel's, or what is released here
  client_.received.release();
  broker_.to_send.release();
  broker_.held.release();
  broker_.answer.release();
  if (broker_.tls) broker_.tls->output().release();
  // A broker must not take an abrupt end for an orderly one. One that was told of the end has it already, and may still
  // be reading what came before it.
  broker_.abort = cause == Cause::Cut || (cause != Cause::Closed && !broker_.fin_sent);
  if (client_.farewell == Farewell::NotYet || manner == Manner::Abrupt) part_from_client(manner);
  start_timer(timer_, kFarewellMs);
  advance_ending();
}

void Session::advance_ending() {
  const bool broker_over = end_broker();
  const bool client_over = end_client();
  if (!broker_over || !client_over || state_ == State::Gone) return;
  host_->loop.timers().stop(timer_);
  become(State::Gone);
  host_->schedule.gone(*this);
}

bool Session::end_broker() {
  if (!broker_.socket.valid()) return leave_broker(), true;
  Io& io = host_->loop.io();
  for (Completion* completion : {&broker_connect_, &broker_recv_, &broker_send_}) io.cancel(*completion);
  if (broker_connect_.submitted() || broker_recv_.submitted() || broker_send_.submitted()) return false;
  if (broker_.abort) {
    io.abort(broker_.socket);
  } else {
    io.close(broker_.socket);
  }
  broker_.socket = Socket();
  broker_.sending.release();
  leave_broker();
  return true;
}

bool Session::end_client() {
  if (!client_.socket.valid()) return true;
  Io& io = host_->loop.io();
  if (client_.farewell == Farewell::Flush) {
    flush_client();
    if (client_send_.submitted()) return false;
    if (!client_.fin_sent) io.end_sending(client_.socket);
    client_.fin_sent = true;
    client_.farewell = client_.fin ? Farewell::Close : Farewell::Drain;
  }
  if (client_.farewell == Farewell::Drain) {
    if (!client_recv_.submitted()) io.recv(client_.socket, Reading::Once, client_recv_);
    return false;
  }
  io.cancel(client_recv_);
  io.cancel(client_send_);
  if (client_recv_.submitted() || client_send_.submitted()) return false;
  if (client_.abort) {
    io.abort(client_.socket);
  } else {
    io.close(client_.socket);
  }
  client_.socket = Socket();
  client_.to_send.release();
  client_.sending.release();
  return true;
}

void Session::on_client_recv_ending(const IoResult& result) {
  client_.drained_bytes += result.data.size();
  // -ECANCELED and -ENOBUFS end an operation, not the connection.
  if (result.value == 0 || client_.drained_bytes > kSwallowBytes) client_.fin = true;
  if (result.value < 0 && result.value != -ECANCELED && result.value != -ENOBUFS) client_.fin = true;
  if (client_.fin && client_.farewell == Farewell::Drain) client_.farewell = Farewell::Close;
  over() ? advance_ending() : advance_delivery();
}

// Back to how the constructor left it, but for the armed callbacks.
void Session::recycle() {
  become(State::Free);
  CHECK(!client_recv_.submitted() && !client_send_.submitted() && !broker_recv_.submitted() &&
        !broker_send_.submitted() && !broker_connect_.submitted());
  if (records_by_) host_->loop.shard_counters().tls_by[static_cast<std::size_t>(*records_by_)].sub();
  records_by_.reset();
  engine_.reset();
  certificate_.release();
  via_ = local_ = InetAddress();
  header_due_ = address_counts_ = silent_ = too_often_ = false;
  proven_ = false;
  bytes_to_broker_ = bytes_to_client_ = 0;
  client_ = ClientSide();
  broker_ = BrokerSide();
  mqtt_ = Mqtt();
  parting_ = Parting();
  entry_.cas = {};
}

}  // namespace sallyport
