// The table of metrics (admin/docs/metrics.md): one row each, with its name, type, labels, help and where its values
// come from. The metrics page and the reference page are made from it; a metric is added there and nowhere else.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admin/operations/outcomes.h"
#include "admin/operations/warnings.h"
#include "cache/registry/follower.h"
#include "cache/registry/registrar.h"
#include "proxy/data_plane.h"

namespace sallyport {

// What values are taken from, gathered once for each look at the page.
struct MetricSources {
  const Config& config;
  const DataPlane& plane;
  const Log& log;
  const Outcomes& outcomes;
  const Registrar& registrar_now;
  RegistrarStats registrar;
  std::vector<CaRecord> cas;
  std::vector<CrlRecord> crls;
  std::vector<const ShardCounters*> shards;
  std::vector<Warnings::Warning> warnings;
  std::vector<UpstreamInfo> upstreams;
  std::optional<SharedState> shared;
};

struct MetricRow;

// The values of one metric, under construction.
class MetricValues {
 public:
  explicit MetricValues(const MetricRow& row);
  // `labels`: the values of the row's labels, in their order.
  void add(const std::vector<std::string>& labels, double value);
  void add(const std::vector<std::string>& labels, std::uint64_t value) { add(labels, static_cast<double>(value)); }
  // `counts` for each bucket, not cumulative; one more than `bounds`, which are seconds after `scale`.
  template <class Bounds>
  void add_histogram(const std::vector<std::string>& labels, const Bounds& bounds,
                     const std::vector<std::uint64_t>& counts, double scale, double sum);
  prometheus::MetricFamily take() { return std::move(family_); }

 private:
  prometheus::ClientMetric labelled(const std::vector<std::string>& labels) const;

  const MetricRow& row_;
  prometheus::MetricFamily family_;
};

struct MetricRow {
  std::string_view name;  // behind sallyport_, but for process_…, which Prometheus has the same for every program
  prometheus::MetricType type;
  std::vector<std::string_view> labels;
  std::string_view help;  // no backslash and no line end: the serializer writes it as it is
  void (*collect)(MetricValues&, const MetricSources&);
};

std::span<const MetricRow> metric_rows();
std::string full_name(const MetricRow& row);

template <class Bounds>
void MetricValues::add_histogram(const std::vector<std::string>& labels, const Bounds& bounds,
                                 const std::vector<std::uint64_t>& counts, double scale, double sum) {
  prometheus::ClientMetric metric = labelled(labels);
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

}  // namespace sallyport
