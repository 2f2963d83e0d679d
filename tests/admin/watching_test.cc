// What a console and an engineer at night look at: the configuration as it runs, and the last refusals over a restart.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "admin/operations/kept_rejections.h"
#include "admin/operations/running_config.h"

namespace sallyport {
namespace {

constexpr std::string_view kListeners = R"(
[[listener]]
name = "one"
address = "127.0.0.1:0"
upstream = "broker"
certificates = [ { chain = "/a b/chain \"1\".crt", key = "/a/key = 1.key" } ]
handshake_timeout = "7s"

[[listener]]
name = "two"
address = "127.0.0.1:0"
upstream = "broker"
certificates = [ { chain = "/c.crt", key = "/c.key" } ]
connect_timeout = "8s"

[[upstream]]
name = "broker"
servers = ["127.0.0.1:1883", "unix:/run/mqtt"]
)";

ConfigReport report_of(const std::string& text) {
  ConfigReport report = parse_config(text, "test.toml");
  for (const ConfigProblem& problem : report.problems) ADD_FAILURE() << to_string(problem, "test.toml");
  return report;
}

Json setting(const Json& config, const std::string& key, const std::string& of = "") {
  for (const Json& each : config["settings"]) {
    if (each["key"] == key && (of.empty() ? each["of"].is_null() : each["of"] == of)) return each;
  }
  ADD_FAILURE() << key << " " << of;
  return {};
}

TEST(RunningConfig, EveryKeyHasAValueAndWhereItComesFrom) {
  const RunningConfig running("/etc/x.toml", report_of("[proxy]\ndrain = \"3s\"\n" + std::string(kListeners)));
  const Json config = running.object({});
  EXPECT_EQ(config["file"], "/etc/x.toml");
  EXPECT_EQ(config["needs_restart"], Json::array());
  EXPECT_EQ(setting(config, "proxy.drain")["value"], "3s");
  EXPECT_EQ(setting(config, "proxy.drain")["default"], "25s");
  EXPECT_EQ(setting(config, "proxy.drain")["source"], "file");
  EXPECT_EQ(setting(config, "proxy.shards")["source"], "default");
  EXPECT_EQ(setting(config, "proxy.shards")["value"], 0);
  EXPECT_EQ(setting(config, "listener.handshake_timeout", "one")["source"], "file");
  EXPECT_EQ(setting(config, "listener.handshake_timeout", "two")["source"], "default");
  EXPECT_EQ(setting(config, "listener.connect_timeout", "two")["value"], "8s");
  EXPECT_EQ(setting(config, "listener.certificates", "one")["value"],
            (Json::array({{{"chain", "/a b/chain \"1\".crt"}, {"key", "/a/key = 1.key"}}})));
  EXPECT_EQ(setting(config, "upstream.servers", "broker")["value"],
            (Json::array({"127.0.0.1:1883", "unix:/run/mqtt"})));
  EXPECT_EQ(setting(config, "upstream.tls", "broker")["value"], Json::object());
  EXPECT_EQ(setting(config, "listener.resumption", "one")["value"], true);
  // As many as the reference has, for each table that there is.
  std::size_t rows = 0;
  for (const SettingText& text : setting_texts()) {
    rows += text.setting->table == "listener" ? 2 : 1;
  }
  EXPECT_EQ(config["settings"].size(), rows);
}

TEST(RunningConfig, AReloadChangesWhatItMayAndTheRestWaits) {
  RunningConfig running("x", report_of("[proxy]\nshards = 2\n" + std::string(kListeners)));
  // Other listeners before and after: they are told apart by their names.
  std::string changed(kListeners);
  changed.replace(changed.find("name = \"one\""), 12, "name = \"new\"");
  changed.replace(changed.find("\"8s\""), 4, "\"9s\"");
  running.reloaded(report_of("[proxy]\nshards = 4\ndrain = \"3s\"\n" + changed));
  const Json config = running.object({});
  EXPECT_EQ(setting(config, "proxy.shards")["value"], 2);
  EXPECT_EQ(setting(config, "proxy.shards")["waits"], 4);
  EXPECT_EQ(setting(config, "proxy.shards")["changes_by"], "restart");
  EXPECT_EQ(setting(config, "proxy.drain")["value"], "3s");
  EXPECT_EQ(setting(config, "proxy.drain")["waits"], nullptr);
  EXPECT_EQ(setting(config, "proxy.drain")["changes_by"], "reload");
  EXPECT_EQ(setting(config, "listener.connect_timeout", "two")["value"], "9s");
  EXPECT_EQ(setting(config, "listener.handshake_timeout", "one")["value"], "7s") << "it goes on as it was";
  EXPECT_EQ(setting(config, "listener.handshake_timeout", "one")["source"], "file");
  EXPECT_EQ(config["needs_restart"], (Json::array({"proxy.shards", "listener one (removed)", "listener new (added)"})));
}

TEST(RunningConfig, WhatWasChosenStandsBeforeTheFile) {
  const RunningConfig running("x", report_of(std::string(kListeners)));
  const Json config = running.object({{"listener.auth", "two", "one-way"}});
  EXPECT_EQ(setting(config, "listener.auth", "two")["value"], "one-way");
  EXPECT_EQ(setting(config, "listener.auth", "two")["source"], "run-time");
  EXPECT_EQ(setting(config, "listener.auth", "two")["file_value"], "mutual");
  EXPECT_EQ(setting(config, "listener.auth", "one")["value"], "mutual");
}

TEST(RunningConfig, NoPasswordIsShown) {
  const auto with = [](const std::string& url) {
    return report_of("[registry]\nshared = \"" + url + "\"\n" + std::string(kListeners));
  };
  RunningConfig running("x", with("postgresql://edge:one@db.example/sallyport"));
  running.reloaded(with("postgresql://edge:two@db.example/sallyport"));
  const Json shared = setting(running.object({}), "registry.shared");
  EXPECT_EQ(shared["value"], "postgresql://edge:…@db.example/sallyport");
  EXPECT_EQ(shared["waits"], "postgresql://edge:…@db.example/sallyport") << "another password is another setting";
  EXPECT_EQ(without_passwords("postgresql://u:a?b:c@h,i:5/d?sslmode=require&password=x&sslpassword=y&user=z"),
            "postgresql://u:…@h,i:5/d?sslmode=require&password=…&sslpassword=…&user=z");
  EXPECT_EQ(without_passwords("postgresql:///d?pass%77ord=x"), "postgresql:///d?pass%77ord=…");
  EXPECT_EQ(without_passwords("postgresql://h:5432/d@e"), "postgresql://h:5432/d@e") << "a port is none";
  EXPECT_EQ(without_passwords("\"\""), "\"\"");
}

TEST(RunningConfig, WhatTheFileWritesBecomesJson) {
  EXPECT_EQ(json_of_setting("true"), true);
  EXPECT_EQ(json_of_setting("1024"), 1024);
  EXPECT_EQ(json_of_setting("\"true = { a = 1 }\""), "true = { a = 1 }");
  EXPECT_EQ(json_of_setting("\"a\nb\""), "a\nb");
  EXPECT_EQ(json_of_setting("{ ca = \"/x\", server_name = \"a\" }"), (Json{{"ca", "/x"}, {"server_name", "a"}}));
  EXPECT_EQ(json_of_setting("[]"), Json::array());
  EXPECT_EQ(json_of_setting("nonsense ["), "nonsense [") << "shown as it is";
}

Rejection refusal(const std::string& peer, std::int64_t last) {
  return {.reason = Reason::CaUnknown,
          .listener = "mqtts",
          .peer = peer,
          .via = "",
          .what = "words",
          .subject = "CN=\xff odd",
          .issuer = "CN=Root",
          .serial = "0A",
          .fingerprint = std::string(64, 'a'),
          .claimed = true,
          .count = 3,
          .claimed_count = 2,
          .first = 5,
          .last = last};
}

TEST(KeptRejections, ComeBackAsTheyWere) {
  std::set<std::string> words;
  const auto read = decoded(encoded({refusal("192.0.2.1:1", 9), refusal("[::1]:2", 8)}), words);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2U);
  const Rejection& one = read->front();
  EXPECT_EQ(one.reason, Reason::CaUnknown);
  EXPECT_EQ(one.peer, "192.0.2.1:1");
  EXPECT_EQ(one.what, "words");
  EXPECT_EQ(one.issuer, "CN=Root");
  EXPECT_EQ(one.subject, "CN=\xEF\xBF\xBD odd") << "what is no UTF-8 is shown so";
  EXPECT_EQ(one.key(), refusal("192.0.2.1:1", 9).key());
  EXPECT_TRUE(one.claimed);
  EXPECT_EQ((std::vector<std::int64_t>{static_cast<std::int64_t>(one.count),
                                       static_cast<std::int64_t>(one.claimed_count), one.first, one.last}),
            (std::vector<std::int64_t>{3, 2, 5, 9}));
}

TEST(KeptRejections, ADamagedFileIsNone) {
  const std::string good = encoded({refusal("192.0.2.1:1", 9)});
  std::set<std::string> words;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 1;
    EXPECT_FALSE(decoded(bad, words)) << at;
    EXPECT_FALSE(decoded(good.substr(0, at), words)) << at;
  }
  EXPECT_FALSE(decoded(good + "x", words));
  EXPECT_TRUE(decoded(good, words));
}

}  // namespace
}  // namespace sallyport
