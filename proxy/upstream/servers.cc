#include "proxy/upstream/servers.h"

#include <algorithm>

#include "cache/crypto/siphash.h"

namespace sallyport {

namespace {

constexpr std::size_t kSlots = UpstreamConfig::kMostServers;  // one bit each of a route

// No secret: every shard, and every Sallyport beside this one, must choose alike.
std::uint64_t key_of(const std::string& text) {
  return SipHash(0, 0).hash64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::string_view name_of(const Health& health) {
  switch (health.state()) {
    case Health::State::Unknown: return "unknown";
    case Health::State::Up: return "up";
    case Health::State::Down: return "down";
    case Health::State::Ejected: return health.gone() ? "down" : "ejected";
  }
  return "";
}

Answer<std::vector<ServerAddress>> sources_of(const UpstreamConfig& config) {
  std::vector<ServerAddress> sources;
  for (const std::string& source : config.source) {
    const auto address = resolve_address({source, 0, ""}, false);
    if (!address) {
      return Refusal{Refusal::Kind::Invalid, "upstream " + config.name + ": source " + address.error().what};
    }
    sources.push_back(*address);
  }
  return sources;
}

std::uint64_t milliseconds(std::chrono::milliseconds time) {
  return static_cast<std::uint64_t>(time.count());
}

}  // namespace

bool UpstreamInfo::any_there() const {
  return std::any_of(servers.begin(), servers.end(), [](const ServerInfo& server) { return server.there(); });
}

Answer<std::unique_ptr<Upstreams>> Upstreams::create(const Config& config) {
  auto made = std::make_unique<Upstreams>();
  auto tls = prepare_broker_tls(config.upstreams);
  if (!tls) return tls.error();
  for (const UpstreamConfig& configured : config.upstreams) {
    auto sources = sources_of(configured);
    if (!sources) return sources.error();
    auto upstream = std::make_unique<Upstream>();
    upstream->config = configured;
    upstream->sources = std::move(*sources);
    upstream->tls = std::move((*tls)[configured.name]);
    for (const Endpoint& endpoint : configured.servers) add_server(*upstream, endpoint);
    made->make_list(*upstream);
    made->upstreams_.push_back(std::move(upstream));
  }
  return made;
}

void Upstreams::add_server(Upstream& upstream, const Endpoint& endpoint) {
  Named& named = upstream.servers.emplace_back();
  named.server = std::make_unique<NamedServer>();
  named.server->endpoint = endpoint;
  named.server->text = endpoint.text();
  named.server->literal = is_literal(endpoint);
  if (!named.server->literal) return;
  named.asked = true;
  if (auto found = resolve_all(endpoint, false)) {
    named.addresses = std::move(*found);
  } else {
    named.trouble = found.error().what;
  }
}

// A target that was there before goes on, with its health and its sessions.
void Upstreams::make_list(Upstream& upstream) {
  auto list = std::make_unique<TargetList>();
  list->sources = upstream.sources;
  list->turn = &upstream.turn;
  list->balance = upstream.config.balance;
  list->slow_start_ms = milliseconds(upstream.config.slow_start);
  list->health_ms = milliseconds(upstream.config.health_interval);
  list->connect_ms = milliseconds(upstream.config.connect_timeout);
  list->connack_ms = milliseconds(upstream.config.connack_timeout);
  list->health = upstream.config.health;
  list->proxy_protocol = upstream.config.proxy_protocol;
  list->tls = upstream.tls.get();
  std::uint64_t taken = 0;
  for (const auto& target : upstream.targets) taken |= std::uint64_t{1} << target->slot;
  for (const Named& named : upstream.servers) {
    for (const ServerAddress& address : named.addresses) {
      // Where a name has one address, it is the name that stays: a broker that comes back elsewhere is the same.
      const bool alone = named.server->literal || named.addresses.size() == 1;
      const std::string text = address_text(address);
      const std::uint64_t key = key_of(alone ? named.server->text : named.server->text + '/' + text);
      const auto known = std::find_if(upstream.targets.begin(), upstream.targets.end(), [&](const auto& target) {
        return target->server == named.server.get() && target->address == address && target->key == key;
      });
      if (known != upstream.targets.end()) {
        list->targets.push_back(known->get());
        continue;
      }
      unsigned slot = 0;
      while (slot < kSlots && (taken >> slot & 1) != 0) ++slot;
      if (slot == kSlots) continue;
      taken |= std::uint64_t{1} << slot;
      auto target = std::make_unique<BrokerTarget>();
      target->server = named.server.get();
      target->address = address;
      target->text = text;
      target->key = key;
      target->slot = slot;
      list->targets.push_back(target.get());
      upstream.targets.push_back(std::move(target));
    }
  }
  if (upstream.list) upstream.replaced.push_back(std::move(upstream.list));
  upstream.list = std::move(list);
}

bool Upstreams::set_addresses(std::size_t upstream, const std::string& server,
                              const Answer<std::vector<ServerAddress>>& found, std::uint64_t now_ms) {
  const std::lock_guard lock(mutex_);
  Upstream& of = *upstreams_[upstream];
  const auto named = std::find_if(of.servers.begin(), of.servers.end(),
                                  [&](const Named& each) { return each.server->text == server; });
  if (named == of.servers.end()) return false;  // a reload took it out meanwhile
  named->asked = true;
  named->asked_at_ms = now_ms;
  named->trouble = found ? std::string() : found.error().what;
  // A name server that says nothing takes no broker away.
  if (!found) return false;
  auto addresses = *found;
  const auto less = [](const ServerAddress& a, const ServerAddress& b) { return address_text(a) < address_text(b); };
  std::sort(addresses.begin(), addresses.end(), less);
  if (addresses == named->addresses) return false;
  named->addresses = std::move(addresses);
  make_list(of);
  return true;
}

bool Upstreams::configure(std::size_t upstream, const UpstreamConfig& config, std::unique_ptr<BrokerTlsContext> tls) {
  const std::lock_guard lock(mutex_);
  Upstream& of = *upstreams_[upstream];
  of.config = config;
  std::swap(of.tls, tls);
  if (tls) of.replaced_tls.push_back(std::move(tls));
  std::vector<Named> before = std::move(of.servers);
  of.servers.clear();
  for (const Endpoint& endpoint : config.servers) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const Named& each) {
      return each.server != nullptr && each.server->text == endpoint.text();
    });
    if (same != before.end()) {
      of.servers.push_back(std::move(*same));
      continue;
    }
    add_server(of, endpoint);
    // One that left and is back, before its last session has ended.
    const auto back =
        std::find_if(of.left.begin(), of.left.end(), [&](const auto& each) { return each->text == endpoint.text(); });
    if (back == of.left.end()) continue;
    of.servers.back().server = std::move(*back);
    of.left.erase(back);
  }
  for (Named& each : before) {
    if (each.server != nullptr) of.left.push_back(std::move(each.server));
  }
  make_list(of);
  return true;
}

