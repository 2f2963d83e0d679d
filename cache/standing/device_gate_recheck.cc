// The second look: whether the standing on which a verdict was given still holds. It is taken between the handshake and
// the first byte to the broker, when a notice asks for it, and when a date passes. Nothing is verified again.
#include <algorithm>

#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/device_gate.h"

namespace sallyport {

Reason DeviceGate::recheck(const Verdict& verdict, const CaSet& cas, std::int64_t now) const {
  if (!verdict.admitted()) return verdict.reason;
  if (!verdict.identity) return Reason::InternalError;
  if (now > verdict.identity->not_after) return Reason::Expired;
  const auto slot = slot_of(verdict.key);
  if (slot && !verdict.pending) {
    if (const Reason own = reason_of(static_cast<DeviceStatus>(slot->status)); own != Reason::None) return own;
  }
  if (verdict.known) return slot ? recheck_chain(*slot, cas, now) : Reason::NotRegistered;
  if (!verdict.path || verdict.path->cas.empty()) return Reason::InternalError;
  return slot ? recheck_registered(*slot, *verdict.path, cas, now) : recheck_new(verdict, cas, now);
}

// A device that was known: its chain's record says all.
Reason DeviceGate::recheck_chain(const SlotState& slot, const CaSet& cas, std::int64_t now) const {
  const ChainRecord* chain = chains_.record(slot.chain);
  if (chain == nullptr || chain->cas.empty()) return Reason::CaInactive;
  const Digest& owner = chain->cas.front();
  const Reason between = chain->standing_between(cas, now);
  if (chains_.alive(slot.chain, now)) return between != Reason::None ? between : cas.standing_of(owner, now);
  // Its CA may have been renewed: another certificate with the same key carries a live session on. What the client sent
  // between must still hold by itself.
  if (const Reason above = cas.standing_through_key(owner, now); above != Reason::None) return above;
  if (between != Reason::None) return between;
  if (!chain->intermediate_dates.holds(now)) return Reason::Expired;
  const bool revoked =
      std::any_of(chain->intermediate_names.begin(), chain->intermediate_names.end(),
                  [&](const auto& named) { return listed(named.name, named.serial, named.issuing_key); });
  return revoked ? Reason::CaInactive : Reason::None;
}

// What the client sent between the device and its owner, where a CA of that name and key was registered since.
Reason DeviceGate::standing_of_sent(const PathFound& path, const CaSet& cas, std::int64_t now) {
  for (const Certificate& sent : path.intermediates) {
    const Reason standing = cas.standing_of_sent(sent.subject_name(), sent.spki_hash(), now);
    if (standing != Reason::None) return standing;
  }
  return Reason::None;
}

// A new device that was registered meanwhile, with these very bytes.
Reason DeviceGate::recheck_registered(const SlotState& slot, const PathFound& path, const CaSet& cas,
                                      std::int64_t now) const {
  if (const Reason above = cas.standing_through_key(path.cas.front(), now); above != Reason::None) return above;
  if (const Reason between = standing_of_sent(path, cas, now); between != Reason::None) return between;
  return chains_.alive(slot.chain, now) || path.intermediates.empty() ? Reason::None : Reason::CaInactive;
}

// A new device that is not registered yet: its path, and whether other bytes have taken its serial.
Reason DeviceGate::recheck_new(const Verdict& verdict, const CaSet& cas, std::int64_t now) const {
  const PathFound& path = *verdict.path;
  if (const Reason above = cas.standing_of(path.cas.front(), now); above != Reason::None) return above;
  if (const Reason between = standing_of_sent(path, cas, now); between != Reason::None) return between;
  if (now > path.not_after) return Reason::Expired;
  const auto owner = cas.find(path.cas.front());
  if (!owner) return Reason::CaUnknown;
  const Digest& owner_key = cas.entry(*owner).certificate.spki_hash();
  if (intermediate_revoked(path.intermediates, owner_key)) return Reason::CaInactive;
  return serial_reason(verdict, issuing_key_of(path.intermediates, owner_key));
}

}  // namespace sallyport
