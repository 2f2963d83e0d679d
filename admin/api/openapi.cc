// The OpenAPI 3.1 description of the API, made from the table of routes: what is served and what is described
// cannot drift apart. Schemas name the members an operator may rely on.
#include <algorithm>

#include "admin/api/admin_api.h"

namespace sallyport {

namespace {

struct Member {
  const char* name;
  const char* type;  // "string", "integer", "boolean", "array", "object", "reason"; with '?': may be null or absent
};

// A string of the closed list of reasons.
Json reason_schema(bool optional) {
  Json names = Json::array();
  for (std::size_t i = 1; i < kReasonCount; ++i) names.push_back(std::string(kReasons[i].name));
  if (optional) names.push_back(nullptr);
  return {{"type", optional ? Json::array({"string", "null"}) : Json("string")}, {"enum", std::move(names)}};
}

Json schema(const std::vector<Member>& members) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const Member& member : members) {
    std::string type = member.type;
    const bool optional = type.back() == '?';
    if (optional) type.pop_back();
    properties[member.name] = type == "reason" ? reason_schema(optional)
                                               : Json{{"type", optional ? Json::array({type, "null"}) : Json(type)}};
    if (!optional) required.push_back(member.name);
  }
  return {{"type", "object"}, {"properties", std::move(properties)}, {"required", std::move(required)}};
}

Json list_of(const char* item) {
  return {{"type", "object"},
          {"properties",
           {{"items", {{"type", "array"}, {"items", {{"$ref", "#/components/schemas/" + std::string(item)}}}}},
            {"next_page_token", {{"type", "string"}}}}},
          {"required", {"items", "next_page_token"}}};
}

