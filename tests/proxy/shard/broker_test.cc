// Which server a session goes to, and which addresses are this host's.
#include "proxy/shard/broker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

namespace sallyport {
namespace {

Config three_servers(Balance balance) {
  Config config;
  UpstreamConfig upstream;
  upstream.name = "u";
  upstream.servers = {{"127.0.0.1", 1, ""}, {"127.0.0.1", 2, ""}, {"", 0, "/x"}};
  upstream.balance = balance;
  config.upstreams.push_back(upstream);
  return config;
}

TEST(BrokerChoice, LeastConnectionsSpreadsAndSkipsTheDead) {
  const Config config = three_servers(Balance::LeastConnections);
  const auto servers = Servers::resolve(config);
  ASSERT_TRUE(servers);
  BrokerChoice choice(config, **servers);
  std::vector<int> hits(3);
  for (int i = 0; i < 30; ++i) {
    BrokerRoute route;
    ASSERT_TRUE(choice.choose(0, "", 0, 1000, route));
    choice.answered(route, true, 1000);
    ++hits[route.server];
  }
  EXPECT_EQ(hits, (std::vector<int>{10, 10, 10}));
  BrokerRoute dead;
  ASSERT_TRUE(choice.choose(0, "", 0, 1000, dead));
  choice.answered(dead, false, 1000);
  for (int i = 0; i < 20; ++i) {
    BrokerRoute route;
    ASSERT_TRUE(choice.choose(0, "", 0, 1500, route));
    EXPECT_NE(route.server, dead.server);
    choice.answered(route, true, 1500);
  }
}

// One whose name does not resolve is no choice, until it has an address.
TEST(BrokerChoice, AServerWithoutAnAddressIsPassedOver) {
  Config config = three_servers(Balance::RoundRobin);
  config.upstreams[0].servers = {{"name.invalid", 1, ""}, {"127.0.0.1", 2, ""}};
  auto servers = Servers::resolve(config);
  ASSERT_TRUE(servers);
  BrokerChoice choice(config, **servers);
  EXPECT_FALSE(choice.up(0, 0));
  BrokerRoute route;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(choice.choose(0, "", 0, 0, route));
    EXPECT_EQ(route.server, 1U);
    EXPECT_FALSE(choice.choose(0, "", 1, 0, route));
  }
  (*servers)->set_address(0, 0, *resolve_address({"127.0.0.1", 1, ""}, false));
  EXPECT_TRUE(choice.up(0, 0));
  ASSERT_TRUE(choice.choose(0, "", 0, 0, route));
  EXPECT_TRUE(choice.choose(0, "", 1, 0, route));
}

TEST(Addresses, LoopbackInBothFamilies) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"}) {
    const auto address = resolve_address({host, 1883, ""}, false);
    ASSERT_TRUE(address) << host;
    EXPECT_TRUE(is_loopback(reinterpret_cast<const sockaddr&>(address->address))) << host;
  }
  for (const char* host : {"10.0.0.1", "128.0.0.1", "::2", "fe80::1", "::ffff:10.0.0.1", "::"}) {
    const auto address = resolve_address({host, 1883, ""}, false);
    ASSERT_TRUE(address) << host;
    EXPECT_FALSE(is_loopback(reinterpret_cast<const sockaddr&>(address->address))) << host;
  }
  const auto local = resolve_address({"", 0, "/run/broker"}, false);
  ASSERT_TRUE(local);
  EXPECT_FALSE(is_loopback(reinterpret_cast<const sockaddr&>(local->address)));
}

TEST(BrokerChoice, EveryServerIsTriedOnceTheDeadOnesLast) {
  const Config config = three_servers(Balance::RoundRobin);
  const auto servers = Servers::resolve(config);
  BrokerChoice choice(config, **servers);
  BrokerRoute route;
  std::vector<std::size_t> tried;
  for (unsigned attempt = 0; choice.choose(0, "", attempt, 0, route); ++attempt) {
    tried.push_back(route.server);
    choice.answered(route, false, 0);
  }
  std::sort(tried.begin(), tried.end());
  EXPECT_EQ(tried, (std::vector<std::size_t>{0, 1, 2}));
}

TEST(BrokerChoice, AClientIdKeepsItsServer) {
  const Config config = three_servers(Balance::ClientId);
  const auto servers = Servers::resolve(config);
  BrokerChoice one(config, **servers), other(config, **servers);
  std::vector<int> hits(3);
  for (int i = 0; i < 300; ++i) {
    BrokerRoute a, b;
    const std::string client = "client-" + std::to_string(i);
    one.choose(0, client, 0, 0, a);
    other.choose(0, client, 0, 0, b);
    EXPECT_EQ(a.server, b.server);
    ++hits[a.server];
  }
  for (const int n : hits) EXPECT_GT(n, 60);
}

}  // namespace
}  // namespace sallyport
