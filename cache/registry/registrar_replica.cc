// What other nodes committed, put in force here: rows and indexes to the disk in one batch, then CAs, chains and
// devices to memory, then what lost its standing is cut. Nothing is judged: it was, where it was committed. On the
// registrar's thread. Applying the same entry twice changes nothing.
#include <algorithm>
#include <array>
#include <utility>

#include "cache/base/text.h"
#include "cache/registry/registrar_impl.h"
#include "cache/registry/registry_records.h"

namespace sallyport {

namespace {

std::uint64_t number_of(std::string_view key) {
  std::uint64_t id = 0;
  for (const char c : key) id = id << 8 | static_cast<unsigned char>(c);
  return id;
}

// How much a status takes away. Revoked is final.
int strictness(DeviceStatus status) {
  switch (status) {
    case DeviceStatus::Active: return 0;
    case DeviceStatus::Pending: return 1;
    case DeviceStatus::Inactive: return 2;
    case DeviceStatus::Revoked: return 3;
  }
  return 3;
}

// For a message: an operator must find the row.
std::string described(const SharedEntry& entry) {
  constexpr std::array<std::string_view, kSharedFamilies> kNames = {
      "CA", "chain", "certificate", "device", "setting", "token", "server certificate", "audit line"};
  const auto at = static_cast<std::size_t>(entry.family) - 1;
  const bool text = entry.family == SharedFamily::Meta || entry.family == SharedFamily::Token;
  return std::string(at < kNames.size() ? kNames[at] : "row") + " (key " +
         (text ? escaped(entry.key.substr(0, 100)) : to_hex(bytes_of(entry.key.substr(0, 64)))) + ")";
}

// Whether its key is one of its family's.
bool has_good_key(const SharedEntry& entry) {
  const std::string_view key = entry.key;
  switch (entry.family) {
    case SharedFamily::Ca:
    case SharedFamily::Certificate:
    case SharedFamily::ServerCert:
    case SharedFamily::Device: return digest_of(key).has_value();
    case SharedFamily::Chain: return key.size() == 8 && number_of(key) < ChainTable::kMostChains;
    case SharedFamily::Audit: return key.size() >= 8;
    case SharedFamily::Meta: return !key.starts_with(kPurgePrefix) || digest_of(key.substr(kPurgePrefix.size()));
    case SharedFamily::Token: return !key.empty();
  }
  return false;
}

}  // namespace

struct Registrar::Impl::Arrival {
  std::vector<SharedEntry> entries;
  struct Chain {
    std::uint64_t id = 0;
    std::optional<ChainRow> row;
    std::vector<Certificate> intermediates;
  };
  std::vector<Chain> chains;
  std::map<std::uint64_t, Digest> owners;  // of these chains
  std::map<Digest, std::optional<CaRow>> cas;
  struct Device {
    Digest id{};
    std::optional<DeviceRow> before, now;
    Digest owner_before{}, owner{};
  };
  std::vector<Device> devices;
  std::vector<std::pair<Digest, std::optional<CodeRow>>> codes;
  std::vector<std::pair<CrlKey, std::optional<CrlRow>>> crls;
  std::optional<SharedEpochs> epochs;
  bool cas_changed = false, listed_changed = false, settings_changed = false;
  std::string broken;        // what could not be read
  std::size_t left_out = 0;  // rows that are no entries
};

// The status that counts here: a restriction made on this node holds until it is written over there.
DeviceStatus Registrar::Impl::held_status(const Digest& id, DeviceStatus status) const {
  const auto found = held_.find(id);
  if (found == held_.end() || found->second.ca) return status;
  const auto held = static_cast<DeviceStatus>(found->second.status);
  return strictness(held) > strictness(status) ? held : status;
}

void Registrar::Impl::prepare_device(Arrival& arrival, const SharedEntry& entry, RegistryStore::Batch& batch) {
  const auto id = digest_of(entry.key);
  if (!id) return void(arrival.broken = described(entry));
  const auto owner_of = [&](std::uint64_t chain) {
    if (const auto found = arrival.owners.find(chain); found != arrival.owners.end()) return found->second;
    const ChainRecord* record = chains_.record(chain);
    return record != nullptr ? record->cas.front() : Digest{};
  };
  Arrival::Device device{*id, std::nullopt, std::nullopt, {}, {}};
  const auto before = store_.device(*id);
  if (!before) return void(arrival.broken = described(entry));
  device.before = *before;
  if (device.before) {
    const ChainRecord* record = chains_.record(device.before->chain);
    device.owner_before = record != nullptr ? record->cas.front() : Digest{};
  }
  if (!entry.value) {
    if (device.before) {
      store_.put_entry(batch, entry);
      store_.remove_owner(batch, *id, device.owner_before);
    }
    arrival.devices.push_back(std::move(device));
    return;
  }
  DeviceRow row;
  if (!records::decode(*entry.value, row)) return void(arrival.broken = described(entry));
  device.owner = owner_of(row.chain);
  if (!epochs_) {
    row.epoch = std::max(row.epoch, cache_.epoch_with(cache_.key(row.name, *id), slot_state(row)));
    if (device.before) row.epoch = std::max(row.epoch, device.before->epoch);
  }
  store_.put_device(batch, *id, row);
  if (device.before && device.owner_before != device.owner) store_.remove_owner(batch, *id, device.owner_before);
  store_.put_owner(batch, *id, device.owner);
  device.now = row;
  arrival.listed_changed = arrival.listed_changed || row.registered_by == RegisteredBy::Crl;
  arrival.devices.push_back(std::move(device));
}

void Registrar::Impl::prepare(Arrival& arrival, RegistryStore::Batch& batch) {
  for (const SharedEntry& entry : arrival.entries) {
    // What is nobody's, or this node's own, is not taken from others; what is gone and never could be read is not
    // missed.
    if (!RegistryStore::shares(entry) || (!entry.value && !has_good_key(entry))) {
      if (arrival.left_out++ != 0) continue;  // one line for all of them
      log_.error("shared-row", {{"what", "a row of the shared registry that is no entry of one: it is left out"},
                                {"family", static_cast<std::uint64_t>(entry.family)},
                                {"key", escaped(entry.key)}});
      continue;
    }
    if (!has_good_key(entry)) return void(arrival.broken = described(entry));
    const auto id = digest_of(entry.key);
    switch (entry.family) {
      case SharedFamily::Ca: {
        CaRow row;
        const bool good =
            !entry.value || (records::decode(*entry.value, row) && Certificate::from_der(bytes_of(row.der)));
        if (!good) return void(arrival.broken = described(entry));
        arrival.cas[*id] = entry.value ? std::optional(row) : std::nullopt;
        store_.put_entry(batch, entry);
        break;
      }
      case SharedFamily::Chain: {
        Arrival::Chain chain{number_of(entry.key), std::nullopt, {}};
        if (entry.value) {
          chain.row.emplace();
          if (!records::decode(*entry.value, *chain.row) || chain.row->cas.empty()) {
            return void(arrival.broken = described(entry));
          }
          for (const std::string& der : chain.row->intermediates) {
            auto parsed = Certificate::from_der(bytes_of(der));
            if (!parsed) return void(arrival.broken = described(entry));
            chain.intermediates.push_back(std::move(*parsed));
          }
          arrival.owners[chain.id] = chain.row->cas.front();
        }
        arrival.chains.push_back(std::move(chain));
        store_.put_entry(batch, entry);
        break;
      }
      case SharedFamily::Certificate: {
        if (!id) return void(arrival.broken = described(entry));
        const auto before = store_.device_text(*id);
        if (!before) return void(arrival.broken = described(entry));
        if (*before) store_.remove_serial(batch, *id, (*before)->serial);
        store_.put_entry(batch, entry);
        DeviceText text;
        if (entry.value && !records::decode(*entry.value, text)) return void(arrival.broken = described(entry));
        if (entry.value) store_.put_serial(batch, *id, text.serial);
        break;
      }
      case SharedFamily::Device: prepare_device(arrival, entry, batch); break;
      case SharedFamily::Meta: {
        const std::string_view key = entry.key;
        if (OverrideRow row; key.starts_with(kOverridePrefix) && entry.value && !records::decode(*entry.value, row)) {
          return void(arrival.broken = described(entry));
        }
        store_.put_entry(batch, entry);
        if (key.starts_with(kOverridePrefix) || key.starts_with(kSharedTicketKey)) arrival.settings_changed = true;
        if (key == kSharedEpochs) {
          arrival.epochs = entry.value ? epochs_of(*entry.value) : std::nullopt;
          if (!arrival.epochs) return void(arrival.broken = described(entry));
        }
        if (key.starts_with(kCodePrefix)) {
          const auto hash = digest_of(key.substr(kCodePrefix.size()));
          CodeRow row;
          if (!hash || (entry.value && !records::decode(*entry.value, row)))
            return void(arrival.broken = described(entry));
          arrival.codes.emplace_back(*hash, entry.value ? std::optional(row) : std::nullopt);
        }
        if (key.starts_with(kCrlPrefix)) {
          const std::string_view name = key.substr(kCrlPrefix.size());
          const auto issuing = digest_of(name.substr(0, Digest().size()));
          const auto scope = name.size() == Digest().size()
                                 ? std::optional(Digest{})
                                 : digest_of(name.substr(std::min(name.size(), Digest().size())));
          CrlRow row;
          if (!issuing || !scope || (entry.value && !records::decode(*entry.value, row))) {
            return void(arrival.broken = described(entry));
          }
          arrival.crls.emplace_back(CrlKey{*issuing, *scope}, entry.value ? std::optional(row) : std::nullopt);
        }
        break;
      }
      case SharedFamily::Token:
      case SharedFamily::ServerCert: {
        TokenRow token;
        ServerCertRow certificate;
        const bool good =
            !entry.value || (entry.family == SharedFamily::Token ? records::decode(*entry.value, token)
                                                                 : records::decode(*entry.value, certificate));
        if (!good) return void(arrival.broken = described(entry));
        store_.put_entry(batch, entry);
        arrival.settings_changed = true;
        break;
      }
      case SharedFamily::Audit:
        if (AuditRecord record; entry.value && !records::decode(*entry.value, record)) {
          if (arrival.left_out++ == 0)
            log_.error("shared-row", {{"what", "a line of the audit log that cannot be read: it is left out"}});
          break;
        }
        store_.put_entry(batch, entry);
        ledger_.saw_audit(static_cast<std::int64_t>(number_of(entry.key)));
        break;
    }
  }
}

void Registrar::Impl::forget_ca(const Digest& id, const std::vector<std::uint64_t>& chains) {
  book_.forget(chains);
  const auto found = cas_.find(id);
  if (found == cas_.end()) return;
  {
    const std::lock_guard lock(mutex_);
    const DeviceCounts devices = found->second.devices;
    stats_.devices.active -= devices.active;
    const std::uint64_t held = held_unseen_[id];  // serials a CRL listed stay listed
    stats_.devices.inactive -= devices.inactive - held;
    stats_.devices.pending -= devices.pending;
    if (devices.revoked != 0 || held != 0) remains_[id] = {0, held, 0, devices.revoked};
    cas_.erase(found);
  }
  cas_not_durable_.erase(id);
}

// First what is gone, then what is new: a CA that was deleted and registered again is both.
void Registrar::Impl::publish_cas(Arrival& arrival) {
  std::map<Digest, std::vector<std::uint64_t>> forgotten;
  for (const Arrival::Chain& chain : arrival.chains) {
    const ChainRecord* known = chains_.record(chain.id);
    if (known == nullptr || chains_.forgotten(chain.id)) continue;
    if (chain.row && chain.row->forgotten && known->cas == chain.row->cas) {
      forgotten[known->cas.front()].push_back(chain.id);
    }
  }
  for (const auto& [id, row] : arrival.cas) {
    if (row || cas_.count(id) == 0) continue;
    forget_ca(id, forgotten[id]);
    forgotten.erase(id);
  }
  for (const auto& [owner, chains] : forgotten) {  // registered again meanwhile
    book_.forget(chains);
    recount_ = true;
  }
  for (const auto& [id, row] : arrival.cas) {
    arrival.cas_changed = true;
    if (!row) continue;
    const auto held = held_.find(id);
    const bool restricted = held != held_.end() && held->second.ca;
    const CaStatus status = restricted ? CaStatus::Inactive : row->status;
    const auto known = cas_.find(id);
    if (known != cas_.end()) {
      const std::lock_guard lock(mutex_);
      known->second.status = status;
      known->second.auto_register = row->auto_register;
      known->second.approve = row->approve;
      known->second.from_config = row->from_config;
      known->second.registered_at = row->registered_at;
      continue;
    }
    auto certificate = Certificate::from_der(bytes_of(row->der));
    if (!certificate) {
      log_.error("shared-registry", {{"what", "a CA that cannot be read"}, {"ca", to_hex(id)}});
      continue;
    }
    CaRecord record{
        id, std::move(*certificate), status, row->auto_register, row->approve, row->from_config, row->registered_at, {},
        0};
    const std::lock_guard lock(mutex_);
    if (const auto remains = remains_.find(id); remains != remains_.end()) {
      record.devices = remains->second;
      remains_.erase(remains);
    }
    cas_.insert_or_assign(id, std::move(record));
  }
  for (const Arrival::Chain& chain : arrival.chains) {
    if (!chain.row) {
      book_.drop(chain.id);
      recount_ = true;
      continue;
    }
    const auto owner = cas_.find(chain.row->cas.front());
    const Digest key = owner != cas_.end() ? owner->second.certificate.spki_hash() : Digest{};
    (void)book_.take(chain.id, *chain.row, chain.intermediates, key);
    arrival.cas_changed = true;
  }
}

void Registrar::Impl::publish_devices(Arrival& arrival) {
  Notice notice{ledger_.revision(), nullptr, {}};
  for (const Arrival::Device& device : arrival.devices) {
    const DeviceRow* row = device.now ? &*device.now : device.before ? &*device.before : nullptr;
    if (row == nullptr) continue;  // deleted before it was known here
    const DeviceKey key = cache_.key(row->name, device.id);
    const auto slot = cache_.find(key);
    const auto counted = [&](std::uint64_t chain, DeviceStatus status) {
      return status == DeviceStatus::Revoked || !chains_.forgotten(chain);
    };
    const bool was_counted = slot && counted(slot->chain, static_cast<DeviceStatus>(slot->status));
    const auto was = slot ? static_cast<DeviceStatus>(slot->status) : DeviceStatus::Active;
    const bool unseen = row->registered_by == RegisteredBy::Crl;
    if (!device.now && held_.count(device.id) != 0) {
      // It is written over there again, and stays refused until then, whatever its chain is.
      DeviceRow refused = *device.before;
      refused.status = DeviceStatus::Revoked;
      cache_.put(key, slot_state(refused));
      recount_ = true;
      continue;
    }
    if (slot && !device.before) recount_ = true;  // a restriction held here, whose row was gone
    if (was_counted) count(was, device.owner_before, -1);
    if (slot && unseen && was == DeviceStatus::Inactive) --held_unseen_[device.owner_before];
    if (slot && !unseen && was != DeviceStatus::Revoked && device.before) count_expiry(device.before->not_after, -1);
    if (!device.now) {
      cache_.remove(key);
      if (slot && was != DeviceStatus::Revoked) {
        notice.cuts.push_back({Cut::Scope::Device, device.id, Reason::NotRegistered});
      }
      arrival.listed_changed = arrival.listed_changed || unseen;
      continue;
    }
    DeviceRow in_force = *device.now;
    in_force.status = held_status(device.id, in_force.status);
    // The row says in which epoch it was lost last, also where it was lost and regained since this node looked.
    cache_.lost_in(key, device.now->epoch);
    cache_.put(key, slot_state(in_force));
    cache_.lost_in(key, device.now->epoch);
    if (counted(in_force.chain, in_force.status)) count(in_force.status, device.owner, +1);
    if (unseen && in_force.status == DeviceStatus::Inactive) ++held_unseen_[device.owner];
    if (!unseen && in_force.status != DeviceStatus::Revoked) count_expiry(in_force.not_after, +1);
    const bool lost = in_force.status != DeviceStatus::Active && (!slot || was != in_force.status);
    if (lost) notice.cuts.push_back({Cut::Scope::Device, device.id, reason_of(in_force.status)});
  }
  if (arrival.listed_changed) end_chains_through_listed(notice);
  if (!notice.cuts.empty()) put_in_force(notice);
}

// What adding and taking away cannot follow: chains that are gone while their CA is there.
void Registrar::Impl::recount() {
  {
    const std::lock_guard lock(mutex_);
    stats_.devices = {};
    for (auto& [id, ca] : cas_) ca.devices = {};
    remains_.clear();
    expiring_.clear();
  }
  held_unseen_.clear();
  const auto read = store_.each_device("", "", [&](const Digest& id, const DeviceRow& row) {
    const DeviceStatus status = status_now(cache_.key(row.name, id), row);
    if (status != DeviceStatus::Revoked && chains_.forgotten(row.chain)) return true;
    const ChainRecord* chain = chains_.record(row.chain);
    const Digest owner = chain != nullptr ? chain->cas.front() : Digest{};
    count(status, owner, +1);
    const bool unseen = row.registered_by == RegisteredBy::Crl;
    if (unseen && status == DeviceStatus::Inactive) ++held_unseen_[owner];
    if (!unseen && status != DeviceStatus::Revoked) count_expiry(row.not_after, +1);
    return true;
  });
  if (!read) log_.error("recount", {{"why", read.error().what}});
}

Answer<void> Registrar::Impl::apply(std::vector<SharedEntry> entries, const std::optional<SharedPosition>& position) {
  Arrival arrival;
  arrival.entries = std::move(entries);
  // What others refer to comes first.
  std::stable_sort(arrival.entries.begin(), arrival.entries.end(),
                   [](const SharedEntry& a, const SharedEntry& b) { return a.family < b.family; });
  RegistryStore::Batch batch;
  prepare(arrival, batch);
  if (!arrival.broken.empty()) {
    return Refusal{Refusal::Kind::Unavailable,
                   "the shared registry holds a " + arrival.broken +
                       " that this version cannot read: upgrade Sallyport, or mend that row in PostgreSQL"};
  }
  if (auto adopted = ledger_.adopt(batch, position); !adopted) return adopted;
  if (position) set_position(*position);
  applying_ = true;
  if (arrival.epochs) take_epochs(*arrival.epochs);
  publish_cas(arrival);
  for (const auto& [hash, row] : arrival.codes) {
    auto hashes = std::make_shared<std::set<Digest>>(*code_hashes_);
    if (row) {
      codes_.insert_or_assign(hash, issued(*row));
      if (!row->used) code_ends_at_ = std::min(code_ends_at_.load(), row->expires_at + 1);
      hashes->insert(hash);
    } else {
      codes_.erase(hash);
      hashes->erase(hash);
    }
    code_hashes_ = std::move(hashes);
    arrival.cas_changed = true;
  }
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, row] : arrival.crls) {
      if (row) {
        crls_[key] = *row;
      } else {
        crls_.erase(key);
      }
    }
  }
  // Devices that lost their standing first, then what else follows from CAs and chains.
  publish_devices(arrival);
  if (arrival.cas_changed) put_cas_in_force(unix_now());
  applying_ = false;
  cache_.raise_epoch();
  if (arrival.settings_changed) tell_settings();
  if (!snapshot_ && std::exchange(recount_, false)) recount();
  reclaim();
  return {};
}

}  // namespace sallyport
