// The API (admin/docs/api.md): one table of routes, each with its role, its parameters and its handler;
// the OpenAPI description is made from the same table. Stateless between requests; called by the HTTP server's
// workers, several at once. Every change answers after it is durable and in force, for the registrar says so.
// admin_api.cc has the table and the way in; api_*.cc the handlers.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "admin/api/answers.h"
#include "admin/http/http_server.h"
#include "admin/operations/access.h"
#include "admin/operations/console_sessions.h"
#include "admin/operations/import.h"
#include "admin/operations/kept_rejections.h"
#include "admin/operations/listener_control.h"
#include "admin/operations/outcomes.h"
#include "admin/operations/reload_desk.h"
#include "admin/operations/running_config.h"
#include "admin/operations/samples.h"
#include "admin/operations/warnings.h"
#include "cache/base/feed.h"
#include "cache/registry/registrar.h"
#include "cache/standing/device_gate.h"
#include "proxy/data_plane.h"

namespace sallyport {

class RegistryStore;

// What the API speaks to; all outlive it.
struct ApiParts {
  Registrar& registrar;
  const RegistryStore& store;
  const DeviceGate& gate;  // asked by others than shards
  DataPlane& plane;
  ListenerControl& listeners;
  Access& access;
  ConsoleSessions& signed_in;
  HttpHandler& probes;  // /livez, /readyz and /metrics, which the admin socket has too
  const Warnings& warnings;
  Outcomes& outcomes;
  ReloadDesk& desk;
  Log& log;
  const Config& config;
  const RunningConfig& running;
  const Samples& samples;
  const KeptRejections& rejections;
  Feed& feed;
  std::function<std::string_view()> state;      // Probes::name_of() the phase it is in
  std::string node = {};                        // of this machine, for a shared registry; there it may have another
  std::function<void()> drain = {};             // asks the main thread for it; as often as anybody likes
  std::function<std::string()> not_ready = {};  // Probes::why_not_ready()
  // Why this node does not share its ticket keys with the others; empty: it does.
  std::function<std::string()> ticket_keys_trouble = {};
};

// A request that was matched and let in.
struct Call {
  const HttpRequest& request;
  const Caller& caller;
  std::vector<std::string> args;  // what stands for {…} in the path, decoded
};

class AdminApi final : public HttpHandler {
 public:
  AdminApi(const ApiParts& parts, Logger& log) : parts_(parts), log_(log) {}

  HttpPlan plan(const HttpRequest& head) override;
  HttpResponse handle(const HttpRequest& request) override;
  // What another node asks for one of its operators.
  std::string answer_other(const std::string& request);

  enum class Role : std::uint8_t { Anyone, Viewer, Operator };
  static std::string_view name_of(Role role);  // "anyone" | "viewer" | "operator"
  struct Route {
    std::string_view method, path;
    Role role;
    HttpResponse (AdminApi::*handler)(const Call&);
    std::string_view summary;
    std::vector<std::string_view> query;  // parameters
    std::string_view body;                // schema of the request's JSON, or a media type; empty: none
    std::string_view answer;              // schema of the answer's JSON, or a media type
    unsigned status = 200;
    std::size_t body_bytes = 0;  // 0: the server's limit
    unsigned also = 0;           // another status that says it is done: there was nothing to do
  };
  static const std::vector<Route>& routes();
  static Json openapi();

 private:
  struct Match {
    const Route* route = nullptr;  // null with `allowed` empty: no such path
    std::vector<std::string> args;
    std::string allowed;  // methods this path takes
  };
  static Match match(std::string_view method, std::string_view path);
  // By its token, by the admin socket, or by the cookie of a sign-in, which may be refused for how it is shown.
  struct Entry {
    std::optional<Caller> caller;
    std::optional<HttpResponse> refused;
  };
  Entry entry_of(const HttpRequest& head) const;
  // kRefusedLines of them a second at most; the next line counts what was left out.
  void log_refused(const HttpRequest& head, unsigned status, const std::string& who);
  // Null: go on.
  std::optional<HttpResponse> refusal_for(const Match& match, std::string_view query, const Caller* caller,
                                          bool showed_token) const;
  // Whether the token or the sign-in of this request is still valid: asked again and again by what goes on for long,
  // since either may be revoked, or end. Any thread.
  std::function<bool()> still(const HttpRequest& head) const;

