// What operators do to devices, on the registrar's thread: their status, forgetting them, registering them
// before they come, what a CRL says of them, and the rows that a deleted CA left behind.
#include <algorithm>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::size_t kPurgeRows = 1024;  // in one commit: a deactivation may be waiting behind it
constexpr std::size_t kCrlEntries = 4096;

std::string_view name_of(DeviceStatus status) {
  switch (status) {
    case DeviceStatus::Active: return "active";
    case DeviceStatus::Inactive: return "inactive";
    case DeviceStatus::Pending: return "pending";
    case DeviceStatus::Revoked: return "revoked";
  }
  return "?";
}

std::string_view action_of(DeviceStatus status) {
  if (status == DeviceStatus::Active) return "device.activate";
  return status == DeviceStatus::Revoked ? "device.revoke" : "device.deactivate";
}

Refusal no_device(const Digest& id) {
  return {Refusal::Kind::NotFound, "no device has the id " + to_hex(id)};
}

// The id of a serial nobody has shown: no certificate's SHA-256, as nobody can choose one.
Digest unseen_id(const IssuerSerial& name, const Digest& issuing_key) {
  IssuerSerial first{}, second{};
  const std::string key(issuing_key.begin(), issuing_key.end());
  const std::string serial(name.begin(), name.end());
  first = issuer_serial("sallyport unseen 1" + key, serial);
  second = issuer_serial("sallyport unseen 2" + key, serial);
  Digest id{};
  std::copy(first.begin(), first.end(), id.begin());
  std::copy(second.begin(), second.end(), id.begin() + first.size());
  return id;
}

}  // namespace

Refusal not_durable(const Refusal& why) {
  return {Refusal::Kind::Unavailable, "in force, NOT durable: a restart would undo it; " + why.what};
}

DeviceStatus Registrar::Impl::status_now(const DeviceKey& key, const DeviceRow& row) const {
  const StatusCache::Visitor visitor(&cache_);  // gone() is asked from any thread
  const auto slot = cache_.find(key);
  return slot ? static_cast<DeviceStatus>(slot->status) : row.status;
}

void Registrar::Impl::put_status(const DeviceKey& key, const DeviceRow& row, const Digest& owner) {
  const auto before = cache_.find(key);
  cache_.put(key, {static_cast<std::uint32_t>(row.chain), static_cast<std::uint8_t>(row.status),
                   static_cast<std::uint16_t>(row.seen_day)});
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

Answer<DeviceRecord> Registrar::Impl::set_device_status(const Digest& id, DeviceStatus status, const Actor& by) {
  const auto stored = store_.device(id);
  if (!stored) return stored.error();
  if (!stored->has_value() || gone(id, **stored)) return no_device(id);
  DeviceRow row = **stored;
  const DeviceKey key = cache_.key(row.name, id);
  const DeviceStatus now_status = status_now(key, row);
  if (now_status == DeviceStatus::Revoked && status != DeviceStatus::Revoked) {
    return Refusal{Refusal::Kind::Conflict, "this device is revoked, which is final: give it a new certificate"};
  }
  if (row.registered_by == RegisteredBy::Crl && status == DeviceStatus::Active) {
    return Refusal{Refusal::Kind::Conflict,
                   "a CRL put this serial on hold and nobody has shown its certificate: delete the entry instead"};
  }
  if (now_status == status && row.status == status) return device(id);
  row.status = status;
  RegistryStore::Batch batch;
  store_.put_device(batch, id, row);
  note(Change::Kind::DeviceStatusSet, id, static_cast<std::uint8_t>(status));
  audit(by, action_of(status), to_hex(id), std::string(name_of(now_status)), std::string(name_of(status)));
  const auto written = commit(batch, true);
  if (!written && status == DeviceStatus::Active) return written.error();
  const ChainRecord* chain = chains_.record(row.chain);
  put_status(key, row, chain != nullptr ? chain->cas.front() : Digest{});
  Notice notice{meta_.revision, nullptr, {}};
  if (status != DeviceStatus::Active) notice.cuts.push_back({Cut::Scope::Device, id, reason_of(status)});
  sink_.put_in_force(notice);
  reclaim();
  if (!written) {
    log_.error("in-force-not-durable", {{"device", to_hex(id)}, {"why", written.error().what}});
    return not_durable(written.error());
  }
  return device(id);
}

Answer<DeviceRecord> Registrar::Impl::delete_device(const Digest& id, const Actor& by) {
  const auto stored = store_.device(id);
  if (!stored) return stored.error();
  if (!stored->has_value() || gone(id, **stored)) return no_device(id);
  const DeviceRow row = **stored;
  auto was = record_of(id, row);
  if (!was) return was;
  if (was->status == DeviceStatus::Revoked && unix_now() <= row.not_after) {
    return Refusal{Refusal::Kind::Conflict,
                   row.registered_by == RegisteredBy::Crl
                       ? "this serial is revoked and must stay so: its certificate's end is not known"
                       : "this device is revoked: it can be forgotten only after its certificate has ended, or it "
                         "would register again"};
  }
  RegistryStore::Batch batch;
  store_.remove_device(batch, id, was->ca_id, was->serial);
  note(Change::Kind::DeviceDeleted, id, 0);
  audit(by, "device.delete", to_hex(id), std::string(name_of(was->status)), "");
  if (const auto written = commit(batch, true); !written) return written.error();
  cache_.remove(cache_.key(row.name, id));
  count(was->status, was->ca_id, -1);
  Notice notice{meta_.revision, nullptr, {{Cut::Scope::Device, id, Reason::NotRegistered}}};
  if (row.registered_by == RegisteredBy::Crl) {
    if (was->status == DeviceStatus::Inactive) --held_unseen_[was->ca_id];
    refresh_chains_with_intermediates(notice);  // it may have been an intermediate's serial
  } else if (was->status != DeviceStatus::Revoked) {
    count_expiry(row.not_after, -1);
  }
  sink_.put_in_force(notice);
  reclaim();
  return was;
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
    note(Change::Kind::DeviceRegistered, device.id, static_cast<std::uint8_t>(device.row.status));
    audit(by, "device.register", to_hex(device.id), "", "active");
  }
  if (!batch.empty()) {
    if (const auto written = commit(batch, true); !written) return written.error();
    publish(accepted);
    reclaim();
  }
  return outcome;
}

