// The keys that TLS tickets are sealed with: shared by all shards, a new one every hour, each good for as long as a
// ticket may be and an hour, in memory alone. Any thread reads, without locks: a slot is written only long after its
// last reader could have wanted it, and a reader that meets a half-written one takes it for none. What changes them is
// one at a time. Times are in Unix seconds.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "cache/base/clock_watch.h"

namespace sallyport {

// Every copy is wiped at its end.
struct TicketKey {
  std::array<std::uint8_t, 16> name{};
  std::array<std::uint8_t, 32> cipher{};  // AES-256-CBC
  std::array<std::uint8_t, 32> mac{};     // HMAC-SHA-256
  std::int64_t made_at = 0;               // never 0

  ~TicketKey();
};

class TicketKeys {
 public:
  static constexpr std::int64_t kRotation = 3600;
  static constexpr std::int64_t kLongestAge = 7 * 24 * 3600;  // RFC 8446, section 4.6.1
  // Where nodes have keys in common one of them makes the next: this node makes one of its own only when none has come.
  static constexpr std::int64_t kOverdue = 600;
  static constexpr std::int64_t kAhead = 60;  // what a clock may be behind another thread's, or slewed back

  explicit TicketKeys(std::int64_t now);
  ~TicketKeys();  // wipes them
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // For how long a ticket may be honoured at most, at most kLongestAge: a key lives so long after the last ticket was
  // sealed with it. Any thread.
  void serve_tickets_of(std::int64_t seconds);
  // Makes a new key where the newest is an hour old, and wipes those whose life has ended. Where the wall clock was set
  // back by more than kAhead, all that were made before go: their age cannot be told any more. About every second; any
  // thread.
  void rotate(std::int64_t now, std::int64_t steady = steady_seconds());
  // Wipes all of them and makes a new one: no ticket that was issued before opens any more. Any thread.
  void drop(std::int64_t now);

  // How often all of them have gone at once: what was opened with one before that is worth nothing after it. Any
  // thread.
  std::uint64_t endings() const { return endings_.load(std::memory_order_acquire); }

  // Any thread. Nothing where even the newest is too old: then no ticket is issued.
  std::optional<TicketKey> newest(std::int64_t now) const;
  std::optional<TicketKey> find(std::span<const std::uint8_t> name, std::int64_t now) const;

  // Those of all nodes, the newest first, in place of its own. True: some that opened tickets before are not among
  // them, so that what was opened with them is worth nothing any more. From then on this one makes none by the hour.
  // Any thread.
  bool share(std::span<const TicketKey> keys, std::int64_t now);
  // From here on it makes its own again.
  void part();
  // How long a key is kept.
  std::int64_t life() const { return life_.load(std::memory_order_relaxed); }

  // Those that are alive, the newest first; for who keeps them over a restart.
  std::vector<TicketKey> alive(std::int64_t now) const;
  // Takes them in place of its own, as alive() gave them, and makes a new one in front. What is too old by now is left
  // out. Before any thread reads.
  void adopt(std::span<const TicketKey> keys, std::int64_t now);

  static constexpr std::size_t kSlots = 176;  // more than kLongestAge and an hour of hours
  // Whether the slot holds no byte of a key, for a test.
  bool wiped(std::size_t slot) const;

 private:
  static constexpr std::size_t kWords = 11;  // name, cipher, mac, made_at
  struct Slot {
    std::atomic<std::uint64_t> version{0};                   // odd: being written
    std::array<std::atomic<std::uint64_t>, kWords> words{};  // all 0: no key
  };
  using Words = std::array<std::uint64_t, kWords>;

  bool is_alive(std::int64_t made_at, std::int64_t now) const;
  std::optional<TicketKey> read(std::size_t slot) const;
  void write(std::size_t slot, const Words& words);
  void wipe(std::size_t slot);
  void wipe_all();
  void add(std::int64_t now);  // a new key
  void add(const TicketKey& key);
  void put(const Words& words);

  std::mutex changing_;
  bool shared_ = false;
  std::atomic<std::uint64_t> endings_{0};
  std::int64_t most_ahead_ = INT64_MIN;  // of the wall clock before the steady one
  std::array<Slot, kSlots> slots_;
  std::atomic<std::size_t> newest_{0};
  std::atomic<std::int64_t> life_{24 * 3600 + kRotation};
};

}  // namespace sallyport
