// How long does the registry take to be read at the start, with 1 and with 10 million devices, from the page cache and
// from the disk, and what does the status cache then hold of each?
//
// Expected, from the pieces: RocksDB hands over some 2 to 3 million rows of 96 bytes a second to one thread, and each
// costs two SipHashes and a slot, whose miss of the core's cache is hidden behind others: 0.25 s for a million and 2.5
// for ten by two threads on two cores. From the disk 1 GB is read ahead, which at 1 GB/s costs 1 s more. The store
// holds what the warm-up reads: the device's own row, in the order of chance in which devices connect; no certificates.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "bench/device_rows.h"
#include "bench/scale.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "tests/cache/test_pki.h"

namespace sallyport::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

class NoShards final : public ChangeSink {
 public:
  void put_in_force(const Notice&) override {}
};

// A registry of this size, kept until another one is asked for.
const std::string* folder_with(std::uint64_t devices) {
  static std::unique_ptr<test::TempDir> folder;
  static std::string path;
  static std::uint64_t holds = 0;
  if (holds != devices) {
    holds = 0;
    folder.reset();
    folder = std::make_unique<test::TempDir>();
    path = folder->path() + "/state";
    const auto store = RegistryStore::open(path);
    if (!store || !write_registry(**store, devices, [](std::uint64_t) {})) return nullptr;
    holds = devices;
  }
  return &path;
}

// What the kernel remembers of the files is forgotten: posix_fadvise(2).
double forget_pages(const std::string& folder) {
  double bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ::fdatasync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
    bytes += static_cast<double>(entry.file_size());
  }
  return bytes;
}

void warm(benchmark::State& state, bool from_disk) {
  const auto devices = static_cast<std::uint64_t>(state.range(0));
  const std::string* folder = folder_with(devices);
  if (folder == nullptr) return state.SkipWithError("the registry cannot be filled");
  double open_seconds = 0, warm_seconds = 0, cache_bytes = 0, disk_bytes = 0;
  for (auto _ : state) {
    // An opening first replays the log, which only the first start after the filling has to do.
    if (!RegistryStore::open(*folder)) return state.SkipWithError("the registry cannot be opened");
    if (from_disk) disk_bytes = forget_pages(*folder);
    const auto begun = Clock::now();
    const auto store = RegistryStore::open(*folder);
    if (!store) return state.SkipWithError("the registry cannot be opened");
    open_seconds += seconds_since(begun);
    StatusCache cache;
    ChainTable chains;
    NoShards shards;
    NullLogger log;
    Registrar registrar(**store, cache, chains, shards, RegistrarOptions{}, log);
    const auto warmed = registrar.warm();
    state.SetIterationTime(seconds_since(begun));
    if (!warmed || cache.size() != devices) return state.SkipWithError("not every device was read");
    warm_seconds += registrar.stats().warmup_seconds;
    cache_bytes = static_cast<double>(cache.bytes());
  }
  const auto runs = static_cast<double>(state.iterations());
  state.counters["open_s"] = open_seconds / runs;
  state.counters["warm_s"] = warm_seconds / runs;
  state.counters["cache_bytes_per_device"] = cache_bytes / static_cast<double>(devices);
  if (from_disk) state.counters["disk_bytes_per_device"] = disk_bytes / static_cast<double>(devices);
}

void register_all(std::int64_t devices) {
  for (const bool from_disk : {false, true}) {
    benchmark::RegisterBenchmark(from_disk ? "warm/from_disk" : "warm/from_page_cache", warm, from_disk)
        ->ArgName("devices")
        ->Arg(devices)
        ->Iterations(3)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace sallyport::bench

int main(int argc, char** argv) {
  using namespace sallyport::bench;
  benchmark::Initialize(&argc, argv);
  for (const std::int64_t devices : fleet_sizes()) register_all(devices);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
