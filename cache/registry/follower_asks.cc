// What nodes ask each other, as rows in PostgreSQL that are gone a moment later: an operator at one node wants to see,
// or to cut, a session of another. On the follower's thread, between two looks at what is new; bounded in number,
// length and time.
#include <algorithm>
#include <utility>

#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr std::chrono::milliseconds kForget{5000};

Refusal unavailable(const std::string& what) {
  return {Refusal::Kind::Unavailable, what};
}

}  // namespace

void Follower::answer_with(std::function<std::string(const std::string&)> answers) {
  const std::lock_guard lock(answers_mutex_);
  answers_ = std::move(answers);
}

Answer<std::string> Follower::wait_for(const std::shared_ptr<Ask>& ask, std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  if (!state_.connected) return unavailable("the shared registry is out of reach: " + state_.why);
  if (asks_.size() >= kMostAsks) return unavailable("too much is asked of other nodes at once: ask again in a moment");
  asks_.push_back(ask);
  wake();
  changed_.wait_for(lock, limit, [&] { return ask->done || stopping_; });
  std::erase(asks_, ask);
  if (ask->id != 0) ended_.push_back(ask->id);
  wake();
  if (ask->done) return std::move(*ask->done);
  return unavailable("node " + ask->node + " did not answer in time");
}

Answer<std::string> Follower::ask(const std::string& node, const std::string& request,
                                  std::chrono::milliseconds limit) {
  if (request.size() > SharedSession::kMostAsk) return Refusal{Refusal::Kind::Invalid, "the request is too long"};
  auto made = std::make_shared<Ask>();
  made->node = node;
  made->request = request;
  return wait_for(made, limit);
}

Answer<void> Follower::forget_node(const std::string& name) {
  auto made = std::make_shared<Ask>();
  made->node = name;
  made->forgets = true;
  const auto done = wait_for(made, kForget);
  if (done) return {};
  return done.error();
}

bool Follower::pass_on_asks() {
  std::vector<std::shared_ptr<Ask>> asks;
  std::vector<std::uint64_t> ended, open;
  {
    const std::lock_guard lock(mutex_);
    asks = asks_;
    ended = std::exchange(ended_, {});
  }
  if (!ended.empty() && session_->asks()) {
    if (const auto done = session_->end_asks(ended); !done && session_->broken()) return lost(done.error()), false;
  }
  const auto tell = [this](Ask& ask, Answer<std::string> said) {
    const std::lock_guard lock(mutex_);
    if (!ask.done) ask.done.emplace(std::move(said));
    changed_.notify_all();
  };
  for (const auto& ask : asks) {
    if (ask->done) continue;
    if (ask->forgets) {
      const auto done = session_->forget_node(ask->node);
      if (session_->broken()) return lost(done.error()), false;
      if (!done) {
        tell(*ask, done.error());
      } else if (!*done) {
        tell(*ask,
             Refusal{Refusal::Kind::Conflict,
                     "node " + ask->node +
                         " is not listed, or was heard of within the last ten seconds: stop it, and wait so long"});
      } else {
        tell(*ask, std::string());
      }
    } else if (!session_->asks()) {
      tell(*ask, Refusal{Refusal::Kind::Conflict, "other nodes cannot be asked: run `sallyport registry migrate`"});
    } else if (ask->id == 0) {
      const auto id = session_->ask(ask->node, ask->request);
      if (session_->broken()) return lost(id.error()), false;
      if (!id) {
        tell(*ask, id.error());
        continue;
      }
      const std::lock_guard lock(mutex_);
      ask->id = *id;
      // Nobody waits for it any more: its row goes with the next look.
      if (std::find(asks_.begin(), asks_.end(), ask) == asks_.end()) ended_.push_back(*id);
    } else {
      open.push_back(ask->id);
    }
  }
  if (open.empty()) return true;
  auto answers = session_->answers(open);
  if (!answers) return session_->broken() ? (lost(answers.error()), false) : true;
  for (SharedAsk& each : *answers) {
    for (const auto& ask : asks) {
      if (ask->id == each.id) tell(*ask, std::move(each.text));
    }
  }
  return true;
}

// A few at a time, so that what was revoked elsewhere never waits behind them.
bool Follower::answer_others() {
  if (!session_->asks()) return true;
  const std::lock_guard lock(answers_mutex_);
  if (!answers_) return true;
  const auto asked = session_->asked_of_me();
  if (!asked) return session_->broken() ? (lost(asked.error()), false) : true;
  for (const SharedAsk& each : *asked) {
    const auto done = session_->answer(each.id, answers_(each.text));
    if (!done && session_->broken()) return lost(done.error()), false;
  }
  return true;
}

}  // namespace sallyport
