#include "admin/cli/operator.h"

#include <unistd.h>

#include <charconv>
#include <ctime>
#include <iostream>

#include "admin/api/objects.h"
#include "admin/cli/http_client.h"
#include "admin/cli/table.h"
#include "cache/file.h"
#include "cache/text.h"

namespace sallyport {

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr std::size_t kFileLimit = 1024 * 1024;

int complain(std::string_view what) {
  std::cerr << "sallyport: " << escaped(what) << '\n';
  return kFailed;
}

std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return "-";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string with_thousands(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string short_id(const std::string& id) {
  return id.substr(0, 12);
}

// "24h" and the like; 0 where it is not a duration.
std::int64_t seconds(std::string_view written) {
  std::int64_t count = 0;
  const auto [end, failure] = std::from_chars(written.data(), written.data() + written.size(), count);
  if (failure != std::errc() || count <= 0 || count > 100'000'000) return 0;
  const std::string_view unit = written.substr(static_cast<std::size_t>(end - written.data()));
  if (unit == "s") return count;
  if (unit == "m") return count * 60;
  if (unit == "h") return count * 3600;
  if (unit == "d") return count * 86400;
  return 0;
}

Answer<std::string> file_text(const std::string& path) {
  auto read = read_file(path, kFileLimit);
  if (!read) return read.error();
  const std::string& content = *read;
  if (content.find("PRIVATE KEY-----") != std::string::npos) {
    return Refusal{Refusal::Kind::Invalid, path + " holds a private key; only certificates are sent"};
  }
  // The managed clouds' guides work with PEM; DER is the same certificate.
  if (content.find("-----BEGIN") == std::string::npos) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(content.data());
    const auto certificate = Certificate::from_der(Bytes(bytes, content.size()));
    if (!certificate) return Refusal{Refusal::Kind::Invalid, path + ": " + certificate.error().what};
    return certificate->pem();
  }
  return read;
}

}  // namespace

// A parsed answer of the server, or an exit status after the complaint was printed.
struct Operator::Reply {
  Json json;
  std::string raw;
  int failed = kDone;
  bool ok() const { return failed == kDone; }
};

