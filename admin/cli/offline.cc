#include "admin/cli/offline.h"

#include <unistd.h>

#include <iostream>

#include "admin/cli/say.h"
#include "admin/operations/offline_reset.h"
#include "admin/operations/restore.h"
#include "cache/base/text.h"
#include "cache/registry/registry_lock.h"

namespace sallyport {

namespace {

std::string what_was_revoked(const RestoreReport& report) {
  return counted(report.devices, "device") + " and " + counted(report.tokens.size(), "token");
}

std::string what_was_deactivated(const RestoreReport& report) {
  return counted(report.inactive, "device") + " and " + counted(report.inactive_cas, "CA");
}

void list(std::ostream& out, const char* what, const std::vector<std::string>& some, std::uint64_t all) {
  for (const std::string& each : some) out << "  " << what << ' ' << escaped(each) << '\n';
  if (all > some.size()) out << "  and " << counted(all - some.size(), what) << " more\n";
}

void list_revoked(std::ostream& out, const RestoreReport& report) {
  list(out, "device", report.some_devices, report.devices);
  list(out, "token", report.tokens, report.tokens.size());
}

void list_deactivated(std::ostream& out, const RestoreReport& report) {
  list(out, "device", report.some_inactive, report.inactive);
  list(out, "CA", report.some_inactive_cas, report.inactive_cas);
}

// What admits less than in the backup, each kind with the first of it.
struct Narrowed {
  std::string words;  // "1 token with a lower role or an earlier end"
  const char* what;
  const std::vector<std::string>& some;
  std::uint64_t all;
};

std::vector<Narrowed> narrowed(const RestoreReport& report) {
  std::vector<Narrowed> kinds;
  const auto add = [&](const char* what, const char* how, const std::vector<std::string>& some, std::uint64_t all) {
    if (all > 0) kinds.push_back({counted(all, what) + how, what, some, all});
  };
  add("token", " with a lower role or an earlier end", report.narrowed_tokens, report.narrowed_tokens.size());
  add("listener", " taken back from one-way", report.listeners, report.listeners.size());
  add("CA", " that asks for approval, or registers no device by itself,", report.some_narrowed_cas,
      report.narrowed_cas);
  return kinds;
}

std::string what_is_lost(const RestoreReport& report) {
  return "the registry that was there " + report.what_is_lost();
}

void say_migration(bool loud, const std::string& what) {
  if (loud) std::cerr << "sallyport: migration: " << escaped(what) << '\n';
}

}  // namespace

int restore_offline(const std::string& dir, const std::string& state_dir, const RestoreFlags& flags) {
  RegistryLock::await_the_last(state_dir + "/registry");
  bool asked = false;
  const auto discard = [&](const RestoreReport& report) {
    asked = true;
    if (report.lost()) std::cerr << "sallyport: " << what_is_lost(report) << '\n';
    if (!report.undoes()) {
      return agreed("what the registry in " + state_dir +
                        (report.lost() ? " revoked or deactivated there is valid again"
                                       : " revoked or deactivated since the backup cannot be read, and is valid again"),
                    flags.yes);
    }
    list_revoked(std::cerr, report);
    list_deactivated(std::cerr, report);
    std::string words = "restoring makes valid again what was refused since the backup: " + what_was_revoked(report) +
                        " that were revoked, " + what_was_deactivated(report) + " that were deactivated";
    for (const Narrowed& kind : narrowed(report)) {
      list(std::cerr, kind.what, kind.some, kind.all);
      words += ", " + kind.words;
    }
    return agreed(words, flags.yes);
  };
  // --yes agrees to what is known: this is not.
  const auto accept = [&](const RestoreReport& report) {
    if (flags.yes || ::isatty(STDIN_FILENO) == 0) return false;
    return agreed(what_is_lost(report) + ": what was revoked or deactivated in between is valid again", false, "");
  };
  RestoreOptions options;
  options.keep_revocations = !flags.discard_revocations;
  options.accept_loss = flags.accept_loss;
  options.by = {"restore", "uid " + std::to_string(::getuid())};
  options.tell = &say_migration;
  const auto restored = restore_backup(dir, state_dir, options, discard, accept);
  if (!restored)
    return asked && restored.error().what == "nothing was changed" ? kFailed : complain(restored.error().what);
  std::cout << restored->backup.path << ": " << restored->backup.files << " files, revision "
            << restored->backup.revision << ", verified\n";
  if (restored->lost()) {
    std::cerr << "sallyport: " << what_is_lost(*restored)
              << ": what was revoked in between is valid again, revoke it once more (its log lines name it)\n";
  }
  if (!restored->aside.empty()) std::cout << "the registry that was there is in " << restored->aside << '\n';
  if (restored->devices > 0 || !restored->tokens.empty()) {
    std::cout << what_was_revoked(*restored)
              << " revoked since the backup: " << (flags.discard_revocations ? "valid again\n" : "they stay revoked\n");
    if (!flags.discard_revocations) list_revoked(std::cout, *restored);
  }
  if (restored->inactive > 0 || restored->inactive_cas > 0) {
    std::cout << what_was_deactivated(*restored) << " deactivated since the backup: "
              << (flags.discard_revocations ? "active again\n" : "they stay inactive\n");
    if (!flags.discard_revocations) list_deactivated(std::cout, *restored);
  }
  for (const Narrowed& kind : narrowed(*restored)) {
    std::cout << kind.words
              << " since the backup: " << (flags.discard_revocations ? "as in the backup\n" : "kept so\n");
    if (!flags.discard_revocations) list(std::cout, kind.what, kind.some, kind.all);
  }
  if (restored->deleted_cas > 0) {
    std::cout
        << counted(restored->deleted_cas, "CA")
        << " deleted since the backup: registered again, and active as it was; delete again what was meant to go\n";
    list(std::cout, "CA", restored->some_deleted_cas, restored->deleted_cas);
  }
  return kDone;
}

int reset_listener_offline(const std::string& listener, const std::string& state_dir, bool yes) {
  RegistryLock::await_the_last(state_dir + "/registry");
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
