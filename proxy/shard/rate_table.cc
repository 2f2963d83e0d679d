#include "proxy/shard/rate_table.h"

#include <algorithm>

namespace sallyport {

bool RateTable::take(std::uint64_t key, std::uint64_t most, std::uint64_t period_us, std::uint64_t now_us) {
  Stripe& stripe = stripes_[key % kStripes];
  const std::lock_guard lock(stripe.mutex);
  if (!stripe.sets) stripe.sets = std::make_unique<std::array<Set, kSets>>();
  Set& set = (*stripe.sets)[key / kStripes % kSets];
  auto slot = std::find_if(set.begin(), set.end(),
                           [&](const Slot& each) { return each.key == key && each.spent_until_us > now_us; });
  const std::uint64_t from = slot != set.end() ? slot->spent_until_us : now_us;
  const std::uint64_t spent_until = from + period_us / most;
  if (spent_until > now_us + period_us) return false;
  if (slot == set.end()) {
    slot = std::min_element(set.begin(), set.end(),
                            [](const Slot& a, const Slot& b) { return a.spent_until_us < b.spent_until_us; });
  }
  *slot = {key, spent_until};
  return true;
}

}  // namespace sallyport
