// Which server a session goes to.
#include "proxy/upstream/choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "tests/cache/test_pki.h"

namespace sallyport {
namespace {

Config with_servers(Balance balance, int count) {
  Config config;
  UpstreamConfig upstream;
  upstream.name = "u";
  for (int i = 1; i <= count; ++i) upstream.servers.push_back({"127.0.0.1", static_cast<std::uint16_t>(i), ""});
  upstream.balance = balance;
  config.upstreams.push_back(upstream);
  return config;
}

constexpr std::uint64_t kNowUs = 1'000'000'000;
constexpr std::uint64_t kSlowStartMs = 10'000;  // the default

// A choice whose sessions stay.
struct Chosen {
  explicit Chosen(Balance balance, int count = 3) : config(with_servers(balance, count)) {
    auto made = Upstreams::create(config);
    EXPECT_TRUE(made);
    upstreams = std::move(*made);
    choice.emplace(*upstreams);
  }
  // The server of the next session; empty: none is left.
  std::string next(std::string_view client_id = "", unsigned attempt = 0) {
    if (!choice->choose(0, client_id, attempt, now_us, route)) return "";
    return route.target->text;
  }
  BrokerTarget& at(std::size_t i) const { return *upstreams->list(0)->targets[i]; }

  Config config;
  std::unique_ptr<Upstreams> upstreams;
  std::optional<BrokerChoice> choice;
  BrokerRoute route;
  std::uint64_t now_us = kNowUs;
};

TEST(BrokerChoice, LeastConnectionsSpreadsAndSkipsTheDead) {
  Chosen chosen(Balance::LeastConnections);
  std::map<std::string, int> hits;
  for (int i = 0; i < 30; ++i) ++hits[chosen.next()];
  EXPECT_EQ(hits, (std::map<std::string, int>{{"127.0.0.1:1", 10}, {"127.0.0.1:2", 10}, {"127.0.0.1:3", 10}}));
  EXPECT_EQ(chosen.at(1).health.unreachable(), Health::Change::WentDown);
  for (int i = 0; i < 20; ++i) EXPECT_NE(chosen.next(), "127.0.0.1:2");
  // What its sessions leave is counted by all shards together.
  BrokerChoice other_shard(*chosen.upstreams);
  for (int i = 0; i < 15; ++i) BrokerChoice::left({.target = &chosen.at(0)});
  BrokerRoute route;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(other_shard.choose(0, "", 0, kNowUs, route));
    EXPECT_EQ(route.target->text, "127.0.0.1:1");
  }
}

// Where a reload puts another list there while a connection is made, it shows that the way is another.
TEST(BrokerChoice, TheRouteKnowsWhichTlsItWasChosenFor) {
  test::TempDir dir;
  const std::string ca = dir.write("ca", test::make_ca("CA of brokers").certificate.pem());
  std::vector<std::uint32_t> seen;
  for (const bool tls : {false, true, true}) {
    Config config = with_servers(Balance::RoundRobin, 1);
    if (tls) config.upstreams[0].tls.ca = ca;
    const auto upstreams = Upstreams::create(config);
    ASSERT_TRUE(upstreams);
    BrokerChoice choice(**upstreams);
    BrokerRoute route;
    route.anew = true;
    ASSERT_TRUE(choice.choose(0, "", 0, kNowUs, route));
    EXPECT_EQ(route.tls != 0, tls);
    EXPECT_FALSE(route.anew) << "another server may be offered a session";
    seen.push_back(route.tls);
    BrokerChoice::left(route);
  }
  EXPECT_NE(seen[1], seen[2]) << "each reload has its own";
}

TEST(BrokerChoice, RoundRobinTakesTurns) {
  Chosen chosen(Balance::RoundRobin);
  std::vector<std::string> turns;
  for (int i = 0; i < 6; ++i) turns.push_back(chosen.next());
  EXPECT_EQ(turns, (std::vector<std::string>{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:1", "127.0.0.1:2",
                                             "127.0.0.1:3"}));
}

TEST(BrokerChoice, EveryServerIsTriedOnceTheDeadOnesLast) {
  for (const Balance balance : {Balance::RoundRobin, Balance::LeastConnections, Balance::ClientId}) {
    Chosen chosen(balance);
    (void)chosen.at(0).health.unreachable();
    std::vector<std::string> tried;
    for (unsigned attempt = 0;; ++attempt) {
      const std::string server = chosen.next("device", attempt);
      if (server.empty()) break;
      tried.push_back(server);
    }
    ASSERT_EQ(tried.size(), 3U);
    EXPECT_EQ(tried.back(), "127.0.0.1:1");
    EXPECT_EQ(std::set<std::string>(tried.begin(), tried.end()).size(), 3U);
  }
}

TEST(BrokerChoice, ADrainedServerIsNotTakenEvenAlone) {
  Chosen chosen(Balance::LeastConnections, 2);
  ASSERT_TRUE(chosen.upstreams->drain("u", "127.0.0.1:1", true));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(chosen.next(), "127.0.0.1:2");
  ASSERT_TRUE(chosen.upstreams->drain("u", "127.0.0.1:2", true));
  EXPECT_EQ(chosen.next(), "");
  ASSERT_TRUE(chosen.upstreams->drain("u", "127.0.0.1:1", false));
  EXPECT_EQ(chosen.next(), "127.0.0.1:1");
}

// A device returns to its server; every shard and every node sends it to the same.
TEST(BrokerChoice, AClientIdKeepsItsServer) {
  Chosen one(Balance::ClientId), other(Balance::ClientId);
  std::map<std::string, int> hits;
  for (int i = 0; i < 3000; ++i) {
    const std::string client = "client-" + std::to_string(i);
    const std::string server = one.next(client);
    EXPECT_EQ(server, other.next(client));
    ++hits[server];
  }
  for (const auto& [server, n] : hits) EXPECT_NEAR(n, 1000, 150) << server;
}

// One of five that comes or goes moves about a fifth, and nobody else.
TEST(BrokerChoice, AddingOneOfFiveMovesAFifth) {
  Chosen four(Balance::ClientId, 4), five(Balance::ClientId, 5);
  int moved = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string client = "client-" + std::to_string(i);
    const std::string before = four.next(client), after = five.next(client);
    if (before == after) continue;
    ++moved;
    EXPECT_EQ(after, "127.0.0.1:5") << "only to the new one";
  }
  EXPECT_NEAR(moved, 1000, 150);
}

// One in slow start is passed over while it has no room; where there is no other, each is told how long to wait.
TEST(BrokerChoice, OneInSlowStartTakesWhatItHasRoomFor) {
  Chosen chosen(Balance::RoundRobin, 2);
  (void)chosen.at(0).health.unreachable();
  ASSERT_EQ(chosen.at(0).health.probed(true, kNowUs / 1000, kSlowStartMs), Health::Change::CameUp);
  std::map<std::string, int> hits;
  for (int i = 0; i < 100; ++i) {
    ++hits[chosen.next()];
    EXPECT_EQ(chosen.route.wait_us, 0U);
  }
  EXPECT_EQ(hits["127.0.0.1:1"], 1) << "a hundred a second: the next in ten milliseconds";
  (void)chosen.at(1).health.unreachable();
  std::vector<std::uint64_t> waits;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(chosen.next(), "127.0.0.1:1") << "who is down is no better than one that has no room yet";
    waits.push_back(chosen.route.wait_us);
  }
  EXPECT_EQ(waits, (std::vector<std::uint64_t>{10'000, 20'000, 30'000, 40'000, 50'000}));
}

}  // namespace
}  // namespace sallyport
