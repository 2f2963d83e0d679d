// Upstreams: how their servers are, and which of them an operator takes out.
#include "admin/api/admin_api.h"

namespace sallyport {

HttpResponse AdminApi::list_upstreams(const Call& call) {
  Json items = Json::array();
  for (const UpstreamInfo& upstream : parts_.plane.upstreams()) items.push_back(to_json(upstream));
  return page_of(std::move(items), "name", call.request);
}

HttpResponse AdminApi::show_upstream(const Call& call) {
  for (const UpstreamInfo& upstream : parts_.plane.upstreams()) {
    if (upstream.name == call.args[0]) return ok(to_json(upstream));
  }
  return problem(404, "not-found", "there is no upstream '" + call.args[0] + "'");
}

HttpResponse AdminApi::drain_server(const Call& call) {
  return set_drained(call, true);
}

HttpResponse AdminApi::undrain_server(const Call& call) {
  return set_drained(call, false);
}

HttpResponse AdminApi::set_drained(const Call& call, bool drained) {
  const std::string& name = call.args[0];
  const std::string& server = call.args[1];
  if (const auto done = parts_.plane.drain_server(name, server, drained); !done) return refused(done.error());
  const auto noted = parts_.registrar.record(call.caller.actor, drained ? "upstream.drain" : "upstream.undrain",
                                             name + " " + server, drained ? "drained" : "in use");
  if (!noted) return refused(noted.error());
  return show_upstream(call);
}

}  // namespace sallyport
