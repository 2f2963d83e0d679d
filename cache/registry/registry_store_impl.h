// The store's inside, shared by registry_store_open.cc (opening), registry_store.cc (committing, devices),
// registry_store_rows.cc (the small records) and registry_store_copy.cc (checkpoints). Nobody else includes it, or
// RocksDB.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "cache/registry/registry_records.h"
#include "cache/registry/registry_store.h"
#include "cache/registry/revision_mark.h"

namespace sallyport {

enum Family : std::size_t {
  kDefault,
  kDevices,
  kCertificates,
  kBySerial,
  kByCa,
  kCas,
  kChains,
  kServerCerts,
  kTokens,
  kAudit,
  kMeta
};
inline constexpr std::array<const char*, 11> kFamilyNames = {"default", "devices", "certificates", "by_serial",
                                                             "by_ca",   "cas",     "chains",       "server_certs",
                                                             "tokens",  "audit",   "meta"};
inline constexpr std::string_view kSchemaKey = "schema";
// In the schema's place while rows of two schemas stand beside each other: a version that does not know it must not
// open the registry, and says these words.
inline constexpr std::string_view kMigrating = "on its way to 3";
inline constexpr std::string_view kMetaKey = "meta";
inline constexpr std::string_view kStoreIdKey = "store_id";
// Of this node alone, where the registry is shared.
inline constexpr std::string_view kPositionKey = "shared-position";
inline constexpr std::string_view kResyncKey = "shared-resync";
inline constexpr std::string_view kOutboxPrefix = "outbox:";

inline rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view view(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}
template <std::size_t kBytes>
std::string_view view(const std::array<std::uint8_t, kBytes>& id) {
  return {reinterpret_cast<const char*>(id.data()), id.size()};
}

inline bool to_digest(std::string_view bytes, Digest& out) {
  if (bytes.size() != out.size()) return false;
  std::memcpy(out.data(), bytes.data(), out.size());
  return true;
}

// RFC 5280 has 20 at most; 128 are taken, and one that marks a negative number.
inline constexpr std::size_t kMostSerialBytes = 129;

inline std::string serial_prefix(std::string_view serial) {
  return std::string(1, static_cast<char>(serial.size())) + std::string(serial);
}

// Keys that sort by number.
inline std::string number_key(std::uint64_t id) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(id >> shift & 0xFF);
  return key;
}

inline Refusal unavailable(const std::string& what) {
  return {Refusal::Kind::Unavailable, what};
}
inline Refusal corrupt(const char* what) {
  return unavailable(std::string("the registry holds a ") + what + " that cannot be read: restore a backup");
}

struct RegistryStore::Batch::Impl {
  rocksdb::WriteBatch batch;
  std::uint64_t revision = 0;  // 0: it has none
};

class RegistryStore::Impl {
 public:
  ~Impl() { close(); }

  template <class Row>
  Answer<std::optional<Row>> get(Family family, std::string_view key, const char* what) const {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), families[family], slice(key), &value);
    if (status.IsNotFound()) return std::optional<Row>();
    if (!status.ok()) return unavailable("the registry cannot be read: " + status.ToString());
    Row row;
    if (!records::decode(view(value), row)) return corrupt(what);
    return std::optional<Row>(std::move(row));
  }

  // Calls `visit(key, value)` for keys with `prefix` that are above `after`, until it returns false.
  template <class Visit>
  Answer<void> scan(Family family, std::string_view prefix, std::string_view after, Visit visit,
                    rocksdb::ReadOptions options = {}) const {
    const std::unique_ptr<rocksdb::Iterator> at(db->NewIterator(options, families[family]));
    at->Seek(slice(std::max(prefix, after)));
    for (; at->Valid() && at->key().starts_with(slice(prefix)); at->Next()) {
      if (!after.empty() && view(at->key()) <= after) continue;
      if (!visit(view(at->key()), view(at->value()))) return {};
    }
    if (!at->status().ok()) return unavailable("the registry cannot be read: " + at->status().ToString());
    return {};
  }

  // registry_store_open.cc. `folder` is RocksDB's, and in one that is opened to read nothing is written.
  rocksdb::Status open(const std::string& folder, rocksdb::Env* env, rocksdb::WALRecoveryMode mode);
  rocksdb::Status open_to_read(const std::string& folder, rocksdb::Env* env = nullptr);
  // None: a registry that was written by a version without a mark.
  Answer<std::optional<StoreId>> store_id() const;
  Answer<std::uint64_t> revision() const;
  Answer<void> check_schema(const std::string& dir) const;
  Answer<void> settle_schema(const std::string& dir, const Tell& tell);
  // registry_store_migrate.cc
  Answer<void> migrate_names(const Tell& tell);
  // registry_store.cc
  Answer<void> has_room() const;
  Answer<void> settle_mark(const std::string& dir, const std::optional<RevisionMark::Content>& answered);
  Answer<void> write_loss(const std::string& dir);

  void close() {
    if (!db) return;
    for (rocksdb::ColumnFamilyHandle* handle : families) db->DestroyColumnFamilyHandle(handle);
    families.clear();
    db->Close();
    db.reset();
  }

  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  RevisionMark mark;
  std::string mark_trouble;
  std::optional<StoreLoss> loss;
  bool tail_dropped = false;
  std::atomic<bool> epochs_shared{false};  // of devices, by the nodes of a shared registry
};

inline constexpr std::uint64_t kMostLog = 64 << 20;  // bytes of RocksDB's log, until it becomes tables
std::string mark_path(const std::string& dir);

}  // namespace sallyport
