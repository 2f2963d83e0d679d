// Sessions whose way to the broker is TLS: a handshake that fails or hangs, and ends that must be told apart.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <utility>

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
  enum class How { Orderly, Fin, Reset, Rubbish };
  for (const bool tls : {false, true}) {
    for (const How how : {How::Orderly, How::Fin, How::Reset, How::Rubbish}) {
      if (!tls && (how == How::Fin || how == How::Rubbish)) continue;  // it is orderly there, and bytes like others
      for (const bool tcp : {false, true}) {
        Script script;
        script.broker_tls = tls;
        script.tcp = tcp;
        script.cuts_off = how != How::Orderly;
        script.breaks_tls = how == How::Rubbish;
        script.broker_end = how == How::Reset ? Script::BrokerEnd::Reset : Script::BrokerEnd::Fin;
        script.client_end = Script::ClientEnd::WaitsForBroker;
        for (std::uint64_t seed = 1; seed <= 10; ++seed) {
          World world(script, seed);
          world.run();
          world.check();
          const bool cut_off = tcp && how != How::Orderly;
          EXPECT_EQ(world.client->closed(), !cut_off) << static_cast<int>(how) << ' ' << tls << ' ' << world.story();
          if (HasFailure()) return;
        }
      }
    }
  }
}

// What a server is offered and does not take says nothing of it: it is asked once more, and the device notices nothing.
TEST(BrokerTlsSession, AServerThatRefusesToResumeIsAskedOnceMore) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Script script = through_tls();
    script.broker_tls_version = version;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      World::tls_of_broker().takes_resumption();
      World(script, seed).run();  // leaves a session
      World::tls_of_broker().refuses_resumption();
      World world(script, seed);
      world.run();
      world.check();
      World::tls_of_broker().takes_resumption();
      EXPECT_TRUE(world.host.was_served) << world.story();
      EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
      EXPECT_EQ(world.host.faults, std::vector<BrokerFault>());
      EXPECT_EQ(world.host.shard_counters().failovers.get(), 0U);
      if (HasFailure()) return;
    }
  }
}

// … and once only: one that has nothing to do with it is left.
TEST(BrokerTlsSession, AServerWithoutTlsIsLeft) {
  const Script other = through_tls();
  Script script = other;
  script.brokers = 2;
  World world(script, 2);
  world.host.tls_is_rubbish = 3;
  int opened = -1;
  do {
    // Another session leaves one again and again, for whoever asks.
    if (std::exchange(opened, world.host.opened) != world.host.opened && opened < 4) World(other, 1).run();
  } while (world.turn());
  world.run();
  world.check();
  EXPECT_TRUE(world.host.was_served) << world.story();
  EXPECT_EQ(world.host.faults, std::vector(1, BrokerFault::Tls)) << "of two handshakes with each, one with a session";
  EXPECT_EQ(world.host.opened, 4);
}

// It speaks, and says that this was all, in one go; its TCP connection stays.
TEST(BrokerTlsSession, ABrokerThatAnswersAndClosesIsHeard) {
  Script script = through_tls();
  script.broker_bytes = 0;
  script.broker_end = Script::BrokerEnd::Fin;
  script.stays_open = true;
  script.client_end = Script::ClientEnd::WaitsForBroker;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(script, seed);
    world.run();
    world.check();
    EXPECT_TRUE(world.client->closed()) << world.story();
    EXPECT_TRUE(world.client_got == world.broker_sends) << world.story();
    EXPECT_EQ(world.host.ended_as, Cause::Closed);
    if (HasFailure()) return;
  }
  script.brokers = 2;
  script.failing_brokers = 1;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(script, seed);
    world.run();
    world.check();
    EXPECT_TRUE(world.host.was_served) << world.story();
    EXPECT_EQ(world.host.faults, std::vector(1, BrokerFault::Closed)) << "it is not silent";
    if (HasFailure()) return;
  }
}

// A stream of bytes may be all there is right behind the handshake. With a full one of TLS 1.2 it comes in one flight.
TEST(BrokerTlsSession, WhatComesWithTheHandshakeIsTheStream) {
  World::tls_of_broker().keeps_sessions(false);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Script script = through_tls();
    script.tcp = true;
    script.broker_tls_version = version;
    script.speaks_at_once = true;
    script.broker_end = Script::BrokerEnd::Fin;
    script.client_end = Script::ClientEnd::WaitsForBroker;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      World world(script, seed);
      world.run();
      world.check();
      EXPECT_TRUE(world.host.was_served) << world.story();
      EXPECT_EQ(world.host.faults, std::vector<BrokerFault>());
      EXPECT_TRUE(world.client_got == world.broker_sends) << world.story();
      EXPECT_TRUE(world.client->closed()) << world.story();
      if (HasFailure()) break;
    }
  }
  World::tls_of_broker().keeps_sessions(true);
}

