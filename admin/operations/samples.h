// What a console draws: a sample of the counters every five seconds, and an hour of them. A ring of fixed size, about
// 220 bytes a sample and 24 for each upstream in it: 0.2 MB. Counters are added up over the shards, which notice
// nothing of it. The main thread takes the samples, any thread reads them.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "admin/operations/objects.h"
#include "cache/registry/registrar.h"
#include "proxy/data_plane.h"

namespace sallyport {

class Samples {
 public:
  static constexpr std::chrono::seconds kEvery{5};
  static constexpr std::size_t kMost = 720;  // an hour

  Samples(const DataPlane& plane, const Registrar& registrar) : plane_(plane), registrar_(registrar) {}

  // As often as anybody likes: one is taken when its time has come. `now` in Unix seconds.
  void look(std::chrono::steady_clock::time_point at, std::int64_t now);
  Json since(std::int64_t from) const;  // the oldest first

 private:
  // Of counters, what they had grown to.
  struct Totals {
    std::array<std::uint64_t, kHandshakeKindNames.size()> handshakes{};
    std::array<std::uint64_t, kReasonCount> rejections{};
    std::uint64_t to_broker = 0, to_client = 0, registrations = 0, ended = 0;
  };
  struct Upstream {
    std::uint32_t up = 0, servers = 0;
    std::uint64_t sessions = 0;
  };
  struct Sample {
    std::int64_t at = 0;
    double seconds = 0;  // since the one before
    std::uint64_t sessions = 0;
    // What came in that time.
    std::array<std::uint32_t, kHandshakeKindNames.size()> handshakes{};
    std::array<std::uint32_t, kReasonCount> rejections{};
    std::uint64_t to_broker = 0, to_client = 0;
    std::uint32_t registrations = 0, ended = 0;
    std::vector<Upstream> upstreams;  // in the order of the configuration
  };
  Totals totals() const;
  static Sample grown(const Totals& from, const Totals& to);
  Json to_json(const Sample& sample, const std::vector<std::string>& upstreams) const;

  const DataPlane& plane_;
  const Registrar& registrar_;
  Totals last_;  // the main thread's, as the next
  std::chrono::steady_clock::time_point last_at_{};
  mutable std::mutex mutex_;
  std::deque<Sample> samples_;
  std::vector<std::string> upstream_names_;
};

}  // namespace sallyport
