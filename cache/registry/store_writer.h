// Writes to the store on a thread of its own, one batch at a time, so that who asked for a write can stop waiting for a
// disk that does not answer (a frozen file system, a dead network disk: write(2) and fsync(2) then never return).
// One thread uses it, the registrar's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cache/base/result.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

class StoreWriter {
 public:
  struct Written {
    RegistryStore::Batch batch;  // as it was given
    Answer<void> answer;         // the store's
  };
  // Whether to go on waiting; asked again and again once kPatience is over.
  using Patience = std::function<bool(std::chrono::milliseconds waited)>;

  explicit StoreWriter(RegistryStore& store);  // which outlives it
  ~StoreWriter();                              // waits for what is being written
  StoreWriter(const StoreWriter&) = delete;
  StoreWriter& operator=(const StoreWriter&) = delete;

  // None: the disk has not answered, and patience is at its end. answered() will tell. Not while writing().
  std::optional<Written> write(RegistryStore::Batch batch, Durable durable, const Patience& goes_on);
  std::optional<Written> answered();  // does not wait
  bool writing() const { return writing_; }

  static constexpr std::chrono::milliseconds kPatience{1000};

 private:
  void run();
  std::optional<Written> take();  // with mutex_ held

  RegistryStore& store_;
  bool writing_ = false;  // the user's: an answer is still to come
  std::mutex mutex_;
  std::condition_variable asked_, answers_;
  std::optional<RegistryStore::Batch> batch_;  // to be written
  Durable durable_ = Durable::Later;
  std::optional<Written> written_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sallyport
