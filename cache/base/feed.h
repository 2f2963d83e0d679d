// What happens, as it happens, for whoever asks: each event is a line, a JSON object as the log writes it, from level
// info on, whatever the log itself leaves out. Events cost nothing while nobody asks. Then each producing thread has an
// inlet, a bounded text under a lock that others hold for a swap; one thread carries it to the subscribers, ten times a
// second, and each of them has a bounded queue. What had no room is counted, and each subscriber is told how many it
// lost. Nobody waits for a reader.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace sallyport {

class Feed {
 public:
  // Of all subscriptions, of those over the network, and of one watcher over the network: neither one token nor all of
  // them together keep out who sits at the machine.
  static constexpr std::size_t kMost = 20, kMostRemote = 16, kMostOfWatcher = 4;
  static constexpr std::size_t kInletBytes = 256 * 1024;   // of each producer, until they are carried on
  static constexpr std::size_t kQueueBytes = 1024 * 1024;  // of each subscriber
  static constexpr auto kEvery = std::chrono::milliseconds(100);
  static constexpr std::chrono::milliseconds kHeartbeat{10'000};

  // One of these fields must have one of these values. All of a filter must hold.
  struct Wanted {
    std::vector<std::string> fields, values;
  };
  using Filter = std::vector<Wanted>;

  // Whose a subscription is.
  struct Watcher {
    std::string name;    // of the token
    bool local = false;  // on the admin socket
  };

  // One thread's end. Calls are made by one thread at a time.
  class Inlet {
   public:
    explicit Inlet(const std::atomic<bool>& watched) : watched_(watched) {}
    bool watched() const { return watched_.load(std::memory_order_relaxed); }
    void put(std::string_view line);  // without its line end

   private:
    friend class Feed;
    const std::atomic<bool>& watched_;
    std::mutex mutex_;
    std::string waiting_;
    std::uint64_t lost_ = 0;
  };

  // A subscriber's end: dropped, it is none any more.
  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    // Called on the feed's thread when there is something to take(), and when it is over. Once this returns, what was
    // set before is not called any more. It must not call back.
    void call_when_ready(std::function<void()> wake);
    // What waits, whole lines with their ends; empty: nothing now.
    std::string take();
    bool over() const;

   private:
    friend class Feed;
    Subscription(Feed& feed, Filter filter, std::function<bool()> still, Watcher watcher)
        : feed_(feed), filter_(std::move(filter)), still_(std::move(still)), watcher_(std::move(watcher)) {}
    bool wants(std::string_view line) const;
    void queue(std::string_view line);
    void say_lost();

    Feed& feed_;
    const Filter filter_;
    const std::function<bool()> still_;
    const Watcher watcher_;
    mutable std::mutex mutex_;
    std::function<void()> wake_;
    std::string queue_;
    std::uint64_t lost_ = 0;
    bool over_ = false;
    std::chrono::steady_clock::time_point spoke_at_ = std::chrono::steady_clock::now();
  };

  explicit Feed(std::chrono::milliseconds heartbeat = kHeartbeat);
  ~Feed();  // after every subscription
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  Inlet& inlet();  // a new producer; it lives as long as the feed. Any thread
  enum class Full : std::uint8_t { No, OfWatcher, All };
  struct Subscribed {
    std::unique_ptr<Subscription> events;  // null: there are as many as there may be
    Full full = Full::No;
  };
  // `still`: whether it may go on; asked every second, on the feed's thread.
  Subscribed subscribe(Filter filter, std::function<bool()> still, Watcher watcher);

 private:
  Full full_for(const Watcher& watcher) const;  // under the mutex
  void run();
  void carry();
  void look_after(std::chrono::steady_clock::time_point now, bool may_it);

  const std::chrono::milliseconds heartbeat_;
  std::atomic<bool> watched_{false};
  std::mutex mutex_;  // guards the two lists, and is held while a subscriber is told
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Inlet>> inlets_;
  std::vector<Subscription*> subscriptions_;
  bool stop_ = false;
  std::thread thread_;
};

// The time as the log writes it: "2026-11-29T15:41:41.393Z".
std::string utc_ms(std::chrono::system_clock::time_point at);

}  // namespace sallyport
