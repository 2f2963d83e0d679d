// The live sessions of one shard by device and by CA, so that a cut finds them at once. Intrusive lists;
// the maps hold only devices and CAs that have a session now. The shard's thread alone.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <unordered_map>
#include <vector>

#include "cache/x509/certificate.h"

namespace sallyport {

class Session;

// SHA-256 values are spread evenly by themselves.
struct DigestHash {
  std::size_t operator()(const Digest& digest) const {
    std::size_t hash = 0;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
  }
};

// A session's membership. `owner` is the nearest registered CA; `cas` are all above the device: the list of the
// session's verdict, which stays as long as the membership does.
struct IndexEntry {
  Session* session = nullptr;
  Digest device{};
  std::span<const Digest> cas;
  bool linked = false;
  IndexEntry *device_next = nullptr, *device_previous = nullptr;
  IndexEntry *owner_next = nullptr, *owner_previous = nullptr;
};

class SessionIndex {
 public:
  void add(IndexEntry& entry);     // device and cas are set
  void remove(IndexEntry& entry);  // harmless when it is not in
  bool empty() const { return by_device_.empty() && by_owner_.empty(); }

  // Snapshots: a cut changes the lists while it walks them.
  std::vector<Session*> of_device(const Digest& id) const;
  std::vector<Session*> owned_by(const Digest& ca) const;
  std::uint64_t count_of_device(const Digest& id) const { return of_device(id).size(); }
  std::vector<const IndexEntry*> below(const Digest& ca) const;  // owned by it or by a CA under it

 private:
  std::unordered_map<Digest, IndexEntry*, DigestHash> by_device_, by_owner_;
};

}  // namespace sallyport
