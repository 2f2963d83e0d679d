#include "admin/api/admin_api.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "admin/api/objects.h"

namespace sallyport {

namespace {

constexpr std::size_t kPrefixDigits = 8;  // the contract, section 1
constexpr std::size_t kMatchesShown = 5;

HttpResponse ok(const Json& json, unsigned status = 200) {
  return {status, "application/json", dump(json)};
}

HttpResponse refused(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::Invalid: return problem(400, "invalid", refusal.what);
    case Refusal::Kind::NotFound: return problem(404, "not-found", refusal.what);
    case Refusal::Kind::Conflict: return problem(409, "conflict", refusal.what);
    case Refusal::Kind::Unavailable: return problem(503, "unavailable", refusal.what);
  }
  return problem(500, "internal", refusal.what);
}

HttpResponse not_found() {
  return problem(404, "not-found", "there is nothing at this path: see the README, \"API\"");
}
HttpResponse wrong_method(std::string_view allowed) {
  return problem(405, "method", "this path takes " + std::string(allowed));
}

// "ID/action" → ID and action; action is empty where there is none.
std::pair<std::string_view, std::string_view> split(std::string_view rest) {
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return {rest, {}};
  return {rest.substr(0, slash), rest.substr(slash + 1)};
}

bool is_hex(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0 || c == ':'; });
}

std::optional<Digest> full_id(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  Digest id{};
  if (text.size() != 2 * id.size() || !parse_hex(text, bytes) || bytes.size() != id.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// A serial as a person writes it → bytes as Certificate::serial() has them: no leading zeros.
std::optional<std::string> serial_bytes(std::string_view text) {
  std::string digits(text);
  digits.erase(std::remove(digits.begin(), digits.end(), ':'), digits.end());
  if (digits.empty() || digits.size() > 256) return std::nullopt;
  if (digits.size() % 2 != 0) digits.insert(digits.begin(), '0');
  std::vector<std::uint8_t> bytes;
  if (!parse_hex(digits, bytes)) return std::nullopt;
  const auto first = std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b != 0; });
  std::string serial(first, bytes.end());
  return serial.empty() ? std::string(1, '\0') : serial;  // zero is one byte
}

Refusal needs_full_id() {
  return {Refusal::Kind::Invalid, "changes take the full id of 64 hex digits, as the lists show it"};
}

template <class Records>
Refusal ambiguous(std::string_view what, std::string_view reference, const Records& records) {
  std::string list;
  for (std::size_t i = 0; i < records.size() && i < kMatchesShown; ++i) list += " " + to_hex(records[i].id);
  if (records.size() > kMatchesShown) list += " …";
  return {Refusal::Kind::Conflict, "several " + std::string(what) + " match '" + std::string(reference) + "':" + list};
}

Refusal bad_reference(std::string_view what) {
  return {Refusal::Kind::Invalid,
          "name the " + std::string(what) + " by its id, a prefix of its id of at least 8 hex digits, or its serial"};
}

}  // namespace

AdminApi::AdminApi(Registrar& registrar, DataPlane& plane, HttpHandler& probes, const RegistryConfig& registry,
                   std::int64_t started_at, Logger& log)
    : registrar_(registrar), plane_(plane), probes_(probes), registry_(registry), started_at_(started_at), log_(log) {}

HttpResponse AdminApi::handle(const HttpRequest& request) {
  const std::string_view path = request.path;
  const auto below = [&](std::string_view prefix) -> std::optional<std::string_view> {
    if (path == prefix) return std::string_view();
    if (path.size() <= prefix.size() || path.substr(0, prefix.size()) != prefix || path[prefix.size()] != '/') {
      return std::nullopt;
    }
    return path.substr(prefix.size() + 1);
  };
  HttpResponse response;
  if (path == "/v1/registration-codes") {
    response = codes(request);
  } else if (const auto ca = below("/v1/cas")) {
    response = cas(request, *ca);
  } else if (const auto device = below("/v1/devices")) {
    response = devices(request, *device);
  } else if (path == "/v1/listeners") {
    response = request.method == "GET" ? listeners() : wrong_method("GET");
  } else if (path == "/v1/status") {
    response = request.method == "GET" ? status() : wrong_method("GET");
  } else if (path.substr(0, 4) == "/v1/") {
    response = not_found();
  } else {
    return probes_.handle(request);
  }
  if (request.method != "GET") {
    const std::lock_guard lock(log_mutex_);
    log_.info("admin", {{"method", request.method}, {"path", request.path}, {"status", response.status}});
  }
  return response;
}

