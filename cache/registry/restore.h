// What putting a backup back would undo, and how it is kept: devices and tokens that were revoked after the backup was
// made stay revoked. Offline: neither store is served from. One thread.
#pragma once

#include <string>
#include <vector>

#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

struct RevokedSince {
  std::vector<Digest> devices;      // in the order of their ids
  std::vector<std::string> tokens;  // by name
  bool empty() const { return devices.empty() && tokens.empty(); }
};

// What `present` revoked and `backup` has not.
Answer<RevokedSince> revoked_since(const RegistryStore& backup, const RegistryStore& present);

// Revokes it in `restored`, which is a copy of the backup; durable on return. `restored` gets a revision above both, so
// that none is given out twice.
Answer<void> keep_revoked(RegistryStore& restored, const RegistryStore& present, const RevokedSince& since);

// A line for the audit log of the restored registry, and a revision above `present_revision`.
Answer<void> note_restore(RegistryStore& restored, std::uint64_t present_revision, const Actor& by,
                          const std::string& what);

}  // namespace sallyport
