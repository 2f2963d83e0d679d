// Latencies, counted in buckets whose width grows with the value (as in HDR histograms): 64 to each power of
// two, so that a percentile is at most 1.6 % above what it stands for, from a nanosecond to a day. Not shared
// between threads: each has its own, and they are added up at the end.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace load {

class Histogram {
 public:
  Histogram() : counts_(kBuckets) {}
  void record(std::int64_t ns);
  void add(const Histogram& other);
  std::uint64_t count() const { return count_; }
  double mean_us() const;
  double max_us() const { return static_cast<double>(max_ns_) / 1000.0; }
  // The value that `fraction` of all are at or below, in microseconds; 0 when nothing was recorded.
  double at(double fraction) const;

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr unsigned kPowers = 47;
  static constexpr std::size_t kBuckets = std::size_t{kPowers} << kSubBits;
  static std::size_t bucket_of(std::uint64_t ns);
  static std::uint64_t highest_of(std::size_t bucket);

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0, max_ns_ = 0;
  double sum_ns_ = 0;
};

}  // namespace load
