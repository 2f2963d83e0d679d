#include "admin/operations/metric_table.h"

#include <algorithm>
#include <limits>
#include <map>

#include "admin/operations/handshake_labels.h"
#include "admin/operations/metric_sums.h"
#include "admin/operations/process_metrics.h"
#include "cache/base/check.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

using prometheus::MetricType;
using Values = MetricValues;
using Sources = MetricSources;

std::vector<std::uint64_t> counts_of(const Latency& latency) {
  std::vector<std::uint64_t> counts;
  for (const Cell& bucket : latency.buckets) counts.push_back(bucket.get());
  return counts;
}

void add_latency(Values& values, const std::vector<std::string>& labels, const std::vector<std::uint64_t>& counts,
                 std::uint64_t sum_us) {
  values.add_histogram(labels, kLatencyBoundsUs, counts, 1e-6, static_cast<double>(sum_us) * 1e-6);
}

// One histogram of all shards.
template <class Pick>
void add_latency_of_shards(Values& values, const std::vector<std::string>& labels, const Sources& from, Pick pick) {
  std::vector<std::uint64_t> counts(kLatencyBoundsUs.size() + 1);
  std::uint64_t sum_us = 0;
  for (const ShardCounters* shard : from.shards) {
    const Latency& latency = pick(*shard);
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += latency.buckets[i].get();
    sum_us += latency.sum_us.get();
  }
  add_latency(values, labels, counts, sum_us);
}

// Calls `visit` for each server of each upstream, with its labels.
template <class Visit>
void each_server(const Sources& from, Visit visit) {
  for (const UpstreamInfo& upstream : from.upstreams) {
    for (const ServerInfo& server : upstream.servers) visit(server, {upstream.name, server.server});
  }
}

void in_force(Values& values, const Sources& from) {
  const Latency& latency = from.plane.cut_latency();
  add_latency(values, {}, counts_of(latency), latency.sum_us.get());
}

void certificates_end(Values& values, const Sources& from) {
  for (const ListenerInfo& listener : from.plane.listeners()) {
    for (std::size_t i = 0; i < listener.certificates.size(); ++i) {
      values.add({listener.name, to_hex(listener.certificates[i])}, static_cast<double>(listener.not_after[i]));
    }
  }
}

void crls_due(Values& values, const Sources& from) {
  std::map<Digest, std::int64_t> due;
  for (const CrlRecord& crl : from.crls) {
    if (crl.next_update == 0) continue;
    const auto known = due.emplace(crl.ca, crl.next_update).first;
    known->second = std::min(known->second, crl.next_update);
  }
  for (const auto& [ca, when] : due) values.add({to_hex(ca)}, static_cast<double>(when));
}

void cut_sessions(Values& values, const Sources& from) {
  add_latency_of_shards(values, {}, from, [](const ShardCounters& s) -> const Latency& { return s.cut; });
}

void accepted(Values& values, const Sources& from) {
  add_listeners(values, from, [](const ListenerCounters& l) -> const Cell& { return l.accepted; });
}

void silent(Values& values, const Sources& from) {
  add_listeners(values, from, [](const ListenerCounters& l) -> const Cell& { return l.silent; });
}

void clones(Values& values, const Sources& from) {
  add_listeners(values, from, [](const ListenerCounters& l) -> const Cell& { return l.clones; });
}

void open_sessions(Values& values, const Sources& from) {
  add_listeners(values, from, [](const ListenerCounters& l) -> const Cell& { return l.sessions_open; });
}

void rejections(Values& values, const Sources& from) {
  add_reasons(
      values, from, [](const auto& l) -> const auto& { return l.rejections; });
}

void claimed(Values& values, const Sources& from) {
  add_reasons(
      values, from, [](const auto& l) -> const auto& { return l.claimed; });
}

void connects(Values& values, const Sources& from) {
  add_totals(
      values, from, kMqttVersionNames, [](const auto& l) -> const auto& { return l.mqtt_connects; });
}

void tickets(Values& values, const Sources& from) {
  add_totals(
      values, from, kTicketResultNames, [](const auto& l) -> const auto& { return l.tickets; });
}

