#include "cache/registry_store.h"

#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "cache/registry_records.h"

namespace sallyport {

namespace {

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
constexpr std::array<const char*, 11> kFamilyNames = {"default", "devices", "certificates", "by_serial",
                                                      "by_ca",   "cas",     "chains",       "server_certs",
                                                      "tokens",  "audit",   "meta"};
constexpr std::string_view kSchemaKey = "schema";
constexpr std::string_view kMetaKey = "meta";
constexpr std::string_view kCodePrefix = "code:";

rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}
std::string_view view(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}
std::string_view view(const Digest& id) {
  return {reinterpret_cast<const char*>(id.data()), id.size()};
}

bool to_digest(std::string_view bytes, Digest& out) {
  if (bytes.size() != out.size()) return false;
  std::memcpy(out.data(), bytes.data(), out.size());
  return true;
}

std::string serial_prefix(std::string_view serial) {
  return std::string(1, static_cast<char>(serial.size())) + std::string(serial);
}

// Chain ids sort by number.
std::string chain_key(std::uint64_t id) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(id >> shift & 0xFF);
  return key;
}

Refusal unavailable(const std::string& what) {
  return {Refusal::Kind::Unavailable, what};
}
Refusal corrupt(const char* what) {
  return unavailable(std::string("the registry holds a ") + what + " that cannot be read: restore a backup");
}

}  // namespace

struct RegistryStore::Batch::Impl {
  rocksdb::WriteBatch batch;
};

RegistryStore::Batch::Batch() : impl_(std::make_unique<Impl>()) {}
RegistryStore::Batch::~Batch() = default;
bool RegistryStore::Batch::empty() const {
  return impl_->batch.Count() == 0;
}

class RegistryStore::Impl {
 public:
  ~Impl() {
    if (!db) return;
    for (rocksdb::ColumnFamilyHandle* handle : families) db->DestroyColumnFamilyHandle(handle);
    db->Close();
  }

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
  Answer<void> scan(Family family, std::string_view prefix, std::string_view after, Visit visit) const {
    rocksdb::ReadOptions options;
    options.readahead_size = prefix.empty() ? 512 * 1024 : 0;
    const std::unique_ptr<rocksdb::Iterator> at(db->NewIterator(options, families[family]));
    at->Seek(slice(std::max(prefix, after)));
    for (; at->Valid() && at->key().starts_with(slice(prefix)); at->Next()) {
      if (!after.empty() && view(at->key()) <= after) continue;
      if (!visit(view(at->key()), view(at->value()))) return {};
    }
    if (!at->status().ok()) return unavailable("the registry cannot be read: " + at->status().ToString());
    return {};
  }

  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
};

RegistryStore::RegistryStore() : impl_(std::make_unique<Impl>()) {}
RegistryStore::~RegistryStore() = default;

namespace {

rocksdb::DBOptions db_options(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_total_wal_size = 64 << 20;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 4 << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_open_files = 128;  // descriptors belong to connections
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  if (env != nullptr) options.env = env;
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> family_descriptors() {
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const char* name : kFamilyNames) {
    rocksdb::ColumnFamilyOptions options;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    options.compression = rocksdb::kLZ4Compression;
    descriptors.emplace_back(name, options);
  }
  return descriptors;
}

Refusal explain_open(const std::string& dir, const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (text.find("lock") != std::string::npos) {
    return unavailable("state_dir " + dir + " is in use by another process: is sallyport running already?");
  }
  if (status.IsCorruption())
    return unavailable("the registry in " + dir + " is damaged: restore a backup (" + text + ")");
  return unavailable("the registry in " + dir + " cannot be opened: " + text);
}

}  // namespace

Answer<std::unique_ptr<RegistryStore>> RegistryStore::open(const std::string& dir, rocksdb::Env* env) {
  std::error_code failure;
  std::filesystem::create_directories(dir, failure);
  if (failure) return unavailable("state_dir " + dir + " cannot be created: " + failure.message());
  if (::chmod(dir.c_str(), 0700) != 0) {
    return unavailable("state_dir " + dir + " cannot be made private: " + std::strerror(errno));
  }
  std::unique_ptr<RegistryStore> store(new RegistryStore);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(db_options(env), dir + "/registry", family_descriptors(), &store->impl_->families, &db);
  if (!status.ok()) return explain_open(dir, status);
  store->impl_->db.reset(db);

  std::string schema;
  rocksdb::ColumnFamilyHandle* meta = store->impl_->families[kMeta];
  if (db->Get(rocksdb::ReadOptions(), meta, slice(kSchemaKey), &schema).IsNotFound()) {
    rocksdb::WriteOptions write;
    write.sync = true;
    const rocksdb::Status put = db->Put(write, meta, slice(kSchemaKey), std::to_string(kSchema));
    if (!put.ok()) return unavailable("the registry in " + dir + " cannot be written: " + put.ToString());
  } else if (schema != std::to_string(kSchema)) {
    return unavailable("the registry in " + dir + " has schema " + schema + ", this sallyport reads schema " +
                       std::to_string(kSchema) + ": use the version that wrote it");
  }
  return store;
}

void RegistryStore::put_device(Batch& batch, const Digest& id, const DeviceRow& row) {
  batch.impl_->batch.Put(impl_->families[kDevices], slice(view(id)), records::encode(row));
}

