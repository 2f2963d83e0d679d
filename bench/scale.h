// How large a benchmark runs: in full by hand, small where ctest only sees to it that it has not rotted.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace sallyport::bench {

inline bool small() {
  return std::getenv("SALLYPORT_BENCH_SMALL") != nullptr;
}

// The two fleets that the project promises the same cost for.
inline std::vector<std::int64_t> fleet_sizes() {
  if (small()) return {10'000};
  return {1'000'000, 10'000'000};
}

// Numbers that are all different and look like chance: SplitMix64, the same in every run.
inline std::uint64_t scatter(std::uint64_t number) {
  number += 0x9E3779B97F4A7C15;
  number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9;
  number = (number ^ number >> 27) * 0x94D049BB133111EB;
  return number ^ number >> 31;
}
// A digest, or what is shorter, that stands for `number`.
template <class Bytes>
Bytes scattered(std::uint64_t number) {
  Bytes bytes{};
  const std::uint64_t first = scatter(number);
  for (std::size_t at = 0; at < bytes.size(); at += sizeof first) {
    const std::uint64_t word = first * (2 * at + 1);
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  return bytes;
}

}  // namespace sallyport::bench
