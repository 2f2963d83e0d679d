// Listeners, server certificates, sessions, refusals, tokens, audit and backups on the command line.
#include <ctime>
#include <filesystem>
#include <iostream>

#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "admin/operations/disk_room.h"
#include "cache/base/file.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

std::string joined(const Json& list, bool shortened) {
  std::string all;
  for (const Json& each : list) {
    const std::string one = each.get<std::string>();
    all += (all.empty() ? "" : " ") + (shortened ? short_id(one) : one);
  }
  return all.empty() ? "-" : all;
}

}  // namespace

int Operator::server_cert_add(const std::string& chain, const std::string& key) {
  const auto chain_text = certificate_text(chain);
  if (!chain_text) return complain(chain_text.error().what);
  auto key_text = read_file(key, 1024 * 1024);
  if (!key_text) return complain(key_text.error().what);
  const Reply reply = send("POST", "/v1/server-certificates", dump(Json{{"chain", *chain_text}, {"key", *key_text}}));
  ::explicit_bzero(key_text->data(), key_text->size());
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << text(reply.json, "id") << '\n';
  return kDone;
}

int Operator::server_cert_list() {
  return list("/v1/server-certificates", {"ID", "NAMES", "KEY", "NOT AFTER", "USED BY"},
              [](const Json& each) {
                return std::vector<std::string>{text(each, "id"), joined(each["names"], false), text(each, "key_type"),
                                                text(each, "not_after"), joined(each["used_by"], false)};
              },
              "id", {0});
}

int Operator::server_cert_show(const std::string& reference) {
  return print_one(get("/v1/server-certificates/" + percent_encoded(reference)));
}

int Operator::server_cert_delete(const std::string& id) {
  if (!agreed("deleting server certificate " + short_id(id) + "… and its key")) return kFailed;
  const Reply reply = send("DELETE", "/v1/server-certificates/" + percent_encoded(id));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << " deleted\n";
  return kDone;
}

int Operator::listener_list() {
  const Reply reply = all_pages("/v1/listeners");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table({"NAME", "ADDRESS", "AUTH", "PROTOCOL", "UPSTREAM", "TLS ENGINE", "SERVER CERTIFICATES", "OVERRIDES"});
  for (const Json& listener : reply.json) {
    std::string chosen;
    for (const auto& [key, value] : listener["overrides"].items()) chosen += (chosen.empty() ? "" : " ") + key;
    table.add({text(listener, "name"), text(listener, "address"), text(listener, "auth"), text(listener, "protocol"),
               text(listener, "upstream"), text(listener, "tls_engine"), joined(listener["server_certificates"], true),
               chosen.empty() ? "-" : chosen});
  }
  table.print(std::cout);
  return kDone;
}

int Operator::listener_use_cert(const std::string& name, const std::string& id) {
  return print_one(
      send("PUT", "/v1/listeners/" + percent_encoded(name) + "/server-certificate", dump(Json{{"id", id}})));
}

int Operator::listener_auth(const std::string& name, const std::string& mode) {
  const std::string impact =
      mode == "mutual" ? "switching listener " + name + " to mutual cuts its sessions that showed no certificate"
                       : "switching listener " + name + " to one-way lets devices in without a certificate";
  if (!agreed(impact)) return kFailed;
  return print_one(send("PUT", "/v1/listeners/" + percent_encoded(name) + "/auth", dump(Json{{"mode", mode}})));
}

int Operator::listener_reset(const std::string& name) {
  if (!agreed("resetting listener " + name + " drops what was chosen for it at run time")) return kFailed;
  return print_one(send("DELETE", "/v1/listeners/" + percent_encoded(name) + "/overrides"));
}

int Operator::drain() {
  if (!agreed("draining ends this Sallyport: its listeners close, and its sessions one after the other"))
    return kFailed;
  const Reply reply = send("POST", "/v1/drain");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << "draining " << reply.json.value("sessions", 0) << " sessions; it ends when the last one has left\n";
  return kDone;
}

int Operator::reload() {
  const Reply reply = send("POST", "/v1/reload");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  for (const Json& key : reply.json["needs_restart"]) {
    std::cout << escaped(key.get<std::string>()) << " has changed and needs a restart\n";
  }
  std::cout << (reply.json["needs_restart"].empty() ? "all of it" : "the rest") << " is in force\n";
  return kDone;
}

