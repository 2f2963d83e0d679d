#include "cache/registry/ledger.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "cache/registry/registrar.h"

namespace sallyport {

namespace {

// For a change that nobody waits behind.
constexpr std::chrono::milliseconds kLongestWait{10'000};

// What the log says of it; "-" where a change is of nothing that has a status.
std::string_view status_name(const Change& change) {
  switch (change.kind) {
    case Change::Kind::DeviceRegistered:
    case Change::Kind::DeviceMoved:
    case Change::Kind::DeviceStatusSet: return to_string(static_cast<DeviceStatus>(change.status));
    case Change::Kind::CaRegistered:
    case Change::Kind::CaStatusSet: return to_string(static_cast<CaStatus>(change.status));
    default: return "";
  }
}

}  // namespace

Ledger::Ledger(RegistryStore& store, Logger& log, std::function<bool()> somebody_waits)
    : store_(store), log_(log), somebody_waits_(std::move(somebody_waits)), writer_(store) {
  figures_.seconds_buckets.assign(std::size(kCommitBuckets) + 1, 0);
}

Answer<void> Ledger::warm() {
  const auto meta = store_.meta();
  if (!meta) return meta.error();
  meta_ = *meta;
  chains_end_ = meta_.next_chain;
  const std::lock_guard lock(mutex_);
  figures_.revision = meta_.revision;
  return {};
}

void Ledger::note(Change::Kind kind, const Digest& id, std::uint8_t status) {
  noted_.push_back({kind, ++meta_.revision, id, status});
}

void Ledger::audit(const Actor& by, std::string_view action, std::string target, std::string_view before,
                   std::string_view after) {
  audits_.push_back({0, 0, by, std::string(action), std::move(target), std::string(before), std::string(after)});
}

void Ledger::add_chain(ChainRow row) {
  unsaved_chains_[meta_.next_chain++] = std::move(row);
}

std::vector<Change> Ledger::complete(RegistryStore::Batch& batch) {
  std::vector<Change> changes = std::exchange(noted_, {});
  lines_.clear();
  for (AuditRecord& line : std::exchange(audits_, {})) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto here_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    const auto now_us = now_us_ != 0 ? now_us_ : here_us;
    line.at_us = last_audit_us_ = std::max<std::int64_t>(now_us, last_audit_us_ + 1);
    line.revision = meta_.revision;
    store_.put_audit(batch, line);
    lines_.push_back(std::move(line));
  }
  for (const auto& [id, row] : unsaved_chains_) store_.put_chain(batch, id, row);
  if (!unsaved_chains_.empty() || !changes.empty()) store_.put_meta(batch, meta_);
  return changes;
}

std::optional<Answer<void>> Ledger::write(RegistryStore::Batch& batch, const std::vector<Change>& changes,
                                          Durable durable, const StoreWriter::Patience& patience) {
  begun_ = std::chrono::steady_clock::now();
  auto written = writer_.write(std::move(batch), durable, patience);
  if (!written) {
    has_stalled();
    return std::nullopt;
  }
  batch = std::move(written->batch);
  take_down(written->answer, changes);
  return written->answer;
}

void Ledger::has_stalled() {
  owed_why_ = {Refusal::Kind::Unavailable, "the registry cannot be written: the disk does not answer"};
  {
    const std::lock_guard lock(mutex_);
    figures_.stalled = true;
  }
  log_.error("store-stalled", {{"why", "the disk has not answered a write for " +
                                           std::to_string(StoreWriter::kPatience.count()) + " ms or more"},
                               {"means",
                                "restrictions are in force and not durable, other changes are refused, and "
                                "new devices are not registered"}});
}

void Ledger::take_down(const Answer<void>& written, const std::vector<Change>& changes) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  const std::lock_guard lock(mutex_);
  if (std::exchange(figures_.stalled, false))
    log_.info("store-answers", {{"after_ms", static_cast<std::int64_t>(seconds * 1000)}});
  if (!written) {
    ++figures_.store_errors;
    return;
  }
  look_at_mark();
  for (const Change& change : changes) {
    say(change);
    figures_.revision = std::max(figures_.revision, change.revision);
  }
  ++figures_.commits;
  figures_.seconds_sum += seconds;
  const auto bucket = std::lower_bound(std::begin(kCommitBuckets), std::end(kCommitBuckets), seconds);
  ++figures_.seconds_buckets[static_cast<std::size_t>(bucket - std::begin(kCommitBuckets))];
}

