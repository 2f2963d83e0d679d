// When each of very many devices was connected last, to the second: the registry keeps the day alone. A table of fixed
// size in memory, 131,072 devices in sets of eight, 2 MiB, made by and by; where a set has no room, whoever was not
// seen for longest is forgotten. Nothing of it survives the process. Any thread: a set belongs to one of many stripes,
// each under a lock of its own that is held for a look-up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace sallyport {

class SeenTable {
 public:
  static constexpr std::size_t kStripes = 64, kSets = 256, kWays = 8;

  SeenTable() = default;
  SeenTable(const SeenTable&) = delete;
  SeenTable& operator=(const SeenTable&) = delete;

  // `key` is spread evenly (a hash); `at` in Unix seconds.
  void saw(std::uint64_t key, std::int64_t at);
  std::int64_t last(std::uint64_t key) const;  // 0: not known

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::int64_t at = 0;  // 0: nobody's
  };
  using Set = std::array<Slot, kWays>;
  struct Stripe {
    mutable std::mutex mutex;
    std::unique_ptr<std::array<Set, kSets>> sets;  // null: nobody was seen yet
  };
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace sallyport
