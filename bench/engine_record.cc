// What does a record cost in the engine, each way, at 100 bytes, 1 KB and 16 KB?
//
// Expected, from the pieces: both versions go through TlsRecords, where 16 KB are 1.1 us of AES-GCM with VAES and a
// small record is the key made ready, 0.15 us, and as much for its room in the output; with tls_engine = "openssl"
// through OpenSSL, 3 us and 0.3 to 0.6 us for the way through it, and one copy more. Writing grows an output buffer
// that was empty, as a session's is between two sends.
#include <array>

#include "bench/scale.h"
#include "bench/tls_pair.h"

namespace sallyport::bench {
namespace {

constexpr std::size_t kRecords = 64;  // made by the client at once, outside of the time

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("bytes")->Arg(100)->Arg(1024)->Arg(16 * 1024);
}

void encrypt(benchmark::State& state, int version, TlsMadeBy engine) {
  TlsServer server(Shape{.version = version, .engine = engine});
  TlsPair pair(server);
  CpuTime not_counted;
  if (!pair.shake(not_counted)) return state.SkipWithError("no handshake");
  const std::vector<std::uint8_t> plain(static_cast<std::size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    if (pair.engine().write(plain) != Step::Done) {
      state.SkipWithError("the engine did not write");
      break;
    }
    pair.output().consume(pair.output().size());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.SetLabel(SSL_get_cipher_name(pair.client().ssl()));
}

void decrypt(benchmark::State& state, int version, TlsMadeBy engine) {
  TlsServer server(Shape{.version = version, .engine = engine});
  TlsPair pair(server);
  CpuTime not_counted;
  if (!pair.shake(not_counted)) return state.SkipWithError("no handshake");
  const std::vector<std::uint8_t> plain(static_cast<std::size_t>(state.range(0)), 'x');
  std::array<std::uint8_t, TlsRecords::kMostOpened> into{};
  while (state.KeepRunningBatch(kRecords)) {
    for (std::size_t i = 0; i < kRecords; ++i) pair.client().send(plain);
    const std::vector<std::uint8_t> records = pair.client().give();
    CpuTime time;
    time.begin();
    pair.engine().lend(records);
    std::size_t read = 0;
    for (std::size_t n = 0; pair.engine().read(into, n) == Step::Done; read += n) {
    }
    time.end();
    state.SetIterationTime(time.seconds());
    if (read != plain.size() * kRecords) {
      state.SkipWithError("the engine did not read everything");
      break;
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.SetLabel(SSL_get_cipher_name(pair.client().ssl()));
}

BENCHMARK_CAPTURE(encrypt, tls13, TLS1_3_VERSION, TlsMadeBy::Auto)->Apply(sizes);
BENCHMARK_CAPTURE(encrypt, tls12, TLS1_2_VERSION, TlsMadeBy::Auto)->Apply(sizes);
BENCHMARK_CAPTURE(decrypt, tls13, TLS1_3_VERSION, TlsMadeBy::Auto)->Apply(sizes)->UseManualTime();
BENCHMARK_CAPTURE(decrypt, tls12, TLS1_2_VERSION, TlsMadeBy::Auto)->Apply(sizes)->UseManualTime();
BENCHMARK_CAPTURE(encrypt, tls13_openssl, TLS1_3_VERSION, TlsMadeBy::Openssl)->Apply(sizes);
BENCHMARK_CAPTURE(encrypt, tls12_openssl, TLS1_2_VERSION, TlsMadeBy::Openssl)->Apply(sizes);
BENCHMARK_CAPTURE(decrypt, tls13_openssl, TLS1_3_VERSION, TlsMadeBy::Openssl)->Apply(sizes)->UseManualTime();
BENCHMARK_CAPTURE(decrypt, tls12_openssl, TLS1_2_VERSION, TlsMadeBy::Openssl)->Apply(sizes)->UseManualTime();

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
