// What operators change, on the registrar's thread: durable, then in force, then answered. Where the disk
// refuses to take a restriction it is put in force all the same and answered as not durable.
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "cache/crypto/sha2.h"
#include "cache/registry/registrar_impl.h"
#include "cache/x509/ca_rules.h"

namespace sallyport {

namespace {

constexpr std::size_t kCodeBytes = 16;             // 128 random bits
constexpr std::size_t kCodesOutstanding = 10'000;  // an operator's script gone wild must not fill the disk

Refusal revoked_ca() {
  return {Refusal::Kind::Conflict,
          "the CA that issued this one revoked it, or holds it, in a CRL that was imported: its devices stay refused"};
}

CaRow row_of(const CaRecord& ca) {
  return {ca.status, ca.auto_register, ca.approve, ca.from_config, ca.registered_at, ca.certificate.der()};
}

}  // namespace

std::uint64_t Registrar::Impl::chain_of(const PathFound& path, const CaSet& cas, RegistryStore::Batch&) {
  std::string name(path.cas.front().begin(), path.cas.front().end());
  for (const Certificate& certificate : path.intermediates) {
    name.append(certificate.fingerprint().begin(), certificate.fingerprint().end());
  }
  if (const auto known = chain_ids_.find(name); known != chain_ids_.end()) return known->second;
  ChainRow row;
  row.cas = path.cas;
  for (const Certificate& certificate : path.intermediates) row.intermediates.push_back(certificate.der());
  const auto owner = cas.find(path.cas.front());
  const Digest owner_key = owner ? cas.entry(*owner).certificate.spki_hash() : Digest{};
  row.issuer_spki = path.intermediates.empty() ? owner_key : path.intermediates.front().spki_hash();
  return new_chain(std::move(row), path.intermediates, owner_key, cas);
}

// 0: every chain id was given out.
std::uint64_t Registrar::Impl::new_chain(ChainRow row, const std::vector<Certificate>& intermediates,
                                         const Digest& owner_key, const CaSet& cas) {
  const std::uint64_t id = meta_.next_chain;
  if (!add_chain(id, row, intermediates, owner_key)) {
    log_.error("chain-ids-exhausted", {{"chains", chains_.ids().size()}});
    return 0;
  }
  ++meta_.next_chain;
  chains_unsaved_.insert(id);
  chain_rows_[id] = std::move(row);
  refresh_chain(id, cas, unix_now());
  return id;
}

bool Registrar::Impl::add_chain(std::uint64_t id, const ChainRow& row, const std::vector<Certificate>& intermediates,
                                const Digest& owner_key) {
  ChainRecord record;
  record.cas = row.cas;
  record.issuer_spki = row.issuer_spki;
  record.crl = row.crl;
  std::string name = row.crl ? "crl" : "";
  name.append(row.cas.front().begin(), row.cas.front().end());
  for (std::size_t i = 0; i < intermediates.size(); ++i) {
    const Certificate& certificate = intermediates[i];
    name.append(certificate.fingerprint().begin(), certificate.fingerprint().end());
    record.intermediates.push_back(certificate.fingerprint());
    record.intermediate_names.push_back({issuer_serial(certificate.issuer_der(), certificate.serial()),
                                         i + 1 < intermediates.size() ? intermediates[i + 1].spki_hash() : owner_key,
                                         certificate.subject_der(), certificate.spki_hash()});
    Window& dates = record.intermediate_dates;
    dates.not_before = std::max(dates.not_before, certificate.not_before());
    dates.not_after = std::min(dates.not_after, certificate.not_after());
  }
  if (!chains_.add(id, std::move(record))) return false;
  if (row.forgotten) {
    chains_.forget(id);
  } else {
    chain_ids_.insert_or_assign(std::move(name), id);
  }
  return true;
}

void Registrar::Impl::refresh_chain(std::uint64_t id, const CaSet& cas, std::int64_t now) {
  const ChainRecord* record = chains_.record(id);
  if (record == nullptr) return;
  const auto owner = cas.find(record->cas.front());
  auto window = owner ? cas.window(*owner, now) : std::nullopt;
  const bool revoked =
      std::any_of(record->intermediate_names.begin(), record->intermediate_names.end(),
                  [&](const auto& named) { return serial_listed(cache_, chains_, named.name, named.issuer_spki); });
  if (record->crl || revoked || record->standing_between(cas, now) != Reason::None) window.reset();
  if (window) {
    window->not_before = std::max(window->not_before, record->intermediate_dates.not_before);
    window->not_after = std::min(window->not_after, record->intermediate_dates.not_after);
  }
  chains_.set(id, window);
}

std::shared_ptr<const CaSet> Registrar::Impl::build_ca_set(std::int64_t) {
  std::vector<CaEntry> entries;
  {
    const std::lock_guard lock(mutex_);
    stats_.cas_active = stats_.cas_inactive = 0;
    for (const auto& [id, ca] : cas_) {
      entries.push_back({ca.certificate, ca.status, ca.auto_register, ca.approve});
      ++(ca.status == CaStatus::Active ? stats_.cas_active : stats_.cas_inactive);
    }
  }
  return std::make_shared<const CaSet>(std::move(entries), server_keys_, code_hashes_, links_);
}

void Registrar::Impl::put_cas_in_force(std::int64_t now) {
  const auto before = cas_now();
  const auto after = build_ca_set(now);
  Notice notice;
  notice.revision = meta_.revision;
  notice.cas = after;
  // A CA that lost its last living path takes the sessions of its devices with it, whichever CA above it
  // was deactivated.
  for (const CaEntry& entry : before->entries()) {
    const Digest& id = entry.certificate.fingerprint();
    const Reason why = after->standing_through_key(id, now);
    if (before->standing_through_key(id, now) == Reason::None && why != Reason::None) {
      notice.cuts.push_back({Cut::Scope::Ca, id, why});
    }
  }
  for (const std::uint64_t id : chains_.ids()) refresh_chain(id, *after, now);
  // Sessions through a CA that their client sent before it was registered are indexed by an owner above it, which may
  // be as well as ever.
  std::set<Digest> owners;
  for (const std::uint64_t id : chains_.ids()) {
    const ChainRecord* record = chains_.record(id);
    if (record->crl || record->standing_between(*before, now) != Reason::None) continue;
    if (record->standing_between(*after, now) != Reason::None) owners.insert(record->cas.front());
  }
  for (const Digest& owner : owners) notice.cuts.push_back({Cut::Scope::Ca, owner, Reason::CaInactive, true});
  {
    const std::lock_guard lock(mutex_);
    ca_set_ = after;
  }
  sink_.put_in_force(notice);
}

Answer<Code> Registrar::Impl::issue_code(std::int64_t ttl_seconds, const Actor& by) {
  const std::int64_t now = unix_now();
  const auto outstanding = std::count_if(codes_.begin(), codes_.end(), [&](const auto& item) {
    return !item.second.used && item.second.expires_at > now;
  });
  if (static_cast<std::size_t>(outstanding) >= kCodesOutstanding) {
    return Refusal{Refusal::Kind::Conflict, "10,000 registration codes are outstanding: use them or let them expire"};
  }
  std::array<std::uint8_t, kCodeBytes> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
    return Refusal{Refusal::Kind::Unavailable, "the kernel gives no random bytes"};
  }
  Code code{to_hex(random), now + ttl_seconds};
  const CodeRow row{Sha256::of(code.code), code.expires_at, false};
  RegistryStore::Batch batch;
  store_.put_code(batch, row);
  note(Change::Kind::CodeIssued, row.hash, 0);
  audit(by, "code.issue", to_hex(row.hash), "", "");  // its hash: the code itself is a secret until it is used
  if (const auto written = commit(batch, true); !written) return written.error();
  codes_[row.hash] = row;
  auto hashes = std::make_shared<std::set<Digest>>(*code_hashes_);
  hashes->insert(row.hash);
  code_hashes_ = std::move(hashes);
  put_cas_in_force(now);
  return code;
}

