// What surrounds one session, made up: the gate's answers, the registrar, the brokers, and a clock that the
// run moves. It counts what must happen exactly once.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/session/session.h"
#include "proxy/shard/device_sessions.h"
#include "tests/simulation/fake_io.h"

namespace sallyport::test {

class FakeHost final : public SessionAdmission, public SessionBrokers, public SessionSchedule, public SessionLoop {
 public:
  explicit FakeHost(FakeIo& io) : io_(io), timers_(0) { counters_.listeners = std::vector<ListenerCounters>(1); }

  Io& io() override { return io_; }
  TimerWheel& timers() override { return timers_; }
  SessionIndex& index() override { return index_; }
  ListenerCounters& counters(std::size_t listener) override { return counters_.listeners[listener]; }
  ShardCounters& shard_counters() override { return counters_; }
  std::uint64_t now_us() override { return now_ms * 1000; }
  std::int64_t unix_now() override { return set_by + static_cast<std::int64_t>(1'700'000'000 + now_ms / 1000); }
  std::span<std::uint8_t> scratch() override { return scratch_; }

  Verdict decide(std::size_t, const PeerChain&) override { return verdict; }
  Verdict resume(std::size_t, const Identity&, std::uint64_t, std::uint32_t) override {
    return {.reason = Reason::NotRegistered};
  }
  Reason recheck(const Verdict& looked_at, std::int64_t now) override {
    ++rechecks;
    return standing == Reason::None && now > looked_at.good_until && ends_by_date ? Reason::Expired : standing;
  }
  bool cuts_sessions(std::size_t) override { return true; }
  bool offer(const Verdict&) override {
    if (full_offers > 0) return --full_offers, false;
    ++offered;
    return true;
  }
  void seen(const Verdict&) override { ++seen_count; }
  DevicePlace device_enters(std::size_t, const Digest& device, std::uint64_t most) override {
    return device_sessions.enter(device, most);
  }
  void device_leaves(std::size_t, const Digest& device, DevicePlace place) override {
    device_sessions.leave(device, place);
  }
  bool device_in_time(std::size_t, const Digest&, std::uint64_t) override { return !too_often; }
  bool may_register(const Verdict&) override { return !too_many_register; }
  bool device_used(std::size_t, const Digest& device, const sockaddr_storage& from, std::string_view client_id,
                   bool refuse, DeviceUse& use) override {
    return device_sessions.use(device, from, client_id, refuse, use);
  }
  void device_unused(std::size_t, const Digest& device, const DeviceUse& use) override {
    device_sessions.unuse(device, use);
  }
  void clone_came(const Session&) override { ++clones_came; }
  Error address_enters(std::size_t, const sockaddr_storage& peer) override {
    ++addresses_entered;
    entered = peer;
    return address_refused;
  }
  bool choose_broker(std::size_t, std::string_view, unsigned attempt, BrokerRoute& route) override {
    if (attempt >= brokers) return false;
    route.wait_us = std::exchange(wait_us, 0);
    route.anew = false;
    route.alone = brokers == 1;
    ++held;
    return true;
  }
  Socket open_broker(const BrokerRoute&, const ListenerConfig&) override {
    broker = lacks == 0 ? io_.open(0) : Socket(-lacks);
    ++opened;
    if (tls_is_rubbish > 0) {
      --tls_is_rubbish;
      io_.peer_writes(broker, "HTTP/1.1 400 Bad Request\r\n\r\n");
    }
    return broker;
  }
  bool route_holds(const BrokerRoute&) override {
    if (reloads == 0) return true;
    return --reloads, false;
  }
  bool another_source(const BrokerRoute&, unsigned attempt) override { return attempt < sources; }
  void broker_connected(const BrokerRoute&, std::uint64_t) override { ++connected; }
  std::unique_ptr<BrokerTls> broker_tls(const BrokerRoute& route) override {
    if (tls == nullptr) return nullptr;
    const auto resumes = route.anew ? BrokerTls::Resumes::No : BrokerTls::Resumes::Yes;
    return std::make_unique<BrokerTls>(*tls, Endpoint{"broker.test", 8883, ""}, resumes);
  }
  void broker_failed(const BrokerRoute&, BrokerFault fault, int, std::string_view what) override {
    faults.push_back(fault);
    why = what;
  }
  void broker_unanswered(const BrokerRoute&, std::uint64_t who, bool proven) override {
    EXPECT_NE(who, 0U);
    ++(proven ? blamed_proven : blamed);
  }
  void broker_answered(const BrokerRoute&) override { ++answered; }
  void broker_left(const BrokerRoute&, bool was_served_there) override {
    --held;
    left_served += was_served_there ? 1 : 0;
  }
  void out_of(std::size_t, int error) override { shortages.push_back(error); }
  // Connections that were refused, or not made in time.
  auto found_down() const {
    return std::count_if(faults.begin(), faults.end(), [](BrokerFault fault) { return !follows_connect(fault); });
  }
  void wants_handshake(Session&) override { handshake_due = true; }
  void wants_flush(Session&) override { flush_due = true; }
  void wants_farewell(Session& session) override {
    if (!paced) session.farewell();
  }
  void begun(Session& session) override {
    ++begun_count;
    EXPECT_EQ(session.state(), Session::State::Forwarding);
    EXPECT_NE(session.established_tls(), nullptr);
  }
  void over(Session& session, const Error& error, Cause cause, bool served) override {
    ++over_count;
    session_bytes += session.bytes_to_broker() + session.bytes_to_client();
    was_proven = session.proven();
    was_decided = session.verdict() != nullptr;
    was_silent = session.silent();
    peer = session.peer();
    via = session.via();
    what = error.what;
    reason = error.reason;
    ended_as = cause;
    was_served = served;
  }
  void gone(Session&) override { ++gone_count; }

  // The end of a turn, as a shard has it.
  void end_turn(Session& session) {
    while (handshake_due && !hold_handshakes) {
      handshake_due = false;
      session.handshake_step(++steps_ % 4 == 0 ? TlsEngine::Pace::All : TlsEngine::Pace::OneRecord);
    }
    timers_.advance(now_ms);
    if (flush_due) {
      flush_due = false;
      session.flush();
    }
    session.invariants();
    if (session.state() == Session::State::Gone) session.recycle();
  }

  const SessionHost parts{*this, *this, *this, *this};
  std::uint64_t now_ms = 0;
  bool too_often = false, too_many_register = false;
  int clones_came = 0;
  int addresses_entered = 0;
  sockaddr_storage entered{};
  Error address_refused{Origin::Client, Reason::None, 0, ""};
  std::int64_t set_by = 0;    // what somebody has set the wall clock by, in seconds
  bool ends_by_date = false;  // a recheck looks at the verdict's dates
  Verdict verdict;
  Reason standing = Reason::None;
  DeviceSessions device_sessions;
  unsigned brokers = 1;
  int full_offers = 0;
  Socket broker;
  bool handshake_due = false, flush_due = false;
  bool hold_handshakes = false;     // nobody's turn for a step comes
  bool paced = false;               // a halted session waits for its turn
  std::uint64_t session_bytes = 0;  // both ways, of all sessions that are over
  int begun_count = 0, over_count = 0, gone_count = 0, rechecks = 0, offered = 0, seen_count = 0;
  int held = 0, connected = 0, answered = 0, left_served = 0, blamed = 0, blamed_proven = 0;
  std::vector<BrokerFault> faults;
  std::string why;                        // of the last
  const BrokerTlsContext* tls = nullptr;  // of all brokers; null: plain
  int opened = 0;                         // connections to brokers
  int tls_is_rubbish = 0;                 // the next ones speak something else
  int reloads = 0;                        // so many connections are made while a reload changes the TLS
  std::vector<int> shortages;
  unsigned sources = 0;
  std::uint64_t wait_us = 0;  // the first server is in slow start
  Reason reason = Reason::None;
  Cause ended_as = Cause::Closed;
  int lacks = 0;  // errno: there is no socket to reach a broker with
  bool was_served = false, was_proven = false, was_decided = false, was_silent = false;
  sockaddr_storage peer{}, via{};
  std::string_view what;

 private:
  FakeIo& io_;
  TimerWheel timers_;
  SessionIndex index_;
  ShardCounters counters_;
  unsigned steps_ = 0;
  std::vector<std::uint8_t> scratch_ = std::vector<std::uint8_t>(17 * 1024);
};

}  // namespace sallyport::test
