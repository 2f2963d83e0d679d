// `sallyport doctor`: the machine, the configuration and the running server, each finding with its remedy.
#include <algorithm>
#include <ctime>
#include <iostream>

#include "admin/cli/http_client.h"
#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

using Grade = Finding::Grade;

constexpr std::int64_t kSoon = 30LL * 86400;

void look_at_status(const Json& status, std::vector<Finding>& found) {
  const bool waits = text(status, "state") == "ready" && !status["not_ready"].is_null();
  const std::string state = waits ? "not ready: " + text(status, "not_ready") : text(status, "state");
  found.push_back({state == "ready" ? Grade::Fine : Grade::Warning, "server", state + ", by " + text(status, "io"),
                   state == "ready" ? "" : "`sallyport status` says more"});
  for (const Json& warning : status["warnings"]) {
    found.push_back({Grade::Warning, text(warning, "kind"), text(warning, "about") + ": " + text(warning, "what"), ""});
  }
  if (status["store_stalled"].get<bool>()) {
    found.push_back({Grade::Problem, "store", "the disk does not answer", "look at the disk of state_dir"});
  }
  if (const auto overdue = status["crls"]["overdue"].get<std::uint64_t>(); overdue > 0) {
    found.push_back({Grade::Warning, "CRLs", with_thousands(overdue) + " overdue: what was revoked since is not known",
                     "`sallyport crl list` names them; import the next ones"});
  }
  if (const auto ending = status["devices_expiring_within_30d"].get<std::uint64_t>(); ending > 0) {
    found.push_back({Grade::Warning, "devices", with_thousands(ending) + " have a certificate that ends within 30 days",
                     "`sallyport device list --expires-within 30d` names them"});
  }
  for (const Json& upstream : status["upstreams"]) {
    for (const Json& server : upstream["servers"]) {
      if (text(server, "state") == "up") continue;
      found.push_back({Grade::Warning, "broker",
                       text(upstream, "name") + " " + text(server, "server") + " is " + text(server, "state"),
                       "`sallyport upstream show " + text(upstream, "name") + "` says why"});
    }
  }
}

// Of machines that share one.
void look_at_shared_registry(const Json& shared, std::vector<Finding>& found) {
  if (shared.is_null()) return;
  const auto add = [&](Grade grade, const std::string& what, const std::string& remedy) {
    found.push_back({grade, "shared registry", what, remedy});
  };
  const bool connected = shared["connected"].get<bool>();
  if (!connected) {
    add(Grade::Problem, "not followed: " + text(shared, "why"),
        "what is revoked elsewhere is not known here: bring PostgreSQL back, or use --local");
  } else if (!shared["why"].is_null()) {
    add(Grade::Problem, "followed, and takes no change: " + text(shared, "why"),
        "mend that in PostgreSQL; --local is in force on this node at once");
  } else {
    add(Grade::Fine, "followed at " + text(shared, "server") + ", as node " + text(shared, "node"), "");
  }
  if (shared["stale"].get<bool>()) {
    add(Grade::Problem, "devices are refused: it was out of reach for longer than registry.stale_after",
        "bring PostgreSQL back within reach of this machine");
  }
  if (shared["same_name"].get<bool>()) {
    add(Grade::Problem, "another process has this one's name, so it is listed as " + text(shared, "node"),
        "set registry.node on each machine");
  }
  if (const std::string keys = text(shared, "ticket_keys"); keys != "shared") {
    add(Grade::Warning, "ticket keys: " + keys, "give every machine the same registry.key_file");
  }
  const Json& standby = shared["synchronous_standby"];
  if (connected && standby.is_boolean() && !standby.get<bool>()) {
    add(Grade::Warning, kNoStandby, "set synchronous_standby_names there");
  }
}

void look_at_cas(const Json& cas, std::vector<Finding>& found) {
  const std::int64_t now = std::time(nullptr);
  for (const Json& ca : cas) {
    const auto ends = parse_utc(text(ca, "not_after"));
    if (!ends || *ends - now > kSoon) continue;
    const bool over = *ends < now;
    found.push_back({over ? Grade::Problem : Grade::Warning, "CA",
                     text(ca, "subject") + (over ? " has ended" : " ends") + ", " + text(ca, "not_after"),
                     over ? "register its successor: its devices are refused"
                          : "register its successor before: its devices are refused from then on"});
  }
}

}  // namespace

int Operator::doctor(MachineReport examined, bool socket_named) {
  std::vector<Finding>& found = examined.found;
  if (!socket_named && !examined.socket.empty()) options_.socket = examined.socket;
  const auto where = address();
  if (!where) return complain(where.error().what);
  const auto answered = ask(*where, "GET", "/v1/status", "", "application/json");
  if (!answered || answered->status != 200) {
    found.push_back({Grade::Warning, "server", answered ? "it does not say how it is" : answered.error().what,
                     "start it, or name its socket with --socket"});
    if (!examined.shared.empty()) {
      for (Finding& each : examine_shared(examined.shared)) found.push_back(std::move(each));
    }
  } else {
    // That its folder is in use is as it should be.
    std::erase_if(found, [](const Finding& each) {
      return each.grade == Grade::Warning && each.what.find(" is in use by another process") != std::string::npos;
    });
    const Json status = Json::parse(answered->body, nullptr, false);
    look_at_status(status, found);
    look_at_shared_registry(status.value("registry", Json()), found);
    if (const Reply cas = all_pages("/v1/cas"); cas.ok()) look_at_cas(cas.json, found);
  }
  const bool good =
      std::none_of(found.begin(), found.end(), [](const Finding& each) { return each.grade == Grade::Problem; });
  if (options_.json) {
    Json items = Json::array();
    for (const Finding& each : found) {
      items.push_back({{"grade", std::string(to_string(each.grade))},
                       {"about", each.about},
                       {"what", each.what},
                       {"remedy", each.remedy.empty() ? Json(nullptr) : Json(each.remedy)}});
    }
    print_json(items);
    return good ? kDone : kFailed;
  }
  // What needs somebody comes last, where the eye is.
  std::stable_sort(found.begin(), found.end(), [](const Finding& a, const Finding& b) { return a.grade < b.grade; });
  for (const Finding& each : found) {
    std::cout << to_string(each.grade) << ": " << escaped(each.about) << ": " << escaped(each.what) << '\n';
    if (!each.remedy.empty()) std::cout << "    " << escaped(each.remedy) << '\n';
  }
  return good ? kDone : kFailed;
}

}  // namespace sallyport
