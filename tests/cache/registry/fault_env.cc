#include "tests/cache/registry/fault_env.h"

namespace sallyport::test {

namespace {

class FaultFile final : public rocksdb::WritableFileWrapper {
 public:
  FaultFile(FaultEnv& env, std::unique_ptr<rocksdb::WritableFile> file)
      : WritableFileWrapper(file.get()), env_(env), file_(std::move(file)) {}
  ~FaultFile() override { write_out(); }

  rocksdb::Status Append(const rocksdb::Slice& data) override {
    env_.hangs.wait(true);
    if (env_.disk_full) return rocksdb::Status::NoSpace("injected");
    unsynced_.append(data.data(), data.size());
    return rocksdb::Status::OK();
  }
  rocksdb::Status Append(const rocksdb::Slice& data, const rocksdb::DataVerificationInfo&) override {
    return Append(data);
  }
  rocksdb::Status Flush() override { return rocksdb::Status::OK(); }
  rocksdb::Status Sync() override {
    ++env_.syncs;
    env_.hangs.wait(true);
    if (env_.disk_full) return rocksdb::Status::NoSpace("injected");
    if (env_.crashed) return rocksdb::Status::IOError("crashed");
    rocksdb::Status status = write_out();
    return status.ok() ? file_->Sync() : status;
  }
  rocksdb::Status Fsync() override { return Sync(); }
  rocksdb::Status Close() override {
    write_out();
    return file_->Close();
  }
  std::uint64_t GetFileSize() override { return file_->GetFileSize() + unsynced_.size(); }

 private:
  rocksdb::Status write_out() {
    std::string bytes;
    bytes.swap(unsynced_);
    if (env_.crashed || bytes.empty()) return rocksdb::Status::OK();
    return file_->Append(bytes);
  }
  FaultEnv& env_;
  std::unique_ptr<rocksdb::WritableFile> file_;
  std::string unsynced_;
};

}  // namespace

rocksdb::Status FaultEnv::NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                                          const rocksdb::EnvOptions& options) {
  if (no_tables && name.ends_with(".sst")) return rocksdb::Status::NoSpace("injected");
  rocksdb::Status status = EnvWrapper::NewWritableFile(name, result, options);
  if (status.ok() && name.ends_with(".log")) *result = std::make_unique<FaultFile>(*this, std::move(*result));
  return status;
}

}  // namespace sallyport::test
