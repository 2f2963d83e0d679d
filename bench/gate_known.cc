// What does the gate cost for a device it knows, in each of the four places where a shard asks it: in our handshake,
// reading the certificate included; in OpenSSL's verify callback, without that; again before the first byte goes to the
// broker; and when a ticket comes back?
//
// Expected, from the pieces: two SHA-256 over some 500 bytes are 1 us, the look-up below 0.1 us, the names and texts of
// an identity half a dozen small allocations, and in the callback as many calls into OpenSSL, 3 to 5 us: 2 us in our
// handshake, less than a hundredth of it, and 10 us in the callback. Looking again is the look-up and the chain's
// dates: below 0.3 us. A ticket copies the identity: 1 us. None of the four depends on the number of CAs beyond one map
// look-up.
#include "bench/gate_registry.h"
#include "bench/scale.h"
#include "cache/x509/plain_leaf.h"

namespace sallyport::bench {
namespace {

const std::size_t kDevices = small() ? 64 : 512;

struct Fleet {
  explicit Fleet(std::size_t cas) : registry(certificates_of(owners = make_cas(cas))) {
    for (std::size_t i = 0; i < kDevices; ++i) {
      devices.push_back(test::make_device("meter-" + std::to_string(i), owners.front()).certificate);
      registry.enroll(devices.back());
    }
  }
  std::vector<Received> received() const {
    std::vector<Received> all;
    for (const Certificate& device : devices) all.emplace_back(device);
    return all;
  }
  std::vector<test::Identity509> owners;
  std::vector<Certificate> devices;
  GateRegistry registry;
};

// Kept between the runs by which the library finds its number of iterations.
const Fleet& fleet_under(std::int64_t cas) {
  static std::map<std::int64_t, Fleet> fleets;
  return fleets.try_emplace(cas, static_cast<std::size_t>(cas)).first->second;
}

void in_the_handshake(benchmark::State& state) {
  const Fleet& fleet = fleet_under(state.range(0));
  std::vector<Received> received;
  std::size_t at = 0;
  for (auto _ : state) {
    if (at == received.size()) {
      state.PauseTiming();
      received = fleet.received();
      at = 0;
      state.ResumeTiming();
    }
    const Verdict verdict = fleet.registry.decide(received[at++].peer());
    if (!verdict.admitted() || !verdict.known) {
      state.SkipWithError("a known device was not admitted as one");
      break;
    }
  }
}

void read_plainly(benchmark::State& state) {
  const Fleet& fleet = fleet_under(state.range(0));
  std::size_t at = 0;
  for (auto _ : state) {
    const std::string& der = fleet.devices[at++ % kDevices].der();
    const auto leaf = read_plain_leaf({reinterpret_cast<const std::uint8_t*>(der.data()), der.size()});
    if (!leaf || !fleet.registry.decide({.plain = &*leaf}).known) {
      state.SkipWithError("a known device was not admitted as one");
      break;
    }
  }
}

void before_the_first_byte(benchmark::State& state) {
  const Fleet& fleet = fleet_under(state.range(0));
  std::vector<Verdict> verdicts;
  for (const Received& received : fleet.received()) verdicts.push_back(fleet.registry.decide(received.peer()));
  std::size_t at = 0;
  for (auto _ : state) {
    if (fleet.registry.recheck(verdicts[at++ % kDevices]) != Reason::None) {
      state.SkipWithError("the standing of a known device did not hold");
      break;
    }
  }
}

void with_a_ticket(benchmark::State& state) {
  const Fleet& fleet = fleet_under(state.range(0));
  std::vector<Verdict> verdicts;
  for (const Received& received : fleet.received()) verdicts.push_back(fleet.registry.decide(received.peer()));
  std::size_t at = 0;
  for (auto _ : state) {
    const Verdict& full = verdicts[at++ % kDevices];
    if (!fleet.registry.resume(*full.identity, full.chain_id, full.epoch).admitted()) {
      state.SkipWithError("a known device's ticket was declined");
      break;
    }
  }
}

void cas(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("cas")->Arg(1)->Arg(small() ? 20 : 1000);
}
BENCHMARK(read_plainly)->Apply(cas);
BENCHMARK(in_the_handshake)->Apply(cas);
BENCHMARK(before_the_first_byte)->Apply(cas);
BENCHMARK(with_a_ticket)->Apply(cas);

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