// Devices register by themselves, by the thousand; what an operator does is rare and is shown.
void Ledger::say(const Change& change) {
  const bool by_itself = change.kind == Change::Kind::DeviceRegistered || change.kind == Change::Kind::DeviceMoved;
  const Level level = by_itself ? Level::Debug : Level::Info;
  if (!log_.wants(level) && !log_.watched()) return;
  const std::string_view event = to_string(change.kind);
  if (change.kind == Change::Kind::SettingChanged) {
    // It has no id: its line of the audit log has the words, where it is alone in its batch.
    const AuditRecord line =
        lines_.size() == 1 && lines_.front().revision == change.revision ? lines_.front() : AuditRecord{};
    return log_.write(level, event,
                      {{"revision", change.revision},
                       {"action", line.action},
                       {"target", line.target},
                       {"before", line.before},
                       {"after", line.after},
                       {"who", line.by.who},
                       {"from", line.by.from}});
  }
  const std::string id = to_hex(change.id);
  const std::string_view status = status_name(change);
  if (status.empty()) return log_.write(level, event, {{"revision", change.revision}, {"id", id}});
  const std::initializer_list<Field> fields = {{"revision", change.revision}, {"id", id}, {"status", status}};
  log_.write(level, event, fields);
  if (by_itself) log_.tell(event, fields);  // whoever watches asked for each of them
}

void Ledger::look_at_mark() {
  const std::string& trouble = store_.mark_trouble();
  if (trouble == mark_trouble_) return;
  mark_trouble_ = trouble;
  if (trouble.empty()) return;
  log_.error("revision-mark",
             {{"why", trouble}, {"means", "changes are durable; a start would not notice if the disk lost them"}});
}

void Ledger::reserve_chains(std::uint64_t first, std::uint64_t count) {
  meta_.next_chain = first;
  chains_end_ = first + count;
}

// Everything of one commit has one revision over there, the last of its changes'.
Answer<void> Ledger::commit_shared(RegistryStore::Batch& batch, Durable durable) {
  std::vector<Change> changes = complete(batch);
  const std::uint64_t before = meta_.revision - changes.size();
  const auto refuse = [&](Refusal why) {
    meta_.revision = before;
    return why;
  };
  if (owed_bytes_ + batch.bytes() > kMostOwed) return refuse(owed_why_);
  auto entries = store_.shared_entries(batch);
  if (!entries) return refuse(entries.error());
  if (record_->complete(batch, *entries)) entries = store_.shared_entries(batch);
  if (!entries) return refuse(entries.error());
  if (changes.empty()) ++meta_.revision;
  const auto taken = record_->write(meta_.revision, *entries);
  if (!taken) return refuse(taken.error());
  unsaved_chains_.clear();
  store_.put_meta(batch, meta_);
  store_.put_position(batch, *taken);
  write_or_owe(batch, std::move(changes), durable);
  const std::lock_guard lock(mutex_);
  figures_.revision = meta_.revision;
  return {};
}

void Ledger::write_or_owe(RegistryStore::Batch& batch, std::vector<Change> changes, Durable durable) {
  const std::size_t bytes = batch.bytes();
  if (!owes()) {
    const auto written = write(batch, changes, durable, [](std::chrono::milliseconds) { return false; });
    if (written && *written) return;
    if (written) owed_why_ = written->error();
    log_.error("owed-to-disk", {{"what", "in force; the disk here does not take it yet"}, {"why", owed_why_.what}});
    return owe(Owed::What::Restriction, written ? std::move(batch) : RegistryStore::Batch(), std::move(changes),
               durable, bytes);
  }
  owe(Owed::What::Restriction, std::move(batch), std::move(changes), durable, bytes);
}

Answer<void> Ledger::adopt(RegistryStore::Batch& batch, const std::optional<SharedPosition>& position) {
  if (owed_bytes_ + batch.bytes() > kMostOwed) return owed_why_;
  if (position) {
    meta_.revision = position->revision;
    store_.put_meta(batch, meta_);
    store_.put_position(batch, *position);
  }
  write_or_owe(batch, {}, Durable::Synced);
  const std::lock_guard lock(mutex_);
  figures_.revision = meta_.revision;
  return {};
}

Answer<void> Ledger::commit_here(RegistryStore::Batch& batch) {
  if (owes()) return owed_why_;
  const std::size_t bytes = batch.bytes();
  const auto written = write(batch, {}, Durable::Synced, [this](std::chrono::milliseconds waited) {
    return waited < kLongestWait && !somebody_waits_();
  });
  if (written) return *written;
  // It may still be written, which does no harm: it is of this node, and looked at again.
  owe(Owed::What::Restriction, {}, {}, Durable::Synced, bytes);
  return owed_why_;
}

Answer<void> Ledger::keep_here(RegistryStore::Batch& batch) {
  if (owed_bytes_ + batch.bytes() > kMostOwed) {
    forgot_ = true;
    return owed_why_;
  }
  write_or_owe(batch, {}, Durable::Synced);
  return owes() ? Answer<void>(owed_why_) : Answer<void>();
}

