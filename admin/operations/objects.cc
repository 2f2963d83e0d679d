#include "admin/operations/objects.h"

#include <array>
#include <ctime>
#include <system_error>

#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::array kDeviceStatuses = {DeviceStatus::Active, DeviceStatus::Inactive, DeviceStatus::Pending,
                                        DeviceStatus::Revoked};

std::string_view name_of(RegisteredBy by) {
  switch (by) {
    case RegisteredBy::Auto: return "auto";
    case RegisteredBy::Operator: return "operator";
    case RegisteredBy::Crl: return "crl";
  }
  return "auto";
}

// Null where there is no such moment.
Json utc_or_null(std::int64_t at) {
  return at == 0 || at == INT64_MAX ? Json(nullptr) : Json(utc(at));
}

// Null where nothing has gone wrong since the start.
Json last_failure(const LastTrouble::Said& said) {
  if (said.why.empty()) return nullptr;
  const std::string error = said.error == 0 ? ""
                                            : ": " + std::string(std::generic_category().message(said.error)) +
                                                  " (errno " + std::to_string(said.error) + ")";
  return {{"at", utc(said.at)}, {"why", said.why + error}};
}

}  // namespace

std::optional<DeviceStatus> device_status(std::string_view name) {
  for (const DeviceStatus status : kDeviceStatuses) {
    if (to_string(status) == name) return status;
  }
  return std::nullopt;
}

std::optional<CaStatus> ca_status(std::string_view name) {
  for (const CaStatus status : {CaStatus::Active, CaStatus::Inactive}) {
    if (to_string(status) == name) return status;
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_utc(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
}

std::string utc(std::int64_t unix_seconds) {
  const std::time_t at = unix_seconds;
  std::tm parts{};
  std::array<char, 32> text{};
  if (::gmtime_r(&at, &parts) == nullptr) return std::to_string(unix_seconds);
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

Json to_json(const DeviceCounts& counts) {
  return {{"active", counts.active},
          {"inactive", counts.inactive},
          {"pending", counts.pending},
          {"revoked", counts.revoked}};
}

Json to_json(const CaRecord& ca) {
  const Certificate& certificate = ca.certificate;
  const auto bytes =
      Bytes(reinterpret_cast<const std::uint8_t*>(certificate.serial().data()), certificate.serial().size());
  return {{"id", to_hex(ca.id)},
          {"serial", serial_hex(bytes)},
          {"subject", certificate.subject()},
          {"cn", certificate.cn()},
          {"status", to_string(ca.status)},
          {"not_before", utc(certificate.not_before())},
          {"not_after", utc(certificate.not_after())},
          {"key_type", certificate.key_type_name()},
          {"auto_register", ca.auto_register},
          {"approve", ca.approve},
          {"from_config", ca.from_config},
          {"registered_at", utc(ca.registered_at)},
          {"devices", to_json(ca.devices)}};
}

Json to_json(const DeviceRecord& device, std::uint64_t sessions) {
  const auto serial = Bytes(reinterpret_cast<const std::uint8_t*>(device.serial.data()), device.serial.size());
  const bool effective = device.status == DeviceStatus::Active && device.standing == Reason::None;
  Json json = {{"id", to_hex(device.id)},
               {"serial", serial_hex(serial)},
               {"subject", device.subject},
               {"cn", device.cn},
               {"ca_id", to_hex(device.ca_id)},
               {"status", to_string(device.status)},
               {"effective_status", effective ? "active" : std::string(to_string(device.standing))},
               {"not_before", utc_or_null(device.not_before)},
               {"not_after", utc_or_null(device.not_after)},
               {"key_type", device.key_type},
               {"registered_at", utc(device.registered_at)},
               {"registered_by", name_of(device.registered_by)},
               {"last_seen", utc_or_null(device.last_seen)},
               {"last_seen_to", device.last_seen == 0 ? Json(nullptr) : Json("day")},
               {"sessions", sessions}};
  // The device's own status speaks for itself; the reason names what lies above it.
  if (device.status != DeviceStatus::Active) json["effective_status"] = to_string(device.status);
  return json;
}

Json parse_json(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepestJson) return Json(Json::value_t::discarded);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return Json::parse(text, nullptr, false);
}

Json to_json(const ChainMember& member) {
  const auto serial = Bytes(reinterpret_cast<const std::uint8_t*>(member.serial.data()), member.serial.size());
  return {{"id", to_hex(member.id)},
          {"subject", member.subject},
          {"serial", serial_hex(serial)},
          {"not_before", utc_or_null(member.not_before)},
          {"not_after", utc_or_null(member.not_after)},
          {"registered", member.registered},
          {"standing", member.standing == Reason::None ? "active" : std::string(to_string(member.standing))}};
}

Json to_json(const ListenerInfo& listener) {
  Json certificates = Json::array();
  for (const Digest& id : listener.certificates) certificates.push_back(to_hex(id));
  Json overrides = Json::object();
  if (listener.auth_chosen) overrides["auth"] = listener.auth;
  if (listener.hosted) overrides["server_certificate"] = to_hex(*listener.hosted);
  return {{"name", listener.name},
          {"address", listener.address},
          {"auth", listener.auth},
          {"protocol", listener.protocol},
          {"upstream", listener.upstream},
          {"tls_engine", std::string(to_string(listener.tls_engine))},
          {"server_certificates", certificates},
          {"overrides", std::move(overrides)}};
}

Json to_json(const UpstreamInfo& upstream) {
  Json servers = Json::array();
  for (const ServerInfo& server : upstream.servers) {
    Json addresses = Json::array();
    for (const TargetInfo& target : server.targets) {
      addresses.push_back({{"address", target.address},
                           {"state", std::string(target.state)},
                           {"slow_start", target.slow_start},
                           {"sessions", target.sessions}});
    }
    Json failures = Json::object();
    for (std::size_t i = 0; i < server.faults.size(); ++i) {
      failures[std::string(kBrokerFaultNames[i])] = server.faults[i];
    }
    servers.push_back({{"server", server.server},
                       {"state", server.state},
                       {"drained", server.drained},
                       {"sessions", server.sessions},
                       {"addresses", std::move(addresses)},
                       {"failures", std::move(failures)},
                       {"last_failure", last_failure(server.last_trouble)},
                       {"name_error", server.trouble.empty() ? Json(nullptr) : Json(server.trouble)}});
  }
  return {{"name", upstream.name},
          {"balance", std::string(to_string(upstream.balance))},
          {"health", std::string(to_string(upstream.health))},
          {"servers", std::move(servers)}};
}

std::string dump(const Json& json) {
  return steering_escaped(json.dump(-1, ' ', false, Json::error_handler_t::replace)) + "\n";
}

}  // namespace sallyport
