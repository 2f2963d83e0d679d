// What does the gate cost for a device it does not know: finding a path to a registered CA, and checking it?
//
// Expected, from the pieces: what a known device costs (10 us), one signature check a certificate (P-256 70 us,
// RSA-2048 25 us with its small exponent), and OpenSSL's path validation without a second check of the leaf, some 15
// us: 100 us directly under a CA. Through an intermediate that the client sent, that one is parsed and checked too, and
// OpenSSL checks both again: 300 us. Under a registered intermediate the links are known: as directly under a CA. A
// thousand CAs of other names cost nothing, for they are found by name; a stranger's costs no signature check at all.
#include "bench/gate_registry.h"
#include "bench/scale.h"

namespace sallyport::bench {
namespace {

const std::size_t kDevices = small() ? 32 : 256;

enum class Shape { Direct, DirectRsa, UnderRegistered, UnderSent, Stranger };

struct Newcomers {
  Newcomers(Shape shape, std::size_t cas) : owners(make_cas(cas - 1)) {
    const test::Kind kind = shape == Shape::DirectRsa ? test::Kind::Rsa2048 : test::Kind::P256;
    owners.push_back(test::make_ca("Root", nullptr, kind));
    std::vector<test::Identity509> issuers;
    if (shape == Shape::UnderRegistered || shape == Shape::UnderSent) {
      issuers.push_back(test::make_ca("Intermediate", &owners.back()));
    }
    if (shape == Shape::Stranger) issuers.push_back(test::make_ca("Stranger"));
    std::vector<Certificate> registered = certificates_of(owners);
    if (shape == Shape::UnderRegistered) registered.push_back(issuers.front().certificate);
    if (shape == Shape::UnderSent) sent.push_back(issuers.front().certificate);
    registry = std::make_unique<GateRegistry>(registered);
    const test::Identity509& issuer = issuers.empty() ? owners.back() : issuers.front();
    for (std::size_t i = 0; i < kDevices; ++i) {
      devices.push_back(test::make_device("meter-" + std::to_string(i), issuer).certificate);
    }
  }
  std::vector<Received> received() const {
    std::vector<Received> all;
    for (const Certificate& device : devices) all.emplace_back(device, sent);
    return all;
  }
  std::vector<test::Identity509> owners;
  std::vector<Certificate> devices, sent;
  std::unique_ptr<GateRegistry> registry;
};

void unknown(benchmark::State& state, Shape shape) {
  static std::map<std::pair<Shape, std::int64_t>, Newcomers> made;
  const Newcomers& newcomers = made.try_emplace({shape, state.range(0)}, shape, state.range(0)).first->second;
  const Reason expected = shape == Shape::Stranger ? Reason::CaUnknown : Reason::None;
  std::vector<Received> received;
  std::size_t at = 0;
  for (auto _ : state) {
    if (at == received.size()) {
      state.PauseTiming();
      received = newcomers.received();
      at = 0;
      state.ResumeTiming();
    }
    const Verdict verdict = newcomers.registry->decide(received[at++].peer());
    if (verdict.reason != expected || verdict.known) {
      state.SkipWithError("another verdict than expected");
      break;
    }
  }
}

void cas(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("cas")->Arg(1)->Arg(small() ? 20 : 1000)->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(unknown, direct, Shape::Direct)->Apply(cas);
BENCHMARK_CAPTURE(unknown, direct_rsa2048, Shape::DirectRsa)->Apply(cas);
BENCHMARK_CAPTURE(unknown, under_registered_intermediate, Shape::UnderRegistered)->Apply(cas);
BENCHMARK_CAPTURE(unknown, under_sent_intermediate, Shape::UnderSent)->Apply(cas);
BENCHMARK_CAPTURE(unknown, stranger_refused, Shape::Stranger)->Apply(cas);

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
