// What CPU does the server's side of a mutual handshake cost, in memory: TLS 1.3 and 1.2, full and resumed, of a known
// device and of one that connects for the first time? From the engine's making to its end; no socket, no CONNECT.
//
// Expected, from the pieces (proxy/tls/README.md): a full TLS 1.3 handshake of a known device is 415 us with P-256 on
// both sides, 218 of them bare cryptography, and a ticket adds 35; an unknown device adds what the gate says of it, 80
// us; an intermediate the decoding of one certificate, 100 us, and for an unknown device two more signatures checked
// twice; an RSA-2048 server key 225 us. A resumed session is 160 to 175 us in TLS 1.3, which exchanges keys again, and
// 40 us in TLS 1.2, which does not. The same by tls_engine = "openssl": what OpenSSL's fetching, decoding and copying
// cost comes on top, and the certificate in each ticket.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "bench/scale.h"
#include "bench/tls_pair.h"
#include "proxy/tls/handshake_crypto.h"

namespace sallyport::bench {
namespace {

using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;

SessionPtr first_session(TlsServer& server) {
  CpuTime not_counted;
  TlsPair first(server);
  if (!first.shake(not_counted)) return nullptr;
  first.drop(not_counted);
  return SessionPtr(SSL_get1_session(first.client().ssl()));
}

void handshake(benchmark::State& state, const Shape& shape) {
  TlsServer server(shape);
  if (server.context() == nullptr) return state.SkipWithError("no TLS context");
  SessionPtr session = shape.resumed ? first_session(server) : nullptr;
  for (auto _ : state) {
    CpuTime time;
    TlsPair pair(server);
    if (session) SSL_set_session(pair.client().ssl(), session.get());
    const bool done = pair.shake(time);
    const bool as_expected = done && pair.engine().resumed() == shape.resumed && pair.engine().verdict().has_value() &&
                             pair.engine().verdict()->known == shape.known;
    pair.drop(time);
    state.SetIterationTime(time.seconds());
    if (session) session.reset(SSL_get1_session(pair.client().ssl()));  // a ticket of TLS 1.3 is for one use
    if (!as_expected) {
      state.SkipWithError("another handshake than expected");
      break;
    }
  }
}

void in_microseconds(benchmark::internal::Benchmark* benchmark) {
  benchmark->UseManualTime()->Unit(benchmark::kMicrosecond);
  if (const char* iterations = std::getenv("SALLYPORT_BENCH_ITERATIONS")) {  // instructions.sh
    benchmark->Iterations(std::max(1, std::atoi(iterations)));
  }
}
constexpr int kV12 = TLS1_2_VERSION;
constexpr test::Kind kRsa = test::Kind::Rsa2048;

struct Row {
  const char* name;
  Shape shape;
};
const Row kRows[] = {
    {"tls13_full_no_ticket", {.tickets = false}},
    {"tls13_full", {}},
    {"tls13_full_unknown", {.known = false}},
    {"tls13_full_intermediate", {.intermediate = true}},
    {"tls13_full_unknown_intermediate", {.known = false, .intermediate = true}},
    {"tls13_full_rsa_server", {.server_key = kRsa}},
    {"tls13_full_x25519", {.groups = "X25519"}},
    {"tls13_full_x25519mlkem768", {.groups = "X25519MLKEM768"}},
    {"tls13_resumed", {.resumed = true}},
    {"tls12_full_no_ticket", {.version = kV12, .tickets = false}},
    {"tls12_full", {.version = kV12}},
    {"tls12_full_unknown", {.version = kV12, .known = false}},
    {"tls12_resumed", {.version = kV12, .resumed = true}},
};

// Each by either engine: "openssl/tls13_full" is tls_engine = "openssl".
[[maybe_unused]] const bool kRegistered = [] {
  for (const TlsMadeBy engine : {TlsMadeBy::Auto, TlsMadeBy::Openssl}) {
    const std::string prefix = engine == TlsMadeBy::Auto ? "handshake/" : "openssl/";
    for (Row row : kRows) {
      const bool needs_ml_kem = std::string_view(row.shape.groups) == "X25519MLKEM768";
      if (needs_ml_kem && !has_post_quantum_exchange()) continue;  // OpenSSL has ML-KEM since 3.5
      row.shape.engine = engine;
      benchmark::RegisterBenchmark((prefix + row.name).c_str(), handshake, row.shape)->Apply(in_microseconds);
    }
  }
  return true;
}();

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
