// Which refusals a shard writes to the log. A stranger decides how many there are: of each reason at each listener the
// first 100 are written and then 10 a second, and about every second one line says how many others there were. The
// counters and `rejections` have every one. The shard's thread alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/base/reason.h"

namespace sallyport {

class RefusalLog {
 public:
  static constexpr std::uint64_t kAtOnce = 100, kPerSecond = 10;
  struct LeftOut {
    std::size_t listener = 0;
    Reason reason = Reason::None;
    std::uint64_t count = 0;
  };

  explicit RefusalLog(std::size_t listeners) : kinds_(listeners * kReasonCount) {}

  // Whether this one is written; otherwise it counts as left out. `now_us`: of a clock that only goes on.
  bool wants(std::size_t listener, Reason reason, std::uint64_t now_us);
  // What was left out since this was asked last.
  std::vector<LeftOut> take_left_out();

 private:
  struct Kind {
    std::uint64_t spent_until_us = 0;  // the allowance is whole again then
    std::uint64_t left_out = 0;
  };
  std::vector<Kind> kinds_;  // by listener and reason
  bool left_out_any_ = false;
};

}  // namespace sallyport
