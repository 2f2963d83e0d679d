#include "admin/operations/metric_table.h"
#include "cache/base/check.h"

namespace sallyport {

using prometheus::MetricType;

std::string full_name(const MetricRow& row) {
  return (row.name.starts_with("process_") ? "" : "sallyport_") + std::string(row.name);
}

MetricValues::MetricValues(const MetricRow& row) : row_(row) {
  family_.name = full_name(row);
  family_.help = row.help;
  family_.type = row.type;
}

prometheus::ClientMetric MetricValues::labelled(const std::vector<std::string>& labels) const {
  CHECK(labels.size() == row_.labels.size());
  prometheus::ClientMetric metric;
  for (std::size_t i = 0; i < labels.size(); ++i) metric.label.push_back({std::string(row_.labels[i]), labels[i]});
  return metric;
}

void MetricValues::add(const std::vector<std::string>& labels, double value) {
  prometheus::ClientMetric metric = labelled(labels);
  if (row_.type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family_.metric.push_back(std::move(metric));
}

}  // namespace sallyport