  HttpResponse describe(const Call& call);
  // api_cas.cc
  HttpResponse issue_code(const Call& call);
  HttpResponse list_cas(const Call& call);
  HttpResponse register_ca(const Call& call);
  HttpResponse show_ca(const Call& call);
  HttpResponse ca_certificate(const Call& call);
  HttpResponse change_ca(const Call& call);
  HttpResponse activate_ca(const Call& call);
  HttpResponse deactivate_ca(const Call& call);
  HttpResponse delete_ca(const Call& call);
  HttpResponse list_crls(const Call& call);
  HttpResponse import_crl(const Call& call);
  HttpResponse ca_answer(const Answer<CaRecord>& answer, unsigned status = 200);
  // api_devices.cc
  HttpResponse list_devices(const Call& call);
  HttpResponse register_device(const Call& call);
  HttpResponse import_devices(const Call& call);
  HttpResponse show_device(const Call& call);
  HttpResponse device_certificate(const Call& call);
  HttpResponse activate_device(const Call& call);
  HttpResponse deactivate_device(const Call& call);
  HttpResponse revoke_device(const Call& call);
  HttpResponse delete_device(const Call& call);
  Answer<DeviceQuery> device_query(const std::function<std::string(const char*)>& value) const;
  // api_bulk.cc
  HttpResponse change_devices(const Call& call);
  HttpResponse cut_sessions(const Call& call);
  // api_refusals.cc
  HttpResponse list_rejections(const Call& call);
  HttpResponse group_rejections(const Call& call);
  HttpResponse explain(const Call& call);
  HttpResponse explain_kept(const Rejection& refusal);
  Answer<Rejection> kept_refusal(const std::string& id) const;
  // api_overview.cc
  HttpResponse list_attention(const Call& call);
  Json device_json(const DeviceRecord& device, std::uint64_t sessions) const;
  HttpResponse device_answer(const Answer<DeviceRecord>& answer, unsigned status = 200);
  HttpResponse set_device(const Call& call, DeviceStatus status);
  HttpResponse set_ca(const Call& call, CaStatus status);
  // api_nodes.cc
  struct HowToChange {
    bool local = false;                 // on this node alone, where the shared registry is out of reach
    std::chrono::milliseconds wait{0};  // until it is in force on every node
  };
  static Answer<HowToChange> how_to_change(const Call& call);
  HttpResponse with_nodes(HttpResponse response, const HowToChange& how);
  HttpResponse list_nodes(const Call& call);
  HttpResponse forget_node(const Call& call);
  Json registry_status() const;
  std::string this_node() const;  // as the shared registry lists it
  // api_elsewhere.cc
  std::optional<HttpResponse> elsewhere(const Call& call, const Route& route);
  HttpResponse ask_node(const Call& call, const std::string& node, const std::string& query);
  HttpResponse ask_all(const Call& call, const Route& route);
  // api_listeners.cc
  HttpResponse list_server_certificates(const Call& call);
  HttpResponse add_server_certificate(const Call& call);
  HttpResponse show_server_certificate(const Call& call);
  HttpResponse delete_server_certificate(const Call& call);
  HttpResponse list_listeners(const Call& call);
  HttpResponse use_certificate(const Call& call);
  HttpResponse set_auth(const Call& call);
  HttpResponse reset_listener(const Call& call);
  HttpResponse list_sessions(const Call& call);
  HttpResponse cut_session(const Call& call);
  // What a list of sessions, or a cut of many, asks for; empty: any.
  struct SessionFilter {
    std::optional<Digest> device, ca;
    bool clones = false;
    std::string listener, peer, client_id_part, cn_part;
    // What the shards do not look at.
    bool looks() const { return !listener.empty() || !peer.empty() || !client_id_part.empty() || !cn_part.empty(); }
    bool fits(const SessionInfo& session, const std::vector<ListenerInfo>& listeners) const;
  };
  Answer<SessionFilter> session_filter(const std::function<std::string(const char*)>& value) const;
  Answer<SessionPage> sessions_that_fit(const SessionFilter& filter, std::size_t limit, std::string token) const;
  HttpResponse listener_answer(const std::string& name, const Answer<void>& done);
  // api_upstreams.cc
  HttpResponse list_upstreams(const Call& call);
  HttpResponse show_upstream(const Call& call);
  HttpResponse drain_server(const Call& call);
  HttpResponse undrain_server(const Call& call);
  HttpResponse set_drained(const Call& call, bool drained);
  // api_events.cc
  HttpResponse show_config(const Call& call);
  HttpResponse list_samples(const Call& call);
  HttpResponse stream_events(const Call& call);
  // api_server.cc
  HttpResponse list_audit(const Call& call);
  HttpResponse status(const Call& call);
  HttpResponse list_tokens(const Call& call);
  HttpResponse create_token(const Call& call);
  HttpResponse revoke_token(const Call& call);
  HttpResponse backup(const Call& call);
  HttpResponse drain(const Call& call);
  HttpResponse rotate_ticket_keys(const Call& call);
  HttpResponse reload(const Call& call);
  HttpResponse set_log_level(const Call& call);

  const ApiParts parts_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  ImportProgress imports_;
  std::mutex backup_mutex_;
  Logger& log_;  // guarded by log_mutex_: several workers, one producer
  std::mutex log_mutex_;
  // Of requests that were refused: a stranger must not fill the disk. Guarded by log_mutex_.
  std::int64_t refused_second_ = 0;
  std::uint64_t refused_told_ = 0, refused_left_out_ = 0;
};

}  // namespace sallyport
