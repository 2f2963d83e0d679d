// Timers: once, never early, at most a tick late.
#include "proxy/io/timer_wheel.h"

#include <gtest/gtest.h>

namespace sallyport {
namespace {

struct Alarm {
  void rings() { ++rung; }
  int rung = 0;
  Timer timer;
  Alarm() { timer.arm<&Alarm::rings>(*this); }
};

TEST(TimerWheel, RunsOnceNeverEarlyAndAtMostATickLate) {
  for (const std::uint64_t after : {0U, 1U, 15U, 16U, 17U, 1000U, 16'384U, 40'000U}) {
    TimerWheel wheel(1000);
    Alarm alarm;
    wheel.start(alarm.timer, 1000, after);
    for (std::uint64_t now = 1000; alarm.rung == 0; ++now) {
      wheel.advance(now);
      if (alarm.rung != 0) {
        EXPECT_GE(now, 1000 + after);
        EXPECT_LE(now, 1000 + after + TimerWheel::kTickMs);
      }
      ASSERT_LT(now, 100'000U);
    }
    wheel.advance(200'000);
    EXPECT_EQ(alarm.rung, 1);
    EXPECT_TRUE(wheel.empty());
  }
}

TEST(TimerWheel, ATimerDueAtOnceRunsWithTheNextTick) {
  constexpr std::uint64_t kBegin = 64 * TimerWheel::kTickMs;
  TimerWheel wheel(kBegin);
  Alarm alarm;
  wheel.start(alarm.timer, kBegin, 0);
  wheel.advance(kBegin + TimerWheel::kTickMs);
  EXPECT_EQ(alarm.rung, 1);
}

// A shard may have slept for long since its last look at the clock, when something arrives that starts a timer.
TEST(TimerWheel, ATimerIsNotEarlyWhereTheWheelIsBehind) {
  TimerWheel wheel(1000);
  Alarm alarm;
  wheel.start(alarm.timer, 1127, 100);
  wheel.advance(1226);
  EXPECT_EQ(alarm.rung, 0);
  wheel.advance(1227 + TimerWheel::kTickMs);
  EXPECT_EQ(alarm.rung, 1);
}

TEST(TimerWheel, PatienceEndsWhenATimerMayBeDue) {
  TimerWheel wheel(0);
  EXPECT_EQ(wheel.patience(0, 128), 128U);
  Alarm alarm;
  wheel.start(alarm.timer, 0, 40);
  for (std::uint64_t now = 0; alarm.rung == 0; now += std::max<std::uint64_t>(wheel.patience(now, 128), 1)) {
    ASSERT_LE(now, 40 + 2 * TimerWheel::kTickMs);
    wheel.advance(now);
  }
  wheel.start(alarm.timer, 64, 100'000);
  EXPECT_LE(wheel.patience(64, 128), 128U);
}

TEST(TimerWheel, StoppedTimersDoNotRunAndMovedOnesRunLater) {
  TimerWheel wheel(0);
  Alarm stopped, moved;
  wheel.start(stopped.timer, 0, 50);
  wheel.start(moved.timer, 0, 50);
  wheel.stop(stopped.timer);
  wheel.stop(stopped.timer);
  wheel.advance(32);
  wheel.start(moved.timer, 32, 500);
  wheel.advance(300);
  EXPECT_EQ(stopped.rung + moved.rung, 0);
  wheel.advance(2000);
  EXPECT_EQ(moved.rung, 1);
}

TEST(TimerWheel, ACallbackMayStopAndStartOthers) {
  struct Chain {
    TimerWheel wheel{0};
    Timer first, second, third;
    int seconds = 0, thirds = 0;
    void on_first() {
      wheel.stop(second);
      wheel.start(third, 16, 10);
    }
    void on_second() { ++seconds; }
    void on_third() { ++thirds; }
  } chain;
  chain.first.arm<&Chain::on_first>(chain);
  chain.second.arm<&Chain::on_second>(chain);
  chain.third.arm<&Chain::on_third>(chain);
  chain.wheel.start(chain.first, 0, 10);
  chain.wheel.start(chain.second, 0, 10);
  chain.wheel.advance(40);
  chain.wheel.advance(200);
  EXPECT_EQ(chain.seconds, 0);
  EXPECT_EQ(chain.thirds, 1);
}

}  // namespace
}  // namespace sallyport
