// What operators do to devices, on the registrar's thread: their status, forgetting them, registering them before they
// come, and the rows that a deleted CA left behind.
#include <openssl/x509.h>

#include <algorithm>
#include <set>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::size_t kPurgeRows = 1024;  // in one commit: a deactivation may be waiting behind it

Refusal no_device(const Digest& id) {
  return {Refusal::Kind::NotFound, "no device has the id " + to_hex(id)};
}

Refusal not_pending() {
  return {Refusal::Kind::Conflict, "this device does not wait for approval"};
}

std::optional<Refusal> refusal_of_status(DeviceStatus now_status, RegisteredBy registered_by, DeviceStatus status) {
  if (now_status == DeviceStatus::Revoked && status != DeviceStatus::Revoked) {
    return Refusal{Refusal::Kind::Conflict, "this device is revoked, which is final: give it a new certificate"};
  }
  if (registered_by == RegisteredBy::Crl && status == DeviceStatus::Active) {
    return Refusal{Refusal::Kind::Conflict,
                   "a CRL put this serial on hold and nobody has shown its certificate: delete the entry instead"};
  }
  return std::nullopt;
}

}  // namespace

DeviceStatus status_after(DeviceAction action) {
  switch (action) {
    case DeviceAction::Activate:
    case DeviceAction::Approve: return DeviceStatus::Active;
    case DeviceAction::Deactivate: return DeviceStatus::Inactive;
    case DeviceAction::Revoke:
    case DeviceAction::Delete: return DeviceStatus::Revoked;  // deleted: it has none
  }
  return DeviceStatus::Revoked;
}

std::optional<Refusal> refusal_of(DeviceAction action, const DeviceRecord& was, std::int64_t now) {
  if (action == DeviceAction::Approve && was.status != DeviceStatus::Pending) return not_pending();
  if (action != DeviceAction::Delete) return refusal_of_status(was.status, was.registered_by, status_after(action));
  if (was.status == DeviceStatus::Revoked && now <= was.not_after) {
    return Refusal{Refusal::Kind::Conflict,
                   was.registered_by == RegisteredBy::Crl
                       ? "this serial is revoked and must stay so: its certificate's end is not known"
                       : "this device is revoked: it can be forgotten only after its certificate has ended, or it "
                         "would register again"};
  }
  return std::nullopt;
}

std::string_view action_of(DeviceStatus status) {
  if (status == DeviceStatus::Active) return "device.activate";
  return status == DeviceStatus::Revoked ? "device.revoke" : "device.deactivate";
}

Refusal not_durable(const Refusal& why) {
  return {
      Refusal::Kind::Unavailable,
      "in force, NOT durable yet: it is written as soon as the disk takes it, and a restart before that undoes it; " +
          why.what};
}

DeviceStatus Registrar::Impl::status_now(const DeviceKey& key, const DeviceRow& row) const {
  const StatusCache::Visitor visitor(&cache_);  // gone() is asked from any thread
  const auto slot = cache_.find(key);
  return slot ? static_cast<DeviceStatus>(slot->status) : row.status;
}

void Registrar::Impl::put_status(const DeviceKey& key, const DeviceRow& row, const Digest& owner) {
  const auto before = cache_.find(key);
  cache_.put(key, slot_state(row));
  if (before && before->status == static_cast<std::uint8_t>(row.status)) return;
  if (before) count(static_cast<DeviceStatus>(before->status), owner, -1);
  count(row.status, owner, +1);
  if (row.registered_by == RegisteredBy::Crl) {
    if (before) --held_unseen_[owner];  // the only way it can go is to be revoked
    if (row.status == DeviceStatus::Inactive) ++held_unseen_[owner];
  } else if (row.status == DeviceStatus::Revoked) {
    count_expiry(row.not_after, -1);
  }
}

// An older version, which compared names byte for byte, may have registered one serial number of one issuer in several
// spellings of its name. What takes one of them away takes all.
Answer<DeviceRecord> Registrar::Impl::set_device_status(const Digest& id, DeviceStatus status, const Actor& by) {
  auto done = set_one_status(id, status, by);
  if (status == DeviceStatus::Active || status == DeviceStatus::Pending) return done;
  if (!done && done.error().kind == Refusal::Kind::Conflict) return done;  // it is revoked, and not put on hold
  for (const Digest& other : same_serial_as(id)) {
    const auto row = store_.device(other);
    if (!row || !row->has_value()) continue;
    const DeviceStatus now_status = status_now(cache_.key((*row)->name, other), **row);
    if (now_status == DeviceStatus::Revoked || now_status == status) continue;
    if (auto also = set_one_status(other, status, by); !also && done) done = also.error();
  }
  return done;
}

