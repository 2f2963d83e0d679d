// Opening the store: nothing that was answered may be missing. RocksDB by itself drops what follows a damaged byte of
// its log, in silence. So its log must be whole at first; where it is not, what can still be read is looked at without
// changing anything, and compared with the mark.
#include <openssl/rand.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

namespace {

namespace fs = std::filesystem;

constexpr const char* kWhatToDo =
    "restore a backup, or start once with `serve --accept-loss`: it keeps what can be read and says so in the audit "
    "log";

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
  options.max_open_files = RegistryStore::kMostTables;  // descriptors belong to connections
  options.track_and_verify_wals_in_manifest = true;     // a log that is gone, or shorter than it was synced, is a fault
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

Refusal cannot_write(const std::string& dir, const rocksdb::Status& status) {
  return unavailable("the registry in " + dir + " cannot be written: " + status.ToString());
}

Refusal explain_open(const std::string& dir, const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (status.IsCorruption()) {
    return unavailable("the registry in " + dir + " is damaged: restore a backup (" + text + ")");
  }
  if (text.find("/LOCK") != std::string::npos) {
    return unavailable("state_dir " + dir +
                       " is in use by another process: a Sallyport that runs, or one that drains, which "
                       "takes up to proxy.drain_delay and proxy.drain");
  }
  return unavailable("the registry in " + dir + " cannot be opened: " + text);
}

Answer<void> make_private_folder(const std::string& dir) {
  std::error_code failure;
  fs::create_directories(dir, failure);
  if (failure)
    return unavailable("state_dir " + dir + " cannot be created: " + failure.message() +
                       ": make it for this user, or choose another state_dir");
  if (::chmod(dir.c_str(), 0700) != 0) {
    return unavailable("state_dir " + dir + " cannot be made private: " + std::strerror(errno));
  }
  return {};
}

// RocksDB's logs, newest last: what was written last is in them.
std::string logs_in(const std::string& folder) {
  std::vector<std::string> logs;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    if (entry.path().extension() == ".log") logs.push_back(entry.path().string());
  }
  std::sort(logs.begin(), logs.end());
  std::string text;
  for (const std::string& log : logs) text += (text.empty() ? "" : ", ") + log;
  return text.empty() ? "no log" : text;
}

// What this version opens: each schema there was, and one that a start was cut short in bringing to the present one.
bool is_readable(std::string_view schema) {
  return schema == "1" || schema == "2" || schema == std::to_string(RegistryStore::kSchema) || schema == kMigrating;
}

std::string lost(const std::string& dir, std::uint64_t found, std::uint64_t answered) {
  return "the registry in " + dir + " has lost changes: revision " + std::to_string(answered) +
         " was answered as durable, and what can be read ends with revision " + std::to_string(found) + " (" +
         logs_in(dir + "/registry") + "). What was revoked or deactivated in between would be let in again";
}

// Opening makes tables of what the log holds. Debian's RocksDB asserts, and ends the process, where that fails
// half-way.
rocksdb::Status room_to_open(const std::string& folder, rocksdb::Env* env) {
  constexpr std::uint64_t kBesides = 32 << 20;  // its other files, and what ext4 keeps for itself
  std::uint64_t needed = kBesides, bytes = 0;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    if (entry.path().extension() == ".log") needed += entry.file_size(failure);
  }
  const std::string there = fs::exists(folder, failure) ? folder : fs::path(folder).parent_path().string();
  if (!(env != nullptr ? env : rocksdb::Env::Default())->GetFreeSpace(there, &bytes).ok() || bytes >= needed) {
    return rocksdb::Status::OK();
  }
  return rocksdb::Status::NoSpace(there + " needs " + std::to_string(needed >> 20) + " MiB free and has " +
                                  std::to_string(bytes >> 20));
}

}  // namespace

std::string mark_path(const std::string& dir) {
  return dir + "/registry.mark";
}

