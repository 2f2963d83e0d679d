#include "admin/api/admin_api.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "cache/base/text.h"
#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kRefusedLines = 20;  // a second
constexpr std::size_t kLoggedBytes = 128;    // of what a stranger chose

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> all;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::size_t end = path.find('/');
    all.push_back(path.substr(0, end));
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  return all;
}

}  // namespace

AdminApi::Match AdminApi::match(std::string_view method, std::string_view path) {
  Match best;
  const auto asked = segments(path);
  for (const Route& route : routes()) {
    const auto wanted = segments(route.path);
    if (wanted.size() != asked.size()) continue;
    std::vector<std::string> args;
    bool fits = true;
    for (std::size_t i = 0; i < wanted.size() && fits; ++i) {
      if (wanted[i].front() == '{') {
        args.push_back(percent_decoded(asked[i], false));
        fits = !asked[i].empty();
      } else {
        fits = wanted[i] == asked[i];
      }
    }
    if (!fits) continue;
    best.allowed += (best.allowed.empty() ? "" : ", ") + std::string(route.method);
    // A path that is written out comes before one that {id} fits.
    if (route.method == method && (best.route == nullptr || args.size() < best.args.size())) {
      best.route = &route;
      best.args = std::move(args);
    }
  }
  return best;
}

// A filter that is spelt wrongly must not answer with everything.
std::optional<HttpResponse> unknown_parameter(const AdminApi::Route& route, std::string_view query) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::string_view name = pair.substr(0, pair.find('='));
    if (pair.empty() || std::find(route.query.begin(), route.query.end(), name) != route.query.end()) continue;
    std::string known;
    for (const std::string_view each : route.query) (known += known.empty() ? "" : ", ") += each;
    return invalid("there is no parameter '" + std::string(name.substr(0, kLoggedBytes)) + "' here: this path takes " +
                   (known.empty() ? "none" : known));
  }
  return std::nullopt;
}

std::optional<HttpResponse> AdminApi::refusal_for(const Match& match, std::string_view query, const Caller* caller,
                                                  bool showed_token) const {
  if (match.route != nullptr && match.route->role == Role::Anyone) return unknown_parameter(*match.route, query);
  // Strangers learn nothing, not even which paths there are: that is in the description, the same for everybody.
  if (caller == nullptr && showed_token) {
    return problem(401, "unauthorized",
                   "this token is unknown, revoked or has ended: `sallyport token list` on the server names those that "
                   "are valid");
  }
  if (caller == nullptr) {
    return problem(401, "unauthorized",
                   "show a token: Authorization: Bearer TOKEN (made with `sallyport token create` on the server)");
  }
  if (match.route == nullptr) {
    if (match.allowed.empty()) return problem(404, "not-found", "there is nothing at this path: see /v1/openapi.json");
    return problem(405, "method", "this path takes " + match.allowed);
  }
  if (match.route->role == Role::Operator && !caller->operates) {
    return problem(403, "forbidden", "this token only reads: changes take one with the role operator");
  }
  return unknown_parameter(*match.route, query);
}

AdminApi::Entry AdminApi::entry_of(const HttpRequest& head) const {
  // Machines that share a registry share its audit log, too: "socket pid 4711" is of one of them.
  const auto at_this_node = [this](std::optional<Caller> caller) {
    if (caller && parts_.registrar.shared_state()) caller->actor.from += " at " + this_node();
    return caller;
  };
  if (head.peer.local || !head.authorization.empty()) return {at_this_node(parts_.access.caller(head)), std::nullopt};
  ConsoleSessions::Entry entry = parts_.signed_in.enter(head);
  if (!entry.session) return {std::nullopt, std::move(entry.refused)};
  return {at_this_node(Caller{{entry.session->name, head.peer.from}, entry.session->operates, false}),
          std::move(entry.refused)};
}

std::function<bool()> AdminApi::still(const HttpRequest& head) const {
  HttpRequest shown;
  shown.authorization = head.authorization;
  shown.cookie = head.cookie;
  shown.peer = head.peer;
  return [this, shown] {
    if (!shown.peer.local && shown.authorization.empty()) return parts_.signed_in.still_signed_in(shown);
    return parts_.access.caller(shown).has_value();
  };
}

void AdminApi::log_refused(const HttpRequest& head, unsigned status, const std::string& who) {
  const std::lock_guard lock(log_mutex_);
  const auto steady = std::chrono::steady_clock::now().time_since_epoch();
  const std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(steady).count();
  if (second != refused_second_) {
    refused_second_ = second;
    refused_told_ = 0;
  }
  if (refused_told_++ >= kRefusedLines) {
    ++refused_left_out_;
    return;
  }
  log_.warn("admin-refused", {{"method", head.method.substr(0, kLoggedBytes)},
                              {"path", head.path.substr(0, kLoggedBytes)},
                              {"status", status},
                              {"who", who},
                              {"from", head.peer.from},
                              {"left_out", std::exchange(refused_left_out_, 0)}});
}

HttpPlan AdminApi::plan(const HttpRequest& head) {
  HttpPlan plan;
  if (head.peer.local && head.path.substr(0, 4) != "/v1/") return plan;
  Entry entry = entry_of(head);
  const auto& caller = entry.caller;
  if (caller) plan.holder = caller->actor.who;
  const Match found = match(head.method, head.path);
  plan.refused = entry.refused ? std::move(entry.refused)
                               : refusal_for(found, head.query, caller ? &*caller : nullptr, Access::shows_token(head));
  if (plan.refused) {
    if (!caller) parts_.outcomes.auth_failed();
    log_refused(head, plan.refused->status, caller ? caller->actor.who : "-");
    return plan;
  }
  plan.body_bytes = found.route->body_bytes;
  if (found.route->handler != &AdminApi::import_devices) return plan;
  if (imports_.running >= Importer::kMostAtOnce) {
    plan.refused = problem(409, "conflict", "two imports are running already: wait until one has finished");
    return plan;
  }
  plan.sink = std::make_unique<Importer>(parts_.registrar, parts_.gate, imports_, caller->actor,
                                         std::thread::hardware_concurrency(), still(head));
  return plan;
}

HttpResponse AdminApi::handle(const HttpRequest& request) {
  if (request.peer.local && request.path.substr(0, 4) != "/v1/") return parts_.probes.handle(request);
  // Again: a token may have been revoked while the body came.
  Entry entry = entry_of(request);
  if (entry.refused) return std::move(*entry.refused);
  const auto& caller = entry.caller;
  Match found = match(request.method, request.path);
  if (auto refusal = refusal_for(found, request.query, caller ? &*caller : nullptr, Access::shows_token(request)))
    return std::move(*refusal);
  static const Caller kNobody{};
  const Call call{request, caller ? *caller : kNobody, std::move(found.args)};
  auto other = elsewhere(call, *found.route);
  HttpResponse response = other ? std::move(*other) : (this->*found.route->handler)(call);
  if (request.method != "GET") {
    const std::lock_guard lock(log_mutex_);
    log_.info("admin", {{"method", request.method},
                        {"path", shortened(request.path)},
                        {"status", response.status},
                        {"who", caller->actor.who},
                        {"from", caller->actor.from}});
  }
  return response;
}

std::string_view AdminApi::name_of(Role role) {
  switch (role) {
    case Role::Anyone: return "anyone";
    case Role::Viewer: return "viewer";
    case Role::Operator: return "operator";
  }
  return "";
}

// Made once: it is asked for by strangers, too.
HttpResponse AdminApi::describe(const Call&) {
  static const HttpResponse described = ok(openapi());
  return described;
}

}  // namespace sallyport
