// Bytes on their way: contiguous, filled at the end, consumed from the front, memory given back when
// empty, so that an idle connection holds none. Owned by one session; never shared between threads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "cache/base/check.h"

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
  void keep_first(std::size_t n) {
    CHECK(n <= size());
    end_ = begin_ + n;
    if (begin_ == end_) release();
  }
  // Where most of its memory holds nothing any more, the rest of it is given back, for one copy of what is held.
  void trim() {
    if (capacity_ >= kStep && size() <= capacity_ / 2) resize(fitting(size()));
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
  static constexpr std::size_t kStep = 64 * 1024;

  // Powers of two while small, then steps: a stalled session holds little more than its bytes, and the allocator has
  // few sizes to keep a stock of.
  static std::size_t fitting(std::size_t n) {
    return n < kStep ? std::bit_ceil(std::max<std::size_t>(n, 1024)) : (n + kStep - 1) / kStep * kStep;
  }
  void make_room(std::size_t n) {
    const std::size_t held = size();
    const std::size_t wanted = fitting(held + n);
    if (wanted <= capacity_) {  // consumed space at the front suffices
      std::memmove(memory_.get(), data(), held);
      begin_ = 0;
      end_ = held;
    } else {
      resize(wanted);
    }
  }
  void resize(std::size_t wanted) {
    const std::size_t held = size();
    auto other = std::make_unique_for_overwrite<std::uint8_t[]>(wanted);
    if (held > 0) std::memcpy(other.get(), data(), held);
    memory_ = std::move(other);
    capacity_ = wanted;
    begin_ = 0;
    end_ = held;
  }

  std::unique_ptr<std::uint8_t[]> memory_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace sallyport
