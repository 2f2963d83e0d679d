// What goes to disk with the next commit beside a batch's own rows: the revision of each change, its line in the audit
// log, and the chains that were given out since the last commit. Everything of one commit is written, or nothing of it.
// A restriction that the disk refused, or does not answer for, is owed to it: kept, and written before anything else.
// The registrar's thread alone, but for figures().
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/registry_store.h"
#include "cache/registry/store_writer.h"
#include "cache/shared/shared_entry.h"
#include "cache/standing/change.h"

namespace sallyport {

struct CommitFigures {
  std::uint64_t revision = 0;
  std::uint64_t commits = 0;
  std::uint64_t store_errors = 0;  // failed commits
  double seconds_sum = 0;
  std::vector<std::uint64_t> seconds_buckets;  // per kCommitBuckets bound, not cumulative, plus +Inf
  bool stalled = false;                        // the disk has not answered a write for a second or more
  std::uint64_t not_durable = 0;               // restrictions that are in force and owed to the disk
  bool owes = false;                           // these, or what is in doubt
};

// The registry that this one is a replica of. Called by the registrar's thread alone.
class SystemOfRecord {
 public:
  virtual ~SystemOfRecord() = default;
  // Before it is written: puts into the batch what goes with what is in it. True: something was put there.
  virtual bool complete(RegistryStore::Batch& batch, std::span<const SharedEntry> entries) = 0;
  // Durable over there on return. A refusal: it did not happen, as far as anybody knows.
  virtual Answer<SharedPosition> write(std::uint64_t revision, std::span<const SharedEntry> entries) = 0;
};

class Ledger {
 public:
  // Fills a batch with the rows as they were before a change.
  using Undo = std::function<void(RegistryStore::Batch&)>;

  // The store and the log outlive it. `somebody_waits`: for a turn behind a commit that takes long.
  Ledger(RegistryStore& store, Logger& log, std::function<bool()> somebody_waits);
  Answer<void> warm();  // where the last process stopped
  // Every commit goes there first. What it took has happened, whatever the disk here says: that is owed then, as a
  // restriction is.
  void share(SystemOfRecord& record) { record_ = &record; }
  bool shared() const { return record_ != nullptr; }
  // Writes what others committed; owed where the disk here refuses it. Refused where too much is owed already. Without
  // a position: part of a snapshot, which counts when it is whole.
  Answer<void> adopt(RegistryStore::Batch& batch, const std::optional<SharedPosition>& position);
  // Writes what is of this node alone, and of no revision.
  Answer<void> commit_here(RegistryStore::Batch& batch);
  // The same of a restriction: what the disk refuses is owed to it. The refusal says that it is not durable yet.
  Answer<void> keep_here(RegistryStore::Batch& batch);
  // Lines of the audit log carry the time of the shared registry, where there is one: machines' clocks disagree.
  void set_time(std::int64_t now_us) { now_us_ = now_us; }
  std::int64_t time_us() const { return now_us_; }
  void saw_audit(std::int64_t at_us) { last_audit_us_ = std::max(last_audit_us_, at_us); }
  // Ids of chains that nobody else gives out.
  void reserve_chains(std::uint64_t first, std::uint64_t count);
  std::uint64_t chains_left() const { return chains_end_ - meta_.next_chain; }

