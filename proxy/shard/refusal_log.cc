#include "proxy/shard/refusal_log.h"

#include <algorithm>
#include <utility>

namespace sallyport {

namespace {

constexpr std::uint64_t kEachUs = 1'000'000 / RefusalLog::kPerSecond;

}  // namespace

bool RefusalLog::wants(std::size_t listener, Reason reason, std::uint64_t now_us) {
  Kind& kind = kinds_[listener * kReasonCount + static_cast<std::size_t>(reason)];
  const std::uint64_t spent_until = std::max(kind.spent_until_us, now_us) + kEachUs;
  if (spent_until > now_us + kAtOnce * kEachUs) {
    ++kind.left_out;
    left_out_any_ = true;
    return false;
  }
  kind.spent_until_us = spent_until;
  return true;
}

std::vector<RefusalLog::LeftOut> RefusalLog::take_left_out() {
  std::vector<LeftOut> all;
  for (std::size_t i = 0; i < kinds_.size() && left_out_any_; ++i) {
    const std::uint64_t count = std::exchange(kinds_[i].left_out, 0);
    if (count > 0) all.push_back({i / kReasonCount, static_cast<Reason>(i % kReasonCount), count});
  }
  left_out_any_ = false;
  return all;
}

}  // namespace sallyport
