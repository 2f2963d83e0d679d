#include "cache/registry/chain_book.h"

#include <algorithm>
#include <ctime>
#include <set>
#include <utility>

namespace sallyport {

namespace {

// What makes a chain this one: whether it is of a list, its owner, and the certificates between.
std::string name_of(bool crl, const Digest& owner, const std::vector<Certificate>& intermediates) {
  std::string name = crl ? "crl" : "";
  name.append(owner.begin(), owner.end());
  for (const Certificate& each : intermediates) name.append(each.fingerprint().begin(), each.fingerprint().end());
  return name;
}

}  // namespace

std::uint64_t ChainBook::of_path(const PathFound& path, const CaSet& cas) {
  if (const auto known = ids_.find(name_of(false, path.cas.front(), path.intermediates)); known != ids_.end()) {
    return known->second;
  }
  ChainRow row;
  row.cas = path.cas;
  for (const Certificate& certificate : path.intermediates) row.intermediates.push_back(certificate.der());
  const auto owner = cas.find(path.cas.front());
  const Digest owner_key = owner ? cas.entry(*owner).certificate.spki_hash() : Digest{};
  row.issuing_key = issuing_key_of(path.intermediates, owner_key);
  return make(std::move(row), path.intermediates, owner_key, cas);
}

std::uint64_t ChainBook::of_crl(const CaEntry& ca, const CaSet& cas) {
  const Digest& id = ca.certificate.fingerprint();
  if (const auto known = ids_.find(name_of(true, id, {})); known != ids_.end()) return known->second;
  ChainRow row;
  row.cas = {id};
  row.crl = true;
  row.issuing_key = ca.certificate.spki_hash();
  return make(std::move(row), {}, ca.certificate.spki_hash(), cas);
}

std::uint64_t ChainBook::make(ChainRow row, const std::vector<Certificate>& intermediates, const Digest& owner_key,
                              const CaSet& cas) {
  const std::uint64_t id = ledger_.next_chain();
  if (id == 0) {
    log_.warn("chain-ids",
              {{"what", "none is reserved in the shared registry: the device is registered when it comes again"}});
    return 0;
  }
  if (!restore(id, row, intermediates, owner_key)) {
    log_.error("chain-ids-exhausted", {{"chains", chains_.ids().size()}});
    return 0;
  }
  ledger_.add_chain(std::move(row));
  const std::int64_t now = std::time(nullptr);
  refresh(id, cas, now);
  narrow(chains_.record(id)->intermediate_dates, now);
  return id;
}

ChainRecord ChainBook::record_of(const ChainRow& row, const std::vector<Certificate>& intermediates,
                                 const Digest& owner_key) {
  ChainRecord record;
  record.cas = row.cas;
  record.issuing_key = row.issuing_key;
  record.crl = row.crl;
  for (std::size_t i = 0; i < intermediates.size(); ++i) {
    const Certificate& certificate = intermediates[i];
    record.intermediates.push_back(certificate.fingerprint());
    record.intermediate_names.push_back({issuer_serial(certificate.issuer_name(), certificate.serial()),
                                         i + 1 < intermediates.size() ? intermediates[i + 1].spki_hash() : owner_key,
                                         certificate.subject_name(), certificate.spki_hash(), certificate.serial()});
    Window& dates = record.intermediate_dates;
    dates.not_before = std::max(dates.not_before, certificate.not_before());
    dates.not_after = std::min(dates.not_after, certificate.not_after());
  }
  return record;
}

bool ChainBook::restore(std::uint64_t id, const ChainRow& row, const std::vector<Certificate>& intermediates,
                        const Digest& owner_key) {
  std::string name = name_of(row.crl, row.cas.front(), intermediates);
  if (!chains_.add(id, record_of(row, intermediates, owner_key))) return false;
  if (row.forgotten) {
    chains_.forget(id, 0);
  } else {
    ids_.insert_or_assign(std::move(name), id);
  }
  return true;
}

bool ChainBook::take(std::uint64_t id, const ChainRow& row, const std::vector<Certificate>& intermediates,
                     const Digest& owner_key) {
  const ChainRecord* known = chains_.record(id);
  if (known == nullptr) return restore(id, row, intermediates, owner_key) && row.forgotten;
  ChainRecord record = record_of(row, intermediates, owner_key);
  const bool same =
      known->cas == record.cas && known->intermediates == record.intermediates && known->crl == record.crl;
  if (same && !row.forgotten && !chains_.forgotten(id)) return false;
  if (same && row.forgotten) {
    const bool news = !chains_.forgotten(id);
    if (news) forget({id});
    return news;
  }
  std::erase_if(ids_, [&](const auto& each) { return each.second == id; });
  chains_.replace(id, std::move(record), cache_.lose_for_all_to_come());
  if (row.forgotten) {
    chains_.forget(id, cache_.next_epoch());
  } else {
    ids_.insert_or_assign(name_of(row.crl, row.cas.front(), intermediates), id);
  }
  return false;
}

void ChainBook::drop(std::uint64_t id) {
  if (chains_.record(id) != nullptr && !chains_.forgotten(id)) forget({id});
}

void ChainBook::refresh(std::uint64_t id, const CaSet& cas, std::int64_t now) {
  const ChainRecord* record = chains_.record(id);
  if (record == nullptr) return;
  const auto owner = cas.find(record->cas.front());
  auto window = owner ? cas.window(*owner, now) : std::nullopt;
  const bool revoked = std::any_of(
      record->intermediate_names.begin(), record->intermediate_names.end(),
      [&](const auto& named) { return serial_listed(cache_, chains_, named.name, named.serial, named.issuing_key); });
  if (held_ || record->crl || revoked || record->standing_between(cas, now) != Reason::None) window.reset();
  if (window) {
    window->not_before = std::max(window->not_before, record->intermediate_dates.not_before);
    window->not_after = std::min(window->not_after, record->intermediate_dates.not_after);
  }
  const bool lost = !window && chains_.has_window(id);  // what is dead already loses nothing more
  chains_.set(id, window, lost ? cache_.lose() : chains_.epoch(id));
}

void ChainBook::refresh_all(const CaSet& cas, std::int64_t now) {
  holds_from_ = INT64_MIN;
  holds_until_ = INT64_MAX;
  for (const CaEntry& ca : cas.entries()) narrow({ca.certificate.not_before(), ca.certificate.not_after()}, now);
  for (const std::uint64_t id : chains_.ids()) {
    refresh(id, cas, now);
    narrow(chains_.record(id)->intermediate_dates, now);
  }
}

// A window of a chain is one path's, the one that is alive at `now`: another may be when one of these dates has passed,
// in either direction.
void ChainBook::narrow(const Window& dates, std::int64_t now) {
  for (const std::int64_t first : {dates.not_before, dates.not_after == INT64_MAX ? INT64_MAX : dates.not_after + 1}) {
    if (first <= now) {
      holds_from_ = std::max(holds_from_.load(), first);
    } else {
      holds_until_ = std::min(holds_until_.load(), first - 1);
    }
  }
}

std::vector<Digest> ChainBook::refresh_with_intermediates(const CaSet& cas, std::int64_t now) {
  std::set<Digest> owners;
  for (const std::uint64_t id : chains_.ids()) {
    const ChainRecord* record = chains_.record(id);
    if (record->crl || record->intermediates.empty()) continue;
    const bool alive = chains_.alive(id, now);
    refresh(id, cas, now);
    if (alive && !chains_.alive(id, now)) owners.insert(record->cas.front());
  }
  return {owners.begin(), owners.end()};
}

Answer<std::vector<std::uint64_t>> ChainBook::mark_forgotten(const Digest& owner, RegistryStore::Batch& batch) {
  std::vector<std::uint64_t> of_owner;
  for (const std::uint64_t chain : chains_.ids()) {
    const ChainRecord* record = chains_.record(chain);
    if (record->crl || record->cas.front() != owner || chains_.forgotten(chain)) continue;
    of_owner.push_back(chain);
  }
  const std::set<std::uint64_t> wanted(of_owner.begin(), of_owner.end());
  const auto marked = store_.each_chain([&](std::uint64_t chain, const ChainRow& row) {
    if (wanted.count(chain) == 0) return true;
    ChainRow forgotten = row;
    forgotten.forgotten = true;
    store_.put_chain(batch, chain, forgotten);
    return true;
  });
  if (!marked) return marked.error();
  // Given out, but in no batch yet: they are written with this one.
  for (auto& [chain, row] : ledger_.unsaved_chains()) row.forgotten = row.forgotten || wanted.count(chain) != 0;
  return of_owner;
}

void ChainBook::put_remembered(const std::vector<std::uint64_t>& chains, RegistryStore::Batch& batch) {
  unmark(chains);
  const auto read = store_.each_chain([&](std::uint64_t chain, const ChainRow& row) {
    if (std::find(chains.begin(), chains.end(), chain) == chains.end()) return true;
    ChainRow remembered = row;
    remembered.forgotten = false;
    store_.put_chain(batch, chain, remembered);
    return true;
  });
  if (!read) log_.error("chains", {{"why", read.error().what}});
}

void ChainBook::forget(const std::vector<std::uint64_t>& chains) {
  for (const std::uint64_t chain : chains) chains_.forget(chain, cache_.lose_for_all_to_come());
  std::erase_if(ids_, [&](const auto& known) { return chains_.forgotten(known.second); });
}

void ChainBook::unmark(const std::vector<std::uint64_t>& chains) {
  for (auto& [chain, row] : ledger_.unsaved_chains()) {
    if (std::find(chains.begin(), chains.end(), chain) != chains.end()) row.forgotten = false;
  }
}

}  // namespace sallyport
