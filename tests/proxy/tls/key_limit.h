// Another limit of what one key may protect (key_use.h), while it exists: one that a test can reach.
#pragma once

#include <cstdint>

#include "proxy/tls/key_use.h"

namespace sallyport::test {

struct KeyLimit {
  explicit KeyLimit(std::uint64_t blocks) { KeyUse::limit(blocks); }
  ~KeyLimit() { KeyUse::limit(0); }
  KeyLimit(const KeyLimit&) = delete;
  KeyLimit& operator=(const KeyLimit&) = delete;
};

}  // namespace sallyport::test
