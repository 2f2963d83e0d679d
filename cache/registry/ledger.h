// What goes to disk with the next commit beside a batch's own rows: the revision of each change, its line in the audit
// log, and the chains that were given out since the last commit. Everything of one commit is written, or nothing of it.
// The registrar's thread alone, but for figures().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/change.h"

namespace sallyport {

struct CommitFigures {
  std::uint64_t revision = 0;
  std::uint64_t commits = 0;
  std::uint64_t store_errors = 0;  // failed commits
  double seconds_sum = 0;
  std::vector<std::uint64_t> seconds_buckets;  // per kCommitBuckets bound, not cumulative, plus +Inf
};

class Ledger {
 public:
  // The store and the log outlive it.
  Ledger(RegistryStore& store, Logger& log);
  Answer<void> warm();  // where the last process stopped

  // A change gets its revision and a place in the commit that follows.
  void note(Change::Kind kind, const Digest& id, std::uint8_t status);
  // A line for the audit log, written with the commit that follows.
  void audit(const Actor& by, std::string_view action, std::string target, std::string_view before,
             std::string_view after);
  // Writes the batch and what was noted, and logs the changes once they are written. After a failure none of them
  // happened, and their revisions are given out again; chains stay for the next commit.
  Answer<void> commit(RegistryStore::Batch& batch, bool sync);
  // One synced commit of a setting: what `fill` puts in the batch, with its line.
  Answer<void> set(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                   std::string_view after, const std::function<void(RegistryStore::Batch&)>& fill);

  std::uint64_t revision() const { return meta_.revision; }
  std::uint64_t next_chain() const { return meta_.next_chain; }
  // The row of chain next_chain(), which every commit takes along until one succeeds.
  void add_chain(ChainRow row);
  // Those that no commit has taken yet.
  std::map<std::uint64_t, ChainRow>& unsaved_chains() { return unsaved_chains_; }

  CommitFigures figures() const;  // any thread

 private:
  RegistryStore& store_;
  Logger& log_;
  MetaRow meta_;
  std::vector<Change> noted_;
  std::vector<AuditRecord> audits_;
  std::int64_t last_audit_us_ = 0;
  std::map<std::uint64_t, ChainRow> unsaved_chains_;

  mutable std::mutex mutex_;
  CommitFigures figures_;
};

}  // namespace sallyport
