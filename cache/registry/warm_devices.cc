#include "cache/registry/warm_devices.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace sallyport {

namespace {

// A part is the ids with one first byte: they are hashes, so parts are of one size.
constexpr unsigned kParts = 256;
constexpr std::size_t kBatch = 1024;  // devices put in the cache under one lock
constexpr unsigned kMostThreads = 8;  // then the one that fills the cache is what takes the time

class Reading {
 public:
  Reading(const RegistryStore& store, const ChainTable& chains, StatusCache& cache, std::int64_t now)
      : store_(store), chains_(chains), cache_(cache), now_(now) {}

  Answer<DeviceTally> run(unsigned threads) {
    // The first part tells how many there are: a cache that grows to its size writes each slot three times.
    read_part(0);
    cache_.reserve(std::min(kParts * cache_.size(), std::size_t{store_.device_rows()}));
    std::vector<std::thread> others;
    try {
      for (unsigned i = 1; i < threads; ++i) others.emplace_back([this] { read_parts(); });
    } catch (const std::system_error&) {  // the system has no more of them: those there are read it all
    }
    read_parts();
    for (std::thread& other : others) other.join();
    cache_.reclaim();  // what it outgrew; nobody reads it yet
    if (refusal_) return *refusal_;
    return std::move(tally_);
  }

 private:
  struct Device {
    DeviceKey key;
    SlotState state;
  };

  void read_parts() {
    for (unsigned part = next_part_++; part < kParts; part = next_part_++) read_part(static_cast<std::uint8_t>(part));
  }

  void read_part(std::uint8_t part) {
    DeviceTally found;
    std::vector<Device> batch;
    batch.reserve(kBatch);
    const auto read = store_.each_device_of_part(part, [&](const Digest& id, const DeviceRow& row) {
      if (count(row, found)) {
        batch.push_back({cache_.key(row.name, id), slot_state(row)});
      }
      if (batch.size() == kBatch) fill(batch);
      return true;
    });
    fill(batch);
    const std::lock_guard lock(mutex_);
    tally_.add(found);
    if (read) return;
    if (!refusal_) refusal_ = read.error();
    next_part_ = kParts;
  }

  // False: to be purged.
  bool count(const DeviceRow& row, DeviceTally& tally) const {
    const bool revoked = row.status == DeviceStatus::Revoked;
    if (chains_.forgotten(row.chain) && (!revoked || now_ > row.not_after)) return false;
    DeviceTally::OfChain& chain = tally.by_chain[row.chain];
    ++chain.by_status[static_cast<std::size_t>(row.status)];
    if (!revoked && row.registered_by == RegisteredBy::Crl) {
      ++chain.held_unseen;
    } else if (!revoked) {
      ++tally.by_last_day[row.not_after / 86400];
    }
    return true;
  }

  void fill(std::vector<Device>& batch) {
    const std::lock_guard lock(mutex_);
    constexpr std::size_t kAhead = 12;  // misses of the core's cache under way at once
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (i + kAhead < batch.size()) cache_.prefetch(batch[i + kAhead].key);
      cache_.restore(batch[i].key, batch[i].state);
    }
    batch.clear();
  }

  const RegistryStore& store_;
  const ChainTable& chains_;
  StatusCache& cache_;  // its writer is who holds the lock; its secrets are read by all
  const std::int64_t now_;
  std::atomic<unsigned> next_part_{1};
  std::mutex mutex_;  // of the cache and of what follows
  DeviceTally tally_;
  std::optional<Refusal> refusal_;
};

}  // namespace

void DeviceTally::add(const DeviceTally& other) {
  for (const auto& [chain, counts] : other.by_chain) {
    OfChain& mine = by_chain[chain];
    for (std::size_t i = 0; i < counts.by_status.size(); ++i) mine.by_status[i] += counts.by_status[i];
    mine.held_unseen += counts.held_unseen;
  }
  for (const auto& [day, devices] : other.by_last_day) by_last_day[day] += devices;
}

unsigned warm_threads() {
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
}

Answer<DeviceTally> warm_devices(const RegistryStore& store, const ChainTable& chains, StatusCache& cache,
                                 std::int64_t now, unsigned threads) {
  return Reading(store, chains, cache, now).run(threads);
}

}  // namespace sallyport