int Operator::log_level(const std::string& level) {
  const Reply reply = send("PUT", "/v1/log/level", dump(Json{{"level", level}}));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << "the log's level is " << text(reply.json, "level") << " until the next reload\n";
  return kDone;
}

int Operator::ticket_keys_rotate() {
  if (!agreed("rotating ticket keys: every device makes a full handshake when it connects next")) return kFailed;
  const Reply reply = send("POST", "/v1/ticket-keys/rotate");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << "no ticket issued before " << text(reply.json, "rotated_at") << " is honoured any more\n";
  return kDone;
}

int Operator::session_list(const std::string& device, const std::string& ca, bool clones, const std::string& node) {
  const std::string at_node = node.empty() ? "" : "&node=" + percent_encoded(node);
  std::vector<std::string> header = {"ID",   "DEVICE", "CN",  "CLIENT ID", "LISTENER", "SERVER",
                                     "PEER", "VIA",    "TLS", "MQTT",      "STATE",    "SINCE"};
  if (!node.empty()) header.insert(header.begin() + 1, "NODE");
  return list("/v1/sessions?device=" + percent_encoded(device) + "&ca=" + percent_encoded(ca) +
                  (clones ? "&clones=true" : "") + at_node,
              std::move(header),
              [&node](const Json& each) {
                std::vector<std::string> row = {
                    text(each, "id"),          text(each, "device_id"),    text(each, "cn"),    text(each, "client_id"),
                    text(each, "listener"),    text(each, "server"),       text(each, "peer"),  text(each, "via"),
                    text(each, "tls_version"), text(each, "mqtt_version"), text(each, "state"), text(each, "since")};
                if (!node.empty()) row.insert(row.begin() + 1, text(each, "node"));
                return row;
              },
              "id", {node.empty() ? std::size_t{1} : std::size_t{2}});
}

int Operator::session_cut(const std::string& id, const std::string& node) {
  if (!reaches_server()) return kFailed;
  const std::string there = node.empty() ? " of the node that is asked" : " of node " + node;
  const std::string whose = node.empty() && of_this_node().empty() ? "" : there;
  if (!agreed("cutting session " + id + whose + "; its device may connect again")) return kFailed;
  const std::string at_node = node.empty() ? "" : "?node=" + percent_encoded(node);
  const Reply reply = send("DELETE", "/v1/sessions/" + percent_encoded(id) + at_node);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << " cut\n";
  return kDone;
}

int Operator::rejections(const RejectionOptions& filter, const std::string& node) {
  std::string target = "/v1/rejections?serial=" + percent_encoded(filter.serial) +
                       "&peer=" + percent_encoded(filter.peer) + "&reason=" + percent_encoded(filter.reason) +
                       "&listener=" + percent_encoded(filter.listener) + "&issuer=" + percent_encoded(filter.issuer);
  if (!node.empty()) target += "&node=" + percent_encoded(node);
  if (!filter.last.empty()) {
    const std::int64_t within = seconds(filter.last);
    if (within == 0) return complain("--last takes a duration such as 10m, 1h or 7d"), kUsage;
    target += "&since=" + percent_encoded(utc(std::time(nullptr) - within));
  }
  const Reply reply = all_pages(target);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::vector<std::string> header = {"LAST",   "COUNT",   "REASON", "LISTENER", "PEER", "CLAIMED",
                                     "SERIAL", "SUBJECT", "ISSUER", "FIRST",    "WHAT"};
  if (!node.empty()) header.insert(header.begin(), "NODE");
  Table table(std::move(header));
  for (const Json& each : reply.json) {
    std::vector<std::string> row = {
        text(each, "last"),     text(each, "count"),   text(each, "reason"),
        text(each, "listener"), text(each, "peer"),    each.value("claimed", false) ? "yes" : "no",
        text(each, "serial"),   text(each, "subject"), text(each, "issuer"),
        text(each, "first"),    text(each, "what")};
    if (!node.empty()) row.insert(row.begin(), text(each, "node"));
    table.add(std::move(row));
  }
  table.print(std::cout);
  return kDone;
}

