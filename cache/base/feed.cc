#include "cache/base/feed.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr auto kAskEvery = std::chrono::seconds(1);

std::string line_of(std::string_view event, std::uint64_t count) {
  std::string line = "{\"time\":\"" + utc_ms(std::chrono::system_clock::now()) + "\",\"level\":\"info\",\"event\":\"";
  line += event;
  return line + "\",\"count\":" + std::to_string(count) + "}\n";
}

// ,"key":"value" as the log writes it. Inside of a value each quote has a backslash before it, so none can pass for a
// field.
bool has_field(std::string_view line, const std::string& key, const std::string& value) {
  std::string wanted = ",\"" + key + "\":\"";
  append_json_escaped(wanted, value);
  wanted += '"';
  return line.find(wanted) != std::string_view::npos;
}

}  // namespace

std::string utc_ms(std::chrono::system_clock::time_point at) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(at));
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count() % 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text.data() + n, text.size() - n, ".%03dZ", static_cast<int>(ms));
  return text.data();
}

void Feed::Inlet::put(std::string_view line) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() + line.size() + 1 > kInletBytes) {
    ++lost_;
    return;
  }
  waiting_ += line;
  waiting_ += '\n';
}

Feed::Subscription::~Subscription() {
  const std::lock_guard lock(feed_.mutex_);
  std::erase(feed_.subscriptions_, this);
  feed_.watched_ = !feed_.subscriptions_.empty();
}

void Feed::Subscription::call_when_ready(std::function<void()> wake) {
  // The feed tells subscribers under its lock: from here on the one before is not told any more.
  const std::lock_guard feed_lock(feed_.mutex_);
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  if (wake_ && (over_ || !queue_.empty())) wake_();
}

std::string Feed::Subscription::take() {
  const std::lock_guard lock(mutex_);
  say_lost();
  return std::exchange(queue_, {});
}

bool Feed::Subscription::over() const {
  const std::lock_guard lock(mutex_);
  return over_ && queue_.empty();
}

bool Feed::Subscription::wants(std::string_view line) const {
  return std::all_of(filter_.begin(), filter_.end(), [&](const Wanted& wanted) {
    for (const std::string& field : wanted.fields) {
      for (const std::string& value : wanted.values) {
        if (has_field(line, field, value)) return true;
      }
    }
    return false;
  });
}

// Under its lock, as say_lost().
void Feed::Subscription::queue(std::string_view line) {
  if (queue_.size() + line.size() > kQueueBytes) {
    ++lost_;
    return;
  }
  say_lost();
  queue_ += line;
  spoke_at_ = std::chrono::steady_clock::now();
}

// Where it was lost: behind what came before, and before what comes next.
void Feed::Subscription::say_lost() {
  if (lost_ > 0) queue_ += line_of("lost", std::exchange(lost_, 0));
}

Feed::Feed(std::chrono::milliseconds heartbeat) : heartbeat_(heartbeat), thread_([this] { run(); }) {}

Feed::~Feed() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Feed::Inlet& Feed::inlet() {
  const std::lock_guard lock(mutex_);
  inlets_.push_back(std::make_unique<Inlet>(watched_));
  return *inlets_.back();
}

Feed::Full Feed::full_for(const Watcher& watcher) const {
  if (subscriptions_.size() >= kMost) return Full::All;
  if (watcher.local) return Full::No;
  std::size_t remote = 0, own = 0;
  for (const Subscription* each : subscriptions_) {
    if (each->watcher_.local) continue;
    ++remote;
    if (each->watcher_.name == watcher.name) ++own;
  }
  if (own >= kMostOfWatcher) return Full::OfWatcher;
  return remote >= kMostRemote ? Full::All : Full::No;
}

Feed::Subscribed Feed::subscribe(Filter filter, std::function<bool()> still, Watcher watcher) {
  const std::lock_guard lock(mutex_);
  if (const Full full = full_for(watcher); full != Full::No) return {nullptr, full};
  std::unique_ptr<Subscription> made(new Subscription(*this, std::move(filter), std::move(still), std::move(watcher)));
  subscriptions_.push_back(made.get());
  watched_ = true;
  changed_.notify_one();
  return {std::move(made), Full::No};
}

void Feed::run() {
  auto asked_at = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (subscriptions_.empty()) {
      changed_.wait(lock, [this] { return stop_ || !subscriptions_.empty(); });
    } else {
      changed_.wait_for(lock, kEvery, [this] { return stop_; });
    }
    if (stop_) return;
    carry();
    const auto now = std::chrono::steady_clock::now();
    const bool ask = now - asked_at >= kAskEvery;
    if (ask) asked_at = now;
    look_after(now, ask);
  }
}

void Feed::carry() {
  for (const auto& inlet : inlets_) {
    std::string lines;
    std::uint64_t lost = 0;
    {
      const std::lock_guard lock(inlet->mutex_);
      lines.swap(inlet->waiting_);
      lost = std::exchange(inlet->lost_, 0);
    }
    if (lines.empty() && lost == 0) continue;
    for (Subscription* each : subscriptions_) {
      const std::lock_guard lock(each->mutex_);
      if (each->over_) continue;
      for (std::size_t at = 0; at < lines.size();) {
        const std::size_t end = lines.find('\n', at) + 1;
        const std::string_view line(lines.data() + at, end - at);
        if (each->wants(line)) each->queue(line);
        at = end;
      }
      each->lost_ += lost;  // nobody knows whether it would have wanted them
    }
  }
}

// Whoever has heard nothing for a while hears that nothing has happened: a peer that is gone is noticed by it.
void Feed::look_after(std::chrono::steady_clock::time_point now, bool may_it) {
  for (Subscription* each : subscriptions_) {
    const bool ends = may_it && !each->still_();
    const std::lock_guard lock(each->mutex_);
    if (ends) each->over_ = true;
    if (!each->over_ && each->queue_.empty() && now - each->spoke_at_ >= heartbeat_) {
      each->queue(line_of("heartbeat", 0));
    }
    if (each->wake_ && (each->over_ || !each->queue_.empty())) each->wake_();
  }
}

}  // namespace sallyport
