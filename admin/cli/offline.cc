#include "admin/cli/offline.h"

#include <unistd.h>

#include <iostream>

#include "admin/cli/say.h"
#include "admin/operations/offline_reset.h"
#include "admin/operations/restore.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

std::string counted(std::uint64_t n, const char* one) {
  return with_thousands(n) + " " + one + (n == 1 ? "" : "s");
}

std::string what_was_revoked(const RestoreReport& report) {
  return counted(report.devices, "device") + " and " + counted(report.tokens.size(), "token");
}

void list(std::ostream& out, const RestoreReport& report) {
  for (const std::string& device : report.some_devices) out << "  device " << escaped(device) << '\n';
  if (report.devices > report.some_devices.size()) {
    out << "  and " << counted(report.devices - report.some_devices.size(), "device") << " more\n";
  }
  for (const std::string& token : report.tokens) out << "  token " << escaped(token) << '\n';
}

void say_migration(bool loud, const std::string& what) {
  if (loud) std::cerr << "sallyport: migration: " << escaped(what) << '\n';
}

}  // namespace

int restore_offline(const std::string& dir, const std::string& state_dir, bool discard_revocations, bool yes) {
  bool asked = false;
  const auto discard = [&](const RestoreReport& report) {
    asked = true;
    if (!report.undoes()) {
      return agreed("the registry in " + state_dir + " cannot be read: what it revoked since the backup is valid again",
                    yes);
    }
    list(std::cerr, report);
    return agreed("restoring makes valid again what was revoked since the backup: " + what_was_revoked(report), yes);
  };
  const RestoreOptions options{!discard_revocations, {"restore", "uid " + std::to_string(::getuid())}, &say_migration};
  const auto restored = restore_backup(dir, state_dir, options, discard);
  if (!restored)
    return asked && restored.error().what == "nothing was changed" ? kFailed : complain(restored.error().what);
  std::cout << restored->backup.path << ": " << restored->backup.files << " files, revision "
            << restored->backup.revision << ", verified\n";
  if (restored->lost()) {
    std::cerr
        << "sallyport: the registry that was there can be read up to revision " << restored->present_revision
        << ", and revision " << restored->answered_revision
        << " was answered: what was revoked in between is valid again, revoke it once more (its log lines name it)\n";
  }
  if (!restored->aside.empty()) std::cout << "the registry that was there is in " << restored->aside << '\n';
  if (restored->undoes()) {
    std::cout << what_was_revoked(*restored)
              << (discard_revocations ? " revoked since the backup: valid again\n"
                                      : " revoked since the backup: they stay revoked\n");
    if (!discard_revocations) list(std::cout, *restored);
  }
  return kDone;
}

int reset_listener_offline(const std::string& listener, const std::string& state_dir, bool yes) {
  const auto chosen = chosen_offline(state_dir, listener);
  if (!chosen) return complain(chosen.error().what);
  if (!agreed("resetting listener " + listener + " drops what was chosen for it at run time: " + *chosen, yes)) {
    return kFailed;
  }
  const auto reset =
      reset_offline(state_dir, listener, {"uid " + std::to_string(::getuid()), "listener reset --state-dir"});
  if (!reset) return complain(reset.error().what);
  std::cout << "listener " << escaped(listener) << ": as the configuration file says, from the next start on\n";
  return kDone;
}

}  // namespace sallyport