namespace {

void print_json(const Json& json) {
  std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace

Operator::Reply Operator::get(const std::string& target) {
  const auto answer = ask(options_.socket, "GET", target, "");
  if (!answer) return {{}, {}, complain(answer.error().what)};
  Json json = Json::parse(answer->body, nullptr, false);
  if (answer->status >= 300) {
    return {
        {},
        {},
        complain(json.is_object() ? text(json, "detail") : "the server answered " + std::to_string(answer->status))};
  }
  return {std::move(json), answer->body, kDone};
}

Operator::Reply Operator::post(const std::string& target, const std::string& body) {
  const auto answer = ask(options_.socket, "POST", target, body);
  if (!answer) return {{}, {}, complain(answer.error().what)};
  Json json = Json::parse(answer->body, nullptr, false);
  if (answer->status >= 300) {
    return {
        {},
        {},
        complain(json.is_object() ? text(json, "detail") : "the server answered " + std::to_string(answer->status))};
  }
  return {std::move(json), answer->body, kDone};
}

Operator::Reply Operator::all_pages(const std::string& target) {
  Json items = Json::array();
  std::string page_token;
  do {
    std::string page = target + (target.find('?') == std::string::npos ? "?" : "&") + "limit=1000";
    if (!page_token.empty()) page += "&page_token=" + percent_encoded(page_token);
    Reply reply = get(page);
    if (!reply.ok()) return reply;
    for (Json& item : reply.json["items"]) items.push_back(std::move(item));
    page_token = reply.json.value("next_page_token", "");
  } while (!page_token.empty());
  return {std::move(items), {}, kDone};
}

// The object a changing command names. By serial and CA there must be exactly one.
Operator::Reply Operator::resolve(const std::string& kind, const Target& target) {
  if (!target.id.empty()) {
    if (target.id.size() != 64) {
      return {{}, {}, complain("changing commands take the full id of 64 hex digits, or --serial SN --ca ID")};
    }
    return get("/v1/" + kind + "/" + percent_encoded(target.id));
  }
  std::string query = "/v1/" + kind + "?serial=" + percent_encoded(target.serial);
  if (kind == "devices") query += "&ca=" + percent_encoded(target.ca);
  Reply found = all_pages(query);
  if (!found.ok()) return found;
  if (found.json.size() != 1) {
    return {{},
            {},
            complain(found.json.empty() ? "nothing has the serial " + target.serial
                                        : "several have the serial " + target.serial + ": name one by its id")};
  }
  const std::string id = text(found.json[0], "id");
  return get("/v1/" + kind + "/" + id);
}

bool Operator::agreed(const std::string& what) {
  if (options_.yes || ::isatty(STDIN_FILENO) == 0) return true;
  std::cerr << escaped(what) << "\ngo on? [y/N] " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  return line == "y" || line == "Y" || line == "yes";
}

int Operator::ca_code(const std::string& ttl) {
  const std::int64_t ttl_seconds = seconds(ttl);
  if (ttl_seconds == 0) return complain("--ttl takes a duration such as 30m, 24h or 7d"), 2;
  const Reply reply = post("/v1/registration-codes", Json{{"ttl_seconds", ttl_seconds}}.dump());
  if (!reply.ok()) return reply.failed;
  if (options_.json) {
    print_json(reply.json);
  } else {
    std::cout << text(reply.json, "code") << '\n';
  }
  return kDone;
}

int Operator::ca_register(const CaRegisterOptions& registration) {
  const auto certificate = file_text(registration.certificate);
  if (!certificate) return complain(certificate.error().what);
  const auto verification = file_text(registration.verification);
  if (!verification) return complain(verification.error().what);
  Json body = {{"certificate", *certificate}, {"verification_certificate", *verification}};
  if (registration.no_auto_register) body["auto_register"] = false;
  if (registration.approve) body["approve"] = true;
  const Reply reply = post("/v1/cas", dump(body));
  if (!reply.ok()) return reply.failed;
  if (options_.json) {
    print_json(reply.json);
  } else {
    std::cout << text(reply.json, "id") << '\n';
  }
  return kDone;
}

int Operator::ca_list(const CaListOptions& filter) {
  std::string target = "/v1/cas?serial=" + percent_encoded(filter.serial) + "&status=" + percent_encoded(filter.status);
  const Reply reply = all_pages(target);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table({"ID", "STATUS", "CN", "KEY", "SERIAL", "NOT AFTER", "DEVICES"});
  for (const Json& ca : reply.json) {
    const Json& devices = ca["devices"];
    const std::uint64_t all = devices["active"].get<std::uint64_t>() + devices["inactive"].get<std::uint64_t>() +
                              devices["pending"].get<std::uint64_t>() + devices["revoked"].get<std::uint64_t>();
    table.add({text(ca, "id"), text(ca, "status"), text(ca, "cn"), text(ca, "key_type"), text(ca, "serial"),
               text(ca, "not_after"), std::to_string(all)});
  }
  table.print(std::cout);
  return kDone;
}

namespace {

int print_object(const Json& json, bool as_json) {
  if (as_json) return print_json(json), kDone;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [key, value] : json.items()) {
    if (value.is_object()) {
      for (const auto& [inner, number] : value.items())
        pairs.emplace_back(key + "." + inner, text(value, inner.c_str()));
    } else {
      pairs.emplace_back(key, text(json, key.c_str()));
    }
  }
  print_pairs(std::cout, pairs);
  return kDone;
}

}  // namespace

int Operator::ca_show(const std::string& reference) {
  const Reply reply = get("/v1/cas/" + percent_encoded(reference));
  return reply.ok() ? print_object(reply.json, options_.json) : reply.failed;
}

int Operator::ca_change(const std::string& action, const Target& target) {
  const Reply found = resolve("cas", target);
  if (!found.ok()) return found.failed;
  const std::string id = text(found.json, "id");
  if (action == "deactivate") {
    const std::string impact = "deactivating CA " + short_id(id) + "… (" + text(found.json, "cn") + ") cuts " +
                               with_thousands(found.json.value("sessions", std::uint64_t{0})) +
                               " live sessions and stops " +
                               with_thousands(found.json["devices"]["active"].get<std::uint64_t>()) + " active devices";
    if (!agreed(impact)) return complain("nothing was changed");
  }
  const Reply reply = post("/v1/cas/" + id + "/" + action, "");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << ' ' << text(reply.json, "status") << '\n';
  return kDone;
}

int Operator::device_list(const DeviceListOptions& filter) {
  std::string target = "/v1/devices?serial=" + percent_encoded(filter.serial) + "&ca=" + percent_encoded(filter.ca) +
                       "&status=" + percent_encoded(filter.status) + "&cn=" + percent_encoded(filter.cn);
  if (!filter.expires_within.empty()) {
    const std::int64_t within = seconds(filter.expires_within);
    if (within == 0) return complain("--expires-within takes a duration such as 12h or 30d"), 2;
    target += "&expires_before=" + percent_encoded(utc(std::time(nullptr) + within));
  }
  const Reply reply = all_pages(target);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table({"ID", "STATUS", "EFFECTIVE", "CN", "KEY", "SERIAL", "NOT AFTER", "SESSIONS"});
  for (const Json& device : reply.json) {
    table.add({text(device, "id"), text(device, "status"), text(device, "effective_status"), text(device, "cn"),
               text(device, "key_type"), text(device, "serial"), text(device, "not_after"), text(device, "sessions")});
  }
  table.print(std::cout);
  return kDone;
}

int Operator::device_show(const std::string& reference) {
  const Reply reply = get("/v1/devices/" + percent_encoded(reference));
  return reply.ok() ? print_object(reply.json, options_.json) : reply.failed;
}

int Operator::device_change(const std::string& action, const Target& target) {
  const Reply found = resolve("devices", target);
  if (!found.ok()) return found.failed;
  const std::string id = text(found.json, "id");
  if (action == "deactivate") {
    const std::string impact = "deactivating device " + short_id(id) + "… (" + text(found.json, "cn") + ") cuts " +
                               with_thousands(found.json.value("sessions", std::uint64_t{0})) + " live sessions";
    if (!agreed(impact)) return complain("nothing was changed");
  }
  const Reply reply = post("/v1/devices/" + id + "/" + action, "");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << ' ' << text(reply.json, "status") << '\n';
  return kDone;
}

int Operator::download(const std::string& kind, const std::string& reference) {
  const auto answer =
      ask(options_.socket, "GET", "/v1/" + kind + "/" + percent_encoded(reference) + "/certificate", "");
  if (!answer) return complain(answer.error().what);
  if (answer->status >= 300) {
    const Json json = Json::parse(answer->body, nullptr, false);
    return complain(json.is_object() ? text(json, "detail") : "the server refused");
  }
  std::cout << answer->body;
  return kDone;
}

int Operator::listener_list() {
  const Reply reply = all_pages("/v1/listeners");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table({"NAME", "ADDRESS", "AUTH", "PROTOCOL", "UPSTREAM", "SERVER CERTIFICATES"});
  for (const Json& listener : reply.json) {
    std::string certificates;
    for (const Json& id : listener["server_certificates"]) {
      certificates += (certificates.empty() ? "" : " ") + short_id(id.get<std::string>());
    }
    table.add({text(listener, "name"), text(listener, "address"), text(listener, "auth"), text(listener, "protocol"),
               text(listener, "upstream"), certificates});
  }
  table.print(std::cout);
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
  print_pairs(
      std::cout,
      {{"version", text(json, "version")},
       {"up", text(json, "uptime_seconds") + " s"},
       {"sessions", count(json, "sessions")},
       {"devices", count(devices, "active") + " active, " + count(devices, "inactive") + " inactive, " +
                       count(devices, "pending") + " pending, " + count(devices, "revoked") + " revoked"},
       {"expiring within 30 days", count(json, "devices_expiring_within_30d") +
                                       (json["devices_expiring_is_a_lower_bound"].get<bool>() ? " or more" : "")},
       {"CAs", count(json["cas"], "active") + " active, " + count(json["cas"], "inactive") + " inactive"},
       {"registration queue", count(queue, "depth") + " of " + count(queue, "limit")},
       {"store errors", count(json, "store_errors")}});
  Table table({"SHARD", "SESSIONS", "BUSY"});
  std::size_t number = 0;
  for (const Json& shard : json["shards"]) {
    const auto percent = static_cast<int>(shard["busy_ratio"].get<double>() * 100 + 0.5);
    table.add({std::to_string(number++), count(shard, "sessions"), std::to_string(percent) + " %"});
  }
  table.print(std::cout);
  return kDone;
}

}  // namespace sallyport