int Operator::token_create(const TokenOptions& token) {
  Json body = {{"name", token.name}, {"role", token.role}};
  if (!token.ttl.empty()) {
    const std::int64_t ttl = seconds(token.ttl);
    if (ttl == 0) return complain("--ttl takes a duration such as 24h or 90d"), kUsage;
    body["ttl_seconds"] = ttl;
  }
  const Reply reply = send("POST", "/v1/tokens", dump(body));
  if (!reply.ok()) return reply.failed;
  if (options_.json) {
    print_json(reply.json);
  } else {
    std::cerr << "this is shown once:\n";
    std::cout << text(reply.json, "token") << '\n';
  }
  std::cout.flush();
  // It is shown once: without a reader it is a token that nobody has and that opens all the same.
  if (!std::cout) {
    return complain("token " + token.name + " was made and could not be shown: revoke it, then make it anew");
  }
  return kDone;
}

int Operator::token_list() {
  return list(
      "/v1/tokens", {"NAME", "ROLE", "CREATED", "EXPIRES"},
      [](const Json& each) {
        return std::vector<std::string>{text(each, "name"), text(each, "role"), text(each, "created_at"),
                                        text(each, "expires_at")};
      },
      "name");
}

int Operator::token_revoke(const std::string& name) {
  if (!agreed("revoking token " + name + "; what uses it is refused from now on")) return kFailed;
  const Reply reply = send("DELETE", "/v1/tokens/" + percent_encoded(name));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << name << " revoked\n";
  return kDone;
}

int Operator::audit(const std::string& last) {
  std::string target = "/v1/audit";
  if (!last.empty()) {
    const std::int64_t within = seconds(last);
    if (within == 0) return complain("--last takes a duration such as 10m, 1h or 7d"), kUsage;
    target += "?since=" + percent_encoded(utc(std::time(nullptr) - within));
  }
  const Reply reply = all_pages(target);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table({"AT", "WHO", "FROM", "ACTION", "TARGET", "BEFORE", "AFTER"});
  for (const Json& each : reply.json) {
    table.add({text(each, "at").substr(0, 19) + "Z", text(each, "who"), text(each, "from"), text(each, "action"),
               text(each, "target"), text(each, "before"), text(each, "after")});
  }
  table.print(std::cout);
  return kDone;
}

// The server writes it: a path of this machine over the socket, a name in admin.backup_dir over the network.
int Operator::backup(const std::string& dir) {
  std::error_code failure;
  Json body = {{"name", dir}};
  if (options_.url.empty()) body = {{"dir", std::filesystem::absolute(dir, failure).lexically_normal().string()}};
  if (!reaches_server()) return kFailed;
  std::cerr << "sallyport: writing and verifying " << dir << '\n';
  const Reply reply = send("POST", "/v1/backup", dump(body));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << text(reply.json, "path") << ": " << text(reply.json, "files") << " files, "
            << with_thousands(reply.json.value("bytes", std::uint64_t{0})) << " bytes, verified\n";
  if (reply.json.value("replica", false)) {
    std::cerr
        << "this is a copy of a replica, which `restore` refuses: a backup of the registry is one of PostgreSQL\n";
  }
  return kDone;
}

