// Timeouts of one shard: an intrusive wheel, so that arming and cancelling cost a few writes and nothing is
// allocated. Coarse (a tick is 16 ms) and never early.
#pragma once

#include <array>
#include <cstdint>

namespace sallyport {

class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  template <auto kMethod, class T>
  void arm(T& object) {
    object_ = &object;
    run_ = [](void* o) { (static_cast<T*>(o)->*kMethod)(); };
  }
  bool running() const { return next_ != nullptr; }

 private:
  friend class TimerWheel;
  Timer* next_ = nullptr;
  Timer* previous_ = nullptr;
  std::uint64_t due_tick_ = 0;
  void* object_ = nullptr;
  void (*run_)(void*) = nullptr;
};

class TimerWheel {
 public:
  static constexpr std::uint64_t kTickMs = 16;

  explicit TimerWheel(std::uint64_t now_ms);

  // Runs once, in an advance() that is `after_ms` from `now_ms` or later. Starting a running timer moves it.
  void start(Timer& timer, std::uint64_t now_ms, std::uint64_t after_ms);
  void stop(Timer& timer);
  void advance(std::uint64_t now_ms);  // runs what is due; callbacks may start and stop timers
  // Milliseconds until an advance() may have something to do; `most` where that is later or nothing runs. Looks at
  // the slots in between, not at the timers.
  std::uint64_t patience(std::uint64_t now_ms, std::uint64_t most) const;
  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }

 private:
  static constexpr std::size_t kSlots = 1024;  // 16 s; what is later stays for more rounds
  static void unlink(Timer& timer);

  std::array<Timer, kSlots> slots_;  // list heads
  std::uint64_t tick_;
  std::size_t count_ = 0;
};

}  // namespace sallyport
