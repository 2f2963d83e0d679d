// Backups: an online checkpoint of the registry beside a manifest that names every file with its size and
// SHA-256. Made, then verified by reading it back; restore.h puts one back.
// A folder of a backup is private: it holds what the registry holds (hosted keys are encrypted in both).
#pragma once

#include <cstdint>
#include <string>

#include "cache/base/result.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

struct BackupInfo {
  std::string path;
  std::uint64_t files = 0, bytes = 0, revision = 0;
  std::int64_t created_at = 0;
};

// `dir` must not exist, or be empty. Blocks for as long as the disk takes.
Answer<BackupInfo> make_backup(const RegistryStore& store, const std::string& dir);
// Every file is there, as the manifest says, and no other; and the registry in it opens.
Answer<BackupInfo> verify_backup(const std::string& dir);
// A verified copy in `state_dir`, which must not hold a registry, ready to be opened. What a failure leaves there is
// the caller's to remove.
Answer<BackupInfo> copy_backup(const std::string& dir, const std::string& state_dir);

}  // namespace sallyport
