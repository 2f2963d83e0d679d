// SHA-256 and SHA-384 (FIPS 180-4) by OpenSSL's own functions, called directly. OpenSSL 3.0 deprecates that, yet an EVP
// digest is a fetch by name and an allocation each, and a handshake hashes fifty times. Where cryptography is OpenSSL's
// alone as a digest is begun (openssl_alone.h), it is an EVP digest to its end. Neither can fail: that a provider has
// both is looked at first (openssl_alone_lacks()). A digest is one thread's; what was hashed is wiped at its end.
#pragma once

#include <openssl/sha.h>
#include <openssl/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sallyport {

// A digest of OpenSSL's public API, copied as a value; most often there is none.
class EvpDigest {
 public:
  EvpDigest() = default;
  EvpDigest(const EvpDigest& other);
  EvpDigest& operator=(const EvpDigest& other);
  ~EvpDigest() {
    if (state_ != nullptr) release();
  }

  void begin(const EVP_MD* kind);  // kind: fetched, kept for ever
  explicit operator bool() const { return state_ != nullptr; }
  void add(std::span<const std::uint8_t> bytes);
  void finish(std::uint8_t* hash);

 private:
  void release();
  EVP_MD_CTX* state_ = nullptr;
};

class Sha256 {
 public:
  static constexpr std::size_t kBytes = 32, kBlockBytes = 64;
  using Hash = std::array<std::uint8_t, kBytes>;

  Sha256();
  Sha256(const Sha256&) = default;
  Sha256& operator=(const Sha256&) = default;
  ~Sha256();

  void add(std::span<const std::uint8_t> bytes);
  void add(std::string_view text) { add({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}); }
  void finish(std::uint8_t* hash);  // once, kBytes; then nothing is added any more
  Hash of_all() const;              // of what was added until now

  template <class Bytes>  // anything add() takes
  static Hash of(const Bytes& bytes) {
    Sha256 made;
    made.add(bytes);
    return made.of_all();
  }

 private:
  SHA256_CTX state_;
  EvpDigest by_openssl_;  // in place of it
};

class Sha384 {
 public:
  static constexpr std::size_t kBytes = 48, kBlockBytes = 128;

  Sha384();
  Sha384(const Sha384&) = default;
  Sha384& operator=(const Sha384&) = default;
  ~Sha384();

  void add(std::span<const std::uint8_t> bytes);
  void finish(std::uint8_t* hash);

 private:
  SHA512_CTX state_;
  EvpDigest by_openssl_;
};

}  // namespace sallyport
