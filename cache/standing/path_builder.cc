#include "cache/standing/path_builder.h"

#include <openssl/x509.h>

#include <algorithm>

#include "cache/x509/ca_rules.h"

namespace sallyport {

namespace {

// Of several dead ends the one that got furthest names the reason.
int rank(Reason reason) {
  switch (reason) {
    case Reason::CaUnknown: return 0;
    case Reason::BadSignature: return 1;
    case Reason::BadChain: return 2;
    default: return 3;
  }
}

// Nobody has vouched for a key that a client sends, and the check with it is the stranger's to ask for: only such keys
// as a CA may have are used, none that makes one check cost more than a registered CA's.
bool cheap_to_check_with(const Certificate& sent) {
  return sent.key_type() != KeyType::Other && sent.rsa_at_most(PathBuilder::kMostSentRsaBits);
}

}  // namespace

PathBuilder::PathBuilder(const CaSet& cas, const Admits& admits, const PathJudge& judge, std::vector<Certificate> sent,
                         std::int64_t now)
    : cas_(cas), admits_(admits), judge_(judge), sent_(std::move(sent)), now_(now) {
  std::stable_partition(sent_.begin(), sent_.end(), [now](const Certificate& each) { return in_date(each, now); });
}

bool PathBuilder::admitted(const CaSet& cas, const Admits& admits, std::size_t entry, std::int64_t now) {
  if (admits.cas.empty()) return true;
  for (const Digest& id : cas.path_ids(entry, now)) {
    if (std::find(admits.cas.begin(), admits.cas.end(), id) != admits.cas.end()) return true;
  }
  return false;
}

PathSearch PathBuilder::find(const Certificate& leaf) {
  PathSearch search;
  leaf_ = &leaf;
  if (climb(leaf, search)) {
    search.reason = Reason::None;
    search.error = 0;
    search.owner = search.tried.back().owner;
    search.intermediates = search.tried.back().intermediates;
  }
  return search;
}

void PathBuilder::obstacle(PathSearch& search, PathFlaw flaw, std::optional<std::size_t> owner) {
  const bool further = rank(flaw.reason) > rank(search.reason);
  if (owner && (further || !search.owner)) search.owner = owner;
  if (!further) return;
  search.reason = flaw.reason;
  search.error = flaw.error;
}

// A registered CA is reached: is there anything against the way here?
bool PathBuilder::good_path(std::size_t owner, PathSearch& search) {
  PathSearch::Tried path{owner, {}, {}};
  for (const std::size_t index : used_) path.intermediates.push_back(sent_[index]);
  path.flaw = judge_.judge(*leaf_, path.intermediates, cas_.entry(owner).certificate);
  const PathFlaw flaw = path.flaw;
  search.tried.push_back(std::move(path));
  if (flaw.reason == Reason::None) return true;
  return obstacle(search, flaw, owner), false;
}

// True: found. False with `decided` left to the caller: a registered key that fits decides the level.
bool PathBuilder::registered_level(const Certificate& from, PathSearch& search, bool& decided) {
  decided = false;
  const std::vector<std::size_t>* named = cas_.groups_of(from.issuer_name());
  if (named == nullptr) return false;
  std::vector<std::size_t> groups = *named;
  // The authority key id is a hint for the order only: two CAs may share a name, and hints may lie.
  std::stable_partition(groups.begin(), groups.end(), [&](std::size_t group) {
    const auto& members = cas_.group(group).members;
    return !from.authority_key_id().empty() && std::any_of(members.begin(), members.end(), [&](std::size_t member) {
      return cas_.entry(member).certificate.subject_key_id() == from.authority_key_id();
    });
  });
  for (const std::size_t group : groups) {
    if (++signatures_ > kMostSignatures) return decided = true, obstacle(search, {Reason::BadChain}), false;
    if (!from.signed_by(cas_.group(group).key)) {
      obstacle(search, {Reason::BadSignature});
      continue;
    }
    decided = true;
    const CaSet::Choice choice = cas_.choose(group, now_);
    if (choice.reason != Reason::None) return obstacle(search, {choice.reason}, choice.entry), false;
    if (!admitted(cas_, admits_, choice.entry, now_)) {
      return obstacle(search, {Reason::CaUnknown}, choice.entry), false;  // for this listener
    }
    return good_path(choice.entry, search);
  }
  return false;
}

bool PathBuilder::climb(const Certificate& from, PathSearch& search) {
  bool decided = false;
  if (registered_level(from, search, decided)) return true;
  if (decided) return false;
  for (std::size_t i = 0; i < sent_.size(); ++i) {
    const Certificate& candidate = sent_[i];
    if (candidate.subject_name() != from.issuer_name() || candidate.fingerprint() == from.fingerprint()) continue;
    if (std::find(used_.begin(), used_.end(), i) != used_.end()) continue;
    if (!cheap_to_check_with(candidate)) {
      obstacle(search, {Reason::BadChain});
      continue;
    }
    if (++signatures_ > kMostSignatures || ++sent_checks_ > kMostSentChecks) {
      return obstacle(search, {Reason::BadChain}), false;
    }
    if (!from.signed_by(X509_get0_pubkey(candidate.x509()))) {
      obstacle(search, {Reason::BadSignature});
      continue;
    }
    used_.push_back(i);
    if (climb(candidate, search)) return true;
    used_.pop_back();
  }
  return false;
}

}  // namespace sallyport
