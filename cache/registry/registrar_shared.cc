// A registry that many machines share: turns, in which this node alone changes it, and what it is told by the follower.
// What was committed over there is in force here before the next change is looked at, so every rule of the life cycle
// holds for all nodes together.
#include <algorithm>
#include <utility>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kChainsAtOnce = 64;  // ids reserved in one go
constexpr int kMostRounds = 64;              // of catching up within a turn
constexpr std::int64_t kAtOnceMs = 500;
constexpr std::chrono::milliseconds kReopen{1000};
// For how long a turn waits for PostgreSQL while a local command waits behind it, and one that is only tried.
constexpr std::chrono::milliseconds kWhileUrgent{400}, kTried{300};

Refusal not_done(const std::string& why) {
  return {
      Refusal::Kind::Unavailable,
      "not done: " + why +
          ". Mend that and try again; what cannot wait: `device revoke`, `device deactivate` and `ca deactivate` with "
          "--local are in force on this node at once, and everywhere later"};
}

}  // namespace

Answer<void> Registrar::Impl::share(const SharedOptions& options, Logger& log) {
  const auto position = store_.position();
  if (!position) return position.error();
  if (const auto fits = store_.fits(!options.url.empty()); !fits) return fits.error();
  if (options.url.empty()) return {};
  set_position(*position);
  if (Follower::begins_stale(options)) stale_ = options.stale;
  follower_ = std::make_unique<Follower>(options, store_, *this, log);
  ledger_.share(*this);
  return {};
}

void Registrar::Impl::follow() {
  follower_->start();
}

SharedPosition Registrar::Impl::position() const {
  const std::lock_guard lock(position_mutex_);
  return position_;
}

void Registrar::Impl::set_position(const SharedPosition& position) {
  const std::lock_guard lock(position_mutex_);
  position_ = position;
}

Refusal Registrar::Impl::away() const {
  const SharedState state = follower_->state();
  return not_done("the shared registry cannot be changed" + (state.why.empty() ? std::string() : ": " + state.why));
}

bool Registrar::Impl::needs_writer() const {
  return !has_writer_;
}

void Registrar::Impl::have_writer(std::unique_ptr<SharedSession> writer) {
  writer_ = std::move(writer);
  writer_->connection().set_patience([this](std::chrono::milliseconds waited) {
    if (in_a_hurry_ && waited >= kTried) return false;
    return waited < kWhileUrgent || urgent_ == 0;
  });
  has_writer_ = true;
}

void Registrar::Impl::drop_writer() {
  writer_.reset();
  has_writer_ = false;
  in_turn_ = false;
  follower_->wake();
}

Answer<void> Registrar::Impl::catch_up(SharedNews news) {
  for (int round = 0; round < kMostRounds; ++round) {
    ledger_.set_time(news.now_us);
    const bool more = news.more;
    const SharedPosition now = news.now;
    if (now.revision > position_.revision) {
      if (auto applied = apply(std::move(news.entries), now); !applied) return applied;
    }
    if (!more) return {};
    auto next = writer_->more(position_);
    if (!next) return next.error();
    if (next->follows != SharedNews::Follows::Yes) break;
    news = std::move(*next);
  }
  return Refusal{Refusal::Kind::Unavailable,
                 "not done: this node is still taking in what others changed: ask again in a moment"};
}

Answer<void> Registrar::Impl::begin_turn() {
  if (in_turn_) return {};
  if (!writer_ || writer_->broken()) {
    drop_writer();
    return away();
  }
  if (ledger_.owes()) settle(true);
  if (ledger_.owes()) return ledger_.owed_why();
  const std::int64_t asked_ms = steady_ms();
  auto begun = ask_for_turn();
  // PostgreSQL was started anew, and this connection is of the one before: nothing was written by it. To that server
  // alone, and not for long: this thread has more to do.
  const PgPlace place = follower_->place();
  if (begun || has_writer_ || steady_ms() - asked_ms > kAtOnceMs || place.host.empty() || urgent_ != 0) return begun;
  auto again = SharedSession::open(follower_->options().url, follower_->options().node, kReopen, place);
  if (!again) return begun;
  have_writer(std::move(*again));
  return ask_for_turn();
}

Answer<void> Registrar::Impl::ask_for_turn() {
  if (ledger_.chains_left() < kChainsAtOnce / 2) {
    const auto first = writer_->reserve_chains(kChainsAtOnce);
    if (!first) {
      if (writer_->broken()) drop_writer();
      return not_done(first.error().what);
    }
    ledger_.reserve_chains(*first, kChainsAtOnce);
  }
  auto news = writer_->begin(position_);
  if (!news) {
    if (writer_->broken()) {
      drop_writer();
    } else if (const auto free = writer_->may_write(); free && !*free) {
      follower_->held_up(news.error().what);  // whatever else it may be is said to who asked
    }
    return not_done(news.error().what);
  }
  if (snapshot_ || news->follows != SharedNews::Follows::Yes) {
    writer_->give_up();
    follower_->wake();
    return Refusal{Refusal::Kind::Unavailable,
                   "not done: this node is taking a snapshot of the shared registry: ask again in a moment"};
  }
  in_turn_ = true;
  if (auto applied = catch_up(std::move(*news)); !applied) {
    end_turn();
    return applied;
  }
  return {};
}

