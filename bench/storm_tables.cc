// What does it cost to turn somebody away, or to let him go first: the tables and the ticket that decide it?
//
// Expected, from the pieces: a table's stripe is an uncontended lock (20 ns) and a look-up: a rate 30 to 60 ns,
// admitted or refused; a device's use of its certificate two SipHashes more, 100 ns. A ticket is found by the name of
// its key, its HMAC is checked, it is decrypted and parsed, and its binder checked: 6 us, paid only where eight
// handshakes wait; one that is forged ends at the HMAC, 2 us. The limit that was set for a refusal is 10 us.
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/scale.h"
#include "bench/tls_pair.h"
#include "cache/crypto/openssl_ptr.h"
#include "proxy/shard/device_sessions.h"
#include "proxy/shard/rate_table.h"
#include "proxy/tls/client_hello.h"

namespace sallyport::bench {
namespace {

constexpr std::uint64_t kMinuteUs = 60'000'000;

void rate_admits(benchmark::State& state) {
  RateTable table;
  std::uint64_t key = 1, now = kMinuteUs;
  for (auto _ : state) {
    key = key * 6364136223846793005ULL + 1442695040888963407ULL;
    benchmark::DoNotOptimize(table.take(key >> 17, 60, kMinuteUs, now += 10));
  }
}
BENCHMARK(rate_admits);

void rate_refuses(benchmark::State& state) {
  RateTable table;
  while (table.take(4711, 60, kMinuteUs, kMinuteUs)) {
  }
  for (auto _ : state) {
    if (table.take(4711, 60, kMinuteUs, kMinuteUs)) {
      state.SkipWithError("not refused");
      break;
    }
  }
}
BENCHMARK(rate_refuses);

void clone(benchmark::State& state, bool differs) {
  DeviceSessions sessions;
  const Digest device{1};
  sockaddr_storage here{}, there{};
  here.ss_family = AF_INET;
  there.ss_family = AF_INET6;
  for (int i = 0; i < 2; ++i) sessions.enter(device, 0);
  DeviceUse first;
  sessions.use(device, here, "meter-00004711", false, first);
  for (auto _ : state) {
    DeviceUse use;
    if (sessions.use(device, differs ? there : here, "meter-00004711", true, use) != differs) {
      state.SkipWithError("another answer than expected");
      break;
    }
    if (use.order != 0) sessions.unuse(device, use);
  }
}
BENCHMARK_CAPTURE(clone, none, false);
BENCHMARK_CAPTURE(clone, refused, true);

// The glance at a ClientHello, and the ticket in it: good, forged, or seen on the wire by who lacks its secret.
enum class Offered { Good, Forged, Seen };
void ticket(benchmark::State& state, Offered how) {
  TlsServer server(Shape{});
  CpuTime not_counted;
  TlsPair first(server);
  if (!first.shake(not_counted)) return state.SkipWithError("no handshake");
  first.drop(not_counted);
  using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;
  const SessionPtr session(SSL_get1_session(first.client().ssl()));
  test::TlsClient returning(server.client_options());
  SSL_set_session(returning.ssl(), session.get());
  returning.handshake();
  std::vector<std::uint8_t> hello = returning.give();
  const TicketOffer offered = offered_ticket(hello);
  const auto ticket = offered.first.ticket;
  if (ticket.empty()) return state.SkipWithError("no ticket");
  const auto end_of_ticket = static_cast<std::size_t>(ticket.data() - hello.data()) + ticket.size();
  if (how == Offered::Forged) hello[end_of_ticket - 1] ^= 1;
  if (how == Offered::Seen) hello.back() ^= 1;
  const std::int64_t now = std::time(nullptr);
  for (auto _ : state) {
    if (server.context()->devices_ticket(offered_ticket(hello), now).has_value() != (how == Offered::Good)) {
      state.SkipWithError("another answer than expected");
      break;
    }
  }
}
BENCHMARK_CAPTURE(ticket, opens, Offered::Good);
BENCHMARK_CAPTURE(ticket, forged, Offered::Forged);
BENCHMARK_CAPTURE(ticket, seen, Offered::Seen);

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
