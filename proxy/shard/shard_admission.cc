// The shard's front door: accepting, and the bounds on who may wait there.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cache/base/check.h"
#include "proxy/proxy_protocol/proxy_writer.h"
#include "proxy/shard/shard.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kOutOfFilesMs = 100;
constexpr std::size_t kSilentFactor = 4;   // silent peers, as a multiple of max_handshakes_per_shard
constexpr std::uint64_t kSilentShare = 2;  // of handshake_timeout: how long a silent peer is let be in a crowd

}  // namespace

bool Shard::Listening::in_flight() const {
  return std::any_of(accepting.begin(), accepting.end(),
                     [](const Accepting& each) { return each.accepted.submitted(); });
}

void Shard::start_accepting(Accepting& accepting) {
  Listening& listening = *accepting.listening;
  if (!listening.socket.valid() || accepting.accepted.submitted() || listening.paused || draining_) return;
  // A direct descriptor cannot be asked what the client connected to.
  accepting.direct = goes_direct() && !listening.settings.upstream->proxy_protocol;
  io_->accept(listening.socket, accepting.direct, accepting.peer, accepting.peer_length, accepting.accepted);
}

void Shard::start_accepting(Listening& listening) {
  for (Accepting& accepting : listening.accepting) start_accepting(accepting);
}

// A connection may still come out of an accept that was asked for before.
bool Shard::accepts() const {
  return std::any_of(listening_.begin(), listening_.end(), [](const Listening& each) { return each.in_flight(); });
}

void Shard::on_accept_again() {
  for (Listening& listening : listening_) start_accepting(listening);
}

void Shard::on_accepted(Accepting& accepting, const IoResult& result) {
  Listening& listening = *accepting.listening;
  if (result.value >= 0) {
    admit(listening, io_->accepted(result, accepting.direct), accepting.peer);
  } else if (result.value != -ECANCELED) {
    // EMFILE and ENFILE most likely: a moment later somebody may have left. EAGAIN says that nobody waits, and comes
    // only while a process with another `io` has the socket as well.
    if (!accept_again_.running() && result.value != -EAGAIN) {
      log_.warn("accept-failed", {{"listener", listening.settings.config->name}, {"errno", -result.value}});
    }
    timers_.start(accept_again_, now_us() / 1000, kOutOfFilesMs);
    return;
  }
  if (draining_) return close_listening(listening);
  start_accepting(accepting);
}

// Once nothing waits on it any more.
void Shard::close_listening(Listening& listening) {
  if (!listening.socket.valid() || listening.in_flight()) return;
  io_->close(listening.socket);
  listening.socket = Socket();
}

void Shard::admit(Listening& listening, Socket socket, const sockaddr_storage& peer) {
  const ListenerConfig& config = *listening.settings.config;
  counters_.listeners[listening.number].accepted.add();
  if (drain_over_) return refuse_at_once(listening, socket, peer, Reason::ShuttingDown, "sallyport stops");
  // A balancer's own address is not counted: its PROXY header says whose is (Session::read_proxy_header()).
  const bool balancer = any_holds(config.proxy_protocol_from, peer);
  if (!balancer) {
    const Error refused = address_enters(listening.number, peer);
    if (refused.reason != Reason::None) return refuse_at_once(listening, socket, peer, refused.reason, refused.what);
  }
  std::atomic<std::uint64_t>& of_listener = (*parts_.by_listener)[listening.number];
  // Taken first and given back where it was too much: no two shards pass the limit together.
  const bool full = parts_.connections->fetch_add(1, std::memory_order_relaxed) >= connections_max_;
  const bool listener_full = of_listener.fetch_add(1, std::memory_order_relaxed) >=
                             (config.max_connections != 0 ? config.max_connections : UINT64_MAX);
  if (full || listener_full) {
    parts_.connections->fetch_sub(1, std::memory_order_relaxed);
    of_listener.fetch_sub(1, std::memory_order_relaxed);
    if (!balancer) (*parts_.address_limits)[listening.number].leave(peer);
    return refuse_at_once(listening, socket, peer, Reason::TooManyConnections,
                          full ? "the open-file limit allows no more" : "max_connections");
  }
  bound_silent_peers(config);
  sessions_.add();
  counters_.listeners[listening.number].sessions_open.add();
  if (free_.empty()) free_.push_back(&slab_.emplace_back());
  Session& session = *free_.back();
  free_.pop_back();
  session.handshaking_previous = newest_handshaking_;
  session.handshaking_next = nullptr;
  (newest_handshaking_ != nullptr ? newest_handshaking_->handshaking_next : oldest_handshaking_) = &session;
  newest_handshaking_ = &session;
  ++handshaking_;
  session.id = std::uint64_t{parts_.number} << 48 | ++sessions_begun_;
  session.since = unix_now();
  count_config(listening.settings.config);
  const InetAddress local = listening.settings.upstream->proxy_protocol ? local_of(socket) : InetAddress();
  session.begin(host_, listening.settings, socket, peer, local);
}

