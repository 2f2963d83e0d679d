// What waits on this node to be written to the shared registry: devices that registered by themselves while it was out
// of reach, and restrictions that an operator put in force here alone (--local), or that it has lost. Both are in the
// store, and survive a restart. A restriction holds here from the moment it is made, and no older row undoes it:
// publish_devices() asks held_status(). On the registrar's thread.
#include <algorithm>
#include <chrono>
#include <utility>

#include "cache/base/feed.h"
#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::size_t kAtOnce = 4096;

// It is written over there later, and the audit log is to say when it was in force here.
Actor here_and_now(const Actor& by) {
  return {by.who, by.from + " (--local, " + utc_ms(std::chrono::system_clock::now()) + ")"};
}

Refusal here_alone(const std::string& why) {
  return {Refusal::Kind::Conflict,
          "the shared registry can be changed: leave --local away, and it is in force everywhere" + why};
}

}  // namespace

Answer<void> Registrar::Impl::read_outbox() {
  Answer<void> trouble;
  const auto damaged = [&](const char* what) {
    trouble = Refusal{Refusal::Kind::Unavailable,
                      std::string("the registry holds a ") + what + " that cannot be read: restore a backup"};
    return false;
  };
  const auto waiting = store_.each_outbox(outbox::kDevices, [&](std::string_view key, std::string_view) {
    const auto id = outbox::id_of(outbox::kDevices, key);
    if (!id) return damaged("waiting device");
    aside_.insert(*id);
    return true;
  });
  if (!waiting) return waiting;
  queued_ += aside_.size();
  const auto restrictions =
      store_.each_outbox(outbox::kRestrictions, [&](std::string_view key, std::string_view value) {
        const auto id = outbox::id_of(outbox::kRestrictions, key);
        auto restriction = outbox::decode_restriction(value);
        if (!id || !restriction) return damaged("restriction");
        held_[*id] = std::move(*restriction);
        held_count_ = held_.size();
        return true;
      });
  if (!restrictions) return restrictions;
  return trouble;
}

