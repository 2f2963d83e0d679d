// What other threads tell a shard: a short locked list and an eventfd that the shard reads through its
// ring. The sender waits for the answer, so what a mail points to stays alive. The lock is held for the
// swap of a vector; the shard never waits for a sender.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "cache/change.h"

namespace sallyport {

// Shared by the mails of one question: counts the shards that have not answered.
class Reply {
 public:
  void expect() {
    const std::lock_guard lock(mutex_);
    ++missing_;
  }
  void answer(std::uint64_t amount) {
    const std::lock_guard lock(mutex_);
    sum_ += amount;
    if (--missing_ == 0) all_here_.notify_all();
  }
  std::uint64_t wait() {
    std::unique_lock lock(mutex_);
    all_here_.wait(lock, [this] { return missing_ == 0; });
    return sum_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  int missing_ = 0;
  std::uint64_t sum_ = 0;
};

struct Mail {
  enum class Kind : std::uint8_t { PutInForce, CountDevice, CountCa, Drain, Stop } kind{};
  const Notice* notice = nullptr;
  Digest id{};
  std::uint64_t limit_ms = 0;
  Reply* reply = nullptr;
};

class Mailbox {
 public:
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. False: the shard has ended, and nothing will answer.
  bool post(const Mail& mail);
  // The shard.
  std::vector<Mail> take();
  std::vector<Mail> close();  // no more is taken; what is left must be answered by the caller
  int event_fd() const { return event_fd_; }

 private:
  std::mutex mutex_;
  std::vector<Mail> mails_;
  bool closed_ = false;
  int event_fd_;
};

}  // namespace sallyport
