// One connection of a device: from accept to the last byte. A state union with one exit.
//
//   Handshaking ──> AwaitingConnect ──> Connecting <─> Asking ──> Forwarding ──> Delivering ──> Ending ──> Gone ──> …
//        │               │                 │             │            │             │   ^        ^
//        │               └─────────────────┴─────────────┴────────────┴─────────────┴> Halted ───┤
//        └───────────────┴─────────────────┴─────────────┴────────────┴──────────────────────────┘
//
// kTransitions has every arrow and the function that takes it; become() is the only one that changes the state, and
// refuses what is not there. terminate() is the only way to the end: it counts once, logs once and starts the teardown;
// the object is given back when no operation of it is in flight. Everything outside (kernel, gate, registrar, brokers,
// counters) is behind SessionHost, so the simulation runs this very code. session.cc has the way in, session_proxy.cc
// the PROXY headers of both sides, session_identity.cc what the broker is told of the device, session_broker.cc the way
// to a broker that answers, session_broker_tls.cc the same through TLS, session_flow.cc the forwarding,
// session_last_words.cc what is left to do for a client that is gone, session_cut.cc what a lost standing does,
// session_end.cc the way out. Runs on its shard's thread alone.
#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "proxy/mqtt/mqtt_connect.h"
#include "proxy/mqtt/mqtt_frame.h"
#include "proxy/proxy_protocol/inet_address.h"
#include "proxy/session/session_host.h"
#include "proxy/session/session_index.h"
#include "proxy/session/session_sides.h"
#include "proxy/tls/tls_engine.h"

namespace sallyport {

class Session final : public Verifier {
 public:
  enum class State : std::uint8_t {
    Free,             // in the slab
    Handshaking,      // TLS is being negotiated; behind a balancer its PROXY header comes first
    AwaitingConnect,  // waiting for a whole CONNECT (tcp: a first byte)
    Connecting,       // a broker is being reached
    Asking,           // it has the CONNECT, and has not answered: the next one can still be asked
    Forwarding,       // bytes both ways
    Delivering,       // the client is gone: what it sent goes to the broker, and then its end
    Halted,           // no standing: nothing passes; waits to be closed
    Ending,           // counted and logged; the rest is teardown
    Gone,             // nothing of it is in flight; the host recycles it at the end of the turn
  };
  struct Transition {
    State from, to;
  };
  static constexpr std::array kTransitions = {
      Transition{State::Free, State::Handshaking},             // begin()
      Transition{State::Handshaking, State::AwaitingConnect},  // on_established()
      Transition{State::AwaitingConnect, State::Connecting},   // on_connect_ready()
      Transition{State::Connecting, State::Asking},            // on_broker_connect()
      Transition{State::Asking, State::Connecting},            // leave_server()
      Transition{State::Asking, State::Forwarding},            // answered_by_broker()
      Transition{State::Connecting, State::Forwarding},        // the same, where the protocol has no answer
      Transition{State::Forwarding, State::Delivering},        // deliver()
      Transition{State::Halted, State::Delivering},            // the same, where Sallyport stops
      Transition{State::AwaitingConnect, State::Halted},       // halt(), as the four below
      Transition{State::Connecting, State::Halted},
      Transition{State::Asking, State::Halted},
      Transition{State::Forwarding, State::Halted},
      Transition{State::Delivering, State::Halted},
      Transition{State::Handshaking, State::Ending},  // terminate(), as the six below
      Transition{State::AwaitingConnect, State::Ending},
      Transition{State::Connecting, State::Ending},
      Transition{State::Asking, State::Ending},
      Transition{State::Forwarding, State::Ending},
      Transition{State::Delivering, State::Ending},
      Transition{State::Halted, State::Ending},
      Transition{State::Ending, State::Gone},  // advance_ending()
      Transition{State::Gone, State::Free},    // recycle()
  };
  static constexpr bool may_become(State from, State to) {
    for (const Transition& each : kTransitions) {
      if (each.from == from && each.to == to) return true;
    }
    return false;
  }

