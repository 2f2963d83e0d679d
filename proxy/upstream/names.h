// Asks for the names of servers: at the start, every resolve_interval, and again soon where a name has no address or
// all it had have failed. Each name is asked for on a thread of its own, for a name server may take its time to say
// nothing; nobody waits for it, the end of the process neither. The main thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <vector>

#include "proxy/upstream/servers.h"

namespace sallyport {

class Names {
 public:
  explicit Names(Upstreams& upstreams) : upstreams_(upstreams) {}  // which outlives it

  // About every second: takes what was answered, and asks for what is due. The upstreams that have a new list.
  std::vector<std::size_t> tick(std::uint64_t now_ms);

 private:
  static constexpr std::size_t kMostAsked = 16;  // at once
  struct Asking {
    Upstreams::Name name;
    std::future<Answer<std::vector<ServerAddress>>> answer;
  };

  Upstreams& upstreams_;
  std::vector<Asking> asking_;
};

}  // namespace sallyport