std::uint64_t Registrar::Impl::crl_chain(const CaEntry& ca, const CaSet& cas) {
  const Digest& id = ca.certificate.fingerprint();
  if (const auto known = chain_ids_.find("crl" + std::string(id.begin(), id.end())); known != chain_ids_.end()) {
    return known->second;
  }
  ChainRow row;
  row.cas = {id};
  row.crl = true;
  row.issuer_spki = ca.certificate.spki_hash();
  return new_chain(std::move(row), {}, row.issuer_spki, cas);
}

void Registrar::Impl::revoke_unseen(const CrlEntry& entry, const IssuerSerial& name, std::uint64_t chain,
                                    RegistryStore::Batch& batch, std::vector<Accepted>& accepted) {
  const ChainRecord& record = *chains_.record(chain);
  DeviceRow row;
  row.status = entry.hold ? DeviceStatus::Inactive : DeviceStatus::Revoked;
  row.registered_by = RegisteredBy::Crl;
  row.chain = chain;
  row.not_after = INT64_MAX;  // nobody knows it
  row.registered_at = unix_now();
  row.name = name;
  const Digest id = unseen_id(name, record.issuer_spki);
  const DeviceKey key = cache_.key(name, id);
  if (status_now(key, row) == DeviceStatus::Revoked) row.status = DeviceStatus::Revoked;  // which is final
  store_.put_device(batch, id, row);
  store_.put_device_text(batch, id, record.cas.front(), {entry.serial, "", "", "", ""});
  accepted.push_back({id, key, row, record.cas.front(), record.issuer_spki, std::nullopt});
}