Json schemas() {
  Json all = Json::object();
  all["Problem"] = schema({{"type", "string"}, {"title", "string"}, {"status", "integer"}, {"detail", "string"}});
  all["CodeRequest"] = schema({{"ttl_seconds", "integer?"}});
  all["Code"] = schema({{"code", "string"}, {"expires_at", "string"}});
  all["CaRegistration"] = schema({{"certificate", "string"},
                                  {"verification_certificate", "string"},
                                  {"auto_register", "boolean?"},
                                  {"approve", "boolean?"}});
  all["CaJoining"] = schema({{"auto_register", "boolean?"}, {"approve", "boolean?"}});
  all["Ca"] = schema({{"id", "string"},
                      {"serial", "string"},
                      {"subject", "string"},
                      {"cn", "string"},
                      {"status", "string"},
                      {"not_before", "string"},
                      {"not_after", "string"},
                      {"key_type", "string"},
                      {"auto_register", "boolean"},
                      {"approve", "boolean"},
                      {"from_config", "boolean"},
                      {"registered_at", "string"},
                      {"devices", "object"},
                      {"sessions", "integer?"},
                      {"devices_online", "integer?"},
                      {"admitted_through", "array?"},
                      {"nodes", "object?"}});
  all["CrlOutcome"] = schema({{"ca_id", "string?"},
                              {"entries", "integer"},
                              {"revoked", "integer"},
                              {"held", "integer"},
                              {"not_seen_yet", "integer"},
                              {"cas_deactivated", "integer"},
                              {"unchanged", "integer"},
                              {"under_other_keys", "array"},
                              {"crls", "array?"},
                              {"nodes", "object?"}});
  all["Crl"] = schema({{"id", "string"},
                       {"ca_id", "string"},
                       {"scope", "string?"},
                       {"number", "string?"},
                       {"this_update", "string"},
                       {"next_update", "string?"},
                       {"entries", "integer?"},
                       {"imported_at", "string?"},
                       {"overdue", "boolean"}});
  all["DeviceRegistration"] = schema({{"certificate", "string"}, {"intermediates", "string?"}});
  all["Device"] = schema({{"id", "string"},
                          {"serial", "string"},
                          {"subject", "string"},
                          {"cn", "string"},
                          {"ca_id", "string"},
                          {"status", "string"},
                          {"effective_status", "string"},
                          {"not_before", "string?"},
                          {"not_after", "string?"},
                          {"key_type", "string"},
                          {"registered_at", "string"},
                          {"registered_by", "string"},
                          {"last_seen", "string?"},
                          {"last_seen_to", "string?"},
                          {"last_refusal", "object?"},
                          {"chain", "array?"},
                          {"sessions", "integer"},
                          {"nodes", "object?"}});
  all["ImportOutcome"] = schema({{"registered", "integer"},
                                 {"already", "integer"},
                                 {"failed", "integer"},
                                 {"complete", "boolean"},
                                 {"failures", "array"},
                                 {"failures_omitted", "integer"}});
  all["DeviceBulk"] = schema({{"action", "string"},
                              {"ids", "array?"},
                              {"filter", "object?"},
                              {"dry_run", "boolean?"},
                              {"cursor", "string?"},
                              {"as_of", "string?"}});
  all["DeviceBulkOutcome"] = schema({{"action", "string"},
                                     {"dry_run", "boolean"},
                                     {"looked_at", "integer"},
                                     {"matched", "integer"},
                                     {"came_since", "integer"},
                                     {"as_of", "string"},
                                     {"would_change", "integer"},
                                     {"sessions", "integer"},
                                     {"changed", "integer"},
                                     {"failed", "array"},
                                     {"failed_omitted", "integer"},
                                     {"cursor", "string?"},
                                     {"nodes", "object?"}});
  all["SessionCuts"] =
      schema({{"ids", "array?"}, {"filter", "object?"}, {"dry_run", "boolean?"}, {"cursor", "string?"}});
  all["SessionCutsOutcome"] =
      schema({{"dry_run", "boolean"}, {"matched", "integer"}, {"cut", "integer"}, {"cursor", "string?"}});
  all["Attention"] = schema(
      {{"kind", "string"}, {"severity", "string"}, {"what", "string"}, {"count", "integer"}, {"about", "string"}});
  all["RejectionGroup"] = schema({{"reason", "reason"},
                                  {"what_to_do", "string"},
                                  {"fingerprint", "string?"},
                                  {"subject", "string"},
                                  {"issuer", "string"},
                                  {"serial", "string"},
                                  {"count", "integer"},
                                  {"claimed_count", "integer"},
                                  {"peers", "integer"},
                                  {"last_peer", "string"},
                                  {"listeners", "array"},
                                  {"first", "string"},
                                  {"last", "string"},
                                  {"ids", "array"}});
  all["ExplainRequest"] = schema({{"chain", "string?"},
                                  {"device", "string?"},
                                  {"refusal", "string?"},
                                  {"listener", "string?"},
                                  {"at", "string?"}});
  all["Explanation"] = schema({{"admitted", "boolean"},
                               {"reason", "reason?"},
                               {"what_to_do", "string?"},
                               {"id", "string"},
                               {"subject", "string"},
                               {"serial", "string"},
                               {"at", "string"},
                               {"source", "string"},
                               {"stopped_at", "integer?"},
                               {"steps", "array"}});
  all["Rejection"] = schema({{"id", "string"},
                             {"reason", "reason"},
                             {"listener", "string"},
                             {"peer", "string"},
                             {"via", "string?"},
                             {"what", "string"},
                             {"subject", "string"},
                             {"issuer", "string"},
                             {"serial", "string"},
                             {"fingerprint", "string?"},
                             {"claimed", "boolean"},
                             {"count", "integer"},
                             {"claimed_count", "integer"},
                             {"first", "string"},
                             {"last", "string"}});
  all["AuditRecord"] = schema({{"at", "string"},
                               {"who", "string"},
                               {"from", "string"},
                               {"action", "string"},
                               {"target", "string"},
                               {"before", "string"},
                               {"after", "string"},
                               {"revision", "integer"}});
  all["Status"] = schema({{"version", "string"},
                          {"uptime_seconds", "integer"},
                          {"state", "string"},
                          {"not_ready", "string?"},
                          {"io", "string"},
                          {"sessions", "integer"},
                          {"sessions_closing", "integer"},
                          {"tls", "object"},
                          {"rejections", "object"},
                          {"clones", "integer"},
                          {"connections_silent", "integer"},
                          {"bytes", "object"},
                          {"listeners", "array"},
                          {"shards", "array"},
                          {"devices", "object"},
                          {"devices_expiring_within_30d", "integer"},
                          {"cas", "object"},
                          {"crls", "object"},
                          {"registration_queue", "object"},
                          {"imports", "object"},
                          {"registrations_refused_late", "integer"},
                          {"store_errors", "integer"},
                          {"store_stalled", "boolean"},
                          {"store_free_bytes", "integer"},
                          {"restrictions_not_durable", "integer"},
                          {"upstreams", "array"},
                          {"reload", "object"},
                          {"warnings", "array"},
                          {"registry", "object?"},
                          {"revision", "integer"}});
  all["RunningConfig"] = schema({{"file", "string"}, {"needs_restart", "array"}, {"settings", "array"}});
  all["SampleList"] = schema({{"every_seconds", "integer"}, {"items", "array"}});
  all["ServerCertificateUpload"] = schema({{"chain", "string"}, {"key", "string"}});
  all["ServerCertificate"] = schema({{"id", "string"},
                                     {"serial", "string"},
                                     {"subject", "string"},
                                     {"cn", "string"},
                                     {"names", "array"},
                                     {"not_before", "string"},
                                     {"not_after", "string"},
                                     {"key_type", "string"},
                                     {"chain_length", "integer"},
                                     {"added_at", "string"},
                                     {"used_by", "array"}});
  all["Listener"] = schema({{"name", "string"},
                            {"address", "string"},
                            {"auth", "string"},
                            {"protocol", "string"},
                            {"upstream", "string"},
                            {"tls_engine", "string"},
                            {"server_certificates", "array"},
                            {"overrides", "object"}});
  all["Upstream"] = schema({{"name", "string"}, {"balance", "string"}, {"health", "string"}, {"servers", "array"}});
  all["CertificateChoice"] = schema({{"id", "string"}});
  all["AuthChoice"] = schema({{"mode", "string"}});
  all["Session"] = schema({{"id", "string"},
                           {"device_id", "string?"},
                           {"cn", "string?"},
                           {"ca_id", "string?"},
                           {"listener", "string"},
                           {"peer", "string"},
                           {"via", "string?"},
                           {"client_id", "string"},
                           {"server", "string?"},
                           {"mqtt_version", "string?"},
                           {"tls_version", "string?"},
                           {"resumed", "boolean"},
                           {"state", "string"},
                           {"since", "string"}});
  all["NodeForgotten"] = schema({{"name", "string"}, {"forgotten", "boolean"}});
  all["Cut"] = schema({{"id", "string"}, {"cut", "boolean"}});
  all["TokenRequest"] = schema({{"name", "string"}, {"role", "string"}, {"ttl_seconds", "integer?"}});
  all["Token"] = schema({{"name", "string"},
                         {"role", "string"},
                         {"created_at", "string"},
                         {"expires_at", "string?"},
                         {"token", "string?"}});
  all["Node"] = schema({{"name", "string"},
                        {"revision", "integer"},
                        {"behind", "integer"},
                        {"lag_seconds", "number"},
                        {"last_seen_seconds_ago", "number"},
                        {"version", "string"}});
  all["Drain"] = schema({{"draining", "boolean"}, {"sessions", "integer"}});
  all["Reloaded"] = schema({{"at", "string"}, {"needs_restart", "array"}});
  all["LogLevel"] = schema({{"level", "string"}});
  all["TicketKeys"] = schema({{"rotated_at", "string"}});
  all["BackupRequest"] = schema({{"name", "string?"}, {"dir", "string?"}});
  all["Backup"] = schema({{"path", "string"},
                          {"files", "integer"},
                          {"bytes", "integer"},
                          {"revision", "integer"},
                          {"created_at", "string"},
                          {"replica", "boolean"}});
  for (const auto& [list, item] :
       std::initializer_list<std::pair<const char*, const char*>>{{"CaList", "Ca"},
                                                                  {"CrlList", "Crl"},
                                                                  {"NodeList", "Node"},
                                                                  {"DeviceList", "Device"},
                                                                  {"RejectionList", "Rejection"},
                                                                  {"RejectionGroupList", "RejectionGroup"},
                                                                  {"AttentionList", "Attention"},
                                                                  {"AuditList", "AuditRecord"},
                                                                  {"ServerCertificateList", "ServerCertificate"},
                                                                  {"ListenerList", "Listener"},
                                                                  {"UpstreamList", "Upstream"},
                                                                  {"SessionList", "Session"},
                                                                  {"TokenList", "Token"}}) {
    all[list] = list_of(item);
  }
  // Of other nodes of a shared registry, too: whose each is, and who did not answer.
  for (const char* each : {"Session", "Rejection", "RejectionGroup", "Explanation", "Cut", "SessionCutsOutcome"}) {
    all[each]["properties"]["node"] = {{"type", "string"}};
  }
  for (const char* each : {"SessionList", "RejectionList", "RejectionGroupList"}) {
    all[each]["properties"]["silent"] = {{"type", "array"}, {"items", {{"type", "string"}}}};
  }
  return all;
}

