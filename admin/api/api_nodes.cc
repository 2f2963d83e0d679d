// The nodes of a shared registry, and how far a change has come on them.
#include <algorithm>
#include <charconv>

#include "admin/api/admin_api.h"
#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr unsigned kMostWait = 50;  // seconds: a worker of the API waits with the caller, who is patient for 60
// Without being asked: long enough for nodes that are well.
constexpr std::chrono::milliseconds kShortWait{500};

Json seconds(std::int64_t ms) {
  return static_cast<double>(ms) / 1000;
}

Json to_json(const SharedNode& node, std::uint64_t newest) {
  const bool behind = node.revision < newest;
  return {{"name", node.name},
          {"revision", node.revision},
          {"behind", behind ? newest - node.revision : 0},
          {"lag_seconds", seconds(behind ? node.applied_ms_ago : 0)},
          {"last_seen_seconds_ago", seconds(node.seen_ms_ago)},
          {"version", node.version}};
}

}  // namespace

std::string AdminApi::this_node() const {
  const auto shared = parts_.registrar.shared_state();
  return shared ? shared->node : parts_.node;
}

// A registry of its own has this node alone, which is never behind.
HttpResponse AdminApi::list_nodes(const Call& call) {
  Json items = Json::array();
  if (const auto shared = parts_.registrar.shared_state()) {
    for (const SharedNode& node : shared->nodes.nodes) items.push_back(to_json(node, shared->nodes.revision));
  } else {
    const std::uint64_t revision = parts_.registrar.stats().revision;
    items.push_back(to_json(SharedNode{parts_.node, revision, 0, 0, SALLYPORT_VERSION}, revision));
  }
  return page_of(std::move(items), "name", call.request);
}

HttpResponse AdminApi::forget_node(const Call& call) {
  if (const auto done = parts_.registrar.forget_node(call.args[0], call.caller.actor); !done) {
    return refused(done.error());
  }
  return ok({{"name", call.args[0]}, {"forgotten", true}});
}

Answer<AdminApi::HowToChange> AdminApi::how_to_change(const Call& call) {
  HowToChange how;
  const std::string local = query_value(call.request.query, "local"), wait = query_value(call.request.query, "wait");
  if (!local.empty() && local != "true" && local != "false") {
    return Refusal{Refusal::Kind::Invalid, "local must be true or false"};
  }
  how.local = local == "true";
  how.wait = kShortWait;
  if (wait.empty()) return how;
  unsigned count = 0;
  const auto [end, error] = std::from_chars(wait.data(), wait.data() + wait.size(), count);
  if (error != std::errc() || end != wait.data() + wait.size() || count > kMostWait) {
    return Refusal{Refusal::Kind::Invalid, "wait must be a number of seconds, at most " + std::to_string(kMostWait)};
  }
  how.wait = std::chrono::seconds(count);
  return how;
}

// Beside what was changed: on how many nodes it is in force. Nothing where the registry is this machine's own.
HttpResponse AdminApi::with_nodes(HttpResponse response, const HowToChange& how) {
  if (response.status >= 300) return response;
  Json nodes;
  if (how.local) {
    nodes = {{"local", true}, {"in_force_on", 1}, {"of", Json()}, {"behind", Json::array()}};
  } else {
    const auto found = parts_.registrar.in_force(how.wait);
    if (!found) return response;
    Json behind = Json::array();
    for (const SharedNode& node : found->behind) behind.push_back(to_json(node, found->revision));
    nodes = {{"local", false},
             {"in_force_on", found->known ? Json(found->nodes) : Json()},
             {"of", found->known ? Json(found->of) : Json()},
             {"behind", std::move(behind)}};
  }
  Json body = Json::parse(response.body, nullptr, false);
  if (!body.is_object()) return response;
  body["nodes"] = std::move(nodes);
  return ok(body, response.status);
}

// What /v1/status says of the shared registry; null where there is none.
Json AdminApi::registry_status() const {
  const auto shared = parts_.registrar.shared_state();
  if (!shared) return nullptr;
  const std::string why = parts_.ticket_keys_trouble ? parts_.ticket_keys_trouble() : std::string();
  return {{"node", shared->node},
          {"connected", shared->connected},
          {"server", shared->server},
          {"why", shared->why.empty() ? Json() : Json(shared->why)},
          {"heard_of_seconds_ago", seconds(shared->away_ms)},
          {"revision", shared->revision},
          {"nodes", shared->nodes.nodes.size()},
          {"snapshots", shared->snapshots},
          {"restrictions_waiting", shared->restrictions_waiting},
          {"stale", shared->stale},
          {"same_name", shared->same_name},
          {"ticket_keys", why.empty() ? Json("shared") : Json("its own: " + why)},
          {"synchronous_standby", shared->synchronous ? Json(*shared->synchronous) : Json()}};
}

}  // namespace sallyport
