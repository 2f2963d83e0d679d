// What the nodes of a shared registry have in common so that a device resumes at any of them: epochs (StatusCache), and
// the keys of TLS tickets. Every commit that takes somebody's standing away raises the epoch in the same transaction,
// and each row that lost says in which: so a node that only sees the device after it has regained its standing knows,
// too, that older tickets are worth nothing. On the registrar's thread.
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "cache/registry/registrar_impl.h"
#include "cache/registry/registry_records.h"

namespace sallyport {

namespace {

constexpr std::string_view kDropped = "ticket-keys:";  // in the outbox
constexpr std::int64_t kLeadSeconds = 10;              // in which a new key reaches every node before it is used

}  // namespace

void Registrar::Impl::tell_settings() {
  ++settings_changed_;
  if (settings_fd_ >= 0) ::eventfd_write(settings_fd_, 1);
}

void Registrar::Impl::take_epochs(const SharedEpochs& epochs) {
  if (!epochs_) {
    store_.share_epochs();
    cache_.share_epochs(0);
    epochs_shared_ = true;
    tell_settings();
  }
  cache_.committed(epochs.epoch);
  cache_.forgotten_in(epochs.of_new);
  if (!epochs_ || epochs.of_chains > epochs_->of_chains) chains_.end_epoch_of_all(epochs.of_chains);
  epochs_ = epochs;
}

// What others committed has lost what it says, and what they said with it is in force with it.
bool Registrar::Impl::complete(RegistryStore::Batch& batch, std::span<const SharedEntry> entries) {
  mark_losses();
  cache_.raise_epoch();  // what the commit before lost is in force
  losing_.clear();
  coming_.reset();
  if (!epochs_) return false;
  const std::uint32_t epoch = std::min(cache_.committed() + 1, StatusCache::kLastEpoch);
  const StatusCache::Losses here = cache_.losses();
  bool lost = here.any, chains = here.of_chains, to_come = here.for_all_to_come;
  for (const SharedEntry& entry : entries) {
    if (entry.family == SharedFamily::Ca) {
      CaRow row;
      chains = chains || !entry.value || !records::decode(*entry.value, row) || row.status != CaStatus::Active;
    } else if (entry.family == SharedFamily::Chain) {
      ChainRow row;
      if (entry.value && records::decode(*entry.value, row) && !row.forgotten) continue;
      chains = to_come = true;
    } else if (entry.family == SharedFamily::Device) {
      DeviceRow row;
      const auto id = digest_of(entry.key);
      if (!id || !entry.value || !records::decode(*entry.value, row)) {
        to_come = true;
      } else if (row.status == DeviceStatus::Inactive || row.status == DeviceStatus::Revoked) {
        // Also where it was lost before, here alone: it is lost for the others now.
        lost = true;
        row.epoch = epoch;
        store_.put_device(batch, *id, row);
        losing_.push_back(cache_.key(row.name, *id));
      } else {
        lost = lost || row.epoch > cache_.committed();
      }
    }
  }
  if (!lost && !chains && !to_come) return false;
  coming_ = *epochs_;
  coming_->epoch = epoch;
  if (chains) coming_->of_chains = epoch;
  if (to_come) coming_->of_new = epoch;
  store_.put_epochs(batch, *coming_);
  return true;
}

void Registrar::Impl::epochs_committed() {
  if (!coming_) return;
  epochs_ = *std::exchange(coming_, std::nullopt);
  losing_in_ = epochs_->epoch;
  cache_.committed(epochs_->epoch);
  cache_.forgotten_in(epochs_->of_new);
  cache_.losses_written();
  mark_losses();
}

// Before the rows are in force, and once more behind it, when those that are new have a slot.
void Registrar::Impl::mark_losses() {
  if (!epochs_ || coming_) return;
  for (const DeviceKey& key : losing_) cache_.lost_in(key, losing_in_);
}

// What was lost here alone, by a date or a clock, is said to the others, and tickets of this node are worth something
// again.
void Registrar::Impl::settle_losses() {
  if (!epochs_ || !cache_.losses().any || snapshot_) return;
  if (!begin_turn()) return;
  RegistryStore::Batch batch;
  const auto written = ledger_.commit_restriction(batch);
  end_turn();
  if (!written) return log_.warn("epoch", {{"what", "not raised"}, {"why", written.error().what}});
  cache_.raise_epoch();
}

// Keys that are to go and are still there count for nobody here.
Answer<std::vector<TicketKeyRow>> Registrar::Impl::ticket_keys() const {
  auto rows = store_.ticket_keys();
  if (!rows) return rows;
  const std::uint32_t below = drop_below_;
  std::erase_if(*rows, [&](const TicketKeyRow& row) { return row.epoch < below; });
  return rows;
}

Answer<bool> Registrar::Impl::rotate_ticket_keys(const TicketRotation& rotation) {
  if (!epochs_) return Refusal{Refusal::Kind::Conflict, "run `sallyport registry migrate`"};
  const auto rows = ticket_keys();
  if (!rows) return rows.error();
  const std::int64_t now = ledger_.time_us() / 1'000'000;
  if (!rows->empty() && now - rows->front().made_at < rotation.every) return false;  // another node was here
  auto made = rotation.make(rows->empty() ? now : now + kLeadSeconds);
  if (!made) return made.error();
  made->epoch = cache_.committed();
  RegistryStore::Batch batch;
  for (const TicketKeyRow& row : *rows) {
    if (now - row.made_at >= rotation.keep) store_.remove_ticket_key(batch, row);
  }
  store_.put_ticket_key(batch, *made);
  if (auto written = ledger_.commit(batch, Durable::Answered); !written) return written.error();
  tell_settings();
  return true;
}

// In force here first, whatever PostgreSQL says; and not undone by what it still has.
Answer<void> Registrar::Impl::drop_ticket_keys(const Actor& by) {
  owe_drop(UINT32_MAX, by);
  const auto turn = begin_turn();
  const auto written = turn ? write_drop() : turn;
  end_turn();
  if (written) return {};
  return Refusal{
      Refusal::Kind::Unavailable,
      "done on this node; the others do it as soon as the shared registry can be changed, which it cannot now: " +
          follower_->state().why};
}

void Registrar::Impl::owe_drop(std::uint32_t below, const Actor& by) {
  drop_by_ = by;
  drop_below_ = std::max(drop_below_.load(), below);
  RegistryStore::Batch batch;
  store_.put_outbox(batch, kDropped, std::to_string(drop_below_) + '\n' + by.who + '\n' + by.from);
  if (const auto kept = ledger_.keep_here(batch); !kept) {
    log_.error("ticket-keys", {{"what", "that they are dropped is in memory alone"}, {"why", kept.error().what}});
  }
  tell_settings();
}

Answer<void> Registrar::Impl::read_owed_drop() {
  return store_.each_outbox(kDropped, [&](std::string_view, std::string_view value) {
    const auto first = value.find('\n'), second = value.find('\n', first + 1);
    const bool whole = first != std::string_view::npos && second != std::string_view::npos;
    drop_below_ =
        whole ? static_cast<std::uint32_t>(std::strtoul(std::string(value).c_str(), nullptr, 10)) : UINT32_MAX;
    if (whole)
      drop_by_ = {std::string(value.substr(first + 1, second - first - 1)), std::string(value.substr(second + 1))};
    return true;
  });
}

// Within a turn.
Answer<void> Registrar::Impl::write_drop() {
  const auto rows = store_.ticket_keys();
  if (!rows) return rows.error();
  RegistryStore::Batch batch;
  for (const TicketKeyRow& row : *rows) {
    if (row.epoch < drop_below_) store_.remove_ticket_key(batch, row);
  }
  store_.remove_outbox(batch, kDropped);
  ledger_.note(Change::Kind::SettingChanged, Digest{}, 0);
  ledger_.audit(drop_by_, "ticket-keys.rotate", "-", "", "rotated");
  if (auto written = ledger_.commit_restriction(batch); !written) return written;
  drop_below_ = 0;
  tell_settings();
  return {};
}

void Registrar::Impl::settle_drop() {
  if (drop_below_ == 0 || snapshot_ || !begin_turn()) return;
  const auto written = write_drop();
  end_turn();
  if (!written) log_.warn("ticket-keys", {{"what", "not dropped everywhere yet"}, {"why", written.error().what}});
}

bool Registrar::shares_epochs() const {
  return impl_->epochs_shared_;
}
int Registrar::settings_fd() const {
  return impl_->settings_fd_;
}
Answer<std::vector<TicketKeyRow>> Registrar::ticket_keys() const {
  return impl_->ticket_keys();
}
Answer<bool> Registrar::rotate_ticket_keys(const TicketRotation& rotation) {
  return impl_->call<bool>([&] { return impl_->rotate_ticket_keys(rotation); });
}
Answer<void> Registrar::drop_ticket_keys(const Actor& by) {
  return impl_->call<void>([&] { return impl_->drop_ticket_keys(by); }, Impl::Turn::Urgent);
}

}  // namespace sallyport