Answer<void> Registrar::Impl::revoke_serials(const Crl& crl, const Digest& ca, std::size_t from, std::size_t to,
                                             CrlOutcome& outcome, const Actor& by) {
  const auto cas = cas_now();
  const auto issuer = cas->find(ca);
  if (!issuer) return Refusal{Refusal::Kind::Conflict, "the CA of this CRL was deleted meanwhile"};
  const std::uint64_t chain = crl_chain(cas->entry(*issuer), *cas);
  if (chain == 0) return Refusal{Refusal::Kind::Unavailable, "no chain id is left for this CRL"};
  const Digest issuing_key = chains_.record(chain)->issuer_spki;
  RegistryStore::Batch batch;
  std::vector<Accepted> changed, unseen;
  std::vector<DeviceStatus> before;
  for (std::size_t i = from; i < to; ++i) {
    const CrlEntry& entry = crl.entries()[i];
    const IssuerSerial name = issuer_serial(crl.issuer_der(), entry.serial);
    const DeviceStatus wanted = entry.hold ? DeviceStatus::Inactive : DeviceStatus::Revoked;
    bool taken = false;
    cache_.each_of_name(cache_.key(name, Digest{}).name, [&](const DeviceKey&, SlotState state) {
      const ChainRecord* record = chains_.record(state.chain);
      const bool revoked = state.status == static_cast<std::uint8_t>(DeviceStatus::Revoked);
      if (record != nullptr && record->issuer_spki == issuing_key && (revoked || !chains_.forgotten(state.chain))) {
        taken = true;
      }
    });
    if (!taken) {
      revoke_unseen(entry, name, chain, batch, unseen);
      continue;
    }
    // Which device it is only the index of serials knows.
    bool known = true, stored = false;
    Answer<void> trouble;
    const auto read = store_.each_id_of_serial(entry.serial, "", [&](const Digest& id) {
      const auto row = store_.device(id);
      if (!row) return trouble = row.error(), false;
      if (!row->has_value() || (*row)->name != name || gone(id, **row)) return true;
      const ChainRecord* record = chains_.record((*row)->chain);
      if (record == nullptr || record->issuer_spki != issuing_key) return true;
      stored = true;
      const DeviceKey key = cache_.key(name, id);
      const DeviceStatus now_status = status_now(key, **row);
      DeviceRow next = **row;
      next.status = now_status == DeviceStatus::Revoked ? now_status : wanted;  // revoked is final
      if (now_status == next.status && (*row)->status == next.status) return true;
      known = false;
      store_.put_device(batch, id, next);
      changed.push_back({id, key, next, record->cas.front(), issuing_key, std::nullopt});
      before.push_back((*row)->status);
      return true;
    });
    if (!read) return read;
    if (!trouble) return trouble;
    if (!stored) {
      // An earlier import put it in force while the disk was full: there is no row yet.
      revoke_unseen(entry, name, chain, batch, unseen);
    } else if (known) {
      ++outcome.known;
    }
  }
  for (std::size_t i = 0; i < changed.size(); ++i) {
    note(Change::Kind::DeviceStatusSet, changed[i].id, static_cast<std::uint8_t>(changed[i].row.status));
    audit(by, action_of(changed[i].row.status), to_hex(changed[i].id), std::string(name_of(before[i])),
          std::string(name_of(changed[i].row.status)));
  }
  if (batch.empty()) return {};
  const auto written = commit(batch, true);
  if (!written && changed.empty()) return written;
  Notice notice{meta_.revision, nullptr, {}};
  for (const Accepted& device : changed) {
    put_status(device.key, device.row, device.owner);
    ++(device.row.status == DeviceStatus::Revoked ? outcome.revoked : outcome.held);
    notice.cuts.push_back({Cut::Scope::Device, device.id, reason_of(device.row.status)});
  }
  for (const Accepted& serial : unseen) put_status(serial.key, serial.row, serial.owner);
  outcome.unseen += unseen.size();
  sink_.put_in_force(notice);
  reclaim();
  if (!written) return not_durable(written.error());
  return {};
}

