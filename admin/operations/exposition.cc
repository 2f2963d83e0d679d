#include "admin/operations/exposition.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace sallyport {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// `whole_too`: OpenMetrics writes a bound of 1 as 1.0 ("Canonical Numbers").
void append_number(std::string& out, double value, bool whole_too = false) {
  if (std::isnan(value)) return void(out += "NaN");
  if (std::isinf(value)) return void(out += value > 0 ? "+Inf" : "-Inf");
  std::array<char, 32> text{};
  // A count is written in full, however large.
  const bool whole = value == std::floor(value) && std::fabs(value) < 1e15;
  const auto end = whole ? std::to_chars(text.data(), text.data() + text.size(), static_cast<std::int64_t>(value)).ptr
                         : std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
  if (whole && whole_too) out += ".0";
}

void append_escaped_text(std::string& out, std::string_view text, bool quotes_too) {
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes_too)
      out += "\\\"";
    else
      out += c;
  }
}

class Writer {
 public:
  explicit Writer(Exposition format) : open_(format == Exposition::OpenMetrics) {}

  void write(const MetricFamily& family) {
    if (family.metric.empty()) return;
    // The family of a counter is named without its suffix there.
    std::string_view name = family.name;
    if (open_ && family.type == MetricType::Counter && name.ends_with("_total")) name.remove_suffix(6);
    out_.append("# HELP ").append(name) += ' ';
    append_escaped_text(out_, family.help, open_);
    out_.append("\n# TYPE ").append(name) += ' ';
    out_ += type_of(family.type);
    out_ += '\n';
    for (const ClientMetric& metric : family.metric) write(family, metric);
  }
  std::string done() {
    if (open_) out_ += "# EOF\n";
    return std::move(out_);
  }

 private:
  static std::string_view type_of(MetricType type) {
    switch (type) {
      case MetricType::Counter: return "counter";
      case MetricType::Gauge: return "gauge";
      case MetricType::Histogram: return "histogram";
      default: return "untyped";
    }
  }

  void write(const MetricFamily& family, const ClientMetric& metric) {
    switch (family.type) {
      case MetricType::Counter: return sample(family.name, "", metric, metric.counter.value);
      case MetricType::Histogram: return histogram(family.name, metric);
      default: return sample(family.name, "", metric, metric.gauge.value);
    }
  }
  void histogram(std::string_view name, const ClientMetric& metric) {
    for (const ClientMetric::Bucket& bucket : metric.histogram.bucket) {
      std::string bound;
      append_number(bound, bucket.upper_bound, open_);
      sample(name, "_bucket", metric, static_cast<double>(bucket.cumulative_count), bound);
    }
    sample(name, "_sum", metric, metric.histogram.sample_sum);
    sample(name, "_count", metric, static_cast<double>(metric.histogram.sample_count));
  }
  void sample(std::string_view name, std::string_view suffix, const ClientMetric& metric, double value,
              std::string_view bound = {}) {
    out_.append(name).append(suffix);
    char separator = '{';
    for (const ClientMetric::Label& label : metric.label) {
      out_ += std::exchange(separator, ',');
      out_.append(label.name).append("=\"");
      append_escaped_text(out_, label.value, true);
      out_ += '"';
    }
    if (!bound.empty()) {
      out_ += std::exchange(separator, ',');
      out_.append("le=\"").append(bound) += '"';
    }
    if (separator == ',') out_ += '}';
    out_ += ' ';
    append_number(out_, value);
    out_ += '\n';
  }

  const bool open_;
  std::string out_;
};

}  // namespace

Exposition exposition_for(std::string_view accept) {
  constexpr std::string_view kName = "application/openmetrics-text";
  while (!accept.empty()) {
    const std::size_t end = accept.find(',');
    std::string_view range = accept.substr(0, end);
    accept = end == std::string_view::npos ? std::string_view() : accept.substr(end + 1);
    while (!range.empty() && range.front() == ' ') range.remove_prefix(1);
    if (!range.starts_with(kName)) continue;
    range.remove_prefix(kName.size());
    if (!range.empty() && range.front() != ';' && range.front() != ' ') continue;
    const std::size_t at = range.find("q=");
    std::string_view q = at == std::string_view::npos ? "1" : range.substr(at + 2);
    q = q.substr(0, q.find(';'));
    const bool refused = q.starts_with('0') && q.find_first_of("123456789") == std::string_view::npos;
    if (!refused) return Exposition::OpenMetrics;
  }
  return Exposition::Text;
}

std::string_view content_type_of(Exposition format) {
  return format == Exposition::OpenMetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                           : "text/plain; version=0.0.4; charset=utf-8";
}

std::string written_as(Exposition format, const std::vector<MetricFamily>& families) {
  Writer writer(format);
  for (const MetricFamily& family : families) writer.write(family);
  return writer.done();
}

}  // namespace sallyport