rocksdb::Status RegistryStore::Impl::open(const std::string& folder, rocksdb::Env* env, rocksdb::WALRecoveryMode mode) {
  if (rocksdb::Status room = room_to_open(folder, env); !room.ok()) return room;
  rocksdb::DBOptions options = db_options(env);
  options.wal_recovery_mode = mode;
  // Verified where the log must be whole; to keep what can be read is to do without.
  if (mode == rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords) options.track_and_verify_wals_in_manifest = false;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, folder, family_descriptors(), &families, &opened);
  if (status.ok()) db.reset(opened);
  return status;
}

rocksdb::Status RegistryStore::Impl::open_to_read(const std::string& folder, rocksdb::Env* env) {
  rocksdb::DBOptions options = db_options(env);
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(options, folder, family_descriptors(), &families, &opened);
  if (status.ok()) db.reset(opened);
  return status;
}

Answer<std::optional<StoreId>> RegistryStore::Impl::store_id() const {
  std::string text;
  const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), families[kMeta], slice(kStoreIdKey), &text);
  if (status.IsNotFound()) return std::optional<StoreId>();
  if (!status.ok()) return unavailable("the registry cannot be read: " + status.ToString());
  StoreId id{};
  if (text.size() != id.size()) return corrupt("store id");
  std::memcpy(id.data(), text.data(), id.size());
  return std::optional<StoreId>(id);
}

Answer<std::uint64_t> RegistryStore::Impl::revision() const {
  const auto row = get<MetaRow>(kMeta, kMetaKey, "meta record");
  if (!row) return row.error();
  return *row ? (*row)->revision : 0;
}

Answer<void> RegistryStore::Impl::check_schema(const std::string& dir) const {
  std::string schema;
  const rocksdb::Status read = db->Get(rocksdb::ReadOptions(), families[kMeta], slice(kSchemaKey), &schema);
  if (!read.ok() && !read.IsNotFound()) return explain_open(dir, read);
  if (read.IsNotFound() || is_readable(schema)) return {};
  return unavailable("the registry in " + dir + " has schema " + schema + ", this sallyport reads schema " +
                     std::to_string(kSchema) + ": use the version that wrote it");
}

// Before schema 3 names were kept as they came. An older program must not open what it does not know, nor what is half
// done.
Answer<void> RegistryStore::Impl::settle_schema(const std::string& dir, const Tell& tell) {
  std::string schema;
  const std::string ours = std::to_string(kSchema);
  const rocksdb::Status read = db->Get(rocksdb::ReadOptions(), families[kMeta], slice(kSchemaKey), &schema);
  if (!read.ok() && !read.IsNotFound()) return explain_open(dir, read);
  if (schema == ours) return {};
  rocksdb::WriteOptions write;
  write.sync = true;
  const auto put = [&](std::string_view text) {
    return db->Put(write, families[kMeta], slice(kSchemaKey), slice(text));
  };
  if (read.ok()) {
    if (auto room = has_room(); !room) return room;
    if (tell) tell(false, "the registry in " + dir + " has schema " + schema + " and is brought to schema " + ours);
    if (const auto begun = put(kMigrating); !begun.ok()) return cannot_write(dir, begun);
    if (auto migrated = migrate_names(tell); !migrated) {
      return unavailable("the registry in " + dir + " was not brought to schema " + ours + ": " +
                         migrated.error().what + ". The next start goes on with it");
    }
  }
  const rocksdb::Status done = put(ours);
  if (!done.ok()) return cannot_write(dir, done);
  if (read.ok() && tell) tell(false, "the registry in " + dir + " has schema " + ours);
  return {};
}

