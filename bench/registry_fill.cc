// Fills the registry of a Sallyport that is not running with synthetic known devices, so that it can be measured with
// ten million of them: `sallyport serve` with this state_dir then knows them all. bench/compare_scale.py calls it.
//
// Expected, from the pieces: RocksDB takes some 200,000 to 400,000 unsynced rows of 96 bytes a second from one thread
// and merges them beside it on the other core: half a minute and 1 GB for ten million.
//
//   registry_fill STATE_DIR DEVICES         STATE_DIR: a new or an empty folder
//   registry_fill                           10,000 into a folder that goes again: that is what ctest runs
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "bench/device_rows.h"
#include "cache/registry/registry_store.h"

namespace sallyport::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr std::uint64_t kMostDevices = 1'000'000'000;

int fail(int status, const std::string& what) {
  std::fprintf(stderr, "registry_fill: %s\n", what.c_str());
  return status;
}

// 0 where it is not a number of devices.
std::uint64_t devices_from(std::string_view text) {
  std::uint64_t devices = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), devices);
  const bool whole = problem == std::errc() && end == text.data() + text.size();
  return whole && devices <= kMostDevices ? devices : 0;
}

// A line a second, and one at the end.
class Progress {
 public:
  explicit Progress(std::uint64_t devices) : devices_(devices) {}
  void operator()(std::uint64_t written) {
    const auto now = Clock::now();
    if (written < devices_ && now - said_ < std::chrono::seconds(1)) return;
    said_ = now;
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    std::fprintf(stderr, "%llu of %llu devices, %.0f/s\n", static_cast<unsigned long long>(written),
                 static_cast<unsigned long long>(devices_), static_cast<double>(written) / seconds);
  }

 private:
  const std::uint64_t devices_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point said_ = begun_;
};

int fill(const std::string& state_dir, std::uint64_t devices) {
  std::error_code failure;
  // Invented devices among real ones could not be told apart again.
  if (fs::exists(state_dir, failure) && (!fs::is_directory(state_dir, failure) || !fs::is_empty(state_dir, failure))) {
    return fail(kFailed, state_dir + " is not an empty folder: name a new one");
  }
  const auto store = RegistryStore::open(state_dir);
  if (!store) return fail(kFailed, store.error().what);
  if (const auto written = write_registry(**store, devices, Progress(devices)); !written) {
    return fail(kFailed, written.error().what);
  }
  return kDone;
}

}  // namespace
}  // namespace sallyport::bench

int main(int argc, char** argv) {
  using namespace sallyport::bench;
  if (argc == 1) return fill(sallyport::test::TempDir().path() + "/state", 10'000);
  if (argc != 3) return fail(kUsage, "usage: registry_fill STATE_DIR DEVICES");
  const std::uint64_t devices = devices_from(argv[2]);
  if (devices == 0) {
    return fail(kUsage, std::string("DEVICES must be a number from 1 to 1000000000, not ") + argv[2]);
  }
  return fill(argv[1], devices);
}
