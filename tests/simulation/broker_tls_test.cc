// Sessions whose way to the broker is TLS: a handshake that fails or hangs, and ends that must be told apart.
#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/session/broker_fault.h"
#include "tests/proxy/tls/key_limit.h"
#include "tests/simulation/world.h"

namespace sallyport::test {
namespace {

Script through_tls() {
  Script script;
  script.broker_tls = true;
  return script;
}

TEST(BrokerTlsSession, AServerThatDoesNotShakeHandsIsLeftInTime) {
  Script script = through_tls();
  script.brokers = 3;
  script.silent_tls_brokers = 2;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(script, seed);
    world.run();
    world.check();
    EXPECT_TRUE(world.host.was_served) << world.story();
    EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
    EXPECT_EQ(world.host.faults, std::vector(2, BrokerFault::Timeout));
    EXPECT_EQ(world.host.connected, 1) << "a connection counts when its TLS is done";
    EXPECT_EQ(world.host.blamed + world.host.blamed_proven, 0) << "no CONNECT was asked";
  }
}

TEST(BrokerTlsSession, WhereNoServerDoesTheClientIsTold) {
  Script script = through_tls();
  script.silent_tls_brokers = 1;
  World world(script, 1);
  world.run();
  world.check();
  EXPECT_FALSE(world.host.was_served);
  EXPECT_EQ(world.host.reason, Reason::BrokerUnavailable);
  EXPECT_EQ(world.client_got, std::string("\x20\x02\0\x03", 4));
}

// The next server gets what was encrypted for the last.
TEST(BrokerTlsSession, TheNextServerGetsTheSame) {
  for (const auto failing : {Script::Failing::Closes, Script::Failing::Resets, Script::Failing::Unavailable}) {
    Script script = through_tls();
    script.brokers = 3;
    script.failing_brokers = 2;
    script.failing = failing;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      World world(script, seed);
      world.run();
      world.check();
      EXPECT_TRUE(world.host.was_served) << world.story();
      EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
      EXPECT_TRUE(world.client_got == world.broker_sends) << world.story();
      EXPECT_EQ(world.host.shard_counters().failovers.get(), 2U);
      EXPECT_EQ(world.host.shard_counters().bytes_to_broker.get(), world.client_sends.size()) << "of plaintext";
      EXPECT_EQ(world.host.shard_counters().bytes_to_client.get(), world.broker_sends.size()) << "of plaintext";
      if (HasFailure()) return;
    }
  }
}

// A stream of bytes that was cut off must not look whole; MQTT's packets show it themselves.
TEST(BrokerTlsSession, ABrokerThatIsCutOffDoesNotEndOrderly) {
  for (const bool tcp : {false, true}) {
    for (const bool cuts_off : {false, true}) {
      Script script = through_tls();
      script.tcp = tcp;
      script.cuts_off = cuts_off;
      script.broker_end = Script::BrokerEnd::Fin;
      script.client_end = Script::ClientEnd::WaitsForBroker;
      for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        World world(script, seed);
        world.run();
        world.check();
        EXPECT_EQ(world.client->closed(), !(tcp && cuts_off)) << world.story();
        if (HasFailure()) return;
      }
    }
  }
}

// In the middle of the handshake, and of everything after it.
TEST(BrokerTlsSession, ACutEndsItWhereverItIs) {
  for (int turn = 1; turn <= 60; ++turn) {
    Script script = through_tls();
    script.cut_at_turn = turn;
    World world(script, static_cast<std::uint64_t>(turn));
    world.run();
    world.check();
    if (world.host.ended_as == Cause::Cut && world.host.was_served) {
      EXPECT_TRUE(world.io.peer_sees_reset(world.host.broker)) << "an end by force is none in order";
    }
  }
}

// key_use.h: a session ends in order when one of its keys of TLS 1.2 is spent, the client's or the broker's.
TEST(KeyLimitSession, EndsWithACloseNotifyToBoth) {
  const KeyLimit limit(600);
  for (const bool broker_tls : {false, true}) {
    for (const bool up : {true, false}) {
      Script script;
      script.version = TLS1_2_VERSION;
      script.client_end = Script::ClientEnd::WaitsForBroker;
      script.broker_tls = broker_tls;
      script.client_bytes = up ? 60'000 : 1000;
      script.broker_bytes = up ? 1000 : 60'000;
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE(seed);
        World world(script, seed);
        world.run();
        world.check();
        EXPECT_TRUE(world.host.was_served) << world.story();
        EXPECT_EQ(world.host.ended_as, Cause::KeyLimit) << world.story();
        EXPECT_EQ(world.host.reason, Reason::None);
        EXPECT_TRUE(world.client->closed()) << "by a close_notify";
        EXPECT_EQ(world.client->alert(), SSL_AD_CLOSE_NOTIFY);
        EXPECT_GT(up ? world.broker_got.size() : world.client_got.size(), 5000U) << world.story();
      }
    }
  }
}

// The client's own may be of TLS 1.3: it is the way to the broker that has no other key.
TEST(KeyLimitSession, EndsForTheBrokersKeyToo) {
  const KeyLimit limit(600);
  Script script = through_tls();
  script.version = TLS1_3_VERSION;
  script.broker_tls_version = TLS1_2_VERSION;
  script.client_end = Script::ClientEnd::WaitsForBroker;
  for (const bool up : {true, false}) {
    script.client_bytes = up ? 60'000 : 1000;
    script.broker_bytes = up ? 1000 : 60'000;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      World world(script, seed);
      world.run();
      world.check();
      EXPECT_EQ(world.host.ended_as, Cause::KeyLimit) << world.story();
      EXPECT_TRUE(world.client->closed()) << "by a close_notify";
    }
  }
}

}  // namespace
}  // namespace sallyport::test
