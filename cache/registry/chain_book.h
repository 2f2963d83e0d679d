// The chains that devices were verified through, as the registrar keeps them: finds or makes the chain of a path or of
// a CA's list, knows which are alive, and forgets those of a deleted CA. The only writer of the chain table. The
// registrar's thread alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cache/base/log.h"
#include "cache/registry/ledger.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/device_gate.h"
#include "cache/standing/status_cache.h"

namespace sallyport {

static_assert(ChainTable::kMostChains <= std::uint64_t{1} << SlotState::kChainBits);

class ChainBook {
 public:
  // All outlive it.
  ChainBook(ChainTable& chains, StatusCache& cache, RegistryStore& store, Ledger& ledger, Logger& log)
      : chains_(chains), cache_(cache), store_(store), ledger_(ledger), log_(log) {}

  // 0: every chain id was given out, which is logged.
  std::uint64_t of_path(const PathFound& path, const CaSet& cas);
  std::uint64_t of_crl(const CaEntry& ca, const CaSet& cas);
  // A row that was read at the start. False: its id is out of range.
  bool restore(std::uint64_t id, const ChainRow& row, const std::vector<Certificate>& intermediates,
               const Digest& owner_key);

  // A row of the shared registry: added, replaced where this id had another content here, or forgotten. Not alive until
  // the next refresh. True: it was forgotten by this.
  bool take(std::uint64_t id, const ChainRow& row, const std::vector<Certificate>& intermediates,
            const Digest& owner_key);
  // A row that the shared registry does not have.
  void drop(std::uint64_t id);
  // While devices' rows and chains may be of two histories nothing is alive: every device's path is built anew.
  void hold(bool held) { held_ = held; }

  // Whether what refresh_all() found by its `now` would be found by this one: no certificate of a CA or of a chain
  // begins or ends between the two. Any thread.
  bool holds_at(std::int64_t now) const { return now >= holds_from_ && now <= holds_until_; }

  // Whether it is alive, and when, by the CAs and the listed serials as they are now.
  void refresh(std::uint64_t id, const CaSet& cas, std::int64_t now);
  void refresh_all(const CaSet& cas, std::int64_t now);
  // Those with certificates that clients sent, after the listed serials changed: the owners of those that ended.
  std::vector<Digest> refresh_with_intermediates(const CaSet& cas, std::int64_t now);

  // Deleting a CA: its chains' rows are marked in the batch, and forgotten in the table once it is written; or, where
  // it could not be, the mark is taken back.
  Answer<std::vector<std::uint64_t>> mark_forgotten(const Digest& owner, RegistryStore::Batch& batch);
  void forget(const std::vector<std::uint64_t>& chains);
  // Their rows as they were before mark_forgotten().
  void put_remembered(const std::vector<std::uint64_t>& chains, RegistryStore::Batch& batch);
  void unmark(const std::vector<std::uint64_t>& chains);

 private:
  std::uint64_t make(ChainRow row, const std::vector<Certificate>& intermediates, const Digest& owner_key,
                     const CaSet& cas);
  void narrow(const Window& dates, std::int64_t now);
  static ChainRecord record_of(const ChainRow& row, const std::vector<Certificate>& intermediates,
                               const Digest& owner_key);

  ChainTable& chains_;
  StatusCache& cache_;
  RegistryStore& store_;
  Ledger& ledger_;
  Logger& log_;
  std::map<std::string, std::uint64_t> ids_;  // by owner and intermediates
  bool held_ = false;
  std::atomic<std::int64_t> holds_from_{INT64_MIN}, holds_until_{INT64_MAX};
};

}  // namespace sallyport
