#include "admin/operations/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>

#include "admin/operations/objects.h"

namespace sallyport {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// One family under construction. HELP texts hold no backslash and no line end: the serializer writes them
// as they are.
class Family {
 public:
  Family(std::vector<MetricFamily>& all, const char* name, MetricType type, const char* help) : all_(all) {
    family_.name = std::string("sallyport_") + name;
    family_.help = help;
    family_.type = type;
  }
  ~Family() { all_.push_back(std::move(family_)); }
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  void add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family_.metric.push_back(std::move(metric));
  }
  void add(Labels labels, std::uint64_t value) { add(std::move(labels), static_cast<double>(value)); }

  // `counts` per bucket, not cumulative; one more than `bounds`.
  template <class Bounds>
  void add_histogram(Labels labels, const Bounds& bounds, const std::vector<std::uint64_t>& counts, double scale,
                     double sum) {
    ClientMetric metric;
    metric.label = std::move(labels);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      below += counts[i];
      const double bound =
          i < std::size(bounds) ? static_cast<double>(bounds[i]) * scale : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({below, bound});
    }
    metric.histogram.sample_count = below;
    metric.histogram.sample_sum = sum;
    family_.metric.push_back(std::move(metric));
  }

 private:
  std::vector<MetricFamily>& all_;
  MetricFamily family_;
};

using Shards = std::vector<const ShardCounters*>;

template <class Pick>
std::uint64_t sum(const Shards& shards, Pick pick) {
  std::uint64_t total = 0;
  for (const ShardCounters* shard : shards) total += pick(*shard).get();
  return total;
}

template <class Pick>
void add_latency(Family& family, Labels labels, const Shards& shards, Pick pick) {
  std::vector<std::uint64_t> counts(kLatencyBoundsUs.size() + 1);
  double total = 0;
  for (const ShardCounters* shard : shards) {
    const Latency& latency = pick(*shard);
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += latency.buckets[i].get();
    total += static_cast<double>(latency.sum_us.get()) * 1e-6;
  }
  family.add_histogram(std::move(labels), kLatencyBoundsUs, counts, 1e-6, total);
}

void collect_listener_ends(std::vector<MetricFamily>& all, const Config& config, const Shards& shards) {
  Family ended(all, "sessions_ended_total", MetricType::Counter, "Sessions that had reached the broker and ended.");
  for (std::size_t l = 0; l < config.listeners.size(); ++l) {
    for (std::size_t origin = 0; origin < 3; ++origin) {
      for (std::size_t cause = 0; cause < kCauseCount; ++cause) {
        ended.add(
            {{"listener", config.listeners[l].name},
             {"origin", std::string(to_string(static_cast<Origin>(origin)))},
             {"cause", std::string(kCauseNames[cause])}},
            sum(shards, [&](const ShardCounters& s) -> const Cell& { return s.listeners[l].ended[origin][cause]; }));
      }
    }
  }
}

void collect_handshakes(std::vector<MetricFamily>& all, const Config& config, const Shards& shards) {
  {
    Family handshakes(all, "handshakes_total", MetricType::Counter, "TLS handshakes that finished.");
    for (std::size_t l = 0; l < config.listeners.size(); ++l) {
      for (std::size_t version = 0; version < 2; ++version) {
        for (std::size_t kind = 0; kind < 3; ++kind) {
          handshakes.add({{"listener", config.listeners[l].name},
                          {"version", std::string(kTlsVersionNames[version])},
                          {"kind", std::string(kHandshakeKindNames[kind])}},
                         sum(shards, [&](const ShardCounters& s) -> const Cell& {
                           return s.listeners[l].handshakes[version][kind];
                         }));
        }
      }
    }
  }
  Family seconds(all, "handshake_seconds", MetricType::Histogram, "From accept to the end of the handshake.");
  for (std::size_t l = 0; l < config.listeners.size(); ++l) {
    add_latency(seconds, {{"listener", config.listeners[l].name}}, shards,
                [&](const ShardCounters& s) -> const Latency& { return s.listeners[l].handshake; });
  }
}

