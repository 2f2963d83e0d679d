// What is free on the disk of state_dir, and below what the registry takes no change any more: `status`, `doctor` and
// the metrics say the same.
#pragma once

#include <sys/statvfs.h>

#include <cstdint>
#include <string>

namespace sallyport {

// RocksDB keeps this much for itself: once a write failed, it takes no other until as much is free again.
inline constexpr std::uint64_t kRegistryNeedsBytes = std::uint64_t{128} << 20;

// What whoever runs the process may still write, without what is kept for root.
inline std::uint64_t free_bytes(const std::string& dir) {
  struct statvfs about {};
  return ::statvfs(dir.c_str(), &about) == 0 ? std::uint64_t{about.f_bavail} * about.f_frsize : 0;
}

}  // namespace sallyport