// Counted also where there is no limit: one may be set while they are open.
Error Shard::address_enters(std::size_t listener, const sockaddr_storage& peer) {
  const ListenerConfig& config = *listening_[listener].settings.config;
  AddressLimits& limits = (*parts_.address_limits)[listener];
  switch (limits.enter(peer, config.max_connections_per_ip, config.max_new_per_second_per_ip, now_us())) {
    case AddressLimits::Admission::Admitted: break;
    case AddressLimits::Admission::TooMany:
      return {Origin::Client, Reason::TooManyConnections, 0, "max_connections_per_ip"};
    case AddressLimits::Admission::TooFast:
      return {Origin::Client, Reason::RateLimited, 0, "max_new_per_second_per_ip"};
  }
  return {Origin::Client, Reason::None, 0, ""};
}

namespace {

std::uint64_t rate_key(const Digest& id) {  // a SHA-256: as evenly spread as can be
  std::uint64_t key = 0;
  std::memcpy(&key, id.data(), sizeof key);
  return key;
}

}  // namespace

bool Shard::device_in_time(std::size_t listener, const Digest& device, std::uint64_t most) {
  constexpr std::uint64_t kMinuteUs = 60'000'000;
  return (*parts_.device_rates)[listener].take(rate_key(device), most, kMinuteUs, now_us());
}

bool Shard::may_register(const Verdict& verdict) {
  constexpr std::uint64_t kSecondUs = 1'000'000;
  const std::uint64_t most = parts_.registration_pace->load(std::memory_order_relaxed);
  if (most == 0 || !verdict.path || verdict.path->cas.empty()) return true;
  return parts_.registration_rates->take(rate_key(verdict.path->cas.front()), most, kSecondUs, now_us());
}

// The mail is sent to this shard, too: a session that is in the middle of its CONNECT cuts nobody.
void Shard::clone_came(const Session& session) {
  const Verdict& verdict = *session.verdict();
  const std::size_t listener = session.settings().listener;
  const bool cuts = session.settings().config->clones == Clones::CutOld;
  if (cuts) {
    for (const auto& shard : *parts_.shards) {
      shard->mailbox().post({CutClones{listener, verdict.identity->fingerprint, session.use()}, nullptr});
    }
  }
  if (!log_.wants(Level::Warn) || !logs_refusal(listener, Reason::Clone)) return;
  log_.warn("clone", {{"listener", session.settings().config->name},
                      {"peer", peer_text(session.peer())},
                      {"client_id", session.client_id()},
                      {"subject", verdict.identity->subject},
                      {"fingerprint", to_hex(verdict.identity->fingerprint)},
                      {"done", cuts ? "the older sessions are cut" : "let in"},
                      {"what", "its certificate has a session from elsewhere or with another client id"}});
}

// What the client connected to; asked while the descriptor is a plain one, which it may then cease to be.
InetAddress Shard::local_of(Socket& socket) {
  sockaddr_storage local{};
  socklen_t length = sizeof local;
  ::getsockname(socket.handle(), reinterpret_cast<sockaddr*>(&local), &length);
  if (goes_direct()) socket = io_->make_direct(socket);
  return to_inet(local);
}