void handshakes_of(Values& values, const Sources& from, std::size_t listener, std::size_t version, std::size_t kind) {
  for (std::size_t by = 0; by < kTlsMakerNames.size(); ++by) {
    for (std::size_t group = 0; group < kKeyGroupNames.size(); ++group) {
      const std::uint64_t counted = sum(from, [&](const ShardCounters& s) -> const Cell& {
        return s.listeners[listener].handshakes[version][kind][by][group];
      });
      if (counted == 0 && !can_be_counted(version, kind, static_cast<TlsMaker>(by), static_cast<KeyGroup>(group)))
        continue;
      values.add(
          {from.config.listeners[listener].name, std::string(kTlsVersionNames[version]),
           std::string(kHandshakeKindNames[kind]), std::string(kTlsMakerNames[by]), std::string(kKeyGroupNames[group])},
          counted);
    }
  }
}

void handshakes(Values& values, const Sources& from) {
  for (std::size_t l = 0; l < from.config.listeners.size(); ++l) {
    for (std::size_t version = 0; version < kTlsVersionNames.size(); ++version) {
      for (std::size_t kind = 0; kind < kHandshakeKindNames.size(); ++kind) {
        handshakes_of(values, from, l, version, kind);
      }
    }
  }
}

void handshake_time(Values& values, const Sources& from) {
  for (std::size_t l = 0; l < from.config.listeners.size(); ++l) {
    add_latency_of_shards(values, {from.config.listeners[l].name}, from,
                          [&](const ShardCounters& s) -> const Latency& { return s.listeners[l].handshake; });
  }
}

void sessions_ended(Values& values, const Sources& from) {
  for (std::size_t l = 0; l < from.config.listeners.size(); ++l) {
    for (std::size_t origin = 0; origin < 3; ++origin) {
      for (std::size_t cause = 0; cause < kCauseCount; ++cause) {
        values.add(
            {from.config.listeners[l].name, std::string(to_string(static_cast<Origin>(origin))),
             std::string(kCauseNames[cause])},
            sum(from, [&](const ShardCounters& s) -> const Cell& { return s.listeners[l].ended[origin][cause]; }));
      }
    }
  }
}

using Labels = std::vector<std::string>;

void upstream_up(Values& values, const Sources& from) {
  each_server(from,
              [&](const ServerInfo& server, const Labels& labels) { values.add(labels, server.up() ? 1.0 : 0.0); });
}

void upstream_sessions(Values& values, const Sources& from) {
  each_server(from, [&](const ServerInfo& server, const Labels& labels) { values.add(labels, server.sessions); });
}

void upstream_connect(Values& values, const Sources& from) {
  each_server(from, [&](const ServerInfo& server, const Labels& labels) {
    add_latency(values, labels, {server.connect.begin(), server.connect.end()}, server.connect_sum_us);
  });
}

void upstream_failures(Values& values, const Sources& from) {
  each_server(from, [&](const ServerInfo& server, Labels labels) {
    labels.emplace_back();
    for (std::size_t i = 0; i < server.faults.size(); ++i) {
      labels.back() = kBrokerFaultNames[i];
      values.add(labels, server.faults[i]);
    }
  });
}

void upstream_shortages(Values& values, const Sources& from) {
  for (std::size_t i = 0; i < kShortages.size(); ++i) {
    values.add({std::string(kShortages[i].name)},
               sum(from, [&](const ShardCounters& s) -> const Cell& { return s.shortages[i]; }));
  }
}

void bytes(Values& values, const Sources& from) {
  values.add({"to_broker"}, sum(from, [](const ShardCounters& s) -> const Cell& { return s.bytes_to_broker; }));
  values.add({"to_client"}, sum(from, [](const ShardCounters& s) -> const Cell& { return s.bytes_to_client; }));
}

void busy_ratio(Values& values, const Sources& from) {
  const auto info = from.plane.shard_info();
  for (std::size_t i = 0; i < info.size(); ++i) values.add({std::to_string(i)}, info[i].busy_ratio);
}

void add_shard_time(Values& values, const Sources& from, Cell ShardCounters::*time_us) {
  for (std::size_t i = 0; i < from.shards.size(); ++i) {
    values.add({std::to_string(i)}, static_cast<double>((from.shards[i]->*time_us).get()) * 1e-6);
  }
}

void devices(Values& values, const Sources& from) {
  values.add({"active"}, from.registrar.devices.active);
  values.add({"inactive"}, from.registrar.devices.inactive);
  values.add({"pending"}, from.registrar.devices.pending);
  values.add({"revoked"}, from.registrar.devices.revoked);
}

void cas(Values& values, const Sources& from) {
  values.add({"active"}, from.registrar.cas_active);
  values.add({"inactive"}, from.registrar.cas_inactive);
}

