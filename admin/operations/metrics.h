// The metrics page (admin/docs/metrics.md): the rows of the table of metrics (metric_table.h), each asked for its
// values when scraped, as one prometheus-cpp Collectable; and /livez and /readyz beside it. Served on the metrics
// address and on the admin socket. Reads only; called by the HTTP server's workers.
#pragma once

#include <prometheus/collectable.h>

#include <atomic>
#include <vector>

#include "admin/http/http_server.h"
#include "admin/operations/outcomes.h"
#include "admin/operations/warnings.h"
#include "cache/registry/follower.h"
#include "cache/registry/registrar.h"
#include "proxy/data_plane.h"

namespace sallyport {

class Metrics final : public prometheus::Collectable {
 public:
  // All outlive it.
  Metrics(const Config& config, const DataPlane& plane, const Registrar& registrar, const Warnings& warnings,
          const Outcomes& outcomes, const Log& log)
      : config_(config), plane_(plane), registrar_(registrar), warnings_(warnings), outcomes_(outcomes), log_(log) {}

  std::vector<prometheus::MetricFamily> Collect() const override;
  bool store_stalled() const { return registrar_.stalled(); }
  bool refuses_all() const {
    const auto shared = registrar_.shared_state();
    return shared && shared->refuses_all;
  }
  // Why this policy says no; empty: it does not.
  std::string upstreams_missing(ReadyWhen policy) const;

 private:
  const Config& config_;
  const DataPlane& plane_;
  const Registrar& registrar_;
  const Warnings& warnings_;
  const Outcomes& outcomes_;
  const Log& log_;
};

// /livez: the process runs. /readyz: the cache is warm and the listeners are open, it is not draining, the disk
// answers, and the upstreams are there that proxy.ready_when asks for.
class Probes final : public HttpHandler {
 public:
  // `address`: metrics.address.
  explicit Probes(const Metrics& metrics, const Endpoint& address = {});
  ~Probes() override;
  Probes(const Probes&) = delete;
  Probes& operator=(const Probes&) = delete;
  HttpResponse handle(const HttpRequest& request) override;

  enum class Phase : std::uint8_t { Starting, Ready, NoListener, Draining };
  void set(Phase phase) { phase_ = phase; }
  Phase phase() const { return phase_; }
  std::string why_not_ready() const;             // what /readyz answers with 503; empty: it is ready
  static std::string_view name_of(Phase phase);  // "starting" | "ready" | "no-listener" | "draining"
  void set(ReadyWhen policy) { ready_when_ = policy; }
  // Asks the main thread, which polls drain_asked(), to drain, as SIGTERM does; any thread, and as often as it likes.
  void ask_to_drain();
  int drain_asked() const { return drain_asked_; }  // an eventfd(2)

 private:
  const Metrics& metrics_;
  const bool loopback_;
  std::atomic<Phase> phase_{Phase::Starting};
  std::atomic<ReadyWhen> ready_when_{ReadyWhen::Always};
  const int drain_asked_;
};

}  // namespace sallyport
