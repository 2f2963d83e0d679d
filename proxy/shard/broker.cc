#include "proxy/shard/broker.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>

#include "cache/crypto/siphash.h"

namespace sallyport {

bool is_loopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  if (address.sa_family != AF_INET6) return false;
  const in6_addr& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&ip) || (IN6_IS_ADDR_V4MAPPED(&ip) && ip.s6_addr[12] == IN_LOOPBACKNET);
}

Answer<ServerAddress> resolve_address(const Endpoint& endpoint, bool passive) {
  ServerAddress out;
  if (!endpoint.unix_path.empty()) {
    auto* local = reinterpret_cast<sockaddr_un*>(&out.address);
    local->sun_family = AF_UNIX;
    std::memcpy(local->sun_path, endpoint.unix_path.c_str(), endpoint.unix_path.size() + 1);
    out.length = sizeof(sockaddr_un);
    return out;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const int outcome = ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (outcome != 0) {
    return Refusal{Refusal::Kind::Invalid, endpoint.text() + " cannot be resolved: " + ::gai_strerror(outcome)};
  }
  std::memcpy(&out.address, found->ai_addr, found->ai_addrlen);
  out.length = found->ai_addrlen;
  ::freeaddrinfo(found);
  return out;
}

Answer<std::unique_ptr<Servers>> Servers::resolve(const Config& config) {
  auto servers = std::make_unique<Servers>();
  for (const UpstreamConfig& configured : config.upstreams) {
    Upstream upstream;
    if (configured.servers.size() > 64) {
      return Refusal{Refusal::Kind::Invalid, "upstream " + configured.name + " has more than 64 servers"};
    }
    for (const Endpoint& endpoint : configured.servers) {
      upstream.servers.push_back(std::make_unique<Server>());
      if (const auto address = resolve_address(endpoint, false)) upstream.servers.back()->set(*address);
    }
    for (const std::string& source : configured.source) {
      const auto address = resolve_address({source, 0, ""}, false);
      if (!address)
        return Refusal{Refusal::Kind::Invalid, "upstream " + configured.name + ": source " + address.error().what};
      upstream.sources.push_back(*address);
    }
    servers->upstreams_.push_back(std::move(upstream));
  }
  return servers;
}

void Servers::Server::set(const ServerAddress& to) {
  resolved = std::make_unique<const ServerAddress>(to);
  address.store(resolved.get(), std::memory_order_release);
}

void Servers::set_address(std::size_t upstream, std::size_t server, const ServerAddress& address) {
  upstreams_[upstream].servers[server]->set(address);
}

BrokerChoice::BrokerChoice(const Config& config, const Servers& servers) : config_(config), servers_(servers) {
  for (const Servers::Upstream& upstream : servers.upstreams()) {
    State state;
    state.connections.assign(upstream.servers.size(), 0);
    states_.push_back(std::move(state));
  }
}

// Smaller is better.
std::uint64_t BrokerChoice::preference(std::size_t upstream, std::size_t server, std::string_view client_id,
                                       std::uint64_t turn) const {
  const std::size_t count = servers_.upstreams()[upstream].servers.size();
  switch (config_.upstreams[upstream].balance) {
    case Balance::LeastConnections: return states_[upstream].connections[server] * count + (server + turn) % count;
    case Balance::RoundRobin: return (server + count - turn % count) % count;
    // No secret: every shard, and every Sallyport beside this one, must choose alike.
    case Balance::ClientId:
      return SipHash(server, 0).hash64({reinterpret_cast<const std::uint8_t*>(client_id.data()), client_id.size()});
  }
  return 0;
}

bool BrokerChoice::choose(std::size_t upstream, std::string_view client_id, unsigned attempt, std::uint64_t now_ms,
                          BrokerRoute& route) {
  const auto& servers = servers_.upstreams()[upstream].servers;
  if (attempt == 0) {
    route.tried = 0;
    route.turn = states_[upstream].turn++;
  }
  bool found = false, found_up = false;
  std::uint64_t best = 0;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    if ((route.tried >> i & 1) != 0 || servers[i]->address.load(std::memory_order_acquire) == nullptr) continue;
    const bool up = servers[i]->down_until_ms.load(std::memory_order_relaxed) <= now_ms;
    const std::uint64_t here = preference(upstream, i, client_id, route.turn);
    // One that is down is better than none: it may have come back this moment.
    if (found && (found_up != up ? found_up : best <= here)) continue;
    found = true;
    found_up = up;
    best = here;
    route.server = i;
  }
  if (!found) return false;
  route.tried |= std::uint64_t{1} << route.server;
  route.upstream = upstream;
  return address(route);
}

bool BrokerChoice::address(BrokerRoute& route) const {
  const auto& server = servers_.upstreams()[route.upstream].servers[route.server];
  const ServerAddress* known = server->address.load(std::memory_order_acquire);
  if (known == nullptr) return false;
  route.address = reinterpret_cast<const sockaddr*>(&known->address);
  route.length = known->length;
  return true;
}

void BrokerChoice::answered(const BrokerRoute& route, bool connected, std::uint64_t now_ms) {
  const auto interval = static_cast<std::uint64_t>(config_.upstreams[route.upstream].health_interval.count());
  auto& down = servers_.upstreams()[route.upstream].servers[route.server]->down_until_ms;
  down.store(connected ? 0 : now_ms + interval, std::memory_order_relaxed);
  if (connected) ++states_[route.upstream].connections[route.server];
}

void BrokerChoice::left(const BrokerRoute& route) {
  --states_[route.upstream].connections[route.server];
}

const ServerAddress* BrokerChoice::source(std::size_t upstream) {
  const auto& sources = servers_.upstreams()[upstream].sources;
  return sources.empty() ? nullptr : &sources[states_[upstream].source_turn++ % sources.size()];
}

bool BrokerChoice::up(std::size_t upstream, std::size_t server) const {
  const Servers::Server& at = *servers_.upstreams()[upstream].servers[server];
  return at.address.load(std::memory_order_relaxed) != nullptr && at.down_until_ms.load(std::memory_order_relaxed) == 0;
}

}  // namespace sallyport
