// The chains devices were verified through: chain id -> owner, issuing key, intermediates, and whether it
// is alive now. Append-only: an id is never reused, a record never moves; but where a shared registry turns out to
// have another history, a record is replaced and the old one kept for who still reads it. One writer (the registrar),
// any readers without locks: a record is complete before it is published.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/standing/ca_set.h"
#include "cache/x509/certificate.h"
#include "cache/x509/issuer_serial.h"

namespace sallyport {

struct ChainRecord {
  std::vector<Digest> cas;            // registered CAs when it was made: the owner first, then upwards
  std::vector<Digest> intermediates;  // sent by the client, from the leaf upwards
  Digest issuing_key{};               // the key that signed the device's certificate
  Window intermediate_dates;          // what the client-sent certificates allow
  bool crl = false;                   // of serials that a CRL named and nobody has shown: no device's own chain
  // Each intermediate as its issuer numbers it: what a revocation of it is found by; and what a CA that was
  // registered since is found by.
  struct Named {
    IssuerSerial name{};
    Digest issuing_key{};
    std::string subject_name;
    Digest spki{};
    std::string serial;
  };
  std::vector<Named> intermediate_names;
  // None, or why a CA registered since with the name and key of an intermediate lets nobody in.
  Reason standing_between(const CaSet& set, std::int64_t now) const;
};

// The key that signed a device's certificate: the nearest intermediate's, or else its owner's.
inline const Digest& issuing_key_of(const std::vector<Certificate>& intermediates, const Digest& owner_key) {
  return intermediates.empty() ? owner_key : intermediates.front().spki_hash();
}

class ChainTable {
 public:
  ChainTable() = default;
  ~ChainTable();
  ChainTable(const ChainTable&) = delete;
  ChainTable& operator=(const ChainTable&) = delete;

  static constexpr std::uint64_t kMostChains = std::uint64_t{4096} * 1024;

  // Any thread. Null for an id that was never added.
  const ChainRecord* record(std::uint64_t id) const;
  // Every CA in it active and present, every intermediate unrevoked, and `now` inside its dates.
  bool alive(std::uint64_t id, std::int64_t now) const;
  // The epoch in which it was alive no more, the last time: StatusCache::epoch(). 0: always since the start.
  std::uint32_t epoch(std::uint64_t id) const;
  // Its CA was deleted: devices verified through it are registered no more, unless they are revoked.
  bool forgotten(std::uint64_t id) const;

  // The writer. False: the id is out of range, or taken.
  bool add(std::uint64_t id, ChainRecord record);
  // Another chain under an id that is taken: not alive until set(), and no ticket through the one before is worth
  // anything.
  void replace(std::uint64_t id, ChainRecord record, std::uint32_t epoch);
  // A chain that is not alive has no window; `epoch` is the one in which it lost it, where it has none now.
  void set(std::uint64_t id, std::optional<Window> window, std::uint32_t epoch);
  bool has_window(std::uint64_t id) const;
  // Every ticket of an older epoch through it is worth nothing; for all there are.
  void end_epoch_of_all(std::uint32_t epoch);
  void forget(std::uint64_t id, std::uint32_t epoch);  // for ever
  const std::vector<std::uint64_t>& ids() const { return ids_; }

 private:
  struct Entry {
    std::atomic<const ChainRecord*> record{nullptr};
    std::atomic<bool> forgotten{false};
    std::atomic<std::uint32_t> epoch{0};
    std::atomic<std::int64_t> not_before{INT64_MAX}, not_after{INT64_MIN};
  };
  static constexpr std::size_t kChunk = 1024;
  using Chunk = std::array<Entry, kChunk>;

  const Entry* entry(std::uint64_t id) const;

  std::array<std::atomic<Chunk*>, kMostChains / kChunk> chunks_{};
  std::vector<std::unique_ptr<const ChainRecord>> records_;  // the writer's
  std::vector<std::uint64_t> ids_;                           // the writer's
};

}  // namespace sallyport
