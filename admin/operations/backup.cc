#include "admin/operations/backup.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <set>
#include <vector>

#include "admin/operations/objects.h"
#include "cache/base/file.h"
#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = RegistryStore::kManifest;
constexpr const char* kRegistry = "registry";
constexpr std::uint64_t kFormat = 1;
constexpr std::size_t kManifestLimit = std::size_t{16} << 20;

Refusal failed(const std::string& what) {
  return {Refusal::Kind::Unavailable, what};
}
Refusal damaged(const std::string& dir, const std::string& what) {
  return {Refusal::Kind::Invalid, "the backup in " + dir + " is not whole: " + what};
}

// Copies (where `into` is given) and hashes in one pass.
Answer<std::string> copy_and_hash(const fs::path& from, const fs::path* into) {
  const auto refusal = [](const fs::path& path) { return failed(path.string() + ": " + std::strerror(errno)); };
  using HashPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;
  const HashPtr hash(EVP_MD_CTX_new());
  if (!hash || EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) != 1) return failed("out of memory");
  const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (in < 0) return refusal(from);
  int out = -1;
  if (into != nullptr) {
    out = ::open(into->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) {
      ::close(in);
      return refusal(*into);
    }
  }
  std::vector<char> piece(256 * 1024);
  ssize_t n = 0;
  bool good = true;
  while (good && (n = ::read(in, piece.data(), piece.size())) > 0) {
    EVP_DigestUpdate(hash.get(), piece.data(), static_cast<std::size_t>(n));
    for (ssize_t done = 0; out >= 0 && good && done < n;) {
      const ssize_t wrote = ::write(out, piece.data() + done, static_cast<std::size_t>(n - done));
      good = wrote > 0;
      done += wrote;
    }
  }
  good = good && n == 0 && (out < 0 || ::fsync(out) == 0);
  const int why = errno;
  ::close(in);
  if (out >= 0) ::close(out);
  errno = why;
  if (!good) return refusal(into != nullptr ? *into : from);
  std::uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(hash.get(), digest, &length);
  return to_hex({digest, length});
}

Answer<void> write_manifest(const fs::path& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool good =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  if (!good) return failed(path.string() + ": " + std::strerror(why));
  return {};
}

Answer<void> fresh_folder(const fs::path& dir) {
  std::error_code failure;
  if (fs::exists(dir, failure) && !fs::is_empty(dir, failure)) {
    return Refusal{Refusal::Kind::Conflict, dir.string() + " is not empty: a backup goes into a folder of its own"};
  }
  fs::create_directories(dir, failure);
  if (!failure) fs::permissions(dir, fs::perms::owner_all, failure);
  if (failure) return failed(dir.string() + ": " + failure.message());
  return {};
}

// Members of a manifest that somebody may have edited: of another type they are not there.
std::string text_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
std::optional<std::uint64_t> number_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

Answer<Json> read_manifest(const fs::path& dir) {
  const auto text = read_file((dir / kManifest).string(), kManifestLimit);
  if (!text) return damaged(dir.string(), text.error().what);
  Json manifest = parse_json(*text);
  if (!manifest.is_object() || number_in(manifest, "format") != kFormat || !number_in(manifest, "revision") ||
      !manifest.contains("files") || !manifest["files"].is_array()) {
    return damaged(dir.string(), std::string(kManifest) + " is not a manifest of this version");
  }
  return manifest;
}

// The files the manifest names; a name with a folder in it is none of ours.
Answer<BackupInfo> check_files(const fs::path& dir, const Json& manifest, const fs::path* copy_to) {
  BackupInfo info;
  info.path = dir.string();
  info.revision = number_in(manifest, "revision").value_or(0);
  info.created_at = static_cast<std::int64_t>(number_in(manifest, "created_at_unix").value_or(0));
  std::set<std::string> names;
  for (const Json& file : manifest["files"]) {
    const std::string name = file.is_object() ? text_in(file, "name") : "";
    const bool plain = !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
    if (!plain || !names.insert(name).second) return damaged(dir.string(), "its manifest names '" + name + "'");
    const fs::path from = dir / kRegistry / name;
    const fs::path into = copy_to != nullptr ? *copy_to / name : fs::path();
    const auto hash = copy_and_hash(from, copy_to != nullptr ? &into : nullptr);
    if (!hash) return damaged(dir.string(), hash.error().what);
    const auto bytes = number_in(file, "bytes");
    if (!bytes || *hash != text_in(file, "sha256"))
      return damaged(dir.string(), name + " was changed (its SHA-256 differs)");
    ++info.files;
    info.bytes += *bytes;
  }
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(dir / kRegistry, failure)) {
    if (names.count(entry.path().filename().string()) == 0) {
      return damaged(dir.string(), entry.path().filename().string() + " is not in its manifest");
    }
  }
  if (failure) return damaged(dir.string(), failure.message());
  return info;
}

}  // namespace

Answer<BackupInfo> make_backup(const RegistryStore& store, const std::string& dir) {
  const fs::path top(dir);
  if (auto fresh = fresh_folder(top); !fresh) return fresh.error();
  if (auto made = store.checkpoint((top / kRegistry).string()); !made) return made.error();
  const auto meta = RegistryStore::inspect((top / kRegistry).string());
  if (!meta) return meta.error();
  Json files = Json::array();
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(top / kRegistry, failure)) {
    const std::string name = entry.path().filename().string();
    // Opening it left these behind; they are no part of the registry.
    if (name.rfind("LOG", 0) == 0 || name == "LOCK") {
      fs::remove(entry.path(), failure);
      continue;
    }
    const auto hash = copy_and_hash(entry.path(), nullptr);
    if (!hash) return hash.error();
    files.push_back({{"name", name}, {"bytes", entry.file_size()}, {"sha256", *hash}});
  }
  const std::int64_t now = std::time(nullptr);
  const Json manifest = {{"format", kFormat},
                         {"made_by", "sallyport " SALLYPORT_VERSION},
                         {"schema", RegistryStore::kSchema},
                         {"created_at", utc(now)},
                         {"created_at_unix", static_cast<std::uint64_t>(now)},
                         {"revision", meta->revision},
                         {"files", std::move(files)}};
  if (auto written = write_manifest(top / kManifest, manifest.dump(2) + "\n"); !written) return written.error();
  for (const fs::path& made : {top / kRegistry, top}) {
    if (auto synced = sync_folder(made.string()); !synced) return synced.error();
  }
  return check_files(top, manifest, nullptr);
}

Answer<BackupInfo> verify_backup(const std::string& dir) {
  const auto manifest = read_manifest(dir);
  if (!manifest) return manifest.error();
  return check_files(dir, *manifest, nullptr);
}

Answer<BackupInfo> copy_backup(const std::string& dir, const std::string& state_dir) {
  const auto manifest = read_manifest(dir);
  if (!manifest) return manifest.error();
  const fs::path target = fs::path(state_dir) / kRegistry;
  std::error_code failure;
  fs::create_directories(target, failure);
  if (!failure) fs::permissions(state_dir, fs::perms::owner_all, failure);
  if (failure) return failed(state_dir + ": " + failure.message());
  auto copied = check_files(dir, *manifest, &target);
  if (copied) {
    if (const auto meta = RegistryStore::inspect(target.string()); !meta) copied = meta.error();
  }
  if (copied) {
    if (const auto marked = RegistryStore::mark_restored(state_dir); !marked) copied = marked.error();
  }
  if (!copied) return copied;
  for (const std::string& made : {target.string(), state_dir}) {
    if (auto synced = sync_folder(made); !synced) return synced.error();
  }
  return copied;
}

}  // namespace sallyport
