#include "admin/api/admin_api.h"

#include <algorithm>
#include <thread>

#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::size_t kCrlBytes = Crl::kLargest + (std::size_t{1} << 20);
constexpr std::size_t kLoggedBytes = 128;  // of what a stranger chose
constexpr std::string_view kImportPath = "/v1/devices/import";

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> all;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::size_t end = path.find('/');
    all.push_back(path.substr(0, end));
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  return all;
}

}  // namespace

const std::vector<AdminApi::Route>& AdminApi::routes() {
  using A = AdminApi;
  constexpr Role V = Role::Viewer;
  constexpr Role O = Role::Operator;
  static const std::vector<Route> all = {
      {"GET", "/v1/openapi.json", Role::Anyone, &A::describe, "This description", {}, "", "application/json"},
      {"POST",
       "/v1/registration-codes",
       O,
       &A::issue_code,
       "A code to prove possession of a CA's key with",
       {},
       "CodeRequest",
       "Code",
       201},
      {"GET", "/v1/cas", V, &A::list_cas, "Registered CAs", {"serial", "status", "limit", "page_token"}, "", "CaList"},
      {"POST", "/v1/cas", O, &A::register_ca, "Register a CA", {}, "CaRegistration", "Ca", 201},
      {"GET", "/v1/cas/{id}", V, &A::show_ca, "One CA", {}, "", "Ca"},
      {"DELETE", "/v1/cas/{id}", O, &A::delete_ca, "Delete a CA", {"cascade"}, "", "Ca"},
      {"GET", "/v1/cas/{id}/certificate", V, &A::ca_certificate, "Its certificate", {}, "", "application/x-pem-file"},
      {"POST", "/v1/cas/{id}/activate", O, &A::activate_ca, "Let its devices in again", {}, "", "Ca"},
      {"POST",
       "/v1/cas/{id}/deactivate",
       O,
       &A::deactivate_ca,
       "Refuse its devices and cut their sessions",
       {},
       "",
       "Ca"},
      {"GET",
       "/v1/crls",
       V,
       &A::list_crls,
       "The last CRL of each CA and scope",
       {"limit", "page_token"},
       "",
       "CrlList"},
      {"POST",
       "/v1/crls",
       O,
       &A::import_crl,
       "Import a CRL (DER or PEM; several in PEM: all or none): listed serials become revoked; also_under: full ids of "
       "CAs with the issuer's name and another key, comma-separated, to whose devices it applies, too",
       {"also_under"},
       "application/pkix-crl",
       "CrlOutcome",
       200,
       kCrlBytes},
      {"GET",
       "/v1/devices",
       V,
       &A::list_devices,
       "Registered devices; a page may be short, follow next_page_token",
       {"serial", "ca", "status", "cn", "expires_before", "limit", "page_token"},
       "",
       "DeviceList"},
      {"POST",
       "/v1/devices",
       O,
       &A::register_device,
       "Register a device before it comes",
       {},
       "DeviceRegistration",
       "Device",
       201,
       0,
       200},
      {"POST",
       kImportPath,
       O,
       &A::import_devices,
       "Register every device of a PEM stream",
       {},
       "application/x-pem-file",
       "ImportOutcome"},
      {"GET", "/v1/devices/{id}", V, &A::show_device, "One device", {}, "", "Device"},
      {"DELETE", "/v1/devices/{id}", O, &A::delete_device, "Forget a device", {}, "", "Device"},
      {"GET",
       "/v1/devices/{id}/certificate",
       V,
       &A::device_certificate,
       "Its certificate",
       {},
       "",
       "application/x-pem-file"},
      {"POST", "/v1/devices/{id}/activate", O, &A::activate_device, "Let it in", {}, "", "Device"},
      {"POST",
       "/v1/devices/{id}/deactivate",
       O,
       &A::deactivate_device,
       "Refuse it and cut its sessions",
       {},
       "",
       "Device"},
      {"POST",
       "/v1/devices/{id}/revoke",
       O,
       &A::revoke_device,
       "Refuse it for ever and cut its sessions",
       {},
       "",
       "Device"},
      {"POST",
       "/v1/explain",
       V,
       &A::explain,
       "Walk the decision for a certificate chain",
       {},
       "ExplainRequest",
       "Explanation"},
      {"GET",
       "/v1/rejections",
       V,
       &A::list_rejections,
       "The last refusal of each certificate and address, for each reason",
       {"serial", "peer", "reason", "issuer", "listener", "since", "limit"},
       "",
       "RejectionList"},
      {"GET",
       "/v1/audit",
       V,
       &A::list_audit,
       "What operators changed, the last first",
       {"since", "limit", "page_token"},
       "",
       "AuditList"},
      {"GET", "/v1/status", V, &A::status, "One screen", {}, "", "Status"},
      {"GET",
       "/v1/config",
       V,
       &A::show_config,
       "The configuration as it runs: each key's value, where it comes from, and what waits for a restart",
       {},
       "",
       "RunningConfig"},
      {"GET",
       "/v1/samples",
       V,
       &A::list_samples,
       "The last hour, a sample every five seconds: what came in each",
       {"since"},
       "",
       "SampleList"},
      {"GET",
       "/v1/events",
       V,
       &A::stream_events,
       "Events as they come, one JSON object a line, until the reader leaves or its token ends: what the log says from "
       "level info on, each refusal, and each device that registers itself. A filter is named as the field it looks "
       "at, several values are "
       "separated by commas. `lost` counts what there was no room for, `heartbeat` comes when nothing else does",
       {"event", "kind", "reason", "listener", "device"},
       "",
       "application/x-ndjson"},
      {"GET",
       "/v1/server-certificates",
       V,
       &A::list_server_certificates,
       "Hosted server certificates",
       {"limit", "page_token"},
       "",
       "ServerCertificateList"},
      {"POST",
       "/v1/server-certificates",
       O,
       &A::add_server_certificate,
       "Host a server certificate",
       {},
       "ServerCertificateUpload",
       "ServerCertificate",
       201},
      {"GET",
       "/v1/server-certificates/{id}",
       V,
       &A::show_server_certificate,
       "One server certificate",
       {},
       "",
       "ServerCertificate"},
      {"DELETE",
       "/v1/server-certificates/{id}",
       O,
       &A::delete_server_certificate,
       "Delete one that is not in use",
       {},
       "",
       "ServerCertificate"},
      {"GET",
       "/v1/listeners",
       V,
       &A::list_listeners,
       "Listeners, and what was chosen for them",
       {"limit", "page_token"},
       "",
       "ListenerList"},
      {"DELETE",
       "/v1/listeners/{name}/overrides",
       O,
       &A::reset_listener,
       "Back to what the file says",
       {},
       "",
       "Listener"},
      {"PUT",
       "/v1/listeners/{name}/server-certificate",
       O,
       &A::use_certificate,
       "Use a hosted certificate for new handshakes",
       {},
       "CertificateChoice",
       "Listener"},
      {"PUT", "/v1/listeners/{name}/auth", O, &A::set_auth, "Mutual or one-way", {}, "AuthChoice", "Listener"},
      {"GET",
       "/v1/upstreams",
       V,
       &A::list_upstreams,
       "Brokers, and how they are",
       {"limit", "page_token"},
       "",
       "UpstreamList"},
      {"GET", "/v1/upstreams/{name}", V, &A::show_upstream, "One upstream", {}, "", "Upstream"},
      {"POST",
       "/v1/upstreams/{name}/servers/{server}/drain",
       O,
       &A::drain_server,
       "No new session goes to this server until undrain or a restart; those it has go on",
       {},
       "",
       "Upstream"},
      {"POST",
       "/v1/upstreams/{name}/servers/{server}/undrain",
       O,
       &A::undrain_server,
       "New sessions go to this server again",
       {},
       "",
       "Upstream"},
      {"GET",
       "/v1/sessions",
       V,
       &A::list_sessions,
       "Live sessions; a page may be short, follow next_page_token",
       {"device", "ca", "clones", "limit", "page_token"},
       "",
       "SessionList"},
      {"DELETE", "/v1/sessions/{id}", O, &A::cut_session, "Cut one session", {}, "", "Cut"},
      {"GET", "/v1/tokens", V, &A::list_tokens, "Tokens, without themselves", {"limit", "page_token"}, "", "TokenList"},
      {"POST", "/v1/tokens", O, &A::create_token, "A token for the network address", {}, "TokenRequest", "Token", 201},
      {"DELETE", "/v1/tokens", O, &A::revoke_token, "Revoke a token", {"name"}, "", "Token"},
      {"DELETE", "/v1/tokens/{name}", O, &A::revoke_token, "Revoke a token", {}, "", "Token"},
      {"POST", "/v1/drain", O, &A::drain, "End in an orderly manner, as SIGTERM", {}, "", "Drain", 202},
      {"POST",
       "/v1/reload",
       O,
       &A::reload,
       "Read the configuration file and every certificate file again, as SIGHUP; waits for the outcome",
       {},
       "",
       "Reloaded"},
      {"PUT", "/v1/log/level", O, &A::set_log_level, "Until the next reload", {}, "LogLevel", "LogLevel"},
      {"POST",
       "/v1/ticket-keys/rotate",
       O,
       &A::rotate_ticket_keys,
       "Drop the keys of TLS tickets: none issued before is honoured any more",
       {},
       "",
       "TicketKeys"},
      {"POST", "/v1/backup", O, &A::backup, "An online backup, verified", {}, "BackupRequest", "Backup", 201},
  };
  return all;
}

