// What most metrics have in common: cells of every shard added up, for each listener or over all of them. Included by
// metric_table.cc alone; an admin thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "admin/operations/metric_table.h"

namespace sallyport {

template <class Pick>
std::uint64_t sum(const MetricSources& from, Pick pick) {
  std::uint64_t total = 0;
  for (const ShardCounters* shard : from.shards) total += pick(*shard).get();
  return total;
}

// A value of each listener.
template <class Pick>
void add_listeners(MetricValues& values, const MetricSources& from, Pick pick) {
  for (std::size_t l = 0; l < from.config.listeners.size(); ++l) {
    values.add({from.config.listeners[l].name},
               sum(from, [&](const ShardCounters& s) -> const Cell& { return pick(s.listeners[l]); }));
  }
}

// A value of each listener and reason.
template <class Pick>
void add_reasons(MetricValues& values, const MetricSources& from, Pick pick) {
  for (std::size_t l = 0; l < from.config.listeners.size(); ++l) {
    for (std::size_t reason = 1; reason < kReasonCount; ++reason) {
      values.add({from.config.listeners[l].name, std::string(kReasons[reason].name)},
                 sum(from, [&](const ShardCounters& s) -> const Cell& { return pick(s.listeners[l])[reason]; }));
    }
  }
}

// A value of each name, over all listeners.
template <class Names, class Pick>
void add_totals(MetricValues& values, const MetricSources& from, const Names& names, Pick pick) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::uint64_t total = 0;
    for (std::size_t l = 0; l < from.config.listeners.size(); ++l) {
      total += sum(from, [&](const ShardCounters& s) -> const Cell& { return pick(s.listeners[l])[i]; });
    }
    values.add({std::string(names[i])}, total);
  }
}

}  // namespace sallyport
