#include "proxy/session/session.h"

#include <utility>

#include "cache/base/check.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kRegisterAgainMs = 1'000;

}  // namespace

Session::Session() {
  client_recv_.arm<&Session::on_client_recv>(*this);
  client_send_.arm<&Session::on_client_send>(*this);
  broker_connect_.arm<&Session::on_broker_connect>(*this);
  broker_recv_.arm<&Session::on_broker_recv>(*this);
  broker_send_.arm<&Session::on_broker_send>(*this);
  timer_.arm<&Session::on_timer>(*this);
  register_timer_.arm<&Session::on_register_timer>(*this);
  expiry_timer_.arm<&Session::look_again>(*this);
  idle_timer_.arm<&Session::on_idle_timer>(*this);
}

void Session::begin(const SessionHost& host, const SessionSettings& settings, Socket client,
                    const sockaddr_storage& peer, const InetAddress& local) {
  host_ = &host;
  settings_ = settings;
  client_.socket = client;
  peer_ = to_inet(peer);
  local_ = local;
  header_due_ = any_holds(settings.config->proxy_protocol_from, peer);
  address_counts_ = !header_due_;
  become(State::Handshaking);
  began_us_ = host.loop.now_us();
  entry_.session = this;
  const bool mutual = settings.auth == AuthMode::Mutual;
  engine_.emplace(*settings.tls, mutual ? this : nullptr, client_.to_send);
  start_timer(timer_, static_cast<std::uint64_t>(settings.config->handshake_timeout.count()));
  start_client_recv();
}

void Session::become(State next) {
  CHECK(may_become(state_, next));
  state_ = next;
}

Verdict Session::verify(const PeerChain& peer) {
  keep_certificate(peer);
  return host_->admission.decide(settings_.listener, peer);
}

Verdict Session::resume(const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch) {
  // A ticket has no certificate in it, and a shard does not ask the disk for one: a full handshake brings it.
  if (shows_certificate()) return {.reason = Reason::NotRegistered};
  return host_->admission.resume(settings_.listener, identity, chain_id, epoch);
}

void Session::handshake_step(TlsEngine::Pace pace) {
  if (state_ != State::Handshaking) return;
  client_.handshake_underway = true;
  const std::size_t lent = client_.received.size();
  engine_->lend(client_.received.bytes());
  if (client_.fin) engine_->end_of_input();
  const Step step = engine_->handshake(pace);
  const std::size_t unread = engine_->unread();
  engine_->lend({});
  client_.received.consume(lent - unread);
  if (!client_.to_send.empty()) host_->schedule.wants_flush(*this);
  if (step == Step::Done || step == Step::Failed) count_tickets(step == Step::Done);
  switch (step) {
    case Step::Done: return on_established();
    case Step::WantInput:
      if (unread > 0) return host_->schedule.wants_handshake(*this);  // held back: the engine takes all it is given
      return start_client_recv();
    case Step::Closed:
    case Step::Truncated:
      return terminate({Origin::Client, Reason::TlsError, 0, "the client left during the handshake"}, Cause::Closed);
    case Step::Failed: return terminate(engine_->error(), Cause::Protocol);
  }
}

void Session::count_tickets(bool resumed) {
  auto& counts = host_->loop.counters(settings_.listener).tickets;
  if (engine_->ticket_issued()) counts[0].add();
  const TicketFate fate = engine_->ticket_fate();
  static_assert(kTicketResultNames.size() == static_cast<std::size_t>(TicketFate::NoStanding) + 1);
  if (fate == TicketFate::Resumed && !resumed) return;  // by somebody without its secret
  if (fate != TicketFate::None) counts[static_cast<std::size_t>(fate)].add();
}

