#include "proxy/shard/capacity.h"

#include <algorithm>

namespace sallyport {

Capacity Capacity::of(std::uint64_t open_files, unsigned shards) {
  constexpr std::uint64_t kReserved = 512;           // for RocksDB, listeners and the admin side
  constexpr std::uint64_t kLargestTable = 1U << 20;  // IORING_MAX_FIXED_FILES
  Capacity made;
  made.plain_max = open_files > 2 * kReserved ? (open_files - kReserved) / 2 : open_files / 4;
  made.direct_per_shard = static_cast<unsigned>(std::min(open_files, kLargestTable) / 2);
  // The kernel spreads connections over the shards evenly, not equally: a tenth is left free for that.
  made.connections_max = made.plain_max + std::uint64_t{shards} * made.direct_per_shard / 10 * 9;
  return made;
}

}  // namespace sallyport
