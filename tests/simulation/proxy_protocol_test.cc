// The PROXY headers of a session over a made-up kernel: the balancer's before TLS, cut anywhere, and the broker's
// before the CONNECT.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/tls1.h>

#include "proxy/proxy_protocol/proxy_header.h"
#include "tests/simulation/world.h"

namespace sallyport::test {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

const std::string kLine = "PROXY TCP4 203.0.113.9 198.51.100.2 40000 8883\r\n";
const std::string kBinary = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x09\xC6\x33\x64\2\x9C\x40\x22\xB3"s;
const std::string kLocal = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"s;
const InetAddress kClient{{203, 0, 113, 9}, 40000, 4};
const InetAddress kDestination{{198, 51, 100, 2}, 8883, 4};

ProxiedConnection said_to_broker(const World& world) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(world.broker_header.data());
  return parse_proxy_header({bytes, world.broker_header.size()}).proxied;
}

TEST(ProxySession, ABalancersHeaderNamesTheClient) {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    SCOPED_TRACE(seed);
    Script script;
    script.from_balancer = seed % 2 == 0 ? kLine : kBinary;
    script.says_proxy = seed % 3 == 0;
    World world(script, seed);
    world.run();
    world.check();
    EXPECT_EQ(world.broker_got, world.client_sends);
    EXPECT_EQ(world.host.reason, Reason::None);
    EXPECT_EQ(world.host.addresses_entered, 1);
    EXPECT_EQ(to_inet(world.host.entered), kClient);
    EXPECT_EQ(to_inet(world.host.peer), kClient);
    EXPECT_EQ(to_inet(world.host.via), to_inet(World::balancer()));
    if (script.says_proxy) {
      EXPECT_EQ(said_to_broker(world).client, kClient) << "the broker is told of the client, not of the balancer";
      EXPECT_EQ(said_to_broker(world).destination, kDestination);
    }
  }
}

TEST(ProxySession, ABalancerMaySpeakForItself) {
  for (const std::string& header : {kLocal, "PROXY UNKNOWN\r\n"s}) {
    Script script;
    script.from_balancer = header;
    World world(script, 5);
    world.run();
    world.check();
    EXPECT_EQ(world.broker_got, world.client_sends);
    EXPECT_EQ(to_inet(world.host.entered), to_inet(World::balancer()));
    EXPECT_EQ(to_inet(world.host.peer), to_inet(World::balancer()));
    EXPECT_EQ(world.host.via.ss_family, AF_UNSPEC);
  }
}

TEST(ProxySession, ABadHeaderIsRefusedBeforeTls) {
  const std::pair<std::string, std::string> bad[] = {
      {"PROXY TCP9 1 2 3 4\r\n", "neither TCP4, TCP6 nor UNKNOWN"},
      {"\x16\3\1\2\0\1\0\1\xFC\3\3"s, "no PROXY header"},
      {"\x10\x0D\0\4MQTT\4\2\0\x3C\0\1c"s, "no PROXY header"},
      {kBinary.substr(0, 20), "ended within its PROXY header"},
  };
  for (const auto& [header, what] : bad) {
    Script script;
    script.from_balancer = header;
    script.before_tls_only = true;
    script.client_end = Script::ClientEnd::FinAlone;
    World world(script, 6);
    world.run();
    world.check();
    EXPECT_EQ(world.host.reason, Reason::BadProxyHeader) << header;
    EXPECT_THAT(std::string(world.host.what), HasSubstr(what));
    EXPECT_EQ(world.host.addresses_entered, 0) << "nobody's address is known";
    EXPECT_FALSE(world.host.was_silent);
  }
}

TEST(ProxySession, AHeaderThatNeverEndsIsTimedOut) {
  Script script;
  script.from_balancer = "PROXY TCP4 ";
  script.before_tls_only = true;
  World world(script, 7);
  world.client_finished = true;  // it stays
  world.run();
  EXPECT_EQ(world.host.reason, Reason::HandshakeTimeout);
}

