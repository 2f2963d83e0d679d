// Sessions over a fake kernel: ten thousand runs, each from one printed seed, each with bytes both ways and
// at least one fault; what was sent is compared with what arrived, and nothing may be left at the end.
//
//   SALLYPORT_SIM_RUNS=N   runs in each of the eight cases (1,250)
//   SALLYPORT_SIM_SEED=N   that run alone
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "tests/simulation/world.h"

namespace sallyport::test {
namespace {

using Standing = Script::Standing;
using ClientEnd = Script::ClientEnd;
using BrokerEnd = Script::BrokerEnd;

Script draw(std::mt19937_64& random) {
  const auto one_in = [&](std::uint64_t n) { return random() % n == 0; };
  Script script;
  if (one_in(3)) script.standing = Standing::First;
  if (one_in(30)) script.standing = Standing::Pending;
  if (one_in(30)) script.standing = Standing::Refused;
  if (one_in(30)) script.standing = Standing::LostBeforeConnect;
  script.client_end = static_cast<ClientEnd>(random() % 4);
  script.broker_end = static_cast<BrokerEnd>(one_in(2) ? 0 : random() % 3);
  if (script.broker_end != BrokerEnd::AfterClient && one_in(2)) script.client_end = ClientEnd::WaitsForBroker;
  script.version = one_in(2) ? TLS1_2_VERSION : TLS1_3_VERSION;
  script.client_bytes = 1 + random() % (one_in(10) ? 200'000 : 5'000);
  script.broker_bytes = 1 + random() % (one_in(10) ? 200'000 : 5'000);
  script.brokers = 1 + static_cast<unsigned>(random() % 3);
  if (one_in(8)) script.broken_brokers = static_cast<int>(random() % 4);
  script.tcp = one_in(4);
  if (!script.tcp && one_in(4)) {
    script.failing_brokers = static_cast<int>(random() % 3);
    script.failing = static_cast<Script::Failing>(random() % 5);
  }
  if (one_in(8)) script.full_offers = static_cast<int>(random() % 3);
  if (one_in(6)) script.cut_at_turn = 1 + static_cast<int>(random() % 60);
  if (one_in(15)) script.shut_down_at_turn = 1 + static_cast<int>(random() % 60);
  if (one_in(10)) script.client_reads_from_turn = static_cast<int>(20 + random() % 150);
  if (one_in(10)) script.broker_reads_from_turn = static_cast<int>(20 + random() % 150);
  script.flips_a_byte = one_in(25);
  script.tickets = one_in(2);
  script.hangs_up = one_in(3);
  script.place_taken = one_in(30);
  if (!script.shut_down_at_turn && one_in(12)) script.leave_at_turn = 1 + static_cast<int>(random() % 120);
  return script;
}

// Nothing in this script, and nothing in the way, keeps a byte from arriving.
bool undisturbed(const Script& script, const World& world) {
  return script.standing <= Standing::First && !script.hangs_up && !script.cut_at_turn && !script.shut_down_at_turn &&
         !script.leave_at_turn && !script.flips_a_byte && script.client_reads_from_turn == 0 &&
         script.broker_reads_from_turn == 0 &&
         static_cast<unsigned>(script.broken_brokers + script.failing_brokers) < script.brokers &&
         world.host.was_served;
}

// Whether anything out of the ordinary happened in it.
bool run_one(std::uint64_t seed, bool broker_tls) {
  SCOPED_TRACE("SALLYPORT_SIM_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  Script script = draw(random);
  script.broker_tls = broker_tls;
  World world(script, seed);
  world.run();
  world.check();
  // What was received, whole and unharmed, arrives, whatever end there was but a cut and an end by the broker itself.
  // Where Sallyport stops, it is what had been decrypted by then, and the broker is given a second to take it.
  if (world.host.was_served && script.broker_end == BrokerEnd::AfterClient && world.host.ended_as != Cause::Cut) {
    if (world.host.ended_as != Cause::Shutdown) {
      EXPECT_GE(world.broker_got.size(), world.received_whole()) << "last words were lost: " << world.story();
      EXPECT_NE(world.host.ended_as, Cause::Timeout) << world.story();
      // In MQTT what was said tells what end it was; a stream that was cut off is passed on as one.
      const bool cut_off = script.tcp && world.host.ended_as != Cause::Closed;
      EXPECT_EQ(world.io.peer_sees_reset(world.host.broker), cut_off) << world.story();
    } else if (!broker_tls && (script.broker_reads_from_turn == 0 || world.left_served)) {  // ciphertext is more
      EXPECT_GE(world.broker_got.size(), world.accepted_at_shutdown) << "last words were lost: " << world.story();
    }
  }
  if (undisturbed(script, world) && script.broker_end == BrokerEnd::AfterClient) {
    if (script.client_end == ClientEnd::CloseNotify || script.client_end == ClientEnd::FinAlone) {
      EXPECT_TRUE(world.broker_got == world.client_sends) << "bytes were lost: " << world.story();
    }
    if (script.client_end == ClientEnd::CloseNotify) {
      EXPECT_TRUE(world.client_got == world.broker_sends) << "bytes were lost: " << world.story();
      EXPECT_EQ(world.broker_told, broker_tls) << "an orderly end has a close_notify";
      EXPECT_FALSE(world.io.peer_sees_reset(world.host.broker)) << "an orderly end became an abrupt one";
      EXPECT_EQ(world.host.ended_as, Cause::Closed);
    }
    if (script.client_end == ClientEnd::FinAlone) {
      EXPECT_EQ(world.host.ended_as, Cause::Reset) << "a truncated end was taken for an orderly one";
    }
  }
  if (undisturbed(script, world) && script.broker_end == BrokerEnd::Fin &&
      script.client_end == ClientEnd::WaitsForBroker) {
    EXPECT_TRUE(world.client_got == world.broker_sends) << "bytes were lost: " << world.story();
    EXPECT_TRUE(world.client->closed()) << "there was no close_notify";
  }
  if (world.broker_bytes_at_cut != SIZE_MAX) {
    EXPECT_LE(world.broker_got.size(), world.broker_bytes_at_cut + world.in_flight_at_cut)
        << "bytes passed after the cut";
    EXPECT_EQ(world.host.reason, Reason::DeviceInactive);
  }
  if (script.standing >= Standing::Pending || script.place_taken) {
    EXPECT_FALSE(world.host.was_served);
  }
  const bool ended_early = script.cut_at_turn || script.shut_down_at_turn || script.leave_at_turn ||
                           script.standing >= Standing::Pending || script.place_taken;
  return world.io.faults_made > 0 || ended_early;
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

class Simulation : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, Simulation, testing::Range<std::uint64_t>(0, 8));

TEST_P(Simulation, WhatIsSentArrivesAndNothingIsLeft) {
  const std::uint64_t alone = from_environment("SALLYPORT_SIM_SEED", UINT64_MAX);
  if (alone != UINT64_MAX) {
    if (alone % 8 == GetParam()) {
      (void)run_one(alone, false);
      (void)run_one(alone, true);
    }
    return;
  }
  const std::uint64_t runs = from_environment("SALLYPORT_SIM_RUNS", 1250);
  std::uint64_t eventful = 0;
  for (std::uint64_t i = 0; i < runs; ++i) {
    // Every fourth once more, with TLS to its brokers.
    if (i % 4 == 0) (void)run_one(i * 8 + GetParam(), true);
    if (HasFailure()) return;
    eventful += run_one(i * 8 + GetParam(), false) ? 1 : 0;
    if (HasFailure()) return;  // one seed is enough to look at
  }
  EXPECT_GE(eventful * 100, runs * 98) << "runs without a fault show nothing";
}

// A run that goes as the script says, faults of the kernel apart.
std::unique_ptr<World> play(const Script& script, std::uint64_t seed = 1) {
  auto world = std::make_unique<World>(script, seed);
  world->run();
  world->check();
  return world;
}

// What is refused in the handshake was only claimed, by whichever engine; what is refused later was proven.
TEST(Session, ACertificateIsClaimedUntilItsKeyIsProven) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Script script;
    script.version = version;
    for (const auto standing : {Standing::Refused, Standing::LostBeforeConnect, Standing::Pending}) {
      script.standing = standing;
      const auto world = play(script);
      EXPECT_TRUE(world->host.was_decided);
      EXPECT_EQ(world->host.was_proven, standing != Standing::Refused) << version;
    }
    // Its signature is broken on the way: the verdict was good, and nothing is proven.
    script.standing = Standing::Known;
    script.flips_a_byte = true;
    int unproven = 0;
    for (std::uint64_t seed = 1; seed <= 600 && unproven == 0; ++seed) {
      const auto world = play(script, seed);
      EXPECT_TRUE(world->host.was_proven || !world->host.was_served);
      unproven += world->host.was_decided && !world->host.was_proven ? 1 : 0;
    }
    EXPECT_GT(unproven, 0) << version;
  }
}

// Whatever a session is doing, one step takes it to its end, and nothing leads out of the end but the slab.
TEST(Session, EveryStateHasAWayToTheEnd) {
  using State = Session::State;
  for (auto at = static_cast<int>(State::Handshaking); at <= static_cast<int>(State::Halted); ++at) {
    EXPECT_TRUE(Session::may_become(static_cast<State>(at), State::Ending)) << at;
    EXPECT_FALSE(Session::may_become(State::Ending, static_cast<State>(at))) << at;
  }
  EXPECT_FALSE(Session::may_become(State::Halted, State::Forwarding));
  EXPECT_FALSE(Session::may_become(State::Handshaking, State::Forwarding));
  EXPECT_FALSE(Session::may_become(State::AwaitingConnect, State::Forwarding));
}

TEST(SessionDeathTest, AStateThatTheTableDoesNotHaveIsRefused) {
  Script script;
  World world(script, 1);
  EXPECT_DEATH(world.session.begin(world.host.parts, world.session.settings(), world.client_socket, {}), "may_become");
  world.run();
}

TEST(Session, AFirstConnectionIsOfferedAKnownOneSeen) {
  Script script;
  EXPECT_EQ(play(script)->host.seen_count, 1);
  script.standing = Standing::First;
  const auto first = play(script);
  EXPECT_EQ(first->host.offered, 1);
  EXPECT_EQ(first->host.seen_count, 0);
}

TEST(Session, AFullQueueIsAskedAgainWhileTheSessionLives) {
  Script script;
  script.standing = Standing::First;
  script.full_offers = 2;
  script.client_end = ClientEnd::WaitsForBroker;  // so nobody ends it
  World world(script, 1);
  for (int i = 0; i < 1000 && world.host.offered == 0; ++i) world.turn();
  EXPECT_EQ(world.host.offered, 1);
  EXPECT_GE(world.host.now_ms, 2000U);
  EXPECT_EQ(world.host.shard_counters().registrations_deferred.get(), 1U);
  world.session.cut(Reason::DeviceInactive);
  world.run();
  world.check();
}

TEST(Session, APendingDeviceIsOfferedAndRefusedAfterItsConnect) {
  Script script;
  script.standing = Standing::Pending;
  const auto world = play(script);
  EXPECT_EQ(world->host.reason, Reason::DevicePending);
  EXPECT_EQ(world->host.offered, 1);
  EXPECT_EQ(world->client_got, std::string("\x20\x02\0\x05", 4));
}

TEST(Session, StandingLostBeforeTheConnectEndsThere) {
  Script script;
  script.standing = Standing::LostBeforeConnect;
  const auto world = play(script);
  EXPECT_EQ(world->host.reason, Reason::DeviceInactive);
  EXPECT_EQ(world->host.offered + world->host.seen_count, 0);
}

TEST(Session, ADeviceWithoutAPlaceIsTold) {
  Script script;
  script.place_taken = true;
  for (const bool mqtt5 : {false, true}) {
    script.mqtt5 = mqtt5;
    const auto world = play(script);
    EXPECT_EQ(world->host.reason, Reason::TooManySessions);
    EXPECT_EQ(world->client_got, mqtt5 ? std::string("\x20\x03\0\x97\0", 5) : std::string("\x20\x02\0\x03", 4));
    EXPECT_TRUE(world->client->closed()) << "an orderly end";
    EXPECT_EQ(world->host.offered + world->host.seen_count, 0);
  }
  // Bytes alone have no word for it.
  script.mqtt5 = false;
  script.tcp = true;
  const auto world = play(script);
  EXPECT_EQ(world->host.reason, Reason::TooManySessions);
  EXPECT_TRUE(world->broker_got.empty() && world->client_got.empty());
}

// Whose last session ends between the handshake and the CONNECT has its place.
TEST(Session, APlaceThatBecomesFreeIsTaken) {
  Script script;
  script.place_taken = true;
  script.client_sends_from_turn = 60;
  World world(script, 1);
  while (world.session.state() == Session::State::Handshaking) ASSERT_TRUE(world.turn());
  ASSERT_EQ(world.session.state(), Session::State::AwaitingConnect);
  world.free_place();
  world.run();
  world.check();
  EXPECT_TRUE(world.host.was_served);
}

// More of them than are told why are let go at once.
TEST(Session, NotManyWaitToBeTold) {
  Script script;
  script.place_taken = true;
  World world(script, 1);
  const Digest device = world.host.verdict.identity->fingerprint;
  for (unsigned i = 0; i < DeviceSessions::kToBeTold; ++i) {
    ASSERT_EQ(world.host.device_enters(0, device, 1), DevicePlace::ToBeTold);
  }
  world.run();
  EXPECT_EQ(world.host.reason, Reason::TooManySessions);
  EXPECT_EQ(world.session.mqtt_version(), std::nullopt);
  EXPECT_TRUE(world.client_got.empty());
  for (unsigned i = 0; i < DeviceSessions::kToBeTold; ++i) {
    world.host.device_leaves(0, device, DevicePlace::ToBeTold);
  }
  world.check();
}

TEST(Session, NoBrokerIsAnswered) {
  Script script;
  script.brokers = 2;
  script.broken_brokers = 2;
  const auto world = play(script);
  EXPECT_EQ(world->host.reason, Reason::BrokerUnavailable);
  EXPECT_EQ(world->client_got, std::string("\x20\x02\0\x03", 4));
}

// What this machine lacks says nothing of a broker: none is taken for down, and the client is told to come back.
TEST(Session, RunningOutOfDescriptorsIsNoBrokersFault) {
  Script script;
  script.brokers = 2;
  for (const int error : {EMFILE, ENFILE, ENOBUFS}) {
    World world(script, 1);
    world.host.lacks = error;
    world.run();
    world.check();
    EXPECT_EQ(world.host.reason, Reason::BrokerUnavailable);
    EXPECT_EQ(world.client_got, std::string("\x20\x02\0\x03", 4));
    EXPECT_EQ(world.host.found_down(), 0);
  }
  // No local port is left towards one of them: the other one may be reached.
  World world(script, 1);
  world.io.refuse_connects = 1;
  world.io.refuse_with = EADDRNOTAVAIL;
  world.run();
  world.check();
  EXPECT_TRUE(world.host.was_served);
  EXPECT_EQ(world.host.found_down(), 0);
  World refused(script, 1);
  refused.io.refuse_connects = 1;
  refused.run();
  EXPECT_EQ(refused.host.found_down(), 1) << "who refuses is down";
}

// A client that only wants a ticket, as with `openssl s_client -sess_out`, need not say anything for it.
TEST(Session, ATicketWaitsForNobody) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Script script;
    script.tickets = true;
    script.version = version;
    script.client_sends_from_turn = 1000;
    World world(script, 1);
    for (int i = 0; i < 200 && !world.client_has_ticket(); ++i) world.turn();
    EXPECT_TRUE(world.client_has_ticket()) << "TLS " << version;
    EXPECT_EQ(world.session.state(), Session::State::AwaitingConnect);
    world.session.cut(Reason::DeviceInactive);
    world.run();
    world.check();
  }
}