void commit_time(Values& values, const Sources& from) {
  values.add_histogram({}, kCommitBuckets, from.registrar.commit_seconds_buckets, 1.0,
                       from.registrar.commit_seconds_sum);
}

const MetricRow kRows[] = {
    {"status_in_force_seconds",
     MetricType::Histogram,
     {},
     "From a durable change of standing until no byte of the sessions it cut passes.",
     in_force},
    {"server_certificate_not_after_seconds",
     MetricType::Gauge,
     {"listener", "id"},
     "When a server certificate ends, in Unix seconds.",
     certificates_end},
    {"status_cut_seconds",
     MetricType::Histogram,
     {},
     "From a durable change of standing to the last session it cut being closed, by shard.",
     cut_sessions},
    {"connections_accepted_total", MetricType::Counter, {"listener"}, "TCP connections accepted.", accepted},
    {"connections_silent_total",
     MetricType::Counter,
     {"listener"},
     "Those of connections_accepted_total that ended by themselves before their first byte: health checks, scanners.",
     silent},
    {"clones_total",
     MetricType::Counter,
     {"listener"},
     "CONNECTs of a certificate that had a session from another address or with another client id.",
     clones},
    {"sessions_open", MetricType::Gauge, {"listener"}, "Connections open now, in whatever state.", open_sessions},
    {"rejections_total", MetricType::Counter, {"listener", "reason"}, "Connections refused, by reason.", rejections},
    {"rejections_claimed_total",
     MetricType::Counter,
     {"listener", "reason"},
     "Those of rejections_total with a certificate whose key the peer did not prove: anybody may have sent it.",
     claimed},
    {"mqtt_connects_total",
     MetricType::Counter,
     {"version"},
     "Well-formed CONNECT packets, by MQTT version.",
     connects},
    {"handshakes_total",
     MetricType::Counter,
     {"listener", "version", "kind", "engine", "group"},
     "TLS handshakes that finished, by who made them (Sallyport's own, or OpenSSL) and the group of the key exchange.",
     handshakes},
    {"tickets_total",
     MetricType::Counter,
     {"result"},
     "TLS tickets: issued, resumed, and declined: declined_key (none opens it), declined_age, declined_name (another "
     "server name), declined_standing (the device lost its standing since).",
     tickets},
    {"handshake_seconds",
     MetricType::Histogram,
     {"listener"},
     "From accept to the end of the handshake.",
     handshake_time},
    {"sessions_ended_total",
     MetricType::Counter,
     {"listener", "origin", "cause"},
     "Sessions that had reached the broker and ended.",
     sessions_ended},
    {"upstream_up",
     MetricType::Gauge,
     {"upstream", "server"},
     "1 where a broker is up, at one of its addresses at least, and is not drained.",
     upstream_up},
    {"upstream_sessions", MetricType::Gauge, {"upstream", "server"}, "Sessions that a broker has.", upstream_sessions},
    {"upstream_failures_total",
     MetricType::Counter,
     {"upstream", "server", "kind"},
     "Sessions that a broker failed, by what it did; most of them went on to the next.",
     upstream_failures},
    {"upstream_failovers_total",
     MetricType::Counter,
     {},
     "CONNECTs that were taken to the next broker after one had taken them.",
     [](Values& values, const Sources& from) {
       values.add({}, sum(from, [](const ShardCounters& s) -> const Cell& { return s.failovers; }));
     }},
    {"upstream_slow_started_total",
     MetricType::Counter,
     {},
     "Sessions that waited for a broker in slow start.",
     [](Values& values, const Sources& from) {
       values.add({}, sum(from, [](const ShardCounters& s) -> const Cell& { return s.slow_started; }));
     }},
    {"upstream_shortages_total",
     MetricType::Counter,
     {"error"},
     "What this machine lacked on the way to a broker; no broker is taken for down by it.",
     upstream_shortages},
    {"upstream_connect_seconds",
     MetricType::Histogram,
     {"upstream", "server"},
     "Time to connect to a broker.",
     upstream_connect},
    {"bytes_total", MetricType::Counter, {"direction"}, "Plaintext forwarded.", bytes},
    {"registrations_offered_total",
     MetricType::Counter,
     {},
     "First connections whose device was offered to the registrar.",
     [](Values& values, const Sources& from) {
       values.add({}, sum(from, [](const ShardCounters& s) -> const Cell& { return s.registrations_offered; }));
     }},
    {"registrations_deferred_total",
     MetricType::Counter,
     {},
     "First connections served while the registration queue was full.",
     [](Values& values, const Sources& from) {
       values.add({}, sum(from, [](const ShardCounters& s) -> const Cell& { return s.registrations_deferred; }));
     }},
    {"shard_busy_ratio",
     MetricType::Gauge,
     {"shard"},
     "Share of time a shard was not waiting for the kernel.",
     busy_ratio},
    {"shard_busy_seconds_total",
     MetricType::Counter,
     {"shard"},
     "Time in which a shard was not waiting for the kernel.",
     [](Values& values, const Sources& from) { add_shard_time(values, from, &ShardCounters::busy_us); }},
    {"shard_seconds_total",
     MetricType::Counter,
     {"shard"},
     "Time in which a shard has run, waiting included.",
     [](Values& values, const Sources& from) { add_shard_time(values, from, &ShardCounters::total_us); }},
    {"devices", MetricType::Gauge, {"status"}, "Registered devices, by their own status.", devices},
    {"cas", MetricType::Gauge, {"status"}, "Registered CAs, by status.", cas},
    {"ca_not_after_seconds",
     MetricType::Gauge,
     {"ca"},
     "When the CA ends, in Unix seconds.",
     [](Values& values, const Sources& from) {
       for (const CaRecord& ca : from.cas) {
         values.add({to_hex(ca.id)}, static_cast<double>(ca.certificate.not_after()));
       }
     }},
    {"crl_next_update_seconds",
     MetricType::Gauge,
     {"ca"},
     "When the next CRL of the CA is due, in Unix seconds; of several scopes the first one.",
     crls_due},
    {"crl_entries",
     MetricType::Gauge,
     {"ca"},
     "Entries of the last CRLs imported of the CA, of all scopes.",
     [](Values& values, const Sources& from) {
       std::map<Digest, std::uint64_t> entries;
       for (const CrlRecord& crl : from.crls) entries[crl.ca] += crl.entries;
       for (const auto& [ca, count] : entries) values.add({to_hex(ca)}, count);
     }},
    {"registrations_total",
     MetricType::Counter,
     {"ca"},
     "Devices written to the registry since the start.",
     [](Values& values, const Sources& from) {
       for (const CaRecord& ca : from.cas) values.add({to_hex(ca.id)}, ca.registered_since_start);
     }},
    {"registrations_refused_total",
     MetricType::Counter,
     {},
     "Registrations refused when they were to be written: losers of a race.",
     [](Values& values, const Sources& from) { values.add({}, from.registrar.refused); }},
    {"registration_queue_depth",
     MetricType::Gauge,
     {},
     "Devices waiting to be written.",
     [](Values& values, const Sources& from) { values.add({}, from.registrar.queued); }},
    {"registry_connected",
     MetricType::Gauge,
     {},
     "With a shared registry: 1 while this node follows it.",
     [](Values& values, const Sources& from) {
       if (from.shared) values.add({}, std::uint64_t{from.shared->connected ? 1U : 0U});
     }},
    {"registry_stale",
     MetricType::Gauge,
     {},
     "With a shared registry: 1 while devices are refused because it was out of reach for longer than stale_after.",
     [](Values& values, const Sources& from) {
       if (from.shared) values.add({}, std::uint64_t{from.shared->stale ? 1U : 0U});
     }},
    {"registry_snapshots_total",
     MetricType::Counter,
     {},
     "With a shared registry: snapshots of it that this node took since the start.",
     [](Values& values, const Sources& from) {
       if (from.shared) values.add({}, from.shared->snapshots);
     }},
    {"node_lag_seconds",
     MetricType::Gauge,
     {"node"},
     "With a shared registry: for how long each node has not had everything in force; 0: it has. As this node knows "
     "it.",
     [](Values& values, const Sources& from) {
       if (!from.shared) return;
       for (const SharedNode& node : from.shared->nodes.nodes) {
         const std::int64_t ms = node.revision < from.shared->nodes.revision ? node.applied_ms_ago : 0;
         values.add({node.name}, static_cast<double>(ms) / 1000);
       }
     }},
    {"registration_commit_seconds", MetricType::Histogram, {}, "One synced batch of the registrar.", commit_time},
};

}  // namespace

std::span<const MetricRow> metric_rows() {
  static const std::vector<MetricRow> all = [] {
    std::vector<MetricRow> rows(std::begin(kRows), std::end(kRows));
    const auto more = process_metric_rows();
    rows.insert(rows.end(), more.begin(), more.end());
    return rows;
  }();
  return all;
}

}  // namespace sallyport
