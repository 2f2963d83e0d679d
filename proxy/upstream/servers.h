// The servers of every upstream: what the configuration names (a NamedServer), and the addresses each has now (its
// Targets). One owner, on the main thread, makes the lists; shards get each new list by mail and only read it, but for
// the atomics of a target. A target is kept while a session holds it, or a list has it.
//
// Slots: at most 64 targets of an upstream at once; what a name has beyond that is left out, with a warning.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/session/broker_fault.h"
#include "proxy/session/counters.h"
#include "proxy/tls/tls_broker.h"
#include "proxy/upstream/address.h"
#include "proxy/upstream/health.h"
#include "proxy/upstream/last_trouble.h"

namespace sallyport {

// "host:port" or "unix:/path", as the configuration writes it: what metrics and commands know.
struct NamedServer {
  Endpoint endpoint;
  std::string text;
  bool literal = false;                // its address needs no name server
  std::atomic<bool> drained{false};    // an operator takes it out: no new session
  std::atomic<bool> ask_again{false};  // all of its addresses failed: its name is to be asked for at once
  SharedLatency connect;               // of connections that were made
  std::array<std::atomic<std::uint64_t>, kBrokerFaultNames.size()> faults{};
  LastTrouble last_trouble;
};

struct BrokerTarget {
  NamedServer* server = nullptr;
  ServerAddress address;
  std::string text;       // of the address
  std::uint64_t key = 0;  // what "client-id" hashes with; alike on every node
  unsigned slot = 0;      // of its upstream: less than 64
  Health health;
  std::atomic<std::uint64_t> holds{0};     // sessions that chose it, of all shards
  std::atomic<std::uint64_t> sessions{0};  // of those: served
};

// What a shard chooses from. Immutable but for the targets' atomics.
struct TargetList {
  std::vector<BrokerTarget*> targets;
  std::vector<ServerAddress> sources;
  std::atomic<std::uint64_t>* turn = nullptr;  // of all shards; the upstream's
  Balance balance = Balance::LeastConnections;
  std::uint64_t slow_start_ms = 0;
  std::uint64_t health_ms = 0;
  std::uint64_t connect_ms = 0, connack_ms = 0;  // a probe's
  HealthCheck health = HealthCheck::Tcp;
  bool proxy_protocol = false;
  const BrokerTlsContext* tls = nullptr;  // null: plain. As long as the list is in force
};

// As an operator sees it.
struct TargetInfo {
  std::string address;
  std::string_view state;  // "unknown" | "up" | "down" | "ejected"
  bool slow_start = false;
  std::uint64_t sessions = 0;
};
struct ServerInfo {
  std::string server;
  std::string state;  // of its addresses the best, "drained", "unresolved", or "removed" by a reload
  bool drained = false;
  std::uint64_t sessions = 0;
  std::string trouble;  // why its name did not resolve; empty: it did
  LastTrouble::Said last_trouble;
  std::vector<TargetInfo> targets;
  std::array<std::uint64_t, kBrokerFaultNames.size()> faults{};
  std::array<std::uint64_t, kLatencyBoundsUs.size() + 1> connect{};  // as SharedLatency
  std::uint64_t connect_sum_us = 0;
  bool up() const { return state == "up"; }
  // For /readyz. Sessions still go to one that is ejected, and a handful of devices can have it ejected everywhere; one
  // that does not answer the probe, either, is "down".
  bool there() const { return up() || state == "ejected"; }
};
struct UpstreamInfo {
  std::string name;
  Balance balance = Balance::LeastConnections;
  HealthCheck health = HealthCheck::Tcp;
  std::vector<ServerInfo> servers;
  bool any_there() const;
};

class Upstreams {
 public:
  // Everything of the configuration but names, which come by set_addresses(). A source address that makes no sense is
  // refused. Asks no name server.
  static Answer<std::unique_ptr<Upstreams>> create(const Config& config);

  std::size_t count() const { return upstreams_.size(); }
  // The list in force, which lives until collect() after another was made.
  const TargetList* list(std::size_t upstream) const { return upstreams_[upstream]->list.get(); }

  // The three below: the main thread or a reload's, one at a time. True: there is a new list, for the shards to get.
  // Of a server that is still configured: what its name has now, or why it has none (what it had stays then).
  bool set_addresses(std::size_t upstream, const std::string& server, const Answer<std::vector<ServerAddress>>& found,
                     std::uint64_t now_ms);
  // Other servers and other settings of one that goes on; the sessions of a server that is gone go on, too.
  bool configure(std::size_t upstream, const UpstreamConfig& config, std::unique_ptr<BrokerTlsContext> tls);
  // Every shard has the list in force: those it replaced, and targets that nobody holds, are given back.
  void collect();

  // Servers whose names are to be asked for.
  struct Name {
    std::size_t upstream = 0;
    Endpoint endpoint;
  };
  std::vector<Name> names(std::uint64_t now_ms);  // those due by resolve_interval or because they failed
  std::vector<std::string> unresolved() const;    // "upstream NAME: HOST:PORT" of each that has no address
  bool all_asked() const;                         // each name has been asked for once

  // Any thread.
  std::vector<UpstreamInfo> info(std::uint64_t now_ms) const;
  Answer<void> drain(std::string_view upstream, std::string_view server, bool drained);

 private:
  struct Named {
    std::unique_ptr<NamedServer> server;
    bool asked = false;
    std::uint64_t asked_at_ms = 0;
    std::string trouble;
    std::vector<ServerAddress> addresses;
  };
  struct Upstream {
    UpstreamConfig config;
    std::unique_ptr<BrokerTlsContext> tls;
    std::vector<ServerAddress> sources;
    std::vector<Named> servers;                      // in the order of the configuration
    std::vector<std::unique_ptr<NamedServer>> left;  // no longer configured; they keep their counts for their targets
    std::vector<std::unique_ptr<BrokerTarget>> targets;  // in the list, or held by a session
    std::atomic<std::uint64_t> turn{0};
    std::unique_ptr<const TargetList> list;
    std::vector<std::unique_ptr<const TargetList>> replaced;
    std::vector<std::unique_ptr<BrokerTlsContext>> replaced_tls;
  };

  void make_list(Upstream& upstream);
  static void add_server(Upstream& upstream, const Endpoint& endpoint);
  static void add_removed(const Upstream& upstream, UpstreamInfo& info);

  mutable std::mutex mutex_;  // guards what is in upstreams_; a shard takes no part in it
  std::vector<std::unique_ptr<Upstream>> upstreams_;
};

}  // namespace sallyport
