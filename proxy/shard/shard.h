// One core's share of the data plane: a thread, its way to the kernel, its listeners, sessions, timers and counters. A
// turn of its loop waits for the kernel, runs what completed, takes one handshake step, lets timers run and
// sends what was written: established traffic first, also where its answer is a moment away (ReplyWatch),
// handshakes behind it. It never blocks, never touches the disk and takes no contended lock: that of a client
// address's stripe is held for a look-up.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/device_gate.h"
#include "proxy/io/shard_io.h"
#include "proxy/session/session.h"
#include "proxy/shard/address_limits.h"
#include "proxy/shard/broker_probes.h"
#include "proxy/shard/capacity.h"
#include "proxy/shard/device_sessions.h"
#include "proxy/shard/handshake_queue.h"
#include "proxy/shard/mailbox.h"
#include "proxy/shard/rate_table.h"
#include "proxy/shard/refusal_log.h"
#include "proxy/shard/rejections.h"
#include "proxy/shard/reply_watch.h"
#include "proxy/shard/rest_watch.h"
#include "proxy/shard/seen_table.h"
#include "proxy/upstream/choice.h"

namespace sallyport {

class Shard;

// What the shards share; the data plane owns it and outlives them.
struct ShardParts {
  bool first = false;  // one shard probes the brokers for all
  unsigned number = 0;
  unsigned cpus = 1;  // that this process may use
  const Config* config = nullptr;
  const std::vector<SessionSettings>* listeners = nullptr;  // as they stand when the shard is made
  const Upstreams* upstreams = nullptr;
  const DeviceGate* gate = nullptr;
  const TicketKeys* tickets = nullptr;
  Registrar* registrar = nullptr;
  Capacity capacity;
  std::atomic<bool>* said_without_ring = nullptr;                  // one line for all shards
  std::atomic<std::uint64_t>* connections = nullptr;               // of all shards
  std::vector<std::atomic<std::uint64_t>>* by_listener = nullptr;  // of all shards
  std::deque<AddressLimits>* address_limits = nullptr;             // of each listener, for all shards
  std::deque<DeviceSessions>* device_sessions = nullptr;           // as well
  std::deque<RateTable>* device_rates = nullptr;                   // as well
  RateTable* registration_rates = nullptr;                         // of CAs
  SeenTable* seen = nullptr;                                       // when devices were connected last
  const std::atomic<std::uint64_t>* registration_pace = nullptr;   // a second, of each CA; 0: no limit
  const std::vector<std::unique_ptr<Shard>>* shards = nullptr;     // all of them, once they run
};

class Shard final : public SessionAdmission,
                    public SessionBrokers,
                    public SessionSchedule,
                    public SessionLoop,
                    public BrokerProbes::Host {
 public:
  // Takes the listening sockets, one for each listener of the configuration.
  Shard(ShardParts parts, std::vector<int> listening, Logger& log);
  ~Shard() override;

  // Makes the rings of so many shards, and drops them. The refusal is the one that start() would give, or work around.
  static Answer<void> can_have_rings(const Capacity& capacity, unsigned shards);

  // Starts the thread; answers when it accepts.
  Answer<void> start();
  void join();
  Mailbox& mailbox() { return mailbox_; }
  const ShardCounters& counters() const { return counters_; }
  bool finished() const { return finished_; }
  std::uint64_t connections_max() const { return connections_max_; }  // of all shards; after start()
  std::uint64_t sessions() const { return sessions_.get(); }
  ShardInfo info() const {
    return {sessions_.get(), static_cast<double>(busy_permille_.get()) / 1000.0, closing_.get(),
            counters_.total_us.get(), finished_};
  }

  // SessionAdmission
  Verdict decide(std::size_t listener, const PeerChain& peer) override;
  Verdict resume(std::size_t listener, const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch) override;
  Reason recheck(const Verdict& verdict, std::int64_t now) override;
  bool cuts_sessions(std::size_t listener) override { return listening_[listener].settings.config->cut_sessions; }
  bool offer(const Verdict& verdict) override;
  void seen(const Verdict& verdict) override;
  DevicePlace device_enters(std::size_t listener, const Digest& device, std::uint64_t most) override {
    return (*parts_.device_sessions)[listener].enter(device, most);
  }
  void device_leaves(std::size_t listener, const Digest& device, DevicePlace place) override {
    (*parts_.device_sessions)[listener].leave(device, place);
  }
  bool device_in_time(std::size_t listener, const Digest& device, std::uint64_t most) override;
  bool may_register(const Verdict& verdict) override;
  bool device_used(std::size_t listener, const Digest& device, const sockaddr_storage& peer, std::string_view client_id,
                   bool refuse, DeviceUse& use) override {
    return (*parts_.device_sessions)[listener].use(device, peer, client_id, refuse, use);
  }
  void device_unused(std::size_t listener, const Digest& device, const DeviceUse& use) override {
    (*parts_.device_sessions)[listener].unuse(device, use);
  }
  void clone_came(const Session& session) override;
  Error address_enters(std::size_t listener, const sockaddr_storage& peer) override;
  SessionIndex& index() override { return index_; }
  // SessionBrokers
  bool choose_broker(std::size_t upstream, std::string_view client_id, unsigned attempt, BrokerRoute& route) override;
  Socket open_broker(const BrokerRoute& route, const ListenerConfig& listener) override;
  bool route_holds(const BrokerRoute& route) override;
  bool another_source(const BrokerRoute& route, unsigned attempt) override;
  void broker_connected(const BrokerRoute& route, std::uint64_t us) override;
  std::unique_ptr<BrokerTls> broker_tls(const BrokerRoute& route) override;
  void broker_failed(const BrokerRoute& route, BrokerFault fault, int error, std::string_view what) override;
  void broker_unanswered(const BrokerRoute& route, std::uint64_t who, bool proven) override;
  void broker_answered(const BrokerRoute& route) override;
  void broker_left(const BrokerRoute& route, bool served) override;
  void out_of(std::size_t upstream, int error) override;
  // BrokerProbes::Host
  Socket open_probe(const BrokerTarget& target) override;
  void probed(std::size_t upstream, BrokerTarget& target, bool good, std::string_view what, int error) override;
  // SessionSchedule
  void wants_handshake(Session& session) override;
  void wants_flush(Session& session) override;
  void wants_farewell(Session& session) override;
  void begun(Session& session) override;
  void over(Session& session, const Error& error, Cause cause, bool served) override;
  void gone(Session& session) override;
  // SessionLoop
  Io& io() override { return *io_; }
  TimerWheel& timers() override { return timers_; }
  std::uint64_t now_us() override;
  std::int64_t unix_now() override;
  std::span<std::uint8_t> scratch() override { return {scratch_.get(), kScratchBytes}; }
  ListenerCounters& counters(std::size_t listener) override { return counters_.listeners[listener]; }
  ShardCounters& shard_counters() override { return counters_; }

 private:
  static constexpr std::size_t kScratchBytes = 17 * 1024;  // one TLS record's plaintext is at most 16 KiB

  struct Listening;
  // A connection that is waited for: its address arrives with it.
  struct Accepting {
    Listening* listening = nullptr;
    Completion accepted;
    bool direct = false;
    sockaddr_storage peer{};
    socklen_t peer_length = 0;
    void on_accepted(const IoResult& result) { listening->shard->on_accepted(*this, result); }
  };
  // One listening socket of this shard.
  struct Listening {
    // So many are accepted in a turn at most, and come in after a pause was decided on: a multishot accept would hand
    // over the whole backlog.
    static constexpr std::size_t kAtOnce = Capacity::kAcceptedAtOnce;
    Shard* shard = nullptr;
    std::size_t number = 0;
    Socket socket;
    std::array<Accepting, kAtOnce> accepting;
    SessionSettings settings;
    Admits admits;
    bool paused = false;
    bool in_flight() const;
  };
  void run(std::promise<Answer<void>> ready);
  void turn();
  void wait(bool handshake_due);
  bool is_established(const Session& session) const;
  bool nobody_speaks() const;  // of the established, for a while
  void one_handshake_step();
  HandshakeQueue::Rank rank_of(Session& session);
  bool goes_direct() const;
  InetAddress local_of(Socket& socket);
  Socket open_plain(const BrokerRoute& route, const ListenerConfig& listener);
  void flush_all();
  void recycle();
  void account_turn();

  // shard_admission.cc
  void start_accepting(Listening& listening);
  void stop_accepting();
  void on_accept_again();
  void start_accepting(Accepting& accepting);
  void on_accepted(Accepting& accepting, const IoResult& result);
  void close_listening(Listening& listening);
  void admit(Listening& listening, Socket socket, const sockaddr_storage& peer);
  void refuse_at_once(Listening& listening, Socket socket, const sockaddr_storage& peer, Reason reason,
                      std::string_view what);
  void pace_accepting();
  bool bound_silent_peers(const ListenerConfig& listener);
  void leave_handshaking(Session& session);
  void count_config(const ListenerConfig* config);
  void forget_config(const ListenerConfig* config);

  // shard_brokers.cc
  void say_health(std::size_t upstream, const BrokerTarget& target, Health::Change change, std::string_view why,
                  int error);

  // shard_log.cc
  void note_rejection(const ListenerConfig& listener, const Error& error, const sockaddr_storage& peer,
                      const sockaddr_storage& via, const Identity* identity, bool claimed, std::string issuer = {});
  std::string issuer_of(const Verdict* verdict) const;
  void note_seen(const Session& session);
  bool logs_refusal(std::size_t listener, Reason reason);
  void say_left_out();
  void say_ended(const Session& session, Level level, const Error& error, Cause cause);

  // shard_mail.cc
  void on_event(const IoResult& result);
  void read_mail(const Mail& mail);
  std::uint64_t answer(const PutInForce& mail);
  std::uint64_t answer(const SetListener& mail);
  std::uint64_t answer(const SetTargets& mail);
  std::uint64_t answer(const FindConfigs& mail);
  std::uint64_t answer(const SetCutPace& mail);
  std::uint64_t answer(const ClockSet&);
  std::uint64_t answer(const CutSession& mail);
  std::uint64_t answer(const CutClones& mail);
  std::uint64_t answer(const ListRejections& mail);
  std::uint64_t answer(const Drain& mail);
  std::uint64_t answer(const Stop& mail);
  void carry_out(const Notice& notice);
  void set_listener(const SessionSettings& settings);
  bool is_admitted(const Admits& admits, const Verdict* verdict) const;
  void pace_farewells();
  void count_closed(Session& session);
  void drain(std::uint64_t limit_ms);
  void pace_drain();
  void on_drain_limit();
  bool accepts() const;
  void shut_down_all();

  // shard_sessions.cc
  std::uint64_t answer(const CountDevices& mail);
  std::uint64_t answer(const CountBelow& mail);
  std::uint64_t answer(const ListSessions& mail);
  void list_sessions(SessionQuery& query);

  const SessionHost host_{*this, *this, *this, *this};
  const ShardParts parts_;
  std::uint64_t connections_max_ = 0;
  Logger& log_;
  Answer<std::unique_ptr<ShardIo>> make_io();

  std::unique_ptr<ShardIo> io_;
  Mailbox mailbox_;
  Completion event_;
  std::uint64_t event_count_ = 0;
  std::thread thread_;
  std::atomic<bool> finished_{false};

  std::shared_ptr<const CaSet> cas_;
  TimerWheel timers_;
  SessionIndex index_;
  BrokerChoice brokers_;
  std::uint64_t said_short_us_ = 0;  // when it was last said what is lacking
  ReplyWatch replies_;
  RestWatch rest_;
  ShardCounters counters_;
  Cell sessions_, busy_permille_, closing_;
  std::uint64_t account_at_us_ = 0, account_busy_us_ = 0;
  std::uint64_t turn_began_us_ = 0;
  std::uint64_t established_spoke_us_ = 0;  // the turn in which there was something of theirs to pass on
  std::unique_ptr<std::uint8_t[]> scratch_;

  std::deque<Session> slab_;
  // How many sessions have each listener configuration: the ones in force, and those they replaced.
  std::vector<std::pair<const ListenerConfig*, std::uint64_t>> configs_;
  std::vector<Session*> free_, graveyard_, to_flush_;
  HandshakeQueue handshake_queue_;
  Session* oldest_handshaking_ = nullptr;
  Session* newest_handshaking_ = nullptr;
  std::size_t handshaking_ = 0;

  std::uint64_t sessions_begun_ = 0;
  // Sessions that one notice cut and that are not closed yet.
  struct CutBatch {
    std::chrono::steady_clock::time_point durable_at;
    std::uint64_t open = 0;
  };
  std::map<std::uint64_t, CutBatch> cut_batches_;
  std::uint64_t cut_batches_begun_ = 0;
  std::deque<std::pair<Session*, std::uint64_t>> farewells_;  // and the id it had when it was halted
  std::uint64_t cuts_per_second_ = 1000;
  double farewell_allowance_ = 0;
  std::uint64_t allowance_at_us_ = 0;
  Rejections rejections_;
  // Of the certificate that was refused last: what follows it comes in the same turn.
  Digest refused_{};
  std::string refused_issuer_;
  RefusalLog refusal_log_;

  std::deque<Listening> listening_;
  BrokerProbes probes_{*this};
  Timer accept_again_, drain_limit_, drain_pace_, farewell_timer_, left_out_timer_;
  bool accepting_paused_ = false;  // as many handshakes are due as the limit allows
  bool draining_ = false;
  bool drain_over_ = false;  // nobody comes in any more, not even out of an accept that was under way
  // Who was there when the drain began, with the id it had: one after the other until its limit.
  std::vector<std::pair<Session*, std::uint64_t>> leaving_;
  std::size_t left_ = 0;  // of those whose turn has come
  std::uint64_t drain_began_us_ = 0, drain_limit_us_ = 0;
  bool stopping_ = false;
};

// "127.0.0.1:1883" or "[::1]:1883".
std::string peer_text(const sockaddr_storage& peer);

}  // namespace sallyport