void collect_listeners(std::vector<MetricFamily>& all, const Config& config, const Shards& shards) {
  const auto name = [&](std::size_t l) { return config.listeners[l].name; };
  {
    Family accepted(all, "connections_accepted_total", MetricType::Counter, "TCP connections accepted.");
    Family open(all, "sessions_open", MetricType::Gauge, "Connections open now, in whatever state.");
    for (std::size_t l = 0; l < config.listeners.size(); ++l) {
      accepted.add({{"listener", name(l)}},
                   sum(shards, [&](const ShardCounters& s) -> const Cell& { return s.listeners[l].accepted; }));
      open.add({{"listener", name(l)}},
               sum(shards, [&](const ShardCounters& s) -> const Cell& { return s.listeners[l].sessions_open; }));
    }
  }
  {
    Family rejections(all, "rejections_total", MetricType::Counter, "Connections refused, by reason.");
    for (std::size_t l = 0; l < config.listeners.size(); ++l) {
      for (std::size_t reason = 1; reason < kReasonCount; ++reason) {
        rejections.add(
            {{"listener", name(l)}, {"reason", std::string(kReasons[reason].name)}},
            sum(shards, [&](const ShardCounters& s) -> const Cell& { return s.listeners[l].rejections[reason]; }));
      }
    }
  }
  {
    Family connects(all, "mqtt_connects_total", MetricType::Counter, "Well-formed CONNECT packets, by MQTT version.");
    for (std::size_t version = 0; version < kMqttVersionNames.size(); ++version) {
      std::uint64_t total = 0;
      for (std::size_t l = 0; l < config.listeners.size(); ++l) {
        total +=
            sum(shards, [&](const ShardCounters& s) -> const Cell& { return s.listeners[l].mqtt_connects[version]; });
      }
      connects.add({{"version", std::string(kMqttVersionNames[version])}}, total);
    }
  }
  collect_handshakes(all, config, shards);
  collect_listener_ends(all, config, shards);
}

void collect_upstreams(std::vector<MetricFamily>& all, const Config& config, const Shards& shards) {
  Family up(all, "upstream_up", MetricType::Gauge, "1 where at least one shard reaches the server.");
  Family seconds(all, "upstream_connect_seconds", MetricType::Histogram, "Time to connect to a broker.");
  for (std::size_t u = 0; u < config.upstreams.size(); ++u) {
    for (std::size_t server = 0; server < config.upstreams[u].servers.size(); ++server) {
      const Labels labels = {{"upstream", config.upstreams[u].name},
                             {"server", config.upstreams[u].servers[server].text()}};
      const auto reached =
          sum(shards, [&](const ShardCounters& s) -> const Cell& { return s.upstreams[u][server].up; });
      up.add(labels, reached > 0 ? 1.0 : 0.0);
      add_latency(seconds, labels, shards,
                  [&](const ShardCounters& s) -> const Latency& { return s.upstreams[u][server].connect; });
    }
  }
}

void collect_registry(std::vector<MetricFamily>& all, const Registrar& registrar) {
  const RegistrarStats stats = registrar.stats();
  {
    Family devices(all, "devices", MetricType::Gauge, "Registered devices, by their own status.");
    devices.add({{"status", "active"}}, stats.devices.active);
    devices.add({{"status", "inactive"}}, stats.devices.inactive);
    devices.add({{"status", "pending"}}, stats.devices.pending);
    devices.add({{"status", "revoked"}}, stats.devices.revoked);
  }
  {
    Family cas(all, "cas", MetricType::Gauge, "Registered CAs, by status.");
    cas.add({{"status", "active"}}, stats.cas_active);
    cas.add({{"status", "inactive"}}, stats.cas_inactive);
  }
  {
    Family expiry(all, "ca_not_after_seconds", MetricType::Gauge, "When the CA ends, in Unix seconds.");
    for (const CaRecord& ca : registrar.cas()) {
      expiry.add({{"ca", to_hex(ca.id)}}, static_cast<double>(ca.certificate.not_after()));
    }
  }
  {
    Family registrations(all, "registrations_total", MetricType::Counter,
                         "Devices written to the registry since the start.");
    for (const CaRecord& ca : registrar.cas()) registrations.add({{"ca", to_hex(ca.id)}}, ca.registered_since_start);
  }
  {
    Family refused(all, "registrations_refused_total", MetricType::Counter,
                   "Registrations refused when they were to be written: losers of a race.");
    refused.add({}, stats.refused);
  }
  {
    Family errors(all, "registry_store_errors_total", MetricType::Counter, "Commits the disk refused.");
    errors.add({}, stats.store_errors);
  }
  {
    Family depth(all, "registration_queue_depth", MetricType::Gauge, "Devices waiting to be written.");
    depth.add({}, stats.queued);
  }
  {
    Family commit(all, "registration_commit_seconds", MetricType::Histogram, "One synced batch of the registrar.");
    commit.add_histogram({}, kCommitBuckets, stats.commit_seconds_buckets, 1.0, stats.commit_seconds_sum);
  }
  Family warmup(all, "warmup_seconds", MetricType::Gauge, "How long the cache took to warm at the start.");
  warmup.add({}, stats.warmup_seconds);
}