  // Bytes held for one direction before its source is no longer read, and below which it is again.
  static constexpr std::size_t kHighWater = 32 * 1024;
  static constexpr std::size_t kLowWater = 8 * 1024;

  Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes the socket. `local`: what the client connected to, where its broker is to be told.
  void begin(const SessionHost& host, const SessionSettings& settings, Socket client, const sockaddr_storage& peer,
             const InetAddress& local = {});
  void handshake_step(TlsEngine::Pace pace);  // the host's turn for it has come
  void flush();                               // the end of a turn
  // The device lost its standing. From here on none of its bytes reaches the broker, and of the broker's it gets at
  // most what was encrypted already and the rest of the packet it is in the middle of.
  void cut(Reason why);
  void cut_by_operator();
  void look_again();  // whether its standing holds: the wall clock was set
  void farewell();    // the host, after wants_farewell()
  void leave();       // Sallyport drains, and its turn has come
  void shut_down();   // the process ends
  void start_over();  // what its broker is to be told is another now: one that has not reached it comes again
  void evict();       // a silent peer makes room for another
  void recycle();     // the host, after gone(): back to Free

  Verdict verify(const PeerChain& peer) override;
  Verdict resume(const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch) override;

  std::int64_t own_now() const;  // Unix seconds; never less than at its admission and what has passed since
  State state() const { return state_; }
  bool is_live() const { return state_ != State::Free && !over(); }
  const SessionSettings& settings() const { return settings_; }
  const DeviceUse& use() const { return use_; }
  // The client: as the balancer before it has named it, or the connection's own peer.
  sockaddr_storage peer() const { return to_sockaddr(peer_); }
  sockaddr_storage via() const { return to_sockaddr(via_); }  // that balancer; of no family where there is none
  bool address_counts() const { return address_counts_; }     // peer() has entered its address's limits
  bool silent() const { return silent_; }                     // it ended before its first byte
  std::uint64_t began_us() const { return began_us_; }
  bool handshake_underway() const { return client_.handshake_underway; }
  std::span<const std::uint8_t> unread_handshake() const { return client_.received.bytes(); }
  const Verdict* verdict() const { return engine_ && engine_->verdict() ? &*engine_->verdict() : nullptr; }
  // It has proven that it holds the key of the certificate that verdict() is about: now, or when its ticket was issued.
  // Anyone may send a certificate; until then it is only claimed.
  bool proven() const { return proven_; }
  bool resumed() const { return engine_ && engine_->resumed(); }
  // Of plaintext, as bytes_total has them: what a broker that answered took, and what came from it.
  std::uint64_t bytes_to_broker() const { return bytes_to_broker_; }
  std::uint64_t bytes_to_client() const { return bytes_to_client_; }
  const TlsEngine* established_tls() const { return records_by_ ? &*engine_ : nullptr; }  // null before that
  int tls_version_index() const { return engine_ ? engine_->version_index() : 0; }
  bool has_for_broker() const { return !broker_.to_send.empty(); }  // to be sent, and not lent to the kernel yet
  bool has_for_client() const { return !client_.to_send.empty(); }
  const BrokerTarget* target() const { return broker_.chosen ? broker_.route.target : nullptr; }
  const std::string& client_id() const { return mqtt_.client_id; }
  std::optional<MqttVersion> mqtt_version() const { return mqtt_.version; }
  std::size_t held_bytes() const;  // of payload, all buffers
  std::size_t to_broker_held() const {
    const std::size_t encrypted = broker_.tls ? broker_.tls->output().size() : 0;
    return broker_.to_send.size() + encrypted + broker_.sending.size() + broker_.held.size();
  }
  void invariants() const;

  // The host's own marks: queued for a handshake step, for a flush; its place among the handshaking.
  bool in_handshake_queue = false;
  bool in_flush_list = false;
  std::uint64_t id = 0;         // unique while the process runs
  std::uint64_t cut_batch = 0;  // which notice cut it; 0: none
  std::int64_t since = 0;       // Unix seconds
  Session* handshaking_next = nullptr;
  Session* handshaking_previous = nullptr;

