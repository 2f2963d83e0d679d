// What does a look-up in the status cache cost at 1 and at 10 million devices, alone and while one writer publishes
// 50,000 changes a second? As the gate does it: the secret hashes of a name and a fingerprint, then the slot.
//
// Expected, from the pieces: two SipHashes of 16 and 32 bytes are 20 to 30 ns. The slots of a million devices are some
// 60 MB and of ten million 600 MB: no cache of the core holds them, so a look-up waits for the segment's pointer, which
// is near, and for one line of memory, which is not, with its page's address: 60 to 120 ns in all. Each look-up waits
// for the one before, as a handshake would; key_alone is what all of it costs but the look-up. A writer that touches
// 50,000 lines a second takes nothing away; growing by half below three quarters holds 43 to 64 bytes a device.
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "bench/scale.h"
#include "cache/standing/status_cache.h"

namespace sallyport::bench {
namespace {

using Clock = std::chrono::steady_clock;

// One of `devices`, by chance.
std::uint64_t any_of(std::uint64_t devices, std::uint64_t number) {
  return (scatter(number) >> 32) * devices >> 32;
}
DeviceKey key_of(const StatusCache& cache, std::uint64_t device) {
  return cache.key(scattered<IssuerSerial>(device), scattered<Digest>(~device));
}
SlotState active() {
  return {1, static_cast<std::uint8_t>(DeviceStatus::Active), 20'000};
}

// Filled as the registrar's warm-up does it, one after another; kept until another size is asked for.
StatusCache& filled_with(std::uint64_t devices) {
  static std::unique_ptr<StatusCache> cache;
  static std::uint64_t holds = 0;
  if (cache && holds == devices) return *cache;
  cache.reset();
  cache = std::make_unique<StatusCache>();
  holds = devices;
  for (std::uint64_t device = 0; device < devices; ++device) cache->put(key_of(*cache, device), active());
  cache->reclaim();
  return *cache;
}

// The registrar's part: 50 changes each millisecond, of which every other is a device nobody has seen before.
class Publisher {
 public:
  Publisher(StatusCache& cache, std::uint64_t devices) : cache_(cache), devices_(devices), thread_([this] { run(); }) {}
  ~Publisher() { stop(); }
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  double per_second() const { return static_cast<double>(published_) / seconds_; }

 private:
  static constexpr std::uint64_t kEachMillisecond = 50;

  void run() {
    static std::uint64_t newest = std::uint64_t{1} << 40;  // above every device that was there from the start
    const auto begun = Clock::now();
    auto due = begun;
    while (!stopping_) {
      for (std::uint64_t i = 0; i < kEachMillisecond; ++i, ++published_) {
        if (i % 2 == 0) {
          cache_.put(key_of(cache_, newest++), active());
        } else {
          const DeviceKey key = key_of(cache_, any_of(devices_, published_));
          cache_.put(key, {1, static_cast<std::uint8_t>(DeviceStatus::Active), static_cast<std::uint16_t>(newest)});
        }
      }
      due += std::chrono::milliseconds(1);
      std::this_thread::sleep_until(due);
    }
    seconds_ = std::chrono::duration<double>(Clock::now() - begun).count();
  }

  StatusCache& cache_;
  const std::uint64_t devices_;
  std::atomic<bool> stopping_{false};
  std::uint64_t published_ = 0;
  double seconds_ = 0;
  std::thread thread_;
};

// What the benchmark itself costs: a device chosen and its key made, and nothing looked up.
void key_alone(benchmark::State& state) {
  const StatusCache cache;
  std::uint64_t number = 1;
  for (auto _ : state) number += 1 + cache.key(scattered<IssuerSerial>(number), scattered<Digest>(~number)).name % 2;
  benchmark::DoNotOptimize(number);
}

// False: a device that is registered was not found.
bool look_up(benchmark::State& state, const StatusCache& cache, std::uint64_t devices) {
  std::uint64_t number = 1;
  bool all = true;
  for (auto _ : state) {
    const auto found = cache.find(key_of(cache, any_of(devices, number)));
    all = all && found.has_value();
    number += found ? found->chain : 0;  // the next look-up waits for this one; the chain is always 1
  }
  return all;
}

void look_up_alone(benchmark::State& state) {
  const auto devices = static_cast<std::uint64_t>(state.range(0));
  const StatusCache& cache = filled_with(devices);
  if (!look_up(state, cache, devices)) state.SkipWithError("a registered device was not found");
  state.counters["bytes_per_device"] = static_cast<double>(cache.bytes()) / static_cast<double>(cache.size());
}

void look_up_beside_a_writer(benchmark::State& state) {
  const auto devices = static_cast<std::uint64_t>(state.range(0));
  StatusCache& cache = filled_with(devices);
  Publisher publisher(cache, devices);
  if (!look_up(state, cache, devices)) state.SkipWithError("a registered device was not found");
  publisher.stop();
  state.counters["published_per_s"] = publisher.per_second();
  cache.reclaim();  // no reader is inside any more
  state.counters["bytes_per_device"] = static_cast<double>(cache.bytes()) / static_cast<double>(cache.size());
}

// In this order, so that each size is filled once.
void register_all(std::int64_t devices) {
  benchmark::RegisterBenchmark("look_up_alone", look_up_alone)->ArgName("devices")->Arg(devices);
  benchmark::RegisterBenchmark("look_up_beside_a_writer", look_up_beside_a_writer)
      ->ArgName("devices")
      ->Arg(devices)
      ->UseRealTime();
}

}  // namespace
}  // namespace sallyport::bench

int main(int argc, char** argv) {
  using namespace sallyport::bench;
  benchmark::Initialize(&argc, argv);
  benchmark::RegisterBenchmark("key_alone", key_alone);
  for (const std::int64_t devices : fleet_sizes()) register_all(devices);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