Json content(std::string_view kind) {
  if (kind.find('/') != std::string_view::npos) return {{std::string(kind), Json::object()}};
  return {{"application/json", {{"schema", {{"$ref", "#/components/schemas/" + std::string(kind)}}}}}};
}

std::string operation_id(const AdminApi::Route& route) {
  std::string id = lower(route.method);
  for (const char c : route.path.substr(3)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      id += c;
    } else if (id.back() != '_') {
      id += '_';
    }
  }
  while (id.back() == '_') id.pop_back();
  return id;
}

Json operation(const AdminApi::Route& route) {
  Json parameters = Json::array();
  std::string_view path = route.path;
  for (std::size_t open = path.find('{'); open != std::string_view::npos; open = path.find('{', open + 1)) {
    const std::string name(path.substr(open + 1, path.find('}', open) - open - 1));
    parameters.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  for (const std::string_view name : route.query) {
    const bool number = name == "limit";
    Json type = number ? Json{{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}} : Json{{"type", "string"}};
    parameters.push_back({{"name", std::string(name)}, {"in", "query"}, {"schema", std::move(type)}});
  }
  Json made = {
      {"operationId", operation_id(route)},
      {"summary", std::string(route.summary)},
      {"x-role", std::string(AdminApi::name_of(route.role))},
      {"parameters", std::move(parameters)},
      {"responses",
       {{std::to_string(route.status), {{"description", "done"}, {"content", content(route.answer)}}},
        {"default",
         {{"description", "refused"},
          {"content", {{"application/problem+json", {{"schema", {{"$ref", "#/components/schemas/Problem"}}}}}}}}}}}};
  if (route.also != 0) {
    made["responses"][std::to_string(route.also)] = {{"description", "it was so already"},
                                                     {"content", content(route.answer)}};
  }
  if (!route.body.empty()) {
    made["requestBody"] = {{"required", route.body != "CodeRequest"}, {"content", content(route.body)}};
  }
  return made;
}

}  // namespace

Json AdminApi::openapi() {
  Json paths = Json::object();
  for (const Route& route : routes()) paths[std::string(route.path)][lower(route.method)] = operation(route);
  return {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "Sallyport"},
        {"version", SALLYPORT_VERSION},
        {"description",
         "CA, device and server certificates, listeners and sessions of a Sallyport. POST, PUT and DELETE answer "
         "after the change is durable on disk and in force on every shard. Errors are RFC 9457 problem documents."}}},
      {"servers", Json::array({{{"url", "/"}}})},
      {"security", Json::array({{{"token", Json::array()}}})},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", schemas()}, {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace sallyport
