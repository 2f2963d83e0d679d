// What a console asks of the API: changes of many devices at once, finding some among many, what needs attention.
#include <algorithm>
#include <map>
#include <set>

#include "tests/admin/api_world.h"

namespace sallyport::test {
namespace {

class ManyTest : public ApiTest {
 protected:
  // Devices of ca_, in the order that they were made in.
  std::vector<std::string> registered(int count, const std::string& name) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) {
      const Identity509 device = make_device(name + std::to_string(i), ca_);
      const HttpResponse answer = ask("POST", "/v1/devices", Json{{"certificate", device.certificate.pem()}}.dump());
      EXPECT_EQ(answer.status, 201U) << answer.body;
      ids.push_back(json(answer)["id"]);
    }
    return ids;
  }
  Json bulk(const Json& body) {
    const HttpResponse answer = ask("POST", "/v1/devices/bulk", body.dump());
    EXPECT_EQ(answer.status, 200U) << answer.body;
    return json(answer);
  }
  std::string status_of(const std::string& id) { return json(ask("GET", "/v1/devices/" + id))["status"]; }
  std::vector<std::string> cns(const std::string& query) {
    std::vector<std::string> all;
    std::string token;
    do {
      const Json page = json(ask("GET", "/v1/devices?limit=2&page_token=" + token + "&" + query));
      for (const Json& each : page["items"]) all.push_back(each["cn"]);
      token = page["next_page_token"];
    } while (!token.empty());
    std::sort(all.begin(), all.end());
    return all;
  }
};

TEST_F(ManyTest, ADryRunSaysWhatWouldChangeAndChangesNothing) {
  const auto ids = registered(3, "meter ");
  ASSERT_EQ(ask("POST", "/v1/devices/" + ids[0] + "/revoke").status, 200U);
  ASSERT_EQ(ask("POST", "/v1/devices/" + ids[1] + "/deactivate").status, 200U);
  const Json tried = bulk({{"action", "deactivate"}, {"ids", ids}, {"dry_run", true}});
  EXPECT_EQ(tried["matched"], 3);
  EXPECT_EQ(tried["would_change"], 1) << "one is so already, one is revoked";
  EXPECT_EQ(tried["changed"], 0);
  ASSERT_EQ(tried["failed"].size(), 1U);
  EXPECT_EQ(tried["failed"][0]["id"], ids[0]);
  EXPECT_EQ(tried["failed"][0]["cn"], "meter 0");
  EXPECT_THAT(tried["failed"][0]["error"].get<std::string>(), HasSubstr("revoked, which is final"));
  EXPECT_EQ(status_of(ids[2]), "active");
  EXPECT_TRUE(tried["cursor"].is_null());
}

TEST_F(ManyTest, EachIsChangedInOneCommitWithALineOfItsOwn) {
  const auto ids = registered(4, "meter ");
  const std::uint64_t commits = registrar_->stats().commits;
  const Json done = bulk({{"action", "deactivate"}, {"ids", {ids[0], ids[1], ids[0], std::string(64, 'a')}}});
  EXPECT_EQ(registrar_->stats().commits, commits + 1);
  EXPECT_EQ(done["changed"], 2) << "one was named twice";
  ASSERT_EQ(done["failed"].size(), 1U);
  EXPECT_EQ(done["failed"][0]["id"], std::string(64, 'a'));
  EXPECT_EQ(status_of(ids[0]) + status_of(ids[1]) + status_of(ids[2]), "inactiveinactiveactive");
  EXPECT_EQ(registrar_->stats().devices.inactive, 2U);
  for (const std::string& id : {ids[0], ids[1]}) {
    const Json lines = json(ask("GET", "/v1/audit?target=" + id))["items"];
    ASSERT_EQ(lines.size(), 2U) << lines;
    EXPECT_EQ(lines[0]["action"], "device.deactivate");
    EXPECT_EQ(lines[0]["before"], "active");
    EXPECT_EQ(lines[0]["who"], "uid 7");
    EXPECT_EQ(lines[1]["action"], "device.register");
  }
  EXPECT_EQ(bulk({{"action", "activate"}, {"filter", {{"status", "inactive"}}}})["changed"], 2);
  EXPECT_EQ(bulk({{"action", "revoke"}, {"ids", {ids[0]}}})["changed"], 1);
  EXPECT_EQ(bulk({{"action", "activate"}, {"ids", {ids[0]}}})["failed"].size(), 1U);
  const Json gone = bulk({{"action", "delete"}, {"filter", Json::object()}});
  EXPECT_EQ(gone["changed"], 3);
  ASSERT_EQ(gone["failed"].size(), 1U) << "it would register again";
  EXPECT_EQ(gone["failed"][0]["id"], ids[0]);
  EXPECT_EQ(ask("GET", "/v1/devices/" + ids[1]).status, 404U);
  EXPECT_EQ(registrar_->stats().devices.active, 0U);
}

