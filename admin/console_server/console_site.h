// What the admin address answers: the console's page below /console/, its sign-in at /console/session, and everything
// else by the API. The page is read from memory; what it shows it asks of /v1 as anybody does. A sign-in takes a token
// once and answers a cookie (operations/console_sessions.h). Every answer carries what keeps a browser from doing with
// it what nobody meant. The HTTP server's workers, several at once.
#pragma once

#include <mutex>
#include <span>
#include <string>

#include "admin/console_server/console_files.h"
#include "admin/http/http_server.h"
#include "admin/operations/console_sessions.h"
#include "admin/operations/outcomes.h"
#include "cache/base/log.h"
#include "cache/registry/registrar.h"

namespace sallyport {

class ConsoleSite final : public HttpHandler {
 public:
  // All outlive it. `files`, `left_out`: for tests.
  ConsoleSite(HttpHandler& api, ConsoleSessions& signed_in, Registrar& registrar, Outcomes& outcomes, Logger& log,
              std::span<const ConsoleFile> files = console_files(), std::string_view left_out = console_left_out());

  HttpPlan plan(const HttpRequest& head) override;
  HttpResponse handle(const HttpRequest& request) override;

 private:
  HttpResponse page(const HttpRequest& request) const;
  HttpResponse file(const HttpRequest& request, const ConsoleFile& wanted) const;
  HttpResponse session(const HttpRequest& request);
  HttpResponse sign_in(const HttpRequest& request);
  HttpResponse sign_out(const HttpRequest& request);
  void note(const std::string& who, const std::string& from, const char* action);

  HttpHandler& api_;
  ConsoleSessions& signed_in_;
  Registrar& registrar_;
  Outcomes& outcomes_;
  Logger& log_;  // under the mutex: several workers, one producer
  std::mutex mutex_;
  const std::span<const ConsoleFile> files_;
  const std::string_view left_out_;
};

}  // namespace sallyport
