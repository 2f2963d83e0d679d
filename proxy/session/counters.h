// What a shard counts. Plain cells that only their shard writes and the metrics thread reads: an
// increment is a load, an add and a store without a lock prefix. Summed over shards when scraped.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cache/base/reason.h"
#include "cache/base/result.h"
#include "proxy/io/io.h"
#include "proxy/tls/tls_makers.h"

namespace sallyport {

class Cell {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void sub(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed); }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Upper bounds in microseconds; one more bucket for what is beyond.
inline constexpr std::array<std::uint64_t, 14> kLatencyBoundsUs = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 10000000};
struct Latency {
  std::array<Cell, kLatencyBoundsUs.size() + 1> buckets;
  Cell sum_us;
  void record(std::uint64_t us) {
    std::size_t i = 0;
    while (i < kLatencyBoundsUs.size() && us > kLatencyBoundsUs[i]) ++i;
    buckets[i].add();
    sum_us.add(us);
  }
};

// Why a session that reached the broker ended: the `cause` label.
enum class Cause : std::uint8_t { Closed, Reset, Protocol, Timeout, Cut, Shutdown, Internal, KeyLimit };
inline constexpr std::size_t kCauseCount = 8;
inline constexpr std::array<std::string_view, kCauseCount> kCauseNames = {
    "closed", "reset", "protocol", "timeout", "cut", "shutdown", "internal", "key_limit"};

enum class HandshakeKind : std::uint8_t { Full, Known, Resumed };
inline constexpr std::array<std::string_view, 3> kHandshakeKindNames = {"full", "known", "resumed"};
// What became of tickets: issued, then as TicketFate has it from Resumed on.
inline constexpr std::array<std::string_view, 6> kTicketResultNames = {
    "issued", "resumed", "declined_key", "declined_age", "declined_name", "declined_standing"};
inline constexpr std::array<std::string_view, 2> kTlsVersionNames = {"1.2", "1.3"};
inline constexpr std::array<std::string_view, 3> kMqttVersionNames = {"3.1", "3.1.1", "5"};

struct ListenerCounters {
  Cell accepted;
  Cell clones;  // sessions that came while the same certificate had one from elsewhere, or with another client id
  Cell silent;  // of those: they ended by themselves before their first byte
  std::array<Cell, kReasonCount> rejections;
  std::array<Cell, kReasonCount> claimed;  // of those: with a certificate whose key was not proven
  // [tls version][HandshakeKind][TlsMaker][KeyGroup]
  std::array<std::array<std::array<std::array<Cell, kKeyGroupNames.size()>, 2>, 3>, 2> handshakes;
  std::array<Cell, kTicketResultNames.size()> tickets;
  Latency handshake;                                   // accept to handshake finished
  Cell sessions_open;                                  // connections now, in whatever state
  std::array<std::array<Cell, kCauseCount>, 3> ended;  // [Origin][Cause]
  std::array<Cell, 3> mqtt_connects;
};

// The same where several shards count.
struct SharedLatency {
  std::array<std::atomic<std::uint64_t>, kLatencyBoundsUs.size() + 1> buckets{};
  std::atomic<std::uint64_t> sum_us{0};
  void record(std::uint64_t us) {
    std::size_t i = 0;
    while (i < kLatencyBoundsUs.size() && us > kLatencyBoundsUs[i]) ++i;
    buckets[i].fetch_add(1, std::memory_order_relaxed);
    sum_us.fetch_add(us, std::memory_order_relaxed);
  }
};

struct ShardCounters {
  std::vector<ListenerCounters> listeners;  // by listener index in the configuration
  std::array<Cell, 2> tls_by;               // [TlsMaker] connections now, after their handshake: whose records
  Cell bytes_to_broker;                     // plaintext
  Cell bytes_to_client;
  Cell registrations_offered;
  Cell registrations_deferred;                    // queue full: will be offered again
  Cell failovers;                                 // a session went on to the next server
  Cell slow_started;                              // a session waited for a server in slow start
  std::array<Cell, kShortages.size()> shortages;  // what was lacking on the way to a broker
  Latency cut;                                    // from a durable change to the last session it cut being closed
  Cell busy_us, total_us;                         // time not spent waiting for the kernel, and all of it
};

// One shard, as status, metrics and the watchdog see it.
struct ShardInfo {
  std::uint64_t sessions = 0;
  double busy_ratio = 0;        // over the last few seconds
  std::uint64_t closing = 0;    // cut sessions that pass nothing any more and wait to be closed
  std::uint64_t turned_us = 0;  // all its turns so far: grows eight times a second at least
  bool ended = false;
};

}  // namespace sallyport
