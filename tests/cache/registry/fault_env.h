// A file system for RocksDB that fails, hangs or crashes on demand. The write-ahead log's unsynced bytes stay in
// memory, so a crash loses exactly what was not synced. New tables can be refused,
// and the free space is what the test says; everything else passes through.
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <memory>
#include <string>

namespace sallyport::test {

class FaultEnv final : public rocksdb::EnvWrapper {
 public:
  FaultEnv() : EnvWrapper(rocksdb::Env::Default()) {}

  std::atomic<bool> disk_full{false};  // appends and syncs of the log are refused
  std::atomic<bool> hangs{false};      // appends to the log and syncs of it do not return
  std::atomic<bool> crashed{false};    // nothing reaches the disk any more
  std::atomic<bool> no_tables{false};  // no new one can be made
  std::atomic<std::uint64_t> free_bytes{1ULL << 40};
  std::atomic<int> syncs{0};

  void thaw() {
    hangs = false;
    hangs.notify_all();
  }

  rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                                  const rocksdb::EnvOptions& options) override;
  rocksdb::Status GetFreeSpace(const std::string&, std::uint64_t* bytes) override {
    *bytes = free_bytes;
    return rocksdb::Status::OK();
  }
};

}  // namespace sallyport::test
