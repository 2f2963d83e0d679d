// One connection of a device: from accept to the last byte. A state union with one exit.
//
//   Handshaking ──> AwaitingConnect ──> Connecting ──> Forwarding ──> Ending ──> (recycled)
//        │               └─────────────────┴──────> Halted ──────────────^
//        └───────────────┴─────────────────┴─────────────────────────────^
//
// Only the functions named in a state's line of State change it. terminate() is the only way to the end:
// it counts once, logs once and starts the teardown; the object is given back when no operation of it is
// in flight. Everything outside (kernel, gate, registrar, brokers, counters) is behind SessionHost, so the
// simulation runs this very code. session.cc has the way in, session_flow.cc the forwarding,
// session_cut.cc what a lost standing does, session_end.cc the way out. Runs on its shard's thread alone.
#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "proxy/config/config.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/io/io.h"
#include "proxy/io/timer_wheel.h"
#include "proxy/mqtt/mqtt_connect.h"
#include "proxy/mqtt/mqtt_frame.h"
#include "proxy/session/counters.h"
#include "proxy/session/session_index.h"
#include "proxy/tls/tls_engine.h"

namespace sallyport {

// Where a session connects to. Chosen by the host; the session only carries it.
struct BrokerRoute {
  std::size_t upstream = 0, server = 0;
  std::uint64_t tried = 0;  // servers asked already, a bit each
  std::uint64_t turn = 0;
  const sockaddr* address = nullptr;  // the data plane's, for as long as it runs
  socklen_t length = 0;
};

// What all sessions of one listener share.
struct SessionSettings {
  std::size_t listener = 0;
  const ListenerConfig* config = nullptr;
  const TlsContext* tls = nullptr;
  AuthMode auth = AuthMode::Mutual;  // in force, whatever the file says
};

class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual Io& io() = 0;
  virtual TimerWheel& timers() = 0;
  virtual SessionIndex& index() = 0;
  virtual ListenerCounters& counters(std::size_t listener) = 0;
  virtual ShardCounters& shard_counters() = 0;
  virtual std::uint64_t now_us() = 0;
  virtual std::int64_t unix_now() = 0;
  // Room for one TLS record; its content is anybody's after the call that used it.
  virtual std::span<std::uint8_t> scratch() = 0;

  virtual Verdict decide(std::size_t listener, const PeerChain& peer) = 0;
  virtual Verdict resume(std::size_t listener, const Identity& identity, std::uint64_t chain_id) = 0;
  virtual Reason recheck(const Verdict& verdict) = 0;
  virtual bool cuts_sessions(std::size_t listener) = 0;  // as it is configured now
  virtual bool offer(const Verdict& verdict) = 0;        // false: the queue is full, ask again later
  virtual void seen(const Verdict& verdict) = 0;

  // The `attempt`-th choice for a session; false: no server is left to try.
  virtual bool choose_broker(std::size_t upstream, std::string_view client_id, unsigned attempt,
                             BrokerRoute& route) = 0;
  virtual Socket open_broker(const BrokerRoute& route) = 0;
  virtual void broker_answered(const BrokerRoute& route, bool connected, std::uint64_t us) = 0;
  virtual void broker_left(const BrokerRoute& route) = 0;  // a connection that had connected is over

  virtual void wants_handshake(Session& session) = 0;  // a step is due
  virtual void wants_flush(Session& session) = 0;      // at the end of this turn
  virtual void wants_farewell(Session& session) = 0;   // it is halted: farewell() when its turn has come
  // Exactly once a session. `served`: it had reached the broker.
  virtual void over(Session& session, const Error& error, Cause cause, bool served) = 0;
  // Nothing is in flight any more. The host calls recycle() at the end of the turn, never from here: what
  // called this still looks at the session.
  virtual void gone(Session& session) = 0;
};

class Session final : public Verifier {
 public:
  enum class State : std::uint8_t {
    Free,             // in the slab                                          begin()
    Handshaking,      // TLS is being negotiated                              handshake_step(), on_established()
    AwaitingConnect,  // waiting for a whole CONNECT (tcp: a first byte)      on_connect_ready()
    Connecting,       // the broker is being reached                          on_broker_connect()
    Forwarding,       // bytes both ways                                      terminate()
    Halted,           // no standing: nothing passes; waits to be closed      say_farewell()
    Ending,           // counted and logged; the rest is teardown             recycle()
  };

  // Bytes held for one direction before its source is no longer read, and below which it is again.
  static constexpr std::size_t kHighWater = 32 * 1024;
  static constexpr std::size_t kLowWater = 8 * 1024;

  Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes the socket.
  void begin(SessionHost& host, const SessionSettings& settings, Socket client, const sockaddr_storage& peer);
  void handshake_step(TlsEngine::Pace pace);  // the host's turn for it has come
  void flush();                               // the end of a turn
  // The device lost its standing: no further byte passes in either direction from here on.
  void cut(Reason why);
  void cut_by_operator();
  void farewell();   // the host, after wants_farewell()
  void shut_down();  // the process ends
  void evict();      // a silent peer makes room for another
  void recycle();    // the host, after gone(): back to Free

  Verdict verify(const PeerChain& peer) override;
  Verdict resume(const Identity& identity, std::uint64_t chain_id) override;

