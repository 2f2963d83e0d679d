// For a wall clock that somebody sets, forward or back. All times are in seconds: `wall` of Unix, `steady` from any
// beginning. No locks: one thread, or the caller's lock.
#pragma once

#include <chrono>
#include <cstdint>

namespace sallyport {

// For the two classes below.
inline std::int64_t steady_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Tells when the wall clock was set: it has moved otherwise than the steady one since the last look. What hangs on
// dates is looked at again then, for no timer runs by the wall clock.
class ClockWatch {
 public:
  ClockWatch(std::int64_t wall, std::int64_t steady) : ahead_(wall - steady) {}

  // By how many seconds it was set, back is negative; 0: it was not. What a clock is slewed by adds up, and is told
  // when it is more than kTold.
  std::int64_t set_by(std::int64_t wall, std::int64_t steady) {
    const std::int64_t by = wall - steady - ahead_;
    if (by >= -kTold && by <= kTold) return 0;
    ahead_ += by;
    return by;
  }

 private:
  static constexpr std::int64_t kTold = 2;
  std::int64_t ahead_;
};

// Of what ends at a date: it is over by the wall clock or by the steady one, whichever comes first, and what was over
// once stays so. A clock that is set back gives nobody time, and brings nothing back.
class Lifetime {
 public:
  Lifetime(std::int64_t ends_at, std::int64_t wall, std::int64_t steady)
      : ends_at_(ends_at), ends_steady_(steady + (ends_at - wall)) {}

  // From `ends_at` on.
  bool over(std::int64_t wall, std::int64_t steady) {
    over_ = over_ || wall >= ends_at_ || steady >= ends_steady_;
    return over_;
  }

 private:
  std::int64_t ends_at_, ends_steady_;
  bool over_ = false;
};

}  // namespace sallyport