int Operator::status() {
  const Reply reply = get("/v1/status");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  const Json& json = reply.json;
  const auto count = [](const Json& object, const char* key) {
    return with_thousands(object[key].get<std::uint64_t>());
  };
  const Json& devices = json["devices"];
  const Json& queue = json["registration_queue"];
  const Json& imports = json["imports"];
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"version", text(json, "version")},
      {"up", text(json, "uptime_seconds") + " s"},
      {"state", text(json, "state") == "ready" && !json["not_ready"].is_null()
                    ? "not ready: " + escaped(text(json, "not_ready"))
                    : text(json, "state")},
      {"shards speak to the kernel by", text(json, "io")},
      {"sessions", count(json, "sessions")},
      {"sessions being closed", count(json, "sessions_closing")},
      {"open sessions' TLS",
       count(json["tls"], "own") + " Sallyport's own, " + count(json["tls"], "openssl") + " OpenSSL's"},
      {"devices", count(devices, "active") + " active, " + count(devices, "inactive") + " inactive, " +
                      count(devices, "pending") + " pending, " + count(devices, "revoked") + " revoked"},
      {"expiring within 30 days", count(json, "devices_expiring_within_30d")},
      {"CAs", count(json["cas"], "active") + " active, " + count(json["cas"], "inactive") + " inactive"},
      {"CRLs", count(json["crls"], "imported") + " imported, " + count(json["crls"], "overdue") + " overdue"},
      {"registration queue", count(queue, "depth") + " of " + count(queue, "limit")},
      {"store errors", count(json, "store_errors")},
      {"configuration",
       std::string(json["reload"]["refused"].is_null() ? "read " : "refused ") + text(json["reload"], "at")}};
  std::string rejected;
  for (const auto& [reason, times] : json["rejections"].items()) {
    rejected += (rejected.empty() ? "" : ", ") + with_thousands(times.get<std::uint64_t>()) + " " + reason;
  }
  if (!rejected.empty()) pairs.emplace_back("rejected since the start", rejected);
  if (json["clones"].get<std::uint64_t>() > 0) pairs.emplace_back("clones since the start", count(json, "clones"));
  if (imports["running"].get<std::uint64_t>() > 0) {
    pairs.emplace_back("imports", count(imports, "running") + " running: " + count(imports, "certificates_read") +
                                      " read, " + count(imports, "registered") + " registered, " +
                                      count(imports, "failed") + " failed");
  }
  if (const Json& shared = json["registry"]; !shared.is_null()) {
    std::string words = shared["connected"].get<bool>() ? "followed, " : "not followed, ";
    words += count(shared, "nodes") + " nodes, this one is " + text(shared, "node");
    if (shared.value("same_name", false)) words += " BESIDE A PROCESS OF THE SAME NAME";
    if (shared["stale"].get<bool>()) words += ", STALE: devices are refused as registry.stale says";
    if (const auto waiting = shared.value("restrictions_waiting", std::uint64_t{0}); waiting > 0) {
      words += ", " + counted(waiting, "restriction") + " of --local in force here alone";
    }
    if (!shared["why"].is_null()) words += ": " + escaped(text(shared, "why")) + ", new devices wait here";
    pairs.emplace_back("shared registry", words);
    pairs.emplace_back("ticket keys", escaped(text(shared, "ticket_keys")));
  }
  if (json["store_stalled"].get<bool>()) pairs.emplace_back("store", "stalled: the disk does not answer");
  if (const std::uint64_t free = json["store_free_bytes"].get<std::uint64_t>(); free < kRegistryNeedsBytes) {
    pairs.emplace_back("disk", std::to_string(free >> 20) +
                                   " MiB free for state_dir: below 128 MiB the registry may take no change; free some");
  }
  if (const std::uint64_t owed = json["restrictions_not_durable"].get<std::uint64_t>(); owed > 0) {
    pairs.emplace_back("not durable", with_thousands(owed) + (owed == 1 ? " restriction is" : " restrictions are") +
                                          " in force and not on the disk yet: a restart would take them back");
  }
  for (const Json& upstream : json["upstreams"]) {
    std::string servers;
    for (const Json& server : upstream["servers"]) {
      servers += (servers.empty() ? "" : ", ") + text(server, "server") + " " + text(server, "state") + " (" +
                 with_thousands(server["sessions"].get<std::uint64_t>()) + ")";
    }
    pairs.emplace_back("upstream " + text(upstream, "name"), servers);
  }
  for (const Json& warning : json["warnings"]) {
    pairs.emplace_back("warning", escaped(text(warning, "about")) + ": " + escaped(text(warning, "what")));
  }
  print_pairs(std::cout, pairs);
  Table table({"SHARD", "SESSIONS", "CLOSING", "BUSY"});
  std::size_t number = 0;
  for (const Json& shard : json["shards"]) {
    const auto percent = static_cast<int>(shard["busy_ratio"].get<double>() * 100 + 0.5);
    table.add(
        {std::to_string(number++), count(shard, "sessions"), count(shard, "closing"), std::to_string(percent) + " %"});
  }
  table.print(std::cout);
  return kDone;
}

}  // namespace sallyport