TEST_F(ManyTest, OnlyWhatWaitsIsApproved) {
  const auto ids = registered(2, "meter ");
  const Json twice = bulk({{"action", "deactivate"}, {"ids", {ids[0], ids[0], ids[0]}}, {"dry_run", true}});
  EXPECT_EQ(twice["would_change"], 1) << "one that is named three times is one";
  const Json done = bulk({{"action", "approve"}, {"ids", ids}});
  EXPECT_EQ(done["changed"], 0);
  EXPECT_EQ(done["failed"].size(), 2U);
  EXPECT_EQ(bulk({{"action", "approve"}, {"filter", Json::object()}})["matched"], 0) << "a filter looks at those alone";
  EXPECT_EQ(ask("POST", "/v1/devices/bulk", R"({"action": "approve", "filter": {"status": "active"}})").status, 400U);
  ASSERT_EQ(ask("POST", "/v1/devices/" + ids[0] + "/deactivate").status, 200U);
  EXPECT_EQ(bulk({{"action", "approve"}, {"ids", {ids[0]}}})["failed"].size(), 1U) << "inactive is not pending";
  EXPECT_EQ(status_of(ids[0]), "inactive");
}

// Whoever waits is let in by approving alone; and whom nobody saw in the dry run is not let in with the others.
TEST_F(ManyTest, NobodyIsLetInByTheWay) {
  const auto ids = registered(1, "meter ");
  ASSERT_EQ(ask("POST", "/v1/devices/" + ids[0] + "/deactivate").status, 200U);
  ASSERT_EQ(ask("PATCH", "/v1/cas/" + to_hex(ca_.certificate.fingerprint()), R"({"approve": true})").status, 200U);
  const Certificate waiting = make_device("meter 1", ca_).certificate;
  const X509StackPtr none(sk_X509_new_null());
  const Verdict verdict = gate_.decide({waiting.x509(), none.get()}, *registrar_->ca_set(), {}, std::time(nullptr));
  ASSERT_TRUE(registrar_->offer({verdict.leaf_der, *verdict.identity, *verdict.path, verdict.pending}));
  const std::string id = to_hex(waiting.fingerprint());
  ASSERT_TRUE(eventually([&] { return ask("GET", "/v1/devices/" + id).status == 200; }));
  ASSERT_EQ(status_of(id), "pending");
  const Json done = bulk({{"action", "activate"}, {"filter", {{"cn_part", "meter"}}}});
  EXPECT_EQ(done["changed"], 1);
  ASSERT_EQ(done["failed"].size(), 1U);
  EXPECT_THAT(done["failed"][0]["error"].get<std::string>(), HasSubstr("waits for approval"));
  EXPECT_EQ(status_of(id), "pending");
  const Json tried = bulk({{"action", "approve"}, {"filter", Json::object()}, {"dry_run", true}});
  EXPECT_EQ(tried["matched"], 1);
  const Json later = bulk({{"action", "approve"}, {"filter", Json::object()}, {"as_of", utc(std::time(nullptr) - 60)}});
  EXPECT_EQ(later["changed"], 0);
  EXPECT_EQ(later["came_since"], 1);
  EXPECT_EQ(later["matched"], 0);
  EXPECT_EQ(status_of(id), "pending");
  EXPECT_EQ(bulk({{"action", "approve"}, {"filter", Json::object()}, {"as_of", tried["as_of"]}})["changed"], 1);
  EXPECT_EQ(status_of(id), "active");
}

