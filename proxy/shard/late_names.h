// The names of brokers that did not resolve at the start: asked for again until they do, on a thread of their own, for
// a name server may take its time to say nothing. The main thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <vector>

#include "proxy/shard/broker.h"

namespace sallyport {

class LateNames {
 public:
  // Both outlive it.
  LateNames(const Config& config, Servers& servers);

  // About every second: gives the shards what was found, and asks again for the rest every five.
  void tick();
  // As "upstream NAME: HOST:PORT"; empty: every server has an address.
  std::vector<std::string> missing() const;

 private:
  struct Name {
    std::size_t upstream = 0, server = 0;
    Endpoint endpoint;
  };
  using Addresses = std::vector<Answer<ServerAddress>>;  // by name
  static constexpr std::chrono::seconds kAgain{5};

  void take(const Addresses& found);

  const Config& config_;
  Servers& servers_;
  std::vector<Name> missing_;
  std::future<Addresses> asking_;  // of missing_; the process does not wait for its thread
  std::chrono::steady_clock::time_point again_at_;
};

}  // namespace sallyport
