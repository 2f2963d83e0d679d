// Who may ask what; how an import reads its stream; and that the description is the API.
#include <algorithm>
#include <fstream>
#include <set>

#include "admin/operations/metric_table.h"
#include "admin/operations/metrics.h"
#include "tests/admin/api_world.h"

namespace sallyport::test {
namespace {

TEST_F(ApiTest, StrangersLearnNothing) {
  for (const char* path : {"/v1/status", "/v1/devices", "/v1/nothing", "/metrics", "/livez", "/"}) {
    EXPECT_EQ(ask("GET", path, "", "-").status, 401U) << path;
    EXPECT_THAT(ask("GET", path, "", "-").body, HasSubstr("show a token")) << path;
    const HttpResponse wrong = ask("GET", path, "", "wrong");
    EXPECT_EQ(wrong.status, 401U) << path;
    EXPECT_THAT(wrong.body, HasSubstr("this token is unknown, revoked or has ended")) << path;
  }
}

TEST_F(ApiTest, ATokenHasARoleAndAnEnd) {
  const auto viewer = access_->create("watcher", false, 0, {});
  const auto oper = access_->create("ci", true, 0, {});
  ASSERT_TRUE(viewer && oper);
  EXPECT_EQ(ask("GET", "/v1/status", "", viewer->token).status, 200U);
  EXPECT_EQ(ask("POST", "/v1/explain", "{}", viewer->token).status, 400U) << "it only reads";
  int changes = 0;
  for (const AdminApi::Route& route : AdminApi::routes()) {
    if (route.role != AdminApi::Role::Operator) continue;
    ++changes;
    std::string path(route.path);
    for (std::size_t open = path.find('{'); open != std::string::npos; open = path.find('{')) {
      path.replace(open, path.find('}') - open + 1, std::string(64, 'a'));
    }
    EXPECT_EQ(ask(std::string(route.method), path, "{}", viewer->token).status, 403U) << route.method << " " << path;
    EXPECT_NE(ask(std::string(route.method), path, "{}", oper->token).status, 403U) << route.method << " " << path;
  }
  EXPECT_GT(changes, 15);
  for (const AdminApi::Route& route : AdminApi::routes()) {
    const bool reads = route.method == "GET" || route.path == "/v1/explain";
    EXPECT_EQ(route.role != AdminApi::Role::Operator, reads) << route.method << " " << route.path;
  }
  // Whose place on the server it takes.
  HttpRequest head;
  head.method = "GET";
  head.path = "/v1/openapi.json";
  EXPECT_EQ(api_->plan(head).holder, "") << "a stranger's";
  head.authorization = "Bearer " + viewer->token;
  EXPECT_EQ(api_->plan(head).holder, "watcher");
  ASSERT_TRUE(access_->revoke("watcher", {}));
  EXPECT_EQ(api_->plan(head).holder, "");
  EXPECT_EQ(ask("GET", "/v1/status", "", viewer->token).status, 401U);
  EXPECT_FALSE(access_->revoke("watcher", {}));
  EXPECT_FALSE(access_->create("ci", true, 0, {})) << "the name is taken";
  const auto ended = access_->create("ended", true, -1, {});
  ASSERT_TRUE(ended);
  EXPECT_EQ(ask("GET", "/v1/status", "", ended->token).status, 401U);
  EXPECT_EQ(ask("GET", "/v1/status", "", oper->token + "0").status, 401U);
  EXPECT_EQ(ask("GET", "/v1/status", "", oper->token.substr(1)).status, 401U);
  // Only its hash is kept, and it is found again after a restart.
  const auto rows = registrar_->tokens();
  ASSERT_TRUE(rows);
  Access again(*registrar_);
  ASSERT_TRUE(again.load());
  HttpRequest request;
  request.authorization = "Bearer " + oper->token;
  ASSERT_TRUE(again.caller(request));
  EXPECT_EQ(again.caller(request)->actor.who, "ci");
}

// It opens nothing more at once. Whoever revokes it again is told whether a restart would bring it back.
TEST_F(ApiTest, ATokenRevokedWhileTheDiskIsFullStaysRevokedAndIsWrittenLater) {
  const auto made = access_->create("ci", true, 0, {});
  ASSERT_TRUE(made);
  env_.disk_full = true;
  for (int round = 0; round < 2; ++round) {
    const HttpResponse refused = ask("DELETE", "/v1/tokens/ci");
    EXPECT_EQ(refused.status, 503U);
    EXPECT_THAT(refused.body, HasSubstr("in force, NOT durable yet"));
    EXPECT_EQ(ask("GET", "/v1/status", "", made->token).status, 401U);
    EXPECT_EQ(json(ask("GET", "/v1/status"))["restrictions_not_durable"], 1);
    EXPECT_TRUE(registrar_->stats().owes);
  }
  EXPECT_EQ(ask("POST", "/v1/tokens", R"({"name": "ci", "role": "operator"})").status, 503U);
  env_.disk_full = false;
  unsigned status = 503;
  ASSERT_TRUE(eventually([&] { return (status = ask("DELETE", "/v1/tokens/ci").status) != 503; }));
  EXPECT_EQ(status / 100, 2U) << status;
  EXPECT_EQ(json(ask("GET", "/v1/status"))["restrictions_not_durable"], 0);
  EXPECT_FALSE(registrar_->stats().owes);
  EXPECT_EQ(ask("DELETE", "/v1/tokens/ci").status, 404U);
  EXPECT_TRUE(registrar_->tokens()->empty());
  EXPECT_EQ(ask("POST", "/v1/tokens", R"({"name": "ci", "role": "operator"})").status, 201U);
}

// No worker waits behind it, and whoever asks is told.
TEST_F(ApiTest, ADiskThatHangsIsToldAndKeepsNobodyWaiting) {
  const Metrics metrics(config_, plane_, *registrar_, warnings_, outcomes_, log_);
  Probes probes(metrics);
  probes.set(Probes::Phase::Ready);
  HttpRequest ready;
  ready.method = "GET";
  ready.path = "/readyz";
  EXPECT_EQ(probes.handle(ready).status, 200U);
  EXPECT_EQ(json(ask("GET", "/v1/status"))["store_stalled"], false);
  env_.hangs = true;
  const std::string ca = "/v1/cas/" + to_hex(ca_.certificate.fingerprint());
  for (int round = 0; round < 8; ++round) {  // more than there are workers
    const HttpResponse refused = ask("POST", ca + "/deactivate");
    EXPECT_EQ(refused.status, 503U);
    EXPECT_THAT(refused.body, HasSubstr("in force, NOT durable yet"));
  }
  EXPECT_EQ(probes.handle(ready).status, 503U);
  EXPECT_THAT(probes.handle(ready).body, HasSubstr("the store is stalled"));
  EXPECT_EQ(json(ask("GET", "/v1/status"))["store_stalled"], true);
  ready.path = "/metrics";
  EXPECT_THAT(probes.handle(ready).body, HasSubstr("\nsallyport_store_stalled 1\n"));
  ready.path = "/readyz";
  EXPECT_EQ(json(ask("GET", ca))["status"], "inactive");
  EXPECT_THAT(ask("POST", "/v1/registration-codes").body, HasSubstr("the disk does not answer"));
  env_.thaw();
  ASSERT_TRUE(eventually([&] { return ask("POST", ca + "/deactivate").status == 200; }));
  EXPECT_EQ(probes.handle(ready).status, 200U);
}

TEST_F(ApiTest, TheSocketIsTheOperators) {
  EXPECT_EQ(ask("GET", "/livez").status, 200U) << "probes are on it, too";
  EXPECT_EQ(ask("POST", "/v1/registration-codes").status, 201U);
  const Json line = json(ask("GET", "/v1/audit"))["items"][0];
  EXPECT_EQ(line["who"], "uid 7");
  EXPECT_EQ(line["from"], "socket pid 1");
  EXPECT_EQ(line["action"], "code.issue");
}

TEST_F(ApiTest, OddPathsAreNotFound) {
  for (const char* path : {"/v1/", "//v1/status", "/v1/../v1/status", "/v1/%73tatus", "/v1/status/",
                           "/v1/cas//certificate", "/v1/devices/%00"}) {
    const unsigned status = ask("GET", path).status;
    EXPECT_TRUE(status == 404 || status == 400 || (status == 200 && path[1] != 'v')) << path << " " << status;
  }
  EXPECT_EQ(ask("PUT", "/v1/status").status, 405U);
  EXPECT_THAT(ask("PATCH", "/v1/cas").body, HasSubstr("GET, POST"));
}

class ImportTest : public ApiTest {
 protected:
  std::string fleet(int count) {
    std::string pem;
    for (int i = 0; i < count; ++i) pem += make_device("d" + std::to_string(i), ca_).certificate.pem();
    return pem;
  }
  Json import(const std::string& body, std::size_t piece = SIZE_MAX) {
    const HttpResponse response = ask("POST", "/v1/devices/import", body, "", piece);
    EXPECT_EQ(response.status, 200U) << response.body;
    return json(response);
  }
};

TEST_F(ImportTest, AStreamInAnyPiecesIsTheSameStream) {
  const std::string pem = fleet(20);
  const Json first = import(pem, 7);
  EXPECT_EQ(first["registered"], 20);
  EXPECT_EQ(first["failed"], 0);
  const Json again = import(pem);
  EXPECT_EQ(again["already"], 20);
  EXPECT_EQ(again["registered"], 0);
}

TEST_F(ImportTest, WhatFailsIsNamedAndTheRestIsKept) {
  const Identity509 other = make_ca("Stranger");
  Leaf old;
  old.not_after = std::time(nullptr) - 60;
  const std::string good = make_device("good", ca_).certificate.pem();
  const std::string unknown = make_device("unknown", other).certificate.pem();
  const std::string expired = make(old, &ca_).certificate.pem();
  const auto lines = [](const std::string& text) {
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  };
  std::string body = "some text before\r\n" + unknown + expired +
                     "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + good + ca_.certificate.pem() +
                     "-----BEGIN CERTIFICATE-----\nMIIB";
  const Json outcome = import(body);
  EXPECT_EQ(outcome["registered"], 1);
  EXPECT_EQ(outcome["failed"], 5);
  const Json& failures = outcome["failures"];
  ASSERT_EQ(failures.size(), 5U);
  EXPECT_EQ(failures[0]["line"], 2);
  EXPECT_EQ(failures[0]["reason"], "ca_unknown");
  EXPECT_EQ(failures[1]["line"], 2 + lines(unknown));
  EXPECT_EQ(failures[1]["reason"], "expired");
  EXPECT_EQ(failures[2]["reason"], "unreadable");
  EXPECT_EQ(failures[3]["reason"], "not_a_device");
  EXPECT_THAT(failures[4]["detail"].get<std::string>(), HasSubstr("no END line"));
}

TEST_F(ImportTest, NothingIsPassedOverInSilence) {
  const std::string one = make_device("one", ca_).certificate.pem(), two = make_device("two", ca_).certificate.pem();
  const Json outcome = import(one + two.substr(1) + pem_of("X509 CRL", "any"));
  EXPECT_EQ(outcome["registered"], 1);
  ASSERT_EQ(outcome["failures"].size(), 2U);
  EXPECT_THAT(outcome["failures"][0]["detail"].get<std::string>(), HasSubstr("without its BEGIN line"));
  EXPECT_THAT(outcome["failures"][1]["detail"].get<std::string>(), HasSubstr("not a certificate"));
}

TEST_F(ImportTest, APrivateKeyEndsIt) {
  const std::string key = key_pem(make_key().get());
  const HttpResponse response = ask("POST", "/v1/devices/import", fleet(1) + key + fleet(3));
  EXPECT_EQ(response.status, 400U);
  EXPECT_THAT(response.body, HasSubstr("private key"));
  EXPECT_EQ(response.body.find(key.substr(40, 40)), std::string::npos);
  EXPECT_LE(registrar_->stats().devices.active, 1U);
}

TEST_F(ImportTest, ABombIsBounded) {
  std::string bomb;
  for (int i = 0; i < 20'000; ++i) bomb += "-----BEGIN CERTIFICATE-----\n";
  bomb += std::string(10 << 20, 'A');
  const Json outcome = import(bomb, 16 * 1024);
  EXPECT_EQ(outcome["registered"], 0);
  EXPECT_GE(outcome["failed"], 20'000);
  EXPECT_EQ(outcome["failures"].size(), Importer::kFailuresKept);
  EXPECT_GT(outcome["failures_omitted"], 0);
}

// A stream may be kept open for as long as its sender likes: what decides is the token as it is now.
TEST_F(ImportTest, ARevokedTokenRegistersNothingMore) {
  const auto made = access_->create("ci", true, 0, {});
  ASSERT_TRUE(made);
  HttpRequest head;
  head.method = "POST";
  head.path = "/v1/devices/import";
  head.peer = {false, "", "192.0.2.1:5"};
  head.authorization = "Bearer " + made->token;
  const std::string pem = fleet(2);
  for (const bool piece_after : {true, false}) {  // the next piece finds it out, or the end of the body does
    HttpPlan plan = api_->plan(head);
    ASSERT_TRUE(plan.sink);
    EXPECT_TRUE(plan.sink->take(pem));
    ASSERT_TRUE(access_->revoke("ci", {}));
    if (piece_after) {
      EXPECT_FALSE(plan.sink->take("\n"));
    }
    const HttpResponse answer = plan.sink->finish(true);
    EXPECT_EQ(answer.status, 401U);
    EXPECT_THAT(answer.body, HasSubstr("revoked or has ended while the body came"));
    EXPECT_THAT(answer.body, HasSubstr("0 registered"));
    EXPECT_EQ(registrar_->stats().devices.active, 0U);
    EXPECT_THAT(ask("GET", "/v1/audit").body, HasSubstr("then its token was revoked or ended"));
    // Another of the same name is another token.
    const auto again = access_->create("ci", true, 0, {});
    ASSERT_TRUE(again);
    EXPECT_EQ(api_->plan(head).refused->status, 401U);
    head.authorization = "Bearer " + again->token;
  }
}

TEST_F(ImportTest, OnlyTwoAtOnce) {
  HttpRequest head;
  head.method = "POST";
  head.path = "/v1/devices/import";
  head.peer.local = true;
  HttpPlan one = api_->plan(head), two = api_->plan(head);
  EXPECT_TRUE(one.sink && two.sink);
  HttpPlan three = api_->plan(head);
  ASSERT_TRUE(three.refused);
  EXPECT_EQ(three.refused->status, 409U);
  one.sink.reset();
  EXPECT_TRUE(api_->plan(head).sink);
}

TEST_F(ApiTest, TheDescriptionIsTheTable) {
  const Json described = json(ask("GET", "/v1/openapi.json"));
  EXPECT_EQ(described["openapi"], "3.1.0");
  std::set<std::string> ids;
  for (const AdminApi::Route& route : AdminApi::routes()) {
    const Json& operation = described["paths"][std::string(route.path)][lower(route.method)];
    ASSERT_TRUE(operation.is_object()) << route.path;
    EXPECT_TRUE(ids.insert(operation["operationId"]).second) << operation["operationId"];
    for (const std::string_view schema : {route.body, route.answer}) {
      if (schema.empty() || schema.find('/') != std::string_view::npos) continue;
      EXPECT_TRUE(described["components"]["schemas"].contains(std::string(schema))) << schema;
    }
  }
}

TEST_F(ApiTest, EveryReasonIsInTheDescription) {
  const Json schemas = AdminApi::openapi()["components"]["schemas"];
  for (const char* object : {"Rejection", "Explanation"}) {
    const Json& names = schemas[object]["properties"]["reason"]["enum"];
    for (std::size_t i = 1; i < kReasonCount; ++i) {
      EXPECT_NE(std::find(names.begin(), names.end(), std::string(kReasons[i].name)), names.end()) << kReasons[i].name;
    }
    EXPECT_EQ(std::find(names.begin(), names.end(), "none"), names.end());
  }
}

TEST_F(ApiTest, EveryMetricOfTheTableIsOnThePageWithItsLabels) {
  config_.listeners.resize(1);
  config_.listeners[0].name = "mqtts";
  const Metrics metrics(config_, plane_, *registrar_, warnings_, outcomes_, log_);
  const auto families = metrics.Collect();
  ASSERT_EQ(families.size(), metric_rows().size());
  std::set<std::string> names;
  for (std::size_t i = 0; i < families.size(); ++i) {
    const MetricRow& row = metric_rows()[i];
    EXPECT_EQ(families[i].name, full_name(row));
    EXPECT_TRUE(names.insert(families[i].name).second) << families[i].name << " stands twice";
    EXPECT_EQ(families[i].name.ends_with("_total"), row.type == prometheus::MetricType::Counter) << families[i].name;
    EXPECT_FALSE(row.help.empty());
    for (const auto& metric : families[i].metric) {
      ASSERT_EQ(metric.label.size(), row.labels.size()) << families[i].name;
      for (std::size_t label = 0; label < row.labels.size(); ++label) {
        EXPECT_EQ(metric.label[label].name, row.labels[label]) << families[i].name;
        EXPECT_FALSE(metric.label[label].value.empty());
      }
    }
  }
}

TEST_F(ApiTest, ExplainSaysWhatTheGateSays) {
  const Identity509 device = make_device("d", ca_);
  const auto explain = [&](const Json& body) { return json(ask("POST", "/v1/explain", body.dump())); };
  const Json admitted = explain({{"chain", device.certificate.pem()}});
  EXPECT_EQ(admitted["admitted"], true);
  EXPECT_EQ(admitted["reason"], nullptr);
  EXPECT_GE(admitted["steps"].size(), 6U);
  const Json later = explain({{"chain", device.certificate.pem()}, {"at", "2099-01-01T00:00:00Z"}});
  EXPECT_EQ(later["admitted"], false);
  EXPECT_EQ(later["reason"], "expired");
  ASSERT_TRUE(registrar_->set_ca_status(ca_.certificate.fingerprint(), CaStatus::Inactive));
  EXPECT_EQ(explain({{"chain", device.certificate.pem()}})["reason"], "ca_inactive");
  EXPECT_EQ(registrar_->stats().devices.active, 0U) << "explaining registers nobody";
  EXPECT_EQ(ask("POST", "/v1/explain", Json{{"chain", key_pem(device.key.get())}}.dump()).status, 400U);
}

// "-5AFEFDFD" was listed, and refused wherever it was typed.
TEST_F(ApiTest, WhatIsPrintedIsTaken) {
  Leaf leaf;
  leaf.serial = {0x5A, 0xFE, 0xFD, 0xFD};
  leaf.negative_serial = true;
  const Identity509 device = make(leaf, &ca_);
  leaf.ca = true;
  leaf.cn = "Negative";
  const Identity509 below_zero = make(leaf, nullptr);
  leaf = {};
  leaf.serial = std::vector<std::uint8_t>(32, 0x4B);  // as long as an id
  const Identity509 long_one = make(leaf, &ca_);
  ASSERT_TRUE(registrar_->trust({ca_.certificate, below_zero.certificate}));
  for (const Identity509* each : {&device, &long_one}) {
    ASSERT_EQ(ask("POST", "/v1/devices", Json{{"certificate", each->certificate.pem()}}.dump()).status, 201U);
  }
  const auto colons = [](const std::string& hex) {
    std::string text;
    for (std::size_t i = 0; i < hex.size(); i += 2) text += (i == 0 ? "" : ":") + hex.substr(i, 2);
    return text;
  };
  for (const auto& [kind, certificate] :
       {std::pair("devices", &device.certificate), std::pair("cas", &below_zero.certificate),
        std::pair("devices", &long_one.certificate)}) {
    const std::string id = to_hex(certificate->fingerprint()), path = std::string("/v1/") + kind;
    const Json shown = json(ask("GET", path + "/" + id));
    const std::string serial = shown["serial"];
    for (const std::string& reference : {serial, colons(id), id.substr(0, 12), colons(id.substr(0, 12))}) {
      EXPECT_EQ(json(ask("GET", path + "/" + reference))["id"], id) << reference;
      EXPECT_EQ(ask("GET", path + "/" + reference + "/certificate").status, 200U) << reference;
    }
    const Json listed = json(ask("GET", path + "?serial=" + serial));
    ASSERT_EQ(listed["items"].size(), 1U) << serial;
    EXPECT_EQ(listed["items"][0]["id"], id);
    EXPECT_EQ(ask("POST", path + "/" + colons(id) + "/deactivate").status, 200U);
    EXPECT_EQ(ask("GET", "/v1/sessions?device=" + to_hex(device.certificate.fingerprint()) + "&ca=-5AFEFDFD").status,
              200U);
    EXPECT_EQ(ask("GET", "/v1/rejections?serial=" + serial).status, 200U);
  }
  EXPECT_EQ(ask("GET", "/v1/devices/5AFEFDFD").status, 404U) << "another number";
  EXPECT_EQ(ask("GET", "/v1/devices?serial=-").status, 400U);
  EXPECT_EQ(ask("GET", "/v1/server-certificates/-5AFEFDFD").status, 404U);
}

TEST_F(ApiTest, SeveralObjectsInOneBodyAreToldApart) {
  const std::string one = make_device("one", ca_).certificate.pem(), two = make_device("two", ca_).certificate.pem();
  const auto post = [&](const std::string& pem) {
    return ask("POST", "/v1/devices", Json{{"certificate", pem}}.dump());
  };
  EXPECT_EQ(post(one + two).status, 400U);
  EXPECT_THAT(post(one + two).body, HasSubstr("/v1/devices/import"));
  EXPECT_EQ(post(one + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").status, 400U);
  EXPECT_EQ(registrar_->stats().devices.active, 0U);
  EXPECT_EQ(post(one + ca_.certificate.pem()).status, 201U);
  const Identity509 other = make_ca("Other");
  const HttpResponse both = ask(
      "POST", "/v1/cas",
      Json{{"certificate", other.certificate.pem() + ca_.certificate.pem()}, {"verification_certificate", one}}.dump());
  EXPECT_EQ(both.status, 400U);
  EXPECT_THAT(both.body, HasSubstr("2 certificates"));
}

// TLS has no signature scheme for that curve, and takes 16 KiB of certificates: such a device never shakes hands.
TEST_F(ApiTest, WhatTlsWouldRefuseIsRefused) {
  const Identity509 odd = make_device("odd", ca_, Kind::K256);
  const Json explained = json(ask("POST", "/v1/explain", Json{{"chain", odd.certificate.pem()}}.dump()));
  EXPECT_EQ(explained["admitted"], false);
  EXPECT_EQ(explained["reason"], "bad_chain");
  EXPECT_THAT(explained["steps"].dump(), HasSubstr("no signature with a key of this kind"));
  const HttpResponse refused = ask("POST", "/v1/devices", Json{{"certificate", odd.certificate.pem()}}.dump());
  EXPECT_EQ(refused.status, 409U);
  EXPECT_THAT(refused.body, HasSubstr("no signature with a key of this kind"));
  const Json imported = json(ask("POST", "/v1/devices/import", odd.certificate.pem()));
  EXPECT_EQ(imported["failures"][0]["reason"], "bad_chain");
  EXPECT_THAT(imported["failures"][0]["detail"].get<std::string>(), HasSubstr("no signature with a key of this kind"));
  const auto large = [&](int names) {
    Leaf leaf;
    leaf.cn = "large";
    for (int i = 0; i < names; ++i)
      leaf.subject_alt_name += (i == 0 ? "" : ",") + ("DNS:" + std::string(60, 'a') + std::to_string(1000 + i));
    return make(leaf, &ca_).certificate.pem();
  };
  EXPECT_EQ(json(ask("POST", "/v1/explain", Json{{"chain", large(200)}}.dump()))["admitted"], true);
  const Json too_large = json(ask("POST", "/v1/explain", Json{{"chain", large(260)}}.dump()));
  EXPECT_EQ(too_large["reason"], "tls_error");
  EXPECT_THAT(too_large["steps"].dump(), HasSubstr("16 KiB"));
  const Json sum = json(ask("POST", "/v1/explain", Json{{"chain", large(200) + large(100)}}.dump()));
  EXPECT_EQ(sum["reason"], "tls_error") << "all of them together";
  EXPECT_EQ(ask("POST", "/v1/devices", Json{{"certificate", large(260)}}.dump()).status, 409U);
  // A validation that fails is said in words, too.
  Leaf sha1;
  sha1.sha1 = true;
  const HttpResponse weak =
      ask("POST", "/v1/devices", Json{{"certificate", make(sha1, &ca_).certificate.pem()}}.dump());
  EXPECT_THAT(weak.body, HasSubstr("bad_chain: CA signature digest algorithm too weak"));
}

}  // namespace
}  // namespace sallyport::test