Answer<void> Ledger::commit(RegistryStore::Batch& batch, Durable durable, const Undo& undo) {
  if (shared()) {
    if (!owes()) return commit_shared(batch, durable);
    meta_.revision -= noted_.size();
    noted_.clear();
    audits_.clear();
    return owed_why_;
  }
  const AuditRecord line = audits_.empty() ? AuditRecord{} : audits_.front();
  std::vector<Change> changes = complete(batch);
  if (owes()) {
    meta_.revision -= changes.size();
    return owed_why_;
  }
  const std::size_t bytes = batch.bytes();
  const auto written = write(batch, changes, durable, [this](std::chrono::milliseconds waited) {
    return waited < kLongestWait && !somebody_waits_();
  });
  if (!written) {
    owe(Owed::What::InDoubt, {}, std::move(changes), durable, bytes);
    if (undo) owe_undo(undo, line);
    return Refusal{Refusal::Kind::Unavailable,
                   "not in force: the disk does not answer. If it still writes this, it is "
                   "taken back at once; a restart before that may find it done"};
  }
  if (*written) {
    unsaved_chains_.clear();
  } else {
    meta_.revision -= changes.size();
  }
  return *written;
}

Answer<void> Ledger::commit_restriction(RegistryStore::Batch& batch) {
  if (shared()) return commit_shared(batch, Durable::Answered);
  std::vector<Change> changes = complete(batch);
  const std::size_t bytes = batch.bytes();
  if (!owes()) {
    const auto written = write(batch, changes, Durable::Answered, [](std::chrono::milliseconds) { return false; });
    if (!written) {
      owe(Owed::What::Restriction, {}, std::move(changes), Durable::Answered, bytes);
      return owed_why_;
    }
    if (*written) {
      unsaved_chains_.clear();
      return {};
    }
    owed_why_ = written->error();
  }
  if (owed_bytes_ + bytes > kMostOwed) {
    meta_.revision -= changes.size();
    forgot_ = true;
    return owed_why_;
  }
  owe(Owed::What::Restriction, std::move(batch), std::move(changes), Durable::Answered, bytes);
  return owed_why_;
}

void Ledger::owe(Owed::What what, RegistryStore::Batch batch, std::vector<Change> changes, Durable durable,
                 std::size_t bytes) {
  owed_bytes_ += bytes;
  if (what != Owed::What::Restriction) ++in_doubt_;
  {
    const std::lock_guard lock(mutex_);
    figures_.owes = true;
    if (what == Owed::What::Restriction) figures_.not_durable += changes.size();
  }
  owed_.push_back({what, std::move(batch), std::move(changes), durable, bytes});
}

// A revision of its own: the one that may be on disk is not given out again.
void Ledger::owe_undo(const Undo& undo, const AuditRecord& of) {
  RegistryStore::Batch batch;
  undo(batch);
  note(Change::Kind::SettingChanged, Digest{}, 0);
  if (!of.action.empty()) audit({"sallyport", "-"}, "undo", of.target, of.action, "the disk did not answer in time");
  std::vector<Change> changes = complete(batch);
  const std::size_t bytes = batch.bytes();
  owe(Owed::What::Undo, std::move(batch), std::move(changes), Durable::Answered, bytes);
}

void Ledger::settle() {
  std::size_t settled = 0;
  while (owes()) {
    Owed& first = owed_.front();
    std::optional<Answer<void>> written;
    if (writer_.writing()) {
      if (auto answered = writer_.answered()) {
        first.batch = std::move(answered->batch);
        take_down(answered->answer, first.changes);
        written = std::move(answered->answer);
      }
    } else {
      written = write(first.batch, first.changes, first.durable, [](std::chrono::milliseconds) { return false; });
    }
    if (!written) break;
    // What the disk refused in the end has not happened: its undo changes nothing.
    if (!*written && first.what != Owed::What::InDoubt) {
      owed_why_ = written->error();
      break;
    }
    owed_bytes_ -= first.bytes;
    if (first.what != Owed::What::Restriction) --in_doubt_;
    const std::lock_guard lock(mutex_);
    if (first.what == Owed::What::Restriction) {
      ++settled;
      figures_.not_durable -= first.changes.size();
    }
    owed_.pop_front();
    figures_.owes = owes();
  }
  if (settled > 0) log_.info("durable-now", {{"batches", settled}, {"waiting", owed_.size()}});
}

Answer<void> Ledger::set(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                         std::string_view after, const std::function<void(RegistryStore::Batch&)>& fill,
                         const Undo& undo) {
  RegistryStore::Batch batch;
  fill(batch);
  note(Change::Kind::SettingChanged, Digest{}, 0);
  audit(by, action, target, before, after);
  return commit(batch, Durable::Answered, undo);
}

Answer<void> Ledger::take_away(const Actor& by, std::string_view action, const std::string& target,
                               std::string_view before, std::string_view after,
                               const std::function<void(RegistryStore::Batch&)>& fill) {
  RegistryStore::Batch batch;
  fill(batch);
  note(Change::Kind::SettingChanged, Digest{}, 0);
  audit(by, action, target, before, after);
  return commit_restriction(batch);
}

CommitFigures Ledger::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

}  // namespace sallyport
