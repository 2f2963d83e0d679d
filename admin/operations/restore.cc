#include "admin/operations/restore.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>

#include "admin/operations/kept_ticket_keys.h"
#include "admin/operations/objects.h"
#include "cache/base/file.h"
#include "cache/base/text.h"
#include "cache/registry/registry_lock.h"
#include "cache/registry/restore.h"
#include "cache/registry/revision_mark.h"
#include "cache/x509/certificate.h"
#include "proxy/config/config.h"

namespace sallyport {

namespace {

namespace fs = std::filesystem;

static_assert(kAuthMutual == static_cast<std::uint8_t>(AuthMode::Mutual));
static_assert(kAuthOneWay == static_cast<std::uint8_t>(AuthMode::OneWay));

constexpr std::size_t kShown = 20;
constexpr std::size_t kIdDigits = 16;  // enough to name one by

Refusal failed(const std::string& what) {
  return {Refusal::Kind::Unavailable, what};
}
Refusal failed_at(const fs::path& path) {
  return failed(path.string() + ": " + std::strerror(errno));
}

template <class Describe>
std::vector<std::string> some(const std::vector<Digest>& ids, const Describe& describe) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < std::min(ids.size(), kShown); ++i) words.push_back(describe(ids[i]));
  return words;
}

std::string described(const RegistryStore& store, const Digest& id) {
  const auto text = store.device_text(id);
  std::string words = to_hex(id).substr(0, kIdDigits);
  if (text && *text) {
    words += "  serial " +
             serial_hex({reinterpret_cast<const std::uint8_t*>((*text)->serial.data()), (*text)->serial.size()});
    if (!(*text)->cn.empty()) words += "  CN " + (*text)->cn;
  }
  return words;
}

class Restore {
 public:
  using Ask = std::function<bool(const RestoreReport&)>;

  Restore(const std::string& dir, const std::string& state_dir, const RestoreOptions& options, const Ask& agreed,
          const Ask& accepts)
      : dir_(dir),
        state_dir_(state_dir),
        present_(state_dir_ / "registry"),
        staging_(state_dir_ / "restoring"),
        options_(options),
        agreed_(agreed),
        accepts_(accepts) {}
  ~Restore() {
    std::error_code ignored;
    if (staging_is_a_copy_) fs::remove_all(staging_, ignored);
    if (made_state_dir_ && !done_) fs::remove(state_dir_, ignored);
  }

  Answer<RestoreReport> run() {
    if (auto fit = check_target(); !fit) return fit.error();
    staging_is_a_copy_ = true;
    auto copied = copy_backup(dir_, staging_.string());
    if (!copied) return copied.error();
    report_.backup = *copied;
    report_.backup.path = state_dir_.string();
    if (auto made = complete(); !made) return made.error();
    if (auto put = put_in_place(); !put) return put.error();
    done_ = true;
    return report_;
  }

 private:
  Answer<void> check_target() {
    std::error_code failure;
    if (fs::exists(staging_, failure)) {
      return Refusal{
          Refusal::Kind::Conflict,
          staging_.string() +
              " is left of a restore that was cut short, and may hold the registry that was here: move it away"};
    }
    if (fs::exists(state_dir_ / RegistryStore::kManifest, failure)) {
      return Refusal{Refusal::Kind::Conflict, state_dir_.string() + " is a backup itself: restore into another folder"};
    }
    has_present_ = fs::exists(present_ / "CURRENT", failure);
    if (has_present_) {
      if (!lock_.take(present_.string())) {
        return Refusal{Refusal::Kind::Conflict, state_dir_.string() + " is in use: stop sallyport first"};
      }
    } else if (fs::exists(state_dir_, failure) && !fs::is_empty(state_dir_, failure)) {
      return Refusal{Refusal::Kind::Conflict,
                     state_dir_.string() +
                         " is not empty and holds no registry: restore into a new folder, then "
                         "point state_dir to it; what was revoked or deactivated after the backup is "
                         "valid again there: repeat it"};
    }
    made_state_dir_ = fs::create_directories(state_dir_, failure);
    if (!failure) fs::permissions(state_dir_, fs::perms::owner_all, failure);
    return failure ? Answer<void>(failed(state_dir_.string() + ": " + failure.message())) : Answer<void>();
  }

