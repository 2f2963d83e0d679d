// The API over a real registrar and store, without a network: requests are handed to it as the server would.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "admin/api/admin_api.h"
#include "admin/operations/access.h"
#include "admin/operations/listener_control.h"
#include "cache/base/feed.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "proxy/data_plane.h"
#include "tests/cache/registry/fault_env.h"
#include "tests/cache/test_pki.h"
#include "tests/eventually.h"

namespace sallyport::test {

using ::testing::HasSubstr;

class NoProbes final : public HttpHandler {
 public:
  HttpResponse handle(const HttpRequest&) override { return {200, "text/plain", "probes"}; }
};

class ApiTest : public testing::Test {
 protected:
  ApiTest() : log_(Level::Error, LogFormat::Text, 2), plane_(config_, log_) {
    auto store = RegistryStore::open(dir_.path() + "/state", &env_);
    EXPECT_TRUE(store);
    store_ = std::move(*store);
    registrar_ = std::make_unique<Registrar>(*store_, cache_, chains_, plane_, RegistrarOptions{}, null_);
    EXPECT_TRUE(registrar_->warm());
    registrar_->start();
    EXPECT_TRUE(registrar_->trust({ca_.certificate}));
    access_ = std::make_unique<Access>(*registrar_);
    signed_in_ = std::make_unique<ConsoleSessions>(*access_, null_);
    samples_ = std::make_unique<Samples>(plane_, *registrar_);
    listeners_ = std::make_unique<ListenerControl>(config_, plane_, *registrar_, warnings_, null_);
    api_ = std::make_unique<AdminApi>(ApiParts{*registrar_, *store_, gate_, plane_, *listeners_, *access_, *signed_in_,
                                               probes_, warnings_, outcomes_, desk_, log_, config_, running_, *samples_,
                                               rejections_, feed_, [] { return std::string_view("ready"); }},
                                      null_);
  }
  ~ApiTest() override {
    env_.thaw();
    registrar_->stop();
  }

  // As the HTTP server does it: the head first, then the body in pieces or whole.
  HttpResponse ask(const std::string& method, const std::string& target, const std::string& body = "",
                   const std::string& token = "", std::size_t piece = SIZE_MAX) {
    HttpRequest request;
    request.method = method;
    const std::size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    request.query = mark == std::string::npos ? "" : target.substr(mark + 1);
    request.peer = {token.empty(), "uid 7", token.empty() ? "socket pid 1" : "192.0.2.1:5"};
    if (!token.empty()) request.authorization = token == "-" ? "" : "Bearer " + token;
    HttpPlan plan = api_->plan(request);
    if (plan.refused) return *plan.refused;
    if (plan.sink) {
      for (std::size_t at = 0; at < body.size(); at += piece) {
        if (!plan.sink->take(std::string_view(body).substr(at, piece))) break;
      }
      return plan.sink->finish(true);
    }
    request.body = body;
    return api_->handle(request);
  }
  Json json(const HttpResponse& response) { return Json::parse(response.body, nullptr, false); }

  TempDir dir_;
  FaultEnv env_;
  Log log_;
  NullLogger null_;
  Warnings warnings_{null_};
  Outcomes outcomes_;
  ReloadDesk desk_;
  Config config_;
  DataPlane plane_;
  RunningConfig running_{"sallyport.toml", {}};
  KeptRejections rejections_{dir_.path(), plane_, null_};
  Feed feed_;
  StatusCache cache_;
  ChainTable chains_;
  DeviceGate gate_{cache_, chains_, DeviceGate::AskedBy::Others};
  NoProbes probes_;
  std::unique_ptr<RegistryStore> store_;
  std::unique_ptr<Registrar> registrar_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<ConsoleSessions> signed_in_;
  std::unique_ptr<ListenerControl> listeners_;
  std::unique_ptr<Samples> samples_;
  std::unique_ptr<AdminApi> api_;
  Identity509 ca_ = make_ca("Root");
};

}  // namespace sallyport::test
