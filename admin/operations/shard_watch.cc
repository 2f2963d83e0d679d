#include "admin/operations/shard_watch.h"

namespace sallyport {

bool ShardWatch::all_turn(const std::vector<ShardInfo>& shards, Time now) {
  if (!seen_.empty() && now - looked_at_ < kEvery) return false;
  looked_at_ = now;
  seen_.resize(shards.size());
  bool all = true;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    Seen& seen = seen_[i];
    if (shards[i].ended || shards[i].turned_us != seen.turned_us) {
      if (seen.still >= kStuckLooks) log_.warn("shard-turns-again", {{"shard", i}});
      seen = {shards[i].turned_us, 0};
      continue;
    }
    all = false;
    // Looks are counted, not seconds: where the whole machine stood still, nobody is to blame.
    if (++seen.still != kStuckLooks) continue;
    log_.error("shard-stuck", {{"shard", i},
                               {"what", "it passes nothing and accepts nobody"},
                               {"means", "the watchdog is not fed: systemd ends the process, and starts it anew"}});
  }
  return all;
}

}  // namespace sallyport
