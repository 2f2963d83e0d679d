#include "admin/operations/systemd.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <ctime>

namespace sallyport {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

Systemd Systemd::from_environment() {
  return {environment("NOTIFY_SOCKET"), !environment("WATCHDOG_USEC").empty()};
}

void Systemd::tell(const std::string& message) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool abstract = !socket_.empty() && socket_.front() == '@';
  if (socket_.size() >= sizeof address.sun_path || (!abstract && !socket_.starts_with('/'))) return;
  std::copy(socket_.begin(), socket_.end(), address.sun_path);
  if (abstract) address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const timeval most{1, 0};  // whoever does not read must not keep the main thread from its signals
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
  (void)!::sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
                  length);
  ::close(fd);
}

void Systemd::ready(std::string_view status) const {
  tell("READY=1\nSTATUS=" + std::string(status));
}

void Systemd::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1'000) +
       "\nSTATUS=reading the configuration again");
}

void Systemd::stopping(std::string_view status, std::chrono::milliseconds within) const {
  tell("STOPPING=1\nSTATUS=" + std::string(status) + "\nEXTEND_TIMEOUT_USEC=" + std::to_string(within.count() * 1'000));
}

void Systemd::main_is(pid_t pid) const {
  tell("MAINPID=" + std::to_string(pid));
}

void Systemd::feed_watchdog() const {
  if (has_watchdog_) tell("WATCHDOG=1");
}

}  // namespace sallyport
