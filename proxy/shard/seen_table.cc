#include "proxy/shard/seen_table.h"

#include <algorithm>

namespace sallyport {

void SeenTable::saw(std::uint64_t key, std::int64_t at) {
  Stripe& stripe = stripes_[key % kStripes];
  const std::lock_guard lock(stripe.mutex);
  if (!stripe.sets) stripe.sets = std::make_unique<std::array<Set, kSets>>();
  Set& set = (*stripe.sets)[key / kStripes % kSets];
  auto slot = std::find_if(set.begin(), set.end(), [&](const Slot& each) { return each.key == key && each.at != 0; });
  if (slot == set.end()) {
    slot = std::min_element(set.begin(), set.end(), [](const Slot& a, const Slot& b) { return a.at < b.at; });
  }
  *slot = {key, at};
}

std::int64_t SeenTable::last(std::uint64_t key) const {
  const Stripe& stripe = stripes_[key % kStripes];
  const std::lock_guard lock(stripe.mutex);
  if (!stripe.sets) return 0;
  const Set& set = (*stripe.sets)[key / kStripes % kSets];
  const auto slot =
      std::find_if(set.begin(), set.end(), [&](const Slot& each) { return each.key == key && each.at != 0; });
  return slot == set.end() ? 0 : slot->at;
}

}  // namespace sallyport
