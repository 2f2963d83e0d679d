// Which server of an upstream a session goes to: least connections, round robin, or by client id
// (rendezvous hashing, so that adding a server moves only its share). A server that could not be reached is
// tried last for health_interval; one whose name does not resolve is not tried. Health is shared by the shards; counts
// are each shard's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/io/io.h"
#include "proxy/session/session.h"

namespace sallyport {

struct ServerAddress {
  sockaddr_storage address{};
  socklen_t length = 0;
};

// Addresses and health of every upstream's servers; made once, shared by the shards.
class Servers {
 public:
  struct Server {
    std::unique_ptr<const ServerAddress> resolved;       // written once, before `address`
    std::atomic<const ServerAddress*> address{nullptr};  // null: its name has not been resolved yet
    std::atomic<std::uint64_t> down_until_ms{0};         // shard clock; 0: up
    void set(const ServerAddress& to);
  };
  struct Upstream {
    std::vector<std::unique_ptr<Server>> servers;
    std::vector<ServerAddress> sources;
  };

  // Resolves every name: blocks, so only before the shards run. A server whose name does not resolve is left for
  // set_address(); a source address that does not is refused.
  static Answer<std::unique_ptr<Servers>> resolve(const Config& config);
  // Of a server that has none; any shard may try it from now on. One thread.
  void set_address(std::size_t upstream, std::size_t server, const ServerAddress& address);
  const std::vector<Upstream>& upstreams() const { return upstreams_; }

 private:
  std::vector<Upstream> upstreams_;
};

class BrokerChoice {
 public:
  BrokerChoice(const Config& config, const Servers& servers);

  // The next server for a session; `attempt` 0 begins anew. False: every server was tried.
  bool choose(std::size_t upstream, std::string_view client_id, unsigned attempt, std::uint64_t now_ms,
              BrokerRoute& route);
  // Of the server that `route` names. False: its name has not been resolved yet.
  bool address(BrokerRoute& route) const;
  void answered(const BrokerRoute& route, bool connected, std::uint64_t now_ms);
  void left(const BrokerRoute& route);
  // A source address to connect from, in turn; null: the kernel's choice.
  const ServerAddress* source(std::size_t upstream);
  bool up(std::size_t upstream, std::size_t server) const;

 private:
  struct State {
    std::vector<std::uint64_t> connections;  // by server
    std::uint64_t turn = 0, source_turn = 0;
  };
  std::uint64_t preference(std::size_t upstream, std::size_t server, std::string_view client_id,
                           std::uint64_t turn) const;

  const Config& config_;
  const Servers& servers_;
  std::vector<State> states_;
};

// 127.0.0.0/8, ::1, or the former as an IPv6 address.
bool is_loopback(const sockaddr& address);

// A host and port, or a unix path, as the kernel takes it.
Answer<ServerAddress> resolve_address(const Endpoint& endpoint, bool passive);

}  // namespace sallyport