HttpResponse AdminApi::codes(const HttpRequest& request) {
  if (request.method != "POST") return wrong_method("POST");
  std::int64_t ttl = 24 * 3600;
  if (!request.body.empty()) {
    const Json body = Json::parse(request.body, nullptr, false);
    if (!body.is_object()) return problem(400, "invalid", "the body must be a JSON object");
    if (body.contains("ttl_seconds")) {
      const Json& value = body["ttl_seconds"];
      if (!value.is_number_integer()) return problem(400, "invalid", "ttl_seconds must be a whole number");
      ttl = value.get<std::int64_t>();
    }
  }
  if (ttl < 1 || ttl > 366LL * 86400) return problem(400, "invalid", "ttl_seconds must be between 1 and one year");
  const auto code = registrar_.issue_code(ttl);
  if (!code) return refused(code.error());
  return ok({{"code", code->code}, {"expires_at", utc(code->expires_at)}}, 201);
}

HttpResponse AdminApi::cas(const HttpRequest& request, std::string_view rest) {
  if (rest.empty()) {
    if (request.method == "GET") return list_cas(request);
    return request.method == "POST" ? register_ca(request) : wrong_method("GET or POST");
  }
  const auto [reference, action] = split(rest);
  if (action.empty()) return request.method == "GET" ? ca_answer(find_ca(reference)) : wrong_method("GET");
  if (action == "certificate") {
    if (request.method != "GET") return wrong_method("GET");
    const auto ca = find_ca(reference);
    return ca ? HttpResponse{200, "application/x-pem-file", ca->certificate.pem()} : refused(ca.error());
  }
  if (action != "activate" && action != "deactivate") return not_found();
  if (request.method != "POST") return wrong_method("POST");
  const auto id = full_id(reference);
  if (!id) return refused(needs_full_id());
  return ca_answer(registrar_.set_ca_status(*id, action == "activate" ? CaStatus::Active : CaStatus::Inactive));
}

HttpResponse AdminApi::list_cas(const HttpRequest& request) {
  const std::string wanted_status = query_value(request.query, "status");
  const std::string wanted_serial = query_value(request.query, "serial");
  const auto status = ca_status(wanted_status);
  if (!wanted_status.empty() && !status) return problem(400, "invalid", "status must be active or inactive");
  const auto serial = serial_bytes(wanted_serial);
  if (!wanted_serial.empty() && !serial) return problem(400, "invalid", "serial must be hex, up to 128 bytes");
  Json items = Json::array();
  for (const CaRecord& ca : registrar_.cas()) {
    if (status && ca.status != *status) continue;
    if (serial && ca.certificate.serial() != *serial) continue;
    items.push_back(to_json(ca));
  }
  return ok({{"items", std::move(items)}, {"next_page_token", ""}});
}