TEST(Session, TheSecondBrokerServesWhereTheFirstIsDead) {
  Script script;
  script.brokers = 2;
  script.broken_brokers = 1;
  const auto world = play(script);
  EXPECT_TRUE(world->host.was_served);
  EXPECT_TRUE(world->broker_got == world->client_sends);
}

constexpr std::array kEachFailing = {Script::Failing::Closes, Script::Failing::Resets, Script::Failing::Silent,
                                     Script::Failing::Unavailable, Script::Failing::Rubbish};

// A broker that takes the CONNECT and does not answer it is left for the next, which gets the very same bytes.
TEST(Session, ABrokerThatDoesNotAnswerIsLeftForTheNext) {
  constexpr std::array kFaults = {BrokerFault::Closed, BrokerFault::Closed, BrokerFault::Silent,
                                  BrokerFault::Unavailable, BrokerFault::NotMqtt};
  for (std::size_t i = 0; i < kEachFailing.size(); ++i) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Script script;
      script.brokers = 3;
      script.failing_brokers = 2;
      script.failing = kEachFailing[i];
      script.mqtt5 = seed % 2 == 0;
      World world(script, seed);
      world.run();
      world.check();
      EXPECT_TRUE(world.host.was_served) << world.story();
      EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
      EXPECT_TRUE(world.client_got == world.broker_sends) << world.story();
      EXPECT_EQ(world.host.faults, std::vector(2, kFaults[i]));
      EXPECT_EQ(world.host.blamed_proven, 2) << "another took the very same CONNECT";
      EXPECT_EQ(world.host.blamed, 0);
      EXPECT_EQ(world.host.shard_counters().failovers.get(), 2U);
      if (HasFailure()) return;
    }
  }
}