// The other rows of its serial number under the key that signed it; none in a registry that no older version wrote.
std::vector<Digest> Registrar::Impl::same_serial_as(const Digest& id) const {
  const auto row = store_.device(id);
  if (!row || !row->has_value()) return {};
  const DeviceKey key = cache_.key((*row)->name, id);
  bool others = false;
  cache_.each_of_name(key.name,
                      [&](const DeviceKey& slot, SlotState) { others = others || !slot.same_fingerprint(key); });
  const ChainRecord* chain = chains_.record((*row)->chain);
  const auto text =
      others && chain != nullptr ? store_.device_text(id) : Answer<std::optional<DeviceText>>(std::nullopt);
  if (!text || !text->has_value()) return {};
  std::vector<Digest> same;
  const auto read = store_.each_id_of_serial((*text)->serial, "", [&](const Digest& other) {
    const auto found = other == id ? Answer<std::optional<DeviceRow>>(std::nullopt) : store_.device(other);
    if (!found || !found->has_value() || (*found)->name != (*row)->name) return true;
    const ChainRecord* through = chains_.record((*found)->chain);
    if (through != nullptr && through->issuing_key == chain->issuing_key) same.push_back(other);
    return true;
  });
  if (!read) log_.error("serials", {{"device", to_hex(id)}, {"why", read.error().what}});
  return same;
}

// Nothing: it is so already.
Answer<std::optional<Registrar::Impl::StatusChange>> Registrar::Impl::status_change(const Digest& id,
                                                                                    DeviceStatus status) const {
  const auto stored = store_.device(id);
  if (!stored) return stored.error();
  if (!stored->has_value() || gone(id, **stored)) return no_device(id);
  const DeviceRow& row = **stored;
  const DeviceKey key = cache_.key(row.name, id);
  const DeviceStatus now_status = status_now(key, row);
  if (auto refused = refusal_of_status(now_status, row.registered_by, status)) return std::move(*refused);
  const bool proven = status == DeviceStatus::Active || !ledger_.in_doubt();
  if (now_status == status && row.status == status && proven) return std::optional<StatusChange>();
  if (now_status == status && ledger_.owes()) return not_durable(ledger_.owed_why());
  StatusChange change{id, key, row, row, now_status};
  change.after.status = status;
  change.after.epoch = cache_.epoch_with(key, slot_state(change.after));
  return std::optional<StatusChange>(change);
}

Answer<void> Registrar::Impl::set_statuses(std::span<const StatusChange> changes, DeviceStatus status,
                                           const Actor& by) {
  RegistryStore::Batch batch;
  for (const StatusChange& each : changes) {
    store_.put_device(batch, each.id, each.after);
    ledger_.note(Change::Kind::DeviceStatusSet, each.id, static_cast<std::uint8_t>(status));
    // What is held here alone was not so anywhere else.
    const DeviceStatus was = held_.count(each.id) != 0 ? each.before.status : each.was;
    ledger_.audit(by, action_of(status), to_hex(each.id), to_string(was), to_string(status));
  }
  const auto undo = [&](RegistryStore::Batch& back) {
    for (const StatusChange& each : changes) store_.put_device(back, each.id, each.before);
  };
  const auto written = status == DeviceStatus::Active ? ledger_.commit(batch, Durable::Answered, undo)
                                                      : ledger_.commit_restriction(batch);
  if (!written && (status == DeviceStatus::Active || ledger_.shared())) return written.error();
  Notice notice{ledger_.revision(), nullptr, {}};
  for (const StatusChange& each : changes) {
    const ChainRecord* chain = chains_.record(each.after.chain);
    put_status(each.key, each.after, chain != nullptr ? chain->cas.front() : Digest{});
    if (status != DeviceStatus::Active) notice.cuts.push_back({Cut::Scope::Device, each.id, reason_of(status)});
  }
  put_in_force(notice);
  reclaim();
  if (!written) {
    log_.error("in-force-not-durable",
               {{"device", to_hex(changes.front().id)}, {"devices", changes.size()}, {"why", written.error().what}});
    return not_durable(written.error());
  }
  return {};
}

Answer<DeviceRecord> Registrar::Impl::set_one_status(const Digest& id, DeviceStatus status, const Actor& by) {
  const auto change = status_change(id, status);
  if (!change) return change.error();
  if (!change->has_value()) return device(id);
  if (const auto done = set_statuses({&**change, 1}, status, by); !done) return done.error();
  return device(id);
}

