#include "admin/operations/metrics.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "admin/operations/exposition.h"
#include "admin/operations/metric_table.h"
#include "admin/operations/objects.h"
#include "cache/base/check.h"

namespace sallyport {

std::vector<prometheus::MetricFamily> Metrics::Collect() const {
  const MetricSources sources{config_,
                              plane_,
                              log_,
                              outcomes_,
                              registrar_,
                              registrar_.stats(),
                              registrar_.cas(),
                              registrar_.crls(),
                              plane_.counters(),
                              warnings_.all(),
                              plane_.upstreams(),
                              registrar_.shared_state()};
  std::vector<prometheus::MetricFamily> all;
  for (const MetricRow& row : metric_rows()) {
    MetricValues values(row);
    row.collect(values, sources);
    all.push_back(values.take());
  }
  return all;
}

std::string Metrics::upstreams_missing(ReadyWhen policy) const {
  if (policy == ReadyWhen::Always) return "";
  std::size_t up = 0;
  std::string missing;
  const std::vector<UpstreamInfo> upstreams = plane_.upstreams();
  for (const UpstreamInfo& upstream : upstreams) {
    const bool any = upstream.any_there();
    up += any ? 1U : 0U;
    if (!any) missing += (missing.empty() ? "" : ", ") + upstream.name;
  }
  const bool ready = policy == ReadyWhen::AnyUpstream ? up > 0 || upstreams.empty() : missing.empty();
  return ready ? "" : "no server is up of upstream " + missing;
}

Probes::Probes(const Metrics& metrics, const Endpoint& address)
    : metrics_(metrics),
      loopback_(address.host == "localhost" || address.host == "::1" || address.host.starts_with("127.")),
      drain_asked_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(drain_asked_ >= 0);
}

Probes::~Probes() {
  ::close(drain_asked_);
}

void Probes::ask_to_drain() {
  ::eventfd_write(drain_asked_, 1);
}

std::string_view Probes::name_of(Phase phase) {
  switch (phase) {
    case Phase::Starting: return "starting";
    case Phase::Ready: return "ready";
    case Phase::NoListener: return "no-listener";
    case Phase::Draining: return "draining";
  }
  return "";
}

std::string Probes::why_not_ready() const {
  switch (phase_.load()) {
    case Phase::Starting: return "warming: the registry is being read";
    case Phase::Ready: break;
    case Phase::NoListener: return "there is no [[listener]]: devices cannot connect";
    case Phase::Draining: return "draining";
  }
  if (metrics_.store_stalled()) return "the store is stalled: the disk does not answer, new devices are not registered";
  if (metrics_.refuses_all()) {
    return "stale: this node has not had all of the shared registry for registry.stale_after, and refuses every device";
  }
  return metrics_.upstreams_missing(ready_when_);
}

HttpResponse Probes::handle(const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return problem(405, "method", "this path takes GET");
  if (request.path == "/livez") return {200, "text/plain", "ok\n"};
  if (request.path == "/readyz") {
    const std::string why = why_not_ready();
    return why.empty() ? HttpResponse{200, "text/plain", "ok\n"} : HttpResponse{503, "text/plain", why + "\n"};
  }
  if (request.path == "/metrics") {
    if (phase_.load() == Phase::Starting) return {503, "text/plain", "warming: the registry is being read\n"};
    // What only this machine may read, no browser on it reads for somebody else.
    if (loopback_ && !request.peer.local && is_foreign_host(request.host)) {
      return problem(421, "foreign-host", "here are the metrics of 127.0.0.1 and localhost, by no other name");
    }
    const Exposition format = exposition_for(request.accept);
    return {200, std::string(content_type_of(format)), written_as(format, metrics_.Collect())};
  }
  return problem(404, "not-found", "here are /metrics, /livez and /readyz");
}

}  // namespace sallyport
