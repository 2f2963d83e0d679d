// How the open-file limit is shared out: what the parts beside the connections may need at most is reserved, by the
// very limits they keep. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "proxy/config/config.h"

namespace sallyport {

struct Descriptors {
  std::size_t http_connections = 0;  // of each HTTP server: HttpLimits::connections
  std::uint64_t reserved = 0;        // not for connections of devices: Capacity::of()

  static constexpr std::size_t kHttpServers = 3;  // metrics, the admin socket, the admin address

  // `open_files`: RLIMIT_NOFILE. Where that is small the HTTP servers take fewer.
  static Descriptors of(std::uint64_t open_files, const Config& config, unsigned shards);
};

}  // namespace sallyport