void Session::on_established() {
  const bool mutual = settings_.auth == AuthMode::Mutual;
  const Verdict* decided = verdict();
  // Fail closed: no path through OpenSSL may end in a session that nobody decided on.
  if (mutual && (decided == nullptr || !decided->admitted() || !decided->identity)) {
    return terminate({Origin::Proxy, Reason::InternalError, 0, "a handshake ended without a verdict"}, Cause::Internal,
                     Manner::Abrupt);
  }
  proven_ = mutual;
  ListenerCounters& counters = host_->loop.counters(settings_.listener);
  const auto kind = engine_->resumed()         ? HandshakeKind::Resumed
                    : mutual && decided->known ? HandshakeKind::Known
                                               : HandshakeKind::Full;
  counters
      .handshakes[static_cast<std::size_t>(engine_->version_index())][static_cast<std::size_t>(kind)]
                 [static_cast<std::size_t>(engine_->handshake_maker())][static_cast<std::size_t>(engine_->key_group())]
      .add();
  records_by_ = engine_->records_maker();
  host_->loop.shard_counters().tls_by[static_cast<std::size_t>(*records_by_)].add();
  counters.handshake.record(host_->loop.now_us() - began_us_);
  become(State::AwaitingConnect);
  if (mutual) {
    // In the index before its standing is looked up again: no cut can fall between.
    entry_.device = decided->identity->fingerprint;
    entry_.cas = decided->chain_cas;
    host_->admission.index().add(entry_);
    admitted_ahead_s_ = host_->loop.unix_now() - static_cast<std::int64_t>(host_->loop.now_us() / 1'000'000);
    watch_expiry();
    const std::uint64_t most = settings_.config->max_connects_per_minute_per_device;
    too_often_ = most != 0 && !host_->admission.device_in_time(settings_.listener, entry_.device, most);
    place_ =
        host_->admission.device_enters(settings_.listener, entry_.device, settings_.config->max_sessions_per_device);
    // Whoever has no place is told so in its own protocol, if that has a word for it and not too many wait for theirs.
    const bool waits_for_word = place_ == DevicePlace::ToBeTold && settings_.config->protocol == Protocol::Mqtt;
    if (!waits_for_word && !has_place()) return;
    if (settings_.config->protocol != Protocol::Mqtt && !in_time()) return;
    // Between the ticket and here its standing may have changed, and no verify callback has run.
    if (engine_->resumed() && !standing_held()) return;
  }
  start_timer(timer_, static_cast<std::uint64_t>(settings_.config->connect_timeout.count()));
  decrypt();
  if (!over()) start_client_recv();
}

void Session::collect_connect() {
  if (settings_.config->protocol == Protocol::Tcp) return on_connect_ready();
  const ConnectProgress progress = parse_connect(broker_.to_send.bytes(), settings_.config->max_connect_bytes);
  switch (progress.state) {
    case ConnectProgress::State::NeedMore: return;
    case ConnectProgress::State::Refused:
      if (progress.connack != 0) {
        mqtt_.version = progress.connect.version;
        say_connack(progress.connack);
      }
      return terminate({Origin::Client, progress.reason, 0, progress.what}, Cause::Protocol);
    case ConnectProgress::State::Complete: break;
  }
  mqtt_.version = progress.connect.version;
  mqtt_.client_id = kept_of(progress.connect.client_id);
  host_->loop.counters(settings_.listener).mqtt_connects[static_cast<std::size_t>(*mqtt_.version)].add();
  on_connect_ready();
}

void Session::on_connect_ready() {
  host_->loop.timers().stop(timer_);
  if (const Verdict* decided = verdict()) {
    if (!standing_holds() || !in_time() || !has_place() || !is_alone() || !tell_identity() || !put_proxy_header())
      return;
    if (decided->path && !host_->admission.may_register(*decided)) {
      say_refused(Reason::RateLimited);
      return terminate({Origin::Client, Reason::RateLimited, 0, "max_registrations_per_second_per_ca"},
                       Cause::Protocol);
    }
    if (decided->pending) {
      // Stored as pending, to be approved; a full queue only means that it is stored at the next try.
      if (!host_->admission.offer(*decided)) host_->loop.shard_counters().registrations_deferred.add();
      say_refused(Reason::DevicePending);
      return terminate({Origin::Client, Reason::DevicePending, 0, "waits for approval"}, Cause::Protocol);
    }
    register_device();
  } else if (!tell_identity() || !put_proxy_header()) {
    return;
  }
  become(State::Connecting);
  connect_broker();
}

