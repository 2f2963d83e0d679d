// 32 bytes that nobody else may learn: what a key exchange on X25519 or P-256 agreed on, or a secret of a key schedule
// with SHA-256. They are never copied, and wiped at their end.
#pragma once

#include <openssl/crypto.h>

#include <array>
#include <cstdint>

namespace sallyport {

struct Secret256 : std::array<std::uint8_t, 32> {
  Secret256() : array{} {}
  Secret256(const Secret256&) = delete;
  Secret256& operator=(const Secret256&) = delete;
  ~Secret256() { OPENSSL_cleanse(data(), size()); }
};

}  // namespace sallyport
