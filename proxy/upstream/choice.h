// Which server of an upstream a session goes to, as one shard chooses: least connections, round robin, or by client id
// (rendezvous hashing, so that a device returns to its server and adding one of N moves about 1/N). A server that is
// down is taken where nothing else is left: it may have come back this moment. One that is drained is not. One in slow
// start is passed over while it has no room, and where there is no other the session is told how long to wait.
// Its shard's thread alone.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "proxy/session/session_host.h"
#include "proxy/upstream/servers.h"

namespace sallyport {

class BrokerChoice {
 public:
  explicit BrokerChoice(const Upstreams& upstreams);

  void set(std::size_t upstream, const TargetList* list) { states_[upstream].list = list; }
  const TargetList& list(std::size_t upstream) const { return *states_[upstream].list; }
  std::size_t count() const { return states_.size(); }

  // The next server for a session; `attempt` 0 begins anew. False: every server was tried. What it chose is held until
  // left().
  bool choose(std::size_t upstream, std::string_view client_id, unsigned attempt, std::uint64_t now_us,
              BrokerRoute& route);
  static void left(const BrokerRoute& route);
  // A source address to connect from, in turn; null: the kernel's choice.
  const ServerAddress* source(std::size_t upstream);

 private:
  struct State {
    const TargetList* list = nullptr;
    std::uint64_t source_turn = 0;
  };
  static std::uint64_t preference(const TargetList& list, const BrokerTarget& target, std::size_t place,
                                  std::string_view client_id, std::uint64_t turn);

  std::vector<State> states_;
};

}  // namespace sallyport
