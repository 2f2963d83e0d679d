// What went wrong with a server last, in words, for an operator who asks why it is down. Shards write it and never
// wait: where another thread is at it, that one's words are as good. Whoever reads it waits for a copy of 160 bytes.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

namespace sallyport {

class LastTrouble {
 public:
  struct Said {
    std::string why;      // empty: nothing has gone wrong since the start
    int error = 0;        // errno, or 0
    std::int64_t at = 0;  // Unix seconds
  };

  void note(std::string_view why, int error, std::int64_t at) {
    if (busy_.test_and_set(std::memory_order_acquire)) return;
    length_ = std::min(why.size(), why_.size());
    std::copy_n(why.begin(), length_, why_.begin());
    error_ = error;
    at_ = at;
    busy_.clear(std::memory_order_release);
  }

  Said said() const {
    while (busy_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
    Said copy{std::string(why_.data(), length_), error_, at_};
    busy_.clear(std::memory_order_release);
    return copy;
  }

 private:
  mutable std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::array<char, 160> why_{};
  std::size_t length_ = 0;
  int error_ = 0;
  std::int64_t at_ = 0;
};

}  // namespace sallyport
