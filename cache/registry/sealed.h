// Private keys at rest: AES-256-GCM (NIST SP 800-38D) under a key that is in a file of its own. What is
// sealed is bound to a name, so that one sealed key cannot be put in another's place. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/base/result.h"

namespace sallyport {

class SealingKey {
 public:
  // 32 bytes as 64 hex digits; the file must be readable by its owner alone.
  static Answer<SealingKey> load(const std::string& path);
  SealingKey(const SealingKey&) = default;
  SealingKey& operator=(const SealingKey&) = default;
  ~SealingKey();  // wipes it

  Answer<std::string> seal(std::string_view secret, std::string_view name) const;
  // The refusal says that the key file is another one, or the record was changed.
  Answer<std::string> unseal(std::string_view sealed, std::string_view name) const;

 private:
  SealingKey() = default;
  std::array<std::uint8_t, 32> key_{};
};

}  // namespace sallyport
