// Keeps sallyport from opening a registry, or tells that one has: RocksDB locks the same file (fcntl(2), F_SETLK) for
// as long as it is open.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

namespace sallyport {

class RegistryLock {
 public:
  ~RegistryLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  RegistryLock() = default;
  RegistryLock(const RegistryLock&) = delete;
  RegistryLock& operator=(const RegistryLock&) = delete;

  // `registry`: RocksDB's folder. False: a process has it open.
  bool take(const std::string& registry) {
    fd_ = ::open((registry + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = whole();
    return fd_ >= 0 && ::fcntl(fd_, F_SETLK, &lock) == 0;
  }

  // Asks, and takes nothing.
  static bool taken(const std::string& registry) {
    const int fd = ::open((registry + "/LOCK").c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    struct flock lock = whole();
    const bool asked = ::fcntl(fd, F_GETLK, &lock) == 0;
    ::close(fd);
    return asked && lock.l_type != F_UNLCK;
  }

  // A Sallyport that ends is unreachable before it has closed its registry. Whoever comes right behind it waits here,
  // as long as that takes; whoever has a registry open for good is met by what comes next.
  static void await_the_last(const std::string& registry, std::chrono::milliseconds limit = std::chrono::seconds(5)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (taken(registry) && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

 private:
  static struct flock whole() {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
  }

  int fd_ = -1;
};

}  // namespace sallyport
