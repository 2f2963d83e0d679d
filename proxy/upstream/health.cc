#include "proxy/upstream/health.h"

#include <algorithm>

namespace sallyport {

Health::Change Health::comes_up(std::uint64_t now_ms, std::uint64_t slow_start_ms) {
  const State before = state_.exchange(State::Up, std::memory_order_relaxed);
  if (before == State::Up) return Change::None;
  ejected_until_ms_.store(0, std::memory_order_relaxed);
  // One that was never seen down is spared nothing, for there is no storm at its door; nor is one that a single client
  // says is at fault, or that client could keep everybody waiting.
  const bool suspected = suspected_.exchange(false, std::memory_order_relaxed);
  if (before != State::Unknown && !suspected && slow_start_ms > 0) {
    next_us_.store(0, std::memory_order_relaxed);
    rising_since_ms_.store(std::max<std::uint64_t>(now_ms, 1), std::memory_order_relaxed);
  }
  return Change::CameUp;
}

Health::Change Health::probed(bool good, std::uint64_t now_ms, std::uint64_t slow_start_ms) {
  gone_.store(!good, std::memory_order_relaxed);
  if (!good) return unreachable();
  // That a connection is taken was never what it was ejected for.
  if (state() == State::Ejected && now_ms < ejected_until_ms()) return Change::None;
  return comes_up(now_ms, slow_start_ms);
}

Health::Change Health::unreachable() {
  State before = state();
  while (before != State::Down && before != State::Ejected) {
    if (state_.compare_exchange_weak(before, State::Down, std::memory_order_relaxed)) return Change::WentDown;
  }
  return Change::None;
}

Health::Change Health::answered(std::uint64_t now_ms, std::uint64_t slow_start_ms) {
  gone_.store(false, std::memory_order_relaxed);
  answered_ms_.store(std::max<std::uint64_t>(now_ms, 1), std::memory_order_relaxed);
  failures_.store(0, std::memory_order_relaxed);
  ejections_.store(0, std::memory_order_relaxed);
  last_failed_.store(0, std::memory_order_relaxed);
  failed_before_.store(0, std::memory_order_relaxed);
  return comes_up(now_ms, slow_start_ms);
}

Health::Change Health::unanswered(std::uint64_t who, Evidence evidence, std::uint64_t now_ms) {
  const std::uint64_t last = last_failed_.load(std::memory_order_relaxed);
  const bool same = last == who || failed_before_.load(std::memory_order_relaxed) == who;
  if (!same) {
    failed_before_.store(last, std::memory_order_relaxed);
    last_failed_.store(who, std::memory_order_relaxed);
  }
  if (same && evidence == Evidence::None) return Change::None;
  const std::uint64_t answered = answered_ms_.load(std::memory_order_relaxed);
  const bool serves = answered != 0 && now_ms < answered + kServesForMs;
  if (serves && evidence != Evidence::Proven) return Change::None;
  // After an ejection one failure is enough, until it has answered a CONNECT.
  const std::uint32_t most = ejections_.load(std::memory_order_relaxed) > 0 ? 1 : kFailures;
  if (failures_.fetch_add(1, std::memory_order_relaxed) + 1 < most) return Change::None;
  failures_.store(0, std::memory_order_relaxed);
  if (state() == State::Ejected) return Change::None;
  const std::uint32_t times = ejections_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t back_off = std::min(kFirstBackOffMs << std::min<std::uint32_t>(times, 6), kLongestBackOffMs);
  ejected_until_ms_.store(now_ms + back_off, std::memory_order_relaxed);
  suspected_.store(same && evidence == Evidence::Alone, std::memory_order_relaxed);
  const State before = state_.exchange(State::Ejected, std::memory_order_relaxed);
  return before == State::Up || before == State::Unknown ? Change::WentDown : Change::None;
}

bool Health::rises(std::uint64_t now_ms, std::uint64_t slow_start_ms) const {
  const std::uint64_t since = rising_since_ms_.load(std::memory_order_relaxed);
  return since != 0 && now_ms < since + slow_start_ms;
}

std::uint64_t Health::interval_us(std::uint64_t now_us, std::uint64_t slow_start_ms) const {
  const std::uint64_t now_ms = now_us / 1000;
  if (!rises(now_ms, slow_start_ms)) return 0;
  const std::uint64_t since = rising_since_ms_.load(std::memory_order_relaxed);
  const std::uint64_t gone = now_ms > since ? now_ms - since : 0;
  return 1'000'000 / (kFirstRate + (kLastRate - kFirstRate) * gone / slow_start_ms);
}

bool Health::admits(std::uint64_t now_us, std::uint64_t slow_start_ms) {
  const std::uint64_t interval = interval_us(now_us, slow_start_ms);
  if (interval == 0) return true;
  std::uint64_t next = next_us_.load(std::memory_order_relaxed);
  while (next <= now_us) {
    if (next_us_.compare_exchange_weak(next, now_us + interval, std::memory_order_relaxed)) return true;
  }
  return false;
}

std::uint64_t Health::reserve(std::uint64_t now_us, std::uint64_t slow_start_ms) {
  const std::uint64_t interval = interval_us(now_us, slow_start_ms);
  if (interval == 0) return 0;
  std::uint64_t next = next_us_.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t at = std::max(next, now_us);
    if (at - now_us > kLongestWaitUs) return UINT64_MAX;
    if (next_us_.compare_exchange_weak(next, at + interval, std::memory_order_relaxed)) return at - now_us;
  }
}

}  // namespace sallyport
