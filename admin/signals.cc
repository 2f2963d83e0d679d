#include "admin/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

namespace sallyport {

sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return signals;
}

Signals::Signals(const sigset_t& which) : fd_(::signalfd(-1, &which, SFD_CLOEXEC | SFD_NONBLOCK)) {}
Signals::~Signals() {
  ::close(fd_);
}

int Signals::wait(std::chrono::milliseconds most, std::initializer_list<int> others) {
  std::array<pollfd, 5> polled{{{fd_, POLLIN, 0}}};
  std::size_t count = 1;
  for (const int fd : others) polled.at(count++) = {fd, POLLIN, 0};
  ::poll(polled.data(), count, static_cast<int>(most.count()));
  signalfd_siginfo info{};
  return ::read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace sallyport
