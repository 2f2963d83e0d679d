// What another node of a shared registry is asked on an operator's behalf: its sessions, its refusals and why, and to
// cut sessions. The request goes to that node as a row in PostgreSQL, and its own API answers it there. Bounded: one
// page, a few questions at once, a few seconds.
#include <algorithm>
#include <cctype>

#include "admin/api/admin_api.h"
#include "cache/base/text.h"
#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr std::chrono::milliseconds kPatience{3000};
constexpr std::size_t kMostAnswer = 1 << 20;  // what a row of PostgreSQL takes of it
constexpr std::int64_t kHeardOfMs = 10'000;   // of a node that is asked at all
constexpr std::string_view kAll = "*";

// For one value of a query.
std::string encoded(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

// The query without `node`, and with `token` for the page's.
std::string query_for(std::string_view query, const std::string& token) {
  std::string kept;
  const auto add = [&](std::string_view pair) { (kept += kept.empty() ? "" : "&") += pair; };
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::string_view name = pair.substr(0, pair.find('='));
    if (!pair.empty() && name != "node" && name != "page_token") add(pair);
  }
  if (!token.empty()) add("page_token=" + encoded(token));
  return kept;
}

bool takes_node(const AdminApi::Route& route) {
  return std::find(route.query.begin(), route.query.end(), "node") != route.query.end();
}

// False: it is no answer of such a route. Another node may say anything.
bool name_items(Json& body, const std::string& node) {
  if (!body.is_object()) return false;
  if (const auto token = body.find("next_page_token"); token != body.end() && !token->is_string()) return false;
  const auto items = body.find("items");
  if (items == body.end()) return body["node"] = node, true;
  if (!items->is_array()) return false;
  for (Json& each : *items) {
    if (!each.is_object()) return false;
    each["node"] = node;
  }
  return true;
}

// What the routes that take a node answer with; nothing that HTTP gives no body (RFC 9110, section 6.4.1), above all.
constexpr bool may_be_answered(std::uint64_t status) {
  return status == 200 || (status >= 400 && status <= 599);
}

}  // namespace

// Who sent it may write to PostgreSQL, and was let in by another node.
std::string AdminApi::answer_other(const std::string& request) {
  const auto said = [](const HttpResponse& response) {
    Json body = Json::parse(response.body, nullptr, false);
    std::string text = dump({{"status", response.status}, {"body", std::move(body)}});
    if (text.size() <= kMostAnswer) return text;
    return dump(
        {{"status", 503},
         {"body", {{"title", "service-unavailable"}, {"detail", "the answer is too long: ask for less with limit"}}}});
  };
  const Json asked = parse_json(request);
  const auto text = [&](const char* key) {
    const auto found = asked.is_object() ? asked.find(key) : asked.end();
    return asked.is_object() && found != asked.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  HttpRequest inner;
  inner.method = text("method");
  inner.path = text("path");
  inner.query = text("query");
  inner.body = text("body");
  if (inner.path.empty() || inner.path.front() != '/') return said(invalid("this is no request"));
  Match found = match(inner.method, inner.path);
  if (found.route == nullptr || !takes_node(*found.route)) return said(invalid("this is not asked of another node"));
  const Caller caller{{text("who"), text("from")}, found.route->role == Role::Operator, false};
  if (auto refusal = refusal_for(found, inner.query, &caller, true)) return said(*refusal);
  const Call call{inner, caller, std::move(found.args)};
  HttpResponse response = (this->*found.route->handler)(call);
  if (inner.method != "GET") {
    const std::lock_guard lock(log_mutex_);
    log_.info("admin", {{"method", inner.method},
                        {"path", shortened(inner.path)},
                        {"status", response.status},
                        {"who", caller.actor.who},
                        {"from", caller.actor.from}});
  }
  return said(response);
}

HttpResponse AdminApi::ask_node(const Call& call, const std::string& node, const std::string& query) {
  const auto shared = parts_.registrar.shared_state();
  const auto& nodes = shared->nodes.nodes;
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [&](const SharedNode& each) { return each.name == node; });
  if (found == nodes.end()) return problem(404, "not-found", "there is no node '" + shortened(node) + "'");
  if (found->seen_ms_ago > kHeardOfMs) {
    return problem(503, "service-unavailable",
                   "node " + node + " was last heard of " + std::to_string(found->seen_ms_ago / 1000) + " s ago");
  }
  // It would lie in PostgreSQL for a moment. Taken apart first: JSON may write a letter in two ways.
  const Json body = call.request.body.empty() ? Json() : parse_json(call.request.body);
  if (dump(body).find("PRIVATE KEY-----") != std::string::npos)
    return invalid("a private key is sent to no other node");
  const auto answer = parts_.registrar.ask(node,
                                           dump({{"method", call.request.method},
                                                 {"path", call.request.path},
                                                 {"query", query},
                                                 {"body", call.request.body},
                                                 {"who", call.caller.actor.who},
                                                 {"from", call.caller.actor.from}}),
                                           kPatience);
  if (!answer) return refused(answer.error());
  Json said = parse_json(*answer);
  const bool whole = said.is_object() && said.contains("status") && said["status"].is_number_unsigned() &&
                     may_be_answered(said["status"].get<std::uint64_t>()) && said.contains("body") &&
                     name_items(said["body"], node);
  if (!whole) return problem(503, "service-unavailable", "node " + node + " answered what this version does not know");
  const auto status = said["status"].get<unsigned>();
  HttpResponse response = ok(said["body"], status);
  if (status >= 300) response.content_type = "application/problem+json";
  return response;
}