Answer<CaRecord> Registrar::Impl::store_ca(CaRecord record, RegistryStore::Batch& batch, const Actor& by) {
  if (const auto remains = remains_.find(record.id); remains != remains_.end()) record.devices = remains->second;
  audit(by, "ca.register", to_hex(record.id), "", record.status == CaStatus::Active ? "active" : "inactive");
  store_.put_ca(batch, record.id, row_of(record));
  note(Change::Kind::CaRegistered, record.id, static_cast<std::uint8_t>(record.status));
  if (const auto written = commit(batch, true); !written) return written.error();
  {
    const std::lock_guard lock(mutex_);
    cas_.insert_or_assign(record.id, record);
    remains_.erase(record.id);
  }
  put_cas_in_force(unix_now());
  return record;
}

Answer<CaRecord> Registrar::Impl::register_ca(const CaRegistration& registration, const Actor& by) {
  const Certificate& certificate = registration.certificate;
  const std::int64_t now = unix_now();
  if (cas_.count(certificate.fingerprint()) != 0) {
    return Refusal{Refusal::Kind::Conflict, "this CA is registered already: " + to_hex(certificate.fingerprint())};
  }
  if (const auto fit = check_ca(certificate, now); !fit) return fit.error();
  if (const auto proof = check_verification(certificate, registration.verification); !proof) return proof.error();
  if (listed_by_its_issuer(certificate)) return revoked_ca();
  const Digest given = Sha256::of(registration.verification.cn());
  CodeRow* code = nullptr;
  // Every code is compared, each in constant time: nothing tells how near a guess came.
  for (auto& [hash, row] : codes_) {
    if (CRYPTO_memcmp(hash.data(), given.data(), hash.size()) == 0) code = &row;
  }
  if (code == nullptr) {
    return Refusal{Refusal::Kind::Invalid,
                   "the verification certificate's CN is not a registration code: get one with `ca code`"};
  }
  if (code->used)
    return Refusal{Refusal::Kind::Conflict, "this registration code was used already: get a new one with `ca code`"};
  if (now > code->expires_at)
    return Refusal{Refusal::Kind::Invalid, "this registration code has expired: get a new one with `ca code`"};
  if (cas_.size() >= options_.max_cas) {
    return Refusal{Refusal::Kind::Conflict,
                   std::to_string(cas_.size()) + " CAs are registered, the limit of registry.max_cas"};
  }
  CodeRow used = *code;
  used.used = true;
  RegistryStore::Batch batch;
  store_.put_code(batch, used);
  auto stored = store_ca({certificate.fingerprint(),
                          certificate,
                          CaStatus::Active,
                          registration.auto_register.value_or(options_.auto_register),
                          registration.approve,
                          false,
                          now,
                          {},
                          0},
                         batch, by);
  if (stored) *code = used;
  return stored;
}

