#include "cache/registry/follower.h"

#include <openssl/rand.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::size_t kPart = 4096;  // entries of a snapshot that are taken in together
constexpr std::chrono::seconds kSnapshotAgain{1};
constexpr std::string_view kNotAsked = "it was not asked yet";

std::string drawn() {
  std::array<unsigned char, 16> bytes{};
  return RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1 ? std::string(bytes.begin(), bytes.end())
                                                                       : std::string(16, '\0');
}

bool before(const SharedEntry& a, const SharedEntry& b) {
  return a.family != b.family ? a.family < b.family : a.key < b.key;
}

}  // namespace

Follower::Follower(SharedOptions options, const RegistryStore& store, Host& host, Logger& log)
    : options_(std::move(options)),
      store_(store),
      host_(host),
      log_(log),
      instance_(drawn()),
      name_(options_.node),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stale_(begins_stale(options_)) {
  state_.shared = true;
  state_.node = name_;
  state_.stale = stale_;
  state_.why = kNotAsked;
  heard_ = Clock::now();
}

Follower::~Follower() {
  stop();
  if (wake_fd_ >= 0) ::close(wake_fd_);  // not sooner: others wake it until they end
}

void Follower::start() {
  thread_ = std::thread([this] { run(); });
}

void Follower::stop() {
  if (stopping_.exchange(true)) return;
  wake();
  if (thread_.joinable()) thread_.join();
}

void Follower::wake() {
  if (wake_fd_ >= 0) ::eventfd_write(wake_fd_, 1);
}

void Follower::run() {
  while (!stopping_) {
    if ((session_ || connect()) && follow()) {
      rest(kPoll);
    } else {
      session_.reset();
      look_at_age();
      rest(kRetry);
    }
  }
  if (session_ && (name_ != options_.node || another_is_beside())) (void)session_->leave(name_, instance_);
  session_.reset();
  changed_.notify_all();
}

void Follower::rest(std::chrono::milliseconds most) {
  bool watched;
  {
    const std::lock_guard lock(mutex_);
    watched = watchers_ > 0 || !asks_.empty();
  }
  if (watched) most = std::min(most, std::chrono::milliseconds(20));
  std::array<pollfd, 2> polled{{{wake_fd_, POLLIN, 0}, {session_ ? session_->connection().socket() : -1, POLLIN, 0}}};
  ::poll(polled.data(), polled.size(), static_cast<int>(most.count()));
  eventfd_t count = 0;
  (void)::eventfd_read(wake_fd_, &count);
  if (session_) (void)session_->connection().notified();
}

bool Follower::connect() {
  auto opened = SharedSession::open(options_.url, name_);
  if (!opened) {
    lost(opened.error());
    return false;
  }
  session_ = std::move(*opened);
  // A standby and some poolers refuse it: then the poll alone tells.
  if (const auto heard = session_->listen(); !heard && !session_->broken()) {
    log_.info("shared-registry", {{"what", "no NOTIFY here: it is polled"}, {"why", heard.error().what}});
  }
  if (session_->broken()) return lost({Refusal::Kind::Unavailable, "PostgreSQL: the connection was lost"}), false;
  if (!look_at_standby()) return false;
  // The connection for turns is of a server that may be the primary no more, and not know: it is written no more.
  if (session_->connection().place() != place()) host_.lose_writer();
  log_.info("shared-registry-connected", {{"server", session_->connection().server()}, {"node", name_}});
  const std::lock_guard lock(mutex_);
  place_ = session_->connection().place();
  state_.server = session_->connection().server();
  return true;
}

// Another primary may have none, and a setting may change at any time.
bool Follower::look_at_standby() {
  const auto synchronous = session_->has_synchronous_standby();
  if (!synchronous) return lost(synchronous.error()), false;
  bool alone;
  {
    const std::lock_guard lock(mutex_);
    alone = !*synchronous && state_.synchronous.value_or(true);
    state_.synchronous = *synchronous;
  }
  if (alone) {
    log_.warn("shared-registry-alone",
              {{"what", "no commit waits for a standby of PostgreSQL"},
               {"means", "a failover can lose what an operator was told is durable: set synchronous_standby_names"}});
  }
  return true;
}

