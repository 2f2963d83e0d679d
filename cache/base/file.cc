#include "cache/base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sallyport {

namespace {

constexpr int kPipeMs = 5000;

}  // namespace

// By the system calls themselves: a std::ifstream opens a folder without complaint and then throws.
Answer<std::string> read_file(const std::string& path, std::size_t limit) {
  const auto refusal = [&](const std::string& why) { return Refusal{Refusal::Kind::Invalid, path + ": " + why}; };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return refusal(std::string("cannot be read: ") + std::strerror(errno));
  std::string text;
  struct stat about {};
  const bool known = ::fstat(fd, &about) == 0;
  // At once, so that nothing is left behind where it grows: it may be a key.
  if (known && about.st_size > 0) {
    text.reserve(std::min(static_cast<std::size_t>(about.st_size), limit) + 1);
  }
  const bool pipe = known && !S_ISREG(about.st_mode);
  char chunk[16 * 1024];
  ssize_t n = 0;
  int failure = 0;
  do {
    pollfd ready{fd, POLLIN, 0};
    if (pipe && ::poll(&ready, 1, kPipeMs) == 0) {
      failure = ETIMEDOUT;
      break;
    }
    n = ::read(fd, chunk, sizeof chunk);
    if (n > 0) text.append(chunk, static_cast<std::size_t>(n));
    if (n < 0 && errno != EINTR && errno != EAGAIN) failure = errno;
  } while (n != 0 && failure == 0 && text.size() <= limit);
  ::close(fd);
  ::explicit_bzero(chunk, sizeof chunk);  // it may have been a key
  if (failure != 0) return refusal(std::string("cannot be read: ") + std::strerror(failure));
  if (text.size() > limit) return refusal("is larger than " + std::to_string(limit / 1024) + " KiB");
  return text;
}

Answer<void> sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  if (synced) return {};
  return Refusal{Refusal::Kind::Unavailable, path + ": cannot be synced: " + std::strerror(why)};
}

}  // namespace sallyport
