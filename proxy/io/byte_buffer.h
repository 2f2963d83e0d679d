// Bytes on their way: contiguous, filled at the end, consumed from the front, memory given back when
// empty, so that an idle connection holds none. Owned by one session; never shared between threads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
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

  std::size_t size() const { return memory_ ? header().end - header().begin : 0; }
  bool empty() const { return size() == 0; }
  std::size_t capacity() const { return memory_ ? header().capacity : 0; }  // what it holds of the process's memory
  const std::uint8_t* data() const { return memory_ ? behind_header() + header().begin : nullptr; }
  std::span<const std::uint8_t> bytes() const { return {data(), size()}; }

  // Room for at least `n` bytes at the end; commit() says how many of them were written.
  std::span<std::uint8_t> prepare(std::size_t n) {
    if (room() < n) make_room(n);
    if (!memory_) return {};
    return {behind_header() + header().end, room()};
  }
  void commit(std::size_t n) {
    CHECK(n <= room());
    if (n > 0) header().end += static_cast<std::uint32_t>(n);
  }
  void append(std::span<const std::uint8_t> bytes) {
    if (bytes.empty()) return;
    std::memcpy(prepare(bytes.size()).data(), bytes.data(), bytes.size());
    commit(bytes.size());
  }
  void consume(std::size_t n) {
    CHECK(n <= size());
    if (n == size()) return release();
    header().begin += static_cast<std::uint32_t>(n);
  }
  void keep_first(std::size_t n) {
    CHECK(n <= size());
    if (n == 0) return release();
    header().end = header().begin + static_cast<std::uint32_t>(n);
  }
  // Where most of its memory holds nothing any more, the rest of it is given back, for one copy of what is held.
  void trim() {
    if (capacity() >= kStep && kHeader + size() <= capacity() / 2) resize(fitting(size()));
  }
  void release() { memory_.reset(); }
  void swap(ByteBuffer& other) noexcept { memory_.swap(other.memory_); }

 private:
  static constexpr std::size_t kStep = 64 * 1024;

  // In front of the bytes, in the same memory: an idle session has nine buffers, and each is one null pointer.
  struct Header {
    std::uint32_t capacity;    // of all of it, this header included
    std::uint32_t begin, end;  // of what is held, counted from behind the header
  };
  // Not as few bytes as would do: where the target of a copy stands 1 to 16 bytes behind its source, counted within a
  // page, `rep movsb` is 30 times slower on AMD's Zen 4, and OpenSSL's buffers begin 3 and 8 bytes into a page
  // (README.md).
  static constexpr std::size_t kHeader = 64;
  static_assert(sizeof(Header) <= kHeader);

  Header& header() const { return *std::launder(reinterpret_cast<Header*>(memory_.get())); }
  std::uint8_t* behind_header() const { return memory_.get() + kHeader; }
  std::size_t room() const { return memory_ ? header().capacity - kHeader - header().end : 0; }

  // The size of a block for `n` bytes. Powers of two while small, then steps: a stalled session holds little more than
  // its bytes, and the allocator has few sizes to keep a stock of.
  static std::size_t fitting(std::size_t n) {
    n += kHeader;
    return n < kStep ? std::bit_ceil(std::max<std::size_t>(n, 1024)) : (n + kStep - 1) / kStep * kStep;
  }
  void make_room(std::size_t n) {
    const std::size_t held = size();
    const std::size_t wanted = fitting(held + n);
    if (wanted <= capacity()) {  // consumed space at the front suffices
      std::memmove(behind_header(), data(), held);
      header().begin = 0;
      header().end = static_cast<std::uint32_t>(held);
    } else {
      resize(wanted);
    }
  }
  void resize(std::size_t wanted) {
    CHECK(wanted <= std::numeric_limits<std::uint32_t>::max());
    const std::size_t held = size();
    auto other = std::make_unique_for_overwrite<std::uint8_t[]>(wanted);
    std::construct_at(reinterpret_cast<Header*>(other.get()),
                      Header{static_cast<std::uint32_t>(wanted), 0, static_cast<std::uint32_t>(held)});
    if (held > 0) std::memcpy(other.get() + kHeader, data(), held);
    memory_ = std::move(other);
  }

  std::unique_ptr<std::uint8_t[]> memory_;  // null: nothing is held
};

}  // namespace sallyport
