// The machines that share a registry, on the command line: which there are, and on how many a change is in force.
#include <cmath>
#include <iostream>

#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

std::string rounded(const Json& node, const char* key) {
  return std::to_string(std::llround(node.value(key, 0.0))) + " s";
}

}  // namespace

int Operator::node_list() {
  return list(
      "/v1/nodes", {"NODE", "REVISION", "LAG", "LAST SEEN", "VERSION"},
      [](const Json& each) {
        const std::uint64_t behind = each["behind"].get<std::uint64_t>();
        return std::vector<std::string>{
            text(each, "name"), text(each, "revision"),
            behind == 0 ? "none" : rounded(each, "lag_seconds") + ", " + with_thousands(behind) + " changes",
            rounded(each, "last_seen_seconds_ago") + " ago", text(each, "version")};
      },
      "name");
}

int Operator::node_forget(const std::string& name) {
  if (!agreed("forgetting node " + name + "; it is listed again when it comes back")) return kFailed;
  const Reply reply = send("DELETE", "/v1/nodes/" + percent_encoded(name));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << escaped(name) << " forgotten\n";
  return kDone;
}

std::optional<std::string> Operator::how_to_change(const std::string& first) const {
  std::string query = first;
  const auto add = [&](const std::string& parameter) { query += (query.empty() ? "" : "&") + parameter; };
  if (!options_.wait.empty()) {
    const std::int64_t wait = seconds(options_.wait);
    if (wait < 1 || wait > 50) return complain("--wait takes a duration from 1s to 50s"), std::nullopt;
    if (options_.local) return complain("--local waits for nobody: leave --wait away"), std::nullopt;
    add("wait=" + std::to_string(wait));
  }
  if (options_.local) add("local=true");
  return query.empty() ? query : "?" + query;
}

// One line, on standard error: what is piped is the ids.
std::string Operator::of_this_node() {
  if (options_.local) return " at this node";
  const Reply nodes = get("/v1/nodes?limit=2");
  const bool several = nodes.ok() && nodes.json.value("items", Json::array()).size() > 1;
  return several ? " at this node and all at the others" : "";
}

void Operator::say_nodes(const Json& changed) const {
  const auto found = changed.find("nodes");
  if (found == changed.end() || found->is_null()) return;
  if ((*found)["local"].get<bool>()) {
    std::cerr << "in force on this node; everywhere as soon as the shared registry answers\n";
    return;
  }
  if ((*found)["in_force_on"].is_null()) {
    std::cerr << "in force on this node and durable in the shared registry; where else, it did not answer yet\n";
    return;
  }
  std::cerr << "in force on " << (*found)["in_force_on"] << " of " << (*found)["of"] << " nodes";
  for (const Json& node : (*found)["behind"]) {
    std::cerr << ", " << escaped(text(node, "name")) << " last seen " << rounded(node, "last_seen_seconds_ago")
              << " ago";
  }
  std::cerr << '\n';
}

}  // namespace sallyport
