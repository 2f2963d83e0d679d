// How much one key of AES-GCM has protected. RFC 8446, section 5.5: up to 2^24.5 records of full size leave a margin of
// 2^-57 for the encryption of a connection. TLS 1.3 goes on with another key before that; TLS 1.2 (RFC 5288) has none
// and says nothing of it, so there the connection ends. Counted in blocks, for the margin is of blocks: a device that
// sends little at a time may go on for as many more records. Any thread; an object is one connection's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cache/base/result.h"

namespace sallyport {

class KeyUse {
 public:
  // 2^24 records of full size, of 2^10 blocks each: 256 GiB.
  static constexpr std::uint64_t kMostBlocks = std::uint64_t{1} << 34;

  void add(std::size_t record_bytes) { blocks_ += record_bytes / kBlockBytes + 1; }
  bool spent() const { return blocks_ >= most_blocks(); }
  void renew() { blocks_ = 0; }

  // For tests, before the first connection: a limit that can be reached. 0: kMostBlocks again.
  static void limit(std::uint64_t blocks) { lowered_ = blocks; }

 private:
  static constexpr std::size_t kBlockBytes = 16;
  static std::uint64_t most_blocks() { return lowered_ == 0 ? kMostBlocks : lowered_; }
  static inline std::uint64_t lowered_ = 0;
  std::uint64_t blocks_ = 0;
};

// How a connection ends whose key is spent.
inline constexpr Error kSpentKey = {Origin::Proxy, Reason::None, 0,
                                    "a TLS 1.2 key has protected as much as AES-GCM may"};

// Of a connection's two keys.
struct KeyUses {
  KeyUse read, written;
  bool spent() const { return read.spent() || written.spent(); }
};

}  // namespace sallyport
