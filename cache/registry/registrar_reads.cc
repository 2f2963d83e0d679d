// What is asked from any thread: CA records from memory, devices from the store. Nothing here waits for
// the registrar's thread.
#include <algorithm>
#include <utility>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

// An odd digit at the end of a hex prefix cannot be compared as bytes: cut it off, and filter later.
std::string prefix_bytes(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  parse_hex(hex.substr(0, hex.size() / 2 * 2), bytes);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Answer<CaRecord> Registrar::Impl::ca(const Digest& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = cas_.find(id);
  if (found == cas_.end()) return Refusal{Refusal::Kind::NotFound, "no CA has the id " + to_hex(id)};
  return found->second;
}

Answer<DeviceRecord> Registrar::Impl::record_of(const Digest& id, const DeviceRow& row) const {
  const auto text = store_.device_text(id);
  if (!text) return text.error();
  return record_of(id, row, text->has_value() ? &**text : nullptr);
}

DeviceRecord Registrar::Impl::record_of(const Digest& id, const DeviceRow& row, const DeviceText* text) const {
  DeviceRecord record;
  record.id = id;
  if (text != nullptr) {
    record.serial = text->serial;
    record.subject = text->subject;
    record.cn = text->cn;
    record.key_type = text->key_type;
  }
  // The cache is ahead of the disk where a restriction could not be written.
  std::optional<SlotState> slot;
  {
    const StatusCache::Visitor visitor(&cache_);
    slot = registered_slot(cache_, chains_, cache_.key(row.name, id));
  }
  record.status = slot ? static_cast<DeviceStatus>(slot->status) : row.status;
  record.not_before = row.not_before;
  record.not_after = row.not_after;
  record.registered_at = row.registered_at;
  record.registered_by = row.registered_by;
  record.last_seen = std::int64_t{row.seen_day} * 86400;
  const std::int64_t now = unix_now();
  const ChainRecord* chain = chains_.record(row.chain);
  if (chain != nullptr && cas_now()->find(chain->cas.front())) {
    record.ca_id = chain->cas.front();
    record.standing = cas_now()->standing_of(record.ca_id, now);
    if (record.standing == Reason::None) record.standing = chain->standing_between(*cas_now(), now);
    if (record.standing == Reason::None && !chains_.alive(row.chain, now)) {
      record.standing = revoked_between(*chain) ? Reason::CaInactive : Reason::Expired;
    }
  } else {
    if (chain != nullptr) record.ca_id = chain->cas.front();
    record.standing = Reason::CaUnknown;
  }
  if (now > row.not_after) record.standing = Reason::Expired;
  if (now < row.not_before) record.standing = Reason::NotYetValid;
  return record;
}

// Whether a CRL revoked one of the intermediates that its devices send, or holds it.
bool Registrar::Impl::revoked_between(const ChainRecord& chain) const {
  const StatusCache::Visitor visitor(&cache_);
  return std::any_of(chain.intermediate_names.begin(), chain.intermediate_names.end(), [&](const auto& named) {
    return serial_listed(cache_, chains_, named.name, named.serial, named.issuing_key);
  });
}

// Of a deleted CA and not revoked, neither on disk nor in force: the row is only waiting to be removed.
bool Registrar::Impl::gone(const Digest& id, const DeviceRow& row) const {
  return chains_.forgotten(row.chain) && status_now(cache_.key(row.name, id), row) != DeviceStatus::Revoked;
}

Answer<DeviceRecord> Registrar::Impl::device(const Digest& id) const {
  const auto row = store_.device(id);
  if (!row) return row.error();
  if (!row->has_value() || gone(id, **row)) {
    return Refusal{Refusal::Kind::NotFound, "no device has the id " + to_hex(id)};
  }
  return record_of(id, **row);
}

Answer<CaRecord> Registrar::ca(const Digest& id) const {
  return impl_->ca(id);
}

std::vector<CaRecord> Registrar::cas() const {
  const std::lock_guard lock(impl_->mutex_);
  std::vector<CaRecord> all;
  for (const auto& [id, ca] : impl_->cas_) all.push_back(ca);
  return all;
}

std::vector<CrlRecord> Registrar::crls() const {
  const std::lock_guard lock(impl_->mutex_);
  std::vector<CrlRecord> all;
  for (const auto& [key, row] : impl_->crls_) {
    const auto signs = [&, issuing = key.issuing_key](const auto& ca) {
      return ca.second.certificate.spki_hash() == issuing;
    };
    auto ca = impl_->cas_.find(row.ca);
    if (ca == impl_->cas_.end()) ca = std::find_if(impl_->cas_.begin(), impl_->cas_.end(), signs);
    if (ca == impl_->cas_.end()) continue;
    std::string id = to_hex(key.issuing_key);
    if (key.scope != Digest{}) id += to_hex(key.scope);
    all.push_back({std::move(id), ca->first, row.scope, row.number, row.this_update, row.next_update, row.entries,
                   row.imported_at});
  }
  return all;
}

std::vector<CrlRecord> Registrar::newly_overdue(std::int64_t now) {
  std::vector<CrlRecord> found;
  for (CrlRecord& each : crls()) {
    if (!each.overdue(now)) continue;
    const std::lock_guard lock(impl_->mutex_);
    if (std::exchange(impl_->overdue_[each.id], each.next_update) != each.next_update) found.push_back(std::move(each));
  }
  return found;
}

Answer<DeviceRecord> Registrar::device(const Digest& id) const {
  return impl_->device(id);
}

Answer<std::vector<ChainMember>> Registrar::chain_of(const Digest& device) const {
  const auto row = impl_->store_.device(device);
  if (!row) return row.error();
  std::vector<ChainMember> members;
  const auto chain = row->has_value() ? impl_->store_.chain((*row)->chain) : std::optional<ChainRow>();
  if (!chain) return chain.error();
  if (!chain->has_value()) return members;
  const auto set = impl_->cas_now();
  const ChainRecord* record = impl_->chains_.record((*row)->chain);
  const std::int64_t now = unix_now();
  const auto take = [&](const Certificate& certificate, bool registered, Reason standing) {
    if (now < certificate.not_before()) standing = Reason::NotYetValid;
    if (now > certificate.not_after()) standing = Reason::Expired;
    members.push_back({certificate.fingerprint(), certificate.subject(), certificate.serial(), certificate.not_before(),
                       certificate.not_after(), registered, standing});
  };
  for (std::size_t i = 0; i < (*chain)->intermediates.size(); ++i) {
    const std::string& der = (*chain)->intermediates[i];
    const auto sent = Certificate::from_der(Bytes(reinterpret_cast<const std::uint8_t*>(der.data()), der.size()));
    if (!sent) return sent.error();
    Reason standing = set->standing_of_sent(sent->subject_name(), sent->spki_hash(), now);
    if (record != nullptr && i < record->intermediate_names.size()) {
      const ChainRecord::Named& named = record->intermediate_names[i];
      const StatusCache::Visitor visitor(&impl_->cache_);
      if (serial_listed(impl_->cache_, impl_->chains_, named.name, named.serial, named.issuing_key)) {
        standing = Reason::CaInactive;
      }
    }
    take(*sent, false, standing);
  }
  for (const Digest& id : (*chain)->cas) {
    const auto ca = impl_->ca(id);
    if (ca) take(ca->certificate, true, set->standing_of(id, now));
  }
  return members;
}

Answer<Certificate> Registrar::device_certificate(const Digest& id) const {
  const auto text = impl_->store_.device_text(id);
  if (!text) return text.error();
  if (!text->has_value()) return Refusal{Refusal::Kind::NotFound, "no device has the id " + to_hex(id)};
  const std::string& der = (*text)->der;
  return Certificate::from_der(Bytes(reinterpret_cast<const std::uint8_t*>(der.data()), der.size()));
}

Answer<DevicePage> Registrar::devices(const DeviceQuery& query) const {
  return impl_->devices(query);
}

std::vector<Digest> Registrar::devices_by_prefix(std::string_view hex, std::size_t limit) const {
  std::vector<Digest> ids;
  const auto read = impl_->store_.each_device(prefix_bytes(hex), "", [&](const Digest& id, const DeviceRow&) {
    if (to_hex(id).substr(0, hex.size()) == hex) ids.push_back(id);
    return ids.size() < limit;
  });
  return read ? ids : std::vector<Digest>();
}

std::uint64_t Registrar::devices_expiring(std::int64_t from, std::int64_t to) const {
  const std::lock_guard lock(impl_->mutex_);
  std::uint64_t count = 0;
  for (auto day = impl_->expiring_.lower_bound(from / 86400); day != impl_->expiring_.end() && day->first <= to / 86400;
       ++day) {
    count += day->second;
  }
  return count;
}

bool Registrar::stalled() const {
  return impl_->ledger_.figures().stalled;
}

RegistrarStats Registrar::stats() const {
  const std::lock_guard lock(impl_->mutex_);
  RegistrarStats stats = impl_->stats_;
  const CommitFigures commits = impl_->ledger_.figures();
  stats.revision = commits.revision;
  stats.store_errors = commits.store_errors;
  stats.commits = commits.commits;
  stats.stalled = commits.stalled;
  stats.not_durable = commits.not_durable;
  stats.owes = commits.owes;
  stats.commit_seconds_sum = commits.seconds_sum;
  stats.commit_seconds_buckets = commits.seconds_buckets;
  stats.queued = impl_->queued_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace sallyport