bool Session::standing_holds() {
  const Verdict* decided = verdict();
  if (decided == nullptr) return true;
  const Reason reason = host_->admission.recheck(*decided, own_now());
  if (reason == Reason::None) return true;
  say_refused(reason);
  terminate({Origin::Client, reason, 0, "its standing changed during the handshake"}, Cause::Protocol);
  return false;
}

// A loss that was undone before the handshake had finished is a loss: who resumes has not proven its key since.
bool Session::standing_held() {
  const Verdict& decided = *verdict();
  const Verdict now = resume(*decided.identity, decided.chain_id, decided.epoch);
  if (now.admitted()) return true;
  say_refused(now.reason);
  terminate({Origin::Client, now.reason, 0, "its standing changed during the handshake"}, Cause::Protocol);
  return false;
}

// Asked again where there was none: who comes back at once may be here before its last session's end.
bool Session::has_place() {
  if (place_ == DevicePlace::Taken) return true;
  leave_place();
  place_ = host_->admission.device_enters(settings_.listener, entry_.device, settings_.config->max_sessions_per_device);
  if (place_ == DevicePlace::Taken) return true;
  say_refused(Reason::TooManySessions);
  terminate({Origin::Client, Reason::TooManySessions, 0, "max_sessions_per_device"}, Cause::Protocol);
  return false;
}

bool Session::in_time() {
  if (!too_often_) return true;
  say_refused(Reason::RateLimited);
  terminate({Origin::Client, Reason::RateLimited, 0, "max_connects_per_minute_per_device"}, Cause::Protocol);
  return false;
}

// Counted whatever is done about it.
bool Session::is_alone() {
  const Clones clones = settings_.config->clones;
  const bool alone = !host_->admission.device_used(settings_.listener, entry_.device, peer(), mqtt_.client_id,
                                                   clones == Clones::RefuseNew, use_);
  if (alone) return true;
  host_->loop.counters(settings_.listener).clones.add();
  if (clones != Clones::RefuseNew) {
    if (clones != Clones::Allow) host_->admission.clone_came(*this);
    return true;
  }
  say_refused(Reason::Clone);
  terminate(
      {Origin::Client, Reason::Clone, 0, "its certificate has a session from elsewhere or with another client id"},
      Cause::Protocol);
  return false;
}

void Session::leave_use() {
  if (use_.order != 0) host_->admission.device_unused(settings_.listener, entry_.device, std::exchange(use_, {}));
}

void Session::leave_place() {
  leave_use();
  const DevicePlace place = std::exchange(place_, DevicePlace::Refused);
  if (place != DevicePlace::Refused) host_->admission.device_leaves(settings_.listener, entry_.device, place);
}

void Session::register_device() {
  const Verdict& decided = *verdict();
  if (!decided.path) {
    if (!decided.seen_today) host_->admission.seen(decided);
    return;
  }
  host_->loop.shard_counters().registrations_offered.add();
  if (offer()) return;
  host_->loop.shard_counters().registrations_deferred.add();
  start_timer(register_timer_, kRegisterAgainMs);
}

// The registrar has its own copy of the certificate then, and an idle session need not hold one.
bool Session::offer() {
  if (!host_->admission.offer(*verdict())) return false;
  std::string().swap(engine_->verdict()->leaf_der);
  return true;
}

void Session::on_register_timer() {
  if (over() || state_ == State::Halted || verdict() == nullptr) return;
  if (!offer()) start_timer(register_timer_, kRegisterAgainMs);
}

void Session::say_refused(Reason reason) {
  if (!mqtt_.version) return;
  std::array<std::uint8_t, kMovedBytes + kLongestReference> packet;
  const std::string_view elsewhere = reason == Reason::ShuttingDown ? server_reference() : "";
  const std::size_t length = elsewhere.empty() ? write_connack_refusal(*mqtt_.version, reason, packet)
                                               : write_moved(MovedBy::Connack, elsewhere, packet);
  say({packet.data(), length});
}

void Session::say_connack(std::uint8_t code) {
  std::uint8_t packet[8];
  say({packet, write_connack(*mqtt_.version, code, packet)});
}

void Session::say(std::span<const std::uint8_t> packet) {
  if (packet.empty()) return;
  // Where even this fails the peer is gone, and the session ends anyway.
  if (engine_->write(packet) == Step::Done) host_->schedule.wants_flush(*this);
}

