#include "cache/registry/crl_import.h"

#include <algorithm>
#include <utility>

#include "cache/crypto/sha2.h"

namespace sallyport {

namespace {

constexpr std::size_t kCrlEntries = 4096;  // of one part
constexpr std::size_t kMostScopes = 1000;  // of one issuing key, whose last lists are remembered

// The id of a serial nobody has shown: no certificate's SHA-256, as nobody can choose one.
Digest unseen_id(const IssuerSerial& name, const Digest& issuing_key) {
  const std::string key(issuing_key.begin(), issuing_key.end());
  const std::string serial(name.begin(), name.end());
  const IssuerSerial first = issuer_serial("sallyport unseen 1" + key, serial);
  const IssuerSerial second = issuer_serial("sallyport unseen 2" + key, serial);
  Digest id{};
  std::copy(first.begin(), first.end(), id.begin());
  std::copy(second.begin(), second.end(), id.begin() + first.size());
  return id;
}

Refusal deleted_meanwhile() {
  return {Refusal::Kind::Conflict, "the CA of this CRL was deleted meanwhile"};
}

// "" where it is of all certificates.
std::string of_scope(const Crl& crl) {
  return crl.scope_text().empty() ? "" : " and this scope (" + crl.scope_text() + ")";
}

DeviceStatus wanted(const CrlEntry& entry) {
  return entry.hold ? DeviceStatus::Inactive : DeviceStatus::Revoked;
}

}  // namespace

CrlImport::CrlImport(Registrar::Impl& registrar, const Crl& crl, std::vector<Digest> under, const Actor& by)
    : registrar_(registrar), crl_(crl), under_(std::move(under)), by_(by) {
  outcome_.ca = under_.front();
  outcome_.entries = crl.entries().size();
}

CrlKey CrlImport::key_of(const Crl& crl, const Digest& issuing_key) {
  return {issuing_key, crl.scope().empty() ? Digest{} : Sha256::of(crl.scope())};
}

Answer<void> CrlImport::take(std::size_t from, std::size_t to) {
  const auto cas = registrar_.cas_now();
  for (const Digest& ca : under_) {
    if (const auto taken = take_under(ca, *cas, from, to); !taken) return taken;
  }
  look_elsewhere(*cas, from, to);
  return {};
}

std::set<Digest> CrlImport::keys(const CaSet& cas) const {
  std::set<Digest> keys;
  for (const Digest& ca : under_) {
    if (const auto entry = cas.find(ca)) keys.insert(cas.entry(*entry).certificate.spki_hash());
  }
  return keys;
}

// Devices that carry a listed number of the issuer's name under a key that the list was not taken under, and that it
// would restrict.
void CrlImport::look_elsewhere(const CaSet& cas, std::size_t from, std::size_t to) {
  const std::set<Digest> own = keys(cas);
  for (std::size_t i = from; i < to; ++i) {
    const CrlEntry& entry = crl_.entries()[i];
    const IssuerSerial name = issuer_serial(crl_.issuer_name(), entry.serial);
    registrar_.cache_.each_of_name(registrar_.cache_.key(name, Digest{}).name, [&](const DeviceKey&, SlotState state) {
      const ChainRecord* record = registrar_.chains_.record(state.chain);
      const auto status = static_cast<DeviceStatus>(state.status);
      const bool restricted = status == DeviceStatus::Revoked || status == wanted(entry);
      if (record == nullptr || record->crl || restricted || registrar_.chains_.forgotten(state.chain)) return;
      if (own.count(record->issuing_key) == 0) ++elsewhere_[record->issuing_key];
    });
  }
}

void CrlImport::name_elsewhere(const CaSet& cas) {
  const std::set<Digest> own = keys(cas);
  const std::vector<std::size_t>* groups = cas.groups_of(crl_.issuer_name());
  for (const std::size_t at : groups == nullptr ? std::vector<std::size_t>() : *groups) {
    const CaSet::Group& group = cas.group(at);
    const auto found = elsewhere_.find(group.spki_hash);
    const std::uint64_t devices = found == elsewhere_.end() ? 0 : found->second;
    if (found != elsewhere_.end()) elsewhere_.erase(found);
    if (own.count(group.spki_hash) != 0 || (devices == 0 && outcome_.unseen == 0)) continue;
    outcome_.elsewhere.push_back({cas.entry(group.members.front()).certificate.fingerprint(), devices});
  }
  for (const auto& [key, devices] : elsewhere_) outcome_.elsewhere.push_back({std::nullopt, devices});
}

Answer<void> CrlImport::take_under(const Digest& ca, const CaSet& cas, std::size_t from, std::size_t to) {
  const auto issuer = cas.find(ca);
  if (!issuer) return deleted_meanwhile();
  Part part;
  part.chain = registrar_.book_.of_crl(cas.entry(*issuer), cas);
  if (part.chain == 0) return Refusal{Refusal::Kind::Unavailable, "no chain id is left for this CRL"};
  part.issuing_key = registrar_.chains_.record(part.chain)->issuing_key;
  for (std::size_t i = from; i < to; ++i) {
    if (const auto taken = take_entry(part, crl_.entries()[i]); !taken) return taken;
  }
  return write(part);
}

Answer<void> CrlImport::take_entry(Part& part, const CrlEntry& entry) {
  const IssuerSerial name = issuer_serial(crl_.issuer_name(), entry.serial);
  if (!in_force(name, part.issuing_key)) return add_unseen(part, entry, name), Answer<void>();
  const auto found = change_registered(part, entry, name);
  if (!found) return found.error();
  if (!found->stored) {
    // An earlier import put it in force while the disk was full: there is no row yet.
    if (!registrar_.ledger_.owes()) add_unseen(part, entry, name);
  } else if (!found->changes) {
    ++outcome_.known;
  }
  return {};
}

// Whether the cache has this serial of this key: a registered device's, or one that a list named before.
bool CrlImport::in_force(const IssuerSerial& name, const Digest& issuing_key) const {
  bool taken = false;
  registrar_.cache_.each_of_name(
      registrar_.cache_.key(name, Digest{}).name, [&](const DeviceKey&, const SlotState& state) {
        const ChainRecord* record = registrar_.chains_.record(state.chain);
        const bool revoked = state.status == static_cast<std::uint8_t>(DeviceStatus::Revoked);
        const bool counts = revoked || !registrar_.chains_.forgotten(state.chain);
        taken = taken || (record != nullptr && record->issuing_key == issuing_key && counts);
      });
  return taken;
}

// Which device it is only the index of serials knows.
Answer<CrlImport::Found> CrlImport::change_registered(Part& part, const CrlEntry& entry, const IssuerSerial& name) {
  Found found;
  Answer<void> trouble;
  const auto read = registrar_.store_.each_id_of_serial(entry.serial, "", [&](const Digest& id) {
    const auto row = registrar_.store_.device(id);
    if (!row) return trouble = row.error(), false;
    if (!row->has_value() || (*row)->name != name || registrar_.gone(id, **row)) return true;
    const ChainRecord* record = registrar_.chains_.record((*row)->chain);
    if (record == nullptr || record->issuing_key != part.issuing_key) return true;
    found.stored = true;
    const DeviceKey key = registrar_.cache_.key(name, id);
    const DeviceStatus now = registrar_.status_now(key, **row);
    DeviceRow next = **row;
    next.status = now == DeviceStatus::Revoked ? now : wanted(entry);  // revoked is final
    if (now == next.status && ((*row)->status == next.status || registrar_.ledger_.owes())) return true;
    found.changes = true;
    next.epoch = registrar_.cache_.epoch_with(key, slot_state(next));
    registrar_.store_.put_device(part.batch, id, next);
    part.changed.push_back({id, key, next, record->cas.front(), part.issuing_key, std::nullopt, {}, {}});
    return true;
  });
  if (!read) return read.error();
  if (!trouble) return trouble.error();
  return found;
}

void CrlImport::add_unseen(Part& part, const CrlEntry& entry, const IssuerSerial& name) {
  const ChainRecord& record = *registrar_.chains_.record(part.chain);
  DeviceRow row;
  row.status = wanted(entry);
  row.registered_by = RegisteredBy::Crl;
  row.chain = part.chain;
  row.not_after = INT64_MAX;  // nobody knows it
  row.registered_at = unix_now();
  row.name = name;
  const Digest id = unseen_id(name, part.issuing_key);
  const DeviceKey key = registrar_.cache_.key(name, id);
  if (registrar_.status_now(key, row) == DeviceStatus::Revoked) row.status = DeviceStatus::Revoked;  // which is final
  registrar_.store_.put_device(part.batch, id, row);
  registrar_.store_.put_device_text(part.batch, id, record.cas.front(), {entry.serial, "", "", "", ""});
  part.unseen.push_back({id, key, row, record.cas.front(), part.issuing_key, std::nullopt, entry.serial, {}});
}

Answer<void> CrlImport::write(Part& part) {
  if (part.batch.empty()) return {};
  // Each in the log, and all of them as one line in the audit log: finish() writes it.
  for (const Registrar::Impl::Accepted& device : part.changed) {
    registrar_.ledger_.note(Change::Kind::DeviceStatusSet, device.id, static_cast<std::uint8_t>(device.row.status));
  }
  if (const auto written = registrar_.ledger_.commit_restriction(part.batch); !written) {
    if (registrar_.ledger_.shared()) return written;
    why_not_durable_ = written.error();
  }
  Notice notice{registrar_.ledger_.revision(), nullptr, {}};
  for (const Registrar::Impl::Accepted& device : part.changed) {
    registrar_.put_status(device.key, device.row, device.owner);
    ++(device.row.status == DeviceStatus::Revoked ? outcome_.revoked : outcome_.held);
    notice.cuts.push_back({Cut::Scope::Device, device.id, reason_of(device.row.status)});
  }
  for (const Registrar::Impl::Accepted& serial : part.unseen) {
    registrar_.put_status(serial.key, serial.row, serial.owner);
  }
  outcome_.unseen += part.unseen.size();
  registrar_.put_in_force(notice);
  registrar_.reclaim();
  return {};
}

Answer<void> CrlImport::deactivate_cas(const CaSet& cas, const Digest& issuing_key) {
  for (const CaEntry& entry : cas.entries()) {
    const Certificate& ca = entry.certificate;
    const bool inactive = entry.status != CaStatus::Active && registrar_.cas_not_durable_.count(ca.fingerprint()) == 0;
    if (inactive || ca.issuer_name() != crl_.issuer_name()) continue;
    if (ca.self_issued() && ca.spki_hash() == issuing_key) continue;
    const IssuerSerial name = issuer_serial(ca.issuer_name(), ca.serial());
    if (!serial_listed(registrar_.cache_, registrar_.chains_, name, ca.serial(), issuing_key)) continue;
    const auto set = registrar_.set_ca_status(ca.fingerprint(), CaStatus::Inactive, by_);
    if (!set && !registrar_.ledger_.owes()) return set.error();  // else it is in force, and owed to the disk
    ++outcome_.cas;
  }
  return {};
}

std::string CrlImport::also_under() const {
  std::string text;
  for (std::size_t i = 1; i < under_.size(); ++i) text += (i == 1 ? "; also under " : ", ") + to_hex(under_[i]);
  return text;
}

Answer<void> CrlImport::finish() {
  const auto cas = registrar_.cas_now();
  const auto issuer = cas->find(outcome_.ca);
  if (!issuer) return deleted_meanwhile();
  name_elsewhere(*cas);
  for (const Digest& issuing_key : keys(*cas)) {
    if (const auto set = deactivate_cas(*cas, issuing_key); !set) return set;
  }
  RegistryStore::Batch batch;
  const CrlKey key = key_of(crl_, cas->entry(*issuer).certificate.spki_hash());
  const CrlRow row{crl_.number(), crl_.this_update(), crl_.next_update(), crl_.entries().size(),
                   unix_now(),    outcome_.ca,        crl_.scope_text()};
  {
    // Of two that were imported at once the newer one is remembered.
    const std::lock_guard lock(registrar_.mutex_);
    const auto last = registrar_.crls_.find(key);
    const bool older = last != registrar_.crls_.end() && crl_.older_than(last->second.number, last->second.this_update);
    if (!older) {
      registrar_.store_.put_crl(batch, key, row);
      registrar_.crls_[key] = row;
    }
  }
  registrar_.ledger_.note(Change::Kind::CrlImported, outcome_.ca, 0);
  registrar_.ledger_.audit(by_, "crl.import", to_hex(outcome_.ca), "",
                           std::to_string(outcome_.entries) + " entries, " + std::to_string(outcome_.revoked) +
                               " revoked, " + std::to_string(outcome_.held) + " held, " +
                               std::to_string(outcome_.unseen) + " not seen yet" + also_under());
  if (const auto written = registrar_.ledger_.commit_restriction(batch); !written) {
    if (registrar_.ledger_.shared()) return written;
    why_not_durable_ = written.error();
  }
  Notice notice{registrar_.ledger_.revision(), nullptr, {}};
  registrar_.end_chains_through_listed(notice);
  registrar_.put_in_force(notice);
  if (why_not_durable_) {
    registrar_.log_.error("in-force-not-durable", {{"crl_of", to_hex(outcome_.ca)}, {"why", why_not_durable_->what}});
    return not_durable(*why_not_durable_);
  }
  return {};
}

namespace {

// The registered CA whose key signed a list, by the name of its issuer. `last`: the lists before.
Answer<Digest> signer_of(const Crl& crl, const CaSet& cas, const std::map<CrlKey, CrlRow>& last) {
  const std::vector<std::size_t>* groups = cas.groups_of(crl.issuer_name());
  if (groups == nullptr) {
    return Refusal{Refusal::Kind::NotFound, "no registered CA has the name of this CRL's issuer: register it first"};
  }
  const CaSet::Group* signer = nullptr;
  for (const std::size_t group : *groups) {
    if (crl.signed_by(cas.group(group).key)) signer = &cas.group(group);
  }
  if (signer == nullptr) {
    return Refusal{Refusal::Kind::Invalid, "the CRL's signature does not fit any registered CA of its issuer's name"};
  }
  const CrlKey key = CrlImport::key_of(crl, signer->spki_hash);
  const auto before = last.find(key);
  if (before != last.end() && crl.older_than(before->second.number, before->second.this_update)) {
    return Refusal{Refusal::Kind::Conflict,
                   "a newer CRL of this CA" + of_scope(crl) + " was imported already: this one is a replay"};
  }
  const auto scopes = std::count_if(last.begin(), last.end(),
                                    [&](const auto& each) { return each.first.issuing_key == signer->spki_hash; });
  if (before == last.end() && static_cast<std::size_t>(scopes) >= kMostScopes) {
    return Refusal{Refusal::Kind::Conflict, "lists of " + std::to_string(scopes) +
                                                " scopes of this CA were imported, and no more are remembered"};
  }
  return cas.entry(signer->members.front()).certificate.fingerprint();
}

}  // namespace

namespace {

// The CAs under whose keys a list counts beside its signer's.
std::vector<Digest> named_like(const Crl& crl, const Digest& signer, const CaSet& cas, std::span<const Digest> asked) {
  std::vector<Digest> under = {signer};
  std::set<Digest> keys = {cas.entry(*cas.find(signer)).certificate.spki_hash()};
  for (const Digest& id : asked) {
    const Certificate& ca = cas.entry(*cas.find(id)).certificate;
    if (ca.subject_name() == crl.issuer_name() && keys.insert(ca.spki_hash()).second) under.push_back(id);
  }
  return under;
}

Answer<void> check_also_under(std::span<const Crl> crls, const CaSet& cas, std::span<const Digest> asked) {
  for (const Digest& id : asked) {
    const auto entry = cas.find(id);
    if (!entry) return Refusal{Refusal::Kind::NotFound, "no CA has the id " + to_hex(id)};
    const Certificate& ca = cas.entry(*entry).certificate;
    const bool named =
        std::any_of(crls.begin(), crls.end(), [&](const Crl& crl) { return crl.issuer_name() == ca.subject_name(); });
    if (!named) {
      return Refusal{Refusal::Kind::Invalid, "CA " + to_hex(id) +
                                                 " has another name than the issuer of the CRL: it counts under keys "
                                                 "of one name alone"};
    }
  }
  return {};
}

}  // namespace

// Whose list it is is looked up on the caller's thread, from a snapshot; what it changes, on the registrar's.
Answer<std::vector<CrlOutcome>> Registrar::import_crls(std::span<const Crl> crls, const Actor& by,
                                                       std::span<const Digest> also_under) {
  const auto cas = impl_->cas_now();
  if (const auto good = check_also_under(crls, *cas, also_under); !good) return good.error();
  std::map<CrlKey, CrlRow> last;
  {
    const std::lock_guard lock(impl_->mutex_);
    last = impl_->crls_;
  }
  std::vector<Digest> signers;
  for (const Crl& crl : crls) {
    auto signer = signer_of(crl, *cas, last);
    if (!signer && crls.size() == 1) return signer.error();
    if (!signer) {
      return Refusal{signer.error().kind, "CRL " + std::to_string(signers.size() + 1) + " of " +
                                              std::to_string(crls.size()) +
                                              ", so none was taken: " + signer.error().what};
    }
    signers.push_back(*signer);
  }
  std::vector<CrlOutcome> outcomes;
  std::optional<Refusal> trouble;  // one list's, of the disk: what the others restrict is put in force all the same
  for (std::size_t i = 0; i < crls.size(); ++i) {
    CrlImport import(*impl_, crls[i], named_like(crls[i], signers[i], *cas, also_under), by);
    Answer<void> done;
    for (std::size_t at = 0; at < import.entries() && done; at += kCrlEntries) {
      const std::size_t to = std::min(at + kCrlEntries, import.entries());
      done = impl_->call<void>([&] { return import.take(at, to); });
    }
    if (done) done = impl_->call<void>([&] { return import.finish(); });
    if (!done && !trouble) trouble = done.error();
    outcomes.push_back(import.outcome());
  }
  if (trouble) return *trouble;
  return outcomes;
}

Answer<CrlOutcome> Registrar::import_crl(const Crl& crl, const Actor& by, std::span<const Digest> also_under) {
  const auto outcomes = import_crls({&crl, 1}, by, also_under);
  if (!outcomes) return outcomes.error();
  return outcomes->front();
}

}  // namespace sallyport