Answer<Registrar::Impl::Deletion> Registrar::Impl::deletion(const Digest& id) const {
  const auto stored = store_.device(id);
  if (!stored) return stored.error();
  if (!stored->has_value() || gone(id, **stored)) return no_device(id);
  auto was = record_of(id, **stored);
  if (!was) return was.error();
  if (auto refused = refusal_of(DeviceAction::Delete, *was, unix_now())) return std::move(*refused);
  auto text = store_.device_text(id);
  if (!text) return text.error();
  return Deletion{**stored, std::move(*was), std::move(*text)};
}

Answer<void> Registrar::Impl::forget(std::span<const Deletion> deletions, const Actor& by) {
  RegistryStore::Batch batch;
  for (const auto& [row, was, text] : deletions) {
    store_.remove_device(batch, was.id, was.ca_id, was.serial);
    ledger_.note(Change::Kind::DeviceDeleted, was.id, 0);
    ledger_.audit(by, "device.delete", to_hex(was.id), to_string(was.status), "");
  }
  const auto undo = [&](RegistryStore::Batch& back) {
    for (const auto& [row, was, text] : deletions) {
      store_.put_device(back, was.id, row);
      if (text) store_.put_device_text(back, was.id, was.ca_id, *text);
    }
  };
  if (const auto written = ledger_.commit(batch, Durable::Answered, undo); !written) return written.error();
  Notice notice{ledger_.revision(), nullptr, {}};
  bool listed = false;
  for (const auto& [row, was, text] : deletions) {
    cache_.remove(cache_.key(row.name, was.id));
    count(was.status, was.ca_id, -1);
    notice.cuts.push_back({Cut::Scope::Device, was.id, Reason::NotRegistered});
    if (row.registered_by == RegisteredBy::Crl) {
      if (was.status == DeviceStatus::Inactive) --held_unseen_[was.ca_id];
      listed = true;
    } else if (was.status != DeviceStatus::Revoked) {
      count_expiry(row.not_after, -1);
    }
  }
  if (listed) end_chains_through_listed(notice);  // one may have been an intermediate's serial
  put_in_force(notice);
  reclaim();
  return {};
}

Answer<DeviceRecord> Registrar::Impl::delete_device(const Digest& id, const Actor& by) {
  const auto found = deletion(id);
  if (!found) return found.error();
  if (const auto done = forget({&*found, 1}, by); !done) return done.error();
  return found->was;
}

Answer<std::vector<DeviceChanged>> Registrar::Impl::change_devices(const std::vector<Digest>& ids, DeviceAction action,
                                                                   const Actor& by) {
  std::vector<DeviceChanged> outcome;
  std::vector<StatusChange> changes;
  std::vector<Deletion> deletions;
  std::set<Digest> taken;
  const DeviceStatus status = status_after(action);
  const auto take = [&](const Digest& id) {
    DeviceChanged one{id, false, std::nullopt};
    if (!taken.insert(id).second) return one;
    if (action == DeviceAction::Delete) {
      auto found = deletion(id);
      if (!found) return one.refused = found.error(), one;
      deletions.push_back(std::move(*found));
      return one.changed = true, one;
    }
    const auto found = status_change(id, status);
    if (!found) return one.refused = found.error(), one;
    if (action == DeviceAction::Approve && (!found->has_value() || (*found)->was != DeviceStatus::Pending)) {
      return one.refused = not_pending(), one;
    }
    if (!found->has_value()) return one;
    changes.push_back(**found);
    return one.changed = true, one;
  };
  const bool restricts = status == DeviceStatus::Inactive || status == DeviceStatus::Revoked;
  for (const Digest& id : ids) {
    outcome.push_back(take(id));
    if (!restricts || action == DeviceAction::Delete || outcome.back().refused) continue;
    for (const Digest& other : same_serial_as(id)) (void)take(other);
  }
  Answer<void> done;
  if (!changes.empty()) done = set_statuses(changes, status, by);
  if (!deletions.empty()) done = forget(deletions, by);
  if (!done) return done.error();
  return outcome;
}

