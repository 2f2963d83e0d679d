// What other threads tell a shard: a short locked list and an eventfd that the shard reads through its
// ring. The sender waits for the answer, so what a mail points to stays alive. The lock is held for the
// swap of a vector; the shard never waits for a sender.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/standing/change.h"

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

struct Rejection;
struct SessionSettings;

// One live session, as an operator sees it.
struct SessionInfo {
  std::uint64_t id = 0;
  std::optional<Digest> device;  // none on a one-way listener
  std::string cn;
  Digest ca{};
  std::size_t listener = 0;
  std::string peer, client_id;
  std::string state;  // "handshaking", "awaiting-connect", "connecting", "forwarding", "closing"
  std::string_view tls_version, mqtt_version;  // static; empty: not known yet
  bool resumed = false;
  std::int64_t since = 0;  // Unix seconds
};

// A page of one shard's sessions; each shard fills its own.
struct SessionQuery {
  std::optional<Digest> device, ca;
  std::size_t from = 0;  // place in the shard's slab, or among the device's sessions there
  std::size_t limit = 100;
  std::vector<SessionInfo> found;
  std::optional<std::size_t> next;  // where to go on
};

// Live sessions of each of some devices; the shards add up under the lock.
struct SessionTally {
  const std::vector<Digest>* devices = nullptr;
  std::mutex mutex;
  std::vector<std::uint64_t> sessions;
};

// Which devices have live sessions below a CA.
struct DevicesBelow {
  std::mutex mutex;
  std::set<std::uint64_t> devices;  // the first eight bytes of each id
};

struct Mail {
  enum class Kind : std::uint8_t {
    PutInForce,
    CountDevices,  // tally
    CountCa,       // id, below; adds up its sessions
    ListSessions,  // sessions
    CutSession,    // number; answers 1 where it was found
    SetListener,   // settings, for settings->listener
    SetCutPace,    // number a second
    Rejections,    // rejections
    Drain,
    Stop,
  } kind{};
  const Notice* notice = nullptr;
  Digest id{};
  std::uint64_t number = 0;
  SessionTally* tally = nullptr;
  DevicesBelow* below = nullptr;
  SessionQuery* sessions = nullptr;
  const SessionSettings* settings = nullptr;
  std::vector<Rejection>* rejections = nullptr;  // this shard's alone
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
