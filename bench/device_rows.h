// Synthetic known devices, as a server's registry holds them after they connected: the rows that a start reads, in the
// order of chance in which devices connect. No certificates: what only a list or a page reads is left out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <string>

#include "bench/scale.h"
#include "cache/registry/registry_store.h"
#include "tests/cache/test_pki.h"

namespace sallyport::bench {

// A few CAs' worth of chains, which the devices share.
inline Answer<void> write_cas(RegistryStore& store, std::uint64_t chains) {
  RegistryStore::Batch batch;
  for (std::uint64_t chain = 1; chain <= chains; ++chain) {
    const Certificate ca = test::make_ca("CA " + std::to_string(chain)).certificate;
    store.put_ca(batch, ca.fingerprint(), {.registered_at = std::time(nullptr), .der = ca.der()});
    store.put_chain(batch, chain, {.cas = {ca.fingerprint()}, .issuing_key = ca.spki_hash()});
  }
  store.put_meta(batch, {.revision = 1, .next_chain = chains + 1});
  return store.commit(batch, Durable::Synced);
}

inline DeviceRow device_row(std::uint64_t device, std::uint64_t chains, std::int64_t now) {
  DeviceRow row;
  row.seen_day = 20'000;
  row.chain = 1 + device % chains;
  row.not_before = row.registered_at = now;
  row.not_after = now + static_cast<std::int64_t>(365 + device % 3650) * 86400;
  row.name = scattered<IssuerSerial>(~device);
  return row;
}

// Writes the devices into a store that is new. `progress` is called now and then with how many are written; what is
// written is durable on return.
template <class Progress>
Answer<void> write_registry(RegistryStore& store, std::uint64_t devices, Progress progress) {
  constexpr std::uint64_t kChains = 8;
  constexpr std::uint64_t kBatch = 10'000;
  if (auto written = write_cas(store, kChains); !written) return written;
  const std::int64_t now = std::time(nullptr);
  for (std::uint64_t first = 0; first < devices; first += kBatch) {
    const std::uint64_t end = std::min(first + kBatch, devices);
    RegistryStore::Batch batch;
    for (std::uint64_t device = first; device < end; ++device) {
      store.put_device(batch, scattered<Digest>(device), device_row(device, kChains, now));
    }
    if (auto written = store.commit(batch, end == devices ? Durable::Synced : Durable::Later); !written) return written;
    progress(end);
  }
  return {};
}

}  // namespace sallyport::bench