  State state() const { return state_; }
  const SessionSettings& settings() const { return settings_; }
  const sockaddr_storage& peer() const { return peer_; }
  std::uint64_t began_us() const { return began_us_; }
  bool handshake_underway() const { return handshake_underway_; }  // a step of it was taken
  std::span<const std::uint8_t> unread_handshake() const { return from_client_.bytes(); }
  const Verdict* verdict() const { return engine_ && engine_->verdict() ? &*engine_->verdict() : nullptr; }
  bool resumed() const { return engine_ && engine_->resumed(); }
  int tls_version_index() const { return engine_ ? engine_->version_index() : 0; }
  bool has_for_broker() const { return !to_broker_.empty(); }  // to be sent, and not lent to the kernel yet
  bool has_for_client() const { return !to_client_.empty(); }
  const std::string& client_id() const { return client_id_; }
  std::optional<MqttVersion> mqtt_version() const { return mqtt_known_ ? std::optional(mqtt_version_) : std::nullopt; }
  std::size_t held_bytes() const;  // of payload, all buffers
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
  // session.cc
  void start_timer(Timer& timer, std::uint64_t after_ms) {
    host_->timers().start(timer, host_->now_us() / 1000, after_ms);
  }
  void on_established();
  void collect_connect();
  void on_connect_ready();
  bool standing_holds();
  void register_device();
  void on_register_timer();
  void connect_broker();
  void on_broker_connect(const IoResult& result);
  void no_broker();
  void say_refused(Reason reason);
  void on_timer();

  // Whether what a side sends comes as a stream: it is then read in large pieces, shot by shot; in the largest where
  // the other side takes them as they come, so that little is held for one that does not.
  class Stream {
   public:
    // After each receive. True: it has just become one, and what is in flight should end.
    bool note(const IoResult& result);
    // After each send of what it sent: whether the other side's socket had room for all of it.
    void taken(bool all);
    Reading reading(bool stalled) const;

   private:
    static constexpr std::uint8_t kTrusted = 16;

    bool large_ = false;
    std::uint8_t all_taken_ = 0;  // times in a row, at most kTrusted
    std::uint8_t streak_ = 0;     // of receives that speak for a change
  };

  // session_flow.cc
  void start_client_recv();
  void on_client_recv(const IoResult& result);
  void take_ciphertext(std::span<const std::uint8_t> data);
  void decrypt();
  void on_client_closed();
  void on_client_send(const IoResult& result);
  void start_broker_recv();
  void on_broker_recv(const IoResult& result);
  void on_broker_send(const IoResult& result);
  void on_broker_ended();
  void both_ended();
  void flush_client();
  void flush_broker();
  void resume_client();
  void resume_broker();
  std::size_t to_broker_held() const { return to_broker_.size() + to_broker_sending_.size(); }
  std::size_t to_client_held() const { return to_client_plain_.size() + to_client_.size() + to_client_sending_.size(); }
  void pass_to_client(std::span<const std::uint8_t> plain);
  void encrypt(std::span<const std::uint8_t> plain);
  void flush_client_ciphertext();
  static bool merely_stopped(int value);
  Reason reason_for_leaving() const;

  // session_cut.cc
  void halt(const Error& error, Cause cause);
  bool wants_rest() const;
  void finish_packet(std::span<const std::uint8_t> from_broker);
  void say_farewell();
  void on_client_send_halted(const IoResult& result);
  void on_broker_recv_halted(const IoResult& result);
  void watch_expiry();
  void on_expiry();

  // session_end.cc
  enum class Manner : std::uint8_t { Orderly, Abrupt };
  void terminate(const Error& error, Cause cause, Manner manner = Manner::Orderly);
  void advance_ending();
  bool end_broker();
  bool end_client();
  void on_client_recv_ending(const IoResult& result);

  SessionHost* host_ = nullptr;
  SessionSettings settings_;
  State state_ = State::Free;
  sockaddr_storage peer_{};
  std::uint64_t began_us_ = 0;

  Socket client_, broker_;
  Completion client_recv_, client_send_, broker_connect_, broker_recv_, broker_send_;
  std::optional<TlsEngine> engine_;

  ByteBuffer from_client_;        // ciphertext not yet decrypted
  ByteBuffer to_broker_;          // plaintext; before the broker is reached it holds the CONNECT
  ByteBuffer to_broker_sending_;  // lent to the kernel
  ByteBuffer to_client_plain_;    // from the broker, while a send is in flight: encrypted when it can be sent
  ByteBuffer to_client_;          // ciphertext; the engine's output
  ByteBuffer to_client_sending_;

  bool client_paused_ = false, broker_paused_ = false;    // back-pressure: the source is not read
  bool client_stalled_ = false, broker_stalled_ = false;  // it was once: from then on read shot by shot
  Stream client_stream_, broker_stream_;
  bool client_fin_ = false;        // the client's TCP end
  bool client_closed_ = false;     // nothing more comes out of the engine
  bool client_truncated_ = false;  // … and there was no close_notify
  bool broker_fin_sent_ = false, client_fin_sent_ = false;
  bool broker_ended_ = false;
  bool client_first_ = false;  // of two orderly ends the client's came first
  bool gone_ = false;          // the host was told
  bool handshake_underway_ = false;
  bool broker_reached_ = false;

  MqttVersion mqtt_version_ = MqttVersion::V311;
  bool mqtt_known_ = false;
  std::string client_id_;
  BrokerRoute route_;
  unsigned attempt_ = 0;
  std::uint64_t connect_began_us_ = 0;

  enum class Farewell : std::uint8_t { Flush, Drain, Close } farewell_ = Farewell::Flush;
  bool client_abort_ = false, broker_abort_ = false;
  std::size_t drained_bytes_ = 0;

  MqttFraming framing_;  // of what the client was given
  Error halted_by_{};
  Cause halted_cause_ = Cause::Cut;
  std::uint64_t halted_at_us_ = 0;
  bool served_ = false;        // it was Forwarding when it was halted
  bool torn_ = false;          // the client's stream stops in the middle of something
  bool farewell_due_ = false;  // its turn has come

  Timer timer_, register_timer_, expiry_timer_;
  IndexEntry entry_;
};

}  // namespace sallyport