void RegistryStore::put_device_text(Batch& batch, const Digest& id, const Digest& owner, const DeviceText& text) {
  batch.impl_->batch.Put(impl_->families[kCertificates], slice(view(id)), records::encode(text));
  batch.impl_->batch.Put(impl_->families[kBySerial], serial_prefix(text.serial) + std::string(view(id)), "");
  put_owner(batch, id, owner);
}

void RegistryStore::put_owner(Batch& batch, const Digest& id, const Digest& owner) {
  batch.impl_->batch.Put(impl_->families[kByCa], std::string(view(owner)) + std::string(view(id)), "");
}

void RegistryStore::remove_owner(Batch& batch, const Digest& id, const Digest& owner) {
  batch.impl_->batch.Delete(impl_->families[kByCa], std::string(view(owner)) + std::string(view(id)));
}

void RegistryStore::put_ca(Batch& batch, const Digest& id, const CaRow& row) {
  batch.impl_->batch.Put(impl_->families[kCas], slice(view(id)), records::encode(row));
}

void RegistryStore::put_chain(Batch& batch, std::uint64_t id, const ChainRow& row) {
  batch.impl_->batch.Put(impl_->families[kChains], chain_key(id), records::encode(row));
}

void RegistryStore::put_code(Batch& batch, const CodeRow& row) {
  batch.impl_->batch.Put(impl_->families[kMeta], std::string(kCodePrefix) + std::string(view(row.hash)),
                         records::encode(row));
}

void RegistryStore::put_meta(Batch& batch, const MetaRow& row) {
  batch.impl_->batch.Put(impl_->families[kMeta], slice(kMetaKey), records::encode(row));
}

Answer<void> RegistryStore::commit(Batch& batch, bool sync) {
  rocksdb::WriteOptions options;
  options.sync = sync;
  rocksdb::Status status = impl_->db->Write(options, &batch.impl_->batch);
  if (!status.ok()) {
    // After a background error RocksDB refuses every write until it is resumed, also when space is back.
    impl_->db->Resume();
    return unavailable("the registry cannot be written: " + status.ToString());
  }
  return {};
}

Answer<std::optional<DeviceRow>> RegistryStore::device(const Digest& id) const {
  return impl_->get<DeviceRow>(kDevices, view(id), "device");
}

Answer<std::optional<DeviceText>> RegistryStore::device_text(const Digest& id) const {
  return impl_->get<DeviceText>(kCertificates, view(id), "certificate");
}

Answer<MetaRow> RegistryStore::meta() const {
  const auto row = impl_->get<MetaRow>(kMeta, kMetaKey, "meta record");
  if (!row) return row.error();
  return row->value_or(MetaRow{});
}

Answer<void> RegistryStore::each_ca(const std::function<bool(const Digest&, const CaRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kCas, "", "", [&](std::string_view key, std::string_view value) {
    Digest id{};
    CaRow ca;
    good = to_digest(key, id) && records::decode(value, ca);
    return good && row(id, ca);
  });
  return good ? done : corrupt("CA");
}

Answer<void> RegistryStore::each_chain(const std::function<bool(std::uint64_t, const ChainRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kChains, "", "", [&](std::string_view key, std::string_view value) {
    std::uint64_t id = 0;
    for (const char c : key) id = id << 8 | static_cast<unsigned char>(c);
    ChainRow chain;
    good = key.size() == 8 && records::decode(value, chain);
    return good && row(id, chain);
  });
  return good ? done : corrupt("chain");
}

Answer<void> RegistryStore::each_code(const std::function<bool(const CodeRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kMeta, kCodePrefix, "", [&](std::string_view, std::string_view value) {
    CodeRow code;
    good = records::decode(value, code);
    return good && row(code);
  });
  return good ? done : corrupt("registration code");
}

Answer<void> RegistryStore::each_device(std::string_view prefix, std::string_view after,
                                        const std::function<bool(const Digest&, const DeviceRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kDevices, prefix, after, [&](std::string_view key, std::string_view value) {
    Digest id{};
    DeviceRow device;
    good = to_digest(key, id) && records::decode(value, device);
    return good && row(id, device);
  });
  return good ? done : corrupt("device");
}

namespace {

// The ids behind an index: the key is `prefix` and then the id.
template <class Store, class Row>
Answer<void> each_indexed(const Store& store, Family family, const std::string& prefix, std::string_view after,
                          const Row& row) {
  bool good = true;
  const std::string above = after.empty() ? std::string() : prefix + std::string(after);
  const auto done = store.scan(family, prefix, above, [&](std::string_view key, std::string_view) {
    Digest id{};
    good = to_digest(key.substr(prefix.size()), id);
    return good && row(id);
  });
  return good ? done : corrupt("index entry");
}

}  // namespace

Answer<void> RegistryStore::each_id_of_ca(const Digest& owner, std::string_view after,
                                          const std::function<bool(const Digest&)>& row) const {
  return each_indexed(*impl_, kByCa, std::string(view(owner)), after, row);
}

Answer<void> RegistryStore::each_id_of_serial(std::string_view serial, std::string_view after,
                                              const std::function<bool(const Digest&)>& row) const {
  return each_indexed(*impl_, kBySerial, serial_prefix(serial), after, row);
}

}  // namespace sallyport