void Upstreams::collect() {
  const std::lock_guard lock(mutex_);
  for (const auto& upstream : upstreams_) {
    upstream->replaced.clear();
    upstream->replaced_tls.clear();
    const std::vector<BrokerTarget*>& listed = upstream->list->targets;
    std::erase_if(upstream->targets, [&](const auto& target) {
      return target->holds.load(std::memory_order_acquire) == 0 &&
             std::find(listed.begin(), listed.end(), target.get()) == listed.end();
    });
    std::erase_if(upstream->left, [&](const auto& server) {
      return std::none_of(upstream->targets.begin(), upstream->targets.end(),
                          [&](const auto& target) { return target->server == server.get(); });
    });
  }
}

std::vector<Upstreams::Name> Upstreams::names(std::uint64_t now_ms) {
  constexpr std::uint64_t kAgainMs = 5'000;  // after a failure, of the name or of every address it had
  const std::lock_guard lock(mutex_);
  std::vector<Name> due;
  for (std::size_t u = 0; u < upstreams_.size(); ++u) {
    const std::uint64_t interval = milliseconds(upstreams_[u]->config.resolve_interval);
    for (Named& named : upstreams_[u]->servers) {
      if (named.server->literal) continue;
      const bool failed = !named.trouble.empty() || named.server->ask_again.load(std::memory_order_relaxed);
      const std::uint64_t after = failed ? std::min(kAgainMs, interval) : interval;
      if (named.asked && now_ms < named.asked_at_ms + after) continue;
      named.server->ask_again.store(false, std::memory_order_relaxed);
      due.push_back({u, named.server->endpoint});
    }
  }
  return due;
}