void Registrar::Impl::end_turn() {
  if (!std::exchange(in_turn_, false)) return;
  writer_->give_up();
  if (writer_->broken()) drop_writer();
}

// A change that makes several commits has a turn for each: what somebody else wrote between two of them, the later one
// was not checked against.
Answer<SharedPosition> Registrar::Impl::write(std::uint64_t revision, std::span<const SharedEntry> entries) {
  if (!writer_) return away();
  if (!in_turn_) {
    const auto news = writer_->begin(position_);
    if (!news) {
      if (writer_->broken()) drop_writer();
      return not_done(news.error().what);
    }
    if (news->follows != SharedNews::Follows::Yes || news->now.revision != position_.revision) {
      writer_->give_up();
      return Refusal{Refusal::Kind::Unavailable,
                     "done in part: another node changed the registry meanwhile: ask again for the rest"};
    }
  }
  in_turn_ = false;
  auto taken = writer_->commit(position_, revision, entries);
  takes_no_writes_ = !taken;
  if (!taken) {
    const bool in_doubt = writer_->in_doubt();
    if (writer_->broken()) drop_writer();
    if (!in_doubt) return not_done(taken.error().what);
    return Refusal{Refusal::Kind::Unavailable,
                   "not known whether it is done: " + taken.error().what +
                       " while it was written. If it was, it is in force here as soon as it answers: ask again"};
  }
  set_position(*taken);
  epochs_committed();
  follower_->wake();
  return taken;
}

Answer<void> Registrar::Impl::take(SharedNews news) {
  return call<void>(
      [&]() -> Answer<void> {
        settle(true);
        if (snapshot_ || news.now.registry != position_.registry || news.now.revision <= position_.revision) return {};
        return apply(std::move(news.entries), news.now);
      },
      Turn::WritesNothing);
}

// What waits here to be written over there.
void Registrar::Impl::settle_all() {
  settle_outbox();
  settle_kept();
  settle_drop();
  settle_losses();
  settle_lines();
  bring_back();
}

void Registrar::Impl::take_writer(std::unique_ptr<SharedSession> writer) {
  (void)call<void>(
      [&]() -> Answer<void> {
        have_writer(std::move(writer));
        settle_all();
        return {};
      },
      Turn::WritesNothing);
}

void Registrar::Impl::lose_writer() {
  (void)call<void>([&]() -> Answer<void> { return drop_writer(), Answer<void>(); }, Turn::WritesNothing);
}

// A turn that was not given, because another node had it for too long, breaks no connection, and nothing else would try
// again.
void Registrar::Impl::look_at_outbox() {
  (void)call<void>(
      [&]() -> Answer<void> {
        if (!writer_ || snapshot_) return {};
        settle_all();
        return {};
      },
      Turn::WritesNothing);
}

void Registrar::Impl::set_stale(bool stale) {
  (void)call<void>(
      [&]() -> Answer<void> {
        if (stale) {
          stale_ = follower_->options().stale;
        } else {
          stale_.reset();
        }
        put_cas_in_force(unix_now());
        return {};
      },
      Turn::Urgent);
}

Answer<void> Registrar::share(const SharedOptions& options, Logger& log) {
  return impl_->share(options, log);
}
bool Registrar::follow(std::chrono::milliseconds limit) {
  impl_->follow();
  return impl_->follower_->wait_synced(limit);
}
bool Registrar::follows(std::chrono::milliseconds limit) {
  return impl_->follower_->wait_synced(limit);
}
std::optional<SharedState> Registrar::shared_state() const {
  if (!impl_->follower_) return std::nullopt;
  SharedState state = impl_->follower_->state();
  state.restrictions_waiting = impl_->held_count_;
  return state;
}
std::optional<InForce> Registrar::in_force(std::chrono::milliseconds limit) {
  if (!impl_->follower_) return std::nullopt;
  return impl_->follower_->in_force(impl_->position().revision, limit);
}
namespace {

Refusal of_its_own() {
  return {Refusal::Kind::NotFound, "there is no other node: the registry is this machine's own"};
}

}  // namespace

Answer<std::string> Registrar::ask(const std::string& node, const std::string& request,
                                   std::chrono::milliseconds limit) {
  if (!impl_->follower_) return of_its_own();
  return impl_->follower_->ask(node, request, limit);
}
void Registrar::answer_with(std::function<std::string(const std::string&)> answers) {
  if (impl_->follower_) impl_->follower_->answer_with(std::move(answers));
}
Answer<void> Registrar::forget_node(const std::string& name, const Actor& by) {
  if (!impl_->follower_) return of_its_own();
  if (auto done = impl_->follower_->forget_node(name); !done) return done;
  return record(by, "node.forget", name, "gone");
}
void Registrar::look_at_shared() {
  if (impl_->follower_) impl_->follower_->look_at_age();
}
std::uint64_t Registrar::settings_changed() const {
  return impl_->settings_changed_;
}

}  // namespace sallyport