  // The copy as it will serve: with what is kept, its line in the audit log, and nothing in its log to be replayed.
  Answer<void> complete() {
    auto restored = RegistryStore::open(staging_.string(), nullptr, OnLoss::Refuse, options_.tell);
    if (!restored) return restored.error();
    const auto replica = (*restored)->replica();
    if (!replica) return replica.error();
    if (*replica) {
      return Refusal{Refusal::Kind::Conflict,
                     "this is the backup of a replica: PostgreSQL has the registry. Start the node with an empty "
                     "state_dir, and it takes a snapshot; a registry of its own is made by `registry export`"};
    }
    std::string what = "restored";
    if (has_present_) {
      const auto kept = compare(**restored);
      if (!kept) return kept.error();
      what = *kept;
    }
    const std::uint64_t last = std::max(report_.present_revision, report_.answered_revision);
    if (auto noted = note_restore(**restored, last, options_.by, what); !noted) return noted;
    return (*restored)->flush();
  }

  Answer<std::string> compare(RegistryStore& restored) {
    const auto present = RegistryStore::open_to_read(present_.string());
    RestrictedSince since;
    Refusal why;
    bool readable = static_cast<bool>(present);
    if (!present) why = present.error();
    if (present) {
      const auto found = restricted_since(restored, **present);
      const auto meta = (*present)->meta();
      readable = found && meta;
      if (!found) why = found.error();
      if (!meta) why = meta.error();
      if (readable) {
        since = *found;
        report_.present_revision = meta->revision;
      }
    }
    // What was answered and cannot be read any more: a damaged log is the commonest reason for a restore.
    const auto mark = RevisionMark::read((state_dir_ / "registry.mark").string());
    if (mark && *mark) report_.answered_revision = (*mark)->revision;
    if (readable) {
      const auto id = (*present)->store_id();
      if (!id) return id.error();
      report_.unmarked = *id && !(mark && *mark && (*mark)->store == **id);
    }
    if (!readable && options_.keep_revocations) {
      return Refusal{
          Refusal::Kind::Conflict,
          "the registry in " + state_dir_.string() + " cannot be read (" + why.what +
              "), so what was revoked after the backup is not known: --discard-revocations restores without"};
    }
    if (options_.keep_revocations && report_.lost() && !options_.accept_loss && !accepts_(report_)) {
      return Refusal{Refusal::Kind::Conflict,
                     "the registry in " + state_dir_.string() + " " + report_.what_is_lost() +
                         ", so what was revoked or deactivated in between is not known: --accept-loss "
                         "keeps what can be read, --discard-revocations restores without any"};
    }
    report_.devices = since.devices.size();
    report_.tokens = since.tokens;
    for (const auto& [name, row] : since.narrowed) report_.narrowed_tokens.push_back(name);
    for (const auto& [name, row] : since.listeners) {
      report_.listeners.push_back(name + (row.auth ? ": mutual" : ": as the configuration file says"));
    }
    report_.inactive = since.inactive.size();
    report_.inactive_cas = since.inactive_cas.size();
    report_.narrowed_cas = since.narrowed_cas.size();
    report_.deleted_cas = since.deleted_cas.size();
    if (readable) {
      report_.some_devices = some(since.devices, [&](const Digest& id) { return described(**present, id); });
      report_.some_inactive = some(since.inactive, [&](const Digest& id) { return described(**present, id); });
      if (auto named = name_cas(restored, since); !named) return named.error();
    }
    if (!options_.keep_revocations) {
      if ((report_.undoes() || report_.lost() || !readable) && !agreed_(report_)) {
        return Refusal{Refusal::Kind::Conflict, "nothing was changed"};
      }
      return std::string("revocations since the backup discarded");
    }
    if (auto kept = keep_restricted(restored, **present, since); !kept) return kept.error();
    return "revoked since and kept so: devices " + std::to_string(since.devices.size()) + ", tokens " +
           std::to_string(since.tokens.size()) + "; inactive since and kept so: devices " +
           std::to_string(since.inactive.size()) + ", CAs " + std::to_string(since.inactive_cas.size()) +
           "; narrowed since and kept so: tokens " + std::to_string(since.narrowed.size()) + ", listeners " +
           std::to_string(since.listeners.size()) +
           (report_.lost()
                ? "; what was revoked after revision " + std::to_string(report_.present_revision) + " could not be read"
                : "");
  }

