#include "proxy/shard/handshake_queue.h"

#include "cache/base/check.h"

namespace sallyport {

void HandshakeQueue::push(Session& session, Rank rank) {
  ranks_[static_cast<std::size_t>(rank)].push_back({&session, arrivals_++});
  ++size_;
}

Session& HandshakeQueue::pop() {
  CHECK(size_ > 0);
  ++steps_;
  std::deque<Waiting>* chosen = nullptr;
  if (!is_long() || steps_ % kPatienceSteps == 0) {  // whoever has waited longest
    for (auto& rank : ranks_) {
      if (!rank.empty() && (chosen == nullptr || rank.front().arrived < chosen->front().arrived)) chosen = &rank;
    }
  } else {
    for (auto& rank : ranks_) {
      if (chosen == nullptr && !rank.empty()) chosen = &rank;
    }
  }
  Session& session = *chosen->front().session;
  chosen->pop_front();
  --size_;
  return session;
}

}  // namespace sallyport
