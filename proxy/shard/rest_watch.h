// When a shard that has one handshake after the other to do sleeps for a moment, so that whoever else is on its core
// has its turn: the broker, another shard. A thread that never sleeps is only interrupted at the scheduler's tick, up
// to 4 ms later (HZ=250), and established sessions' messages wait with whoever waits for the core. Times are the steady
// clock's, in microseconds. Used by its shard's thread alone.
#pragma once

#include <cstdint>

namespace sallyport {

class RestWatch {
 public:
  static constexpr std::uint64_t kEveryUs = 500, kForUs = 20;

  // Nothing keeps it from sleeping, or nobody who is established speaks.
  void not_needed(std::uint64_t now_us) { rested_at_us_ = now_us; }
  // True: it rests now.
  bool due(std::uint64_t now_us) {
    if (now_us - rested_at_us_ < kEveryUs) return false;
    rested_at_us_ = now_us;
    return true;
  }

 private:
  std::uint64_t rested_at_us_ = 0;
};

}  // namespace sallyport