// The mark of this registry, made where there is none: before the registry has an id, so that a registry with an id
// has had a mark.
Answer<void> RegistryStore::Impl::settle_mark(const std::string& dir,
                                              const std::optional<RevisionMark::Content>& answered) {
  const auto id = store_id();
  if (!id) return id.error();
  const auto found = revision();
  if (!found) return found.error();
  if (*id && answered && answered->store == **id && !loss) {
    auto opened = RevisionMark::open(mark_path(dir), *answered);
    if (!opened) return unavailable("the mark cannot be written: " + opened.error().what);
    mark = std::move(*opened);
    return {};
  }
  RevisionMark::Content content{id->value_or(StoreId{}), *found};
  if (!*id && RAND_bytes(content.store.data(), static_cast<int>(content.store.size())) != 1) {
    return unavailable("the kernel gives no random bytes");
  }
  auto made = RevisionMark::make(mark_path(dir), content);
  if (!made) return unavailable("the mark cannot be written: " + made.error().what);
  mark = std::move(*made);
  if (*id) return {};
  rocksdb::WriteOptions write;
  write.sync = true;
  const rocksdb::Slice bytes(reinterpret_cast<const char*>(content.store.data()), content.store.size());
  const rocksdb::Status put = db->Put(write, families[kMeta], slice(kStoreIdKey), bytes);
  return put.ok() ? Answer<void>() : cannot_write(dir, put);
}

// What was accepted is on disk before anything else is: the line in the audit log, and a revision that no change had.
Answer<void> RegistryStore::Impl::write_loss(const std::string& dir) {
  const auto row = get<MetaRow>(kMeta, kMetaKey, "meta record");
  if (!row) return row.error();
  MetaRow meta = row->value_or(MetaRow{});
  meta.revision = std::max(meta.revision, loss->answered) + 1;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  AuditRecord line;
  line.at_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  line.revision = meta.revision;
  line.by = {"serve --accept-loss", "-"};
  line.action = "registry.accept-loss";
  line.target = dir;
  line.before = "revision " + std::to_string(loss->answered);
  line.after = "revision " + std::to_string(loss->found);
  rocksdb::WriteBatch batch;
  batch.Put(families[kMeta], slice(kMetaKey), records::encode(meta));
  batch.Put(families[kAudit], number_key(static_cast<std::uint64_t>(line.at_us)), records::encode(line));
  rocksdb::WriteOptions write;
  write.sync = true;
  const rocksdb::Status put = db->Write(write, &batch);
  return put.ok() ? Answer<void>() : cannot_write(dir, put);
}

namespace {

// One start: what the mark says, what RocksDB has, and what to do where they differ.
class Opening {
 public:
  Opening(const std::string& dir, rocksdb::Env* env, OnLoss on_loss, RegistryStore::Impl& impl,
          const RegistryStore::Tell& tell)
      : dir_(dir),
        folder_(dir + "/registry"),
        env_(env),
        accept_(on_loss == OnLoss::Accept),
        impl_(impl),
        tell_(tell) {}

  Answer<void> run() {
    if (auto read = read_mark(); !read) return read;
    if (auto opened = open_database(); !opened) return opened;
    if (auto known = impl_.check_schema(dir_); !known) return known;
    if (auto compared = compare(); !compared) return compared;
    // What was refused has changed nothing: only from here on something is written.
    if (auto settled = impl_.settle_schema(dir_, tell_); !settled) return settled;
    if (impl_.loss) {
      if (auto written = impl_.write_loss(dir_); !written) return written;
    }
    return impl_.settle_mark(dir_, answered_);
  }

  // The same as far as nothing is written.
  Answer<void> look() {
    if (auto read = read_mark(); !read) return read;
    std::error_code ignored;
    if (!fs::exists(folder_ + "/CURRENT", ignored)) return {};  // a new one is made
    if (const auto opened = impl_.open_to_read(folder_, env_); !opened.ok()) return explain_open(dir_, opened);
    if (auto known = impl_.check_schema(dir_); !known) return known;
    return compare();
  }

 private:
  // Refuses, or goes on where a loss is accepted. The first reason is the one that is told.
  Answer<void> missing(const std::string& why, std::uint64_t found) {
    if (!accept_) return unavailable(why + ": " + kWhatToDo);
    if (!impl_.loss) impl_.loss = StoreLoss{why, answered_revision(), found};
    return {};
  }
  std::uint64_t answered_revision() const { return answered_ ? answered_->revision : 0; }

