// How many connections there may be at once: what the open-file limit and the ring's own tables of sockets allow.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sallyport {

// A connection is two sockets, the device's and the broker's. Up to `plain_max` connections they are descriptors of
// the process; what is above goes by direct descriptors (ring_sockets.h), `direct_per_shard` connections on each
// shard, where the kernel has them.
struct Capacity {
  static constexpr std::size_t kAcceptedAtOnce = 16;  // by a listener of a shard, before it can refuse them
  static constexpr std::size_t kOfAShard = 2;         // its ring and its mailbox's event

  std::uint64_t connections_max = 0, plain_max = 0;
  unsigned direct_per_shard = 0;

  // `open_files`: RLIMIT_NOFILE, which also bounds each ring's table (io_uring_register(2)). `reserved`: those of them
  // that are not for connections.
  static Capacity of(std::uint64_t open_files, unsigned shards, std::uint64_t reserved);
  // By plain descriptors alone.
  static Capacity plain(std::uint64_t connections) { return {connections, connections, 0}; }
};

}  // namespace sallyport