// nlohmann copies by recursion: what is deep is refused before it is a value.
TEST_F(ManyTest, DeepJsonIsRefused) {
  const auto nested = [](const char* before, int deep, const char* behind) {
    return before + std::string(static_cast<std::size_t>(deep), '[') +
           std::string(static_cast<std::size_t>(deep), ']') + behind;
  };
  for (const int deep : {kDeepestJson, 50'000, 500'000}) {
    EXPECT_EQ(ask("POST", "/v1/explain", nested("{\"chain\":", deep, "}")).status, 400U) << deep;
    EXPECT_EQ(ask("POST", "/v1/devices", nested("{\"certificate\":", deep, "}")).status, 400U) << deep;
    EXPECT_EQ(ask("POST", "/v1/devices/bulk", nested("{\"filter\":{\"cn\":", deep, "}}")).status, 400U) << deep;
    EXPECT_EQ(ask("POST", "/v1/sessions/cut", nested("{\"filter\":{\"cn_part\":", deep, "}}")).status, 400U) << deep;
  }
  EXPECT_FALSE(parse_json(nested("", kDeepestJson, "")).is_discarded());
  EXPECT_TRUE(parse_json(nested("", kDeepestJson + 1, "")).is_discarded());
  EXPECT_FALSE(parse_json(R"(["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["])")
                   .is_discarded())
      << "in a text it is none";
  EXPECT_TRUE(parse_json("[1").is_discarded());
}

TEST_F(ManyTest, ADiskThatIsFullTakesAwayAndDoesNotGive) {
  const auto ids = registered(3, "meter ");
  ASSERT_EQ(bulk({{"action", "deactivate"}, {"ids", {ids[2]}}})["changed"], 1);
  env_.disk_full = true;
  EXPECT_EQ(ask("POST", "/v1/devices/bulk", Json{{"action", "activate"}, {"ids", {ids[2]}}}.dump()).status, 503U);
  const HttpResponse refused =
      ask("POST", "/v1/devices/bulk", Json{{"action", "revoke"}, {"ids", {ids[0], ids[1]}}}.dump());
  EXPECT_EQ(refused.status, 503U);
  EXPECT_THAT(refused.body, HasSubstr("in force, NOT durable yet"));
  EXPECT_EQ(status_of(ids[0]) + status_of(ids[1]) + status_of(ids[2]), "revokedrevokedinactive");
  EXPECT_EQ(ask("POST", "/v1/devices/bulk", Json{{"action", "delete"}, {"ids", {ids[2]}}}.dump()).status, 503U);
  EXPECT_EQ(status_of(ids[2]), "inactive");
  env_.disk_full = false;
  EXPECT_TRUE(eventually([&] { return ask("POST", "/v1/devices/" + ids[2] + "/activate").status == 200; }));
}

TEST_F(ManyTest, ARequestForManySaysExactlyWhich) {
  const auto ids = registered(1, "meter ");
  for (const char* body :
       {"[]", "{}", R"({"action": "burn", "ids": []})", R"({"action": "revoke"})",
        R"({"action": "revoke", "ids": [], "filter": {}})", R"({"action": "revoke", "ids": "all"})",
        R"({"action": "revoke", "ids": [7]})", R"({"action": "revoke", "ids": ["ab"]})",
        R"({"action": "revoke", "filter": []})", R"({"action": "revoke", "filter": {"stauts": "active"}})",
        R"({"action": "revoke", "filter": {"cn_part": ""}})", R"({"action": "revoke", "filter": {"ca": null}})",
        R"({"action": "revoke", "filter": {}, "as_of": "soon"})", R"({"action": "revoke", "filter": {"status": 7}})",
        R"({"action": "revoke", "filter": {"status": "gone"}})",
        R"({"action": "revoke", "filter": {"expires_after": "soon"}})",
        R"({"action": "revoke", "filter": {"serial_prefix": "xy"}})",
        R"({"action": "revoke", "filter": {}, "dry_run": "yes"})",
        R"({"action": "revoke", "filter": {}, "cursor": "zz"})"}) {
    EXPECT_EQ(ask("POST", "/v1/devices/bulk", body).status, 400U) << body;
  }
  EXPECT_EQ(ask("POST", "/v1/devices/bulk",
                Json{{"action", "revoke"}, {"ids", std::vector<std::string>(1001, ids[0])}}.dump())
                .status,
            400U);
  EXPECT_EQ(status_of(ids[0]), "active");
  for (const char* body :
       {"{}", R"({"ids": ["xyz"]})", R"({"filter": {"clone": "true"}})", R"({"filter": {"clones": "maybe"}})",
        R"({"ids": [], "filter": {}})", R"({"filter": {}, "as_of": "2026-11-29T00:00:00Z"})"}) {
    EXPECT_EQ(ask("POST", "/v1/sessions/cut", body).status, 400U) << body;
  }
}

TEST_F(ManyTest, DevicesAreFoundByPartsOfWhatTheyAre) {
  (void)registered(3, "Meter ");
  (void)registered(2, "valve ");
  using Names = std::vector<std::string>;
  EXPECT_EQ(cns("cn_part=mEtEr"), (Names{"Meter 0", "Meter 1", "Meter 2"}));
  EXPECT_EQ(cns("cn_part=e%202"), (Names{}));
  EXPECT_EQ(cns("cn_part=e+1"), (Names{"valve 1"}));
  EXPECT_EQ(cns("cn=Meter*&cn_part=1"), (Names{"Meter 1"}));
  EXPECT_EQ(cns("cn_part=*"), (Names{})) << "no pattern";
  EXPECT_EQ(cns("ca=" + to_hex(ca_.certificate.fingerprint()) + "&cn_part=VALVE").size(), 2U);
  EXPECT_EQ(cns("expires_after=2000-01-01T00:00:00Z").size(), 5U);
  EXPECT_EQ(cns("expires_after=2999-01-01T00:00:00Z").size(), 0U);
  EXPECT_EQ(cns("expires_before=2999-01-01T00:00:00Z&expires_after=2000-01-01T00:00:00Z").size(), 5U);
  const Json all = json(ask("GET", "/v1/devices"))["items"];
  for (const Json& device : all) {
    const std::string serial = device["serial"], cn = device["cn"];
    for (std::size_t digits = 1; digits <= serial.size(); ++digits) {
      const std::string begin = lower(serial.substr(0, digits));
      std::size_t expected = 0;
      for (const Json& other : all) expected += lower(other["serial"].get<std::string>()).find(begin) == 0 ? 1 : 0;
      const auto found = cns("serial_prefix=" + begin);
      EXPECT_EQ(found.size(), expected) << begin;
      EXPECT_EQ(std::count(found.begin(), found.end(), cn), 1) << begin;
    }
    EXPECT_EQ(cns("serial_prefix=" + serial + "00").size(), 0U);
  }
}

// --- what a console asks

TEST_F(ManyTest, WhatNeedsAttentionIsListed) {
  (void)registered(1, "meter ");
  const auto kinds = [&] {
    std::set<std::string> all;
    const Json listed = json(ask("GET", "/v1/attention"));
    for (const Json& each : listed["items"]) all.insert(each["kind"]);
    return all;
  };
  const auto calm = kinds();
  EXPECT_EQ(calm.count("warning") + calm.count("reload-refused") + calm.count("store"), 0U);
  warnings_.say(Warnings::Kind::Clock, "clock", "set it");
  outcomes_.reloaded("the file is wrong");
  const Json items = json(ask("GET", "/v1/attention"))["items"];
  const auto now = kinds();
  EXPECT_EQ(now.count("warning"), 1U);
  EXPECT_EQ(now.count("reload-refused"), 1U);
  const std::map<std::string, int> rank = {{"error", 0}, {"warning", 1}, {"info", 2}};
  for (std::size_t i = 1; i < items.size(); ++i) {
    EXPECT_LE(rank.at(items[i - 1]["severity"]), rank.at(items[i]["severity"])) << "the worst first";
  }
}

TEST_F(ManyTest, ExplainTakesOneOfThree) {
  const auto ids = registered(1, "meter ");
  for (const char* body : {"{}", R"({"chain": "", "device": ""})", R"({"device": 7})"}) {
    EXPECT_EQ(ask("POST", "/v1/explain", body).status, 400U) << body;
  }
  const Json both = {{"device", ids[0]}, {"refusal", std::string(32, 'a')}};
  EXPECT_EQ(ask("POST", "/v1/explain", both.dump()).status, 400U);
  EXPECT_EQ(ask("POST", "/v1/explain", R"({"refusal": "aaaa"})").status, 404U);
  EXPECT_EQ(ask("POST", "/v1/explain", Json{{"device", std::string(64, 'a')}}.dump()).status, 404U);
  const Json good = json(ask("POST", "/v1/explain", Json{{"device", ids[0]}}.dump()));
  EXPECT_EQ(good["admitted"], true);
  EXPECT_EQ(good["source"], "certificate");
  EXPECT_TRUE(good["stopped_at"].is_null());
  ASSERT_EQ(ask("POST", "/v1/devices/" + ids[0] + "/revoke").status, 200U);
  const Json revoked = json(ask("POST", "/v1/explain", Json{{"device", ids[0]}}.dump()));
  EXPECT_EQ(revoked["reason"], "device_revoked");
  EXPECT_EQ(revoked["stopped_at"], 3);
}

}  // namespace
}  // namespace sallyport::test
