#include "cache/registry/ledger.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "cache/registry/registrar.h"

namespace sallyport {

namespace {

// What the log says of it; "-" where a change is of nothing that has a status.
std::string_view status_name(const Change& change) {
  switch (change.kind) {
    case Change::Kind::DeviceRegistered:
    case Change::Kind::DeviceMoved:
    case Change::Kind::DeviceStatusSet: return to_string(static_cast<DeviceStatus>(change.status));
    case Change::Kind::CaRegistered:
    case Change::Kind::CaStatusSet: return to_string(static_cast<CaStatus>(change.status));
    default: return "-";
  }
}

}  // namespace

Ledger::Ledger(RegistryStore& store, Logger& log) : store_(store), log_(log) {
  figures_.seconds_buckets.assign(std::size(kCommitBuckets) + 1, 0);
}

Answer<void> Ledger::warm() {
  const auto meta = store_.meta();
  if (!meta) return meta.error();
  meta_ = *meta;
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
  for (AuditRecord& line : std::exchange(audits_, {})) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    line.at_us = last_audit_us_ = std::max<std::int64_t>(now_us, last_audit_us_ + 1);
    line.revision = meta_.revision;
    store_.put_audit(batch, line);
  }
  for (const auto& [id, row] : unsaved_chains_) store_.put_chain(batch, id, row);
  if (!unsaved_chains_.empty() || !changes.empty()) store_.put_meta(batch, meta_);
  return changes;
}

Answer<void> Ledger::write(RegistryStore::Batch& batch, const std::vector<Change>& changes, Durable durable) {
  const auto begun = std::chrono::steady_clock::now();
  auto written = store_.commit(batch, durable);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  const std::lock_guard lock(mutex_);
  if (!written) {
    ++figures_.store_errors;
    return written;
  }
  look_at_mark();
  for (const Change& change : changes) {
    // Devices register by themselves, by the thousand; what an operator does is rare and is shown.
    const bool by_itself = change.kind == Change::Kind::DeviceRegistered || change.kind == Change::Kind::DeviceMoved;
    log_.write(by_itself ? Level::Debug : Level::Info, to_string(change.kind),
               {{"revision", change.revision}, {"id", to_hex(change.id)}, {"status", status_name(change)}});
    figures_.revision = std::max(figures_.revision, change.revision);
  }
  ++figures_.commits;
  figures_.seconds_sum += seconds;
  const auto bucket = std::lower_bound(std::begin(kCommitBuckets), std::end(kCommitBuckets), seconds);
  ++figures_.seconds_buckets[static_cast<std::size_t>(bucket - std::begin(kCommitBuckets))];
  return written;
}

void Ledger::look_at_mark() {
  const std::string& trouble = store_.mark_trouble();
  if (trouble == mark_trouble_) return;
  mark_trouble_ = trouble;
  if (trouble.empty()) return;
  log_.error("revision-mark",
             {{"why", trouble}, {"means", "changes are durable; a start would not notice if the disk lost them"}});
}

Answer<void> Ledger::commit(RegistryStore::Batch& batch, Durable durable) {
  const std::vector<Change> changes = complete(batch);
  auto written = owes() ? Answer<void>(owed_why_) : write(batch, changes, durable);
  if (written) {
    unsaved_chains_.clear();
  } else {
    meta_.revision -= changes.size();
  }
  return written;
}

Answer<void> Ledger::commit_restriction(RegistryStore::Batch& batch) {
  std::vector<Change> changes = complete(batch);
  if (!owes()) {
    auto written = write(batch, changes, Durable::Answered);
    if (written) {
      unsaved_chains_.clear();
      return written;
    }
    owed_why_ = written.error();
  }
  if (owed_bytes_ + batch.bytes() > kMostOwed) {
    meta_.revision -= changes.size();
    forgot_ = true;
    return owed_why_;
  }
  owed_bytes_ += batch.bytes();
  owed_.push_back({std::move(batch), std::move(changes)});
  return owed_why_;
}

void Ledger::settle() {
  std::size_t settled = 0;
  while (owes()) {
    Owed& first = owed_.front();
    if (const auto written = write(first.batch, first.changes, Durable::Answered); !written) {
      owed_why_ = written.error();
      break;
    }
    owed_bytes_ -= first.batch.bytes();
    owed_.pop_front();
    ++settled;
  }
  if (settled > 0) log_.info("durable-now", {{"batches", settled}, {"waiting", owed_.size()}});
}

Answer<void> Ledger::set(const Actor& by, std::string_view action, const std::string& target, std::string_view before,
                         std::string_view after, const std::function<void(RegistryStore::Batch&)>& fill) {
  RegistryStore::Batch batch;
  fill(batch);
  note(Change::Kind::SettingChanged, Digest{}, 0);
  audit(by, action, target, before, after);
  return commit(batch, Durable::Answered);
}

Answer<void> Ledger::take_away(const Actor& by, std::string_view action, const std::string& target,
                               std::string_view before, const std::function<void(RegistryStore::Batch&)>& fill) {
  RegistryStore::Batch batch;
  fill(batch);
  note(Change::Kind::SettingChanged, Digest{}, 0);
  audit(by, action, target, before, "");
  return commit_restriction(batch);
}

CommitFigures Ledger::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

}  // namespace sallyport
