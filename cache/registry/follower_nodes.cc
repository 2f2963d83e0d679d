// Which nodes there are, how far each is, and what this one tells of itself.
#include <algorithm>
#include <utility>

#include "cache/registry/follower.h"
#include "cache/x509/certificate.h"

namespace sallyport {

namespace {

constexpr std::chrono::seconds kTwin{10};

}  // namespace

bool Follower::beat() {
  const std::uint64_t revision = host_.position().revision;
  const auto now = Clock::now();
  if (now - beat_at_ < (revision != told_ ? kBeatAtMost : kBeat)) return true;
  beat_at_ = now;
  const auto alone = session_->heartbeat(revision, instance_, options_.version);
  if (!alone) {
    if (session_->broken()) return lost(alone.error()), false;
    return cannot_write(alone.error()), true;
  }
  if (!std::exchange(not_written_, {}).empty()) {
    const std::lock_guard lock(mutex_);
    state_.why.clear();
    log_.info("shared-registry-writable", {{"server", state_.server}});
  }
  if (!look_at_lock()) return false;
  told_ = revision;
  return look_at_name(*alone);
}

// Where another process has this node's name it goes on under one beside it: what is not in force here would be said to
// be in force on every node otherwise. Its own name is tried again now and then.
bool Follower::look_at_name(bool alone) {
  const auto now = Clock::now();
  const auto call_itself = [this](const std::string& name, bool same) {
    session_->call_itself(name_ = name);
    beat_at_ = {};
    const std::lock_guard lock(mutex_);
    state_.node = name_;
    state_.same_name = same;
  };
  if (alone && name_ == options_.node) {
    twin_since_ = {};
    return true;
  }
  // A process that took over from the one before meets its last heartbeats.
  if (twin_since_ == Clock::time_point{}) twin_since_ = now;
  if (now - twin_since_ <= kTwin) return true;
  twin_since_ = now;
  if (name_ == options_.node) {
    call_itself(
        options_.node + SharedSession::kBeside + to_hex({reinterpret_cast<const std::uint8_t*>(instance_.data()), 2}),
        true);
    log_.error("node-name", {{"what", "another process calls itself " + options_.node + " in the shared registry"},
                             {"means", "this one is listed as " + name_ + ": set registry.node on each machine"}});
    return true;
  }
  session_->call_itself(options_.node);
  const auto aside = session_->step_aside(instance_);
  const auto mine = aside ? session_->heartbeat(host_.position().revision, instance_, options_.version) : aside.error();
  if (!mine || !*mine) {
    session_->call_itself(name_);
    return session_->broken() ? (lost(mine.error()), false) : true;
  }
  (void)session_->leave(name_, instance_);
  call_itself(options_.node, false);
  log_.info("node-name", {{"what", "no other process calls itself " + name_ + " any more"}});
  return !session_->broken();
}

bool Follower::another_is_beside() const {
  const std::lock_guard lock(mutex_);
  const auto& nodes = state_.nodes.nodes;
  const std::string beside = options_.node + SharedSession::kBeside;
  return std::any_of(nodes.begin(), nodes.end(), [&](const SharedNode& node) { return node.name.starts_with(beside); });
}

void Follower::held_up(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(held_up_, why).empty()) return;
  log_.error("shared-registry-held-up",
             {{"why", why},
              {"means", "operators' changes are refused but for restrictions with --local, new devices wait here"}});
}

// Nobody may ask for a turn for long.
bool Follower::look_at_lock() {
  {
    const std::lock_guard lock(mutex_);
    if (held_up_.empty()) return true;
  }
  const auto free = session_->may_write();
  if (!free) return session_->broken() ? (lost(free.error()), false) : true;
  if (!*free) return true;
  const std::lock_guard lock(mutex_);
  held_up_.clear();
  log_.info("shared-registry-writable", {{"server", state_.server}});
  return true;
}

// It is read-only, or its disk is full: what others changed it tells all the same, so it is followed.
void Follower::cannot_write(const Refusal& why) {
  {
    const std::lock_guard lock(mutex_);
    state_.why = why.what;
  }
  if (std::exchange(not_written_, why.what) == why.what) return;
  log_.error("shared-registry-unwritable",
             {{"why", why.what},
              {"means",
               "new devices wait here to be registered, operators' changes are refused but for restrictions with "
               "--local, and how far this node is nobody can see"}});
}

bool Follower::look_at_nodes() {
  static constexpr std::chrono::milliseconds kLook{1000};
  const auto now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (watchers_ == 0 && looks_ > 0 && now < looked_at_ + kLook) return true;
  }
  auto nodes = session_->nodes();
  if (!nodes) return lost(nodes.error()), false;
  {
    const std::lock_guard lock(mutex_);
    looked_at_ = now;
    state_.nodes = std::move(*nodes);
    ++looks_;
  }
  changed_.notify_all();
  return true;
}

InForce Follower::in_force(std::uint64_t revision, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  InForce found;
  found.revision = revision;
  std::unique_lock lock(mutex_);
  ++watchers_;
  wake();
  const std::uint64_t knows = looks_ + 2;  // a look that is under way may not
  for (std::uint64_t next = knows;; next = looks_ + 1) {
    const bool fresh =
        changed_.wait_until(lock, until, [&] { return looks_ >= next || stopping_ || !state_.connected; });
    found = {revision, 0, 0, {}, looks_ >= knows && state_.connected};
    for (const SharedNode& node : state_.nodes.nodes) {
      ++found.of;
      if (node.revision >= revision) {
        ++found.nodes;
      } else {
        found.behind.push_back(node);
      }
    }
    if (!fresh || stopping_ || !state_.connected || found.behind.empty()) break;
  }
  --watchers_;
  return found;
}

}  // namespace sallyport
