// How often each of very many things (devices, CAs) did something lately: what max_connects_per_minute_per_device and
// max_registrations_per_second_per_ca are held against. A bucket each, in a table of fixed size: 32,768 of them in sets
// of eight, 512 KiB, made when the first is needed. Where a set has no room, whoever is farthest from the limit is
// forgotten, so the error has one side: nobody is refused too early, and a thing may do more than its limit only while
// eight others of its set have spent more of theirs. With 8,192 active things at once a set overflows with probability
// 0.0002, with 16,384 with 0.02. Any thread: a set belongs to one of many stripes, each under a lock of its own that is
// held for a look-up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace sallyport {

class RateTable {
 public:
  static constexpr std::size_t kStripes = 64, kSets = 64, kWays = 8;

  RateTable() = default;
  RateTable(const RateTable&) = delete;
  RateTable& operator=(const RateTable&) = delete;

  // Whether `key` may once more: `most` times in a period, all of them at once if it likes. A refusal spends nothing:
  // who hammers is admitted as often as his limit says. `key` is spread evenly (a hash).
  bool take(std::uint64_t key, std::uint64_t most, std::uint64_t period_us, std::uint64_t now_us);

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint64_t spent_until_us = 0;  // the allowance is whole again then; in the past: nobody's
  };
  using Set = std::array<Slot, kWays>;
  struct Stripe {
    std::mutex mutex;
    std::unique_ptr<std::array<Set, kSets>> sets;  // null: nothing was counted yet
  };
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace sallyport