bool Upstreams::all_asked() const {
  const std::lock_guard lock(mutex_);
  return std::all_of(upstreams_.begin(), upstreams_.end(), [](const auto& upstream) {
    return std::all_of(upstream->servers.begin(), upstream->servers.end(),
                       [](const Named& named) { return named.asked; });
  });
}

std::vector<std::string> Upstreams::unresolved() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> all;
  for (const auto& upstream : upstreams_) {
    for (const Named& named : upstream->servers) {
      if (named.addresses.empty()) all.push_back("upstream " + upstream->config.name + ": " + named.server->text);
    }
  }
  return all;
}

// One that was taken out of the configuration, while it has sessions: when it has none any more the broker may stop.
void Upstreams::add_removed(const Upstream& upstream, UpstreamInfo& info) {
  for (const auto& left : upstream.left) {
    ServerInfo server;
    server.server = left->text;
    server.state = "removed";
    for (const auto& target : upstream.targets) {
      if (target->server == left.get()) server.sessions += target->sessions.load(std::memory_order_relaxed);
    }
    if (server.sessions > 0) info.servers.push_back(std::move(server));
  }
}

std::vector<UpstreamInfo> Upstreams::info(std::uint64_t now_ms) const {
  const std::lock_guard lock(mutex_);
  std::vector<UpstreamInfo> all;
  for (const auto& upstream : upstreams_) {
    UpstreamInfo& info = all.emplace_back();
    info.name = upstream->config.name;
    info.balance = upstream->config.balance;
    info.health = upstream->config.health;
    for (const Named& named : upstream->servers) {
      ServerInfo& server = info.servers.emplace_back();
      server.server = named.server->text;
      server.drained = named.server->drained.load(std::memory_order_relaxed);
      server.trouble = named.trouble;
      server.last_trouble = named.server->last_trouble.said();
      const SharedLatency& connect = named.server->connect;
      for (std::size_t i = 0; i < server.connect.size(); ++i) {
        server.connect[i] = connect.buckets[i].load(std::memory_order_relaxed);
      }
      server.connect_sum_us = connect.sum_us.load(std::memory_order_relaxed);
      for (std::size_t i = 0; i < server.faults.size(); ++i) {
        server.faults[i] = named.server->faults[i].load(std::memory_order_relaxed);
      }
      const BrokerTarget* best = nullptr;
      for (const auto& target : upstream->targets) {
        if (target->server != named.server.get()) continue;
        const std::uint64_t sessions = target->sessions.load(std::memory_order_relaxed);
        server.sessions += sessions;
        const auto& listed = upstream->list->targets;
        if (std::find(listed.begin(), listed.end(), target.get()) == listed.end()) continue;
        const bool rises = target->health.rises(now_ms, upstream->list->slow_start_ms);
        server.targets.push_back({target->text, name_of(target->health), rises, sessions});
        const auto rank = [](const BrokerTarget& each) {
          constexpr std::array<int, 4> kRank = {1, 0, 3, 2};  // of each state, the best first
          return kRank[static_cast<std::size_t>(each.health.state())];
        };
        if (best == nullptr || rank(*target) < rank(*best)) best = target.get();
      }
      server.state = server.drained ? "drained" : best == nullptr ? "unresolved" : std::string(name_of(best->health));
    }
    add_removed(*upstream, info);
  }
  return all;
}

Answer<void> Upstreams::drain(std::string_view upstream, std::string_view server, bool drained) {
  const std::lock_guard lock(mutex_);
  const auto of = std::find_if(upstreams_.begin(), upstreams_.end(),
                               [&](const auto& each) { return each->config.name == upstream; });
  if (of == upstreams_.end()) {
    return Refusal{Refusal::Kind::NotFound, "there is no upstream " + std::string(upstream)};
  }
  const auto named = std::find_if((*of)->servers.begin(), (*of)->servers.end(),
                                  [&](const Named& each) { return each.server->text == server; });
  if (named == (*of)->servers.end()) {
    std::string known;
    for (const Named& each : (*of)->servers) known += (known.empty() ? "" : ", ") + each.server->text;
    return Refusal{Refusal::Kind::NotFound,
                   "upstream " + std::string(upstream) + " has no server " + std::string(server) + "; it has " + known};
  }
  named->server->drained.store(drained, std::memory_order_relaxed);
  return {};
}

}  // namespace sallyport
