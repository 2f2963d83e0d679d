// How many first-time devices does the registrar make durable in a second, one by one and when many queue?
//
// Expected, from the pieces: a commit of one is one synced write of a log, some 120 us on this disk, and two wake-ups:
// 7,000 a second. Each further device of a batch adds its rows (a row, a text with its certificate, two index entries:
// 1 KB) to the log and to RocksDB's tables, 5 us, and its slot, below 1 us: with hundreds in a batch the sync
// disappears in that, and 150,000 a second or so remain. `queued` is how many are offered and not yet written at any
// time; a batch takes at most 4096. The registry lies in the folder for temporary files (TMPDIR), which must be on a
// disk: in memory a sync costs nothing.
#include <atomic>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>

#include "bench/scale.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "tests/cache/test_pki.h"

namespace sallyport::bench {
namespace {

// The registrar says of each device in its log that it is durable: counting those lines costs nobody a lock.
class CountsWritten final : public Logger {
 public:
  void write(Level, std::string_view event, std::initializer_list<Field>) override {
    if (event != to_string(Change::Kind::DeviceRegistered)) return;
    written_.fetch_add(1, std::memory_order_release);
    written_.notify_one();
  }
  void wait_for(std::uint64_t devices) const {
    for (;;) {
      const std::uint64_t seen = written_.load(std::memory_order_acquire);
      if (seen >= devices) return;
      written_.wait(seen, std::memory_order_acquire);
    }
  }

 private:
  std::atomic<std::uint64_t> written_{0};
};

class NoShards final : public ChangeSink {
 public:
  void put_in_force(const Notice&) override {}
};

struct World {
  World() {
    auto opened = RegistryStore::open(folder.path() + "/state");
    if (!opened) return;
    store = std::move(*opened);
    registrar = std::make_unique<Registrar>(*store, cache, chains, shards, RegistrarOptions{}, log);
    good = registrar->warm() && registrar->trust({ca.certificate});
    registrar->start();
  }
  ~World() {
    if (registrar) registrar->stop();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // What a shard offers of a device that the gate admitted; only the numbers differ from one to the next.
  Registration registration(std::uint64_t number) const {
    Registration made{device.certificate.der(), identity, path};
    made.identity.fingerprint = scattered<Digest>(number);
    made.identity.issuer_serial = scattered<IssuerSerial>(~number);
    made.identity.serial.assign(made.identity.issuer_serial.begin(), made.identity.issuer_serial.end());
    return made;
  }

  test::TempDir folder;
  test::Identity509 ca = test::make_ca("CA");
  test::Identity509 device = test::make_device("meter-4711", ca);
  Identity identity = make_identity(device.certificate);
  PathFound path{{ca.certificate.fingerprint()}, {}, ca.certificate.not_before(), ca.certificate.not_after()};
  CountsWritten log;
  NoShards shards;
  StatusCache cache;
  ChainTable chains;
  std::unique_ptr<RegistryStore> store;
  std::unique_ptr<Registrar> registrar;
  bool good = false;
};

void registrations(benchmark::State& state) {
  World world;
  if (!world.good) return state.SkipWithError("the registry cannot be opened");
  const auto queued = static_cast<std::uint64_t>(state.range(0));
  const std::uint64_t commits_before = world.registrar->stats().commits;
  const auto all = static_cast<std::uint64_t>(state.max_iterations);
  std::uint64_t offered = 0;
  for (auto _ : state) {
    if (!world.registrar->offer(world.registration(offered))) {
      state.SkipWithError("the queue is full");
      break;
    }
    ++offered;
    if (offered >= queued) world.log.wait_for(offered - queued + 1);
    if (offered == all) world.log.wait_for(all);  // the last ones' time counts, too
  }
  const RegistrarStats stats = world.registrar->stats();
  if (stats.store_errors != 0 || stats.refused != 0) state.SkipWithError("a registration was refused");
  state.SetItemsProcessed(state.iterations());
  const auto commits = static_cast<double>(stats.commits - commits_before);
  state.counters["commits"] = benchmark::Counter(commits, benchmark::Counter::kIsRate);
  state.counters["a_commit"] = static_cast<double>(offered) / commits;
}
BENCHMARK(registrations)
    ->ArgName("queued")
    ->Arg(1)
    ->Arg(10)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(4096)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