// A handful: one for each listener, and one more for each reload that sessions from before have outlived.
void Shard::count_config(const ListenerConfig* config) {
  for (auto& [each, sessions] : configs_) {
    if (each == config) return void(++sessions);
  }
  configs_.emplace_back(config, 1);
}

void Shard::forget_config(const ListenerConfig* config) {
  const auto found =
      std::find_if(configs_.begin(), configs_.end(), [&](const auto& each) { return each.first == config; });
  CHECK(found != configs_.end());
  if (--found->second == 0) configs_.erase(found);
}

void Shard::refuse_at_once(Listening& listening, Socket socket, const sockaddr_storage& peer, Reason reason,
                           std::string_view what) {
  counters_.listeners[listening.number].rejections[static_cast<std::size_t>(reason)].add();
  note_rejection(*listening.settings.config, {Origin::Client, reason, 0, what}, peer, {}, nullptr, false);
  const bool logged = log_.wants(Level::Info) && logs_refusal(listening.number, reason);
  if (logged || log_.watched()) {
    const std::string from = peer_text(peer);
    const std::initializer_list<Field> fields = {
        {"listener", listening.settings.config->name}, {"reason", to_string(reason)}, {"peer", from}, {"what", what}};
    logged ? log_.info("rejected", fields) : log_.tell("rejected", fields);
  }
  io_->close(socket);
}

// Taken off the list of those whose handshake is not over; harmless for one that is not on it.
void Shard::leave_handshaking(Session& session) {
  const bool listed =
      session.handshaking_previous != nullptr || session.handshaking_next != nullptr || oldest_handshaking_ == &session;
  if (!listed) return;
  (session.handshaking_previous != nullptr ? session.handshaking_previous->handshaking_next : oldest_handshaking_) =
      session.handshaking_next;
  (session.handshaking_next != nullptr ? session.handshaking_next->handshaking_previous : newest_handshaking_) =
      session.handshaking_previous;
  session.handshaking_next = session.handshaking_previous = nullptr;
  --handshaking_;
}

// Peers we wait for cost memory but no work: bounded apart. Where there are too many the oldest goes, those first who
// have said nothing yet, but not before it had time to speak: in a storm a device's bytes wait behind those of all
// others. True: too many, and each may still have its time.
bool Shard::bound_silent_peers(const ListenerConfig& listener) {
  const std::size_t most = kSilentFactor * listener.max_handshakes_per_shard;
  if (handshaking_ < most + handshake_queue_.size()) return false;
  // What was accepted before the pause took effect may come on top, up to the same number again.
  const bool far_too_many = handshaking_ >= 2 * most + handshake_queue_.size();
  const auto time_us = static_cast<std::uint64_t>(listener.handshake_timeout.count()) * 1000 / kSilentShare;
  // In order of arrival: where the first is young all are, and nobody is looked for.
  if (!far_too_many && now_us() - oldest_handshaking_->began_us() < time_us) return true;
  const auto oldest = [this](bool underway) {
    Session* session = oldest_handshaking_;
    while (session != nullptr && (session->in_handshake_queue || session->handshake_underway() != underway)) {
      session = session->handshaking_next;
    }
    return session;
  };
  Session* session = oldest(false);
  if (session == nullptr) session = oldest(true);
  if (session == nullptr) return false;
  if (!far_too_many && now_us() - session->began_us() < time_us) return true;
  session->evict();
  return false;
}

// At the limit of due handshakes accepting pauses: the kernel's backlog holds the others, unread.
void Shard::pace_accepting() {
  if (draining_) return;
  for (Listening& listening : listening_) {
    const ListenerConfig& config = *listening.settings.config;
    const std::size_t limit = config.max_handshakes_per_shard;
    const bool full = handshake_queue_.size() >= (listening.paused ? limit / 2 + 1 : limit);
    const bool pause = full || bound_silent_peers(config);
    if (pause == listening.paused) continue;
    listening.paused = pause;
    if (!pause) start_accepting(listening);
  }
}

void Shard::stop_accepting() {
  for (Listening& listening : listening_) {
    for (Accepting& accepting : listening.accepting) io_->cancel(accepting.accepted);
    close_listening(listening);
  }
  timers_.stop(accept_again_);
}

}  // namespace sallyport
