// Whether one address of a broker is used, as all shards see it: moved by its probe, by connections that fail, and by
// what happens to CONNECTs; never by what this machine lacks. Atomics alone: any shard, at any time.
//
//   unknown ──> up <──> down          a probe, a connection that is refused, reset or times out
//                up ──> ejected       three CONNECTs in a row that got no answer; 1 s, then 2, up to 60
//           ejected ──> up            a probe that succeeds when that time has passed, or a CONNACK
//
// After coming back it takes connections at a rising rate (slow start).
#pragma once

#include <atomic>
#include <cstdint>

namespace sallyport {

class Health {
 public:
  static constexpr std::uint32_t kFailures = 3;  // CONNECTs in a row
  static constexpr std::uint64_t kFirstBackOffMs = 1'000, kLongestBackOffMs = 60'000;
  // For so long after an answer, what it leaves unanswered is the client's fault, unless the contrary is proven: some
  // devices whose CONNECTs a broker refuses would take it out of use while it serves all the others.
  static constexpr std::uint64_t kServesForMs = 10'000;
  // Connections a second when a slow start begins, and when it ends. What fells a broker that comes back is thousands
  // at once.
  static constexpr std::uint64_t kFirstRate = 100, kLastRate = 1'000;
  static constexpr std::uint64_t kLongestWaitUs = 5'000'000;

  enum class State : std::uint8_t { Unknown, Up, Down, Ejected };
  enum class Change : std::uint8_t { None, CameUp, WentDown };

  State state() const { return state_.load(std::memory_order_relaxed); }
  bool usable() const { return state() <= State::Up; }
  // The last probe failed: with Ejected, that it was not a few clients alone who said so.
  bool gone() const { return gone_.load(std::memory_order_relaxed); }
  // Of the steady clock, in ms; 0: it is not ejected.
  std::uint64_t ejected_until_ms() const { return ejected_until_ms_.load(std::memory_order_relaxed); }

  Change probed(bool good, std::uint64_t now_ms, std::uint64_t slow_start_ms);
  // A connection was refused, reset or timed out.
  Change unreachable();
  // A CONNECT got an answer (tcp: the connection was made).
  Change answered(std::uint64_t now_ms, std::uint64_t slow_start_ms);
  // A CONNECT got none. `who` sent it: of one client's, nothing but the first counts, for it may be the CONNECT that
  // is at fault; nor does any where others have just got an answer.
  enum class Evidence : std::uint8_t {
    None,
    Alone,   // there is no other server that could take it: the only one is suspected, and not spared afterwards
    Proven,  // another server took the very same CONNECT
  };
  Change unanswered(std::uint64_t who, Evidence evidence, std::uint64_t now_ms);

  // Slow start: whether a connection may be made now, and the right to it is taken.
  bool admits(std::uint64_t now_us, std::uint64_t slow_start_ms);
  // The same at the next moment that is free: how long that is from now, in µs. Each who asks is given a later one;
  // where that would be more than kLongestWaitUs from now nothing is taken, and it is UINT64_MAX.
  std::uint64_t reserve(std::uint64_t now_us, std::uint64_t slow_start_ms);
  bool rises(std::uint64_t now_ms, std::uint64_t slow_start_ms) const;

 private:
  // µs between two connections; 0: as many as come.
  std::uint64_t interval_us(std::uint64_t now_us, std::uint64_t slow_start_ms) const;
  Change comes_up(std::uint64_t now_ms, std::uint64_t slow_start_ms);

  std::atomic<State> state_{State::Unknown};
  std::atomic<std::uint64_t> ejected_until_ms_{0};
  std::atomic<std::uint32_t> ejections_{0};                       // since it last answered a CONNECT
  std::atomic<std::uint32_t> failures_{0};                        // in a row
  std::atomic<std::uint64_t> last_failed_{0}, failed_before_{0};  // who sent the last, and who another one before
  std::atomic<std::uint64_t> answered_ms_{0};                     // the last answer; 0: none yet
  std::atomic<bool> gone_{false};
  std::atomic<bool> suspected_{false};             // ejected on the word of one client alone
  std::atomic<std::uint64_t> rising_since_ms_{0};  // 0: it does not
  std::atomic<std::uint64_t> next_us_{0};          // the next connection that its slow start has room for
};

}  // namespace sallyport