// TLS 1.3 refuses our certificate after the handshake. A stream of bytes has no answer that could come in its place.
TEST(BrokerTlsSession, ABrokerWhoseTlsBreaksBeforeItsFirstByteHasFailed) {
  for (const bool says_something : {false, true}) {
    Script script = through_tls();
    script.tcp = script.cuts_off = script.breaks_tls = true;
    script.broker_bytes = says_something ? 1000 : 0;
    script.broker_end = Script::BrokerEnd::Fin;
    script.client_end = Script::ClientEnd::WaitsForBroker;
    World world(script, 1);
    world.run();
    world.check();
    EXPECT_EQ(world.host.faults, std::vector(says_something ? 0 : 1, BrokerFault::Tls));
  }
}

// Who is told first does not matter: an orderly end arrives as one, with all that came before it.
TEST(BrokerTlsSession, ABrokerThatEndsFirstHearsTheClientsEnd) {
  for (const bool tls : {false, true}) {
    for (const bool tcp : {false, true}) {
      Script script;
      script.broker_tls = tls;
      script.tcp = tcp;
      script.broker_end = Script::BrokerEnd::Fin;
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        script.client_end = seed % 2 == 0 ? Script::ClientEnd::WaitsForBroker : Script::ClientEnd::CloseNotify;
        const bool slow = seed % 4 >= 2;
        script.client_bytes = slow ? 60'000 : 1000;
        script.broker_reads_from_turn = slow ? 120 : 0;
        World world(script, seed);
        world.run();
        world.check();
        EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
        // Who leaves without a close_notify cuts a stream of bytes off; MQTT's packets are whole.
        const bool orderly = !tcp || script.client_end == Script::ClientEnd::CloseNotify;
        EXPECT_EQ(world.broker_told, tls && orderly) << world.story();
        EXPECT_EQ(world.host.ended_as, Cause::Closed);
        if (HasFailure()) return;
      }
    }
  }
}

// Other servers and other TLS may come while a connection is made: nothing goes to the one by the rules of the other.
TEST(BrokerTlsSession, AReloadThatChangesTheTlsBeginsAnew) {
  for (const bool tls : {false, true}) {
    Script script;
    script.broker_tls = tls;
    World world(script, 1);
    world.host.reloads = 2;
    world.run();
    world.check();
    EXPECT_TRUE(world.host.was_served) << world.story();
    EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
    EXPECT_EQ(world.host.connected, 1);
    EXPECT_EQ(world.host.faults, std::vector<BrokerFault>());
    EXPECT_EQ(world.host.opened, 3);
  }
}

// A session that forwards, and nothing is on its way.
std::unique_ptr<World> at_rest(Script script) {
  script.client_bytes = 0;
  const auto last = std::exchange(script.client_end, Script::ClientEnd::WaitsForBroker);
  auto world = std::make_unique<World>(script, 3);
  for (int i = 0; i < 300 && world->client_got.size() < world->broker_sends.size(); ++i) world->turn();
  for (int i = 0; i < 10; ++i) world->turn();
  EXPECT_EQ(world->session.state(), Session::State::Forwarding);
  world->script.client_end = last;
  return world;
}

