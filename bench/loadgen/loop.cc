#include "bench/loadgen/loop.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace load {

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void give_up(const char* what) {
  std::fprintf(stderr, "load: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? std::strerror(errno) : "");
  std::exit(1);
}

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) give_up("epoll_create1");
}
Loop::~Loop() {
  ::close(epoll_);
}

void Loop::add(int fd, std::uint32_t events, Ready& who) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &who;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) give_up("epoll_ctl");
}

void Loop::change(int fd, std::uint32_t events, Ready& who) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &who;
  if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) != 0) give_up("epoll_ctl");
}

void Loop::turn(std::int64_t until_ns) {
  const std::int64_t wait = std::max<std::int64_t>(until_ns - now_ns(), 0);
  const timespec limit{wait / 1'000'000'000, wait % 1'000'000'000};
  epoll_event events[256];
  const int n = ::epoll_pwait2(epoll_, events, 256, &limit, nullptr);
  if (n < 0 && errno != EINTR) give_up("epoll_pwait2");
  for (int i = 0; i < n; ++i) static_cast<Ready*>(events[i].data.ptr)->on_ready(events[i].events);
}

}  // namespace load
