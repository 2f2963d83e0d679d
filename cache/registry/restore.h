// What putting a backup back would undo, and how it is kept: what was revoked or deactivated after the backup was made
// stays so. What was deleted since comes back as it was: that is what most backups are put back for. Offline: neither
// store is served from. One thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

// OverrideRow::auth of a listener that asks for a client's certificate, and of one that does not. The data plane's.
inline constexpr std::uint8_t kAuthMutual = 0, kAuthOneWay = 1;

struct RestrictedSince {
  std::vector<Digest> devices, inactive;  // revoked; deactivated, or on hold; in the order of their ids
  // By name: of the backup, and no token's hash any more. Another token may have the name now: that row comes along.
  std::vector<std::string> tokens;
  std::vector<std::pair<std::string, TokenRow>> successors;
  std::vector<std::pair<std::string, TokenRow>> narrowed;  // their role or their end; as they are to be
  // Choices for listeners that let in without a certificate who is refused without one now; as they are to be.
  std::vector<std::pair<std::string, OverrideRow>> listeners;
  // Inactive where the backup has them active, or not at all; with auto-registration off, or approval asked for, since.
  std::vector<Digest> inactive_cas, narrowed_cas;
  std::vector<std::pair<Digest, CaRow>> cas;  // both, as they are to be
  std::vector<Digest> deleted_cas;            // that the backup lets in
};

// What `present` refuses and `backup` does not.
Answer<RestrictedSince> restricted_since(const RegistryStore& backup, const RegistryStore& present);

// Refuses it in `restored`, which is a copy of the backup, but for what was deleted; durable on return. `restored` gets
// a revision above both, so that none is given out twice.
Answer<void> keep_restricted(RegistryStore& restored, const RegistryStore& present, const RestrictedSince& since);

// A line for the audit log of the restored registry, and a revision above `present_revision`.
Answer<void> note_restore(RegistryStore& restored, std::uint64_t present_revision, const Actor& by,
                          const std::string& what);

}  // namespace sallyport