 private:
  enum class Manner : std::uint8_t { Orderly, Abrupt };  // of the end that the client gets

  // session.cc
  void become(State next);
  bool over() const { return state_ >= State::Ending; }
  void start_timer(Timer& timer, std::uint64_t after_ms) {
    host_->loop.timers().start(timer, host_->loop.now_us() / 1000, after_ms);
  }
  void count_tickets(bool resumed);
  void on_established();
  void collect_connect();
  void on_connect_ready();
  bool standing_holds();
  bool standing_held();
  bool has_place();
  void leave_place();
  void leave_use();
  bool in_time();
  bool is_alone();
  void register_device();
  bool offer();
  void on_register_timer();
  void say_refused(Reason reason);
  void say_connack(std::uint8_t code);
  void say(std::span<const std::uint8_t> packet);
  void on_timer();

  // session_broker.cc
  void connect_broker();
  void reach_broker();
  void on_broker_connect(const IoResult& result);
  void reached_broker(std::span<const std::uint8_t> said, bool ends = false);
  void next_server();
  void choose_anew();
  bool has_left_for_long() const;
  void out_of(int error);
  void no_broker();
  void on_broker_recv_asking(const IoResult& result);
  void on_broker_send_asking(const IoResult& result);
  void answered_by_broker(std::span<const std::uint8_t> said, bool ends = false);
  void not_answered(BrokerFault fault, int error);
  void leave_server();
  void settle_blame(bool proven);
  void leave_broker();
  std::uint64_t who() const;
  // session_broker_tls.cc
  void begin_broker_tls();
  void step_broker_tls(std::span<const std::uint8_t> ciphertext);
  void broker_tls_failed(BrokerFault fault, const Error& why);
  void on_broker_recv_shaking(const IoResult& result);
  void on_broker_send_shaking(const IoResult& result);
  void on_broker_recv_tls(const IoResult& result);
  void go_on_towards_broker();
  void blame_broker_tls();
  std::span<const std::uint8_t> said_by_broker(std::span<const std::uint8_t> received, ByteBuffer& room);
  void flush_broker_tls();
  bool closed_towards_broker();
  // session_identity.cc
  bool tell_identity();
  bool rewrite_connect(const Identity& identity);
  bool not_told(const Error& why);
  // session_proxy.cc
  bool comes_to_tls();
  void left_silently();
  bool read_proxy_header();
  bool shows_certificate() const;
  void keep_certificate(const PeerChain& peer);
  bool put_proxy_header();

  // session_flow.cc
  void start_client_recv();
  void on_client_recv(const IoResult& result);
  void take_ciphertext(std::span<const std::uint8_t> data);
  void decrypt();
  void on_client_closed();
  void on_client_send(const IoResult& result);
  void on_client_unwritable(int error);
  void start_broker_recv();
  void on_broker_recv(const IoResult& result);
  void take_from_broker(std::span<const std::uint8_t> data);
  void on_broker_send(const IoResult& result);
  void taken_by_broker(std::size_t bytes);
  void count_to_broker(std::size_t bytes);
  void hear_broker_end();
  void on_broker_ended();
  void both_ended();
  void flush_client();
  bool ends_behind_client() const;
  void flush_broker();
  void resume_client();
  void resume_broker();
  std::size_t to_client_held() const { return client_.plain.size() + client_.to_send.size() + client_.sending.size(); }
  void pass_to_client(std::span<const std::uint8_t> plain);
  void encrypt(std::span<const std::uint8_t> plain);
  void flush_client_ciphertext();
  static bool merely_stopped(int value);
  void watch_idle();
  void on_idle_timer();

  // session_last_words.cc
  void client_failed(const Error& error, Cause cause, Manner manner = Manner::Orderly);
  void engine_failed();  // with what it says
  void deliver(const Error& error, Cause cause, Manner manner);
  void advance_delivery();
  bool pass_end_on();
  bool passed_on_as_reset() const;
  void watch_delivery();
  bool broker_takes();
  void on_delivery_timer();
  void hurry_delivery();
  void part_from_client(Manner manner);
  void on_client_recv_leaving(const IoResult& result);
  void on_broker_recv_leaving(const IoResult& result);
  void on_broker_send_leaving(const IoResult& result);