TEST(Session, WhereNoBrokerAnswersTheClientIsTold) {
  for (const auto failing : kEachFailing) {
    for (const bool mqtt5 : {false, true}) {
      Script script;
      script.brokers = script.failing_brokers = 2;
      script.failing = failing;
      script.mqtt5 = mqtt5;
      const auto world = play(script);
      EXPECT_EQ(world->host.reason, Reason::BrokerUnavailable);
      EXPECT_FALSE(world->host.was_served);
      EXPECT_EQ(world->client_got, mqtt5 ? std::string("\x20\x03\0\x88\0", 5) : std::string("\x20\x02\0\x03", 4));
      EXPECT_TRUE(world->client->closed());
      EXPECT_EQ(world->host.blamed, 2) << "it may be the CONNECT that is at fault";
      EXPECT_EQ(world->host.blamed_proven, 0);
    }
  }
}

// What a broker says of the client is the client's to hear, whatever it is; nobody else is asked.
TEST(Session, ARefusalIsTheBrokersWord) {
  const std::array<std::pair<bool, std::string>, 6> words = {{{false, std::string("\x20\x02\0\x05", 4)},
                                                              {false, std::string("\x20\x02\0\x02", 4)},
                                                              {true, std::string("\x20\x03\0\x87\0", 5)},
                                                              {true, std::string("\x20\x02\0\x01", 4)},
                                                              {true, std::string("\x20\x03\0\x97\0", 5)},
                                                              {true, std::string("\xF0\0", 2)}}};
  for (const auto& [mqtt5, word] : words) {
    Script script;
    script.brokers = 2;
    script.mqtt5 = mqtt5;
    script.client_bytes = 1;
    World world(script, 3);
    world.broker_sends = word;
    world.run();
    world.check();
    EXPECT_TRUE(world.host.was_served);
    EXPECT_EQ(world.client_got, word);
    EXPECT_TRUE(world.host.faults.empty());
  }
}