bool Registrar::Impl::put_aside() {
  const std::size_t taken = std::min(waiting_.size(), kAtOnce);
  RegistryStore::Batch batch;
  for (std::size_t i = 0; i < taken; ++i) {
    const Digest& id = waiting_[i].identity.fingerprint;
    store_.put_outbox(batch, outbox::key(outbox::kDevices, id), outbox::encode(waiting_[i]));
  }
  const auto written = ledger_.commit_here(batch);
  if (!written) {
    if (retry_at_ms_ == 0)
      log_.error("registrations-wait", {{"why", written.error().what}, {"waiting", waiting_.size()}});
    retry_at_ms_ = steady_ms() + kRetryMs;
    if (stopping_) {  // they register again on their next connection
      waiting_.clear();
      waiting_ids_.clear();
    }
    return false;
  }
  if (aside_.empty()) log_.warn("registrations-aside", {{"what", "new devices wait on this node's disk"}});
  for (std::size_t i = 0; i < taken; ++i) {
    const Digest& id = waiting_[i].identity.fingerprint;
    waiting_ids_.erase(id);
    // One that was brought back, and waits again, is counted once.
    aside_.insert(id);
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
  retry_at_ms_ = 0;
  return true;
}

// They take the way of those that came just now, and are looked at again: who lost a race meanwhile is refused.
void Registrar::Impl::bring_back() {
  if (aside_.empty()) return;
  std::vector<Registration> back;
  RegistryStore::Batch unreadable;
  const auto read = store_.each_outbox(outbox::kDevices, [&](std::string_view key, std::string_view value) {
    const auto id = outbox::id_of(outbox::kDevices, key);
    auto registration = outbox::decode_registration(value);
    if (!id || !registration || registration->identity.fingerprint != *id) {
      store_.remove_outbox(unreadable, key);
      if (id && aside_.erase(*id) != 0) --queued_;
      return true;
    }
    if (aside_.count(*id) != 0 && waiting_ids_.insert(*id).second) back.push_back(std::move(*registration));
    return back.size() < kAtOnce;
  });
  if (!read) log_.error("registrations-aside", {{"why", read.error().what}});
  if (!unreadable.empty()) {
    log_.error("registrations-aside",
               {{"what", "some could not be read: these devices register when they come again"}});
    (void)ledger_.commit_here(unreadable);
  }
  waiting_.insert(waiting_.end(), std::make_move_iterator(back.begin()), std::make_move_iterator(back.end()));
}

// By a deleted CA, and not taken out yet: no registration, and a slot of it is not looked at.
bool Registrar::Impl::left_behind(const DeviceRow& row) const {
  return row.status != DeviceStatus::Revoked && chains_.forgotten(row.chain);
}

void Registrar::Impl::in_force_here(const Digest& id, const LocalRestriction& restriction) {
  if (restriction.ca) {
    const auto found = cas_.find(id);
    if (found == cas_.end()) return;
    {
      const std::lock_guard lock(mutex_);
      found->second.status = CaStatus::Inactive;
    }
    return put_cas_in_force(unix_now());
  }
  const auto stored = store_.device(id);
  const bool known = stored && *stored && !left_behind(**stored);
  const DeviceRow* row = known ? &**stored : restriction.lost ? &restriction.lost->device : nullptr;
  if (row == nullptr) return;
  DeviceRow in_force = *row;
  in_force.status = known ? held_status(id, row->status) : DeviceStatus::Revoked;
  const DeviceKey key = cache_.key(row->name, id);
  if (!cache_.find(key) && row->registered_by != RegisteredBy::Crl) count_expiry(row->not_after, +1);
  const ChainRecord* chain = chains_.record(row->chain);
  put_status(key, in_force, chain != nullptr ? chain->cas.front() : Digest{});
  put_in_force({ledger_.revision(), nullptr, {{Cut::Scope::Device, id, reason_of(in_force.status)}}});
}

// Durable here, then in force here, then answered.
Answer<void> Registrar::Impl::restrict_here(const Digest& id, const LocalRestriction& restriction) {
  if (!follower_) {
    return Refusal{Refusal::Kind::Invalid, "--local is for a shared registry (registry.shared), and there is none"};
  }
  in_a_hurry_ = true;
  const auto turn = begin_turn();
  in_a_hurry_ = false;
  if (turn) {
    end_turn();
    if (!takes_no_writes_) return here_alone("");
  }
  RegistryStore::Batch batch;
  store_.put_outbox(batch, outbox::key(outbox::kRestrictions, id), outbox::encode(restriction));
  const auto written = ledger_.keep_here(batch);
  held_[id] = restriction;
  held_count_ = held_.size();
  in_force_here(id, restriction);
  log_.warn("restricted-here",
            {{"id", to_hex(id)}, {"what", restriction.ca ? "CA" : "device"}, {"who", restriction.by.who}});
  return written ? written : not_durable(written.error());
}

Answer<std::optional<LocalRestriction::Rows>> Registrar::Impl::rows_of(const Digest& id) const {
  const auto device = store_.device(id);
  const auto text = store_.device_text(id);
  if (!device) return device.error();
  if (!text) return text.error();
  if (!*device || !*text) return std::optional<LocalRestriction::Rows>();
  std::optional<LocalRestriction::Rows> rows;
  const auto read = store_.each_chain([&](std::uint64_t chain, const ChainRow& row) {
    if (chain == (*device)->chain) rows = LocalRestriction::Rows{**device, **text, row};
    return !rows;
  });
  if (!read) return read.error();
  return rows;
}

// One that has registered here while nobody could be told.
std::optional<Registration> Registrar::Impl::waiting_device(const Digest& id) const {
  for (const Registration& each : waiting_) {
    if (each.identity.fingerprint == id) return each;
  }
  std::optional<Registration> found;
  const std::string wanted = outbox::key(outbox::kDevices, id);
  (void)store_.each_outbox(wanted, [&](std::string_view key, std::string_view value) {
    if (key == wanted) found = outbox::decode_registration(value);
    return false;
  });
  return found && found->identity.fingerprint == id ? std::move(found) : std::nullopt;
}

// It is registered with its restriction, and never as one that may come in. Until then it is refused here as a revoked
// one: its chain has no number yet.
Answer<DeviceRecord> Registrar::Impl::restrict_waiting(const Registration& waiting, DeviceStatus status,
                                                       const Actor& by) {
  const Identity& identity = waiting.identity;
  const Digest& id = identity.fingerprint;
  LocalRestriction::Rows rows;
  rows.device.status = status;
  rows.device.registered_by = waiting.by;
  rows.device.seen_day = unix_day(unix_now());
  rows.device.not_before = identity.not_before;
  rows.device.not_after = identity.not_after;
  rows.device.registered_at = unix_now();
  rows.device.name = identity.issuer_serial;
  rows.text = {identity.serial, identity.subject, identity.cns.size() == 1 ? identity.cns.front() : "",
               identity.key_type, waiting.leaf_der};
  rows.chain.cas = waiting.path.cas;
  for (const Certificate& each : waiting.path.intermediates) rows.chain.intermediates.push_back(each.der());
  if (auto done = restrict_here(id, {false, static_cast<std::uint8_t>(status), here_and_now(by), rows}); !done) {
    return done.error();
  }
  // From here on the restriction brings it over there.
  RegistryStore::Batch batch;
  store_.remove_outbox(batch, outbox::key(outbox::kDevices, id));
  (void)ledger_.commit_here(batch);
  const std::size_t there = aside_.erase(id) + waiting_ids_.erase(id);
  std::erase_if(waiting_, [&](const Registration& each) { return each.identity.fingerprint == id; });
  if (there != 0) --queued_;  // counted once
  return record_of_held(id);
}

DeviceRecord Registrar::Impl::record_of_held(const Digest& id) const {
  const LocalRestriction& held = held_.at(id);
  const LocalRestriction::Rows& rows = *held.lost;
  DeviceRecord record;
  record.id = id;
  record.serial = rows.text.serial;
  record.subject = rows.text.subject;
  record.cn = rows.text.cn;
  record.key_type = rows.text.key_type;
  record.ca_id = rows.chain.cas.front();
  record.status = static_cast<DeviceStatus>(held.status);
  record.registered_by = rows.device.registered_by;
  record.not_before = rows.device.not_before;
  record.not_after = rows.device.not_after;
  record.registered_at = rows.device.registered_at;
  return record;
}

// It has been restricted before it was registered. What was done first is in the audit log as well.
Answer<DeviceRecord> Registrar::Impl::restrict_again(const Digest& id, LocalRestriction before, DeviceStatus status,
                                                     const Actor& by) {
  const auto was = static_cast<DeviceStatus>(before.status);
  if (was == DeviceStatus::Revoked && status != was) {
    return Refusal{Refusal::Kind::Conflict, "this device is revoked, which is final: give it a new certificate"};
  }
  if (was == status) return record_of_held(id);
  before.lost->device.status = status;
  if (auto done = restrict_here(id, {false, static_cast<std::uint8_t>(status), here_and_now(by), before.lost}); !done) {
    return done.error();
  }
  (void)record({before.by, std::string(action_of(was)), to_hex(id), std::string(to_string(was))});
  return record_of_held(id);
}

Answer<DeviceRecord> Registrar::Impl::restrict_device_here(const Digest& id, DeviceStatus status, const Actor& by) {
  const auto known = device(id);
  if (!known) {
    if (const auto waiting = waiting_device(id)) return restrict_waiting(*waiting, status, by);
    const auto held = held_.find(id);
    return held != held_.end() && held->second.lost ? restrict_again(id, held->second, status, by) : known;
  }
  const DeviceStatus now = known->status;
  if (now == DeviceStatus::Revoked && status != DeviceStatus::Revoked) {
    return Refusal{Refusal::Kind::Conflict, "this device is revoked, which is final: give it a new certificate"};
  }
  const auto rows = rows_of(id);
  if (!rows) return rows.error();
  if (auto done = restrict_here(id, {false, static_cast<std::uint8_t>(status), here_and_now(by), *rows}); !done) {
    return done.error();
  }
  return device(id);
}

Answer<CaRecord> Registrar::Impl::restrict_ca_here(const Digest& id, const Actor& by) {
  if (const auto known = ca(id); !known) return known;
  const auto inactive = static_cast<std::uint8_t>(CaStatus::Inactive);
  if (auto done = restrict_here(id, {true, inactive, here_and_now(by), std::nullopt}); !done) return done.error();
  return ca(id);
}

// A device whose rows the shared registry has not got: under its chain, or one with the same certificates.
Answer<void> Registrar::Impl::write_again(const Digest& id, const LocalRestriction& restriction) {
  const LocalRestriction::Rows& rows = *restriction.lost;
  const auto cas = cas_now();
  const auto owner = cas->find(rows.chain.cas.front());
  if (!owner) return Refusal{Refusal::Kind::NotFound, "its CA is not registered"};
  PathFound path;
  path.cas = rows.chain.cas;
  for (const std::string& der : rows.chain.intermediates) {
    auto between = Certificate::from_der(Bytes(reinterpret_cast<const std::uint8_t*>(der.data()), der.size()));
    if (!between) return Refusal{Refusal::Kind::Invalid, "a certificate above it cannot be read"};
    path.intermediates.push_back(std::move(*between));
  }
  const DeviceKey key = cache_.key(rows.device.name, id);
  const std::uint64_t chain = rows.chain.crl ? book_.of_crl(cas->entry(*owner), *cas) : book_.of_path(path, *cas);
  if (chain == 0) return Refusal{Refusal::Kind::Unavailable, "no chain id is left"};
  DeviceRow row = rows.device;
  row.chain = chain;
  row.status = static_cast<DeviceStatus>(restriction.status);
  RegistryStore::Batch batch;
  store_.put_device(batch, id, row);
  store_.put_device_text(batch, id, rows.chain.cas.front(), rows.text);
  ledger_.note(Change::Kind::DeviceStatusSet, id, restriction.status);
  ledger_.audit(restriction.by, action_of(row.status), to_hex(id), "missing", to_string(row.status));
  if (auto written = ledger_.commit_restriction(batch); !written) return written;
  put_status(key, row, rows.chain.cas.front());
  recount();
  put_in_force({ledger_.revision(), nullptr, {{Cut::Scope::Device, id, reason_of(row.status)}}});
  // One with its serial that was registered meanwhile: what takes one of them away takes all.
  Answer<void> done;
  for (const Digest& other : same_serial_as(id)) {
    const auto there = store_.device(other);
    if (!there || !*there) continue;
    const DeviceStatus now = status_now(cache_.key((*there)->name, other), **there);
    if (now == DeviceStatus::Revoked || now == row.status) continue;
    if (auto also = set_one_status(other, row.status, restriction.by); !also) done = also.error();
  }
  return done;
}

// Of a device that is gone with its CA: nobody of it comes in anywhere, until the CA is registered again. Then its
// restriction is written before its device is known again. After its certificate's end it does not matter any more.
bool Registrar::Impl::waits_for_its_ca(const Digest& id, const LocalRestriction& restriction) const {
  if (restriction.ca || !restriction.lost || restriction.lost->device.not_after < unix_now()) return false;
  const auto stored = store_.device(id);
  const bool known = !stored || (*stored && !left_behind(**stored));
  return !known && cas_.count(restriction.lost->chain.cas.front()) == 0;
}

// Each is written as the operator's own command would have been. What is stricter over there by now stays so.
void Registrar::Impl::settle_outbox() {
  std::vector<Digest> ids;
  for (const auto& [id, restriction] : held_) {
    if (!waits_for_its_ca(id, restriction)) ids.push_back(id);
  }
  for (const Digest& id : ids) {
    if (auto turn = begin_turn(); !turn) return;
    const LocalRestriction restriction = held_.at(id);
    Answer<void> done;
    if (restriction.ca) {
      const auto found = cas_.find(id);
      if (found != cas_.end()) {
        cas_not_durable_.insert(id);  // in force here, and active in the row
        const auto set = set_ca_status(id, CaStatus::Inactive, restriction.by);
        if (!set) done = set.error();
      }
    } else {
      const auto status = static_cast<DeviceStatus>(restriction.status);
      const auto stored = store_.device(id);
      const bool is_so = stored && *stored && (*stored)->status == status;
      const bool remains = stored && *stored && left_behind(**stored);
      const auto set = remains
                           ? Answer<DeviceRecord>(Refusal{Refusal::Kind::NotFound, "what is left of it is no device"})
                           : set_device_status(id, status, restriction.by);
      if (!set) done = set.error();
      if (set && is_so) {  // another node was first, and this operator's act is to be in the audit log as well
        RegistryStore::Batch line;
        ledger_.audit(restriction.by, action_of(status), to_hex(id), to_string(status), to_string(status));
        done = ledger_.commit_restriction(line);
      }
      const bool missing = !set && set.error().kind == Refusal::Kind::NotFound;
      const bool final = !set && set.error().kind == Refusal::Kind::Conflict;  // revoked over there
      if (missing && restriction.lost) done = write_again(id, restriction);
      // Deleted together with its CA since it was looked at.
      if (missing && !done && waits_for_its_ca(id, restriction)) {
        end_turn();
        continue;
      }
      if (missing && (done || !restriction.lost || restriction.lost->device.not_after < unix_now())) done = {};
      if (final) done = {};
    }
    end_turn();
    if (!done) {
      // One that is refused does not keep the others back.
      if (settle_said_.insert(id).second)
        log_.error("restriction-waits", {{"id", to_hex(id)}, {"why", done.error().what}});
      if (!writer_) return;
      continue;
    }
    settle_said_.erase(id);
    held_.erase(id);
    held_count_ = held_.size();
    RegistryStore::Batch batch;
    store_.remove_outbox(batch, outbox::key(outbox::kRestrictions, id));
    if (const auto written = ledger_.commit_here(batch); !written) {
      log_.warn("restriction-waits", {{"what", "written over there, and kept here to be written again"}});
    }
    log_.info("restriction-written", {{"id", to_hex(id)}, {"status", restriction.status}});
  }
}

Answer<DeviceRecord> Registrar::restrict_device_here(const Digest& id, DeviceStatus status, const Actor& by) {
  return impl_->call<DeviceRecord>([&] { return impl_->restrict_device_here(id, status, by); }, Impl::Turn::Urgent);
}
Answer<CaRecord> Registrar::deactivate_ca_here(const Digest& id, const Actor& by) {
  return impl_->call<CaRecord>([&] { return impl_->restrict_ca_here(id, by); }, Impl::Turn::Urgent);
}

}  // namespace sallyport
