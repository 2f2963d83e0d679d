// What operators change, on the registrar's thread: durable, then in force, then answered. Where the disk
// refuses to take a restriction it is put in force all the same and answered as not durable.
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "cache/crypto/sha2.h"
#include "cache/registry/registrar_impl.h"
#include "cache/standing/cuts.h"
#include "cache/x509/ca_rules.h"

namespace sallyport {

namespace {

constexpr std::size_t kCodeBytes = 16;  // 128 random bits
constexpr std::int64_t kTrustAgainMs = 60'000, kTrustSoonMs = 2'000;
constexpr std::size_t kCodesOutstanding = 10'000;  // an operator's script gone wild must not fill the disk

Refusal revoked_ca() {
  return {Refusal::Kind::Conflict,
          "the CA that issued this one revoked it, or holds it, in a CRL that was imported: its devices stay refused"};
}

CaRow row_of(const CaRecord& ca) {
  return {ca.status, ca.auto_register, ca.approve, ca.from_config, ca.registered_at, ca.certificate.der()};
}

}  // namespace

std::shared_ptr<const CaSet> Registrar::Impl::build_ca_set(std::int64_t) {
  std::vector<CaEntry> entries;
  {
    const std::lock_guard lock(mutex_);
    stats_.cas_active = stats_.cas_inactive = 0;
    for (const auto& [id, ca] : cas_) {
      // Nobody knows what was changed since this node heard of the shared registry last.
      const CaStatus status = stale_ == Stale::RefuseAll ? CaStatus::Inactive : ca.status;
      entries.push_back({ca.certificate, status, ca.auto_register && !stale_, ca.approve, ca.full});
      note_whether_full(ca);
      ++(ca.status == CaStatus::Active ? stats_.cas_active : stats_.cas_inactive);
    }
  }
  return std::make_shared<const CaSet>(std::move(entries), server_keys_, code_hashes_, links_);
}

void Registrar::Impl::put_cas_in_force(std::int64_t now) {
  const auto before = cas_now();
  const auto after = build_ca_set(now);
  Notice notice;
  notice.revision = ledger_.revision();
  notice.cas = after;
  notice.cuts = cuts_between(*before, *after, chains_, now);
  book_.refresh_all(*after, now);
  {
    const std::lock_guard lock(mutex_);
    ca_set_ = after;
  }
  put_in_force(notice);
}

// `expires_at` itself is the code's last second.
Registrar::Impl::IssuedCode Registrar::Impl::issued(const CodeRow& row) {
  return {row, Lifetime(row.expires_at + 1, unix_now(), steady_seconds())};
}

Answer<Code> Registrar::Impl::issue_code(std::int64_t ttl_seconds, const Actor& by) {
  const std::int64_t now = unix_now();
  const auto outstanding = std::count_if(codes_.begin(), codes_.end(), [&](const auto& item) {
    return !item.second.row.used && item.second.row.expires_at > now;
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
  ledger_.note(Change::Kind::CodeIssued, row.hash, 0);
  ledger_.audit(by, "code.issue", to_hex(row.hash), "", "");  // its hash: the code itself is a secret until it is used
  const auto undo = [&](RegistryStore::Batch& back) { store_.remove_code(back, row.hash); };
  if (const auto written = ledger_.commit(batch, Durable::Answered, undo); !written) return written.error();
  codes_.insert_or_assign(row.hash, issued(row));
  code_ends_at_ = std::min(code_ends_at_.load(), row.expires_at + 1);
  auto hashes = std::make_shared<std::set<Digest>>(*code_hashes_);
  hashes->insert(row.hash);
  code_hashes_ = std::move(hashes);
  put_cas_in_force(now);
  return code;
}

Answer<void> Registrar::Impl::store_cas(std::vector<CaRecord> records, RegistryStore::Batch& batch, const Actor& by,
                                        const std::optional<CodeRow>& code) {
  for (CaRecord& record : records) {
    if (const auto remains = remains_.find(record.id); remains != remains_.end()) record.devices = remains->second;
    ledger_.audit(by, "ca.register", to_hex(record.id), "", to_string(record.status));
    store_.put_ca(batch, record.id, row_of(record));
    ledger_.note(Change::Kind::CaRegistered, record.id, static_cast<std::uint8_t>(record.status));
  }
  const auto undo = [&](RegistryStore::Batch& back) {
    for (const CaRecord& record : records) store_.remove_ca(back, record.id);
    if (code) store_.put_code(back, *code);
  };
  if (auto written = ledger_.commit(batch, Durable::Answered, undo); !written) return written;
  {
    const std::lock_guard lock(mutex_);
    for (const CaRecord& record : records) {
      cas_.insert_or_assign(record.id, record);
      remains_.erase(record.id);
    }
  }
  put_cas_in_force(unix_now());
  return {};
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
  IssuedCode* found = nullptr;
  // Every code is compared, each in constant time: nothing tells how near a guess came.
  for (auto& [hash, code] : codes_) {
    if (CRYPTO_memcmp(hash.data(), given.data(), hash.size()) == 0) found = &code;
  }
  if (found == nullptr) {
    return Refusal{Refusal::Kind::Invalid,
                   "the verification certificate's CN is not a registration code: get one with `ca code`"};
  }
  CodeRow& code = found->row;
  if (code.used)
    return Refusal{Refusal::Kind::Conflict, "this registration code was used already: get a new one with `ca code`"};
  if (found->life.over(now, steady_seconds()))
    return Refusal{Refusal::Kind::Invalid, "this registration code has expired: get a new one with `ca code`"};
  if (cas_.size() >= options_.max_cas) {
    return Refusal{Refusal::Kind::Conflict,
                   std::to_string(cas_.size()) + " CAs are registered, the limit of registry.max_cas"};
  }
  CodeRow used = code;
  used.used = true;
  RegistryStore::Batch batch;
  store_.put_code(batch, used);
  const CaRecord record{certificate.fingerprint(),
                        certificate,
                        CaStatus::Active,
                        registration.auto_register.value_or(options_.auto_register),
                        registration.approve,
                        false,
                        now,
                        {},
                        0};
  if (const auto stored = store_cas({record}, batch, by, code); !stored) return stored.error();
  code = used;
  return ca(record.id);
}

Answer<void> Registrar::Impl::trust(const std::vector<Certificate>& cas) {
  if (auto added = add_trusted(cas, unix_now()); !added) return added;
  std::set<Digest> named;
  for (const Certificate& certificate : cas) named.insert(certificate.fingerprint());
  const std::lock_guard lock(mutex_);
  trusted_ = std::move(named);
  return {};
}

// With a shared registry out of reach: tried again, as those whose time has not come.
Answer<void> Registrar::Impl::trust_later(const std::vector<Certificate>& absent, const Refusal& why) {
  log_.error("trusted-ca", {{"what", "not registered yet: tried again"}, {"why", why.what}});
  trust_at_ms_ = steady_ms() + kTrustSoonMs;
  const std::lock_guard lock(mutex_);
  passed_over_ = absent;
  return {};
}

Answer<void> Registrar::Impl::add_trusted(const std::vector<Certificate>& cas, std::int64_t now) {
  const auto absent_here = [&](const Certificate& ca) { return cas_.count(ca.fingerprint()) == 0; };
  if (follower_ && std::any_of(cas.begin(), cas.end(), absent_here)) {
    if (const auto turn = begin_turn(); !turn) {
      std::vector<Certificate> absent;
      std::copy_if(cas.begin(), cas.end(), std::back_inserter(absent), absent_here);
      return trust_later(absent, turn.error());
    }
  }
  std::set<Digest> named;
  std::vector<Certificate> absent, passed_over;
  for (const Certificate& certificate : cas) {
    const bool again = !named.insert(certificate.fingerprint()).second;
    if (again || cas_.count(certificate.fingerprint()) != 0) continue;
    const auto fit = check_ca(certificate, now);
    if (!fit && !in_date(certificate, now)) {
      log_.warn("trusted-ca", {{"what", "passed over: it is out of date, and was not registered before"},
                               {"ca", to_hex(certificate.fingerprint())},
                               {"subject", certificate.subject()},
                               {"why", fit.error().what}});
      passed_over.push_back(certificate);
      continue;
    }
    if (!fit) return Refusal{fit.error().kind, certificate.subject() + ": " + fit.error().what};
    absent.push_back(certificate);
  }
  if (!absent.empty() && cas_.size() + absent.size() > options_.max_cas) {
    return Refusal{Refusal::Kind::Conflict, "more CAs than registry.max_cas = " + std::to_string(options_.max_cas)};
  }
  std::vector<CaRecord> records;
  for (const Certificate& certificate : absent) {
    const bool listed = listed_by_its_issuer(certificate, absent);
    if (listed) log_.warn("trusted-ca-revoked", {{"ca", to_hex(certificate.fingerprint())}});
    const CaStatus status = listed ? CaStatus::Inactive : CaStatus::Active;
    records.push_back(
        {certificate.fingerprint(), certificate, status, options_.auto_register, false, true, now, {}, 0});
  }
  if (!records.empty()) {
    RegistryStore::Batch batch;
    auto stored = store_cas(std::move(records), batch, {"configuration", "-"});
    end_turn();
    if (!stored && follower_ && stored.error().kind == Refusal::Kind::Unavailable)
      return trust_later(absent, stored.error());
    if (!stored) return stored;
  }
  const std::lock_guard lock(mutex_);
  passed_over_ = std::move(passed_over);
  return {};
}

bool Registrar::Impl::passed_over_begins(std::int64_t now) const {
  if (steady_ms() < trust_at_ms_) return false;
  const std::lock_guard lock(mutex_);
  return std::any_of(passed_over_.begin(), passed_over_.end(), [&](const Certificate& ca) { return in_date(ca, now); });
}

void Registrar::Impl::clock_was_set(std::int64_t now) {
  end_codes(now);
  look_at_dates(now);
}

// Codes that have ended stay so, wherever the clock is set afterwards, and after a restart: their end is written as
// long past.
void Registrar::Impl::end_codes(std::int64_t now) {
  constexpr std::int64_t kLongPast = 1;
  RegistryStore::Batch batch;
  std::int64_t next = INT64_MAX;
  for (auto& [hash, code] : codes_) {
    if (code.row.used || code.row.expires_at <= kLongPast) continue;
    if (!code.life.over(now, steady_seconds())) {
      next = std::min(next, code.row.expires_at + 1);
      continue;
    }
    code.row.expires_at = kLongPast;
    store_.put_code(batch, code.row);
  }
  code_ends_at_ = next;
  if (batch.empty()) return;
  const auto turn = follower_ ? begin_turn() : Answer<void>();
  const auto written = turn ? ledger_.commit_restriction(batch) : turn;
  end_turn();
  if (!written) {
    log_.warn("codes", {{"what", "ended, not durable yet"}, {"why", written.error().what}});
  }
}

void Registrar::Impl::look_at_dates(std::int64_t now) {
  if (now >= code_ends_at_) end_codes(now);
  if (!book_.holds_at(now)) put_cas_in_force(now);
  if (!passed_over_begins(now)) return;
  const std::vector<Certificate> passed_over = passed_over_;
  if (const auto added = add_trusted(passed_over, now); !added) {
    trust_at_ms_ = steady_ms() + kTrustAgainMs;
    return log_.error("trusted-ca",
                      {{"what", "its time has come, and it cannot be registered"}, {"why", added.error().what}});
  }
  for (const Certificate& ca : passed_over) {
    if (cas_.count(ca.fingerprint()) == 0) continue;
    log_.info("trusted-ca",
              {{"what", "its time has come: registered"}, {"ca", to_hex(ca.fingerprint())}, {"subject", ca.subject()}});
  }
}

Answer<CaRecord> Registrar::Impl::set_ca_status(const Digest& id, CaStatus status, const Actor& by) {
  const auto found = cas_.find(id);
  if (found == cas_.end()) return Refusal{Refusal::Kind::NotFound, "no CA has the id " + to_hex(id)};
  // Where the disk refused it, the same command again is how an operator makes it durable.
  const bool proven = cas_not_durable_.count(id) == 0 && (status == CaStatus::Active || !ledger_.in_doubt());
  if (found->second.status == status && proven) return ca(id);
  if (found->second.status == status && ledger_.owes()) return not_durable(ledger_.owed_why());
  if (status == CaStatus::Active && listed_by_its_issuer(found->second.certificate)) return revoked_ca();
  CaRecord record = found->second;
  record.status = status;
  RegistryStore::Batch batch;
  store_.put_ca(batch, id, row_of(record));
  ledger_.note(Change::Kind::CaStatusSet, id, static_cast<std::uint8_t>(status));
  // Where the disk refused the first time, no line says what it was before.
  const CaStatus before = cas_not_durable_.count(id) != 0 ? CaStatus::Active : found->second.status;
  ledger_.audit(by, status == CaStatus::Active ? "ca.activate" : "ca.deactivate", to_hex(id), to_string(before),
                to_string(status));
  const auto undo = [&](RegistryStore::Batch& back) { store_.put_ca(back, id, row_of(found->second)); };
  const auto written =
      status == CaStatus::Active ? ledger_.commit(batch, Durable::Answered, undo) : ledger_.commit_restriction(batch);
  if (!written && (status == CaStatus::Active || ledger_.shared())) return written.error();
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

namespace {

std::string joining_of(const CaRecord& ca) {
  return std::string("auto_register ") + (ca.auto_register ? "on" : "off") + ", approve " + (ca.approve ? "on" : "off");
}

}  // namespace

Answer<CaRecord> Registrar::Impl::set_ca_joining(const Digest& id, std::optional<bool> auto_register,
                                                 std::optional<bool> approve, const Actor& by) {
  const auto found = cas_.find(id);
  if (found == cas_.end()) return Refusal{Refusal::Kind::NotFound, "no CA has the id " + to_hex(id)};
  CaRecord record = found->second;
  record.auto_register = auto_register.value_or(record.auto_register);
  record.approve = approve.value_or(record.approve);
  if (joining_of(record) == joining_of(found->second)) return ca(id);
  RegistryStore::Batch batch;
  store_.put_ca(batch, id, row_of(record));
  ledger_.note(Change::Kind::SettingChanged, id, 0);
  ledger_.audit(by, "ca.joining", to_hex(id), joining_of(found->second), joining_of(record));
  const auto undo = [&](RegistryStore::Batch& back) { store_.put_ca(back, id, row_of(found->second)); };
  if (const auto written = ledger_.commit(batch, Durable::Answered, undo); !written) return written.error();
  {
    const std::lock_guard lock(mutex_);
    found->second.auto_register = record.auto_register;
    found->second.approve = record.approve;
  }
  put_cas_in_force(unix_now());
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
                   "this CA is " + std::string(to_string(was.status)) + " and has " + std::to_string(devices.active) +
                       " active, " + std::to_string(devices.inactive) + " inactive, " +
                       std::to_string(devices.pending) + " pending and " + std::to_string(devices.revoked) +
                       " revoked devices: deactivate " +
                       (was.status == CaStatus::Active ? "it and its devices" : "its devices") +
                       " first, or delete it with --cascade"};
  }
  RegistryStore::Batch batch;
  const auto forgotten = book_.mark_forgotten(id, batch);
  if (!forgotten) return forgotten.error();
  store_.remove_ca(batch, id);
  store_.put_purge(batch, id);
  ledger_.note(Change::Kind::CaDeleted, id, 0);
  ledger_.audit(by, cascade ? "ca.delete-cascade" : "ca.delete", to_hex(id),
                std::string(to_string(was.status)) + ", " + std::to_string(devices.active) + " active devices", "");
  const auto undo = [&](RegistryStore::Batch& back) {
    store_.put_ca(back, id, row_of(was));
    store_.remove_purge(back, id);
    book_.put_remembered(*forgotten, back);
  };
  if (const auto written = ledger_.commit(batch, Durable::Answered, undo); !written) {
    // It did not happen: what waits for its first batch must not be written as forgotten by the next one.
    book_.unmark(*forgotten);
    return written.error();
  }
  book_.forget(*forgotten);
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

Answer<void> Registrar::Impl::set_server_keys(std::vector<Digest> spki_hashes) {
  server_keys_ = {spki_hashes.begin(), spki_hashes.end()};
  put_cas_in_force(unix_now());
  return {};
}

}  // namespace sallyport