void collect_traffic(std::vector<MetricFamily>& all, const Shards& shards, const DataPlane& plane) {
  {
    Family bytes(all, "bytes_total", MetricType::Counter, "Plaintext forwarded.");
    bytes.add({{"direction", "to_broker"}},
              sum(shards, [](const ShardCounters& s) -> const Cell& { return s.bytes_to_broker; }));
    bytes.add({{"direction", "to_client"}},
              sum(shards, [](const ShardCounters& s) -> const Cell& { return s.bytes_to_client; }));
  }
  {
    Family deferred(all, "registrations_deferred_total", MetricType::Counter,
                    "First connections served while the registration queue was full.");
    deferred.add({}, sum(shards, [](const ShardCounters& s) -> const Cell& { return s.registrations_deferred; }));
  }
  Family busy(all, "shard_busy_ratio", MetricType::Gauge, "Share of time a shard was not waiting for the kernel.");
  const auto info = plane.shard_info();
  for (std::size_t i = 0; i < info.size(); ++i) busy.add({{"shard", std::to_string(i)}}, info[i].busy_ratio);
}

}  // namespace

std::vector<MetricFamily> Metrics::Collect() const {
  std::vector<MetricFamily> all;
  {
    Family cuts(all, "status_in_force_seconds", MetricType::Histogram,
                "From a durable change of standing until no byte of the sessions it cut passes.");
    std::vector<std::uint64_t> counts;
    for (const Cell& bucket : plane_.cut_latency().buckets) counts.push_back(bucket.get());
    cuts.add_histogram({}, kLatencyBoundsUs, counts, 1e-6,
                       static_cast<double>(plane_.cut_latency().sum_us.get()) * 1e-6);
  }
  {
    Family expiry(all, "server_certificate_not_after_seconds", MetricType::Gauge,
                  "When a server certificate ends, in Unix seconds.");
    for (const ListenerInfo& listener : plane_.listeners()) {
      for (std::size_t i = 0; i < listener.certificates.size(); ++i) {
        expiry.add({{"listener", listener.name}, {"id", to_hex(listener.certificates[i])}},
                   static_cast<double>(listener.not_after[i]));
      }
    }
  }
  const Shards shards = plane_.counters();
  {
    Family closed(all, "status_cut_seconds", MetricType::Histogram,
                  "From a durable change of standing to the last session it cut being closed, by shard.");
    add_latency(closed, {}, shards, [](const ShardCounters& s) -> const Latency& { return s.cut; });
  }
  collect_listeners(all, config_, shards);
  collect_upstreams(all, config_, shards);
  collect_traffic(all, shards, plane_);
  collect_registry(all, registrar_);
  {
    Family dropped(all, "log_lines_dropped_total", MetricType::Counter, "Log lines lost because the output stalled.");
    dropped.add({}, log_.dropped());
  }
  Family build(all, "build_info", MetricType::Gauge, "Which build this is.");
  build.add({{"version", SALLYPORT_VERSION}}, 1.0);
  return all;
}

HttpResponse Probes::handle(const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return problem(405, "method", "this path takes GET");
  if (request.path == "/livez") return {200, "text/plain", "ok\n"};
  if (request.path == "/readyz") {
    switch (phase_.load()) {
      case Phase::Starting: return {503, "text/plain", "warming: the registry is being read\n"};
      case Phase::Ready: return {200, "text/plain", "ok\n"};
      case Phase::Draining: return {503, "text/plain", "draining\n"};
    }
  }
  if (request.path == "/metrics") {
    if (phase_.load() == Phase::Starting) return {503, "text/plain", "warming: the registry is being read\n"};
    return {200, "text/plain; version=0.0.4", prometheus::TextSerializer().Serialize(metrics_.Collect())};
  }
  return problem(404, "not-found", "here are /metrics, /livez and /readyz");
}

}  // namespace sallyport
