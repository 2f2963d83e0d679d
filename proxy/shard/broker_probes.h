// Asks every server, up or down, whether it is there: by a connection, or by a CONNECT, its CONNACK and a DISCONNECT. A
// server that was ejected is asked with a CONNECT in any case: that it accepts says nothing. A broker that expects a
// PROXY header gets one that speaks for nobody (LOCAL), which it closes quietly, or for this host where it is asked.
// Where the way to it is TLS, that is part of each check, a full handshake: a broker whose certificate is bad would be
// up and down in turn otherwise. So would one that does not take ours, which TLS 1.3 says after the handshake (RFC
// 8446, section 4.4.2.4): what a broker says that asked for it is awaited, for a quarter of connect_timeout. The first
// shard's work, for all, on its thread. A check that is answered by what this machine lacks says nothing.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>

#include "proxy/io/byte_buffer.h"
#include "proxy/io/io.h"
#include "proxy/io/timer_wheel.h"
#include "proxy/upstream/servers.h"

namespace sallyport {

class BrokerProbes {
 public:
  // What a probe needs, and whom it tells.
  class Host {
   public:
    virtual ~Host() = default;
    virtual Io& io() = 0;
    virtual TimerWheel& timers() = 0;
    virtual std::uint64_t now_us() = 0;
    virtual Socket open_probe(const BrokerTarget& target) = 0;
    virtual void probed(std::size_t upstream, BrokerTarget& target, bool good, std::string_view what, int error) = 0;
  };

  explicit BrokerProbes(Host& host);

  // The list of an upstream, when it is first known and whenever it is another. It lives until it is replaced.
  void set(std::size_t upstream, const TargetList* list);
  void stop();  // no probe begins any more; those under way end by themselves

 private:
  enum class Step : std::uint8_t { Idle, Connecting, Shaking, Proving, Sending, Awaiting, Leaving };
  struct Probe {
    BrokerProbes* owner = nullptr;
    std::size_t upstream = 0;
    BrokerTarget* target = nullptr;  // held; null: the place is free
    const TargetList* list = nullptr;
    Step step = Step::Idle;
    bool asks = false;    // with a CONNECT
    bool ending = false;  // its target left the list
    Socket socket;
    Completion connected, sent, received;
    Timer timer;       // the next check
    Timer patience;    // of this one
    std::string said;  // lent to the kernel
    std::string owed;  // with TLS: what is to be encrypted yet
    ByteBuffer answer;
    std::unique_ptr<BrokerTls> tls;  // null: plain
    std::uint64_t due_ms = 0;

    void on_timer() { owner->begin(*this); }
    void on_patience() { owner->give_up(*this); }
    void on_connected(const IoResult& result) { owner->on_connected(*this, result); }
    void on_sent(const IoResult& result) { owner->on_sent(*this, result); }
    void on_received(const IoResult& result) { owner->on_received(*this, result); }
  };

  void begin(Probe& probe);
  void give_up(Probe& probe);
  void on_connected(Probe& probe, const IoResult& result);
  void shake(Probe& probe, std::span<const std::uint8_t> ciphertext);
  void ask(Probe& probe);
  void send(Probe& probe, std::string text);
  void tls_failed(Probe& probe);
  void on_sent(Probe& probe, const IoResult& result);
  void sent(Probe& probe);
  void on_received(Probe& probe, const IoResult& result);
  void judge(Probe& probe, bool good, std::string_view what, int error);
  void leave(Probe& probe);
  void release(Probe& probe);
  void start(Timer& timer, std::uint64_t after_ms) { host_.timers().start(timer, host_.now_us() / 1000, after_ms); }

  Host& host_;
  std::string client_id_;  // of its CONNECTs: another for each process, so that none takes over another's session
  std::deque<Probe> probes_;
  bool stopped_ = false;
};

}  // namespace sallyport
