// How many sessions each certificate has at a listener: what max_sessions_per_device is held against once its key is
// proven. One belongs to each listener and is shared by the shards. Any thread: a device belongs to one of many
// stripes, each under a lock of its own that is held for a look-up. It remembers those with a session now and nobody
// else.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "cache/x509/certificate.h"
#include "proxy/session/session_host.h"

namespace sallyport {

class DeviceSessions {
 public:
  // Beyond the limit so many may stay until their CONNECT is there, to be told why: none of them reaches the broker.
  static constexpr std::uint32_t kToBeTold = 16;

  DeviceSessions() = default;
  DeviceSessions(const DeviceSessions&) = delete;
  DeviceSessions& operator=(const DeviceSessions&) = delete;

  // `most` 0: no limit; counted all the same, for one may be set while they are open. What is not Refused counts until
  // leave().
  DevicePlace enter(const Digest& device, std::uint64_t most);
  void leave(const Digest& device, DevicePlace place);
  std::size_t devices() const;  // that have a session, or one that is to be told

 private:
  struct Entry {
    std::uint32_t sessions = 0, to_be_told = 0;
  };
  struct Stripe {
    mutable std::mutex mutex;
    // By the first 8 bytes of the SHA-256: who can make two certificates meet there (2^32 tries, with a CA's
    // key) shares a limit with himself; to meet a given one takes 2^64.
    std::unordered_map<std::uint64_t, Entry> entries;
  };
  static constexpr std::size_t kStripes = 64;
  Stripe& stripe_of(std::uint64_t key) { return stripes_[key % kStripes]; }

  std::array<Stripe, kStripes> stripes_;
};

}  // namespace sallyport
