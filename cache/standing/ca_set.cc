#include "cache/standing/ca_set.h"

#include <openssl/x509.h>

#include <algorithm>

#include "cache/base/check.h"
#include "cache/crypto/sha2.h"

namespace sallyport {

CaSet::CaSet(std::vector<CaEntry> entries, std::set<Digest> server_keys, std::shared_ptr<const std::set<Digest>> codes,
             LinkMemo& memo)
    : entries_(std::move(entries)), server_keys_(std::move(server_keys)), codes_(std::move(codes)) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Certificate& certificate = entries_[i].certificate;
    by_id_[certificate.fingerprint()] = i;
    ca_keys_.insert(certificate.spki_hash());
    std::vector<std::size_t>& named = by_subject_[certificate.subject_name()];
    const auto same = std::find_if(named.begin(), named.end(), [&](std::size_t group) {
      return groups_[group].spki_hash == certificate.spki_hash();
    });
    if (same != named.end()) {
      groups_[*same].members.push_back(i);
    } else {
      named.push_back(groups_.size());
      groups_.push_back(
          {certificate.subject_name(), certificate.spki_hash(), X509_get0_pubkey(certificate.x509()), {i}});
    }
  }
  link(memo);
}

void CaSet::link(LinkMemo& memo) {
  issuer_group_.assign(entries_.size(), kNone);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Certificate& certificate = entries_[i].certificate;
    const std::vector<std::size_t>* candidates = groups_of(certificate.issuer_name());
    if (candidates == nullptr) continue;
    for (const std::size_t group : *candidates) {
      const Group& issuer = groups_[group];
      // A self-issued certificate signed by its own key stands for itself.
      if (issuer.spki_hash == certificate.spki_hash() && certificate.self_issued()) {
        const auto own = memo.find({certificate.fingerprint(), issuer.spki_hash});
        const bool self_signed = own != memo.end() ? own->second : certificate.signed_by(issuer.key);
        memo[{certificate.fingerprint(), issuer.spki_hash}] = self_signed;
        if (self_signed) {
          issuer_group_[i] = kNone;
          break;
        }
        continue;
      }
      const std::pair question(certificate.fingerprint(), issuer.spki_hash);
      const auto known = memo.find(question);
      const bool fits = known != memo.end() ? known->second : certificate.signed_by(issuer.key);
      memo[question] = fits;
      if (fits) {
        issuer_group_[i] = group;
        break;
      }
    }
  }
}

std::optional<std::size_t> CaSet::find(const Digest& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return found->second;
}

const std::vector<std::size_t>* CaSet::groups_of(const std::string& subject_name) const {
  const auto found = by_subject_.find(subject_name);
  return found == by_subject_.end() ? nullptr : &found->second;
}

Reason CaSet::standing(std::size_t entry, std::int64_t now) const {
  Visited visited;
  return standing(entry, now, visited);
}

Reason CaSet::standing_of(const Digest& id, std::int64_t now) const {
  const auto entry = find(id);
  return entry ? standing(*entry, now) : Reason::CaInactive;
}

Reason CaSet::standing(std::size_t entry, std::int64_t now, Visited& visited) const {
  const CaEntry& ca = entries_[entry];
  if (ca.status != CaStatus::Active) return Reason::CaInactive;
  if (now > ca.certificate.not_after()) return Reason::Expired;
  if (now < ca.certificate.not_before()) return Reason::NotYetValid;
  if (issuer_group_[entry] == kNone) return Reason::None;
  return choose(issuer_group_[entry], now, visited).reason;
}

CaSet::Choice CaSet::choose(std::size_t group, std::int64_t now) const {
  Visited visited;
  return choose(group, now, visited);
}

CaSet::Choice CaSet::choose(std::size_t group, std::int64_t now, Visited& visited) const {
  // Two CAs that cross-signed each other lead round in a circle; a circle holds nobody up.
  if (std::find(visited.begin(), visited.end(), group) != visited.end()) return {Reason::CaInactive, 0};
  visited.push_back(group);
  Choice best{Reason::CaInactive, groups_[group].members.front()};
  bool first = true;
  for (const std::size_t member : groups_[group].members) {
    const Reason reason = standing(member, now, visited);
    const bool alive = reason == Reason::None;
    const bool better = best.reason != Reason::None ? alive || first || best.reason == Reason::CaInactive
                                                    : alive && entries_[member].certificate.not_after() >
                                                                   entries_[best.entry].certificate.not_after();
    if (better) best = {reason, member};
    first = false;
  }
  visited.pop_back();
  return best;
}

Reason CaSet::standing_through_key(const Digest& id, std::int64_t now) const {
  const auto entry = find(id);
  if (!entry) return Reason::CaInactive;
  const Reason own = standing(*entry, now);
  if (own == Reason::None) return own;
  for (const std::size_t group : *groups_of(entries_[*entry].certificate.subject_name())) {
    if (groups_[group].spki_hash != entries_[*entry].certificate.spki_hash()) continue;
    if (choose(group, now).reason == Reason::None) return Reason::None;
  }
  return own;
}

std::vector<Digest> CaSet::alive_twins(const Digest& id, std::int64_t now) const {
  std::vector<Digest> twins;
  const auto entry = find(id);
  if (!entry) return twins;
  for (const std::size_t group : *groups_of(entries_[*entry].certificate.subject_name())) {
    if (groups_[group].spki_hash != entries_[*entry].certificate.spki_hash()) continue;
    for (const std::size_t member : groups_[group].members) {
      if (member != *entry && standing(member, now) == Reason::None) {
        twins.push_back(entries_[member].certificate.fingerprint());
      }
    }
  }
  return twins;
}

Reason CaSet::standing_of_sent(const std::string& subject_name, const Digest& spki_hash, std::int64_t now) const {
  const std::vector<std::size_t>* named = is_ca_key(spki_hash) ? groups_of(subject_name) : nullptr;
  if (named == nullptr) return Reason::None;
  for (const std::size_t group : *named) {
    if (groups_[group].spki_hash == spki_hash) return choose(group, now).reason;
  }
  return Reason::None;
}

std::vector<Digest> CaSet::path_ids(std::size_t entry, std::int64_t now) const {
  std::vector<Digest> ids;
  Visited groups;
  for (;;) {
    ids.push_back(entries_[entry].certificate.fingerprint());
    const std::size_t above = issuer_group_[entry];
    if (above == kNone || std::find(groups.begin(), groups.end(), above) != groups.end()) return ids;
    groups.push_back(above);
    entry = choose(above, now).entry;
  }
}

std::optional<Window> CaSet::window(std::size_t entry, std::int64_t now) const {
  if (standing(entry, now) != Reason::None) return std::nullopt;
  Window window;
  for (const Digest& id : path_ids(entry, now)) {
    const Certificate& certificate = entries_[*find(id)].certificate;
    window.not_before = std::max(window.not_before, certificate.not_before());
    window.not_after = std::min(window.not_after, certificate.not_after());
  }
  return window;
}

bool CaSet::is_issued_code(std::string_view text) const {
  if (codes_ == nullptr || codes_->empty() || text.empty()) return false;
  return codes_->count(Sha256::of(text)) != 0;
}

}  // namespace sallyport
