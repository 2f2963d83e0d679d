// What a session does where its device connects too often, too many register, or its certificate is used elsewhere,
// over a made-up kernel.
#include <gtest/gtest.h>

#include "tests/simulation/world.h"

namespace sallyport::test {
namespace {

using namespace std::string_literals;

const std::string kServerUnavailable = "\x20\2\0\3"s;  // CONNACK 0x03

// A session of the same device, at its CONNECT with this name.
DeviceUse another(World& world, const std::string& client_id) {
  DeviceUse use;
  const Digest& device = world.host.verdict.identity->fingerprint;
  EXPECT_EQ(world.host.device_sessions.enter(device, 0), DevicePlace::Taken);
  EXPECT_FALSE(world.host.device_sessions.use(device, {}, client_id, true, use));
  return use;
}
void leaves(World& world, const DeviceUse& use) {
  const Digest& device = world.host.verdict.identity->fingerprint;
  world.host.device_sessions.unuse(device, use);
  world.host.device_sessions.leave(device, DevicePlace::Taken);
}

TEST(StormSession, WhoConnectsTooOftenIsToldAtItsConnect) {
  for (const bool tcp : {false, true}) {
    Script script;
    script.tcp = tcp;
    World world(script, 1);
    world.host.too_often = true;
    world.config.max_connects_per_minute_per_device = 5;
    world.run();
    world.check();
    EXPECT_EQ(world.host.reason, Reason::RateLimited);
    EXPECT_EQ(world.host.what, "max_connects_per_minute_per_device");
    EXPECT_TRUE(world.host.was_proven) << "counted for who has the key, and nobody else";
    EXPECT_EQ(world.client_got, tcp ? "" : kServerUnavailable);
  }
}

// Whoever comes too often waits to be told as the others do: with a place of its device's, or as one of a few.
TEST(StormSession, ARateDoesNotSwitchTheLimitOff) {
  Script script;
  script.place_taken = true;
  World world(script, 1);
  world.host.too_often = true;
  world.config.max_connects_per_minute_per_device = 5;
  const Digest device = world.host.verdict.identity->fingerprint;
  for (unsigned i = 0; i < DeviceSessions::kToBeTold; ++i) {
    ASSERT_EQ(world.host.device_enters(0, device, 1), DevicePlace::ToBeTold);
  }
  world.run();
  EXPECT_EQ(world.host.reason, Reason::TooManySessions);
  EXPECT_EQ(world.session.mqtt_version(), std::nullopt) << "it is not waited for its CONNECT";
  for (unsigned i = 0; i < DeviceSessions::kToBeTold; ++i) {
    world.host.device_leaves(0, device, DevicePlace::ToBeTold);
  }
  world.check();
}

TEST(StormSession, WithoutALimitNobodyAsks) {
  World world(Script{}, 2);
  world.host.too_often = true;
  world.run();
  world.check();
  EXPECT_EQ(world.broker_got, world.client_sends);
}

TEST(StormSession, TooManyNewDevicesAreRefusedBeforeTheyAreRegistered) {
  for (const auto standing : {Script::Standing::First, Script::Standing::Pending}) {
    Script script;
    script.standing = standing;
    World world(script, 3);
    world.host.too_many_register = true;
    world.run();
    world.check();
    EXPECT_EQ(world.host.reason, Reason::RateLimited);
    EXPECT_EQ(world.host.what, "max_registrations_per_second_per_ca");
    EXPECT_EQ(world.host.offered, 0);
    EXPECT_EQ(world.client_got, kServerUnavailable);
  }
  World world(Script{}, 4);
  world.host.too_many_register = true;
  world.run();
  world.check();
  EXPECT_EQ(world.broker_got, world.client_sends) << "who is registered does not count";
}

TEST(StormSession, AClone) {
  for (const Clones clones : {Clones::Allow, Clones::Alert, Clones::RefuseNew, Clones::CutOld}) {
    for (const bool differs : {false, true}) {
      World world(Script{}, 5);
      world.config.clones = clones;
      world.config.max_sessions_per_device = 0;
      const DeviceUse use = another(world, differs ? "other" : "c");
      const bool refused = differs && clones == Clones::RefuseNew;
      const bool said = differs && (clones == Clones::Alert || clones == Clones::CutOld);
      world.run();
      leaves(world, use);
      world.check();
      EXPECT_EQ(world.host.reason, refused ? Reason::Clone : Reason::None);
      EXPECT_EQ(world.host.counters(0).clones.get(), differs ? 1U : 0U) << "counted whatever is done about it";
      EXPECT_EQ(world.host.clones_came, said ? 1 : 0);
      EXPECT_EQ(world.broker_got, refused ? "" : world.client_sends);
      if (refused) {
        EXPECT_EQ(world.client_got, kServerUnavailable);
      }
    }
  }
}

// Its device comes back at once, from wherever, while the broker still gets what the last session had sent.
TEST(StormSession, WhoseClientIsGoneIsNoClone) {
  Script script;
  script.broker_reads_from_turn = 400;
  script.client_bytes = 200'000;
  script.hangs_up = true;
  World world(script, 6);
  world.config.max_sessions_per_device = 0;
  const Digest& device = world.host.verdict.identity->fingerprint;
  while (world.session.state() != Session::State::Delivering && world.turn()) {
  }
  ASSERT_EQ(world.session.state(), Session::State::Delivering);
  EXPECT_EQ(world.session.use().order, 0U);
  DeviceUse use;
  EXPECT_EQ(world.host.device_sessions.enter(device, 0), DevicePlace::Taken);
  EXPECT_FALSE(world.host.device_sessions.use(device, World::balancer(), "other", true, use));
  leaves(world, use);
  world.run();
  world.check();
}

}  // namespace
}  // namespace sallyport::test
