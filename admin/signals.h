// The signals that end, reload and replace this process, as something that can be polled beside others (signalfd(2)).
// The main thread alone.
#pragma once

#include <signal.h>

#include <chrono>
#include <initializer_list>

namespace sallyport {

// SIGTERM, SIGINT, SIGHUP and SIGUSR2; SIGPIPE is ignored. Every thread that is started later inherits the mask:
// signals come to the main thread alone.
sigset_t block_signals();

class Signals {
 public:
  explicit Signals(const sigset_t& which);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Waits for one, or for one of `others`, of which there are four at most, to have something to read, or for the time
  // to pass: 0.
  int wait(std::chrono::milliseconds most, std::initializer_list<int> others = {});

 private:
  const int fd_;
};

inline bool ends(int signal) {
  return signal == SIGTERM || signal == SIGINT;
}

}  // namespace sallyport