AdminApi::Match AdminApi::match(std::string_view method, std::string_view path) {
  Match best;
  const auto asked = segments(path);
  for (const Route& route : routes()) {
    const auto wanted = segments(route.path);
    if (wanted.size() != asked.size()) continue;
    std::vector<std::string> args;
    bool fits = true;
    for (std::size_t i = 0; i < wanted.size() && fits; ++i) {
      if (wanted[i].front() == '{') {
        args.push_back(percent_decoded(asked[i], false));
        fits = !asked[i].empty();
      } else {
        fits = wanted[i] == asked[i];
      }
    }
    if (!fits) continue;
    best.allowed += (best.allowed.empty() ? "" : ", ") + std::string(route.method);
    // A path that is written out comes before one that {id} fits.
    if (route.method == method && (best.route == nullptr || args.size() < best.args.size())) {
      best.route = &route;
      best.args = std::move(args);
    }
  }
  return best;
}

// A filter that is spelt wrongly must not answer with everything.
std::optional<HttpResponse> unknown_parameter(const AdminApi::Route& route, std::string_view query) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::string_view name = pair.substr(0, pair.find('='));
    if (pair.empty() || std::find(route.query.begin(), route.query.end(), name) != route.query.end()) continue;
    std::string known;
    for (const std::string_view each : route.query) (known += known.empty() ? "" : ", ") += each;
    return invalid("there is no parameter '" + std::string(name.substr(0, kLoggedBytes)) + "' here: this path takes " +
                   (known.empty() ? "none" : known));
  }
  return std::nullopt;
}

