// The small parts of a shard: timer wheel, session index, choice of a broker, buffers, server names.
#include <gtest/gtest.h>

#include "proxy/io/byte_buffer.h"
#include "proxy/io/timer_wheel.h"
#include "proxy/session/session_index.h"
#include "proxy/shard/broker.h"
#include "proxy/tls/server_name.h"

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

Digest id(std::uint8_t n) {
  Digest digest{};
  digest.fill(n);
  return digest;
}

TEST(SessionIndex, FindsByDeviceAndByOwnerAndForgets) {
  SessionIndex index;
  IndexEntry a, b, c;
  a.session = reinterpret_cast<Session*>(1);
  b.session = reinterpret_cast<Session*>(2);
  c.session = reinterpret_cast<Session*>(3);
  a.device = b.device = id(1);
  c.device = id(2);
  a.cas = {id(10), id(20)};
  b.cas = {id(10)};
  c.cas = {id(11), id(20)};
  for (IndexEntry* entry : {&a, &b, &c}) index.add(*entry);
  EXPECT_EQ(index.of_device(id(1)).size(), 2U);
  EXPECT_EQ(index.owned_by(id(10)).size(), 2U);
  EXPECT_EQ(index.owned_by(id(20)).size(), 0U) << "only the nearest registered CA owns a session";
  EXPECT_EQ(index.below(id(20)).size(), 2U);
  index.remove(b);
  index.remove(b);
  EXPECT_EQ(index.of_device(id(1)), (std::vector<Session*>{a.session}));
  index.remove(a);
  index.remove(c);
  EXPECT_TRUE(index.empty());
}

TEST(ByteBuffer, KeepsTheOrderAndGivesItsMemoryBack) {
  ByteBuffer buffer;
  std::string expected, taken;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26));
    buffer.append({reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()});
    expected += piece;
    const std::size_t n = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(i % 61));
    taken.append(reinterpret_cast<const char*>(buffer.data()), n);
    buffer.consume(n);
  }
  taken.append(reinterpret_cast<const char*>(buffer.data()), buffer.size());
  EXPECT_EQ(taken, expected);
  EXPECT_LE(buffer.capacity(), std::max<std::size_t>(2 * buffer.size(), buffer.size() + 64 * 1024));
  buffer.consume(buffer.size());
  EXPECT_EQ(buffer.capacity(), 0U);
}

TEST(ByteBuffer, AMostlySentPieceGivesMostOfItsMemoryBack) {
  ByteBuffer buffer;
  std::string piece(132 * 1024, 'x');
  piece.back() = 'y';
  buffer.append({reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()});
  EXPECT_EQ(buffer.capacity(), 192 * 1024U);
  buffer.trim();
  EXPECT_EQ(buffer.capacity(), 192 * 1024U) << "most of it is in use";
  buffer.consume(120 * 1024);
  buffer.trim();
  EXPECT_EQ(buffer.capacity(), 16 * 1024U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(buffer.data()), buffer.size()), piece.substr(120 * 1024));
}

TEST(ServerNames, TheFirstToClaimANameKeepsIt) {
  ServerNames names;
  names.add("a.example.com", 0);
  names.add("A.example.com", 1);
  names.add("*.example.com", 2);
  EXPECT_EQ(names.find("a.example.com"), 0U);
  EXPECT_EQ(names.find("b.example.com."), 2U);
  EXPECT_EQ(names.find(".example.com"), std::nullopt);
  EXPECT_EQ(names.find("b.a.example.com"), std::nullopt);
  EXPECT_EQ(names.find("example"), std::nullopt);
}

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
