// Memory that the kernel receives large pieces into. It begins in the middle of a page: where the target of a copy
// stands 1 to 16 bytes behind its source, counted within a page, `rep movsb` is 30 times slower on AMD's Zen 4, and the
// buffers that OpenSSL copies into begin 3 and 8 bytes into a page (README.md). Owned by one shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

namespace sallyport {

class ReceiveMemory {
 public:
  ReceiveMemory() = default;
  explicit ReceiveMemory(std::size_t bytes)
      : memory_(std::make_unique_for_overwrite<std::uint8_t[]>(bytes + kPage + kIntoPage)) {
    const auto at = reinterpret_cast<std::uintptr_t>(memory_.get());
    first_ = memory_.get() + (kPage - at % kPage) % kPage + kIntoPage;
  }

  std::uint8_t* data() const { return first_; }

 private:
  static constexpr std::size_t kPage = 4096, kIntoPage = kPage / 2;

  std::unique_ptr<std::uint8_t[]> memory_;
  std::uint8_t* first_ = nullptr;
};

}  // namespace sallyport