void Follower::lost(const Refusal& why) {
  bool news;
  {
    const std::lock_guard lock(mutex_);
    news = state_.connected || state_.why != why.what;
    state_.connected = false;
    state_.why = why.what;
  }
  changed_.notify_all();
  if (!news) return;
  log_.error("shared-registry-away",
             {{"why", why.what},
              {"means",
               "this node serves what it knows; new devices wait here to be registered, operators' changes are "
               "refused but for restrictions with --local"}});
}

// By when this node had all that there was, not by whether a connection is open: what it cannot take in it does not
// know either. Nobody knows for how long a node was away that has not heard of it since it started.
void Follower::look_at_age() {
  if (!begins_stale(options_)) return;
  const std::lock_guard age_lock(age_mutex_);
  bool old;
  bool asked;
  {
    const std::lock_guard lock(mutex_);
    old = !synced_ || Clock::now() - heard_ > options_.stale_after;
    asked = synced_ || state_.why != kNotAsked;
  }
  if (old != stale_said_ && asked) {
    stale_said_ = old;
    if (old) {
      log_.error("stale",
                 {{"what", "this node has not had all of the shared registry for registry.stale_after"},
                  {"means", options_.stale == Stale::RefuseAll ? "every device is refused"
                                                               : "devices that are unknown here are refused"}});
    } else {
      log_.info("not-stale", {{"what", "the shared registry is followed again"}});
    }
  }
  if (old == stale_) return;
  stale_ = old;
  host_.set_stale(old);
  {
    const std::lock_guard lock(mutex_);
    state_.stale = old;  // now it is in force
  }
  changed_.notify_all();
}

void Follower::has_heard(bool all) {
  const std::lock_guard lock(mutex_);
  if (!state_.connected) state_.why.clear();
  state_.connected = true;
  state_.revision = host_.position().revision;
  if (all) heard_ = Clock::now();
}

bool Follower::follow() {
  const SharedPosition position = host_.position();
  auto news = session_->news(position);
  if (!news) return lost(news.error()), false;
  using Follows = SharedNews::Follows;
  if (news->follows != Follows::Yes) {
    // One that does not help (a horizon ahead of every revision, commits that are gone) is not taken again at once.
    if (Clock::now() < snapshot_at_ + kSnapshotAgain) return beat();
    const bool taken = take_snapshot(news->follows == Follows::Elsewhere);
    snapshot_at_ = Clock::now();
    return taken;
  }
  const bool more = news->more;
  {
    const auto here = std::chrono::system_clock::now().time_since_epoch();
    const std::lock_guard lock(mutex_);
    state_.clock_ahead_us = news->now_us - std::chrono::duration_cast<std::chrono::microseconds>(here).count();
  }
  if (news->now.revision > position.revision) {
    if (const auto taken = host_.take(std::move(*news)); !taken) {
      if (!stopping_ && not_applied_ != taken.error().what) {
        not_applied_ = taken.error().what;
        log_.error("not-applied", {{"why", not_applied_}, {"means", "this node lags behind"}});
      }
      {  // whoever watches is to be told: nothing that others change comes here
        const std::lock_guard lock(mutex_);
        state_.connected = false;
        state_.why = taken.error().what;
      }
      look_at_age();
      return beat() && look_at_nodes();
    }
  }
  not_applied_.clear();
  if (more) {
    has_heard(false);
    wake();  // at once again
    look_at_age();
    return beat();
  }
  // First: whoever is told that it is connected may change something.
  if (host_.needs_writer()) {
    auto writer = SharedSession::open(options_.url, options_.node, PgConnection::kConnect, place());
    if (!writer) return lost(writer.error()), false;
    host_.take_writer(std::move(*writer));
  }
  has_heard(true);
  {
    const std::lock_guard lock(mutex_);
    synced_ = true;
  }
  changed_.notify_all();
  look_at_age();
  return beat() && look_at_nodes() && pass_on_asks() && answer_others() && keep_house();
}

