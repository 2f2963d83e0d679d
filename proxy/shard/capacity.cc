#include "proxy/shard/capacity.h"

#include <algorithm>

namespace sallyport {

Capacity Capacity::of(std::uint64_t open_files, unsigned shards, std::uint64_t reserved) {
  constexpr std::uint64_t kFewest = 16;              // where hardly any are left it is worth trying
  constexpr std::uint64_t kLargestTable = 1U << 20;  // IORING_MAX_FIXED_FILES
  Capacity made;
  made.plain_max = std::max(kFewest, open_files > reserved ? (open_files - reserved) / 2 : 0);
  made.direct_per_shard = static_cast<unsigned>(std::min(open_files, kLargestTable) / 2);
  // The kernel spreads connections over the shards evenly, not equally: a tenth is left free for that.
  made.connections_max = made.plain_max + std::uint64_t{shards} * made.direct_per_shard / 10 * 9;
  return made;
}

}  // namespace sallyport