  // A change gets its revision and a place in the commit that follows.
  void note(Change::Kind kind, const Digest& id, std::uint8_t status);
  // A line for the audit log, written with the commit that follows.
  void audit(const Actor& by, std::string_view action, std::string target, std::string_view before,
             std::string_view after);
  // Writes the batch and what was noted, and logs the changes once they are written. After a failure none of them
  // happened, and their revisions are given out again; chains stay for the next commit.
  // Refused, too, while something is owed: the batch was filled from rows that do not know of it.
  // Where the disk does not answer, the change has not happened either, though the disk may still write it: `undo` is
  // owed then, and takes it back before anything else is written. Without one it does no harm.
  Answer<void> commit(RegistryStore::Batch& batch, Durable durable, const Undo& undo = {});
  // The same for what takes something away, and is in force whatever the disk says. Refused by the disk, or not
  // answered within a second, it is owed and happened all the same; beyond kMostOwed it is not kept, and the operator
  // has to say it again.
  Answer<void> commit_restriction(RegistryStore::Batch& batch);
  // Writes what is owed, as far as the disk takes it. To be called before a batch is filled.
  void settle();
  bool owes() const { return !owed_.empty(); }
  // The disk has not answered: to ask settle() again costs nothing.
  bool stalled() const { return writer_.writing(); }
  // The disk may say something that did not happen: until it is taken back, what is stored proves nothing.
  bool in_doubt() const { return in_doubt_ > 0; }
  // Something was not kept: whoever asked for it has to ask again.
  bool forgot() const { return forgot_; }
  const Refusal& owed_why() const { return owed_why_; }
  // One synced commit of a setting: what `fill` puts in the batch, with its line.
  Answer<void> set(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                   std::string_view after, const std::function<void(RegistryStore::Batch&)>& fill, const Undo& undo);
  // The same as a restriction.
  Answer<void> take_away(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                         std::string_view after, const std::function<void(RegistryStore::Batch&)>& fill);

  std::uint64_t revision() const { return meta_.revision; }
  // 0: with a shared registry, where none is reserved.
  std::uint64_t next_chain() const { return shared() && chains_left() == 0 ? 0 : meta_.next_chain; }
  // The row of chain next_chain(), which every commit takes along until one succeeds.
  void add_chain(ChainRow row);
  // Those that no commit has taken yet.
  std::map<std::uint64_t, ChainRow>& unsaved_chains() { return unsaved_chains_; }

  CommitFigures figures() const;  // any thread

  static constexpr std::size_t kMostOwed = 64 << 20;  // bytes

 private:
  struct Owed {
    enum class What : std::uint8_t { Restriction, InDoubt, Undo };
    What what;
    RegistryStore::Batch batch;  // the writer has it while stalled()
    std::vector<Change> changes;
    Durable durable;
    std::size_t bytes;
  };

  // Puts what was noted into the batch; the changes are logged once they are written.
  std::vector<Change> complete(RegistryStore::Batch& batch);
  // None: the disk does not answer, and the writer keeps the batch.
  std::optional<Answer<void>> write(RegistryStore::Batch& batch, const std::vector<Change>& changes, Durable durable,
                                    const StoreWriter::Patience& patience);
  // What follows from the disk's answer to it.
  void take_down(const Answer<void>& written, const std::vector<Change>& changes);
  void owe(Owed::What what, RegistryStore::Batch batch, std::vector<Change> changes, Durable durable,
           std::size_t bytes);
  void owe_undo(const Undo& undo, const AuditRecord& of);
  void has_stalled();
  void say(const Change& change);
  void look_at_mark();
  Answer<void> commit_shared(RegistryStore::Batch& batch, Durable durable);
  void write_or_owe(RegistryStore::Batch& batch, std::vector<Change> changes, Durable durable);

  RegistryStore& store_;
  Logger& log_;
  const std::function<bool()> somebody_waits_;
  StoreWriter writer_;
  std::chrono::steady_clock::time_point begun_{};  // the write that was asked for last
  MetaRow meta_;
  SystemOfRecord* record_ = nullptr;
  std::uint64_t chains_end_ = 0;  // with a shared registry: behind the last id that is reserved
  std::int64_t now_us_ = 0;       // 0: this machine's clock
  std::vector<Change> noted_;
  std::vector<AuditRecord> audits_;
  std::vector<AuditRecord> lines_;  // of the last batch that was completed
  std::int64_t last_audit_us_ = 0;
  std::map<std::uint64_t, ChainRow> unsaved_chains_;
  std::string mark_trouble_;  // the store's, as it was logged last
  std::deque<Owed> owed_;     // the oldest first
  std::size_t owed_bytes_ = 0;
  std::size_t in_doubt_ = 0;  // of them, what is no restriction
  bool forgot_ = false;
  Refusal owed_why_;

  mutable std::mutex mutex_;
  CommitFigures figures_;
};

}  // namespace sallyport
