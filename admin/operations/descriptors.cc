#include "admin/operations/descriptors.h"

#include <algorithm>

#include "admin/http/http_server.h"
#include "cache/registry/registry_store.h"
#include "proxy/data_plane.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kAnything = 64;  // standard streams, certificate files, imports, the HTTP servers' own

}  // namespace

Descriptors Descriptors::of(std::uint64_t open_files, const Config& config, unsigned shards) {
  Descriptors made;
  made.http_connections =
      static_cast<std::size_t>(std::clamp<std::uint64_t>(open_files / 32, 16, HttpLimits{}.connections));
  std::uint64_t servers = 0;
  for (const UpstreamConfig& upstream : config.upstreams) servers += upstream.servers.size();
  // A listening socket of each shard, and what it accepts in one turn before it is refused.
  const std::uint64_t of_a_listener = 1 + Capacity::kAcceptedAtOnce;
  made.reserved = kHttpServers * (made.http_connections + 1) + RegistryStore::kMostFiles + servers + kAnything +
                  shards * (Capacity::kOfAShard + config.listeners.size() * of_a_listener);
  return made;
}

}  // namespace sallyport
