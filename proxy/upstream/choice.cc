#include "proxy/upstream/choice.h"

#include "cache/crypto/siphash.h"

namespace sallyport {

BrokerChoice::BrokerChoice(const Upstreams& upstreams) {
  for (std::size_t i = 0; i < upstreams.count(); ++i) states_.push_back({upstreams.list(i)});
}

// Smaller is better.
std::uint64_t BrokerChoice::preference(const TargetList& list, const BrokerTarget& target, std::size_t place,
                                       std::string_view client_id, std::uint64_t turn) {
  const std::size_t count = list.targets.size();
  switch (list.balance) {
    case Balance::LeastConnections:
      return target.holds.load(std::memory_order_relaxed) * count + (place + turn) % count;
    case Balance::RoundRobin: return (place + count - turn % count) % count;
    case Balance::ClientId:
      return SipHash(target.key, 0).hash64({reinterpret_cast<const std::uint8_t*>(client_id.data()), client_id.size()});
  }
  return 0;
}

bool BrokerChoice::choose(std::size_t upstream, std::string_view client_id, unsigned attempt, std::uint64_t now_us,
                          BrokerRoute& route) {
  State& state = states_[upstream];
  const TargetList& list = *state.list;
  if (attempt == 0) {
    route.tried = 0;
    route.turn = list.turn->fetch_add(1, std::memory_order_relaxed);
  }
  route.upstream = upstream;
  route.anew = false;
  route.tls = list.tls != nullptr ? list.tls->number() : 0;
  route.wait_us = 0;
  std::uint64_t full = 0;  // in slow start, and without room at this moment
  BrokerTarget* waits = nullptr;
  for (;;) {
    BrokerTarget* best = nullptr;
    bool best_up = false;
    std::uint64_t least = 0;
    for (std::size_t i = 0; i < list.targets.size(); ++i) {
      BrokerTarget& target = *list.targets[i];
      if (((route.tried | full) >> target.slot & 1) != 0) continue;
      if (target.server->drained.load(std::memory_order_relaxed)) continue;
      const bool up = target.health.usable();
      const std::uint64_t here = preference(list, target, i, client_id, route.turn);
      if (best != nullptr && (best_up != up ? best_up : least <= here)) continue;
      best = &target;
      best_up = up;
      least = here;
    }
    // One that is down comes behind one that has no room at this moment.
    if (best == nullptr || (!best_up && waits != nullptr)) break;
    if (!best_up || best->health.admits(now_us, list.slow_start_ms)) {
      waits = best;
      break;
    }
    if (waits == nullptr) waits = best;
    full |= std::uint64_t{1} << best->slot;
  }
  if (waits == nullptr) return false;
  if ((full >> waits->slot & 1) != 0) route.wait_us = waits->health.reserve(now_us, list.slow_start_ms);
  route.tried |= std::uint64_t{1} << waits->slot;
  route.target = waits;
  route.address = reinterpret_cast<const sockaddr*>(&waits->address.address);
  route.length = waits->address.length;
  route.alone = list.targets.size() == 1;
  waits->holds.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void BrokerChoice::left(const BrokerRoute& route) {
  route.target->holds.fetch_sub(1, std::memory_order_release);
}

const ServerAddress* BrokerChoice::source(std::size_t upstream) {
  State& state = states_[upstream];
  const auto& sources = state.list->sources;
  return sources.empty() ? nullptr : &sources[state.source_turn++ % sources.size()];
}

}  // namespace sallyport
