// How many sessions each certificate has at a listener: what max_sessions_per_device is held against once its key is
// proven. One belongs to each listener and is shared by the shards. Any thread: a device belongs to one of many
// stripes, each under a lock of its own that is held for a look-up. It remembers those with a session now and nobody
// else.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/crypto/siphash.h"
#include "cache/x509/certificate.h"
#include "proxy/session/session_host.h"
#include "proxy/shard/address_limits.h"

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
  // A session with a place, at its CONNECT: whether the device has one from another address (of IPv6: another /64) or
  // with another client id. Not counted where it is and `refuse` is set. Compared as 32-bit hashes under a secret: two
  // differ unnoticed once in 2^32.
  bool use(const Digest& device, const sockaddr_storage& peer, std::string_view client_id, bool refuse, DeviceUse& use);
  void unuse(const Digest& device, const DeviceUse& use);
  bool cloned(const Digest& device);  // it has sessions that differ, now
  std::size_t devices() const;        // that have a session, or one that is to be told

 private:
  struct Counted {
    DeviceUse use;
    std::uint32_t sessions = 0;
  };
  struct Entry {
    std::uint32_t sessions = 0, to_be_told = 0;
    Counted first;                                 // nearly every device has this alone
    std::unique_ptr<std::vector<Counted>> others;  // clones: as many as it has sessions at most
  };
  struct Stripe {
    mutable std::mutex mutex;
    std::uint64_t uses = 0;  // so far; a device's are all of one stripe
    // By the first 8 bytes of the SHA-256: who can make two certificates meet there (2^32 tries, with a CA's
    // key) shares a limit with himself; to meet a given one takes 2^64.
    std::unordered_map<std::uint64_t, Entry> entries;
  };
  static constexpr std::size_t kStripes = 64;
  Stripe& stripe_of(std::uint64_t key) { return stripes_[key % kStripes]; }

  const SipHash hash_ = secret_hash();
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace sallyport
