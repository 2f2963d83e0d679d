#include "cache/standing/cuts.h"

#include <set>

namespace sallyport {

std::vector<Cut> cuts_between(const CaSet& before, const CaSet& after, const ChainTable& chains, std::int64_t now) {
  std::vector<Cut> cuts;
  for (const CaEntry& entry : before.entries()) {
    const Digest& id = entry.certificate.fingerprint();
    const Reason why = after.standing_through_key(id, now);
    if (before.standing_through_key(id, now) == Reason::None && why != Reason::None) {
      cuts.push_back({Cut::Scope::Ca, id, why});
    }
  }
  std::set<Digest> owners;
  for (const std::uint64_t id : chains.ids()) {
    const ChainRecord* record = chains.record(id);
    if (record->crl || record->standing_between(before, now) != Reason::None) continue;
    if (record->standing_between(after, now) != Reason::None) owners.insert(record->cas.front());
  }
  for (const Digest& owner : owners) cuts.push_back({Cut::Scope::Ca, owner, Reason::CaInactive, true});
  return cuts;
}

}  // namespace sallyport
