// What `check` asks of the data plane, before there is one.
#include <sched.h>

#include <algorithm>

#include "proxy/data_plane.h"
#include "proxy/listening_sockets.h"
#include "proxy/shard/shard.h"

namespace sallyport {

unsigned DataPlane::usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

Answer<void> DataPlane::resolves(const Endpoint& endpoint, bool to_listen) {
  const auto address = resolve_address(endpoint, to_listen);
  return address ? Answer<void>() : address.error();
}

unsigned DataPlane::shards_of(const Config& config) {
  return config.shards != 0 ? config.shards : usable_cpus();
}

Answer<Capacity> DataPlane::room_for(const Config& config, std::uint64_t open_files, std::uint64_t reserved,
                                     std::string* without_ring) {
  const Capacity capacity = Capacity::of(open_files, shards_of(config), reserved);
  if (config.io == IoEngine::Epoll) return Capacity::plain(capacity.plain_max);
  const auto rings = Shard::can_have_rings(capacity, shards_of(config));
  if (!rings && config.io == IoEngine::IoUring) return rings.error();
  if (!rings && without_ring != nullptr) *without_ring = rings.error().what;
  return rings ? capacity : Capacity::plain(capacity.plain_max);
}

}  // namespace sallyport
