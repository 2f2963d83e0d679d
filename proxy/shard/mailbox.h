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
#include <variant>
#include <vector>

#include "cache/standing/change.h"
#include "proxy/session/session_host.h"

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
struct TargetList;

// The id of a session as operators see it: 16 hex digits.
std::string session_id(std::uint64_t id);

// One live session, as an operator sees it.
struct SessionInfo {
  std::uint64_t id = 0;
  std::optional<Digest> device;  // none on a one-way listener
  std::string cn;
  Digest ca{};
  std::size_t listener = 0;
  std::string peer, client_id;
  std::string server;  // of the upstream, as the configuration writes it; empty: none is chosen
  std::string via;     // the balancer that named the peer; empty: none
  std::string state;   // "handshaking", "awaiting-connect", "connecting", "forwarding", "closing"
  std::string_view tls_version, mqtt_version;  // static; empty: not known yet
  bool resumed = false;
  std::int64_t since = 0;  // Unix seconds
};

// A page of one shard's sessions; each shard fills its own.
struct SessionQuery {
  std::optional<Digest> device, ca;
  bool clones = false;   // only those whose certificate is used from two places
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

// Which listener configurations sessions have; the shards add theirs under the lock.
struct ConfigsInUse {
  std::mutex mutex;
  std::set<const ListenerConfig*> configs;
};

// What a shard may be told; each kind has what it needs, and Shard has an overload of answer() for each. What a
// pointer leads to is the sender's, who waits for the reply.
struct PutInForce {
  const Notice* notice;
};
struct CountDevices {  // adds up in the tally
  SessionTally* tally;
};
struct CountBelow {  // the answer: the sessions below the CA
  Digest ca;
  DevicesBelow* below;
};
struct ListSessions {
  SessionQuery* query;
};
struct CutSession {  // the answer: 1 where it was found
  std::uint64_t id;
};
struct CutClones {  // of the device's sessions at the listener: the older ones that differ from `use`
  std::size_t listener;
  Digest device;
  DeviceUse use;
};
struct SetListener {  // the one that settings->listener says
  const SessionSettings* settings;
};
struct SetTargets {  // of an upstream, in place of those before
  std::size_t upstream;
  const TargetList* list;
};
struct FindConfigs {
  ConfigsInUse* found;
};
struct SetCutPace {
  std::uint64_t per_second;
};
struct ClockSet {};  // the wall clock was set: every session is looked at again
struct ListRejections {
  std::vector<Rejection>* rejections;  // this shard's alone
  std::size_t most;                    // of each kind
};
struct Drain {
  std::uint64_t limit_ms;
};
struct Stop {};

struct Mail {
  std::variant<PutInForce, CountDevices, CountBelow, ListSessions, CutSession, CutClones, SetListener, SetTargets,
               FindConfigs, SetCutPace, ClockSet, ListRejections, Drain, Stop>
      what;
  Reply* reply = nullptr;  // none: nobody waits
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