// A list may also name CAs that its issuer signed: registered ones become inactive, and chains through a
// revoked certificate that clients sent end here.
Answer<void> Registrar::Impl::finish_crl(const Crl& crl, const Digest& ca, CrlOutcome& outcome, const Actor& by) {
  const auto cas = cas_now();
  const auto issuer = cas->find(ca);
  if (!issuer) return Refusal{Refusal::Kind::Conflict, "the CA of this CRL was deleted meanwhile"};
  const Digest issuing_key = cas->entry(*issuer).certificate.spki_hash();
  for (const CaEntry& entry : cas->entries()) {
    const Certificate& certificate = entry.certificate;
    const bool inactive = entry.status != CaStatus::Active && cas_not_durable_.count(certificate.fingerprint()) == 0;
    if (inactive || certificate.issuer_der() != crl.issuer_der()) continue;
    if (certificate.self_issued() && certificate.spki_hash() == issuing_key) continue;
    if (!serial_listed(cache_, chains_, issuer_serial(certificate.issuer_der(), certificate.serial()), issuing_key)) {
      continue;
    }
    if (const auto set = set_ca_status(certificate.fingerprint(), CaStatus::Inactive, by); !set) return set.error();
    ++outcome.cas;
  }
  RegistryStore::Batch batch;
  // Of two that were imported at once the newer one is remembered.
  const auto last = store_.crl(issuing_key);
  const bool older = last && last->has_value() && crl.older_than((*last)->number, (*last)->this_update);
  if (!older) store_.put_crl(batch, issuing_key, {crl.number(), crl.this_update()});
  note(Change::Kind::CrlImported, ca, 0);
  audit(by, "crl.import", to_hex(ca), "",
        std::to_string(outcome.entries) + " entries, " + std::to_string(outcome.revoked) + " revoked, " +
            std::to_string(outcome.held) + " held, " + std::to_string(outcome.unseen) + " not seen yet");
  const auto written = commit(batch, true);
  Notice notice{meta_.revision, nullptr, {}};
  refresh_chains_with_intermediates(notice);
  sink_.put_in_force(notice);
  return written;
}

bool Registrar::Impl::listed_by_its_issuer(const Certificate& ca) const {
  const auto cas = cas_now();
  const std::vector<std::size_t>* named = cas->groups_of(ca.issuer_der());
  if (named == nullptr) return false;
  const IssuerSerial name = issuer_serial(ca.issuer_der(), ca.serial());
  return std::any_of(named->begin(), named->end(), [&](std::size_t group) {
    const CaSet::Group& issuer = cas->group(group);
    return serial_listed(cache_, chains_, name, issuer.spki_hash) && ca.signed_by(issuer.key);
  });
}

void Registrar::Impl::refresh_chains_with_intermediates(Notice& notice) {
  const std::int64_t now = unix_now();
  const auto present = cas_now();
  std::set<Digest> owners;
  for (const std::uint64_t id : chains_.ids()) {
    const ChainRecord* record = chains_.record(id);
    if (record->crl || record->intermediates.empty()) continue;
    const bool alive = chains_.alive(id, now);
    refresh_chain(id, *present, now);
    if (alive && !chains_.alive(id, now)) owners.insert(record->cas.front());
  }
  for (const Digest& owner : owners) notice.cuts.push_back({Cut::Scope::Ca, owner, Reason::CaInactive, true});
}

Answer<CrlOutcome> Registrar::import_crl(const Crl& crl, const Actor& by) {
  const auto cas = impl_->cas_now();
  const std::vector<std::size_t>* groups = cas->groups_of(crl.issuer_der());
  if (groups == nullptr) {
    return Refusal{Refusal::Kind::NotFound, "no registered CA has the name of this CRL's issuer: register it first"};
  }
  const CaSet::Group* signer = nullptr;
  for (const std::size_t group : *groups) {
    if (crl.signed_by(cas->group(group).key)) signer = &cas->group(group);
  }
  if (signer == nullptr) {
    return Refusal{Refusal::Kind::Invalid, "the CRL's signature does not fit any registered CA of its issuer's name"};
  }
  const auto last = impl_->store_.crl(signer->spki_hash);
  if (!last) return last.error();
  if (last->has_value() && crl.older_than((*last)->number, (*last)->this_update)) {
    return Refusal{Refusal::Kind::Conflict, "a newer CRL of this CA was imported already: this one is a replay"};
  }
  CrlOutcome outcome;
  outcome.ca = cas->entry(signer->members.front()).certificate.fingerprint();
  outcome.entries = crl.entries().size();
  // In parts, so that a deactivation never waits for the whole list. A part that was written stays: importing
  // the list again completes it.
  for (std::size_t at = 0; at < crl.entries().size(); at += kCrlEntries) {
    const std::size_t to = std::min(at + kCrlEntries, crl.entries().size());
    auto done = impl_->call<void>([&] { return impl_->revoke_serials(crl, outcome.ca, at, to, outcome, by); });
    if (!done) return done.error();
  }
  if (auto done = impl_->call<void>([&] { return impl_->finish_crl(crl, outcome.ca, outcome, by); }); !done) {
    return done.error();
  }
  return outcome;
}

bool Registrar::Impl::purge_some() {
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
  const auto written = batch.empty() ? Answer<void>() : commit(batch, false);
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
  if (last) purges_.erase(purges_.begin());
  return true;
}

}  // namespace sallyport
