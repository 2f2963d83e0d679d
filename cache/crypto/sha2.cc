#include "cache/crypto/sha2.h"

#include <openssl/crypto.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace sallyport {

Sha256::Sha256() {
  SHA256_Init(&state_);
}
Sha256::~Sha256() {
  OPENSSL_cleanse(&state_, sizeof state_);
}
void Sha256::add(std::span<const std::uint8_t> bytes) {
  SHA256_Update(&state_, bytes.data(), bytes.size());
}
void Sha256::finish(std::uint8_t* hash) {
  SHA256_Final(hash, &state_);
}
Sha256::Hash Sha256::of_all() const {
  Sha256 copy = *this;
  Hash hash;
  copy.finish(hash.data());
  return hash;
}

Sha384::Sha384() {
  SHA384_Init(&state_);
}
Sha384::~Sha384() {
  OPENSSL_cleanse(&state_, sizeof state_);
}
void Sha384::add(std::span<const std::uint8_t> bytes) {
  SHA384_Update(&state_, bytes.data(), bytes.size());
}
void Sha384::finish(std::uint8_t* hash) {
  SHA384_Final(hash, &state_);
}

}  // namespace sallyport
