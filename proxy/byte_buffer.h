// Bytes on their way: contiguous, filled at the end, consumed from the front, memory given back when
// empty, so that an idle connection holds none. Owned by one session; never shared between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "cache/check.h"

namespace sallyport {

class ByteBuffer {
 public:
  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept { swap(other); }
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  std::size_t capacity() const { return capacity_; }  // what it holds of the process's memory
  const std::uint8_t* data() const { return memory_.get() + begin_; }
  std::span<const std::uint8_t> bytes() const { return {data(), size()}; }

  // Room for at least `n` bytes at the end; commit() says how many of them were written.
  std::span<std::uint8_t> prepare(std::size_t n) {
    if (capacity_ - end_ < n) make_room(n);
    return {memory_.get() + end_, capacity_ - end_};
  }
  void commit(std::size_t n) {
    CHECK(n <= capacity_ - end_);
    end_ += n;
  }
  void append(std::span<const std::uint8_t> bytes) {
    if (bytes.empty()) return;
    std::memcpy(prepare(bytes.size()).data(), bytes.data(), bytes.size());
    commit(bytes.size());
  }
  void consume(std::size_t n) {
    CHECK(n <= size());
    begin_ += n;
    if (begin_ == end_) release();
  }
  void release() {
    memory_.reset();
    capacity_ = begin_ = end_ = 0;
  }
  void swap(ByteBuffer& other) noexcept {
    memory_.swap(other.memory_);
    std::swap(capacity_, other.capacity_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
  }

 private:
  void make_room(std::size_t n) {
    const std::size_t held = size();
    // Doubling while small; then in steps, so that a stalled session holds little more than its bytes.
    constexpr std::size_t kStep = 16 * 1024;
    const std::size_t needed = held + n;
    std::size_t wanted = capacity_ < 1024 ? 1024 : capacity_;
    while (wanted < needed && wanted < kStep) wanted *= 2;
    if (wanted < needed) wanted = (needed + kStep - 1) / kStep * kStep;
    if (wanted == capacity_) {  // consumed space at the front suffices
      std::memmove(memory_.get(), data(), held);
    } else {
      auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(wanted);
      if (held > 0) std::memcpy(larger.get(), data(), held);
      memory_ = std::move(larger);
      capacity_ = wanted;
    }
    begin_ = 0;
    end_ = held;
  }

  std::unique_ptr<std::uint8_t[]> memory_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace sallyport
