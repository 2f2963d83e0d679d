#include "cache/registry/revision_mark.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>

#include "cache/base/file.h"
#include "cache/crypto/sha2.h"

namespace sallyport {

namespace {

// A slot: the name of the format, the store's id, the revision in big-endian, and the first half of their SHA-256.
constexpr std::string_view kFormat = "sallyport-mark-1";
constexpr std::size_t kStoreAt = kFormat.size();
constexpr std::size_t kRevisionAt = kStoreAt + StoreId{}.size();
constexpr std::size_t kHashAt = kRevisionAt + 8;
constexpr std::size_t kHashBytes = 16;
constexpr std::size_t kSlotBytes = kHashAt + kHashBytes;
constexpr std::size_t kSlotDistance = 4096;  // the largest sector there is
using Slot = std::array<std::uint8_t, kSlotBytes>;

Slot slot_of(const RevisionMark::Content& content) {
  Slot slot{};
  std::copy(kFormat.begin(), kFormat.end(), slot.begin());
  std::copy(content.store.begin(), content.store.end(), slot.begin() + kStoreAt);
  for (std::size_t i = 0; i < 8; ++i) {
    slot[kRevisionAt + i] = static_cast<std::uint8_t>(content.revision >> (56 - 8 * i) & 0xFF);
  }
  const auto hash = Sha256::of(std::span(slot).first(kHashAt));
  std::copy_n(hash.begin(), kHashBytes, slot.begin() + kHashAt);
  return slot;
}

std::optional<RevisionMark::Content> content_of(const Slot& slot) {
  RevisionMark::Content content;
  std::copy_n(slot.begin() + kStoreAt, content.store.size(), content.store.begin());
  for (std::size_t i = 0; i < 8; ++i) content.revision = content.revision << 8 | slot[kRevisionAt + i];
  if (slot_of(content) != slot) return std::nullopt;
  return content;
}

Refusal failed(const std::string& path) {
  return {Refusal::Kind::Unavailable, path + ": " + std::strerror(errno)};
}

}  // namespace

RevisionMark::~RevisionMark() {
  if (fd_ >= 0) ::close(fd_);
}

Answer<std::optional<RevisionMark::Content>> RevisionMark::read(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::optional<Content>();
    return failed(path);
  }
  std::optional<Content> highest;
  for (const std::size_t at : {std::size_t{0}, kSlotDistance}) {
    Slot slot{};
    const ssize_t n = ::pread(fd, slot.data(), slot.size(), static_cast<off_t>(at));
    if (n < 0) {
      const Refusal refusal = failed(path);
      ::close(fd);
      return refusal;
    }
    const auto content = n == static_cast<ssize_t>(slot.size()) ? content_of(slot) : std::nullopt;
    if (content && (!highest || content->revision > highest->revision)) highest = content;
  }
  ::close(fd);
  if (!highest) return Refusal{Refusal::Kind::Unavailable, path + " is damaged"};
  return highest;
}

Answer<RevisionMark> RevisionMark::make(const std::string& path, const Content& content) {
  // Beside its place and then moved there: what has its name is whole.
  const std::string making = path + ".new";
  RevisionMark mark;
  mark.fd_ = ::open(making.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  mark.path_ = path;
  if (mark.fd_ < 0) return failed(making);
  // Twice, so that both slots exist: raising it later needs no room on the disk.
  for (int i = 0; i < 2; ++i) {
    if (auto written = mark.write(content, true); !written) return written.error();
  }
  if (::fsync(mark.fd_) != 0 || ::rename(making.c_str(), path.c_str()) != 0) return failed(path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (auto synced = sync_folder(folder); !synced) return synced.error();
  return mark;
}

Answer<RevisionMark> RevisionMark::open(const std::string& path, const Content& content) {
  RevisionMark mark;
  mark.fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (mark.fd_ < 0) return failed(path);
  mark.path_ = path;
  mark.content_ = content;
  // Over the slot that does not hold it.
  Slot first{};
  const bool in_first = ::pread(mark.fd_, first.data(), first.size(), 0) == static_cast<ssize_t>(first.size()) &&
                        first == slot_of(content);
  mark.slot_ = in_first ? 1 : 0;
  return mark;
}

Answer<void> RevisionMark::raise(std::uint64_t revision, bool sync) {
  if (fd_ < 0 || revision <= content_.revision) return {};
  return write({content_.store, revision}, sync);
}

Answer<void> RevisionMark::lower(std::uint64_t revision) {
  if (fd_ < 0 || revision >= content_.revision) return {};
  return write({content_.store, revision}, true);
}

Answer<void> RevisionMark::write(const Content& content, bool sync) {
  Slot slot = slot_of(content);
  const iovec part{slot.data(), slot.size()};
  const off_t at = slot_ == 0 ? 0 : static_cast<off_t>(kSlotDistance);
  const ssize_t wrote = ::pwritev2(fd_, &part, 1, at, sync ? RWF_DSYNC : 0);
  if (wrote != static_cast<ssize_t>(slot.size())) {
    if (wrote >= 0) errno = EIO;
    return failed(path_);
  }
  content_ = content;
  slot_ ^= 1;
  return {};
}

}  // namespace sallyport
