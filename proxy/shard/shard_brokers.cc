// The brokers as a shard's sessions meet them: the choice, the sockets, and what their failures say of their health.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/shard/shard.h"
#include "proxy/shard/socket_options.h"

namespace sallyport {

bool Shard::choose_broker(std::size_t upstream, std::string_view client_id, unsigned attempt, BrokerRoute& route) {
  return brokers_.choose(upstream, client_id, attempt, now_us(), route);
}

// Direct descriptors cost a little more in the end of a connection than plain ones, so those are used up first.
bool Shard::goes_direct() const {
  return parts_.connections->load(std::memory_order_relaxed) >= parts_.capacity.plain_max && io_->room_for_direct();
}

Socket Shard::open_broker(const BrokerRoute& route, const ListenerConfig& listener) {
  const Socket socket = open_plain(route, listener);
  return socket.valid() && goes_direct() ? io_->make_direct(socket) : socket;
}

Socket Shard::open_plain(const BrokerRoute& route, const ListenerConfig& listener) {
  const Socket socket = io_->open(route.address->sa_family);
  if (!socket.valid()) return socket;
  set_up_broker(socket.handle(), *route.address, &listener);
  const ServerAddress* source = route.address->sa_family == AF_UNIX ? nullptr : brokers_.source(route.upstream);
  if (source == nullptr) return socket;
  // ip(7): the port is chosen when connecting, so that the same one can serve several destinations.
  const int on = 1;
  ::setsockopt(socket.handle(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (::bind(socket.handle(), reinterpret_cast<const sockaddr*>(&source->address), source->length) == 0) return socket;
  const int error = errno;
  io_->close(socket);
  return Socket(-error);
}

bool Shard::another_source(const BrokerRoute& route, unsigned attempt) {
  return attempt < brokers_.list(route.upstream).sources.size();
}

void Shard::broker_connected(const BrokerRoute& route, std::uint64_t us) {
  route.target->server->connect.record(us);
}

std::unique_ptr<BrokerTls> Shard::broker_tls(const BrokerRoute& route) {
  const BrokerTlsContext* tls = brokers_.list(route.upstream).tls;
  if (tls == nullptr) return nullptr;
  const auto resumes = route.anew ? BrokerTls::Resumes::No : BrokerTls::Resumes::Yes;
  return std::make_unique<BrokerTls>(*tls, route.target->server->endpoint, resumes, unix_now());
}

bool Shard::route_holds(const BrokerRoute& route) {
  const BrokerTlsContext* tls = brokers_.list(route.upstream).tls;
  return route.tls == (tls != nullptr ? tls->number() : 0);
}

void Shard::broker_failed(const BrokerRoute& route, BrokerFault fault, int error, std::string_view what) {
  const std::string why = std::string(to_string(fault)) + (what.empty() ? "" : ": ") + std::string(what);
  BrokerTarget& target = *route.target;
  target.server->faults[static_cast<std::size_t>(fault)].fetch_add(1, std::memory_order_relaxed);
  target.server->last_trouble.note(why, error, unix_now());
  log_.debug("upstream-failed", {{"upstream", parts_.config->upstreams[route.upstream].name},
                                 {"server", target.server->text},
                                 {"address", target.text},
                                 {"why", why},
                                 {"errno", error}});
  if (follows_connect(fault)) return;
  say_health(route.upstream, target, target.health.unreachable(), why, error);
}

void Shard::broker_unanswered(const BrokerRoute& route, std::uint64_t who, bool proven) {
  using enum Health::Evidence;
  const Health::Evidence evidence = proven ? Proven : route.alone ? Alone : None;
  const Health::Change change = route.target->health.unanswered(who, evidence, now_us() / 1000);
  say_health(route.upstream, *route.target, change, "it takes CONNECTs and does not answer them", 0);
}

void Shard::broker_answered(const BrokerRoute& route) {
  BrokerTarget& target = *route.target;
  target.sessions.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t slow_start_ms = brokers_.list(route.upstream).slow_start_ms;
  say_health(route.upstream, target, target.health.answered(now_us() / 1000, slow_start_ms), "", 0);
}

void Shard::broker_left(const BrokerRoute& route, bool served) {
  if (served) route.target->sessions.fetch_sub(1, std::memory_order_relaxed);
  BrokerChoice::left(route);
}

// Once a second: it is the same for every session that comes.
void Shard::out_of(std::size_t upstream, int error) {
  constexpr std::uint64_t kSayUs = 1'000'000;
  for (std::size_t i = 0; i < kShortages.size(); ++i) {
    if (kShortages[i].error == error) counters_.shortages[i].add();
  }
  const std::uint64_t now = now_us();
  if (said_short_us_ != 0 && now - said_short_us_ < kSayUs) return;
  said_short_us_ = now;
  const char* remedy = error == EADDRNOTAVAIL ? "give the upstream more source addresses, or more servers"
                                              : "raise the limit of open files, or this machine's memory";
  log_.warn("out-of", {{"upstream", parts_.config->upstreams[upstream].name},
                       {"errno", error},
                       {"what", std::strerror(error)},
                       {"do", remedy}});
}

Socket Shard::open_probe(const BrokerTarget& target) {
  const Socket socket = io_->open(target.address.address.ss_family);
  if (socket.valid())
    set_up_broker(socket.handle(), reinterpret_cast<const sockaddr&>(target.address.address), nullptr);
  return socket;
}

void Shard::probed(std::size_t upstream, BrokerTarget& target, bool good, std::string_view what, int error) {
  const std::uint64_t slow_start_ms = brokers_.list(upstream).slow_start_ms;
  const Health::Change change = target.health.probed(good, now_us() / 1000, slow_start_ms);
  const std::string_view why = what.empty() ? "it cannot be reached" : what;
  if (!good) target.server->last_trouble.note(why, error, unix_now());
  say_health(upstream, target, change, why, error);
}

void Shard::say_health(std::size_t upstream, const BrokerTarget& target, Health::Change change, std::string_view why,
                       int error) {
  if (change == Health::Change::None) return;
  const bool up = change == Health::Change::CameUp;
  const std::string& name = parts_.config->upstreams[upstream].name;
  if (up) {
    log_.info("upstream-up", {{"upstream", name}, {"server", target.server->text}, {"address", target.text}});
    return;
  }
  log_.warn(
      "upstream-down",
      {{"upstream", name}, {"server", target.server->text}, {"address", target.text}, {"why", why}, {"errno", error}});
  // Its name may lead elsewhere by now.
  if (target.server->literal) return;
  const auto& targets = brokers_.list(upstream).targets;
  const bool all_failed = std::none_of(targets.begin(), targets.end(), [&](const BrokerTarget* each) {
    return each->server == target.server && each->health.usable();
  });
  if (all_failed) target.server->ask_again.store(true, std::memory_order_relaxed);
}

}  // namespace sallyport