void Session::on_timer() {
  switch (state_) {
    case State::Free:
    case State::Gone: return;
    case State::Handshaking:
      return terminate({Origin::Client, Reason::HandshakeTimeout, 0, "no TLS handshake in time"}, Cause::Timeout);
    case State::AwaitingConnect:
      return terminate({Origin::Client, Reason::ConnectTimeout, 0, "no whole CONNECT in time"}, Cause::Timeout);
    case State::Connecting:
      if (std::exchange(broker_.waits, false)) return reach_broker();
      if (broker_.tls) return broker_tls_failed(BrokerFault::Timeout, {Origin::Broker, Reason::None, 0, "TLS"});
      return host_->loop.io().cancel(broker_connect_);
    case State::Asking: return not_answered(BrokerFault::Silent, 0);
    // One side has ended and the other did not follow.
    case State::Forwarding:
      if (!broker_.ended) {
        return deliver({Origin::Client, Reason::None, 0, "half-closed for too long"}, Cause::Closed, Manner::Orderly);
      }
      return terminate({Origin::Broker, Reason::None, 0, "half-closed for too long"}, Cause::Timeout, Manner::Abrupt);
    case State::Delivering: return on_delivery_timer();
    case State::Halted: return say_farewell();
    case State::Ending:
      client_.farewell = Farewell::Close;
      client_.abort = true;
      return advance_ending();
  }
}

void Session::shut_down() {
  if (state_ == State::Free || over()) return;
  parting_.hurried = true;
  const Error stops{Origin::Proxy, Reason::ShuttingDown, 0, "sallyport stops"};
  if (state_ == State::Halted || state_ == State::Forwarding) {
    halt(stops, Cause::Shutdown);
    return farewell();  // closing is not paced any more
  }
  if (state_ == State::Delivering) return hurry_delivery();
  if (state_ == State::Connecting || state_ == State::Asking) say_refused(Reason::ShuttingDown);
  terminate(stops, Cause::Shutdown);
}

void Session::start_over() {
  if (state_ == State::Free || state_ >= State::Forwarding) return;
  say_refused(Reason::ShuttingDown);
  terminate({Origin::Proxy, Reason::ShuttingDown, 0, "a reload changes what its broker is told: it may come again"},
            Cause::Shutdown);
}

void Session::evict() {
  if (state_ != State::Handshaking) return;
  terminate({Origin::Client, Reason::HandshakeTimeout, 0, "silent while others wait"}, Cause::Timeout, Manner::Abrupt);
}

std::size_t Session::held_bytes() const {
  return client_.received.capacity() + broker_.to_send.capacity() + broker_.sending.capacity() +
         broker_.held.capacity() + broker_.answer.capacity() + (broker_.tls ? broker_.tls->output().capacity() : 0) +
         client_.to_send.capacity() + client_.plain.capacity() + client_.sending.capacity();
}

void Session::invariants() const {
  const bool idle = state_ == State::Free;
  CHECK(!idle ||
        (!client_.socket.valid() && !broker_.socket.valid() && !entry_.linked && !timer_.running() &&
         !register_timer_.running() && !expiry_timer_.running() && !idle_timer_.running() && held_bytes() == 0));
  CHECK(!idle || (!client_recv_.submitted() && !client_send_.submitted() && !broker_recv_.submitted() &&
                  !broker_send_.submitted() && !broker_connect_.submitted()));
  CHECK(state_ != State::Forwarding || (broker_.socket.valid() && client_.socket.valid()));
  CHECK(state_ != State::Delivering || broker_.socket.valid());
  CHECK(state_ != State::Asking || broker_.socket.valid());
  CHECK(state_ != State::Forwarding || (broker_.held.empty() && broker_.answered && broker_.blamed.empty()));
  CHECK(!idle || !broker_.chosen);
  CHECK(state_ != State::Forwarding || register_timer_.running() || verdict() == nullptr ||
        verdict()->leaf_der.empty());
  const bool cut = state_ == State::Halted && parting_.cause == Cause::Cut;
  CHECK((!over() && !cut) || !entry_.linked);
  CHECK((!idle && !over()) || place_ == DevicePlace::Refused);
}

}  // namespace sallyport