TEST(ProxySession, TheClientsAddressIsHeldAgainstItsLimits) {
  Script script;
  script.from_balancer = kLine;
  World world(script, 8);
  world.host.address_refused = {Origin::Client, Reason::TooManyConnections, 0, "max_connections_per_ip"};
  world.run();
  world.check();
  EXPECT_EQ(world.host.reason, Reason::TooManyConnections);
  EXPECT_EQ(to_inet(world.host.peer), kClient);
  EXPECT_FALSE(world.host.was_decided) << "refused before TLS";
}

TEST(ProxySession, WhoLeavesBeforeTheFirstByteIsNoRefusal) {
  for (const std::string& header : {""s, kLocal, kLine}) {
    for (const auto end : {Script::ClientEnd::FinAlone, Script::ClientEnd::Reset}) {
      if (!header.empty() && end == Script::ClientEnd::Reset) continue;  // it takes the header with it
      Script script;
      script.from_balancer = header;
      script.before_tls_only = true;
      script.client_end = end;
      World world(script, 9);
      world.run();
      world.check();
      EXPECT_TRUE(world.host.was_silent) << header;
      EXPECT_EQ(world.host.reason, Reason::None);
    }
  }
}

TEST(ProxySession, ABrokerIsToldBeforeTheConnect) {
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    SCOPED_TRACE(seed);
    Script script;
    script.version = seed % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    script.tcp = seed % 4 == 3;
    script.says_proxy = true;
    script.shows_certificate = seed % 3 == 0;
    World world(script, seed);
    world.run();
    world.check();
    EXPECT_EQ(world.broker_got, world.client_sends);
    EXPECT_THAT(world.broker_header, HasSubstr("\x22\0\6device"s));
    EXPECT_THAT(world.broker_header, HasSubstr(script.version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3"));
    EXPECT_THAT(world.broker_header, HasSubstr(script.version == TLS1_2_VERSION ? "ECDHE-ECDSA-AES128-GCM-SHA256"
                                                                                : "TLS_AES_128_GCM_SHA256"));
    const bool shown = world.broker_header.find(World::certificate()) != std::string::npos;
    EXPECT_EQ(shown, script.shows_certificate);
  }
}

TEST(ProxySession, ANameThatIsNotSafeReachesNoBroker) {
  const std::vector<std::vector<std::string>> bad = {{},
                                                     {"a", "b"},
                                                     {"a", "a"},
                                                     {""},
                                                     {"a/b"},
                                                     {"a+"},
                                                     {"#"},
                                                     {"a\nb"},
                                                     {"a\0b"s},
                                                     {"a\x7F"},
                                                     {"a\xC2\x85"},
                                                     {"a\xFF"},
                                                     {std::string(257, 'x')}};
  for (const auto& names : bad) {
    Script script;
    script.says_proxy = true;
    World world(script, 10);
    world.host.verdict.identity->cns = names;
    world.run();
    world.check();
    EXPECT_EQ(world.host.reason, Reason::BadIdentity) << (names.empty() ? "none" : names.front());
    EXPECT_EQ(world.client_got, "\x20\2\0\5"s) << "a CONNACK says so";
  }
  for (const std::string& name : {"x"s, "m\u00FCller 7 = @:;\\\"'"s, std::string(256, 'x')}) {
    Script script;
    script.says_proxy = true;
    World world(script, 11);
    world.host.verdict.identity->cns = {name};
    world.run();
    world.check();
    EXPECT_EQ(world.broker_got, world.client_sends) << name;
    EXPECT_THAT(world.broker_header, HasSubstr(name));
    EXPECT_LE(world.broker_header.size(), 500U);
  }
}

TEST(ProxySession, WithoutAHeaderANameMayBeAnything) {
  World world(Script{}, 12);
  world.host.verdict.identity->cns = {"a/b", "c"};
  world.run();
  world.check();
  EXPECT_EQ(world.broker_got, world.client_sends);
}

}  // namespace
}  // namespace sallyport::test
