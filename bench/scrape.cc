// What does a scrape of /metrics cost, with 64 shards and 1,000 CAs?
//
// Expected: 64 shards of two listeners have some 700 cells each, of which a scrape adds up 45,000: below 0.1 ms. Each
// CA has three or four lines, and each line costs an object of prometheus-cpp with its labels and its place in the
// text, about 1 us: 4 ms. Nothing of it is a shard's time: cells are read, and nobody is asked. The figure is CPU time
// of the thread that answers (BENCHMARK's CPU column), which the goal of 10 ms is about.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "admin/operations/metrics.h"
#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/chains.h"
#include "cache/standing/device_gate.h"
#include "cache/standing/status_cache.h"
#include "proxy/data_plane.h"
#include "tests/cache/test_pki.h"

namespace sallyport::bench {
namespace {

bool small() {
  return std::getenv("SALLYPORT_BENCH_SMALL") != nullptr;
}

struct World {
  World() : log(Level::Error, LogFormat::Text, 2) {
    const test::Identity509 site = test::make_ca("localhost");
    const CertificateFiles files{folder.write("chain", site.certificate.pem()),
                                 folder.write("key", test::key_pem(site.key.get()))};
    config.state_dir = folder.path() + "/state";
    config.shards = small() ? 2 : 64;
    config.upstreams.resize(1);
    config.upstreams[0].name = "broker";
    config.upstreams[0].servers = {{"127.0.0.1", 9, ""}};
    for (const char* name : {"mqtts", "second"}) {
      ListenerConfig& listener = config.listeners.emplace_back();
      listener.name = name;
      listener.address = {"127.0.0.1", 0, ""};
      listener.upstream_name = "broker";
      listener.certificates = {files};
    }
    auto opened = RegistryStore::open(config.state_dir);
    if (!opened) return;
    store = std::move(*opened);
    plane = std::make_unique<DataPlane>(config, log);
    registrar = std::make_unique<Registrar>(*store, cache, chains, *plane, RegistrarOptions{}, none);
    std::vector<Certificate> cas;
    for (int i = 0; i < (small() ? 10 : 1000); ++i) {
      cas.push_back(test::make_ca("CA of a fleet " + std::to_string(i)).certificate);
    }
    if (!plane->prepare() || !registrar->warm()) return;
    registrar->start();
    const bool trusted = static_cast<bool>(registrar->trust(cas));
    const auto capacity = Capacity::of(20'000, plane->shards(), 200);
    good = trusted && static_cast<bool>(plane->start(gate, *registrar, capacity));
  }
  ~World() {
    if (plane) plane->stop_now();
    if (plane) plane->join();
    if (registrar) registrar->stop();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  test::TempDir folder;
  Config config;
  Log log;
  NullLogger none;
  StatusCache cache;
  ChainTable chains;
  DeviceGate gate{cache, chains};
  std::unique_ptr<RegistryStore> store;
  std::unique_ptr<DataPlane> plane;
  std::unique_ptr<Registrar> registrar;
  bool good = false;
};

void BM_Scrape(benchmark::State& state) {
  World world;
  if (!world.good) return state.SkipWithError("it does not start");
  Warnings warnings(world.none);
  const Outcomes outcomes;
  const Metrics metrics(world.config, *world.plane, *world.registrar, warnings, outcomes, world.log);
  Probes probes(metrics);
  probes.set(Probes::Phase::Ready);
  HttpRequest request;
  request.method = "GET";
  request.path = "/metrics";
  request.host = "127.0.0.1:9884";
  std::size_t bytes = 0;
  for (auto _ : state) {
    const HttpResponse page = probes.handle(request);
    if (page.status != 200) return state.SkipWithError("no page");
    bytes = page.body.size();
    benchmark::DoNotOptimize(page.body.data());
  }
  state.counters["page_bytes"] = static_cast<double>(bytes);
  state.counters["shards"] = world.plane->shards();
}
BENCHMARK(BM_Scrape)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
