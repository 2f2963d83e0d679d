// What goes to disk with the next commit beside a batch's own rows: the revision of each change, its line in the audit
// log, and the chains that were given out since the last commit. Everything of one commit is written, or nothing of it.
// A restriction that the disk refused is owed to it: kept, and written before anything else.
// The registrar's thread alone, but for figures().
#pragma once

#include <cstdint>
#include <deque>
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
  // Refused, too, while something is owed: the batch was filled from rows that do not know of it.
  Answer<void> commit(RegistryStore::Batch& batch, Durable durable);
  // The same for what takes something away, and is in force whatever the disk says. Refused by the disk it is owed, and
  // happened all the same; beyond kMostOwed it is not kept, and the operator has to say it again.
  Answer<void> commit_restriction(RegistryStore::Batch& batch);
  // Writes what is owed, as far as the disk takes it. To be called before a batch is filled.
  void settle();
  bool owes() const { return !owed_.empty(); }
  // Something was not kept: whoever asked for it has to ask again.
  bool forgot() const { return forgot_; }
  const Refusal& owed_why() const { return owed_why_; }
  // One synced commit of a setting: what `fill` puts in the batch, with its line.
  Answer<void> set(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                   std::string_view after, const std::function<void(RegistryStore::Batch&)>& fill);
  // The same as a restriction.
  Answer<void> take_away(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                         const std::function<void(RegistryStore::Batch&)>& fill);

  std::uint64_t revision() const { return meta_.revision; }
  std::uint64_t next_chain() const { return meta_.next_chain; }
  // The row of chain next_chain(), which every commit takes along until one succeeds.
  void add_chain(ChainRow row);
  // Those that no commit has taken yet.
  std::map<std::uint64_t, ChainRow>& unsaved_chains() { return unsaved_chains_; }

  CommitFigures figures() const;  // any thread

  static constexpr std::size_t kMostOwed = 64 << 20;  // bytes

 private:
  struct Owed {
    RegistryStore::Batch batch;
    std::vector<Change> changes;
  };

  // Puts what was noted into the batch; the changes are logged once they are written.
  std::vector<Change> complete(RegistryStore::Batch& batch);
  Answer<void> write(RegistryStore::Batch& batch, const std::vector<Change>& changes, Durable durable);
  void look_at_mark();

  RegistryStore& store_;
  Logger& log_;
  MetaRow meta_;
  std::vector<Change> noted_;
  std::vector<AuditRecord> audits_;
  std::int64_t last_audit_us_ = 0;
  std::map<std::uint64_t, ChainRow> unsaved_chains_;
  std::string mark_trouble_;  // the store's, as it was logged last
  std::deque<Owed> owed_;     // the oldest first
  std::size_t owed_bytes_ = 0;
  bool forgot_ = false;
  Refusal owed_why_;

  mutable std::mutex mutex_;
  CommitFigures figures_;
};

}  // namespace sallyport
