// For tests: waits for an event.
#pragma once
#include <chrono>
#include <functional>
#include <thread>

namespace sallyport {

// A limit for what hangs, and no more. RocksDB alone takes 5 s to believe that a full disk has room again.
inline bool eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace sallyport
