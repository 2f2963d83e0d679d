#include "admin/operations/reload_desk.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "cache/base/check.h"

namespace sallyport {

ReloadDesk::ReloadDesk(std::chrono::milliseconds patience)
    : asked_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), patience_(patience) {
  CHECK(asked_ >= 0);
}

ReloadDesk::~ReloadDesk() {
  ::close(asked_);
}

Answer<ReloadOutcome> ReloadDesk::ask(const Actor& by) {
  std::unique_lock lock(mutex_);
  if (wanted_ == begun_) {
    first_ = by;
    ++wanted_;
  }
  const std::uint64_t mine = wanted_;
  ::eventfd_write(asked_, 1);
  const bool in_time = ended_.wait_for(lock, patience_, [&] { return over_ >= mine || closed_; });
  if (over_ >= mine) return last_;
  return Refusal{Refusal::Kind::Unavailable, in_time ? "this process ends: nothing is reloaded any more"
                                                     : "the reload has not ended yet: see the log"};
}

bool ReloadDesk::take(Actor& by) {
  eventfd_t count = 0;
  ::eventfd_read(asked_, &count);
  const std::lock_guard lock(mutex_);
  if (wanted_ == begun_) return false;
  begun_ = wanted_;
  by = first_;
  return true;
}

void ReloadDesk::done(const ReloadOutcome& outcome) {
  {
    const std::lock_guard lock(mutex_);
    over_ = begun_;
    last_ = outcome;
  }
  ended_.notify_all();
}

void ReloadDesk::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  ended_.notify_all();
}

}  // namespace sallyport
