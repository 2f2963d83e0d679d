// The configuration: defaults, positions of errors, "did you mean", and that one pass reports everything.
#include "proxy/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>

#include "proxy/config/setting_row.h"

namespace sallyport {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr std::string_view kSmallest = R"(
[[listener]]
name = "mqtts"
address = "0.0.0.0:8883"
upstream = "broker"
certificates = [ { chain = "a.crt", key = "a.key" } ]

[[upstream]]
name = "broker"
servers = ["127.0.0.1:1883"]
)";

std::vector<std::string> problems_of(std::string_view text) {
  std::vector<std::string> lines;
  for (const ConfigProblem& problem : parse_config(text, "x.toml").problems)
    lines.push_back(to_string(problem, "x.toml"));
  return lines;
}

std::string with(std::string_view extra) {
  return std::string(kSmallest) + std::string(extra);
}

TEST(Config, TheSmallestFileHasTheContractsDefaults) {
  const ConfigReport report = parse_config(kSmallest, "x.toml");
  ASSERT_THAT(report.problems, IsEmpty());
  const Config& config = report.config;
  EXPECT_EQ(config.state_dir, "/var/lib/sallyport");
  EXPECT_EQ(config.shards, 0U);
  EXPECT_EQ(config.drain.count(), 25'000);
  EXPECT_EQ(config.drain_delay.count(), 0);
  ASSERT_EQ(config.listeners.size(), 1U);
  const ListenerConfig& listener = config.listeners[0];
  EXPECT_EQ(listener.address.text(), "0.0.0.0:8883");
  EXPECT_EQ(listener.auth, AuthMode::Mutual);
  EXPECT_EQ(listener.protocol, Protocol::Mqtt);
  EXPECT_EQ(listener.tls_min, TlsMin::V12);
  EXPECT_EQ(listener.handshake_timeout.count(), 10'000);
  EXPECT_EQ(listener.connect_timeout.count(), 10'000);
  EXPECT_EQ(listener.max_connect_bytes, 64U * 1024);
  EXPECT_EQ(listener.max_handshakes_per_shard, 256U);
  EXPECT_TRUE(listener.cut_sessions);
  EXPECT_TRUE(config.registry.auto_register);
  EXPECT_EQ(config.registry.max_cas, 1000U);
  EXPECT_EQ(config.registry.queue, 65536U);
  EXPECT_EQ(config.admin.socket, "/run/sallyport/admin.sock");
  EXPECT_EQ(config.metrics.text(), "127.0.0.1:9884");
}

TEST(Config, EveryValueIsRead) {
  const ConfigReport report = parse_config(R"(
state_dir = "/s"
[proxy]
shards = 3
drain = "5m"
[[listener]]
name = "a"
address = "[::1]:0"
auth = "one-way"
protocol = "tcp"
upstream = "u"
certificates = [ { chain = "1", key = "2" }, { chain = "3", key = "4" } ]
tls_min = "1.3"
resumption = false
cas = ["00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"]
handshake_timeout = "250ms"
connect_timeout = "2s"
max_connect_size = "1MiB"
max_connections = 7
max_handshakes_per_shard = 9
cut_sessions = false
[[upstream]]
name = "u"
servers = ["broker.local:1883", "unix:/run/broker.sock"]
balance = "round-robin"
source = ["127.0.0.2"]
health_interval = "9s"
[registry]
auto_register = false
trusted_cas = ["/etc/ca.pem"]
max_cas = 5
max_devices_per_ca = 6
queue = 8
[admin]
socket = "/tmp/s"
[metrics]
address = "127.0.0.1:0"
[log]
level = "debug"
format = "json"
)",
                                           "x.toml");
  ASSERT_THAT(report.problems, IsEmpty());
  const ListenerConfig& listener = report.config.listeners.at(0);
  EXPECT_EQ(listener.address.host, "::1");
  EXPECT_EQ(listener.auth, AuthMode::OneWay);
  EXPECT_EQ(listener.protocol, Protocol::Tcp);
  EXPECT_EQ(listener.certificates.size(), 2U);
  EXPECT_EQ(listener.tls_min, TlsMin::V13);
  EXPECT_FALSE(listener.resumption);
  ASSERT_EQ(listener.cas.size(), 1U);
  EXPECT_EQ(listener.cas[0][1], 0x11);
  EXPECT_EQ(listener.handshake_timeout.count(), 250);
  EXPECT_EQ(listener.max_connect_bytes, 1U << 20);
  EXPECT_EQ(listener.max_connections, 7U);
  EXPECT_FALSE(listener.cut_sessions);
  const UpstreamConfig& upstream = report.config.upstreams.at(0);
  EXPECT_EQ(upstream.balance, Balance::RoundRobin);
  EXPECT_EQ(upstream.servers.at(1).unix_path, "/run/broker.sock");
  EXPECT_THAT(upstream.source, ElementsAre("127.0.0.2"));
  EXPECT_EQ(report.config.registry.queue, 8U);
  EXPECT_EQ(report.config.log_level, Level::Debug);
  EXPECT_EQ(report.config.log_format, LogFormat::Json);
}

TEST(Config, AnUnknownKeyIsNamedWithItsPositionAndTheNearestKnownOne) {
  EXPECT_THAT(problems_of(with("[proxy]\ndrian = \"3s\"\n")),
              ElementsAre("x.toml:12:1: unknown key 'proxy.drian' (did you mean 'drain'?)"));
  EXPECT_THAT(problems_of("listner = 3\n" + std::string(kSmallest)),
              ElementsAre(HasSubstr("x.toml:1:1: unknown key 'listner' (did you mean 'listener'?)")));
}

TEST(Config, EveryProblemIsReportedInOnePassInTheOrderOfTheFile) {
  const auto problems = problems_of(R"(
[[listener]]
name = "a"
address = "nowhere"
upstream = "u"
handshake_timeout = 10
max_connections = -1
[[upstream]]
name = "b"
servers = ["127.0.0.1:0"]
)");
  EXPECT_THAT(problems, ElementsAre(HasSubstr("x.toml:2:1: "),  // certificates
                                    HasSubstr("x.toml:4:11: 'listener.address' \"nowhere\""),
                                    HasSubstr("x.toml:5:12: there is no [[upstream]] called 'u'"),
                                    HasSubstr("x.toml:6:21: 'listener.handshake_timeout' must be a duration"),
                                    HasSubstr("x.toml:7:19: 'listener.max_connections' must be between 0"),
                                    HasSubstr("x.toml:10:12: 'upstream.servers' \"127.0.0.1:0\"")));
}

TEST(Config, ADuplicateKeyAndBrokenTomlHavePositions) {
  EXPECT_THAT(problems_of("state_dir = \"a\"\nstate_dir = \"b\"\n"), ElementsAre(HasSubstr("x.toml:2:")));
  EXPECT_THAT(problems_of("[proxy\n"), ElementsAre(HasSubstr("x.toml:1:")));
}

TEST(Config, NamesAndAddressesAreUnique) {
  EXPECT_THAT(problems_of(with(R"(
[[listener]]
name = "mqtts"
address = "0.0.0.0:8883"
upstream = "broker"
certificates = [ { chain = "a.crt", key = "a.key" } ]
[[upstream]]
name = "broker"
servers = ["127.0.0.1:1884"]
)")),
              ElementsAre(HasSubstr("two listeners are called 'mqtts'"), HasSubstr("two listeners have the address"),
                          HasSubstr("two upstreams are called 'broker'")));
}

TEST(Config, ASharedRegistryIsRead) {
  const auto report = parse_config(with("[registry]\nshared = \"postgresql://db/x\"\nnode = \"edge-7\"\n"
                                        "stale_after = \"10m\"\nstale = \"refuse-unknown\"\n"),
                                   "x.toml");
  ASSERT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(report.config.registry.shared, "postgresql://db/x");
  EXPECT_EQ(report.config.registry.node, "edge-7");
  EXPECT_EQ(report.config.registry.stale_after, std::chrono::minutes(10));
  EXPECT_EQ(report.config.registry.stale, WhenStale::RefuseUnknown);
  EXPECT_TRUE(parse_config(with(""), "x.toml").config.registry.shared.empty()) << "off by default";
}

// A file with one listener and one upstream, each with lines of its own.
std::string led(const std::string& listener, const std::string& upstream) {
  return "[[listener]]\nname = \"mqtts\"\naddress = \"0.0.0.0:8883\"\nupstream = \"broker\"\n"
         "certificates = [ { chain = \"a.crt\", key = \"a.key\" } ]\n" +
         listener + "\n[[upstream]]\nname = \"broker\"\nservers = [\"127.0.0.1:1883\"]\n" + upstream + "\n";
}

TEST(Config, BrokerTlsIsReadAndChecked) {
  const auto report =
      parse_config(led("", "tls = { ca = \"a\", certificate = \"b\", key = \"c\", server_name = \"d\" }"), "x.toml");
  ASSERT_THAT(report.problems, IsEmpty());
  const BrokerTlsConfig& tls = report.config.upstreams[0].tls;
  EXPECT_TRUE(tls.asked());
  EXPECT_EQ(tls.ca + tls.certificate + tls.key + tls.server_name, "abcd");
  EXPECT_FALSE(parse_config(kSmallest, "x").config.upstreams[0].tls.asked());
  EXPECT_THAT(problems_of(led("", "tls = {}")), IsEmpty());
  EXPECT_THAT(problems_of(led("", "tls = true")), ElementsAre(HasSubstr("'upstream.tls' holds { ca = ")));
  EXPECT_THAT(problems_of(led("", "tls = { server_name = \"d\" }")),
              ElementsAre(HasSubstr("'upstream.tls.ca' is missing")));
  EXPECT_THAT(problems_of(led("", "tls = { ca = \"a\", key = \"b\" }")), ElementsAre(HasSubstr("go together")));
  EXPECT_THAT(problems_of(led("", "tls = { ca = \"a\", certificate = \"b\" }")),
              ElementsAre(HasSubstr("x.toml:10:33: 'upstream.tls.certificate' and 'upstream.tls.key' go together")));
  EXPECT_THAT(problems_of(led("", "tls = { ca = \"a\", cert = \"b\" }")), ElementsAre(HasSubstr("unknown key")));
  const auto named = [](const std::string& name) {
    return problems_of(led("", "tls = { ca = \"a\", server_name = \"" + name + "\" }"));
  };
  for (const char* name : {"broker.test", "broker.test.", "Broker-1.test", "mqtt_broker", "10.1.2.3", "::1"}) {
    EXPECT_THAT(named(name), IsEmpty()) << name;
  }
  for (const std::string& name :
       {std::string(".test"), std::string("*.test"), std::string("a b"), std::string("https://broker.test"),
        std::string("broker.test:8883"), std::string("[::1]"), std::string("127.1"), std::string("broker..test"),
        std::string("."), std::string("-a.test"), std::string("broker.test\\u0000.evil"),
        std::string("b\u00fccher.test"), std::string(64, 'x') + ".test",
        std::string(60, 'x') + '.' + std::string(60, 'x') + '.' + std::string(60, 'x') + '.' + std::string(60, 'x') +
            '.' + std::string(10, 'x')}) {
    EXPECT_THAT(named(name), ElementsAre(HasSubstr("'upstream.tls.server_name' is a host name or an address"))) << name;
  }
  EXPECT_THAT(problems_of(led("", "proxy_protocol = true\ntls = { ca = \"a\" }")),
              ElementsAre(HasSubstr("x.toml:10:18: 'upstream.proxy_protocol' goes before TLS, in clear")));
  const std::string local = "\n[[upstream]]\nname = \"local\"\nservers = [\"unix:/b\"]\n";
  EXPECT_THAT(problems_of(led("", local + "tls = { ca = \"a\" }")),
              ElementsAre(HasSubstr("'upstream.tls.server_name' is missing: unix:/b has no host")));
  EXPECT_THAT(problems_of(led("", local + "tls = { ca = \"a\", server_name = \"b\" }")), IsEmpty());
}

TEST(Config, TemplatesAreReadWithTheirPlaces) {
  const auto report =
      parse_config(led("client_id = \"{cn}\"", "username = \"{ca_id}/{cn}\"\nclient_id = \"{serial}\""), "x");
  ASSERT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(report.config.listeners[0].client_id.text(), "{cn}");
  EXPECT_EQ(report.config.upstreams[0].username.text(), "{ca_id}/{cn}");
  EXPECT_TRUE(report.config.upstreams[0].tells_identity());
  EXPECT_FALSE(parse_config(kSmallest, "x").config.upstreams[0].tells_identity());
  EXPECT_TRUE(parse_config(led("", "user_properties = true"), "x").config.upstreams[0].tells_identity());
  EXPECT_TRUE(parse_config(led("", "client_id = \"{cn}\""), "x").config.upstreams[0].tells_identity());
  EXPECT_THAT(problems_of(led("client_id = \"{id}\"", "username = \"{cn\"")),
              ElementsAre(HasSubstr("x.toml:6:13: 'listener.client_id': there is no field {id}; there are {cn} "),
                          HasSubstr("x.toml:10:12: 'upstream.username': a '{' without its '}'")));
  EXPECT_THAT(problems_of(led("client_id = \"x{client_id}\"", "")),
              ElementsAre(HasSubstr("x.toml:6:13: 'listener.client_id' is what the client id must equal")));
}

TEST(Config, ATemplateNeedsACertificateAndAConnect) {
  for (const std::string upstream : {"username = \"{cn}\"", "client_id = \"{cn}\"", "user_properties = true"}) {
    EXPECT_THAT(problems_of(led("", upstream)), IsEmpty());
    EXPECT_THAT(problems_of(led("auth = \"one-way\"", upstream)),
                ElementsAre(HasSubstr("which auth = \"one-way\" does not ask for")));
    EXPECT_THAT(problems_of(led("protocol = \"tcp\"", upstream)),
                ElementsAre(HasSubstr("which protocol = \"tcp\" does not have")));
  }
  EXPECT_THAT(problems_of(led("client_id = \"{cn}\"\nauth = \"one-way\"", "")),
              ElementsAre(HasSubstr("'listener.client_id' checks the CONNECT by the device's certificate")));
  EXPECT_THAT(problems_of(led("client_id = \"{cn}\"\nprotocol = \"tcp\"", "")),
              ElementsAre(HasSubstr("'listener.client_id' checks the CONNECT, which protocol = \"tcp\"")));
}

TEST(Config, ACertificateNeedsThePROXYHeaderThatCarriesIt) {
  const std::string two = "[[upstream]]\nname = \"two\"\nservers = [\"h:1\"]\nproxy_protocol_certificate = true\n";
  EXPECT_THAT(problems_of(with(two)), ElementsAre(HasSubstr("set 'proxy_protocol' as well")));
  EXPECT_THAT(problems_of(with(two + "proxy_protocol = true\n")), IsEmpty());
}

TEST(Config, TheAdminAddressNeedsTlsUnlessItIsLoopback) {
  for (const char* good : {"", "127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "localhost:9"}) {
    EXPECT_THAT(problems_of(with("[admin]\naddress = \"" + std::string(good) + "\"\n")), IsEmpty()) << good;
  }
  for (const char* open : {"0.0.0.0:9", "[::]:9", "10.1.2.3:9", "127.example.org:9"}) {
    EXPECT_THAT(problems_of(with("[admin]\naddress = \"" + std::string(open) + "\"\n")),
                ElementsAre(HasSubstr("tokens would travel in clear")))
        << open;
  }
  EXPECT_THAT(problems_of(with("[admin]\naddress = \"0.0.0.0:9\"\ncertificate = \"a\"\nkey = \"b\"\n")), IsEmpty());
  EXPECT_THAT(problems_of(with("[admin]\ncertificate = \"a\"\n")), ElementsAre(HasSubstr("go together")));
}

TEST(Config, WrongTypesAndWordsSayWhatIsExpected) {
  EXPECT_THAT(problems_of(with("[log]\nlevel = \"loud\"\nformat = 1\n")),
              ElementsAre(HasSubstr("'log.level' must be one of \"debug\", \"info\", \"warn\", \"error\""),
                          HasSubstr("'log.format' must be one of \"text\", \"json\"")));
  EXPECT_THAT(problems_of("proxy = 3\n" + std::string(kSmallest)), ElementsAre(HasSubstr("write [proxy]")));
  EXPECT_THAT(problems_of("listener = 3\n"), testing::Contains(HasSubstr("write each one as [[listener]]")));
}

TEST(Config, WhatIsOftenTypedWronglySaysHowItIsWritten) {
  EXPECT_THAT(problems_of("state_dir = /var/lib\n" + std::string(kSmallest)), ElementsAre(HasSubstr("double quotes")));
  std::string text(kSmallest);
  text.replace(text.find("\"127.0.0.1"), 1, "\"mqtt://");
  EXPECT_THAT(problems_of(text), ElementsAre(HasSubstr("write \"host:port\" without \"mqtt://\"")));
}

TEST(Config, AFileThatCannotBeReadIsAProblem) {
  const ConfigReport report = load_config("/nowhere/x.toml");
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_THAT(to_string(report.problems[0], "/nowhere/x.toml"),
              AllOf(StartsWith("/nowhere/x.toml: "), HasSubstr("No such file"), HasSubstr("--config")));
  EXPECT_FALSE(load_config("/").ok());
}

TEST(Config, ClientIdBalanceNeedsAConnectToReadItFrom) {
  std::string text(kSmallest);
  text.insert(text.find("upstream = "), "protocol = \"tcp\"\n");
  EXPECT_THAT(problems_of(text + "balance = \"client-id\"\n"), ElementsAre(HasSubstr("client-id")));
}

// A file that says `line` in `table`, and beside it what a file must say.
std::string saying(const Setting& setting, std::string_view value) {
  std::string text, listener = "[[listener]]\n", upstream = "[[upstream]]\n", other;
  const std::string line = std::string(setting.key) + " = " + std::string(value) + "\n";
  for (const SettingText& each : setting_texts()) {
    const Setting& needed = *each.setting;
    if (needed.needed.empty() || &needed == &setting) continue;
    (needed.table == "listener" ? listener : upstream) +=
        std::string(needed.key) + " = " + std::string(needed.example) + "\n";
  }
  if (setting.table.empty()) {
    text = line;
  } else if (setting.table == "listener") {
    listener += line;
  } else if (setting.table == "upstream") {
    upstream += line;
  } else {
    other = "[" + std::string(setting.table) + "]\n" + line;
  }
  return text + listener + upstream + other;
}

// Every value of a configuration, by its key, as the file writes it.
std::map<std::string, std::string> values(const Config& config) {
  std::map<std::string, std::string> all;
  const auto note = [&](const auto& rows, const auto& owner) {
    for (const auto& row : rows) {
      if (row.write != nullptr) all[std::string(row.table) + "." + std::string(row.key)] = row.write(row, owner);
    }
  };
  note(top_rows(), config);
  note(proxy_rows(), config);
  note(listener_rows(), config.listeners.at(0));
  note(upstream_rows(), config.upstreams.at(0));
  note(registry_rows(), config.registry);
  note(admin_rows(), config.admin);
  note(metrics_rows(), config);
  note(log_rows(), config);
  return all;
}

std::string without_spaces(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

TEST(Config, AListenerFollowsTheProxysTlsEngineUnlessItSaysOtherwise) {
  const auto engine = [](const std::string& proxy, const std::string& listener) {
    return parse_config(led(listener, "") + "[proxy]\n" + proxy, "x.toml").config.listeners.at(0).tls_engine;
  };
  EXPECT_EQ(engine("", ""), TlsMadeBy::Auto);
  EXPECT_EQ(engine("tls_engine = \"openssl\"", ""), TlsMadeBy::Openssl);
  EXPECT_EQ(engine("tls_engine = \"openssl\"", "tls_engine = \"auto\""), TlsMadeBy::Auto);
  EXPECT_EQ(engine("", "tls_engine = \"openssl\""), TlsMadeBy::Openssl);
}

TEST(Settings, ADurationMayHaveBounds) {
  const auto problem = [](const char* age) {
    std::string text(kSmallest);
    text.replace(text.find("name = \"mqtts\""), 0, "resumption_max_age = \"" + std::string(age) + "\"\n");
    const ConfigReport report = parse_config(text, "x.toml");
    return report.problems.empty() ? std::string() : report.problems.front().message;
  };
  EXPECT_EQ(problem("7d"), "");
  EXPECT_EQ(problem("1s"), "");
  EXPECT_EQ(problem("169h"), "'listener.resumption_max_age' must be between 1s and 7d");
  EXPECT_EQ(problem("999ms"), "'listener.resumption_max_age' must be between 1s and 7d");
  EXPECT_NE(problem("0s"), "");
}

TEST(Settings, TicketKeysAreNotKeptUnencrypted) {
  const std::string text = std::string(kSmallest) + "[proxy]\nkeep_ticket_keys = true\n";
  const ConfigReport report = parse_config(text, "x.toml");
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_THAT(report.problems.front().message, testing::HasSubstr("needs 'registry.key_file'"));
  EXPECT_THAT(parse_config(text + "[registry]\nkey_file = \"k\"\n", "x.toml").problems, IsEmpty());
  EXPECT_FALSE(parse_config(kSmallest, "x.toml").config.keep_ticket_keys) << "off by default";
}

TEST(Settings, EveryRowIsReadIntoItsOwnMember) {
  // Of a file that says only what it must.
  std::map<std::string, std::string> before;
  for (const SettingText& each : setting_texts()) {
    if (before.empty()) before = values(parse_config(saying(*each.setting, each.fallback), "x.toml").config);
    if (each.setting->applies == Applies::NotYet) continue;
    SCOPED_TRACE(each.name);
    ASSERT_FALSE(each.setting->example.empty());
    std::string text = saying(*each.setting, each.setting->example);
    if (each.name == "upstream.name") text = saying(*each.setting, "\"broker\"");
    // These two go together.
    if (each.name == "admin.certificate") text += "key = \"k\"\n";
    if (each.name == "admin.key") text += "certificate = \"c\"\n";
    if (each.name == "proxy.keep_ticket_keys") text += "[registry]\nkey_file = \"k\"\n";
    // The one adds to the other.
    if (each.name == "upstream.proxy_protocol_certificate") text += "proxy_protocol = true\n";
    const ConfigReport report = parse_config(text, "x.toml");
    ASSERT_THAT(report.problems, IsEmpty()) << to_string(report.problems.at(0), "x.toml") << "\n" << text;
    auto after = values(report.config);
    const std::string key = std::string(each.setting->table) + "." + std::string(each.setting->key);
    EXPECT_EQ(without_spaces(after.at(key)), without_spaces(std::string(each.setting->example)));
    if (!each.setting->needed.empty()) continue;
    EXPECT_NE(after.at(key), before.at(key)) << "the example is the default";
    for (const auto& [other, value] : before) {
      const bool goes_along =
          (key.substr(0, 6) == "admin." && (other == "admin.key" || other == "admin.certificate")) ||
          (key == "upstream.proxy_protocol_certificate" && other == "upstream.proxy_protocol") ||
          (key == "proxy.tls_engine" && other == "listener.tls_engine") ||
          (key == "proxy.keep_ticket_keys" && other == "registry.key_file");
      if (other != key && !goes_along) {
        EXPECT_EQ(after.at(other), value) << "two rows lead to one member: " << other;
      }
    }
  }
}

template <class Enum>
std::string_view word(Enum value) {
  return kWordsOf<Enum>.at(static_cast<std::size_t>(value));
}

TEST(Settings, WordsStandInTheOrderOfTheirEnumerators) {
  EXPECT_EQ(word(AuthMode::Mutual), "mutual");
  EXPECT_EQ(word(AuthMode::OneWay), "one-way");
  EXPECT_EQ(word(Protocol::Mqtt), "mqtt");
  EXPECT_EQ(word(Protocol::Tcp), "tcp");
  EXPECT_EQ(word(TlsMin::V12), "1.2");
  EXPECT_EQ(word(TlsMin::V13), "1.3");
  EXPECT_EQ(word(Balance::LeastConnections), "least-connections");
  EXPECT_EQ(word(Balance::RoundRobin), "round-robin");
  EXPECT_EQ(word(Balance::ClientId), "client-id");
  EXPECT_EQ(word(Level::Debug), "debug");
  EXPECT_EQ(word(Level::Info), "info");
  EXPECT_EQ(word(Level::Warn), "warn");
  EXPECT_EQ(word(Level::Error), "error");
  EXPECT_EQ(word(LogFormat::Text), "text");
  EXPECT_EQ(word(LogFormat::Json), "json");
}

TEST(Settings, EveryDefaultMayBeWritten) {
  for (const SettingText& each : setting_texts()) {
    if (!each.setting->needed.empty()) continue;
    EXPECT_THAT(problems_of(saying(*each.setting, each.fallback)), IsEmpty()) << each.name;
  }
}

TEST(Settings, EveryKeyThatIsPromisedIsBuilt) {
  for (const SettingText& each : setting_texts()) EXPECT_NE(each.setting->applies, Applies::NotYet) << each.name;
}

TEST(Settings, WhatAFileMustSayIsMissedByItsName) {
  for (const SettingText& each : setting_texts()) {
    if (each.setting->needed.empty()) continue;
    std::string text = saying(*each.setting, "");
    text.erase(text.find(std::string(each.setting->key) + " = \n"), each.setting->key.size() + 4);
    EXPECT_THAT(problems_of(text), testing::Contains(HasSubstr("'" + each.name + "' is missing: "))) << text;
  }
}

TEST(Settings, EachEndOfARangeIsAccepted) {
  for (const SettingText& each : setting_texts()) {
    if (each.setting->takes != Takes::Number || each.setting->applies == Applies::NotYet) continue;
    EXPECT_THAT(problems_of(saying(*each.setting, std::to_string(each.setting->least))), IsEmpty()) << each.name;
    if (each.setting->most == 0) continue;
    EXPECT_THAT(problems_of(saying(*each.setting, std::to_string(each.setting->most))), IsEmpty()) << each.name;
    EXPECT_THAT(problems_of(saying(*each.setting, std::to_string(each.setting->most + 1))),
                ElementsAre(HasSubstr("'" + each.name + "' must be between")));
  }
  EXPECT_THAT(problems_of(with("[admin]\nsocket = \"\"\n")), ElementsAre(HasSubstr("must be 1 to 107 bytes long")));
}

TEST(Settings, TheCommentedFileIsAcceptedAsItStandsAndWithEveryLine) {
  const std::string file = default_config();
  ASSERT_THAT(problems_of(file), IsEmpty());
  EXPECT_TRUE(parse_config(file, "x.toml").config.listeners.empty()) << "its listener is an example";
  const std::string needed =
      std::regex_replace(std::regex_replace(file, std::regex("\n#\\[\\["), "\n[["), std::regex("# Needed.\n#"), "\n");
  ASSERT_THAT(problems_of(needed), IsEmpty());
  // A comment has a space behind its #, a default has none.
  const std::string all = std::regex_replace(file, std::regex("\n#(?! )"), "\n");
  ASSERT_NE(all, file);
  ASSERT_THAT(problems_of(all), IsEmpty());
  EXPECT_EQ(parse_config(all, "x.toml").config.listeners.size(), 1U);
  EXPECT_EQ(values(parse_config(all, "x.toml").config), values(parse_config(needed, "x.toml").config));
  for (const SettingText& each : setting_texts()) {
    EXPECT_THAT(all, HasSubstr("\n" + std::string(each.setting->key) + " = "));
  }
}

TEST(Settings, AReloadTakesWhatItsRowSaysAndNamesTheRest) {
  for (const SettingText& each : setting_texts()) {
    if (each.setting->applies == Applies::NotYet || each.name == "listener.name") continue;
    SCOPED_TRACE(each.name);
    const Setting& setting = *each.setting;
    Config now = parse_config(kSmallest, "x.toml").config;
    Config next = now;
    // Any other value will do: that of the example, or of another listener.
    const std::string example = each.name == "upstream.name" ? "\"broker\"" : std::string(setting.example);
    Config other = parse_config(saying(setting, example), "x.toml").config;
    const auto put = [&](const auto& rows, const auto& from, auto& to) {
      for (const auto& row : rows) {
        if (static_cast<const Setting*>(&row) == &setting) row.keep(from, to);
      }
    };
    if (each.name == "listener.upstream") other.listeners[0].upstream_name = "another";
    if (each.name == "upstream.name") other.upstreams[0].name = "another";
    if (each.name == "upstream.servers") other.upstreams[0].servers[0].port = 7;
    if (each.name == "listener.address") other.listeners[0].address.port = 7;
    put(top_rows(), other, next);
    put(proxy_rows(), other, next);
    put(listener_rows(), other.listeners[0], next.listeners[0]);
    put(upstream_rows(), other.upstreams[0], next.upstreams[0]);
    put(registry_rows(), other.registry, next.registry);
    put(admin_rows(), other.admin, next.admin);
    put(metrics_rows(), other, next);
    put(log_rows(), other, next);
    ASSERT_NE(values(now), values(next));
    const Config changed = changed_at_once(now, next);
    if (setting.applies == Applies::AtOnce) {
      EXPECT_THAT(needs_restart(now, next), IsEmpty());
      EXPECT_EQ(values(changed), values(next));
    } else {
      std::string named = each.name;
      const std::string table(setting.table);
      const std::string& its_name = table == "upstream" ? now.upstreams[0].name : now.listeners[0].name;
      if (table == "upstream" || table == "listener") named = table + " " + its_name + ": " + std::string(setting.key);
      if (each.name == "upstream.name") {
        EXPECT_THAT(needs_restart(now, next),
                    ElementsAre(table + " " + its_name + " (removed)", "upstream another (added)"));
      } else {
        EXPECT_THAT(needs_restart(now, next), ElementsAre(named));
      }
      EXPECT_EQ(values(changed), values(now));
    }
  }
}

// What a reload or a choice at run time can bring together and the file alone does not show.
TEST(Config, AListenerThatCannotTellIsRefusedAtRunTimeToo) {
  ListenerConfig listener;
  UpstreamConfig upstream;
  EXPECT_EQ(why_not_told(listener, upstream, AuthMode::OneWay), "");
  upstream.username = *IdentityTemplate::parse("{cn}");
  EXPECT_EQ(why_not_told(listener, upstream, AuthMode::Mutual), "");
  EXPECT_THAT(why_not_told(listener, upstream, AuthMode::OneWay), HasSubstr("asks for no certificate"));
  listener.protocol = Protocol::Tcp;
  EXPECT_THAT(why_not_told(listener, upstream, AuthMode::Mutual), HasSubstr("has no CONNECT"));
}

}  // namespace
}  // namespace sallyport
