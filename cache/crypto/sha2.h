// SHA-256 and SHA-384 (FIPS 180-4) by OpenSSL's own functions, called directly. OpenSSL 3.0 deprecates that, yet an EVP
// digest is a fetch by name and an allocation each, and a handshake hashes fifty times. Neither can fail. A digest is
// one thread's; what was hashed is wiped at its end.
#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sallyport {

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
};

}  // namespace sallyport