// What nobody waits for.
bool Follower::keep_house() {
  const auto now = Clock::now();
  if (now >= outbox_at_ + kBeat) {
    outbox_at_ = now;
    host_.look_at_outbox();
    if (!look_at_standby()) return false;
  }
  if (now < forget_at_) return true;
  forget_at_ = now + std::chrono::hours(1);
  const std::int64_t audit_from_us = host_.audit_from_us();
  const auto deletes = session_->forget_deletes(kKeepDeletes);
  auto lines = deletes;
  if (deletes && audit_from_us > 0) lines = session_->forget_audit(audit_from_us);
  if (!deletes || !lines) {
    log_.warn("shared-registry-trim", {{"why", (deletes ? lines : deletes).error().what}});
  } else if (!*deletes || !*lines) {
    forget_at_ = now + kBeat;  // there is more
  }
  return !session_->broken();
}

// Merges what is over there with what is here: what differs is taken in, part by part, and what is missing over there
// goes. Memory is bounded by the parts; sessions of what stays the same see nothing.
bool Follower::take_snapshot(bool elsewhere) {
  const auto under_way = [this](bool now) {
    const std::lock_guard lock(mutex_);
    state_.in_snapshot = now;
  };
  under_way(true);
  const bool taken = merge_snapshot(elsewhere);
  under_way(false);
  return taken;
}

bool Follower::merge_snapshot(bool elsewhere) {
  const auto begun = Clock::now();
  log_.warn("snapshot", {{"what", elsewhere ? "the shared registry has another history than this node knows"
                                            : "this node is new, or was away for too long"},
                         {"means", "all of it is read and compared; this node goes on serving"}});
  if (const auto ready = host_.snapshot_begins(elsewhere); !ready) return lost(ready.error()), false;
  const auto cursor = store_.cursor();
  std::optional<SharedEntry> mine = cursor->next();
  std::vector<SharedEntry> part;
  Answer<void> taken;
  std::uint64_t entries = 0, changed = 0;
  const auto add = [&](SharedEntry entry) {
    part.push_back(std::move(entry));
    ++changed;
    if (part.size() >= kPart) {
      taken = host_.snapshot_part(std::exchange(part, {}));
      look_at_age();
    }
    return static_cast<bool>(taken) && !stopping_;
  };
  const auto drop_until = [&](const SharedEntry* end) {
    while (mine && (end == nullptr || before(*mine, *end))) {
      if (!add({mine->family, mine->key, std::nullopt})) return false;
      mine = cursor->next();
    }
    return true;
  };
  const auto merge = [&](SharedEntry&& entry) {
    ++entries;
    if (!drop_until(&entry)) return false;
    const bool known = mine && mine->family == entry.family && mine->key == entry.key;
    const bool same = known && mine->value == entry.value;
    if (known) mine = cursor->next();
    return same || add(std::move(entry));
  };
  auto position = session_->snapshot(merge, [this] { return look_at_age(), !stopping_; });
  if (!taken) return lost(taken.error()), false;
  if (!position) return lost(position.error()), false;
  if (!drop_until(nullptr)) return taken ? false : (lost(taken.error()), false);
  if (!cursor->read()) return lost(cursor->read().error()), false;
  if (!part.empty()) taken = host_.snapshot_part(std::move(part));
  if (taken) taken = host_.snapshot_ends(*position);
  if (!taken) return lost(taken.error()), false;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  log_.info("snapshot-taken",
            {{"revision", position->revision}, {"entries", entries}, {"changed", changed}, {"ms", ms}});
  const std::lock_guard lock(mutex_);
  ++state_.snapshots;
  wake();
  return true;
}

bool Follower::wait_synced(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  const auto known = [this] { return synced_ && !state_.stale; };
  return changed_.wait_for(lock, limit, [&] { return known() || stopping_; }) && known();
}

PgPlace Follower::place() const {
  const std::lock_guard lock(mutex_);
  return place_;
}

SharedState Follower::state() const {
  const std::lock_guard lock(mutex_);
  SharedState state = state_;
  if (state.why.empty()) state.why = held_up_;
  using std::chrono::milliseconds;
  const auto now = Clock::now();
  state.away_ms = std::chrono::duration_cast<milliseconds>(now - heard_).count();
  const std::int64_t since_look = looks_ > 0 ? std::chrono::duration_cast<milliseconds>(now - looked_at_).count() : 0;
  for (SharedNode& node : state.nodes.nodes) {
    node.seen_ms_ago += since_look;
    node.applied_ms_ago += since_look;
  }
  state.refuses_all = state.stale && options_.stale == Stale::RefuseAll;
  state.revision = host_.position().revision;
  return state;
}

}  // namespace sallyport
