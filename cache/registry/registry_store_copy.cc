// Online copies of the store, and a look into one without writing to it.
#include <rocksdb/utilities/checkpoint.h>

#include <filesystem>

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

namespace {

// What a backup writes into a disk besides its tables, which are linked or copied: a list of files, and the log.
// ext4 counts up to 16 MiB as free that nobody can have.
constexpr std::uint64_t kLeastHere = 32 << 20, kLeastThere = 2 * kMostLog;

Answer<void> room_on(rocksdb::Env& env, const std::string& path, std::uint64_t least, const std::string& backup) {
  std::filesystem::path there = std::filesystem::absolute(path);
  std::error_code failure;
  while (there.has_parent_path() && there != there.parent_path() && !std::filesystem::exists(there, failure)) {
    there = there.parent_path();
  }
  std::uint64_t bytes = 0;
  if (!env.GetFreeSpace(there.string(), &bytes).ok() || bytes >= least) return {};
  return unavailable("the backup in " + backup +
                     " cannot be written: No space left on device, or nearly none: " + there.string() + " needs " +
                     std::to_string(least >> 20) + " MiB free and has " + std::to_string(bytes >> 20));
}

}  // namespace

// Debian's RocksDB asserts, and ends the process, where something is written after a write had failed: so nothing is
// begun on a full disk. Of a registry whose own disk is nearly full the log is copied as it is.
Answer<void> RegistryStore::checkpoint(const std::string& dir) const {
  rocksdb::Env& env = *impl_->db->GetEnv();
  if (auto room = room_on(env, dir, kLeastThere, dir); !room) return room;
  if (auto room = room_on(env, impl_->db->GetName(), kLeastHere, dir); !room) return room;
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(impl_->db.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(dir, impl_->has_room() ? 0 : UINT64_MAX);
  if (!status.ok()) return unavailable("the backup in " + dir + " cannot be written: " + status.ToString());
  return {};
}

Answer<MetaRow> RegistryStore::inspect(const std::string& dir) {
  std::unique_ptr<RegistryStore> store(new RegistryStore);
  const rocksdb::Status status = store->impl_->open_to_read(dir);
  if (!status.ok()) return unavailable("the registry in " + dir + " cannot be opened: " + status.ToString());
  if (auto older = store->older_schema(); !older) return unavailable("there is no registry in " + dir);
  if (auto known = store->impl_->check_schema(dir); !known) return known.error();
  return store->meta();
}

Answer<std::unique_ptr<RegistryStore>> RegistryStore::open_to_read(const std::string& folder) {
  std::unique_ptr<RegistryStore> store(new RegistryStore);
  const rocksdb::Status status = store->impl_->open_to_read(folder);
  if (!status.ok()) return unavailable("the registry in " + folder + " cannot be opened: " + status.ToString());
  return store;
}

Answer<bool> RegistryStore::older_schema() const {
  std::string schema;
  const auto read = impl_->db->Get(rocksdb::ReadOptions(), impl_->families[kMeta], slice(kSchemaKey), &schema);
  if (!read.ok()) return unavailable("the registry cannot be read: " + read.ToString());
  return schema != std::to_string(kSchema);
}

Answer<void> RegistryStore::migrate_names(const Tell& tell) {
  return impl_->migrate_names(tell);
}

Answer<void> RegistryStore::mark_restored(const std::string& dir) {
  Impl copy;
  if (const auto status = copy.open_to_read(dir + "/registry"); !status.ok()) {
    return unavailable("the registry in " + dir + " cannot be opened: " + status.ToString());
  }
  const auto id = copy.store_id();
  if (!id) return id.error();
  if (!*id) return {};  // of a version that kept no mark: the first open() makes one
  const auto meta = copy.get<MetaRow>(kMeta, kMetaKey, "meta record");
  if (!meta) return meta.error();
  const auto made = RevisionMark::make(mark_path(dir), {**id, *meta ? (*meta)->revision : 0});
  return made ? Answer<void>() : made.error();
}

}  // namespace sallyport