// One node after the other, by name; page_token says at which the next page goes on, and where. A node that does not
// answer is named, and passed over.
HttpResponse AdminApi::ask_all(const Call& call, const Route& route) {
  std::vector<std::string> names;
  const auto shared = parts_.registrar.shared_state();
  for (const SharedNode& each : shared->nodes.nodes) names.push_back(each.name);
  std::sort(names.begin(), names.end());
  if (names.empty()) names.push_back(this_node());
  const std::string token = query_value(call.request.query, "page_token");
  const std::size_t colon = token.rfind(':');  // a name may have some; what a node itself gives has none
  if (!token.empty() && colon == std::string::npos) return invalid("the page_token is not one of a list answer");
  std::string from = token.substr(0, colon), rest = token.empty() ? "" : token.substr(colon + 1);
  auto at = std::lower_bound(names.begin(), names.end(), from);
  if (at != names.end() && *at != from) rest.clear();
  const std::string here = this_node();
  Json silent = Json::array();
  for (; at != names.end(); ++at, rest.clear()) {
    HttpResponse response;
    const std::string query = query_for(call.request.query, rest);
    if (*at == here) {
      HttpRequest own = call.request;
      own.query = query;
      response = (this->*route.handler)({own, call.caller, call.args});
      if (response.status >= 300) return response;
    } else {
      response = ask_node(call, *at, query);
      if (response.status == 400) return response;
      if (response.status >= 300) {
        silent.push_back(*at);
        continue;
      }
    }
    Json body = Json::parse(response.body, nullptr, false);
    (void)name_items(body, *at);
    const std::string next = body.is_object() ? body.value("next_page_token", std::string()) : std::string();
    const bool last = next.empty() && at + 1 == names.end();
    body["next_page_token"] = last ? "" : next.empty() ? *(at + 1) + ":" : *at + ":" + next;
    body["silent"] = std::move(silent);
    return ok(body);
  }
  return ok({{"items", Json::array()}, {"next_page_token", ""}, {"silent", std::move(silent)}});
}

// Nothing: it is asked of this node.
std::optional<HttpResponse> AdminApi::elsewhere(const Call& call, const Route& route) {
  if (!takes_node(route)) return std::nullopt;
  const std::string node = query_value(call.request.query, "node");
  if (node.empty() || node == this_node()) return std::nullopt;
  if (!parts_.registrar.shared_state()) {
    if (node == kAll && route.method == "GET") return std::nullopt;
    return problem(404, "not-found", "there is no other node: the registry is this machine's own");
  }
  if (node != kAll)
    return ask_node(call, node, query_for(call.request.query, query_value(call.request.query, "page_token")));
  if (route.method != "GET") return invalid("one node at a time");
  return ask_all(call, route);
}

}  // namespace sallyport
