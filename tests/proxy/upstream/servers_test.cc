// The servers of an upstream: their addresses, and lists that change while sessions are there.
#include "proxy/upstream/servers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "proxy/upstream/names.h"

namespace sallyport {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UpstreamConfig named(const std::vector<Endpoint>& servers) {
  UpstreamConfig upstream;
  upstream.name = "u";
  upstream.servers = servers;
  return upstream;
}

std::unique_ptr<Upstreams> made(const std::vector<Endpoint>& servers) {
  Config config;
  config.upstreams.push_back(named(servers));
  auto upstreams = Upstreams::create(config);
  EXPECT_TRUE(upstreams);
  return std::move(*upstreams);
}

ServerAddress address(const std::string& ip, std::uint16_t port = 1) {
  auto found = resolve_address({ip, port, ""}, false);
  EXPECT_TRUE(found) << ip;
  return *found;
}

std::vector<std::string> texts(const Upstreams& upstreams) {
  std::vector<std::string> all;
  for (const BrokerTarget* target : upstreams.list(0)->targets) all.push_back(target->text);
  return all;
}

Answer<std::vector<ServerAddress>> none() {
  return Refusal{Refusal::Kind::Invalid, "name:1 cannot be resolved: nobody knows it"};
}

// Many shards write it while an operator reads: what he reads was said as a whole.
TEST(Upstreams, TheLastTroubleIsTold) {
  const auto upstreams = made({{"127.0.0.1", 1, ""}});
  EXPECT_EQ(upstreams->info(0)[0].servers[0].last_trouble.why, "");
  LastTrouble& last = upstreams->list(0)->targets[0]->server->last_trouble;
  last.note("refused", 111, 77);
  const LastTrouble::Said said = upstreams->info(0)[0].servers[0].last_trouble;
  EXPECT_EQ(said.why, "refused");
  EXPECT_EQ(said.error, 111);
  EXPECT_EQ(said.at, 77);
  last.note(std::string(1000, 'x'), 0, 78);
  EXPECT_EQ(last.said().why, std::string(160, 'x'));
  std::vector<std::thread> shards;
  for (int shard = 1; shard <= 2; ++shard) {
    shards.emplace_back([&last, shard] {
      const std::string words(static_cast<std::size_t>(shard) * 10, static_cast<char>('0' + shard));
      for (int i = 0; i < 10'000; ++i) last.note(words, shard, shard);
    });
  }
  for (int i = 0; i < 10'000; ++i) {
    const LastTrouble::Said one = last.said();
    ASSERT_TRUE(one.error == 0 ||
                one.why == std::string(static_cast<std::size_t>(one.error) * 10, static_cast<char>('0' + one.error)));
    ASSERT_TRUE(one.error == 0 || one.at == one.error);
  }
  for (std::thread& each : shards) each.join();
}

TEST(Upstreams, WhatNeedsNoNameServerIsThereAtOnce) {
  const auto upstreams = made({{"127.0.0.1", 1, ""}, {"::1", 2, ""}, {"", 0, "/run/broker"}, {"name", 1, ""}});
  EXPECT_THAT(texts(*upstreams), ElementsAre("127.0.0.1:1", "[::1]:2", "unix:/run/broker"));
  EXPECT_THAT(upstreams->unresolved(), ElementsAre("upstream u: name:1"));
  EXPECT_FALSE(upstreams->all_asked());
  EXPECT_FALSE(upstreams->set_addresses(0, "name:1", none(), 5)) << "the list is the same";
  EXPECT_TRUE(upstreams->all_asked());
  const auto info = upstreams->info(0);
  EXPECT_EQ(info[0].servers[3].state, "unresolved");
  EXPECT_THAT(info[0].servers[3].trouble, HasSubstr("nobody knows it"));
}

TEST(Upstreams, EveryAddressOfANameIsAServer) {
  const auto upstreams = made({{"name", 1, ""}});
  EXPECT_TRUE(upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.2"), address("10.0.0.1")}, 5));
  EXPECT_THAT(texts(*upstreams), ElementsAre("10.0.0.1:1", "10.0.0.2:1"));
  EXPECT_FALSE(upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.1"), address("10.0.0.2")}, 6))
      << "in whatever order they come";
  const auto info = upstreams->info(0);
  ASSERT_EQ(info[0].servers.size(), 1U);
  EXPECT_EQ(info[0].servers[0].targets.size(), 2U);
}

// An address that is gone takes no new session; those that are there go on, and what they hold is kept for them.
TEST(Upstreams, AnAddressIsKeptWhileASessionHasIt) {
  const auto upstreams = made({{"name", 1, ""}});
  upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.1"), address("10.0.0.2")}, 5);
  BrokerTarget* gone = upstreams->list(0)->targets[0];
  BrokerTarget* stays = upstreams->list(0)->targets[1];
  gone->holds = 1;
  gone->sessions = 1;
  (void)stays->health.unreachable();
  ASSERT_TRUE(upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.2"), address("10.0.0.3")}, 6));
  upstreams->collect();
  EXPECT_THAT(texts(*upstreams), ElementsAre("10.0.0.2:1", "10.0.0.3:1"));
  EXPECT_EQ(upstreams->list(0)->targets[0], stays) << "with its health";
  EXPECT_EQ(upstreams->info(0)[0].servers[0].sessions, 1U);
  EXPECT_EQ(gone->text, "10.0.0.1:1");
  EXPECT_NE(upstreams->list(0)->targets[1]->slot, gone->slot);
  gone->sessions = 0;
  gone->holds = 0;
  upstreams->collect();
  EXPECT_EQ(upstreams->info(0)[0].servers[0].sessions, 0U);
}

TEST(Upstreams, ANameServerThatFailsTakesNothingAway) {
  const auto upstreams = made({{"name", 1, ""}});
  upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.1")}, 5);
  EXPECT_FALSE(upstreams->set_addresses(0, "name:1", none(), 6));
  EXPECT_THAT(texts(*upstreams), ElementsAre("10.0.0.1:1"));
  EXPECT_THAT(upstreams->info(0)[0].servers[0].trouble, HasSubstr("nobody knows it")) << "and it is said";
}

TEST(Upstreams, NamesAreAskedForAgainByIntervalAndWhenTheyFail) {
  const auto upstreams = made({{"name", 1, ""}, {"127.0.0.1", 1, ""}});
  EXPECT_EQ(upstreams->names(1000).size(), 1U) << "an address is not asked for";
  upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.1")}, 1000);
  EXPECT_THAT(upstreams->names(30'999), IsEmpty());
  EXPECT_EQ(upstreams->names(31'000).size(), 1U);
  upstreams->set_addresses(0, "name:1", none(), 31'000);
  EXPECT_THAT(upstreams->names(35'999), IsEmpty());
  EXPECT_EQ(upstreams->names(36'000).size(), 1U);
  upstreams->set_addresses(0, "name:1", std::vector{address("10.0.0.1")}, 36'000);
  upstreams->list(0)->targets[0]->server->ask_again = true;
  EXPECT_EQ(upstreams->names(41'000).size(), 1U) << "every address of it has failed";
}

// A reload: what stays keeps its health and its sessions, what is new begins, what is gone takes no new session.
TEST(Upstreams, ServersChangeWhileSessionsGoOn) {
  const auto upstreams = made({{"127.0.0.1", 1, ""}, {"127.0.0.1", 2, ""}});
  BrokerTarget* first = upstreams->list(0)->targets[0];
  BrokerTarget* second = upstreams->list(0)->targets[1];
  (void)second->health.unreachable();
  first->holds = first->sessions = 1;
  ASSERT_TRUE(upstreams->drain("u", "127.0.0.1:2", true));
  UpstreamConfig next = named({{"127.0.0.1", 3, ""}, {"127.0.0.1", 2, ""}});
  next.balance = Balance::RoundRobin;
  EXPECT_TRUE(upstreams->configure(0, next, nullptr));
  upstreams->collect();
  EXPECT_THAT(texts(*upstreams), ElementsAre("127.0.0.1:3", "127.0.0.1:2"));
  EXPECT_EQ(upstreams->list(0)->targets[1], second);
  EXPECT_EQ(second->health.state(), Health::State::Down);
  EXPECT_TRUE(second->server->drained);
  EXPECT_EQ(upstreams->list(0)->balance, Balance::RoundRobin);
  EXPECT_EQ(first->server->text, "127.0.0.1:1") << "its session may still ask";
  const auto shown = upstreams->info(0)[0].servers;
  ASSERT_EQ(shown.size(), 3U);
  EXPECT_EQ(shown[2].server, "127.0.0.1:1");
  EXPECT_EQ(shown[2].state, "removed");
  EXPECT_EQ(shown[2].sessions, 1U) << "until it has none";
  // One that comes back before its last session has ended is the same.
  EXPECT_TRUE(upstreams->configure(0, named({{"127.0.0.1", 1, ""}}), nullptr));
  upstreams->collect();
  EXPECT_EQ(upstreams->list(0)->targets[0], first);
  EXPECT_EQ(upstreams->info(0)[0].servers[0].sessions, 1U);
  EXPECT_TRUE(upstreams->configure(0, named({{"127.0.0.1", 2, ""}}), nullptr));
  first->holds = first->sessions = 0;
  upstreams->collect();
  EXPECT_TRUE(upstreams->configure(0, named({{"127.0.0.1", 1, ""}}), nullptr));
  upstreams->collect();
  EXPECT_EQ(upstreams->info(0)[0].servers[0].sessions, 0U) << "after that it is a new one";
}

TEST(Upstreams, DrainNamesWhatThereIs) {
  const auto upstreams = made({{"127.0.0.1", 1, ""}, {"127.0.0.1", 2, ""}});
  const auto unknown = upstreams->drain("u", "127.0.0.1:3", true);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, Refusal::Kind::NotFound);
  EXPECT_THAT(unknown.error().what, HasSubstr("127.0.0.1:1, 127.0.0.1:2"));
  EXPECT_FALSE(upstreams->drain("v", "127.0.0.1:1", true));
}

// More addresses than there are places for: the rest is left out.
TEST(Upstreams, ThereAreSixtyFourPlaces) {
  const auto upstreams = made({{"name", 1, ""}});
  std::vector<ServerAddress> many;
  for (int i = 1; i <= 100; ++i) many.push_back(address("10.0.0." + std::to_string(i)));
  upstreams->set_addresses(0, "name:1", many, 5);
  EXPECT_EQ(upstreams->list(0)->targets.size(), 64U);
  std::uint64_t slots = 0;
  for (const BrokerTarget* target : upstreams->list(0)->targets) slots |= std::uint64_t{1} << target->slot;
  EXPECT_EQ(slots, UINT64_MAX);
}

TEST(Names, AskWithoutWaiting) {
  const auto upstreams = made({{"localhost", 1883, ""}});
  Names names(*upstreams);
  std::vector<std::size_t> changed;
  for (std::uint64_t i = 0; i < 30'000 && changed.empty(); ++i) {
    changed = names.tick(i);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_THAT(changed, ElementsAre(0U));
  const auto found = texts(*upstreams);
  EXPECT_TRUE(std::find(found.begin(), found.end(), "127.0.0.1:1883") != found.end() ||
              std::find(found.begin(), found.end(), "[::1]:1883") != found.end());
  EXPECT_THAT(upstreams->unresolved(), IsEmpty());
}

TEST(Addresses, LoopbackInBothFamilies) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(is_loopback(reinterpret_cast<const sockaddr&>(address(host).address))) << host;
  }
  for (const char* host : {"10.0.0.1", "128.0.0.1", "::2", "fe80::1", "::ffff:10.0.0.1", "::"}) {
    EXPECT_FALSE(is_loopback(reinterpret_cast<const sockaddr&>(address(host).address))) << host;
  }
  const auto local = resolve_address({"", 0, "/run/broker"}, false);
  ASSERT_TRUE(local);
  EXPECT_FALSE(is_loopback(reinterpret_cast<const sockaddr&>(local->address)));
  EXPECT_TRUE(is_literal({"fe80::1%lo", 1, ""}));
  EXPECT_FALSE(is_literal({"localhost", 1, ""}));
}

}  // namespace
}  // namespace sallyport