Answer<void> Registrar::Impl::trust(const std::vector<Certificate>& cas) {
  const std::int64_t now = unix_now();
  trusted_.clear();
  for (const Certificate& certificate : cas) trusted_.insert(certificate.fingerprint());
  for (const Certificate& certificate : cas) {
    if (cas_.count(certificate.fingerprint()) != 0) continue;
    if (const auto fit = check_ca(certificate, now); !fit) {
      return Refusal{fit.error().kind, certificate.subject() + ": " + fit.error().what};
    }
    if (cas_.size() >= options_.max_cas) {
      return Refusal{Refusal::Kind::Conflict, "more CAs than registry.max_cas = " + std::to_string(options_.max_cas)};
    }
    RegistryStore::Batch batch;
    const bool listed = listed_by_its_issuer(certificate);
    if (listed) log_.warn("trusted-ca-revoked", {{"ca", to_hex(certificate.fingerprint())}});
    const auto stored = store_ca({certificate.fingerprint(),
                                  certificate,
                                  listed ? CaStatus::Inactive : CaStatus::Active,
                                  options_.auto_register,
                                  false,
                                  true,
                                  now,
                                  {},
                                  0},
                                 batch, {"configuration", "-"});
    if (!stored) return stored.error();
  }
  return {};
}

Answer<CaRecord> Registrar::Impl::set_ca_status(const Digest& id, CaStatus status, const Actor& by) {
  const auto found = cas_.find(id);
  if (found == cas_.end()) return Refusal{Refusal::Kind::NotFound, "no CA has the id " + to_hex(id)};
  // Where the disk refused it, the same command again is how an operator makes it durable.
  if (found->second.status == status && cas_not_durable_.count(id) == 0) return ca(id);
  if (status == CaStatus::Active && listed_by_its_issuer(found->second.certificate)) return revoked_ca();
  CaRecord record = found->second;
  record.status = status;
  RegistryStore::Batch batch;
  store_.put_ca(batch, id, row_of(record));
  note(Change::Kind::CaStatusSet, id, static_cast<std::uint8_t>(status));
  const bool activates = status == CaStatus::Active;
  audit(by, activates ? "ca.activate" : "ca.deactivate", to_hex(id), activates ? "inactive" : "active",
        activates ? "active" : "inactive");
  const auto written = commit(batch, true);
  if (!written && status == CaStatus::Active) return written.error();
  {
    const std::lock_guard lock(mutex_);
    found->second.status = status;
  }
  put_cas_in_force(unix_now());
  if (!written) {
    cas_not_durable_.insert(id);
    log_.error("in-force-not-durable", {{"ca", to_hex(id)}, {"why", written.error().what}});
    return not_durable(written.error());
  }
  cas_not_durable_.erase(id);
  return ca(id);
}