// A broker that has said all may still listen: a client that ended before it loses nothing by that.
TEST(BrokerTlsSession, ABrokerThatEndsStillTakesWhatTheClientSaid) {
  for (const bool tls : {false, true}) {
    Script script;
    script.broker_tls = tls;
    const auto world = at_rest(script);
    world->io.faults.window = 8 * 1024;
    world->script.broker_reads_from_turn = world->turns + 150;
    world->client_sends += std::string(30'000, 'x');
    for (int i = 0; i < 100; ++i) world->turn();
    EXPECT_TRUE(world->client_finished) << world->story();
    EXPECT_GT(world->session.to_broker_held(), 0U);
    world->script.broker_end = Script::BrokerEnd::Fin;
    world->run();
    world->check();
    EXPECT_TRUE(world->broker_got == world->client_sends) << world->story();
    EXPECT_EQ(world->broker_told, tls);
    EXPECT_EQ(world->host.ended_as, Cause::Closed);
  }
}

// While a client takes nothing and Sallyport drains nobody hears the broker; its TLS goes on all the same.
TEST(BrokerTlsSession, ADrainTearsNoTls) {
  const auto world = at_rest(through_tls());
  world->io.faults = {.short_sends = 0, .no_buffers = 0, .late = 0, .beats_cancel = 0, .window = 8 * 1024};
  world->script.client_end = Script::ClientEnd::WaitsForBroker;
  world->script.client_reads_from_turn = world->script.broker_reads_from_turn = world->turns + 150;
  world->broker_sends += std::string(12'000, 'y');
  world->client_sends += std::string(12'000, 'x');
  for (int i = 0; i < 20; ++i) world->turn();
  world->session.leave();
  EXPECT_EQ(world->session.state(), Session::State::Halted) << "a send to the client is on its way";
  while (world->session.state() == Session::State::Halted) {
    world->broker_sends += "z";
    world->turn();
  }
  EXPECT_EQ(world->session.state(), Session::State::Delivering);
  for (int i = 0; i < 5; ++i) {
    world->broker_sends += "z";
    world->turn();
  }
  world->run();
  world->check();
  EXPECT_EQ(world->host.what, "sallyport drains");
  EXPECT_TRUE(world->broker_got == world->client_sends) << world->story();
}

TEST(BrokerTlsSession, ABrokerThatAsksAndDoesNotReadIsLeft) {
  for (const bool tcp : {false, true}) {
    Script script = through_tls();
    script.tcp = tcp;
    const auto world = at_rest(script);
    world->script.broker_reads_from_turn = 1'000'000;
    world->io.faults.window = 1;
    for (int i = 0; i < 100 && world->host.over_count == 0; ++i) {
      for (int each = 0; each < 50; ++each) World::tls_of_broker().asks();
      world->io.peer_writes(world->host.broker, World::tls_of_broker().gives());
      for (int turn = 0; turn < 5; ++turn) world->turn();
    }
    EXPECT_EQ(world->host.what, "the broker's TLS broke");
    world->run();
    world->check();
  }
}

struct TornTicket : ::testing::Test {
  TornTicket() { World::tls_of_broker().has_large_tickets(true); }
  ~TornTicket() override { World::tls_of_broker().has_large_tickets(false); }
};

// The tickets of the handshake come behind it, in pieces.
TEST_F(TornTicket, DoesNotHoldTheConnect) {
  for (const bool tcp : {false, true}) {
    Script script = through_tls();
    script.tcp = tcp;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      World world(script, seed);
      world.run();
      world.check();
      EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
      EXPECT_TRUE(world.client_got == world.broker_sends) << world.story();
      EXPECT_EQ(world.host.faults, std::vector<BrokerFault>());
      if (HasFailure()) return;
    }
  }
}

// Whatever the client does while one has come in part: what it said arrives behind it, and its end.
TEST_F(TornTicket, LosesNothingOfTheClients) {
  enum class Then { Waits, Closes, SaysNothingAndCloses, Leaves, Drains };
  for (const bool tcp : {false, true}) {
    for (const Then then : {Then::Waits, Then::Closes, Then::SaysNothingAndCloses, Then::Leaves, Then::Drains}) {
      Script script = through_tls();
      script.tcp = tcp;
      script.client_end = then == Then::Leaves ? Script::ClientEnd::FinAlone : Script::ClientEnd::CloseNotify;
      const auto world = at_rest(script);
      auto records = World::tls_of_broker().gives_ticket();
      ASSERT_GT(records.size(), 1U);
      world->io.peer_writes(world->host.broker, records.front());
      world->script.client_end = Script::ClientEnd::WaitsForBroker;
      for (int i = 0; i < 10; ++i) world->turn();
      const std::size_t before = world->broker_got.size();
      if (then != Then::SaysNothingAndCloses) world->client_sends += std::string(5000, 'x');
      if (then != Then::Waits) world->script.client_end = script.client_end;
      for (int i = 0; i < 20; ++i) world->turn();
      if (then == Then::Drains) world->session.leave();
      for (int i = 0; i < 5; ++i) world->turn();
      EXPECT_EQ(world->broker_got.size(), before) << "nothing can be encrypted";
      ASSERT_EQ(world->host.over_count, 0) << world->host.what;
      const std::uint64_t waited_until_ms = world->host.now_ms;
      records.erase(records.begin());
      for (const std::string& record : records) world->io.peer_writes(world->host.broker, record);
      for (int i = 0; i < 40 && then == Then::Waits; ++i) world->turn();
      EXPECT_TRUE(then != Then::Waits || world->broker_got == world->client_sends) << world->story();
      world->script.client_end = script.client_end;
      world->run();
      world->check();
      EXPECT_LT(world->host.now_ms - waited_until_ms, 5000U) << "by a timer: " << world->story();
      EXPECT_TRUE(world->broker_got == world->client_sends) << static_cast<int>(then) << world->story();
      const bool orderly = !tcp || (then != Then::Leaves && then != Then::Drains);
      EXPECT_EQ(world->broker_told, orderly) << static_cast<int>(then) << world->story();
      EXPECT_NE(world->host.ended_as, Cause::Timeout);
      if (HasFailure()) return;
    }
  }
}

// … and where the rest never comes, that ends, too.
TEST_F(TornTicket, IsNotWaitedForForEver) {
  for (const auto end : {Script::ClientEnd::CloseNotify, Script::ClientEnd::FinAlone}) {
    Script script = through_tls();
    script.client_end = end;
    const auto world = at_rest(script);
    world->script.client_end = Script::ClientEnd::WaitsForBroker;
    world->io.peer_writes(world->host.broker, World::tls_of_broker().gives_ticket().front());
    for (int i = 0; i < 10; ++i) world->turn();
    world->client_sends += "x";
    world->script.client_end = end;
    world->run();
    world->check();
    EXPECT_EQ(world->host.ended_as, Cause::Timeout);
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