std::optional<HttpResponse> AdminApi::refusal_for(const Match& match, std::string_view query,
                                                  const Caller* caller) const {
  if (match.route != nullptr && match.route->role == Role::Anyone) return unknown_parameter(*match.route, query);
  // Strangers learn nothing, not even which paths there are: that is in the description, the same for everybody.
  if (caller == nullptr) {
    return problem(401, "unauthorized",
                   "show a token: Authorization: Bearer TOKEN (made with `sallyport token create` on the server)");
  }
  if (match.route == nullptr) {
    if (match.allowed.empty()) return problem(404, "not-found", "there is nothing at this path: see /v1/openapi.json");
    return problem(405, "method", "this path takes " + match.allowed);
  }
  if (match.route->role == Role::Operator && !caller->operates) {
    return problem(403, "forbidden", "this token only reads: changes take one with the role operator");
  }
  return unknown_parameter(*match.route, query);
}

AdminApi::Entry AdminApi::entry_of(const HttpRequest& head) const {
  if (head.peer.local || !head.authorization.empty()) return {parts_.access.caller(head), std::nullopt};
  ConsoleSessions::Entry entry = parts_.signed_in.enter(head);
  if (!entry.session) return {std::nullopt, std::move(entry.refused)};
  return {Caller{{entry.session->name, head.peer.from}, entry.session->operates, false}, std::move(entry.refused)};
}

HttpPlan AdminApi::plan(const HttpRequest& head) {
  HttpPlan plan;
  if (head.peer.local && head.path.substr(0, 4) != "/v1/") return plan;
  Entry entry = entry_of(head);
  const auto& caller = entry.caller;
  const Match found = match(head.method, head.path);
  plan.refused = entry.refused ? std::move(entry.refused) : refusal_for(found, head.query, caller ? &*caller : nullptr);
  if (plan.refused) {
    if (!caller) parts_.outcomes.auth_failed();
    const std::lock_guard lock(log_mutex_);
    log_.warn("admin-refused", {{"method", head.method.substr(0, kLoggedBytes)},
                                {"path", head.path.substr(0, kLoggedBytes)},
                                {"status", plan.refused->status},
                                {"who", caller ? caller->actor.who : "-"},
                                {"from", head.peer.from}});
    return plan;
  }
  plan.body_bytes = found.route->body_bytes;
  if (found.route->path != kImportPath) return plan;
  if (imports_.running >= Importer::kMostAtOnce) {
    plan.refused = problem(409, "conflict", "two imports are running already: wait until one has finished");
    return plan;
  }
  plan.sink = std::make_unique<Importer>(parts_.registrar, parts_.gate, imports_, caller->actor,
                                         std::thread::hardware_concurrency());
  return plan;
}

HttpResponse AdminApi::handle(const HttpRequest& request) {
  if (request.peer.local && request.path.substr(0, 4) != "/v1/") return parts_.probes.handle(request);
  // Again: a token may have been revoked while the body came.
  Entry entry = entry_of(request);
  if (entry.refused) return std::move(*entry.refused);
  const auto& caller = entry.caller;
  Match found = match(request.method, request.path);
  if (auto refusal = refusal_for(found, request.query, caller ? &*caller : nullptr)) return std::move(*refusal);
  static const Caller kNobody{};
  const Call call{request, caller ? *caller : kNobody, std::move(found.args)};
  HttpResponse response = (this->*found.route->handler)(call);
  if (request.method != "GET") {
    const std::lock_guard lock(log_mutex_);
    log_.info("admin", {{"method", request.method},
                        {"path", shortened(request.path)},
                        {"status", response.status},
                        {"who", caller->actor.who},
                        {"from", caller->actor.from}});
  }
  return response;
}

std::string_view AdminApi::name_of(Role role) {
  switch (role) {
    case Role::Anyone: return "anyone";
    case Role::Viewer: return "viewer";
    case Role::Operator: return "operator";
  }
  return "";
}

// Made once: it is asked for by strangers, too.
HttpResponse AdminApi::describe(const Call&) {
  static const HttpResponse described = ok(openapi());
  return described;
}

}  // namespace sallyport