HttpResponse AdminApi::register_ca(const HttpRequest& request) {
  const Json body = Json::parse(request.body, nullptr, false);
  const auto text = [&](const char* key) {
    return body.is_object() && body.contains(key) && body[key].is_string() ? body[key].get<std::string>() : "";
  };
  const auto flag = [&](const char* key) -> std::optional<bool> {
    if (!body.contains(key) || !body[key].is_boolean()) return std::nullopt;
    return body[key].get<bool>();
  };
  if (text("certificate").empty() || text("verification_certificate").empty()) {
    return problem(
        400, "invalid",
        "the body must be {\"certificate\": PEM, \"verification_certificate\": PEM, \"auto_register\"?, \"approve\"?}");
  }
  for (const char* key : {"auto_register", "approve"}) {
    if (body.contains(key) && !body[key].is_boolean()) {
      return problem(400, "invalid", std::string(key) + " must be true or false");
    }
  }
  auto certificate = Certificate::from_pem(text("certificate"));
  if (!certificate) return problem(400, "invalid", "certificate: " + certificate.error().what);
  auto verification = Certificate::from_pem(text("verification_certificate"));
  if (!verification) return problem(400, "invalid", "verification_certificate: " + verification.error().what);
  CaRegistration registration{std::move(*certificate), std::move(*verification), flag("auto_register"),
                              flag("approve").value_or(false)};
  const auto ca = registrar_.register_ca(registration);
  return ca ? ok(to_json(*ca), 201) : refused(ca.error());
}

Answer<CaRecord> AdminApi::find_ca(std::string_view reference) const {
  if (const auto id = full_id(reference)) return registrar_.ca(*id);
  if (!is_hex(reference)) return bad_reference("CA");
  std::vector<CaRecord> found;
  const auto serial = serial_bytes(reference);
  const std::string prefix = reference.size() >= kPrefixDigits ? lower(reference) : "";
  for (CaRecord& ca : registrar_.cas()) {
    const bool by_id = !prefix.empty() && to_hex(ca.id).substr(0, prefix.size()) == prefix;
    if (by_id || (serial && ca.certificate.serial() == *serial)) found.push_back(std::move(ca));
  }
  if (found.empty()) return Refusal{Refusal::Kind::NotFound, "no CA matches '" + std::string(reference) + "'"};
  if (found.size() > 1) return ambiguous("CAs", reference, found);
  return std::move(found.front());
}

HttpResponse AdminApi::ca_answer(const Answer<CaRecord>& answer) {
  if (!answer) return refused(answer.error());
  Json json = to_json(*answer);
  json["sessions"] = plane_.sessions_of_ca(answer->id);
  return ok(json);
}

HttpResponse AdminApi::devices(const HttpRequest& request, std::string_view rest) {
  if (rest.empty()) return request.method == "GET" ? list_devices(request) : wrong_method("GET");
  const auto [reference, action] = split(rest);
  if (action.empty()) return request.method == "GET" ? device_answer(find_device(reference)) : wrong_method("GET");
  if (action == "certificate") {
    if (request.method != "GET") return wrong_method("GET");
    const auto device = find_device(reference);
    if (!device) return refused(device.error());
    const auto certificate = registrar_.device_certificate(device->id);
    return certificate ? HttpResponse{200, "application/x-pem-file", certificate->pem()} : refused(certificate.error());
  }
  if (action != "activate" && action != "deactivate") return not_found();
  if (request.method != "POST") return wrong_method("POST");
  const auto id = full_id(reference);
  if (!id) return refused(needs_full_id());
  const auto status = action == "activate" ? DeviceStatus::Active : DeviceStatus::Inactive;
  return device_answer(registrar_.set_device_status(*id, status));
}

