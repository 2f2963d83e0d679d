// A file system for RocksDB that fails or crashes on demand. The write-ahead log's unsynced bytes stay in
// memory, so a crash loses exactly what was not synced. Other files pass
// through.
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
  std::atomic<bool> crashed{false};    // nothing reaches the disk any more
  std::atomic<bool> no_tables{false};  // no new one can be made
  std::atomic<int> syncs{0};

  rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                                  const rocksdb::EnvOptions& options) override;
};

}  // namespace sallyport::test
