// Upstreams and their servers on the command line.
#include <iostream>

#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

std::string address_of(const Json& address) {
  std::string line = text(address, "address") + " " + text(address, "state");
  if (address.value("slow_start", false)) line += " (slow start)";
  return line;
}

void add_servers(Table& table, const Json& upstream) {
  for (const Json& server : upstream["servers"]) {
    std::uint64_t failures = 0;
    for (const auto& [kind, count] : server["failures"].items()) failures += count.get<std::uint64_t>();
    std::string addresses;
    for (const Json& address : server["addresses"]) addresses += (addresses.empty() ? "" : ", ") + address_of(address);
    table.add({text(upstream, "name"), text(server, "server"), text(server, "state"), text(server, "sessions"),
               std::to_string(failures), addresses.empty() ? text(server, "name_error") : addresses});
  }
}

Table server_table() {
  return Table({"UPSTREAM", "SERVER", "STATE", "SESSIONS", "FAILURES", "ADDRESSES"});
}

}  // namespace

int Operator::upstream_list() {
  const Reply reply = all_pages("/v1/upstreams");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table = server_table();
  for (const Json& upstream : reply.json) add_servers(table, upstream);
  table.print(std::cout);
  return kDone;
}

int Operator::upstream_show(const std::string& name) {
  const Reply reply = get("/v1/upstreams/" + percent_encoded(name));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  print_pairs(std::cout, {{"name", text(reply.json, "name")},
                          {"balance", text(reply.json, "balance")},
                          {"health", text(reply.json, "health")}});
  Table table({"SERVER", "ADDRESS", "STATE", "SLOW START", "SESSIONS"});
  Table failures({"SERVER", "FAILURE", "COUNT"});
  Table last({"SERVER", "LAST FAILURE", "WHAT"});
  bool failed = false, has_failed = false;
  for (const Json& server : reply.json["servers"]) {
    if (const Json& why = server["last_failure"]; !why.is_null()) {
      last.add({text(server, "server"), text(why, "at"), text(why, "why")});
      has_failed = true;
    }
    const bool drained = server.value("drained", false);
    for (const Json& address : server["addresses"]) {
      table.add({text(server, "server"), text(address, "address"),
                 text(address, "state") + (drained ? ", drained" : ""),
                 address.value("slow_start", false) ? "yes" : "no", text(address, "sessions")});
    }
    if (server["addresses"].empty()) {
      table.add({text(server, "server"), "-", text(server, "name_error"), "no", text(server, "sessions")});
    }
    for (const auto& [kind, count] : server["failures"].items()) {
      if (count.get<std::uint64_t>() == 0) continue;
      failures.add({text(server, "server"), kind, std::to_string(count.get<std::uint64_t>())});
      failed = true;
    }
  }
  table.print(std::cout);
  if (failed) failures.print(std::cout);
  if (has_failed) last.print(std::cout);
  return kDone;
}

int Operator::upstream_drain(const std::string& name, const std::string& server) {
  const Reply now = get("/v1/upstreams/" + percent_encoded(name));
  if (!now.ok()) return now.failed;
  std::string known;
  std::uint64_t sessions = 0;
  bool another = false, known_server = false;
  for (const Json& each : now.json["servers"]) {
    known += (known.empty() ? "" : ", ") + text(each, "server");
    if (text(each, "server") == server) {
      known_server = true;
      sessions = each["sessions"].get<std::uint64_t>();
    } else if (text(each, "state") == "up") {
      another = true;
    }
  }
  if (!known_server) return complain("upstream " + name + " has no server " + server + "; it has " + known);
  std::string impact = "draining " + server + " of upstream " + name + ": no new session goes there, its " +
                       counted(sessions, "session") + (sessions == 1 ? " goes on" : " go on");
  if (!another) impact += "; no other server of it is up, so new sessions will be refused";
  if (!agreed(impact)) return kFailed;
  return change_server(name, server, "drain");
}

int Operator::change_server(const std::string& name, const std::string& server, const std::string& action) {
  const Reply reply =
      send("POST", "/v1/upstreams/" + percent_encoded(name) + "/servers/" + percent_encoded(server) + "/" + action);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  for (const Json& each : reply.json["servers"]) {
    if (text(each, "server") != server) continue;
    std::cout << server << " of upstream " << name << ": " << text(each, "state") << ", "
              << counted(each["sessions"].get<std::uint64_t>(), "session") << '\n';
  }
  return kDone;
}

int Operator::upstream_undrain(const std::string& name, const std::string& server) {
  return change_server(name, server, "undrain");
}

}  // namespace sallyport
