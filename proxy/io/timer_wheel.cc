#include "proxy/io/timer_wheel.h"

#include <algorithm>

namespace sallyport {

TimerWheel::TimerWheel(std::uint64_t now_ms) : tick_(now_ms / kTickMs) {
  for (Timer& head : slots_) head.next_ = head.previous_ = &head;
}

void TimerWheel::unlink(Timer& timer) {
  timer.previous_->next_ = timer.next_;
  timer.next_->previous_ = timer.previous_;
  timer.next_ = timer.previous_ = nullptr;
}

void TimerWheel::start(Timer& timer, std::uint64_t now_ms, std::uint64_t after_ms) {
  stop(timer);
  // Of the ticks that are still to come the first one that is not early.
  timer.due_tick_ = std::max((now_ms + after_ms + kTickMs - 1) / kTickMs, tick_ + 1);
  Timer& head = slots_[timer.due_tick_ % kSlots];
  timer.next_ = &head;
  timer.previous_ = head.previous_;
  head.previous_->next_ = &timer;
  head.previous_ = &timer;
  ++count_;
}

void TimerWheel::stop(Timer& timer) {
  if (!timer.running()) return;
  unlink(timer);
  --count_;
}

std::uint64_t TimerWheel::patience(std::uint64_t now_ms, std::uint64_t most) const {
  if (count_ == 0) return most;
  for (std::uint64_t tick = tick_ + 1; tick <= tick_ + kSlots; ++tick) {
    const std::uint64_t at = tick * kTickMs;
    if (at >= now_ms + most) return most;
    const Timer& head = slots_[tick % kSlots];
    if (head.next_ != &head) return at > now_ms ? at - now_ms : 0;
  }
  return most;
}

void TimerWheel::advance(std::uint64_t now_ms) {
  const std::uint64_t target = now_ms / kTickMs;
  while (tick_ < target) {
    ++tick_;
    if (count_ == 0) {
      tick_ = target;
      return;
    }
    // What is due moves to a list of its own first: callbacks change the slots.
    Timer due;
    due.next_ = due.previous_ = &due;
    Timer& head = slots_[tick_ % kSlots];
    for (Timer* timer = head.next_; timer != &head;) {
      Timer* next = timer->next_;
      if (timer->due_tick_ <= tick_) {
        unlink(*timer);
        timer->next_ = &due;
        timer->previous_ = due.previous_;
        due.previous_->next_ = timer;
        due.previous_ = timer;
      }
      timer = next;
    }
    while (due.next_ != &due) {
      Timer* timer = due.next_;
      unlink(*timer);
      --count_;
      timer->run_(timer->object_);
    }
  }
}

}  // namespace sallyport
