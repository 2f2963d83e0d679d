// The sockets that listen, one of each listener for each shard: made anew, or taken over from the process before. Used
// by the data plane when it starts.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cache/base/result.h"
#include "proxy/config/config.h"
#include "proxy/upstream/address.h"

namespace sallyport {

// A socket that listens for a listener, of one shard.
struct ListeningSocket {
  std::string listener;
  int fd = -1;
};

// A listening socket of one shard. `address` gets the port the kernel chose.
Answer<int> listen_on(const ListenerConfig& listener, ServerAddress& address);

// With SO_REUSEPORT a second Sallyport of the same user would share the port silently: ask first.
Answer<void> not_taken(const std::string& name, const ServerAddress& address);

// Sockets of the process before. What no listener of this one goes on with is closed.
class TakenSockets {
 public:
  explicit TakenSockets(std::vector<ListeningSocket> all) : all_(std::move(all)) {}
  ~TakenSockets();
  TakenSockets(const TakenSockets&) = delete;
  TakenSockets& operator=(const TakenSockets&) = delete;

  // Whether there are some for the listener's address, which gets their port where the configuration has none.
  bool fits(const ListenerConfig& listener, ServerAddress& address);
  std::optional<int> next(const ListenerConfig& listener);

 private:
  std::vector<ListeningSocket> all_;
  std::set<std::string> fitting_;
};

}  // namespace sallyport