Answer<CaRecord> Registrar::Impl::delete_ca(const Digest& id, bool cascade, const Actor& by) {
  const auto found = cas_.find(id);
  if (found == cas_.end()) return Refusal{Refusal::Kind::NotFound, "no CA has the id " + to_hex(id)};
  const CaRecord was = found->second;
  if (trusted_.count(id) != 0) {
    return Refusal{Refusal::Kind::Conflict,
                   "this CA is named by registry.trusted_cas: take it out of the configuration and reload first"};
  }
  const DeviceCounts& devices = was.devices;
  if (!cascade && (was.status == CaStatus::Active || devices.active > 0)) {
    return Refusal{Refusal::Kind::Conflict,
                   std::string("this CA is ") + (was.status == CaStatus::Active ? "active" : "inactive") + " and has " +
                       std::to_string(devices.active) + " active, " + std::to_string(devices.inactive) + " inactive, " +
                       std::to_string(devices.pending) + " pending and " + std::to_string(devices.revoked) +
                       " revoked devices: deactivate it and its devices first, or delete it with --cascade"};
  }
  RegistryStore::Batch batch;
  std::vector<std::uint64_t> forgotten;
  for (const std::uint64_t chain : chains_.ids()) {
    const ChainRecord* record = chains_.record(chain);
    if (record->crl || record->cas.front() != id || chains_.forgotten(chain)) continue;
    forgotten.push_back(chain);
  }
  if (auto marked = mark_forgotten(forgotten, batch); !marked) return marked.error();
  store_.remove_ca(batch, id);
  store_.put_purge(batch, id);
  note(Change::Kind::CaDeleted, id, 0);
  audit(by, cascade ? "ca.delete-cascade" : "ca.delete", to_hex(id),
        std::string(was.status == CaStatus::Active ? "active" : "inactive") + ", " + std::to_string(devices.active) +
            " active devices",
        "");
  if (const auto written = commit(batch, true); !written) {
    // It did not happen: what waits for its first batch must not be written as forgotten by the next one.
    for (auto& [chain, row] : chain_rows_) row.forgotten = false;
    return written.error();
  }
  for (const std::uint64_t chain : forgotten) chains_.forget(chain);
  std::erase_if(chain_ids_, [&](const auto& known) { return chains_.forgotten(known.second); });
  {
    const std::lock_guard lock(mutex_);
    stats_.devices.active -= devices.active;
    const std::uint64_t held = held_unseen_[id];  // serials a CRL listed stay listed
    stats_.devices.inactive -= devices.inactive - held;
    stats_.devices.pending -= devices.pending;
    if (devices.revoked != 0 || held != 0) remains_[id] = {0, held, 0, devices.revoked};
    cas_.erase(id);
  }
  cas_not_durable_.erase(id);
  purges_.push_back({id, ""});
  put_cas_in_force(unix_now());
  return was;
}

Answer<void> Registrar::Impl::mark_forgotten(const std::vector<std::uint64_t>& chains, RegistryStore::Batch& batch) {
  const std::set<std::uint64_t> wanted(chains.begin(), chains.end());
  const auto marked = store_.each_chain([&](std::uint64_t chain, const ChainRow& row) {
    if (wanted.count(chain) == 0) return true;
    ChainRow forgotten = row;
    forgotten.forgotten = true;
    store_.put_chain(batch, chain, forgotten);
    return true;
  });
  // Given out, but in no batch yet: they are written with this one.
  for (const std::uint64_t chain : chains) {
    if (chains_unsaved_.count(chain) != 0) chain_rows_[chain].forgotten = true;
  }
  return marked;
}

Answer<void> Registrar::Impl::set_server_keys(std::vector<Digest> spki_hashes) {
  server_keys_ = {spki_hashes.begin(), spki_hashes.end()};
  put_cas_in_force(unix_now());
  return {};
}

}  // namespace sallyport
