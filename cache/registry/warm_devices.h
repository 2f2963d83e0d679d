// The devices of the whole registry, read into the status cache at the start by several threads.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "cache/base/result.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"

namespace sallyport {

// What the devices come to.
struct DeviceTally {
  struct OfChain {
    std::array<std::uint64_t, 5> by_status{};
    std::uint64_t held_unseen = 0;  // serials that a CRL put on hold and nobody has shown
  };
  std::unordered_map<std::uint64_t, OfChain> by_chain;
  std::unordered_map<std::int64_t, std::uint64_t> by_last_day;  // days since 1970 of notAfter, of those not revoked

  void add(const DeviceTally& other);
};

// As many threads as the process may use, and no more than are of use.
unsigned warm_threads();

// Fills `cache`, which nobody else uses meanwhile, with what `store` holds at `now` (Unix seconds) by `threads`
// threads, the caller's among them. Devices whose chain is forgotten are left out unless they are revoked. The first
// part that cannot be read ends it, and is the refusal.
Answer<DeviceTally> warm_devices(const RegistryStore& store, const ChainTable& chains, StatusCache& cache,
                                 std::int64_t now, unsigned threads);

}  // namespace sallyport
