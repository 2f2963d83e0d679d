#include "cache/crypto/sha2.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <utility>

#include "cache/base/check.h"
#include "cache/crypto/openssl_alone.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace sallyport {

EvpDigest::EvpDigest(const EvpDigest& other) {
  *this = other;
}
EvpDigest& EvpDigest::operator=(const EvpDigest& other) {
  if (this == &other) return *this;
  EVP_MD_CTX* copy = nullptr;
  if (other.state_ != nullptr) {
    copy = EVP_MD_CTX_new();
    CHECK(copy != nullptr && EVP_MD_CTX_copy_ex(copy, other.state_) == 1);
  }
  release();
  state_ = copy;
  return *this;
}

void EvpDigest::begin(const EVP_MD* kind) {
  release();
  state_ = EVP_MD_CTX_new();
  CHECK(state_ != nullptr && kind != nullptr && EVP_DigestInit_ex2(state_, kind, nullptr) == 1);
}

void EvpDigest::add(std::span<const std::uint8_t> bytes) {
  CHECK(EVP_DigestUpdate(state_, bytes.data(), bytes.size()) == 1);
}

void EvpDigest::finish(std::uint8_t* hash) {
  CHECK(EVP_DigestFinal_ex(state_, hash, nullptr) == 1);
}

void EvpDigest::release() {
  EVP_MD_CTX_free(std::exchange(state_, nullptr));
}

namespace {

const EVP_MD* sha256() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  return fetched;
}
const EVP_MD* sha384() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA2-384", nullptr);
  return fetched;
}

}  // namespace

Sha256::Sha256() {
  if (openssl_alone()) {
    by_openssl_.begin(sha256());
  } else {
    SHA256_Init(&state_);
  }
}
Sha256::~Sha256() {
  if (!by_openssl_) OPENSSL_cleanse(&state_, sizeof state_);
}
void Sha256::add(std::span<const std::uint8_t> bytes) {
  if (by_openssl_) return by_openssl_.add(bytes);
  SHA256_Update(&state_, bytes.data(), bytes.size());
}
void Sha256::finish(std::uint8_t* hash) {
  if (by_openssl_) return by_openssl_.finish(hash);
  SHA256_Final(hash, &state_);
}
Sha256::Hash Sha256::of_all() const {
  Sha256 copy = *this;
  Hash hash;
  copy.finish(hash.data());
  return hash;
}

Sha384::Sha384() {
  if (openssl_alone()) {
    by_openssl_.begin(sha384());
  } else {
    SHA384_Init(&state_);
  }
}
Sha384::~Sha384() {
  if (!by_openssl_) OPENSSL_cleanse(&state_, sizeof state_);
}
void Sha384::add(std::span<const std::uint8_t> bytes) {
  if (by_openssl_) return by_openssl_.add(bytes);
  SHA384_Update(&state_, bytes.data(), bytes.size());
}
void Sha384::finish(std::uint8_t* hash) {
  if (by_openssl_) return by_openssl_.finish(hash);
  SHA384_Final(hash, &state_);
}

}  // namespace sallyport
