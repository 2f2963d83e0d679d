#include "cache/registry/store_writer.h"

#include <utility>

namespace sallyport {

StoreWriter::StoreWriter(RegistryStore& store) : store_(store), thread_([this] { run(); }) {}

StoreWriter::~StoreWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  thread_.join();
}

void StoreWriter::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return batch_ || stopping_; });
    if (!batch_) return;
    RegistryStore::Batch batch = std::move(*batch_);
    const Durable durable = durable_;
    batch_.reset();
    lock.unlock();
    auto answer = store_.commit(batch, durable);
    lock.lock();
    written_ = Written{std::move(batch), std::move(answer)};
    answers_.notify_one();
  }
}

std::optional<StoreWriter::Written> StoreWriter::write(RegistryStore::Batch batch, Durable durable,
                                                       const Patience& goes_on) {
  constexpr std::chrono::milliseconds kAskEvery{20};
  const auto begun = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  batch_ = std::move(batch);
  durable_ = durable;
  writing_ = true;
  asked_.notify_one();
  const auto is_written = [this] { return written_.has_value(); };
  if (answers_.wait_for(lock, kPatience, is_written)) return take();
  while (goes_on(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun))) {
    if (answers_.wait_for(lock, kAskEvery, is_written)) return take();
  }
  return std::nullopt;
}

std::optional<StoreWriter::Written> StoreWriter::answered() {
  const std::lock_guard lock(mutex_);
  return written_ ? take() : std::nullopt;
}

std::optional<StoreWriter::Written> StoreWriter::take() {
  writing_ = false;
  return std::exchange(written_, std::nullopt);
}

}  // namespace sallyport
