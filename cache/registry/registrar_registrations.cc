// Devices that register by themselves, on the registrar's thread: each is looked at again as things are NOW, and
// written together with those that came meanwhile. What an operator registers goes the same way.
#include <algorithm>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::size_t kLargestBatch = 4096;

Digest issuing_key(const PathFound& path, const CaSet& cas) {
  const auto owner = cas.find(path.cas.front());
  return issuing_key_of(path.intermediates, owner ? cas.entry(*owner).certificate.spki_hash() : Digest{});
}

}  // namespace

void Registrar::Impl::take_in(Registration registration) {
  const Digest& id = registration.identity.fingerprint;
  if (aside_.count(id) != 0 || !waiting_ids_.insert(id).second) {
    queued_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  waiting_.push_back(std::move(registration));
}

Reason Registrar::Impl::serial_taken(const DeviceKey& key, std::string_view serial, const Digest& issuing_key,
                                     const std::vector<Accepted>& accepted) const {
  const Reason reason = serial_standing(cache_, chains_, key, serial, issuing_key);
  if (reason != Reason::None) return reason;
  for (const Accepted& other : accepted) {
    if (other.key.name == key.name && !other.key.same_fingerprint(key) && other.issuing_key == issuing_key) {
      return Reason::SerialConflict;
    }
  }
  return reason;
}

Reason Registrar::Impl::examine(const Registration& registration, RegistryStore::Batch& batch,
                                std::vector<Accepted>& accepted, std::int64_t now) {
  const Identity& identity = registration.identity;
  const std::shared_ptr<const CaSet> cas = cas_now();
  const DeviceKey key = cache_.key(identity.issuer_serial, identity.fingerprint);
  const auto slot = registered_slot(cache_, chains_, key);
  if (slot) {
    if (slot->status == static_cast<std::uint8_t>(DeviceStatus::Pending) && registration.pending) return Reason::None;
    if (const Reason own = reason_of(static_cast<DeviceStatus>(slot->status)); own != Reason::None) return own;
  }
  const Digest owner = registration.path.cas.front();
  if (const Reason standing = cas->standing_of(owner, now); standing != Reason::None) return standing;
  for (const Certificate& sent : registration.path.intermediates) {
    const Reason between = cas->standing_of_sent(sent.subject_name(), sent.spki_hash(), now);
    if (between != Reason::None) return between;
  }
  const CaEntry& ca = cas->entry(*cas->find(owner));
  const bool by_itself = registration.by == RegisteredBy::Auto;
  if (!slot && !ca.auto_register && by_itself) return Reason::NotRegistered;
  const Digest signed_by = issuing_key(registration.path, *cas);
  if (const Reason taken = serial_taken(key, identity.serial, signed_by, accepted); taken != Reason::None) return taken;
  for (const Accepted& other : accepted) {
    if (other.key.name == key.name && other.key.same_fingerprint(key)) return Reason::None;  // came twice
  }
  if (!slot && options_.max_devices_per_ca != 0) {
    const DeviceCounts counts = cas_.at(owner).devices;
    const auto in_batch = static_cast<std::uint64_t>(
        std::count_if(accepted.begin(), accepted.end(), [&](const Accepted& other) { return other.owner == owner; }));
    if (counts.active + counts.inactive + counts.pending + counts.revoked + in_batch >= options_.max_devices_per_ca) {
      return Reason::NotRegistered;
    }
  }
  const std::uint64_t chain = book_.of_path(registration.path, *cas);
  if (chain == 0) return Reason::None;  // out of chain ids: said loudly there; the device is served unregistered
  if (slot) {
    if (slot->chain == chain) {
      book_.refresh(chain, *cas, now);  // the same chain, through another member of a renewed CA
    } else {
      accept_move(registration, key, *slot, chain, batch, accepted);
    }
    return Reason::None;
  }
  DeviceRow row;
  row.status = by_itself && (registration.pending || ca.approve) ? DeviceStatus::Pending : DeviceStatus::Active;
  row.registered_by = registration.by;
  row.seen_day = by_itself ? unix_day(now) : 0;
  row.chain = chain;
  row.not_before = identity.not_before;
  row.not_after = identity.not_after;
  row.registered_at = now;
  row.name = identity.issuer_serial;
  row.epoch = cache_.epoch_with(key, slot_state(row));
  store_.put_device(batch, identity.fingerprint, row);
  store_.put_device_text(batch, identity.fingerprint, owner,
                         {identity.serial, identity.subject, identity.cns.size() == 1 ? identity.cns.front() : "",
                          identity.key_type, registration.leaf_der});
  accepted.push_back({identity.fingerprint, key, row, owner, signed_by, std::nullopt, identity.serial, {}});
  return Reason::None;
}

void Registrar::Impl::accept_move(const Registration& registration, const DeviceKey& key, const SlotState& slot,
                                  std::uint64_t chain, RegistryStore::Batch& batch, std::vector<Accepted>& accepted) {
  const auto stored = store_.device(registration.identity.fingerprint);
  if (!stored || !stored->has_value()) return;
  DeviceRow row = **stored;
  const ChainRecord* before = chains_.record(slot.chain);
  row.chain = chain;
  row.epoch = chains_.epoch(slot.chain);  // what was lost with it stays lost
  row.epoch = cache_.epoch_with(key, slot_state(row));
  const Digest owner = registration.path.cas.front();
  const Digest owner_before = before != nullptr ? before->cas.front() : owner;
  store_.put_device(batch, registration.identity.fingerprint, row);
  if (owner_before != owner) {
    store_.remove_owner(batch, registration.identity.fingerprint, owner_before);
    store_.put_owner(batch, registration.identity.fingerprint, owner);
  }
  accepted.push_back({registration.identity.fingerprint, key, row, owner, issuing_key(registration.path, *cas_now()),
                      owner_before, registration.identity.serial, **stored});
}

void Registrar::Impl::unaccept(RegistryStore::Batch& batch, const std::vector<Accepted>& accepted) {
  for (const Accepted& device : accepted) {
    if (!device.owner_before) {
      store_.remove_device(batch, device.id, device.owner, device.serial);
      continue;
    }
    store_.put_device(batch, device.id, device.row_before);
    if (*device.owner_before == device.owner) continue;
    store_.remove_owner(batch, device.id, device.owner);
    store_.put_owner(batch, device.id, *device.owner_before);
  }
}

void Registrar::Impl::publish(const std::vector<Accepted>& accepted) {
  for (const Accepted& device : accepted) {
    cache_.put(device.key, slot_state(device.row));
    if (device.owner_before) {
      count(device.row.status, *device.owner_before, -1);
    } else {
      count_expiry(device.row.not_after, +1);
      const std::lock_guard lock(mutex_);
      ++stats_.registered;
      if (const auto ca = cas_.find(device.owner); ca != cas_.end()) ++ca->second.registered_since_start;
    }
    count(device.row.status, device.owner, +1);
  }
}

void Registrar::Impl::commit_registrations() {
  if (follower_ && !begin_turn()) return void(put_aside());
  const std::size_t taken = std::min(waiting_.size(), kLargestBatch);
  RegistryStore::Batch batch;
  std::vector<Accepted> accepted;
  Notice notice;
  const std::int64_t now = unix_now();
  for (std::size_t i = 0; i < taken; ++i) {
    const Reason refused = examine(waiting_[i], batch, accepted, now);
    if (refused != Reason::None) {
      notice.cuts.push_back({Cut::Scope::Device, waiting_[i].identity.fingerprint, refused});
    }
  }
  if (!batch.empty()) {
    for (const Accepted& device : accepted) {
      ledger_.note(device.owner_before ? Change::Kind::DeviceMoved : Change::Kind::DeviceRegistered, device.id,
                   static_cast<std::uint8_t>(device.row.status));
    }
    const auto undo = [&](RegistryStore::Batch& back) { unaccept(back, accepted); };
    if (const auto written = ledger_.commit(batch, Durable::Synced, undo); !written) {
      const bool first = retry_at_ms_ == 0 && aside_.empty();
      retry_at_ms_ = steady_ms() + kRetryMs;
      if (first) log_.error("registrations-wait", {{"why", written.error().what}, {"waiting", waiting_.size()}});
      if (follower_) {
        end_turn();
        return void(put_aside());
      }
      if (stopping_) {  // they register again on their next connection
        waiting_.clear();
        waiting_ids_.clear();
      }
      return;
    }
  }
  if (retry_at_ms_ != 0) log_.info("registrations-go-on");
  end_turn();
  retry_at_ms_ = 0;
  gather_until_ = std::chrono::steady_clock::now() + options_.gather;
  publish(accepted);
  RegistryStore::Batch back;
  for (std::size_t i = 0; i < taken; ++i) {
    const Digest& id = waiting_[i].identity.fingerprint;
    waiting_ids_.erase(id);
    if (aside_.erase(id) != 0) store_.remove_outbox(back, outbox::key(outbox::kDevices, id));
  }
  // Where it fails they are looked at once more after a restart, and found registered.
  if (!back.empty()) (void)ledger_.commit_here(back);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
  if (!notice.cuts.empty()) {
    {
      const std::lock_guard lock(mutex_);
      stats_.refused += notice.cuts.size();
    }
    notice.revision = ledger_.revision();
    put_in_force(notice);
  }
  // Last: who sees an empty queue sees everything that came of it.
  queued_.fetch_sub(taken, std::memory_order_relaxed);
  reclaim();
  if (waiting_.empty() && has_writer_) bring_back();
}

}  // namespace sallyport