// The client has said all and is gone before any broker answered: the one that does gets it, in order.
TEST(Session, WhoLeavesWhileABrokerIsAskedIsHeard) {
  for (const auto failing : kEachFailing) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Script script;
      script.brokers = 2;
      script.failing_brokers = 1;
      script.failing = failing;
      script.client_end = seed % 2 == 0 ? ClientEnd::FinAlone : ClientEnd::CloseNotify;
      script.hangs_up = true;
      script.client_bytes = 20'000;
      World world(script, seed);
      world.run();
      world.check();
      EXPECT_TRUE(world.host.was_served) << world.story();
      EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
      EXPECT_FALSE(world.io.peer_sees_reset(world.host.broker));
      if (HasFailure()) return;
    }
  }
}

// Nobody waits for an answer any more: it does not hold its place until each of many silent brokers was asked.
TEST(Session, WhoHasLeftIsNotTakenToEverySilentBroker) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Script script;
    script.brokers = script.failing_brokers = 6;
    script.failing = Script::Failing::Silent;
    script.client_end = seed % 2 == 0 ? ClientEnd::FinAlone : ClientEnd::CloseNotify;
    script.hangs_up = true;
    World world(script, seed);
    world.run();
    world.check();
    EXPECT_LE(world.brokers_met, 3) << world.story();
    EXPECT_GE(world.brokers_met, 2) << world.story();
    EXPECT_EQ(world.host.reason, Reason::BrokerUnavailable);
    EXPECT_EQ(world.host.what, "the client left before a broker answered");
    if (HasFailure()) return;
  }
}

// What is kept for the next broker is bounded, and the rest comes when one has answered.
TEST(Session, AClientThatDoesNotWaitForItsConnackIsHeldBack) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Script script;
    script.brokers = 2;
    script.failing_brokers = 1;
    script.failing = Script::Failing::Silent;
    script.client_bytes = 300'000;
    World world(script, seed);
    std::size_t held = 0;
    while (world.turn()) {
      if (world.session.state() == Session::State::Asking) held = std::max(held, world.session.to_broker_held());
    }
    world.check();
    EXPECT_GE(held, Session::kHighWater);
    EXPECT_LE(held, Session::kHighWater + 40 * 1024);
    EXPECT_TRUE(world.host.was_served) << world.story();
    EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
    if (HasFailure()) return;
  }
}

TEST(Session, ACutWhileABrokerIsAskedReachesNoOther) {
  for (const bool mqtt5 : {false, true}) {
    Script script;
    script.brokers = 2;
    script.failing_brokers = 1;
    script.failing = Script::Failing::Silent;
    script.mqtt5 = mqtt5;
    World world(script, 3);
    while (world.session.state() != Session::State::Asking || world.broker_got.empty()) ASSERT_TRUE(world.turn());
    world.session.cut(Reason::DeviceRevoked);
    world.run();
    world.check();
    EXPECT_EQ(world.host.connected, 1);
    EXPECT_EQ(world.host.reason, Reason::DeviceRevoked);
    EXPECT_TRUE(world.io.peer_sees_reset(world.host.broker));
    EXPECT_EQ(world.client_got.substr(0, 1), "\x20") << "it is told in a CONNACK";
  }
}

// A server in slow start: the session waits its turn, and where that is too far it is told to come back.
TEST(Session, ASessionWaitsForAServerInSlowStart) {
  World waits({}, 1);
  waits.host.wait_us = 700'000;
  while (waits.session.state() != Session::State::Connecting) ASSERT_TRUE(waits.turn());
  const std::uint64_t began_ms = waits.host.now_ms;
  while (waits.host.connected == 0) ASSERT_TRUE(waits.turn());
  EXPECT_GE(waits.host.now_ms - began_ms, 650U);
  waits.run();
  waits.check();
  EXPECT_TRUE(waits.host.was_served);
  EXPECT_EQ(waits.host.shard_counters().slow_started.get(), 1U);
  World too_long({}, 1);
  too_long.host.wait_us = 3'000'000;
  too_long.run();
  too_long.check();
  EXPECT_EQ(too_long.host.reason, Reason::BrokerUnavailable);
  EXPECT_EQ(too_long.client_got, std::string("\x20\x02\0\x03", 4));
  World cut({}, 1);
  cut.host.wait_us = 1'500'000;
  while (cut.session.state() != Session::State::Connecting) ASSERT_TRUE(cut.turn());
  cut.session.cut(Reason::DeviceRevoked);
  cut.run();
  cut.check();
  EXPECT_EQ(cut.host.connected, 0);
}

// Where one source address has no port left, the next is tried before the next server.
TEST(Session, EverySourceAddressIsTried) {
  World world({}, 1);
  world.host.sources = 3;
  world.io.refuse_connects = 2;
  world.io.refuse_with = EADDRNOTAVAIL;
  world.run();
  world.check();
  EXPECT_TRUE(world.host.was_served);
  EXPECT_EQ(world.host.shortages, std::vector(2, EADDRNOTAVAIL));
  EXPECT_TRUE(world.host.faults.empty());
}