Answer<std::vector<Registered>> Registrar::Impl::register_devices(std::vector<Registration> devices, const Actor& by) {
  std::vector<Registered> outcome;
  RegistryStore::Batch batch;
  std::vector<Accepted> accepted;
  const std::int64_t now = unix_now();
  for (Registration& device : devices) {
    device.by = RegisteredBy::Operator;
    Registered one{device.identity.fingerprint};
    const DeviceKey key = cache_.key(device.identity.issuer_serial, device.identity.fingerprint);
    const std::size_t before = accepted.size();
    one.already = registered_slot(cache_, chains_, key).has_value();
    if (!one.already) one.refused = examine(device, batch, accepted, now);
    if (!one.already && one.refused == Reason::None && accepted.size() == before) one.already = true;  // came twice
    outcome.push_back(one);
  }
  for (const Accepted& device : accepted) {
    ledger_.note(Change::Kind::DeviceRegistered, device.id, static_cast<std::uint8_t>(device.row.status));
    if (devices.size() == 1) ledger_.audit(by, "device.register", to_hex(device.id), "", "active");
  }
  if (!batch.empty()) {
    const auto undo = [&](RegistryStore::Batch& back) { unaccept(back, accepted); };
    if (const auto written = ledger_.commit(batch, Durable::Answered, undo); !written) return written.error();
    publish(accepted);
    reclaim();
  }
  return outcome;
}

bool Registrar::Impl::listed_by_its_issuer(const Certificate& ca, const std::vector<Certificate>& beside) const {
  const IssuerSerial name = issuer_serial(ca.issuer_name(), ca.serial());
  const auto listed = [&](const Digest& key_hash, EVP_PKEY* key) {
    return serial_listed(cache_, chains_, name, ca.serial(), key_hash) && ca.signed_by(key);
  };
  const auto cas = cas_now();
  const std::vector<std::size_t>* named = cas->groups_of(ca.issuer_name());
  const bool by_registered = named != nullptr && std::any_of(named->begin(), named->end(), [&](std::size_t group) {
                               return listed(cas->group(group).spki_hash, cas->group(group).key);
                             });
  return by_registered || std::any_of(beside.begin(), beside.end(), [&](const Certificate& issuer) {
           return issuer.subject_name() == ca.issuer_name() &&
                  listed(issuer.spki_hash(), X509_get0_pubkey(issuer.x509()));
         });
}

void Registrar::Impl::end_chains_through_listed(Notice& notice) {
  for (const Digest& owner : book_.refresh_with_intermediates(*cas_now(), unix_now())) {
    notice.cuts.push_back({Cut::Scope::Ca, owner, Reason::CaInactive, true});
  }
}

bool Registrar::Impl::purge_some() {
  if (follower_ && !begin_turn()) return false;  // tried again when there is something else to do
  Purge& purge = purges_.front();
  RegistryStore::Batch batch;
  std::size_t looked_at = 0;
  std::vector<std::pair<DeviceKey, std::int64_t>> gone_keys;
  Answer<void> trouble;
  const auto read = store_.each_id_of_ca(purge.ca, purge.after, [&](const Digest& id) {
    purge.after.assign(id.begin(), id.end());
    const auto row = store_.device(id);
    const auto text = store_.device_text(id);
    if (!row || !text) return trouble = !row ? row.error() : text.error(), false;
    if (!row->has_value()) {
      store_.remove_owner(batch, id, purge.ca);
    } else if (gone(id, **row)) {
      store_.remove_device(batch, id, purge.ca, text->has_value() ? (*text)->serial : "");
      gone_keys.emplace_back(cache_.key((*row)->name, id), (*row)->not_after);
    } else if ((*row)->status != DeviceStatus::Revoked && chains_.forgotten((*row)->chain)) {
      // Revoked while the disk was full: only now does its tombstone become one that stays.
      DeviceRow tombstone = **row;
      tombstone.status = DeviceStatus::Revoked;
      store_.put_device(batch, id, tombstone);
    }
    return ++looked_at < kPurgeRows;
  });
  const bool last = looked_at < kPurgeRows && read && trouble;
  if (last) store_.remove_purge(batch, purge.ca);
  const auto written = batch.empty() ? Answer<void>() : ledger_.commit(batch, Durable::Later);
  end_turn();
  if (!read || !trouble || !written) {
    log_.warn("purge", {{"ca", to_hex(purge.ca)}, {"why", (!read ? read : !trouble ? trouble : written).error().what}});
    purges_.erase(purges_.begin());  // its record stays: the next start goes on
    return false;
  }
  for (const auto& [key, not_after] : gone_keys) {
    if (!cache_.find(key)) continue;  // a start left it out
    cache_.remove(key);
    count_expiry(not_after, -1);
  }
  cache_.raise_epoch();
  if (last) purges_.erase(purges_.begin());
  return true;
}

}  // namespace sallyport
