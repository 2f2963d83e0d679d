// The start: the whole registry read into the CA set, the chain table and the status cache.
#include <chrono>

#include "cache/registrar_impl.h"

namespace sallyport {

namespace {

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Refusal damaged(const char* what) {
  return {Refusal::Kind::Unavailable,
          std::string("the registry holds a ") + what + " that cannot be read: restore a backup"};
}

}  // namespace

Answer<void> Registrar::Impl::warm() {
  const auto begun = std::chrono::steady_clock::now();
  const auto meta = store_.meta();
  if (!meta) return meta.error();
  meta_ = *meta;
  if (auto read = warm_cas(); !read) return read;
  std::set<Digest> hashes;
  const auto codes = store_.each_code([&](const CodeRow& code) {
    codes_[code.hash] = code;
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
  // Only now: whether an intermediate is revoked is asked of the devices' cache.
  for (const std::uint64_t id : chains_.ids()) refresh_chain(id, *set, unix_now());
  const auto purges = store_.each_purge([&](const Digest& ca) {
    purges_.push_back({ca, ""});
    return true;
  });
  if (!purges) return purges.error();
  cache_.reclaim();  // nobody reads it yet
  const std::lock_guard lock(mutex_);
  stats_.warmup_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return {};
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
    if (row.issuer_spki == Digest{}) {  // written by schema 1
      complete.issuer_spki = intermediates.empty() ? owner_key : intermediates.front().spki_hash();
    }
    good = add_chain(id, complete, intermediates, owner_key);
    return good;
  });
  return good ? read : damaged("chain");
}

Answer<void> Registrar::Impl::warm_devices() {
  return store_.each_device("", "", [&](const Digest& id, const DeviceRow& row) {
    const bool revoked = row.status == DeviceStatus::Revoked;
    if (chains_.forgotten(row.chain) && (!revoked || unix_now() > row.not_after)) return true;  // to be purged
    if (!revoked && row.registered_by != RegisteredBy::Crl) count_expiry(row.not_after, +1);
    if (!revoked && row.registered_by == RegisteredBy::Crl) ++held_unseen_[chains_.record(row.chain)->cas.front()];
    cache_.put(cache_.key(row.name, id), {static_cast<std::uint32_t>(row.chain), static_cast<std::uint8_t>(row.status),
                                          static_cast<std::uint16_t>(row.seen_day)});
    const ChainRecord* chain = chains_.record(row.chain);
    count(row.status, chain != nullptr ? chain->cas.front() : Digest{}, +1);
    return true;
  });
}

}  // namespace sallyport
