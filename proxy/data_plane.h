// The data plane as main and the admin side see it: shards that are started, told, counted, drained and
// joined. It implements cache/'s ChangeSink by posting to every shard's mailbox and waiting for all.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cache/base/log.h"
#include "cache/standing/change.h"
#include "cache/standing/device_gate.h"
#include "proxy/config/config.h"
#include "proxy/listening_sockets.h"
#include "proxy/session/counters.h"
#include "proxy/shard/capacity.h"
#include "proxy/shard/mailbox.h"
#include "proxy/shard/rejections.h"
#include "proxy/tls/tls_context.h"
#include "proxy/upstream/servers.h"

namespace sallyport {

class Registrar;
struct TicketKey;

struct ListenerInfo {
  std::string name;
  std::string address;  // as bound: host:port with the real port
  std::string auth;     // "mutual" | "one-way"
  std::string protocol;
  std::string upstream;
  TlsMadeBy tls_engine = TlsMadeBy::Auto;  // in force for new connections
  std::vector<Digest> certificates;        // fingerprints of the leaves it can present
  std::vector<std::int64_t> not_after;     // of each, Unix seconds
  bool auth_chosen = false;                // at run time, in place of the file's
  std::optional<Digest> hosted;            // the server certificate chosen at run time
};

// A listener as it is to be, checked and ready to be put in force.
struct PreparedListener {
  std::unique_ptr<ListenerSetup> setup;
  std::unique_ptr<TlsContext> tls;
  std::vector<ServerCertificate> certificates;  // all of them, also those that are out of date and not presented
  AuthMode auth = AuthMode::Mutual;
  bool auth_chosen = false;
  std::optional<Digest> hosted;
};

// Sessions of another process that a cut concerns as well: of the one whose listeners were taken over.
class CutsElsewhere {
 public:
  virtual ~CutsElsewhere() = default;
  virtual void end_sessions() = 0;  // returns when they are gone; the registrar's thread, or an operator's
};

struct SessionPage {
  std::vector<SessionInfo> sessions;
  std::string next_page_token;  // empty: the end
};

struct Impact {
  std::uint64_t sessions = 0, devices = 0;
};

class DataPlane final : public ChangeSink {
 public:
  // `config` and `log` outlive it. Nothing is opened yet.
  DataPlane(const Config& config, Log& log);
  ~DataPlane() override;  // stop_now() and join()

  // Everything that can be wrong without binding anything: certificate files and keys, SNI names, source
  // addresses, CA ids. Also what `check` runs. Returns the SPKI hashes of every certificate it would present.
  Answer<std::vector<Digest>> prepare();

  // For `check`: whether a name or address can be resolved; and how many connections there is room for, by making all
  // shards' rings, and dropping them. The refusals are those of prepare() and start(). `without_ring`: why the shards
  // will have none, where start() would work around it.
  static Answer<void> resolves(const Endpoint& endpoint, bool to_listen);
  static Answer<Capacity> room_for(const Config& config, std::uint64_t open_files, std::uint64_t reserved,
                                   std::string* without_ring = nullptr);
  static unsigned shards_of(const Config& config);
  static unsigned usable_cpus();  // of this process

  // How many shards will run: Config::shards, or one per CPU this process may use.
  unsigned shards() const;
  std::string_view io_name() const;  // "io_uring" | "epoll", where any shard fell back to it; after start()

  // Binds every listener, creates the rings and starts the shards. All or nothing: on failure what was
  // started is stopped, and the refusal says in one line what the kernel denied and what to do.
  // Where the kernel has no direct descriptors, the capacity is cut to plain_max. After warm-up.
  // `taken`: sockets of another process for these listeners, at most one a shard each; they are this one's from here
  // on, whatever the answer. `elsewhere`, which may be null, outlives this.
  Answer<void> start(const DeviceGate& gate, Registrar& registrar, Capacity capacity,
                     std::vector<ListeningSocket> taken = {}, CutsElsewhere* elsewhere = nullptr);
  // Those that listen, in the order of the shards; until the drain begins.
  const std::vector<ListeningSocket>& listening() const;
  std::uint64_t connections_max() const;  // after start()

  void put_in_force(const Notice& notice) override;

