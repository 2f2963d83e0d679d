// Many producers, one consumer, no locks: producers push onto a list, the consumer takes the whole list at
// once and gets it in the order of arrival. push() never blocks; the shards use it.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace sallyport {

template <class T>
class WorkQueue {
 public:
  WorkQueue() = default;
  ~WorkQueue() { take_all(); }
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  void push(T item) {
    auto node = std::make_unique<Node>(Node{std::move(item), newest_.load(std::memory_order_relaxed)});
    while (
        !newest_.compare_exchange_weak(node->older, node.get(), std::memory_order_release, std::memory_order_relaxed)) {
    }
    node.release();
  }

  // The consumer. Oldest first.
  std::vector<T> take_all() {
    std::vector<T> items;
    Node* node = newest_.exchange(nullptr, std::memory_order_acquire);
    while (node != nullptr) {
      const std::unique_ptr<Node> owned(node);
      node = owned->older;
      items.push_back(std::move(owned->item));
    }
    std::reverse(items.begin(), items.end());
    return items;
  }

 private:
  struct Node {
    T item;
    Node* older;
  };
  std::atomic<Node*> newest_{nullptr};
};

}  // namespace sallyport
