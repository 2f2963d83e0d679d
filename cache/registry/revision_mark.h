// The last revision that was answered, in a small file beside the store. RocksDB's log cannot take it along: a log that
// lost its end leaves a registry that opens without a fault and knows less than operators were told. Who opens a store
// compares the two.
//
// The file has two slots of one sector each, written in turn: a write that was torn leaves the other one. One thread
// at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "cache/base/result.h"

namespace sallyport {

// Random, made with the registry: a mark is of one registry.
using StoreId = std::array<std::uint8_t, 16>;

class RevisionMark {
 public:
  struct Content {
    StoreId store{};
    std::uint64_t revision = 0;
  };

  RevisionMark() = default;  // of no file: raise() does nothing
  ~RevisionMark();
  RevisionMark(RevisionMark&& other) noexcept { swap(other); }
  RevisionMark& operator=(RevisionMark&& other) noexcept {
    swap(other);
    return *this;
  }

  // What the file says, the higher of its slots that are whole. None: there is no file. Refused: it cannot be read, or
  // no slot is whole.
  static Answer<std::optional<Content>> read(const std::string& path);
  // Makes the file, or makes it say `content` in place of what it said; durable on return, with its name in its folder.
  static Answer<RevisionMark> make(const std::string& path, const Content& content);
  // The file as read() found it.
  static Answer<RevisionMark> open(const std::string& path, const Content& content);

  // Called once the revision is durable in the store. A lower one than the last changes nothing. `sync`: durable on
  // return (pwritev2(2), RWF_DSYNC); else it outlives this process, but not the machine.
  // Before a registry takes the place of this one whose revisions are others: what is on disk then is all that counts.
  Answer<void> lower(std::uint64_t revision);
  Answer<void> raise(std::uint64_t revision, bool sync);

  std::uint64_t revision() const { return content_.revision; }

 private:
  void swap(RevisionMark& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(content_, other.content_);
    std::swap(slot_, other.slot_);
    std::swap(path_, other.path_);
  }
  Answer<void> write(const Content& content, bool sync);

  int fd_ = -1;
  Content content_;
  unsigned slot_ = 0;  // the next to be written
  std::string path_;
};

}  // namespace sallyport