  // Changing a listener: first prepare, which checks everything and changes nothing, then install, which swaps
  // it on every shard and waits: the next handshake uses it, no connection is dropped, but that sessions without
  // a certificate are cut where the mode turns to mutual, and those below other CAs where `cas` is narrowed. One caller
  // at a time.
  std::optional<std::size_t> listener_index(std::string_view name) const;
  struct ListenerAdmits {
    AuthMode auth = AuthMode::Mutual;
    std::vector<Digest> cas;
    // What its devices' CONNECTs must say, and what is written into them.
    IdentityTemplate client_id, broker_username, broker_client_id;
    bool user_properties = false, proxy_protocol = false;
  };
  std::optional<ListenerAdmits> listener_admits(std::string_view name) const;
  Answer<PreparedListener> prepare_listener(const ListenerConfig& config, const UpstreamConfig& upstream, AuthMode auth,
                                            std::vector<ServerCertificate> certificates) const;
  // What a listener was prepared with, and the leaves of these that it presents. After prepare().
  std::vector<ServerCertificate> certificates(std::size_t index) const;
  std::vector<Digest> presented(std::size_t index) const;
  std::optional<Digest> hosted(std::size_t index) const;  // the one that was chosen at run time, if it is in use
  // The public keys that would be presented with `prepared` in place of what listener `index` has.
  std::vector<Digest> server_keys(std::size_t index, const PreparedListener& prepared) const;
  void install_listener(std::size_t index, PreparedListener prepared);
  // Configurations that were replaced and that a session may still have; install_listener() drops the others.
  std::size_t retired_configs() const;
  void set_cut_pace(std::uint64_t per_second);
  void set_registration_pace(std::uint64_t per_second);  // of each CA; 0: no limit
  // Those of every listener. Whoever changes them here, other than by drop(), does it before start().
  TicketKeys& ticket_keys();
  // No ticket that was issued before is honoured any more, on any shard, when it returns.
  void drop_ticket_keys(std::int64_t now);
  // Those that nodes have in common, the newest first. Where one is gone, tickets of it end as above.
  void share_ticket_keys(std::span<const TicketKey> keys, std::int64_t now);
  // About every second: rotates the ticket keys, and asks for the names of brokers that are due. The main thread.
  void tick(std::int64_t now);
  std::vector<std::string> unresolved() const;  // "upstream NAME: HOST:PORT" of each
  std::vector<UpstreamInfo> upstreams() const;  // after prepare()
  // Takes a server out for new sessions, or back in, until the process ends.
  Answer<void> drain_server(std::string_view upstream, std::string_view server, bool drained);
  // Other servers and settings, by name; those that are not there are passed over. Where servers are named that a shard
  // did not have, it has them when this returns.
  // `tls`: of prepare_broker_tls() for these. What is connected already stays as it is.
  void set_upstreams(const std::vector<UpstreamConfig>& upstreams, BrokerTlsContexts tls);
  void clock_was_set();  // every session is looked at again: one may have ended by the new time

  std::vector<ListenerInfo> listeners() const;  // after start()
  std::vector<ShardInfo> shard_info() const;
  // Live sessions; each asks every shard through its mailbox and waits.
  std::vector<std::uint64_t> sessions_of_devices(const std::vector<Digest>& ids);
  std::uint64_t sessions_of_device(const Digest& id);
  Impact impact_of_ca(const Digest& id);
  Answer<SessionPage> sessions(std::optional<Digest> device, std::optional<Digest> ca, bool clones, std::size_t limit,
                               std::string_view page_token);
  bool cut_session(std::uint64_t id);  // false: there is no such session
  // Every shard's, merged; the last one first. `most`: of each kind of each shard.
  std::vector<Rejection> rejections(std::size_t most = SIZE_MAX);
  std::int64_t last_connected(const Digest& device) const;  // Unix seconds; 0: not since the start, or long ago
  // For the metrics page: the cells of every shard. Valid from start() to destruction.
  std::vector<const ShardCounters*> counters() const;
  // How long cuts took, from the durable change until no byte of the sessions passed.
  const Latency& cut_latency() const;

  // Stops accepting; sessions are closed one after the other, the last ones when `limit` has passed (shutting_down).
  // Returns at once; join() waits for the shards to be empty and ended.
  void drain(std::chrono::milliseconds limit);
  void stop_now();  // closes everything
  void join();
  bool finished() const;  // every shard has ended

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport
