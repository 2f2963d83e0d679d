// Metrics as text, the way Prometheus reads it: its text format 0.0.4, and OpenMetrics 1.0 for who asks for that.
// Numbers are written as short as they can be read back: a bucket's bound is 0.00025, and not 0.00025000000000000001.
// Pure.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport {

enum class Exposition : std::uint8_t { Text, OpenMetrics };

// By an Accept header (RFC 9110, section 12.5.1): OpenMetrics where it is named and not refused with q=0.
Exposition exposition_for(std::string_view accept);
std::string_view content_type_of(Exposition format);
std::string written_as(Exposition format, const std::vector<prometheus::MetricFamily>& families);

}  // namespace sallyport
