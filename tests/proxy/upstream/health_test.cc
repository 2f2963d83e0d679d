// What moves a broker's health, and what does not.
#include "proxy/upstream/health.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sallyport {
namespace {

using Change = Health::Change;
using State = Health::State;
using Evidence = Health::Evidence;
constexpr std::uint64_t kSlowStartMs = 10'000;

TEST(Health, AProbeAndAConnectionMoveIt) {
  Health health;
  EXPECT_TRUE(health.usable()) << "one that nobody has asked yet is tried";
  EXPECT_EQ(health.probed(true, 1, kSlowStartMs), Change::CameUp);
  EXPECT_EQ(health.probed(true, 2, kSlowStartMs), Change::None);
  EXPECT_FALSE(health.rises(3, kSlowStartMs)) << "it was never down";
  EXPECT_EQ(health.unreachable(), Change::WentDown);
  EXPECT_EQ(health.unreachable(), Change::None);
  EXPECT_FALSE(health.usable());
  EXPECT_EQ(health.probed(false, 4, kSlowStartMs), Change::None);
  EXPECT_EQ(health.probed(true, 5, kSlowStartMs), Change::CameUp);
  EXPECT_TRUE(health.rises(6, kSlowStartMs));
}

// Three CONNECTs in a row that got no answer, of different clients.
TEST(Health, WhatDoesNotAnswerIsEjected) {
  Health health;
  (void)health.probed(true, 1, 0);
  EXPECT_EQ(health.unanswered(7, Evidence::None, 1000), Change::None);
  EXPECT_EQ(health.unanswered(8, Evidence::None, 1000), Change::None);
  EXPECT_TRUE(health.usable());
  EXPECT_EQ(health.unanswered(7, Evidence::None, 1000), Change::None) << "two that take turns are two";
  EXPECT_EQ(health.unanswered(9, Evidence::None, 1000), Change::WentDown);
  EXPECT_EQ(health.state(), State::Ejected);
  EXPECT_EQ(health.ejected_until_ms(), 2000U);
  EXPECT_EQ(health.unreachable(), Change::None);
  // What the clients say, and what the probe finds.
  EXPECT_FALSE(health.gone());
  EXPECT_EQ(health.probed(false, 1500, 0), Change::None);
  EXPECT_EQ(health.state(), State::Ejected);
  EXPECT_TRUE(health.gone());
  // A connection alone is not what it was ejected for, before its time has passed.
  EXPECT_EQ(health.probed(true, 1999, 0), Change::None);
  EXPECT_FALSE(health.gone());
  EXPECT_EQ(health.probed(true, 2000, 0), Change::CameUp);
}

TEST(Health, AnAnswerBetweenBeginsAnew) {
  Health health;
  for (std::uint64_t i = 1; i < 100; ++i) {
    EXPECT_EQ(health.unanswered(i, Evidence::Proven, 0), Change::None);
    EXPECT_EQ(health.unanswered(i + 1, Evidence::Proven, 0), Change::None);
    (void)health.answered(0, 0);
  }
  EXPECT_TRUE(health.usable());
}

// One client whose CONNECT no broker likes takes none of them away from the others.
TEST(Health, OneClientAloneEjectsNobody) {
  Health health;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(health.unanswered(7, Evidence::None, 0), Change::None);
  EXPECT_TRUE(health.usable());
  // Unless it is proven that it was not its fault.
  Health blamed;
  EXPECT_EQ(blamed.unanswered(7, Evidence::Proven, 0), Change::None);
  EXPECT_EQ(blamed.unanswered(7, Evidence::Proven, 0), Change::None);
  EXPECT_EQ(blamed.unanswered(7, Evidence::Proven, 0), Change::WentDown);
}

// Several whose CONNECTs no broker likes, while it answers those of others.
TEST(Health, SeveralClientsEjectNobodyWhoServesTheOthers) {
  for (const Evidence evidence : {Evidence::None, Evidence::Alone}) {
    Health health;
    (void)health.answered(1000, 0);
    for (std::uint64_t who = 1; who <= 100; ++who) {
      EXPECT_EQ(health.unanswered(who, evidence, 999 + Health::kServesForMs), Change::None);
    }
    EXPECT_TRUE(health.usable());
    // It answers nobody any more.
    for (std::uint64_t who = 1; who <= 3; ++who) (void)health.unanswered(who, evidence, 1000 + Health::kServesForMs);
    EXPECT_EQ(health.state(), State::Ejected);
  }
  // Another server took the very same ones.
  Health proven;
  (void)proven.answered(1000, 0);
  for (std::uint64_t who = 1; who <= 3; ++who) (void)proven.unanswered(who, Evidence::Proven, 1000);
  EXPECT_EQ(proven.state(), State::Ejected);
}

// Of the only server even one client may say so: nobody is led elsewhere by it, but the client must not slow down the
// others either.
TEST(Health, TheOnlyOneIsSuspectedAndNotSpared) {
  Health health;
  (void)health.probed(true, 1, kSlowStartMs);
  EXPECT_EQ(health.unanswered(7, Evidence::Alone, 0), Change::None);
  EXPECT_EQ(health.unanswered(7, Evidence::Alone, 0), Change::None);
  EXPECT_EQ(health.unanswered(7, Evidence::Alone, 0), Change::WentDown);
  EXPECT_EQ(health.answered(1, kSlowStartMs), Change::CameUp);
  EXPECT_FALSE(health.rises(2, kSlowStartMs));
  // What several say is believed.
  const std::uint64_t later = 1 + Health::kServesForMs;
  for (std::uint64_t who = 1; who <= 3; ++who) (void)health.unanswered(who, Evidence::Alone, later);
  EXPECT_EQ(health.answered(later, kSlowStartMs), Change::CameUp);
  EXPECT_TRUE(health.rises(later + 1, kSlowStartMs));
}

// Each time it comes back and fails its first, it is left out for twice as long, a minute at most.
TEST(Health, TheBackOffGrows) {
  Health health;
  (void)health.probed(true, 1, 0);
  for (std::uint64_t who = 1; who <= 3; ++who) (void)health.unanswered(who, Evidence::Proven, 0);
  std::vector<std::uint64_t> back_offs;
  std::uint64_t now = 0;
  for (int i = 0; i < 9; ++i) {
    back_offs.push_back(health.ejected_until_ms() - now);
    now = health.ejected_until_ms();
    ASSERT_EQ(health.probed(true, now, 0), Change::CameUp);
    ASSERT_EQ(health.unanswered(1, Evidence::Proven, now), Change::WentDown) << "one is enough";
  }
  EXPECT_EQ(back_offs, (std::vector<std::uint64_t>{1000, 2000, 4000, 8000, 16'000, 32'000, 60'000, 60'000, 60'000}));
  EXPECT_EQ(health.answered(now, 0), Change::CameUp) << "an answer ends it at once";
  EXPECT_EQ(health.unanswered(1, Evidence::Proven, now), Change::None) << "and all is forgotten";
}

TEST(Health, SlowStartRises) {
  Health health;
  (void)health.unreachable();
  constexpr std::uint64_t kBackMs = 1'000'000;
  ASSERT_EQ(health.probed(true, kBackMs, kSlowStartMs), Change::CameUp);
  std::vector<int> in_second;
  for (std::uint64_t second = 0; second < 12; ++second) {
    int admitted = 0;
    for (std::uint64_t us = 0; us < 1'000'000; us += 50) {
      admitted += health.admits(kBackMs * 1000 + second * 1'000'000 + us, kSlowStartMs) ? 1 : 0;
    }
    in_second.push_back(admitted);
  }
  EXPECT_NEAR(in_second[0], 145, 25);
  EXPECT_NEAR(in_second[5], 590, 60);
  EXPECT_NEAR(in_second[9], 950, 100);
  EXPECT_EQ(in_second[10], 20'000) << "as many as come";
  EXPECT_EQ(in_second[11], 20'000);
}

// Whoever would wait too long takes no place: the others do not wait for it.
TEST(Health, WhoIsSentAwayTakesNoPlace) {
  Health health;
  (void)health.unreachable();
  constexpr std::uint64_t kBackMs = 1'000'000;
  (void)health.probed(true, kBackMs, kSlowStartMs);
  int waited = 0;
  std::uint64_t longest = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t wait = health.reserve(kBackMs * 1000, kSlowStartMs);
    if (wait == UINT64_MAX) continue;
    ++waited;
    longest = std::max(longest, wait);
  }
  EXPECT_EQ(waited, 501) << "a hundred a second for five seconds";
  EXPECT_EQ(longest, Health::kLongestWaitUs);
  EXPECT_NE(health.reserve(kBackMs * 1000 + 1'000'000, kSlowStartMs), UINT64_MAX) << "a second later there is room";
}

TEST(Health, WithoutSlowStartAllComeAtOnce) {
  Health health;
  (void)health.unreachable();
  (void)health.probed(true, 1000, 0);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(health.admits(1'000'000, 0));
  EXPECT_EQ(health.reserve(1'000'000, 0), 0U);
}

}  // namespace
}  // namespace sallyport
