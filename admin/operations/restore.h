// Puts a backup back, offline. What was revoked or deactivated after it was made stays so, unless the operator says
// otherwise: the registry that is there, if any, is compared with the backup first, and kept beside the restored one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "admin/operations/backup.h"
#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

struct RestoreReport {
  BackupInfo backup;
  std::uint64_t present_revision = 0;   // of the registry that was there, as far as it can be read; 0: there was none
  std::uint64_t answered_revision = 0;  // the last that its mark says was answered; 0: not known
  // Revoked after the backup was made.
  std::uint64_t devices = 0;
  std::vector<std::string> some_devices;     // the first of them, for a person to read
  std::vector<std::string> tokens;           // also those whose name another token has now
  std::vector<std::string> narrowed_tokens;  // they had a higher role or a later end in the backup
  std::vector<std::string> listeners;        // that ask for a certificate, by the backup for none; as they are
  // Deactivated after it was made, CAs that register fewer devices by themselves since, and CAs deleted after it that
  // it lets in. Of each the first, for a person to read.
  std::uint64_t inactive = 0, inactive_cas = 0, narrowed_cas = 0, deleted_cas = 0;
  std::vector<std::string> some_inactive, some_inactive_cas, some_narrowed_cas, some_deleted_cas;
  std::string aside;  // where the registry that was there is now; empty: there was none

  bool undoes() const {
    return devices != 0 || !tokens.empty() || inactive != 0 || inactive_cas != 0 || !narrowed_tokens.empty() ||
           !listeners.empty() || narrowed_cas != 0;
  }
  // Something that was answered cannot be read, or nothing says what was: what it revoked is not known.
  bool unmarked = false;
  bool lost() const { return unmarked || answered_revision > present_revision; }
  std::string what_is_lost() const;
};

struct RestoreOptions {
  bool keep_revocations = true;
  bool accept_loss = false;  // keep what can be read, where the last revisions that were answered cannot
  Actor by;
  RegistryStore::Tell tell = {};  // what an operator has to know of a backup of an older schema
};

// `state_dir` is empty, absent, or holds a registry that no process uses. `agreed` is asked before revocations are
// discarded, and `accepts` before those that cannot be read are, where accept_loss has not said so. Either everything
// is in place on return, or nothing has changed.
Answer<RestoreReport> restore_backup(const std::string& dir, const std::string& state_dir,
                                     const RestoreOptions& options,
                                     const std::function<bool(const RestoreReport&)>& agreed,
                                     const std::function<bool(const RestoreReport&)>& accepts);

}  // namespace sallyport