  Answer<void> read_mark() {
    const auto read = RevisionMark::read(mark_path(dir_));
    if (!read) {
      damaged_mark_ = true;
      return missing(read.error().what + ", and it says which changes were answered", 0);
    }
    answered_ = *read;
    std::error_code ignored;
    if (answered_revision() == 0 || fs::exists(folder_ + "/CURRENT", ignored)) return {};
    return missing(lost(dir_, 0, answered_revision()), 0);
  }

  Answer<void> open_database() {
    using Mode = rocksdb::WALRecoveryMode;
    rocksdb::Status status = impl_.open(folder_, env_, Mode::kAbsoluteConsistency);
    if (status.IsCorruption()) {
      const auto mode = look_at_damage(status.ToString());
      if (!mode) return mode.error();
      if (*mode) status = impl_.open(folder_, env_, **mode);
    }
    if (!status.ok()) return explain_open(dir_, status);
    return {};
  }

  // How to open a database that is not whole; none: not at all. Nothing in it is changed here.
  Answer<std::optional<rocksdb::WALRecoveryMode>> look_at_damage(const std::string& why) {
    using Mode = std::optional<rocksdb::WALRecoveryMode>;
    RegistryStore::Impl readable;
    if (!readable.open_to_read(folder_, env_).ok()) {  // its tables are damaged, or behind its log
      return accept_ ? Mode(rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords) : Mode();
    }
    const auto found = readable.revision();
    if (!found) return found.error();
    // A torn end of the log is what a crash leaves of a change that nobody was told of.
    impl_.tail_dropped = answered_ && *found >= answered_revision();
    if (impl_.tail_dropped) return Mode(rocksdb::WALRecoveryMode::kPointInTimeRecovery);
    const std::string what = answered_ ? lost(dir_, *found, answered_revision())
                                       : "the log of the registry in " + dir_ +
                                             " is damaged, and nothing says which changes were answered (" +
                                             logs_in(folder_) + "; " + why + ")";
    if (auto go_on = missing(what, *found); !go_on) return go_on.error();
    return Mode(rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords);
  }

  Answer<void> compare() {
    const auto found = impl_.revision();
    if (!found) return found.error();
    if (*found < answered_revision()) {
      if (auto go_on = missing(lost(dir_, *found, answered_revision()), *found); !go_on) return go_on;
    }
    const auto id = impl_.store_id();
    if (!id) return id.error();
    if (*id && !answered_ && !damaged_mark_) {
      return missing(mark_path(dir_) + " is gone, and it says which changes were answered", *found);
    }
    if (*id && answered_ && answered_->store != **id) {
      return missing(mark_path(dir_) + " is of another registry than the one in " + folder_, *found);
    }
    return {};
  }

  const std::string& dir_;
  const std::string folder_;
  rocksdb::Env* const env_;
  const bool accept_;
  RegistryStore::Impl& impl_;
  const RegistryStore::Tell& tell_;
  std::optional<RevisionMark::Content> answered_;
  bool damaged_mark_ = false;
};

// To open it for writing would change files whose hashes are in its manifest.
Answer<void> is_no_backup(const std::string& dir) {
  std::error_code ignored;
  if (!fs::exists(dir + "/" + RegistryStore::kManifest, ignored)) return {};
  return unavailable(dir + " is a backup, and stays as it is: `sallyport restore " + dir +
                     " --state-dir FOLDER` puts it into a new folder, which can be used");
}

}  // namespace

Answer<void> RegistryStore::would_open(const std::string& dir) {
  if (auto usable = is_no_backup(dir); !usable) return usable;
  Impl readable;
  return Opening(dir, nullptr, OnLoss::Refuse, readable, {}).look();
}

Answer<std::unique_ptr<RegistryStore>> RegistryStore::open(const std::string& dir, rocksdb::Env* env, OnLoss on_loss,
                                                           const Tell& tell) {
  if (auto usable = is_no_backup(dir); !usable) return usable.error();
  if (auto made = make_private_folder(dir); !made) return made.error();
  std::unique_ptr<RegistryStore> store(new RegistryStore);
  if (auto opened = Opening(dir, env, on_loss, *store->impl_, tell).run(); !opened) return opened.error();
  return store;
}

}  // namespace sallyport
