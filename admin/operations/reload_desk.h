// Where a reload is asked for by others than SIGHUP, and its end is waited for. Any thread asks; the main thread, which
// polls asked(), does it. Several who ask before it begins get the same one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "cache/registry/registrar.h"

namespace sallyport {

struct ReloadOutcome {
  std::int64_t at = 0;                     // Unix seconds
  std::string refused;                     // why nothing has changed; empty: it is in force
  std::vector<std::string> needs_restart;  // keys that have changed and are as they were
};

class ReloadDesk {
 public:
  explicit ReloadDesk(std::chrono::milliseconds patience = std::chrono::minutes(2));
  ~ReloadDesk();
  ReloadDesk(const ReloadDesk&) = delete;
  ReloadDesk& operator=(const ReloadDesk&) = delete;

  // Waits for one that begins after this call. Unavailable where the process ends, or has not done it within
  // `patience`.
  Answer<ReloadOutcome> ask(const Actor& by);

  int asked() const { return asked_; }  // an eventfd(2)
  // The main thread: whether somebody waits, and who was the first.
  bool take(Actor& by);
  void done(const ReloadOutcome& outcome);
  void close();  // nobody waits any more, and nobody begins to

 private:
  const int asked_;
  const std::chrono::milliseconds patience_;
  std::mutex mutex_;
  std::condition_variable ended_;
  Actor first_;
  std::uint64_t wanted_ = 0, begun_ = 0, over_ = 0;  // by number: asked for, taken, done
  bool closed_ = false;
  ReloadOutcome last_;
};

}  // namespace sallyport
