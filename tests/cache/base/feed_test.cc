// Events as they come: each subscriber gets what it asked for, in order, and is told what it lost; nobody waits for it.
#include "cache/base/feed.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include "cache/base/log.h"
#include "tests/eventually.h"

namespace sallyport {
namespace {

using namespace std::chrono_literals;

std::function<bool()> always() {
  return [] { return true; };
}

std::unique_ptr<Feed::Subscription> subscribe(Feed& feed, Feed::Filter filter, std::function<bool()> still) {
  return feed.subscribe(std::move(filter), std::move(still), {"uid 0", true}).events;
}

// What has come so far, and comes until it holds `wanted`.
std::string until(Feed::Subscription& events, const std::string& wanted) {
  std::string all;
  EXPECT_TRUE(eventually([&] {
    all += events.take();
    return all.find(wanted) != std::string::npos;
  })) << all;
  return all;
}

class FeedTest : public testing::Test {
 protected:
  Feed feed_;
  int null_ = ::open("/dev/null", O_WRONLY);
  Log log_{Level::Error, LogFormat::Text, null_, &feed_};
  Logger& logger_ = log_.logger();
};

TEST_F(FeedTest, NobodyAsksAndNothingIsMade) {
  EXPECT_FALSE(logger_.wants(Level::Info));
  EXPECT_FALSE(logger_.watched());
  logger_.info("before", {{"n", 1}});
  const auto events = subscribe(feed_, {}, always());
  EXPECT_TRUE(logger_.watched());
  EXPECT_TRUE(logger_.wants(Level::Info));
  EXPECT_FALSE(logger_.wants(Level::Debug));
  logger_.info("after", {{"n", 2}});
  EXPECT_EQ(until(*events, "after").find("before"), std::string::npos);
}

TEST_F(FeedTest, ALineIsAnObjectAsTheLogWritesIt) {
  const auto events = subscribe(feed_, {}, always());
  logger_.debug("not this");
  logger_.warn("trouble", {{"what", "a\"b"}, {"n", -5}});
  logger_.tell("told", {{"k", "v"}});
  const std::string all = until(*events, "told");
  EXPECT_EQ(all.find("not this"), std::string::npos);
  EXPECT_EQ(all.substr(0, 9), "{\"time\":\"");
  EXPECT_NE(all.find("Z\",\"level\":\"warning\",\"event\":\"trouble\",\"what\":\"a\\\"b\",\"n\":-5}\n"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("\"level\":\"info\",\"event\":\"told\",\"k\":\"v\"}\n"), std::string::npos) << all;
}

TEST_F(FeedTest, AFilterLooksAtFieldsAndNotAtWhatAValueSays) {
  const auto events =
      subscribe(feed_, {{{"event"}, {"rejected", "ended"}}, {{"reason", "none"}, {"expired"}}}, always());
  logger_.info("rejected", {{"reason", "ca_unknown"}, {"what", ",\"reason\":\"expired\""}, {"n", 1}});
  logger_.info("rejected", {{"reason", "ca_unknown"}, {"what", "expired"}, {"n", 0}});
  logger_.info("began", {{"reason", "expired"}, {"n", 2}});
  logger_.info("rejected", {{"reason", "expired"}, {"n", 3}});
  logger_.info("ended", {{"reason", "expired"}, {"n", 4}});
  const std::string all = until(*events, "\"n\":4");
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 2) << all;
  EXPECT_NE(all.find("\"n\":3"), std::string::npos) << all;
}

std::uint64_t lost_in(const std::string& all) {
  std::uint64_t lost = 0;
  for (std::size_t at = all.find("\"lost\",\"count\":"); at != std::string::npos;
       at = all.find("\"lost\",\"count\":", at + 1)) {
    lost += std::stoull(all.substr(at + 15));
  }
  return lost;
}

TEST_F(FeedTest, ASlowReaderLosesEventsAndIsToldHowMany) {
  const auto slow = subscribe(feed_, {}, always());
  const auto quick = subscribe(feed_, {}, always());
  const std::string value(1000, 'x');
  constexpr std::uint64_t kEvents = 5000;
  std::string quick_got;
  for (std::uint64_t i = 0; i < kEvents; ++i) {
    logger_.info("flood", {{"value", value}, {"n", i}});
    if (i % 100 == 99) {  // as fast as they are carried: then nothing of the inlet is lost
      const std::string last = "\"n\":" + std::to_string(i) + "}";
      ASSERT_TRUE(eventually([&] { return (quick_got += quick->take()).find(last) != std::string::npos; }));
    }
  }
  EXPECT_EQ(lost_in(quick_got), 0U);
  EXPECT_EQ(std::count(quick_got.begin(), quick_got.end(), '\n'), static_cast<std::ptrdiff_t>(kEvents));
  const std::string all = slow->take();
  EXPECT_LE(all.size(), Feed::kQueueBytes + 200);
  const auto lines =
      static_cast<std::uint64_t>(std::count(all.begin(), all.end(), '\n')) - 1;  // but for the word of it
  EXPECT_GT(lost_in(all), 0U);
  EXPECT_EQ(lost_in(all) + lines, kEvents);
}

TEST_F(FeedTest, AFloodBetweenTwoRoundsIsBoundedAndCounted) {
  const auto events = subscribe(feed_, {}, always());
  const auto other = subscribe(feed_, {{{"event"}, {"never"}}}, always());  // its queue is empty
  const std::string value(1000, 'x');
  constexpr std::uint64_t kEvents = 20'000;
  std::string all;
  const auto floods = [&] {
    std::uint64_t count = 0;
    for (std::size_t at = all.find("flood"); at != std::string::npos; at = all.find("flood", at + 1)) ++count;
    return count;
  };
  for (std::uint64_t i = 0; i < kEvents; ++i) logger_.info("flood", {{"value", value}});
  EXPECT_TRUE(eventually([&] { return (all += events->take(), floods() + lost_in(all) >= kEvents); }));
  EXPECT_EQ(floods() + lost_in(all), kEvents);
  EXPECT_GT(lost_in(all), 0U);
  EXPECT_GT(lost_in(until(*other, "lost")), 0U) << "it may have wanted them";
}

// One token takes 4 places, all tokens together 16: who sits at the machine always finds one of the last 4.
TEST_F(FeedTest, SubscribersAreBounded) {
  std::vector<std::unique_ptr<Feed::Subscription>> all;
  const auto full = [&](const Feed::Watcher& watcher) {
    auto answer = feed_.subscribe({}, always(), watcher);
    EXPECT_EQ(answer.events == nullptr, answer.full != Feed::Full::No);
    if (answer.events) all.push_back(std::move(answer.events));
    return answer.full;
  };
  for (int token = 0; token < 4; ++token) {
    const Feed::Watcher watcher{"token " + std::to_string(token), false};
    for (int i = 0; i < 4; ++i) ASSERT_EQ(full(watcher), Feed::Full::No) << watcher.name << " " << i;
    EXPECT_EQ(full(watcher), Feed::Full::OfWatcher);
  }
  EXPECT_EQ(full({"another", false}), Feed::Full::All);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(full({"uid 0", true}), Feed::Full::No);
  EXPECT_EQ(full({"uid 0", true}), Feed::Full::All);
  all.erase(all.begin());
  EXPECT_EQ(full({"token 1", false}), Feed::Full::OfWatcher);
  EXPECT_EQ(full({"token 0", false}), Feed::Full::No);
  all.clear();
  EXPECT_FALSE(logger_.watched());
}

// Operators at the machine may be many, and then take the places of the network.
TEST_F(FeedTest, SubscribersAreBoundedAtTheMachine) {
  std::vector<std::unique_ptr<Feed::Subscription>> all;
  for (std::size_t i = 0; i < Feed::kMost; ++i) {
    all.push_back(feed_.subscribe({}, always(), {"uid 0", true}).events);
    ASSERT_NE(all.back(), nullptr);
  }
  EXPECT_EQ(feed_.subscribe({}, always(), {"uid 0", true}).full, Feed::Full::All);
  EXPECT_EQ(feed_.subscribe({}, always(), {"token", false}).full, Feed::Full::All);
}

TEST_F(FeedTest, ItEndsWhenItMayNotGoOn) {
  std::atomic<bool> may{true};
  std::atomic<int> woken{0};
  const auto events = subscribe(feed_, {}, [&] { return may.load(); });
  events->call_when_ready([&] { ++woken; });
  EXPECT_FALSE(events->over());
  may = false;
  EXPECT_TRUE(eventually([&] { return events->over() && woken > 0; }));
  logger_.info("afterwards");
  std::this_thread::sleep_for(3 * Feed::kEvery);
  EXPECT_EQ(events->take(), "");
}

TEST_F(FeedTest, NobodyIsWokenAfterItSaidSo) {
  std::atomic<int> woken{0};
  const auto events = subscribe(feed_, {}, always());
  events->call_when_ready([&] { ++woken; });
  logger_.info("one");
  EXPECT_TRUE(eventually([&] { return woken > 0; }));
  events->call_when_ready({});
  const int before = woken;
  logger_.info("two");
  until(*events, "two");
  EXPECT_EQ(woken, before);
}

TEST(Feed, HeartbeatsComeWhereNothingElseDoes) {
  Feed feed(200ms);
  const auto events = subscribe(feed, {{{"event"}, {"never"}}}, always());
  until(*events, "\"event\":\"heartbeat\"");
  until(*events, "\"event\":\"heartbeat\"");
}

// Several producers, readers that come and go: for ThreadSanitizer.
TEST(Feed, ProducersAndReadersMeetInAnyOrder) {
  Feed feed(1ms);
  const int null = ::open("/dev/null", O_WRONLY);
  Log log(Level::Error, LogFormat::Json, null, &feed);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, &logger = log.logger()] {
      while (!stop) logger.info("event", {{"n", 1}}), std::this_thread::yield();
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 50; ++i) {
      const auto events = subscribe(feed, {}, always());
      std::atomic<int> woken{0};
      events->call_when_ready([&] { ++woken; });
      EXPECT_TRUE(eventually([&] { return woken > 0 && !events->take().empty(); }));
      events->call_when_ready({});
    }
    stop = true;
  });
  for (std::thread& thread : threads) thread.join();
}

TEST(Feed, TimesHaveMilliseconds) {
  EXPECT_EQ(utc_ms(std::chrono::system_clock::time_point(std::chrono::milliseconds(1'700'000'000'007))),
            "2023-11-14T22:13:20.007Z");
}

}  // namespace
}  // namespace sallyport
