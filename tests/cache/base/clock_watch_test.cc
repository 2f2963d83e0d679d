#include "cache/base/clock_watch.h"

#include <gtest/gtest.h>

namespace sallyport {
namespace {

constexpr std::int64_t kYear = 365LL * 86400;

TEST(ClockWatch, TellsOnceThatTheClockWasSet) {
  ClockWatch clock(1'000'000, 50);
  EXPECT_EQ(clock.set_by(1'000'001, 51), 0);
  EXPECT_EQ(clock.set_by(1'000'002 + kYear, 52), kYear);
  EXPECT_EQ(clock.set_by(1'000'003 + kYear, 53), 0);
  EXPECT_EQ(clock.set_by(1'000'004 - kYear, 54), -2 * kYear);
  EXPECT_EQ(clock.set_by(1'000'600 - kYear, 650), 0) << "however long nobody looked";
}

TEST(ClockWatch, TellsWhatSlewingAddsUpTo) {
  ClockWatch clock(1000, 1000);
  std::int64_t wall = 1000, told = 0;
  for (std::int64_t steady = 1001; steady <= 1200; ++steady) {
    wall += steady % 10 == 0 ? 2 : 1;
    told += clock.set_by(wall, steady);
  }
  EXPECT_GE(told, 18);
  EXPECT_LE(told, 20);
}

TEST(Lifetime, EndsByWhicheverClockComesFirst) {
  Lifetime by_wall(1100, 1000, 5);
  EXPECT_FALSE(by_wall.over(1099, 5));
  EXPECT_TRUE(by_wall.over(1100, 6));
  Lifetime by_steady(1100, 1000, 5);
  EXPECT_FALSE(by_steady.over(1000 - kYear, 104));
  EXPECT_TRUE(by_steady.over(1000 - kYear, 105)) << "a clock that is set back gives no time";
}

TEST(Lifetime, WhatWasOverStaysSo) {
  Lifetime life(1100, 1000, 5);
  EXPECT_TRUE(life.over(1000 + kYear, 6));
  EXPECT_TRUE(life.over(1001, 6)) << "the clock was set back";
}

}  // namespace
}  // namespace sallyport
