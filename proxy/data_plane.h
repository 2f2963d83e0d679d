// The data plane as main and the admin side see it: shards that are started, told, counted, drained and
// joined. It implements cache/'s ChangeSink by posting to every shard's mailbox and waiting for all.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/change.h"
#include "cache/device_gate.h"
#include "cache/log.h"
#include "proxy/config.h"
#include "proxy/counters.h"

namespace sallyport {

class Registrar;

struct ListenerInfo {
  std::string name;
  std::string address;  // as bound: host:port with the real port
  std::string auth;     // "mutual" | "one-way"
  std::string protocol;
  std::string upstream;
  std::vector<Digest> certificates;     // fingerprints of the leaves it can present
  std::vector<std::int64_t> not_after;  // of each, Unix seconds
};

struct ShardInfo {
  std::uint64_t sessions = 0;
  double busy_ratio = 0;  // over the last few seconds
};

class DataPlane final : public ChangeSink {
 public:
  // `config` and `log` outlive it. Nothing is opened yet.
  DataPlane(const Config& config, Log& log);
  ~DataPlane() override;  // stop_now() and join()

  // Everything that can be wrong without binding anything: certificate files and keys, SNI names, upstream
  // addresses, CA ids. Also what `check` runs. Returns the SPKI hashes of every certificate it would present.
  Answer<std::vector<Digest>> prepare();

  // How many shards will run: Config::shards, or one per CPU this process may use.
  unsigned shards() const;

  // Binds every listener, creates the rings and starts the shards. All or nothing: on failure what was
  // started is stopped, and the refusal says in one line what the kernel denied and what to do.
  // `connections_max` is the bound derived from the open-file limit. After warm-up.
  Answer<void> start(const DeviceGate& gate, Registrar& registrar, std::uint64_t connections_max);

  void put_in_force(const Notice& notice) override;

  std::vector<ListenerInfo> listeners() const;  // after start()
  std::vector<ShardInfo> shard_info() const;
  // Live sessions; each asks every shard through its mailbox and waits.
  std::uint64_t sessions_of_device(const Digest& id);
  std::uint64_t sessions_of_ca(const Digest& id);
  // For the metrics page: the cells of every shard. Valid from start() to destruction.
  std::vector<const ShardCounters*> counters() const;
  // How long cuts took, from the durable change until no byte of the sessions passed.
  const Latency& cut_latency() const;

  // Stops accepting; sessions go on until they end or `limit` passes, then are closed (shutting_down).
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