// Neither peer reads: the session holds a bounded part and leaves the rest where it came from.
TEST(Session, ASlowBrokerStopsItsPublisher) {
  Script script;
  script.client_bytes = 1'000'000;
  script.broker_reads_from_turn = 1'000'000;
  World world(script, 7);
  for (int i = 0; i < 400; ++i) world.turn();
  EXPECT_LE(world.most_held, 256U * 1024);
  EXPECT_GT(world.io.unread_by_session(world.client_socket), 500'000U) << "the client was read without bound";
  world.session.cut(Reason::DeviceInactive);
  world.run();
}

TEST(Session, ASlowSubscriberStopsItsBroker) {
  Script script;
  script.broker_bytes = 1'000'000;
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 7);
  for (int i = 0; i < 60; ++i) world.turn();
  world.script.client_reads_from_turn = 1'000'000;
  world.io.faults.window = 1;
  for (int i = 0; i < 400; ++i) world.turn();
  EXPECT_LE(world.most_held, 256U * 1024);
  EXPECT_GT(world.io.unread_by_session(world.host.broker), 300'000U) << "the broker was read without bound";
  world.session.cut(Reason::DeviceInactive);
  world.run();
}

// How much is read at once, for little is to be held for a side that takes it in parts.
TEST(Session, AStreamIsReadInTheLargestPiecesOnceItIsTakenWhole) {
  for (const bool up : {true, false}) {
    for (const bool whole : {true, false}) {
      SCOPED_TRACE(std::string(up ? "up" : "down") + (whole ? ", taken whole" : ", taken in parts"));
      Script script;
      (up ? script.client_bytes : script.broker_bytes) = 6'000'000;
      script.client_end = up ? ClientEnd::CloseNotify : ClientEnd::WaitsForBroker;
      World world(script, 11);
      world.io.faults = {.short_sends = whole ? 0.0 : 1.0, .no_buffers = 0, .window = 16 << 20};
      for (int i = 0; i < 2000; ++i) world.turn();
      world.session.cut(Reason::DeviceInactive);
      world.run();
      EXPECT_GT(world.io.most_read, 16U * 1024) << "it was a stream";
      EXPECT_EQ(world.io.most_read > 32U * 1024, whole) << world.io.most_read;
    }
  }
}

// A client that says all it has and hangs up, at a broker that takes nothing yet.
Script last_words(bool tcp = false) {
  Script script;
  script.client_bytes = 20'000;
  script.broker_bytes = 0;
  script.client_end = ClientEnd::FinAlone;
  script.hangs_up = true;
  script.broker_reads_from_turn = 1'000'000;
  script.tcp = tcp;
  return script;
}

// Until nothing happens any more: what the broker's socket takes is full, and the client has said all.
void let_it_stall(World& world) {
  world.io.faults.window = 4096;
  for (int i = 0; i < 300; ++i) world.turn();
  EXPECT_EQ(world.client_sent, world.client_sends.size());
}

void broker_takes(World& world, std::size_t bytes) {
  world.broker_got += world.io.peer_reads(world.host.broker, bytes);
}

// However long a broker takes, as long as it takes something.
TEST(Session, ASlowBrokerGetsTheLastWords) {
  for (const bool tcp : {false, true}) {
    Script script = last_words(tcp);
    script.client_bytes = 200'000;  // most of it still to be read from its socket
    World world(script, 21);
    let_it_stall(world);
    while (world.session.is_live() && world.host.now_ms < 10'000'000) {
      const std::uint64_t next = world.host.now_ms + 20'000;
      while (world.host.now_ms < next && world.turn()) {
      }
      broker_takes(world, 2000);
      if (world.io.peer_sees_end(world.host.broker) && world.io.unsent(world.host.broker) == 0) {
        world.io.peer_ends(world.host.broker);
      }
    }
    world.run();
    world.check();
    EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
    EXPECT_EQ(world.host.ended_as, Cause::Reset);
    EXPECT_EQ(world.io.peer_sees_reset(world.host.broker), tcp);
  }
}

// A broker that hangs holds nobody for ever, whatever end the client had.
TEST(Session, ABrokerThatHangsIsGivenUp) {
  for (const auto end : {ClientEnd::FinAlone, ClientEnd::Reset, ClientEnd::CloseNotify, ClientEnd::Rubbish}) {
    for (const std::size_t window : {std::size_t{4096}, std::size_t{1} << 20}) {
      Script script = last_words();
      script.client_end = end;
      World world(script, 22);
      world.io.faults.window = window;
      world.run();
      world.check();
      EXPECT_EQ(world.host.ended_as, Cause::Timeout) << static_cast<int>(end);
      EXPECT_GE(world.host.now_ms, 30'000U);
      EXPECT_LE(world.host.now_ms, 90'000U);
      // What the kernel has already is the broker's, and stays so.
      EXPECT_EQ(world.io.peer_sees_reset(world.host.broker), window == 4096) << static_cast<int>(end);
    }
  }
}

// Its client is gone, and it is cut all the same: what the broker has not got yet it never gets.
TEST(Session, ACutDropsTheLastWords) {
  World world(last_words(), 23);
  let_it_stall(world);
  ASSERT_EQ(world.session.state(), Session::State::Delivering);
  EXPECT_FALSE(world.host.index().empty()) << "a cut must find it";
  broker_takes(world, SIZE_MAX);
  const std::size_t most = world.broker_got.size() + world.io.sending_bytes(world.host.broker);
  world.session.cut(Reason::DeviceRevoked);
  EXPECT_TRUE(world.host.index().empty());
  world.script.broker_reads_from_turn = 0;
  world.run();
  world.check();
  EXPECT_LE(world.broker_got.size(), most);
  EXPECT_EQ(world.host.ended_as, Cause::Cut);
  EXPECT_TRUE(world.io.peer_sees_reset(world.host.broker));
}

// Sallyport stops: what it has taken from the client goes out, and a broker that takes nothing does not keep it.
TEST(Session, StoppingWaitsASecondForTheBroker) {
  for (const bool gone : {true, false}) {
    for (const bool takes : {true, false}) {
      Script script = last_words();
      if (!gone) script.client_end = ClientEnd::WaitsForBroker;
      World world(script, 24);
      let_it_stall(world);
      ASSERT_EQ(world.session.state(), gone ? Session::State::Delivering : Session::State::Forwarding);
      const std::size_t held = world.session.to_broker_held();
      EXPECT_GT(held, 10'000U);
      broker_takes(world, SIZE_MAX);
      const std::size_t before = world.broker_got.size();
      const std::uint64_t since = world.host.now_ms;
      world.session.shut_down();
      if (takes) world.script.broker_reads_from_turn = 0;
      world.run();
      world.check();
      EXPECT_LE(world.host.now_ms, since + 3000);
      if (takes) {
        EXPECT_GE(world.broker_got.size(), before + held);
      } else {
        EXPECT_LT(world.broker_got.size(), before + held);
        EXPECT_EQ(world.host.ended_as, Cause::Shutdown);
      }
    }
  }
}

// All in one flight, and gone before the broker was reached; what the client's connection says of it does not matter.
TEST(Session, WhoLeavesBeforeTheBrokerIsReachedIsHeard) {
  for (const auto end : {ClientEnd::FinAlone, ClientEnd::Reset, ClientEnd::CloseNotify, ClientEnd::Rubbish}) {
    for (std::uint64_t seed = 1; seed < 40; ++seed) {
      Script script;
      script.version = seed % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
      script.client_end = end;
      script.hangs_up = true;
      script.tickets = seed % 3 == 0;  // which meet a closed socket
      World world(script, seed);
      world.io.hold_connects = true;
      for (int i = 0; i < 100 && !world.client_finished; ++i) world.turn();
      for (int i = 0; i < 20; ++i) world.turn();
      if (end != ClientEnd::Reset) {
        EXPECT_EQ(world.session.state(), Session::State::Connecting) << world.story();
      }
      world.io.hold_connects = false;
      world.run();
      world.check();
      EXPECT_GE(world.broker_got.size(), world.received_whole()) << world.story();
      EXPECT_FALSE(world.io.peer_sees_reset(world.host.broker));
      if (end != ClientEnd::Reset) {
        EXPECT_TRUE(world.broker_got == world.client_sends) << world.story();
      }
      if (HasFailure()) return;
    }
  }
}

// It has done its part of the handshake, said all and reset the connection before our turn for a step has come.
TEST(Session, WhoLeavesBeforeItsHandshakeStepIsHeard) {
  int heard = 0;
  for (std::uint64_t seed = 1; seed < 40; ++seed) {
    Script script;
    script.version = TLS1_3_VERSION;
    script.client_end = ClientEnd::Reset;
    script.hangs_up = true;
    World world(script, seed);
    world.io.faults.no_buffers = 0;
    while (!SSL_is_init_finished(world.client->ssl()) && world.turn()) {
    }
    world.host.hold_handshakes = true;
    for (int i = 0; i < 20; ++i) world.turn();
    world.host.hold_handshakes = false;
    world.run();
    world.check();
    EXPECT_GE(world.broker_got.size(), world.received_whole()) << world.story();
    heard += world.host.was_served ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(heard, 5);
}

TEST(Session, ACutInEveryTurnOfItsLifeLeavesNothingBehind) {
  for (int turn = 1; turn < 120; ++turn) {
    for (const Standing standing : {Standing::Known, Standing::First}) {
      Script script;
      script.standing = standing;
      script.client_bytes = script.broker_bytes = 60'000;
      script.cut_at_turn = turn;
      World world(script, static_cast<std::uint64_t>(turn));
      world.run();
      world.check();
      if (world.broker_bytes_at_cut != SIZE_MAX) {
        EXPECT_LE(world.broker_got.size(), world.broker_bytes_at_cut + world.in_flight_at_cut)
            << "cut at turn " << turn;
      } else if (world.host.reason == Reason::DeviceInactive) {
        EXPECT_TRUE(world.broker_got.empty()) << "cut before it was indexed, at turn " << turn;
      }
      if (HasFailure()) return;
    }
  }
}

// Where the packets in `bytes` end; the last is bytes.size() if nothing is left over.
std::vector<std::size_t> packet_ends(const std::string& bytes) {
  std::vector<std::size_t> ends{0};
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t length = 0, i = at + 1;
    for (int shift = 0; i < bytes.size(); shift += 7) {
      const auto digit = static_cast<unsigned char>(bytes[i++]);
      length |= static_cast<std::size_t>(digit & 0x7F) << shift;
      if (digit < 0x80) break;
    }
    at = i + length;
    if (at > bytes.size()) return ends;
    ends.push_back(at);
  }
  return ends;
}

// Whenever the cut comes: what the client gets is the broker's own packets, and a DISCONNECT follows only a whole
// one. Beyond what had been taken from the broker by then it gets at most the rest of the packet it was in.
TEST(Session, AnMqtt5ClientIsToldAtAPacketBoundary) {
  int told = 0;
  for (int turn = 1; turn < 250; ++turn) {
    Script script;
    script.mqtt5 = true;
    script.client_end = ClientEnd::WaitsForBroker;
    script.broker_bytes = 100'000;
    script.cut_at_turn = turn;
    World world(script, static_cast<std::uint64_t>(turn));
    world.run();
    world.check();
    if (world.broker_bytes_at_cut == SIZE_MAX || !world.host.was_served) continue;
    const std::string disconnect("\xE0\x01\x98", 3);
    std::string got = world.client_got;
    const bool says =
        got.size() >= 3 && got.compare(got.size() - 3, 3, disconnect) == 0 && packet_ends(got).back() == got.size();
    if (says) got.resize(got.size() - 3);
    EXPECT_TRUE(world.broker_sends.compare(0, got.size(), got) == 0)
        << "other bytes than the broker sent, turn " << turn;
    if (says) {
      ++told;
      EXPECT_EQ(packet_ends(got).back(), got.size()) << "a DISCONNECT inside a packet, turn " << turn;
      EXPECT_TRUE(world.client->closed());
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(told, 50);
}

// A client that reads slowly, and whose kernel has no more room: what was on its way still arrives, so the packet it is
// in is whole and it is told. It must go on reading: one that does not is let go a second later.
TEST(Session, ASlowMqtt5ClientIsToldAsWell) {
  int told = 0, in_flight = 0;
  for (int turn = 20; turn < 140; ++turn) {
    Script script;
    script.mqtt5 = true;
    script.client_end = ClientEnd::WaitsForBroker;
    script.client_bytes = 0;
    script.broker_bytes = 150'000;
    script.client_reads_from_turn = turn;  // so its kernel has little room
    script.cut_at_turn = turn;
    World world(script, static_cast<std::uint64_t>(turn));
    world.script.client_reads_from_turn = 0;  // but for its handshake
    while (world.session.state() < Session::State::Forwarding && world.turn()) {
    }
    world.script.client_reads_from_turn = turn;
    while (world.turns + 1 < turn && world.turn()) {
    }
    in_flight += world.io.sending_bytes(world.client_socket) > 0 ? 1 : 0;
    world.run();
    world.check();
    if (world.broker_bytes_at_cut == SIZE_MAX || !world.host.was_served) continue;
    const std::string& got = world.client_got;
    told += got.size() >= 3 && got.compare(got.size() - 3, 3, "\xE0\x01\x98") == 0 && world.client->closed() ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(in_flight, 110);
  EXPECT_GT(told, 110);
  Script script;
  script.mqtt5 = true;
  script.client_end = ClientEnd::WaitsForBroker;
  script.broker_bytes = 150'000;
  World deaf(script, 7);
  while (deaf.session.state() < Session::State::Forwarding && deaf.turn()) {
  }
  deaf.script.client_reads_from_turn = 1'000'000;
  deaf.io.faults.window = 1024;
  for (int i = 0; i < 100; ++i) deaf.turn();
  const std::uint64_t cut_ms = deaf.host.now_ms;
  deaf.session.cut(Reason::DeviceRevoked);
  while (deaf.host.over_count == 0 && deaf.host.now_ms - cut_ms < 5'000 && deaf.turn()) {
    if (deaf.turns % 4 == 0) deaf.io.peer_reads(deaf.client_socket, 1);  // a byte now and then is no reason to wait
  }
  EXPECT_LE(deaf.host.now_ms - cut_ms, 1'200U) << "nobody waits for it any longer";
  deaf.run();
  deaf.check();
}

// The broker was not read while the client took nothing, so the end of a long packet is still with it.
TEST(Session, TheRestOfAPacketIsAskedOfAPausedBroker) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Script script;
    script.mqtt5 = true;
    script.client_end = ClientEnd::WaitsForBroker;
    script.client_bytes = 0;
    World world(script, seed);
    world.io.faults.late = 0;
    const std::string packet = std::string("\x30\xC4\xEA\x04", 4) + std::string(79'172, 'p');
    world.broker_sends = connack(true) + packet;
    while (world.session.state() < Session::State::Forwarding && world.turn()) {
    }
    world.script.client_reads_from_turn = 1'000'000;
    world.io.faults.window = 1'024;
    for (int i = 0; i < 200; ++i) world.turn();
    ASSERT_GT(world.io.unread_by_session(world.host.broker), 0U) << "its broker is paused";
    world.script.client_reads_from_turn = 0;
    world.io.faults.window = 1 << 20;
    world.session.cut(Reason::DeviceRevoked);
    world.run();
    ASSERT_EQ(world.client_got.size(), connack(true).size() + packet.size() + 3) << seed;
    EXPECT_TRUE(world.client_got == connack(true) + packet + "\xE0\x01\x98");
  }
}

TEST(Session, AnIdleMqtt5ClientIsAlwaysTold) {
  Script script;
  script.mqtt5 = true;
  script.client_end = ClientEnd::WaitsForBroker;
  script.client_bytes = 0;
  script.broker_bytes = 10;
  World world(script, 5);
  for (int i = 0; i < 200; ++i) world.turn();
  ASSERT_EQ(world.session.state(), Session::State::Forwarding);
  world.session.cut(Reason::DeviceRevoked);
  EXPECT_TRUE(world.host.index().empty()) << "a halted session is listed no more";
  world.run();
  ASSERT_GE(world.client_got.size(), 3U);
  EXPECT_EQ(world.client_got.substr(world.client_got.size() - 3), std::string("\xE0\x01\x98", 3));
  EXPECT_EQ(world.host.reason, Reason::DeviceRevoked);
  EXPECT_EQ(world.host.ended_as, Cause::Cut);
  EXPECT_TRUE(world.io.peer_sees_reset(world.host.broker)) << "the broker must publish the Will";
}

// An MQTT 5 session that has been given a CONNACK and `first` of the broker's bytes.
std::unique_ptr<World> served_with(const std::string& first) {
  Script script;
  script.mqtt5 = true;
  script.client_end = ClientEnd::WaitsForBroker;
  script.client_bytes = 0;
  auto world = std::make_unique<World>(script, from_environment("SALLYPORT_SIM_SEED", 5));
  // Who does not take a whole record, or not in time, is rightly given no DISCONNECT.
  world->io.faults.short_sends = world->io.faults.late = 0;
  world->broker_sends = connack(true) + first;
  for (int i = 0; i < 200; ++i) world->turn();
  EXPECT_EQ(world->session.state(), Session::State::Forwarding);
  EXPECT_EQ(world->client_got, connack(true) + first);
  return world;
}

std::unique_ptr<World> cut_after(const std::string& first) {
  auto world = served_with(first);
  world->session.cut(Reason::DeviceRevoked);
  return world;
}

// Sallyport drains: as a cut, at a packet's end, and in other words.
TEST(Session, WhoIsAskedToLeaveIsToldWhereTo) {
  const std::string open_packet =
      "\x30\x06"
      "abc";
  for (const std::string elsewhere : {"", "b:8883"}) {
    auto world = served_with(open_packet);
    world->upstream.server_reference = elsewhere;
    world->session.leave();
    EXPECT_EQ(world->session.state(), Session::State::Halted) << "it waits for the packet's end";
    world->io.peer_writes(world->host.broker, "def\x30\x03xyz");
    world->run();
    EXPECT_EQ(world->client_got,
              connack(true) + open_packet + "def" +
                  (elsewhere.empty() ? "\xE0\x01\x8B" : std::string("\xE0\x0B\x9C\x09\x1C\0\x06", 7) + elsewhere));
    EXPECT_TRUE(world->client->closed());
    EXPECT_EQ(world->host.ended_as, Cause::Shutdown);
  }
}

// A drain has time: a broker that is slow still gets what was sent, where one that stops at once would give up.
TEST(Session, WhoLeavesIsHeardByASlowBroker) {
  Script script = last_words();
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 24);
  let_it_stall(world);
  ASSERT_EQ(world.session.state(), Session::State::Forwarding);
  broker_takes(world, SIZE_MAX);
  const std::size_t held = world.session.to_broker_held(), before = world.broker_got.size();
  EXPECT_GT(held, 10'000U);
  world.session.leave();
  const std::uint64_t since = world.host.now_ms;
  while (world.host.now_ms < since + 5'000) world.turn();
  EXPECT_EQ(world.host.over_count, 0) << "a second is not all it gets";
  world.script.broker_reads_from_turn = 0;
  world.run();
  world.check();
  EXPECT_GE(world.broker_got.size(), before + held);
  EXPECT_EQ(world.host.ended_as, Cause::Shutdown);
}

TEST(Session, TheRestOfAnOpenPacketStillComesAndNothingBehindIt) {
  auto world = cut_after(
      "\x30\x06"
      "abc");
  EXPECT_EQ(world->session.state(), Session::State::Halted) << "it waits for the packet's end";
  world->io.peer_writes(world->host.broker, "def\x30\x03xyz");
  world->run();
  EXPECT_EQ(world->client_got, connack(true) +
                                   "\x30\x06"
                                   "abcdef\xE0\x01\x98");
  EXPECT_TRUE(world->client->closed());
}

TEST(Session, APacketThatIsNotFinishedInTimeIsFollowedByNoDisconnect) {
  auto world = cut_after(
      "\x30\x06"
      "abc");
  world->run();
  EXPECT_EQ(world->client_got, connack(true) +
                                   "\x30\x06"
                                   "abc");
  EXPECT_TRUE(world->client->closed());
  EXPECT_EQ(world->host.ended_as, Cause::Cut);
}

// Closing may wait; nothing passes meanwhile, in either direction.
TEST(Session, AHaltedSessionPassesNothingUntilItsTurnComes) {
  Script script;
  script.client_bytes = script.broker_bytes = 400'000;
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 11);
  world.host.paced = true;
  while (world.client_got.size() < 50'000) world.turn();
  world.broker_got += world.io.peer_reads(world.host.broker, SIZE_MAX);
  const std::size_t sent_up = world.broker_got.size() + world.io.sending_bytes(world.host.broker);
  const std::size_t taken = world.broker_sent;
  world.session.cut(Reason::CaInactive);
  for (int i = 0; i < 300; ++i) world.turn();
  EXPECT_EQ(world.session.state(), Session::State::Halted);
  EXPECT_EQ(world.host.over_count, 0);
  EXPECT_LE(world.broker_got.size(), sent_up);
  EXPECT_LE(world.client_got.size(), taken);
  const std::size_t before = world.client_got.size();
  for (int i = 0; i < 100; ++i) world.turn();
  EXPECT_EQ(world.client_got.size(), before);
  world.session.farewell();
  world.run();
  EXPECT_EQ(world.host.over_count, 1);
  EXPECT_EQ(world.host.reason, Reason::CaInactive);
  EXPECT_EQ(world.io.open_sockets(), 0);
}

TEST(Session, ASessionEndsWhenItsStandingDoes) {
  Script script;
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 9);
  world.host.verdict.good_until = world.host.unix_now() + 2;
  while (world.session.state() != Session::State::Forwarding) world.turn();
  world.host.standing = Reason::Expired;
  world.run();
  EXPECT_EQ(world.host.reason, Reason::Expired);
  EXPECT_EQ(world.host.ended_as, Cause::Cut);
}

// A chain that moved, or a clock that was set: it looks again, and goes on where standing holds.
TEST(Session, ASessionWhoseStandingHoldsIsLookedAtAgain) {
  Script script;
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 9);
  world.host.verdict.good_until = world.host.unix_now() + 1;
  const int rechecks = world.host.rechecks;
  const std::uint64_t until = world.host.now_ms + 70'000;
  while (world.host.now_ms < until) world.turn();
  EXPECT_EQ(world.session.state(), Session::State::Forwarding);
  EXPECT_GT(world.host.rechecks, rechecks + 2);
  world.session.cut(Reason::DeviceInactive);
  world.run();
}

// Whoever sets the clock back gives no session time, and cuts none.
TEST(Session, AClockThatIsSetBackGivesNoTime) {
  Script script;
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 9);
  world.host.ends_by_date = true;
  world.host.verdict.good_until = world.host.unix_now() + 100;
  while (world.session.state() != Session::State::Forwarding) world.turn();
  const std::uint64_t admitted = world.host.now_ms;
  world.host.set_by = -20LL * 365 * 86400;
  world.session.look_again();
  while (world.host.now_ms < admitted + 90'000) world.turn();
  EXPECT_EQ(world.session.state(), Session::State::Forwarding);
  const std::uint64_t until = admitted + 110'000;
  while (world.host.now_ms < until && world.turn()) {
  }
  world.run();
  EXPECT_EQ(world.host.reason, Reason::Expired);
  EXPECT_EQ(world.host.ended_as, Cause::Cut);
  EXPECT_LE(world.host.now_ms, until + 5'000);
}

// Forward, across its end: the look that follows ends it, long before its timer would.
TEST(Session, AClockThatIsSetForwardEndsIt) {
  Script script;
  script.client_end = ClientEnd::WaitsForBroker;
  World world(script, 9);
  world.host.ends_by_date = true;
  world.host.verdict.good_until = world.host.unix_now() + 30LL * 86400;
  while (world.session.state() != Session::State::Forwarding) world.turn();
  world.session.look_again();
  EXPECT_EQ(world.session.state(), Session::State::Forwarding);
  world.host.set_by = 365LL * 86400;
  world.session.look_again();
  world.run();
  EXPECT_EQ(world.host.reason, Reason::Expired);
  EXPECT_LE(world.host.now_ms, 10'000U);
}

// No byte either way for idle_timeout, and at most a quarter more; each byte begins it anew. What the broker sees is an
// end without a DISCONNECT, so it publishes the Will; a stream of bytes is cut off.
TEST(Session, AnIdleSessionEnds) {
  for (const bool tcp : {false, true}) {
    for (const bool from_broker : {false, true}) {
      Script script;
      script.client_end = ClientEnd::WaitsForBroker;
      script.tcp = tcp;
      script.idle_timeout = std::chrono::seconds(8);
      World world(script, 9);
      const auto passed = [&] { return world.client_got.size() + world.broker_got.size(); };
      const std::uint64_t speaks_until = 60'000;
      std::uint64_t last_ms = 0, spoke_ms = 0;
      while (world.host.over_count == 0) {
        const std::size_t before = passed();
        if (world.session.state() == Session::State::Forwarding && world.host.now_ms - spoke_ms > 6'000 &&
            world.host.now_ms < speaks_until && before >= world.client_sends.size() + world.broker_sends.size()) {
          spoke_ms = world.host.now_ms;
          if (from_broker) {
            world.io.peer_writes(world.host.broker, "x");
          } else {
            world.client_sends += "x";
          }
        }
        if (!world.turn()) break;
        if (passed() != before) last_ms = world.host.now_ms;
      }
      EXPECT_EQ(world.host.ended_as, Cause::Timeout);
      EXPECT_GT(last_ms, speaks_until - 8'000) << "it was quiet for less, again and again";
      EXPECT_GE(world.host.now_ms - last_ms, 7'800U);
      EXPECT_LE(world.host.now_ms - last_ms, 10'500U);
      if (from_broker) world.broker_sends = world.client_got;  // what the test wrote is said, too
      world.broker_sent = world.broker_sends.size();
      world.run();
      world.check();
      EXPECT_TRUE(world.broker_got == world.client_sends);
      EXPECT_TRUE(world.client->closed()) << "the client is told, too";
      EXPECT_EQ(world.io.peer_sees_reset(world.host.broker), tcp);
    }
  }
}

TEST(Session, SilenceIsTimedOut) {
  Script script;
  World world(script, 3);
  world.script.client_reads_from_turn = 1'000'000;  // the ServerHello is never answered
  world.io.faults.window = 1;
  world.run();
  EXPECT_EQ(world.host.reason, Reason::HandshakeTimeout);
}

}  // namespace
}  // namespace sallyport::test
