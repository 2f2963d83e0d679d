// Notices a shard that does not come round any more. Each turn of a shard's loop counts its time, and one that has
// nothing to do turns eight times a second: whoever's count stands still for seconds hangs. Then the watchdog is not
// fed, and systemd starts the process anew. The main thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "cache/base/log.h"
#include "proxy/data_plane.h"

namespace sallyport {

class ShardWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kEvery{900};  // between two looks, at least: the main thread wakes by 1 s
  static constexpr unsigned kStuckLooks = 5;               // in a row without a turn: it is said, once

  explicit ShardWatch(Logger& log) : log_(log) {}

  // True: a look was due, and every shard has turned since the last one, or has ended.
  bool all_turn(const std::vector<ShardInfo>& shards, Time now);

 private:
  struct Seen {
    std::uint64_t turned_us = 0;
    unsigned still = 0;  // looks in a row
  };
  Logger& log_;
  std::vector<Seen> seen_;
  Time looked_at_{};
};

}  // namespace sallyport
