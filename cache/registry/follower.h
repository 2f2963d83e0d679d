// Follows the shared registry on a thread of its own: connects, and connects again; hands what others committed to the
// registrar in order; takes snapshots; tells that this node lives, and how far it is; knows how far the others are. It
// changes nothing itself: the Host does, on the registrar's thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/registry/registry_store.h"
#include "cache/shared/shared_session.h"

namespace sallyport {

// What a node does that has not heard of the shared registry for longer than `stale_after`.
enum class Stale : std::uint8_t { Serve, RefuseUnknown, RefuseAll };

struct SharedOptions {
  std::string url;  // empty: the registry is this machine's own
  std::string node;
  std::string version;
  std::chrono::milliseconds stale_after{0};  // 0: never
  Stale stale = Stale::Serve;
};

struct SharedState {
  bool shared = false, connected = false, stale = false;
  bool refuses_all = false;     // it is stale, and every device is refused
  bool same_name = false;       // another process has this node's name
  std::string node;             // what this one is called: its name, or one beside it where another process has that
  std::string server, why;      // why not connected, or why it takes no change
  std::int64_t away_ms = 0;     // since it was heard of last
  std::uint64_t revision = 0;   // in force here
  SharedNodes nodes;            // as of the last look; their times grow while PostgreSQL is away
  std::uint64_t snapshots = 0;  // taken since the start
  std::size_t restrictions_waiting = 0;  // in force here, not yet over there
  bool in_snapshot = false;              // one is being taken
  std::int64_t clock_ahead_us = 0;       // PostgreSQL's, of this machine's
  std::optional<bool> synchronous;       // commits wait for a standby; none: never connected
};

// How far a change has come.
struct InForce {
  std::uint64_t revision = 0;
  std::size_t nodes = 0, of = 0;
  std::vector<SharedNode> behind;
  bool known = false;  // the shared registry answered
};

class Follower {
 public:
  // Each call runs on the registrar's thread and returns when it has.
  class Host {
   public:
    virtual ~Host() = default;
    virtual SharedPosition position() const = 0;  // any thread
    virtual Answer<void> take(SharedNews news) = 0;
    virtual Answer<void> snapshot_begins(bool elsewhere) = 0;
    virtual Answer<void> snapshot_part(std::vector<SharedEntry> entries) = 0;
    virtual Answer<void> snapshot_ends(const SharedPosition& position) = 0;
    // A connection for turns; the one before is gone.
    virtual bool needs_writer() const = 0;  // any thread
    virtual void take_writer(std::unique_ptr<SharedSession> writer) = 0;
    virtual void lose_writer() = 0;
    virtual void set_stale(bool stale) = 0;
    // What waits here to be written over there is tried again.
    virtual void look_at_outbox() = 0;
    // Lines of the audit log before this are to be forgotten; 0: none. Any thread.
    virtual std::int64_t audit_from_us() const = 0;
  };

  Follower(SharedOptions options, const RegistryStore& store, Host& host, Logger& log);
  ~Follower();
  void start();
  void stop();
  void wake();  // any thread
  // Until this node has everything there was when it connected, or `limit` is over.
  bool wait_synced(std::chrono::milliseconds limit);
  SharedState state() const;                                                  // any thread
  InForce in_force(std::uint64_t revision, std::chrono::milliseconds limit);  // any thread; waits
  // Whether this node has not heard of it for too long. Asked for by others, too, because this thread may be held up by
  // the resolver. Any thread but the registrar's, for which it waits.
  void look_at_age();
  // No turn could be had, for this reason, over a connection that works: somebody holds writers up. Any thread.
  void held_up(const std::string& why);
  // Asks another node, and waits for what it says; any thread but the registrar's. Few at once: else it is refused.
  Answer<std::string> ask(const std::string& node, const std::string& request, std::chrono::milliseconds limit);
  // Who answers what others ask of this node: on the follower's thread, and it must not wait for it. Empty: nobody.
  void answer_with(std::function<std::string(const std::string&)> answers);
  // Takes a node that is gone off the list. Any thread but the registrar's; waits.
  Answer<void> forget_node(const std::string& name);
  const SharedOptions& options() const { return options_; }
  // A node that is to refuse what it cannot know refuses it from the first moment.
  static bool begins_stale(const SharedOptions& options) {
    return options.stale_after.count() != 0 && options.stale != Stale::Serve;
  }
  PgPlace place() const;  // the server that is followed; any thread

  static constexpr std::chrono::milliseconds kPoll{150}, kRetry{500}, kBeat{1000}, kBeatAtMost{50};
  static constexpr std::chrono::hours kKeepDeletes{7 * 24};
  // Each keeps a worker of the API waiting, and there are eight: some must be left for who revokes.
  static constexpr std::size_t kMostAsks = 4;

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  bool connect();
  bool follow();  // false: the connection is of no use any more
  bool take_snapshot(bool elsewhere);
  bool merge_snapshot(bool elsewhere);
  void lost(const Refusal& why);
  void cannot_write(const Refusal& why);
  bool answer_others();
  bool pass_on_asks();
  bool beat();
  bool look_at_name(bool alone);
  bool another_is_beside() const;  // of this node's name
  bool look_at_nodes();
  bool look_at_standby();
  bool look_at_lock();
  bool keep_house();
  void has_heard(bool all);
  void rest(std::chrono::milliseconds most);

  const SharedOptions options_;
  const RegistryStore& store_;
  Host& host_;
  Logger& log_;
  const std::string instance_;
  std::unique_ptr<SharedSession> session_;  // the thread's, as all that follows up to the lock
  std::uint64_t told_ = 0;                  // the revision of the last heartbeat
  Clock::time_point beat_at_{}, outbox_at_{}, forget_at_{}, twin_since_{};
  std::string name_;                       // SharedState::node
  std::string not_applied_, not_written_;  // why, as it was logged last
  std::string held_up_;                    // why writers wait; under mutex_
  const int wake_fd_;

  std::mutex age_mutex_;  // held while the registrar is told: it never takes it
  bool stale_, stale_said_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  SharedState state_;
  PgPlace place_;
  Clock::time_point snapshot_at_{};          // the end of the last one
  Clock::time_point heard_{}, looked_at_{};  // of the shared registry; at the nodes
  std::uint64_t looks_ = 0;                  // at the nodes
  std::size_t watchers_ = 0;
  bool synced_ = false;
  // What this node asks of others, and of PostgreSQL by this thread: the caller waits for `done`.
  struct Ask {
    std::string node, request;
    bool forgets = false;  // the node is taken off the list
    std::uint64_t id = 0;
    std::optional<Answer<std::string>> done;
  };
  Answer<std::string> wait_for(const std::shared_ptr<Ask>& ask, std::chrono::milliseconds limit);
  std::vector<std::shared_ptr<Ask>> asks_;
  std::vector<std::uint64_t> ended_;  // whose rows are to go
  std::mutex answers_mutex_;          // held while one is asked: who takes it away waits for that
  std::function<std::string(const std::string&)> answers_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sallyport
