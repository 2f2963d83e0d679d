// Online copies of the store, and a look into one without writing to it.
#include <rocksdb/utilities/checkpoint.h>

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

Answer<void> RegistryStore::checkpoint(const std::string& dir) const {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(impl_->db.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(dir);
  if (!status.ok()) return unavailable("the backup in " + dir + " cannot be written: " + status.ToString());
  return {};
}

Answer<MetaRow> RegistryStore::inspect(const std::string& dir) {
  std::unique_ptr<RegistryStore> store(new RegistryStore);
  rocksdb::DBOptions options = db_options(nullptr);
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(options, dir, family_descriptors(), &store->impl_->families, &db);
  if (!status.ok()) return unavailable("the registry in " + dir + " cannot be opened: " + status.ToString());
  store->impl_->db.reset(db);
  std::string schema;
  if (!db->Get(rocksdb::ReadOptions(), store->impl_->families[kMeta], slice(kSchemaKey), &schema).ok() ||
      schema != std::to_string(kSchema)) {
    return unavailable("the registry in " + dir + " has schema '" + schema + "', this sallyport reads schema " +
                       std::to_string(kSchema));
  }
  return store->meta();
}

}  // namespace sallyport
