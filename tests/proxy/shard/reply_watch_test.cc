// How long a shard waits for its broker's answer, from what it has seen of such answers.
#include "proxy/shard/reply_watch.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sallyport {
namespace {

constexpr std::uint64_t kMs = 1000;
constexpr std::uint64_t kMost = ReplyWatch::kMostUs;

// A broker that answers after so long, asked once a millisecond.
struct Dialogue {
  ReplyWatch watch{true};
  std::uint64_t now = 1'000'000;

  void ask() { watch.asked(now += kMs); }
  void exchange(std::uint64_t answer_us, int times = 1) {
    for (int i = 0; i < times; ++i) {
      ask();
      watch.answered(now + answer_us);
    }
  }
  std::uint64_t patience(std::uint64_t after = 0) {
    watch.look(now + after);
    return watch.patience_us(now + after);
  }
};

TEST(ReplyWatch, LearnsFromPromptAnswers) {
  Dialogue d;
  d.exchange(50, ReplyWatch::kTrusted - 1);
  d.ask();
  EXPECT_EQ(d.patience(), 0U);
  d.watch.answered(d.now + 50);
  d.ask();
  EXPECT_EQ(d.patience(), kMost);
  EXPECT_EQ(d.patience(30), kMost - 30);
  d.watch.answered(d.now + 50);
  EXPECT_EQ(d.patience(51), 0U);  // nothing is awaited
}

TEST(ReplyWatch, ToReadThePatienceChangesNothing) {
  Dialogue d;
  d.exchange(50, ReplyWatch::kSure);
  d.ask();
  d.watch.look(d.now);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(d.watch.patience_us(d.now + kMost), 0U);
  d.watch.answered(d.now + 50);
  d.ask();
  EXPECT_EQ(d.patience(), kMost);
}

TEST(ReplyWatch, ABrokerFarAwayIsNotWaitedFor) {
  Dialogue d;
  d.exchange(ReplyWatch::kPromptUs + 1, 100);
  d.ask();
  EXPECT_EQ(d.patience(), 0U);
}

TEST(ReplyWatch, MessagesWithoutAnswersAreNotWaitedFor) {
  Dialogue d;
  for (int i = 0; i < 100; ++i) {
    d.ask();
    EXPECT_EQ(d.patience(), 0U);
  }
}

TEST(ReplyWatch, WaitingInVainIsUnlearned) {
  Dialogue d;
  d.exchange(50, 100);
  int waited = 0;
  for (int i = 0; i < 100; ++i) {
    d.ask();
    if (d.patience() == 0) continue;
    ++waited;
    EXPECT_EQ(d.patience(kMost), 0U);
    d.watch.waited(kMost);
    d.watch.answered(d.now + kMost + 5);  // it comes after all: too late to speak for it
  }
  EXPECT_EQ(waited, (ReplyWatch::kSure - ReplyWatch::kTrusted) / ReplyWatch::kMiss + 1);
}

TEST(ReplyWatch, AnAnswerThatMetABusyShardSaysNothing) {
  Dialogue d;
  d.exchange(50, ReplyWatch::kTrusted);
  for (int i = 0; i < 100; ++i) {
    d.ask();
    d.watch.distracted();
    d.watch.answered(d.now + 500);
  }
  d.ask();
  EXPECT_EQ(d.patience(), kMost);
}

TEST(ReplyWatch, QuestionsThatOverlapAreNoMisses) {
  Dialogue d;
  d.exchange(50, ReplyWatch::kTrusted);
  for (int i = 0; i < 100; ++i) {
    d.ask();
    d.watch.asked(d.now + 40);
    d.watch.answered(d.now + 60);
  }
  d.ask();
  EXPECT_EQ(d.patience(), kMost);
}

TEST(ReplyWatch, SpendsAShareOfTheTimeAtMost) {
  Dialogue d;
  d.exchange(50, 100);
  constexpr std::uint64_t kEvery = 55, kAll = 1'000'000;
  std::uint64_t waited = 0;
  for (std::uint64_t spent = 0; spent < kAll; spent += kEvery) {
    d.now += kEvery;
    d.watch.asked(d.now);
    if (d.patience() > 0) {
      d.watch.waited(20);
      waited += 20;
    }
    d.watch.answered(d.now + 20);
  }
  EXPECT_LE(waited, kAll / ReplyWatch::kShare + ReplyWatch::kMostAllowanceUs);
  EXPECT_GE(waited, kAll / ReplyWatch::kShare - ReplyWatch::kMostAllowanceUs);
}

// A handshake is always due, and messages come every 5 us and are answered after 2.
TEST(ReplyWatch, NobodyIsPutOffForLong) {
  Dialogue d;
  d.exchange(50, 100);
  constexpr std::uint64_t kAll = 1'000'000;
  std::uint64_t put_off = 0, longest = 0, at_once = 0, since = 0;
  for (std::uint64_t spent = 0; spent < kAll; spent += 5) {
    d.watch.asked(d.now += 5);
    if (d.watch.puts_off(d.now)) {
      since += 5;
      put_off += 5;
      longest = std::max(longest, since);
    } else {
      at_once += since == 0 ? 1 : 0;
      since = 0;
    }
    d.watch.answered(d.now + 2);
  }
  EXPECT_GT(longest, 0U);
  EXPECT_LE(longest, kMost);
  EXPECT_GT(at_once, kAll / 5 / 2);
  EXPECT_LE(put_off, kAll / ReplyWatch::kShare + ReplyWatch::kMostAllowanceUs);
}

TEST(ReplyWatch, IsPutOffUntilTheAnswer) {
  Dialogue d;
  d.exchange(50, 100);
  EXPECT_FALSE(d.watch.puts_off(d.now + kMs));
  d.ask();
  EXPECT_TRUE(d.watch.puts_off(d.now));
  EXPECT_TRUE(d.watch.putting_off());
  EXPECT_TRUE(d.watch.puts_off(d.now + 30));
  d.watch.asked(d.now + 60);
  EXPECT_EQ(d.patience(60), kMost - 60);  // not for the later question's answer
  d.watch.answered(d.now + 70);
  EXPECT_FALSE(d.watch.puts_off(d.now + 70));
  EXPECT_FALSE(d.watch.putting_off());
  d.ask();
  EXPECT_TRUE(d.watch.puts_off(d.now));
  d.watch.nothing_due();  // whose turn it was is gone
  EXPECT_FALSE(d.watch.putting_off());
}

TEST(ReplyWatch, IsAwakeWhereQuestionsAreRareAndSomebodyElseCanRun) {
  Dialogue d;
  d.exchange(50, 20);
  d.ask();
  EXPECT_EQ(d.watch.awake_us(kMost), ReplyWatch::kAwakeUs);
  EXPECT_EQ(d.watch.awake_us(kMost - 10), ReplyWatch::kAwakeUs - 10);
  EXPECT_EQ(d.watch.awake_us(kMost - ReplyWatch::kAwakeUs), 0U);  // the last of it asleep
  EXPECT_EQ(d.watch.awake_us(0), 0U);
  d.watch.asked(d.now + ReplyWatch::kRarelyUs - 1);
  EXPECT_EQ(d.watch.awake_us(kMost), 0U);
  EXPECT_GT(d.patience(ReplyWatch::kRarelyUs), 0U);  // asleep it may still be waited

  ReplyWatch alone(false);
  alone.asked(1'000'000);
  EXPECT_EQ(alone.awake_us(kMost), 0U);
}

}  // namespace
}  // namespace sallyport
