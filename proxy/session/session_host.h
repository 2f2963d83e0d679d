// What a session needs from outside, by what it is for: who may come in, the brokers, whose turn it is, time and I/O.
// A shard is all four; the simulation makes up its own, and runs the same sessions over it. Every call is made, and
// answered, on the session's own shard.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "proxy/config/config.h"
#include "proxy/io/io.h"
#include "proxy/io/timer_wheel.h"
#include "proxy/session/broker_fault.h"
#include "proxy/session/counters.h"
#include "proxy/session/session_index.h"
#include "proxy/tls/tls_broker.h"
#include "proxy/tls/tls_engine.h"

namespace sallyport {

struct BrokerTarget;  // one address of a server, with its health: proxy/upstream/servers.h

// Where a session connects to. Chosen by SessionBrokers; the session only carries it.
struct BrokerRoute {
  std::size_t upstream = 0;
  BrokerTarget* target = nullptr;  // held until broker_left()
  std::uint64_t tried = 0;         // targets asked already, a bit each
  std::uint64_t turn = 0;
  std::uint64_t wait_us = 0;          // before it may be asked: it is in slow start
  bool alone = false;                 // there is no other
  bool anew = false;                  // it is offered no TLS session: one that it was offered failed
  std::uint32_t tls = 0;              // the number of the TLS that its list had; 0: plain
  const sockaddr* address = nullptr;  // the target's
  socklen_t length = 0;
};

// What all sessions of one listener share.
struct SessionSettings {
  std::size_t listener = 0;
  const ListenerConfig* config = nullptr;
  const TlsContext* tls = nullptr;
  AuthMode auth = AuthMode::Mutual;  // in force, whatever the file says
  const UpstreamConfig* upstream = nullptr;
};

// What a device gets that asks for one more session at a listener.
enum class DevicePlace : std::uint8_t {
  Refused,   // none
  ToBeTold,  // none either; it may stay until its CONNECT can be answered
  Taken,     // one
};

// Where a session of a device comes from and what it calls itself, as hashes: what clones differ by. In the order in
// which the sessions of a device came to their CONNECT.
struct DeviceUse {
  std::uint32_t address = 0, client_id = 0;
  std::uint64_t order = 0;  // 0: not counted
  bool same(const DeviceUse& other) const { return address == other.address && client_id == other.client_id; }
};

// Standing and registration: the gate and the registrar, as a session meets them.
class SessionAdmission {
 public:
  virtual ~SessionAdmission() = default;
  virtual Verdict decide(std::size_t listener, const PeerChain& peer) = 0;
  virtual Verdict resume(std::size_t listener, const Identity& identity, std::uint64_t chain_id,
                         std::uint32_t epoch) = 0;
  // `now` in Unix seconds: a session's own, which never goes back.
  virtual Reason recheck(const Verdict& verdict, std::int64_t now) = 0;
  virtual bool cuts_sessions(std::size_t listener) = 0;  // as it is configured now
  virtual bool offer(const Verdict& verdict) = 0;        // false: the queue is full, ask again later
  virtual void seen(const Verdict& verdict) = 0;
  // Of a device whose key is proven. `most`: 0 is no limit. What is not Refused is given back with device_leaves().
  virtual DevicePlace device_enters(std::size_t listener, const Digest& device, std::uint64_t most) = 0;
  virtual void device_leaves(std::size_t listener, const Digest& device, DevicePlace place) = 0;
  // Whether a device whose key is proven may connect once more: `most` times in a minute.
  virtual bool device_in_time(std::size_t listener, const Digest& device, std::uint64_t most) = 0;
  // Whether another device of the same CA may register itself in this second.
  virtual bool may_register(const Verdict& verdict) = 0;
  // Of a device with a place, at its CONNECT: whether another session of it has another address or client id. What was
  // counted in `use` is given back with device_unused(); a clone is not where `refuse` is set.
  virtual bool device_used(std::size_t listener, const Digest& device, const sockaddr_storage& peer,
                           std::string_view client_id, bool refuse, DeviceUse& use) = 0;
  virtual void device_unused(std::size_t listener, const Digest& device, const DeviceUse& use) = 0;
  // It was let in all the same: says so, or has the older sessions cut, as it is configured.
  virtual void clone_came(const Session& session) = 0;
  // Of a client whose address a balancer has said: as the address of one that connects by itself is asked.
  // Reason::None: it counts until the session is gone.
  virtual Error address_enters(std::size_t listener, const sockaddr_storage& peer) = 0;
  virtual SessionIndex& index() = 0;  // where a cut finds the session
};

class SessionBrokers {
 public:
  virtual ~SessionBrokers() = default;
  // The `attempt`-th choice for a session; false: no server is left to try. Each choice is given back with
  // broker_left().
  virtual bool choose_broker(std::size_t upstream, std::string_view client_id, unsigned attempt,
                             BrokerRoute& route) = 0;
  // Invalid where the kernel has none for us: its handle is then -errno, and the broker has no part in it.
  virtual Socket open_broker(const BrokerRoute& route, const ListenerConfig& listener) = 0;
  // What it was chosen for is still so: its TLS, or that it has none. A reload may put other servers and other TLS
  // there while a connection is being made, and nothing goes to the one by the rules of the other.
  virtual bool route_holds(const BrokerRoute& route) = 0;
  virtual bool another_source(const BrokerRoute& route, unsigned attempt) = 0;  // to connect from
  virtual std::unique_ptr<BrokerTls> broker_tls(const BrokerRoute& route) = 0;  // null: plain
  virtual void broker_connected(const BrokerRoute& route, std::uint64_t us) = 0;
  // It failed this session; counted and logged. `what` says more than `fault` does, or nothing.
  virtual void broker_failed(const BrokerRoute& route, BrokerFault fault, int error, std::string_view what) = 0;
  // What that says of its health, once for each CONNECT that got no answer. `who` sent it; `proven`: another server
  // took the very same.
  virtual void broker_unanswered(const BrokerRoute& route, std::uint64_t who, bool proven) = 0;
  virtual void broker_answered(const BrokerRoute& route) = 0;  // a CONNECT; tcp: it is connected. From here on served
  virtual void broker_left(const BrokerRoute& route, bool served) = 0;
  virtual void out_of(std::size_t upstream, int error) = 0;  // this machine lacks something for the way to a broker
};

class SessionSchedule {
 public:
  virtual ~SessionSchedule() = default;
  virtual void wants_handshake(Session& session) = 0;  // a step is due
  virtual void wants_flush(Session& session) = 0;      // at the end of this turn
  virtual void wants_farewell(Session& session) = 0;   // it is halted: farewell() when its turn has come
  virtual void begun(Session& session) = 0;            // a broker has answered: it is served from here on
  // Exactly once a session. `served`: it had reached the broker.
  virtual void over(Session& session, const Error& error, Cause cause, bool served) = 0;
  // Nothing is in flight any more. The host calls recycle() at the end of the turn, never from here: what
  // called this still looks at the session.
  virtual void gone(Session& session) = 0;
};

class SessionLoop {
 public:
  virtual ~SessionLoop() = default;
  virtual Io& io() = 0;
  virtual TimerWheel& timers() = 0;
  virtual std::uint64_t now_us() = 0;
  virtual std::int64_t unix_now() = 0;
  // Room for one TLS record; its content is anybody's after the call that used it.
  virtual std::span<std::uint8_t> scratch() = 0;
  virtual ListenerCounters& counters(std::size_t listener) = 0;
  virtual ShardCounters& shard_counters() = 0;
};

struct SessionHost {
  SessionAdmission& admission;
  SessionBrokers& brokers;
  SessionSchedule& schedule;
  SessionLoop& loop;
};

}  // namespace sallyport
