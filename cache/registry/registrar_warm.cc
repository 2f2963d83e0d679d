// The start: the whole registry read into the CA set, the chain table and the status cache.
#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "cache/registry/registrar_impl.h"
#include "cache/registry/warm_devices.h"

namespace sallyport {

namespace {

Refusal damaged(const char* what) {
  return {Refusal::Kind::Unavailable,
          std::string("the registry holds a ") + what + " that cannot be read: restore a backup"};
}

}  // namespace

Answer<void> Registrar::Impl::warm(const StandingEpochs& last) {
  const auto begun = std::chrono::steady_clock::now();
  const auto epochs = store_.epochs();
  if (!epochs) return epochs.error();
  if (follower_ && *epochs) {
    take_epochs(**epochs);
    cache_.raise_epoch();
  } else {
    cache_.begin(last.epoch);
  }
  if (auto read = read_owed_drop(); !read) return read;
  if (auto read = read_kept(); !read) return read;
  if (auto read = ledger_.warm(); !read) return read;
  if (auto read = read_outbox(); !read) return read;
  if (auto read = read_lines(); !read) return read;
  const auto resync = store_.resync();
  if (!resync) return resync.error();
  book_.hold(*resync);  // until the snapshot that this start goes on with is whole
  if (auto read = warm_cas(); !read) return read;
  std::set<Digest> hashes;
  const auto codes = store_.each_code([&](const CodeRow& code) {
    codes_.insert_or_assign(code.hash, issued(code));
    if (!code.used) code_ends_at_ = std::min(code_ends_at_.load(), code.expires_at + 1);
    hashes.insert(code.hash);
    return true;
  });
  if (!codes) return codes.error();
  code_hashes_ = std::make_shared<const std::set<Digest>>(std::move(hashes));
  const auto set = build_ca_set(unix_now());
  {
    const std::lock_guard lock(mutex_);
    ca_set_ = set;
  }
  if (auto read = warm_chains(); !read) return read;
  if (auto read = warm_devices(); !read) return read;
  for (const auto& [id, restriction] : held_) in_force_here(id, restriction);
  // Only now: whether an intermediate is revoked is asked of the devices' cache.
  book_.refresh_all(*set, unix_now());
  chains_.end_epoch_of_all(epochs_ ? epochs_->of_chains : last.of_chains);
  cache_.raise_epoch();
  const auto lists = store_.each_crl([&](const CrlKey& key, const CrlRow& row) {
    const std::lock_guard lock(mutex_);
    crls_[key] = row;
    return true;
  });
  if (!lists) return lists.error();
  const auto purges = store_.each_purge([&](const Digest& ca) {
    purges_.push_back({ca, ""});
    return true;
  });
  if (!purges) return purges.error();
  const std::lock_guard lock(mutex_);
  stats_.warmup_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return {};
}

std::optional<StandingEpochs> Registrar::Impl::epochs_at_stop() const {
  StandingEpochs last{cache_.epoch(), 0};
  if (ledger_.owes() || ledger_.forgot() || cache_.next_epoch() == StatusCache::kLastEpoch) return std::nullopt;
  for (const std::uint64_t id : chains_.ids()) last.of_chains = std::max(last.of_chains, chains_.epoch(id));
  return last;
}

Answer<void> Registrar::Impl::warm_cas() {
  bool good = true;
  const auto read = store_.each_ca([&](const Digest& id, const CaRow& row) {
    auto certificate = Certificate::from_der(bytes_of(row.der));
    good = static_cast<bool>(certificate);
    if (!good) return false;
    const std::lock_guard lock(mutex_);
    cas_.insert_or_assign(id, CaRecord{id,
                                       std::move(*certificate),
                                       row.status,
                                       row.auto_register,
                                       row.approve,
                                       row.from_config,
                                       row.registered_at,
                                       {},
                                       0});
    return true;
  });
  return good ? read : damaged("CA");
}

Answer<void> Registrar::Impl::warm_chains() {
  bool good = true;
  const auto set = cas_now();
  const auto read = store_.each_chain([&](std::uint64_t id, const ChainRow& row) {
    std::vector<Certificate> intermediates;
    for (const std::string& der : row.intermediates) {
      auto certificate = Certificate::from_der(bytes_of(der));
      good = static_cast<bool>(certificate);
      if (!good) return false;
      intermediates.push_back(std::move(*certificate));
    }
    const auto owner = set->find(row.cas.front());
    const Digest owner_key = owner ? set->entry(*owner).certificate.spki_hash() : Digest{};
    ChainRow complete = row;
    if (row.issuing_key == Digest{}) {  // written by schema 1
      complete.issuing_key = issuing_key_of(intermediates, owner_key);
    }
    good = book_.restore(id, complete, intermediates, owner_key);
    return good;
  });
  return good ? read : damaged("chain");
}

Answer<void> Registrar::Impl::warm_devices() {
  const auto tally = sallyport::warm_devices(store_, chains_, cache_, unix_now(), warm_threads());
  if (!tally) return tally.error();
  for (const auto& [chain, counts] : tally->by_chain) {
    const ChainRecord* record = chains_.record(chain);
    const Digest owner = record != nullptr ? record->cas.front() : Digest{};
    for (std::size_t status = 0; status < counts.by_status.size(); ++status) {
      if (counts.by_status[status] > 0) {
        count(static_cast<DeviceStatus>(status), owner, static_cast<int>(counts.by_status[status]));
      }
    }
    if (counts.held_unseen > 0) held_unseen_[owner] += counts.held_unseen;
  }
  for (const auto& [day, devices] : tally->by_last_day) expiring_[day] += devices;
  return {};
}

}  // namespace sallyport