  // session_cut.cc
  void halt(const Error& error, Cause cause);
  void drop_for_broker();
  bool wants_rest() const;
  void finish_packet(std::span<const std::uint8_t> from_broker);
  void say_farewell();
  void say_disconnect();
  std::string_view server_reference() const;
  void on_client_send_halted(const IoResult& result);
  void on_broker_recv_halted(const IoResult& result);
  void watch_expiry();

  // session_end.cc
  void terminate(const Error& error, Cause cause, Manner manner = Manner::Orderly);
  // How a client hears that the broker was cut off. MQTT's packets show whether they were whole; a stream of bytes must
  // not look so.
  Manner cut_off() const { return mqtt_.version ? Manner::Orderly : Manner::Abrupt; }
  // Whether the broker hears of the client's end as an orderly one, by the same rule.
  bool left_whole() const { return client_.end == ClientEnd::Orderly || (client_.closed() && mqtt_.version); }
  void advance_ending();
  bool end_broker();
  bool end_client();
  void on_client_recv_ending(const IoResult& result);

  const SessionHost* host_ = nullptr;
  SessionSettings settings_;
  State state_ = State::Free;
  InetAddress peer_, via_, local_;
  bool header_due_ = false;      // a balancer's PROXY header comes before TLS
  bool address_counts_ = false;  // peer_ has entered its address's limits
  bool silent_ = false;
  std::uint64_t began_us_ = 0;
  std::uint64_t bytes_to_broker_ = 0, bytes_to_client_ = 0;
  std::int64_t admitted_ahead_s_ = 0;  // wall clock less steady clock when it was admitted
  bool proven_ = false;
  bool too_often_ = false;  // it connected more often than it may: it stays until its CONNECT can be answered
  DeviceUse use_;
  DevicePlace place_ = DevicePlace::Refused;  // until it asked for one, and when it has given it back

  ClientSide client_;
  BrokerSide broker_;
  Completion client_recv_, client_send_, broker_connect_, broker_recv_, broker_send_;
  std::optional<TlsMaker> records_by_;  // counted so, from the end of the handshake on
  std::optional<TlsEngine> engine_;     // writes into client_.to_send
  ByteBuffer certificate_;              // the device's, DER, until the broker's PROXY header is written

  // What the CONNECT said, and where in its stream of packets the client is.
  struct Mqtt {
    std::optional<MqttVersion> version;  // known once there was a CONNECT
    std::string client_id;               // kept_of() what it said, then what the broker is told
    MqttFraming framing;                 // of what the client was given
    bool is_5() const { return version == MqttVersion::V5; }
  } mqtt_;

  // Why it will end, once it may: a halted session when its turn has come, one that delivers when the broker has it
  // all.
  struct Parting {
    Error by{};
    Cause cause = Cause::Cut;
    Manner manner = Manner::Orderly;
    bool served = false;                // when it was halted it had reached the broker
    bool farewell_due = false;          // its turn has come
    bool hurried = false;               // Sallyport stops
    std::uint64_t at_us = 0;            // since when it is halted
    std::uint64_t until_us = 0;         // the broker takes something by then, or what is left is dropped
    std::size_t unsent = SIZE_MAX;      // to the broker, when its kernel was asked last
    std::uint64_t client_until_us = 0;  // the client takes its last words by then
  } parting_;

  Timer timer_, register_timer_, expiry_timer_, idle_timer_;
  std::uint8_t quiet_ = 0;  // looks of idle_timer_ since a byte passed
  IndexEntry entry_;
};
// An idle connection costs this much and its names. The allocator's next size is 2,560 bytes (bench/RESULTS.md, idle).
static_assert(sizeof(Session) <= 2048);

}  // namespace sallyport