  Answer<void> name_cas(const RegistryStore& restored, const RestrictedSince& since) {
    std::map<Digest, std::string> names;
    const auto add = [&](const Digest& id, const CaRow& row) {
      const auto parsed =
          Certificate::from_der({reinterpret_cast<const std::uint8_t*>(row.der.data()), row.der.size()});
      names[id] = to_hex(id).substr(0, kIdDigits) + "  " + (parsed ? parsed->subject() : "");
      return true;
    };
    if (const auto read = restored.each_ca(add); !read) return read.error();
    for (const auto& [id, row] : since.cas) add(id, row);  // some came after the backup
    const auto name = [&](const Digest& id) { return names[id]; };
    report_.some_narrowed_cas = some(since.narrowed_cas, name);
    report_.some_inactive_cas = some(since.inactive_cas, name);
    report_.some_deleted_cas = some(since.deleted_cas, name);
    return {};
  }

  // The two registries change places at once, and back where the rest fails: what was here is never lost. A kill in
  // between leaves a registry that starts, or says why it does not, and the other one in `restoring`.
  Answer<void> put_in_place() {
    const fs::path made = staging_ / "registry";
    const unsigned how = has_present_ ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    const auto swap = [&] { return ::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, present_.c_str(), how) == 0; };
    // Ticket keys that the registry of before kept for its next start: this one does not know what was lost under them.
    const std::string keys = ticket_keys_path(state_dir_.string());
    if (::unlink(keys.c_str()) != 0 && errno != ENOENT) return failed_at(keys);
    if (!swap()) return failed_at(present_);
    staging_is_a_copy_ = !has_present_;
    if (::rename((staging_ / "registry.mark").c_str(), (state_dir_ / "registry.mark").c_str()) != 0) {
      const Refusal why = failed_at(state_dir_ / "registry.mark");
      if (has_present_) staging_is_a_copy_ = swap();
      return why;
    }
    if (has_present_) {
      const fs::path aside = state_dir_ / ("registry.before-" + utc(std::time(nullptr)));
      if (::rename(made.c_str(), aside.c_str()) != 0) return failed_at(aside);
      report_.aside = aside.string();
      staging_is_a_copy_ = true;  // nothing else is left in it
    }
    return sync_folder(state_dir_.string());
  }

  const std::string dir_;
  const fs::path state_dir_, present_, staging_;
  const RestoreOptions& options_;
  const Ask& agreed_;
  const Ask& accepts_;
  RegistryLock lock_;
  bool has_present_ = false, made_state_dir_ = false, done_ = false;
  bool staging_is_a_copy_ = false;  // of the backup: it may be removed
  RestoreReport report_;
};

}  // namespace

std::string RestoreReport::what_is_lost() const {
  const std::string read = "can be read up to revision " + std::to_string(present_revision) + ", and ";
  return read + (unmarked ? "registry.mark, which says what was answered, is gone or of another registry"
                          : "revision " + std::to_string(answered_revision) + " was answered");
}

Answer<RestoreReport> restore_backup(const std::string& dir, const std::string& state_dir,
                                     const RestoreOptions& options,
                                     const std::function<bool(const RestoreReport&)>& agreed,
                                     const std::function<bool(const RestoreReport&)>& accepts) {
  return Restore(dir, state_dir, options, agreed, accepts).run();
}

}  // namespace sallyport
