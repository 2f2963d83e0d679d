#include "admin/operations/kept_ticket_keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cache/base/file.h"
#include "cache/registry/registry_store.h"
#include "cache/registry/sealed.h"

namespace sallyport {

namespace {

constexpr char kKeysFormat = 1;
constexpr const char* kBeingMade = ".new";
constexpr std::size_t kHead = 1 + 8 + 4 + 4, kKey = 16 + 32 + 32 + 8;
constexpr std::size_t kMost = kHead + TicketKeys::kSlots * kKey + 64;  // and what sealing adds

// Wiped at its end.
struct Secret : std::string {
  using basic_string::basic_string;
  explicit Secret(std::string text) : basic_string(std::move(text)) {}
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { OPENSSL_cleanse(data(), size()); }
};

// What the sealed keys are bound to.
std::string name_of(const std::string& state) {
  return "sallyport ticket keys of " + state;
}

void put(std::string& out, const void* from, std::size_t size) {
  out.append(static_cast<const char*>(from), size);
}

void encode(const std::vector<TicketKey>& keys, const StandingEpochs& epochs, std::int64_t now, Secret& out) {
  out.reserve(kMost);  // what a string outgrows is not wiped
  out += kKeysFormat;
  put(out, &now, sizeof now);
  put(out, &epochs.epoch, sizeof epochs.epoch);
  put(out, &epochs.of_chains, sizeof epochs.of_chains);
  for (const TicketKey& key : keys) {
    put(out, key.name.data(), key.name.size());
    put(out, key.cipher.data(), key.cipher.size());
    put(out, key.mac.data(), key.mac.size());
    put(out, &key.made_at, sizeof key.made_at);
  }
}

std::optional<KeptTicketKeys> decode(std::string_view in, std::int64_t& written_at) {
  if (in.size() < kHead || in[0] != kKeysFormat || (in.size() - kHead) % kKey != 0) return std::nullopt;
  const auto take = [&in](void* into, std::size_t size) {
    std::memcpy(into, in.data(), size);
    in.remove_prefix(size);
  };
  in.remove_prefix(1);
  KeptTicketKeys kept;
  take(&written_at, sizeof written_at);
  take(&kept.epochs.epoch, sizeof kept.epochs.epoch);
  take(&kept.epochs.of_chains, sizeof kept.epochs.of_chains);
  kept.keys.reserve(in.size() / kKey);
  while (!in.empty()) {
    TicketKey& key = kept.keys.emplace_back();
    take(key.name.data(), key.name.size());
    take(key.cipher.data(), key.cipher.size());
    take(key.mac.data(), key.mac.size());
    take(&key.made_at, sizeof key.made_at);
    if (key.made_at == 0) return std::nullopt;
  }
  return kept;
}

// Under another name and then moved, so that what has its name is whole.
Answer<void> write_file(const Config& config, std::string_view sealed) {
  const std::string path = ticket_keys_path(config.state_dir), making = path + kBeingMade;
  const auto failed = [&] { return Refusal{Refusal::Kind::Unavailable, making + ": " + std::strerror(errno)}; };
  ::unlink(making.c_str());
  const int fd = ::open(making.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return failed();
  const bool written =
      ::write(fd, sealed.data(), sealed.size()) == static_cast<ssize_t>(sealed.size()) && ::fsync(fd) == 0;
  const Answer<void> done = written && ::rename(making.c_str(), path.c_str()) == 0 ? Answer<void>() : failed();
  ::close(fd);
  if (!done) ::unlink(making.c_str());
  return done ? sync_folder(config.state_dir) : done;
}

Answer<KeptTicketKeys> opened(const Config& config, const RegistryStore& store, const std::string& sealed,
                              std::int64_t now) {
  const auto refusal = [](const char* why) { return Refusal{Refusal::Kind::Invalid, why}; };
  if (!config.keep_ticket_keys) return refusal("proxy.keep_ticket_keys is off now");
  const auto key = SealingKey::load(config.registry.key_file);
  if (!key) return refusal("registry.key_file cannot be used");
  const auto state = store.state();
  auto unsealed = state ? key->unseal(sealed, name_of(*state)) : Answer<std::string>(Refusal{});
  if (!unsealed) {
    return refusal("the file is damaged, or of another registry.key_file, or the registry is not as it was left");
  }
  const Secret plain(std::move(*unsealed));
  std::int64_t written_at = 0;
  auto kept = decode(plain, written_at);
  if (!kept) return refusal("the file is of another version");
  if (written_at - now > TicketKeys::kAhead) return refusal("the clock was set back");
  return std::move(*kept);
}

}  // namespace

std::string ticket_keys_path(const std::string& state_dir) {
  return state_dir + "/ticket-keys";
}

void keep_ticket_keys(const Config& config, const TicketKeys& keys, const Registrar& registrar,
                      const RegistryStore& store, std::int64_t now, Logger& log) {
  if (!config.keep_ticket_keys) return;
  const auto epochs = registrar.epochs_at_stop();
  const auto state = store.state();
  const auto key = SealingKey::load(config.registry.key_file);
  Secret plain;
  if (epochs) encode(keys.alive(now), *epochs, now, plain);
  const auto sealed =
      !epochs || !state
          ? Answer<std::string>(Refusal{Refusal::Kind::Unavailable, "the registry does not hold all that was lost"})
      : !key ? Answer<std::string>(key.error())
             : key->seal(plain, name_of(*state));
  const auto written = sealed ? write_file(config, *sealed) : Answer<void>(sealed.error());
  if (!written) return log.warn("ticket-keys", {{"what", "not kept"}, {"why", written.error().what}});
  log.info("ticket-keys", {{"what", "kept for the next start"}});
}

std::optional<KeptTicketKeys> take_ticket_keys(const Config& config, const RegistryStore& store, std::int64_t now,
                                               Logger& log) {
  const std::string path = ticket_keys_path(config.state_dir);
  ::unlink((path + kBeingMade).c_str());  // of a process that was killed while it wrote
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0 && errno == ENOENT) return std::nullopt;
  const auto fresh = [&](const std::string& why) {
    log.warn("ticket-keys", {{"what", "not taken: fresh ones, and every device makes a full handshake"}, {"why", why}});
    return std::nullopt;
  };
  const bool ours = S_ISREG(about.st_mode) && (about.st_mode & 077) == 0;
  const auto sealed = ours ? read_file(path, kMost) : Answer<std::string>(Refusal{});
  // First of all: what stays could be taken again, when it is worth nothing any more.
  if (::unlink(path.c_str()) != 0) return fresh(path + ": cannot be removed: " + std::strerror(errno));
  if (const auto synced = sync_folder(config.state_dir); !synced) return fresh(synced.error().what);
  if (!ours) return fresh(path + ": not a file that its owner alone can read");
  if (!sealed) return fresh(sealed.error().what);
  auto kept = opened(config, store, *sealed, now);
  if (!kept) return fresh(kept.error().what);
  log.info("ticket-keys", {{"what", "those of the process before are taken"}, {"keys", kept->keys.size()}});
  return std::move(*kept);
}

void note_keys_taken(std::size_t count, Registrar& registrar, TicketKeys& keys, std::int64_t now, Logger& log) {
  if (count == 0) return;
  const auto noted =
      registrar.record({"serve", "-"}, "ticket-keys.take", "-", std::to_string(count) + " of the process before");
  if (noted) return;
  keys.drop(now);
  log.warn("ticket-keys", {{"what", "not taken: every device makes a full handshake"}, {"why", noted.error().what}});
}

}  // namespace sallyport
