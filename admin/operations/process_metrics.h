// The rows of the table of metrics (metric_table.h) that are about the process and what it stands on: the machine's
// limits, the disk, the configuration, backups, certificates that end.
#pragma once

#include <span>

#include "admin/operations/metric_table.h"

namespace sallyport {

std::span<const MetricRow> process_metric_rows();

}  // namespace sallyport