HttpResponse AdminApi::list_devices(const HttpRequest& request) {
  DeviceQuery query;
  const auto value = [&](std::string_view name) { return query_value(request.query, name); };
  if (const std::string serial = value("serial"); !serial.empty()) {
    const auto bytes = serial_bytes(serial);
    if (!bytes) return problem(400, "invalid", "serial must be hex, up to 128 bytes");
    query.serial = *bytes;
  }
  if (const std::string ca = value("ca"); !ca.empty()) {
    const auto found = find_ca(ca);
    if (!found) return refused(found.error());
    query.ca = found->id;
  }
  if (const std::string status = value("status"); !status.empty()) {
    query.status = device_status(status);
    if (!query.status) return problem(400, "invalid", "status must be active, inactive, pending or revoked");
  }
  query.cn_glob = value("cn");
  if (const std::string before = value("expires_before"); !before.empty()) {
    std::tm parts{};
    const char* end = ::strptime(before.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (end == nullptr || *end != '\0') {
      return problem(400, "invalid", "expires_before must be a time such as 2026-11-21T04:13:00Z");
    }
    query.expires_before = ::timegm(&parts);
  }
  if (const std::string limit = value("limit"); !limit.empty()) {
    const auto [end, failure] = std::from_chars(limit.data(), limit.data() + limit.size(), query.limit);
    if (failure != std::errc() || end != limit.data() + limit.size() || query.limit < 1 || query.limit > 1000) {
      return problem(400, "invalid", "limit must be between 1 and 1000");
    }
  }
  query.page_token = value("page_token");
  const auto page = registrar_.devices(query);
  if (!page) return refused(page.error());
  Json items = Json::array();
  for (const DeviceRecord& device : page->items) items.push_back(to_json(device, plane_.sessions_of_device(device.id)));
  return ok({{"items", std::move(items)}, {"next_page_token", page->next_page_token}});
}

Answer<DeviceRecord> AdminApi::find_device(std::string_view reference) const {
  if (const auto id = full_id(reference)) return registrar_.device(*id);
  if (!is_hex(reference)) return bad_reference("device");
  std::vector<DeviceRecord> found;
  if (reference.size() >= kPrefixDigits && reference.find(':') == std::string_view::npos) {
    for (const Digest& id : registrar_.devices_by_prefix(lower(reference), kMatchesShown + 1)) {
      if (auto device = registrar_.device(id)) found.push_back(std::move(*device));
    }
  }
  if (const auto serial = serial_bytes(reference)) {
    DeviceQuery query;
    query.serial = *serial;
    query.limit = kMatchesShown + 1;
    if (auto page = registrar_.devices(query)) {
      for (DeviceRecord& device : page->items) {
        const auto same = [&](const DeviceRecord& other) { return other.id == device.id; };
        if (std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(device));
      }
    }
  }
  if (found.empty()) return Refusal{Refusal::Kind::NotFound, "no device matches '" + std::string(reference) + "'"};
  if (found.size() > 1) return ambiguous("devices", reference, found);
  return std::move(found.front());
}

HttpResponse AdminApi::device_answer(const Answer<DeviceRecord>& answer) {
  if (!answer) return refused(answer.error());
  return ok(to_json(*answer, plane_.sessions_of_device(answer->id)));
}

HttpResponse AdminApi::listeners() const {
  Json items = Json::array();
  for (const ListenerInfo& listener : plane_.listeners()) items.push_back(to_json(listener));
  return ok({{"items", std::move(items)}, {"next_page_token", ""}});
}

HttpResponse AdminApi::status() const {
  const RegistrarStats stats = registrar_.stats();
  Json shards = Json::array();
  std::uint64_t sessions = 0;
  for (const ShardInfo& shard : plane_.shard_info()) {
    shards.push_back({{"sessions", shard.sessions}, {"busy_ratio", shard.busy_ratio}});
    sessions += shard.sessions;
  }
  DeviceQuery soon;
  soon.expires_before = std::time(nullptr) + 30LL * 86400;
  soon.limit = 1000;
  const auto expiring = registrar_.devices(soon);
  return ok({{"version", SALLYPORT_VERSION},
             {"uptime_seconds", std::time(nullptr) - started_at_},
             {"sessions", sessions},
             {"shards", std::move(shards)},
             {"devices", to_json(stats.devices)},
             {"devices_expiring_within_30d", expiring ? expiring->items.size() : 0},
             {"devices_expiring_is_a_lower_bound", expiring ? !expiring->next_page_token.empty() : true},
             {"cas", {{"active", stats.cas_active}, {"inactive", stats.cas_inactive}}},
             {"registration_queue", {{"depth", stats.queued}, {"limit", registry_.queue}}},
             {"registrations_refused_late", stats.refused},
             {"store_errors", stats.store_errors},
             {"revision", stats.revision}});
}

}  // namespace sallyport
