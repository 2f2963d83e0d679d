#include "bench/loadgen/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace load {

// Below 64 ns a bucket each; above, the six bits behind the highest one choose it.
std::size_t Histogram::bucket_of(std::uint64_t ns) {
  if (ns < (1U << kSubBits)) return static_cast<std::size_t>(ns);
  const auto shift = static_cast<unsigned>(std::bit_width(ns)) - kSubBits - 1;
  return std::min<std::size_t>((std::size_t{shift} << kSubBits) + static_cast<std::size_t>(ns >> shift), kBuckets - 1);
}

std::uint64_t Histogram::highest_of(std::size_t bucket) {
  if (bucket < (2U << kSubBits)) return bucket;
  const auto shift = static_cast<unsigned>(bucket >> kSubBits) - 1;
  const std::uint64_t mantissa = bucket - (std::uint64_t{shift} << kSubBits);
  return ((mantissa + 1) << shift) - 1;
}

void Histogram::record(std::int64_t ns) {
  const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0));
  ++counts_[bucket_of(value)];
  ++count_;
  sum_ns_ += static_cast<double>(value);
  max_ns_ = std::max(max_ns_, value);
}

void Histogram::add(const Histogram& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

double Histogram::mean_us() const {
  return count_ == 0 ? 0.0 : sum_ns_ / static_cast<double>(count_) / 1000.0;
}

double Histogram::at(double fraction) const {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= wanted && seen > 0) return static_cast<double>(std::min(highest_of(i), max_ns_)) / 1000.0;
  }
  return 0.0;
}

}  // namespace load
