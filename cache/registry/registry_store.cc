#include "cache/registry/registry_store.h"

#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <sys/stat.h>

#include <filesystem>

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

RegistryStore::Batch::Batch() : impl_(std::make_unique<Impl>()) {}
RegistryStore::Batch::~Batch() = default;
bool RegistryStore::Batch::empty() const {
  return impl_->batch.Count() == 0;
}

RegistryStore::RegistryStore() : impl_(std::make_unique<Impl>()) {}
RegistryStore::~RegistryStore() = default;

constexpr std::uint64_t kMostLog = 64 << 20;

rocksdb::DBOptions db_options(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_total_wal_size = kMostLog;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 4 << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  // One thread writes: it has nobody to wait for by spinning.
  options.enable_write_thread_adaptive_yield = false;
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

namespace {

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
  if (failure)
    return unavailable("state_dir " + dir + " cannot be created: " + failure.message() +
                       ": make it for this user, or choose another state_dir");
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
  } else if (schema == "1") {
    // Its rows are read as they are; what an older program does not know must not be opened by it again.
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

void RegistryStore::remove_device(Batch& batch, const Digest& id, const Digest& owner, std::string_view serial) {
  batch.impl_->batch.Delete(impl_->families[kDevices], slice(view(id)));
  batch.impl_->batch.Delete(impl_->families[kCertificates], slice(view(id)));
  batch.impl_->batch.Delete(impl_->families[kBySerial], serial_prefix(serial) + std::string(view(id)));
  remove_owner(batch, id, owner);
}

void RegistryStore::put_owner(Batch& batch, const Digest& id, const Digest& owner) {
  batch.impl_->batch.Put(impl_->families[kByCa], std::string(view(owner)) + std::string(view(id)), "");
}

void RegistryStore::remove_owner(Batch& batch, const Digest& id, const Digest& owner) {
  batch.impl_->batch.Delete(impl_->families[kByCa], std::string(view(owner)) + std::string(view(id)));
}

// RocksDB must not find the disk full: Debian's is built with its assertions, and after a write to the log that failed
// one of them ends the process (WritableFileWriter, when it resumes). So there is always room for the log, and for the
// tables that it becomes.
Answer<void> RegistryStore::has_room() const {
  constexpr std::uint64_t kRoom = 2 * kMostLog;
  std::uint64_t bytes = 0;
  const std::string& path = impl_->db->GetName();
  if (!impl_->db->GetEnv()->GetFreeSpace(path, &bytes).ok() || bytes >= kRoom) return {};
  return unavailable("the registry cannot be written: No space left on device, or nearly none: " + path + " needs " +
                     std::to_string(kRoom >> 20) + " MiB free and has " + std::to_string(bytes >> 20));
}

Answer<void> RegistryStore::commit(Batch& batch, bool sync) {
  if (auto room = has_room(); !room) return room;
  rocksdb::WriteOptions options;
  options.sync = sync;
  rocksdb::Status status = impl_->db->Write(options, &batch.impl_->batch);
  // After a background error RocksDB refuses every write until it is resumed, also when space is back.
  if (!status.ok() && impl_->db->Resume().ok()) status = impl_->db->Write(options, &batch.impl_->batch);
  if (!status.ok()) {
    return unavailable("the registry cannot be written: " + status.ToString());
  }
  return {};
}

Answer<void> RegistryStore::flush() {
  if (auto room = has_room(); !room) return room;
  const rocksdb::Status status = impl_->db->Flush(rocksdb::FlushOptions(), impl_->families);
  if (!status.ok()) return unavailable("the registry's log stays to be replayed: " + status.ToString());
  return {};
}

Answer<std::optional<DeviceRow>> RegistryStore::device(const Digest& id) const {
  return impl_->get<DeviceRow>(kDevices, view(id), "device");
}

Answer<std::optional<DeviceText>> RegistryStore::device_text(const Digest& id) const {
  return impl_->get<DeviceText>(kCertificates, view(id), "certificate");
}

namespace {

template <class Store, class Visit>
Answer<void> each_device_row(const Store& store, std::string_view prefix, std::string_view after,
                             const rocksdb::ReadOptions& options, const Visit& row) {
  bool good = true;
  const auto take = [&](std::string_view key, std::string_view value) {
    Digest id{};
    DeviceRow device;
    good = to_digest(key, id) && records::decode(value, device);
    return good && row(id, device);
  };
  const auto done = store.scan(kDevices, prefix, after, take, options);
  return good ? done : corrupt("device");
}

}  // namespace

Answer<void> RegistryStore::each_device(std::string_view prefix, std::string_view after,
                                        const std::function<bool(const Digest&, const DeviceRow&)>& row) const {
  return each_device_row(*impl_, prefix, after, {}, row);
}

Answer<void> RegistryStore::each_device_of_part(std::uint8_t first,
                                                const std::function<bool(const Digest&, const DeviceRow&)>& row) const {
  rocksdb::ReadOptions options;
  options.readahead_size = 512 * 1024;
  options.fill_cache = false;  // what is read once has no place in it
  return each_device_row(*impl_, std::string(1, static_cast<char>(first)), "", options, row);
}

std::uint64_t RegistryStore::device_rows() const {
  std::uint64_t rows = 0;
  impl_->db->GetIntProperty(impl_->families[kDevices], rocksdb::DB::Properties::kEstimateNumKeys, &rows);
  return rows;
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
