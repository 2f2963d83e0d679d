// An epoll loop with a clock, for one thread. Whoever is registered gets its readiness; due times come from the
// scenarios, which ask to be called at a point in time (nanoseconds of the monotonic clock).
#pragma once

#include <cstdint>

namespace load {

std::int64_t now_ns();

class Ready {
 public:
  virtual ~Ready() = default;
  virtual void on_ready(std::uint32_t epoll_events) = 0;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Level-triggered. `who` outlives its registration, which ends when the descriptor is closed.
  void add(int fd, std::uint32_t events, Ready& who);
  void change(int fd, std::uint32_t events, Ready& who);
  // Handles what is ready, waiting until `until_ns` at most.
  void turn(std::int64_t until_ns);

 private:
  int epoll_;
};

// Ends the process with a sentence: a load generator that cannot go on has nothing to measure.
[[noreturn]] void give_up(const char* what);

}  // namespace load
