// What another history of the shared registry would undo beside restrictions (registrar_snapshot.cc): a token that was
// revoked, a registration code that was used, the number of a list. They are not taken in, stay as they are on this
// node, and are written over there again, in one commit. On the registrar's thread.
#include <algorithm>
#include <tuple>
#include <utility>

#include "cache/registry/registrar_impl.h"
#include "cache/registry/registry_records.h"

namespace sallyport {

namespace {

constexpr std::string_view kSettings = "setting:";

bool is(const SharedEntry& entry, std::string_view prefix) {
  return entry.family == SharedFamily::Meta && entry.key.starts_with(prefix);
}

std::string name_of(const SharedEntry& entry) {
  return std::string(1, static_cast<char>(entry.family)) + entry.key;
}

std::string_view kind_of(const SharedEntry& entry) {
  return entry.family == SharedFamily::Token ? "a token that was revoked"
         : is(entry, kCodePrefix)            ? "a registration code that was used"
                                             : "the number of a revocation list";
}

std::optional<CrlKey> crl_key_of(std::string_view key) {
  key.remove_prefix(kCrlPrefix.size());
  CrlKey found;
  if (key.size() != found.issuing_key.size() && key.size() != 2 * found.issuing_key.size()) return std::nullopt;
  std::copy_n(key.begin(), found.issuing_key.size(), found.issuing_key.begin());
  key.remove_prefix(found.issuing_key.size());
  std::copy(key.begin(), key.end(), found.scope.begin());
  return found;
}

}  // namespace

// Whether what is here takes away what `there` says.
bool Registrar::Impl::undoes(const SharedEntry& here, const std::optional<std::string>& there) const {
  if (here.family == SharedFamily::Token) {
    TokenRow row;
    if (here.value || !there || !records::decode(*there, row)) return false;
    // Made anew over there under the same name is not what was revoked.
    bool revoked = false;
    const auto read = store_.each_audit(INT64_MAX, [&](const AuditRecord& line) {
      if (line.at_us < row.created_at * 1'000'000) return false;
      revoked = line.action == "token.revoke" && line.target == here.key;
      return !revoked;
    });
    return read && revoked;
  }
  if (!here.value) return false;
  if (is(here, kCodePrefix)) {
    CodeRow mine, theirs;
    return there && records::decode(*here.value, mine) && records::decode(*there, theirs) && mine.used && !theirs.used;
  }
  CrlRow mine, theirs;
  if (!is(here, kCrlPrefix) || !records::decode(*here.value, mine)) return false;
  if (!there || !records::decode(*there, theirs)) return true;
  const auto order = [](const CrlRow& row) { return std::tuple(row.this_update, row.number.size(), row.number); };
  return order(theirs) < order(mine);
}

// Leaves out of a part of a snapshot what stays as it is here.
void Registrar::Impl::keep_settings(std::vector<SharedEntry>& entries) {
  const auto keeps = [&](const SharedEntry& entry) {
    if (entry.family != SharedFamily::Token && !is(entry, kCodePrefix) && !is(entry, kCrlPrefix)) return false;
    if (kept_.count(name_of(entry)) != 0) return true;
    auto mine = store_.entry(entry.family, entry.key);
    if (!mine) return false;
    SharedEntry here{entry.family, entry.key, std::move(*mine)};
    if (!undoes(here, entry.value)) return false;
    RegistryStore::Batch batch;
    store_.put_outbox(batch, std::string(kSettings) + name_of(here), here.value ? "+" + *here.value : "-");
    if (const auto written = ledger_.keep_here(batch); !written) {
      log_.error("setting-kept", {{"what", "in memory alone"}, {"why", written.error().what}});
    }
    log_.warn("setting-kept",
              {{"what", kind_of(here)}, {"means", "the shared registry has lost it: it is written there again"}});
    kept_[name_of(here)] = std::move(here);
    return true;
  };
  std::erase_if(entries, keeps);
}

Answer<void> Registrar::Impl::read_kept() {
  return store_.each_outbox(kSettings, [&](std::string_view key, std::string_view value) {
    key.remove_prefix(kSettings.size());
    if (key.empty() || value.empty()) return true;
    SharedEntry entry{static_cast<SharedFamily>(key.front()), std::string(key.substr(1)), std::nullopt};
    if (value.front() == '+') entry.value = std::string(value.substr(1));
    kept_[std::string(key)] = std::move(entry);
    return true;
  });
}

// What somebody has said anew over there meanwhile is on this node's disk by now, and counts.
void Registrar::Impl::settle_kept() {
  if (kept_.empty() || snapshot_ || !begin_turn()) return;
  RegistryStore::Batch batch;
  for (const auto& [name, entry] : kept_) {
    store_.remove_outbox(batch, std::string(kSettings) + name);
    const auto now = store_.entry(entry.family, entry.key);
    const bool same = now && *now == entry.value;
    if (!same && !(now && undoes(entry, *now))) continue;
    store_.put_entry(batch, entry);
    if (entry.family == SharedFamily::Token) ledger_.audit(kKeptFromBefore, "token.revoke", entry.key, "valid", "");
  }
  const auto written = ledger_.commit_restriction(batch);
  end_turn();
  if (!written) return log_.warn("setting-kept", {{"what", "not written yet"}, {"why", written.error().what}});
  for (const auto& [name, entry] : kept_) {
    CodeRow code;
    if (is(entry, kCodePrefix) && entry.value && records::decode(*entry.value, code)) {
      codes_.insert_or_assign(code.hash, issued(code));
    }
    CrlRow list;
    const auto key = is(entry, kCrlPrefix) ? crl_key_of(entry.key) : std::nullopt;
    const auto now = store_.entry(entry.family, entry.key);
    if (key && now && *now && records::decode(**now, list)) {
      const std::lock_guard lock(mutex_);
      crls_[*key] = list;
    }
  }
  kept_.clear();
  tell_settings();
}

}  // namespace sallyport
