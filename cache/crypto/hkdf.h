// HMAC (RFC 2104), HKDF as TLS 1.3 uses it (RFC 5869; RFC 8446, section 7.1) and TLS 1.2's PRF (RFC 5246, section 5),
// over SHA-256 and SHA-384. Nothing is looked up or allocated; OpenSSL 3.0's own spend most of a call on that. Where
// cryptography is OpenSSL's alone (openssl_alone.h) HMAC is its EVP_MAC. Any
// thread. Everything answers false, and writes nothing that may be used, where a size is none that TLS has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sallyport {

struct KdfHash {
  static constexpr std::size_t kMostBytes = 48;  // of SHA-384

  std::size_t size = 0;
  std::array<std::uint8_t, kMostBytes> of_nothing{};  // the hash of the empty string

  std::span<const std::uint8_t> of_nothing_bytes() const { return std::span(of_nothing).first(size); }
};

// By OpenSSL's names: "SHA2-256" or "SHA256", "SHA2-384" or "SHA384". Null for any other.
const KdfHash* kdf_hash(std::string_view name);

// Key material of at most one hash; gone from memory when it is done with.
struct KdfSecret : std::array<std::uint8_t, KdfHash::kMostBytes> {
  KdfSecret() : array{} {}
  KdfSecret(const KdfSecret&) = delete;
  KdfSecret& operator=(const KdfSecret&) = delete;
  ~KdfSecret();
};

// Of the pieces of `text`, one after the other. `out` has room for a hash. A key longer than a block is hashed first
// (RFC 2104, section 2): what P-521 agrees on has 66 bytes, a block of SHA-256 has 64.
bool hmac(const KdfHash& hash, std::span<const std::uint8_t> key, std::span<const std::span<const std::uint8_t>> text,
          std::span<std::uint8_t> out);
bool hmac(const KdfHash& hash, std::span<const std::uint8_t> key, std::span<const std::uint8_t> text,
          std::span<std::uint8_t> out);

// HKDF-Expand-Label. The label is `prefix` and `label`; `out` is no longer than a hash.
bool expand_label(const KdfHash& hash, std::span<const std::uint8_t> secret, std::span<const std::uint8_t> prefix,
                  std::span<const std::uint8_t> label, std::span<const std::uint8_t> context,
                  std::span<std::uint8_t> out);
// The same with the prefix "tls13 " and the hash whose size `secret` has: 32 bytes SHA-256, 48 SHA-384.
bool expand_label(std::span<const std::uint8_t> secret, std::string_view label, std::span<const std::uint8_t> context,
                  std::span<std::uint8_t> out);
inline bool expand_label(std::span<const std::uint8_t> secret, std::string_view label, std::span<std::uint8_t> out) {
  return expand_label(secret, label, {}, out);
}

// P_hash of the pieces of `seed`, one after the other; a PRF's first is its label. At most kMostSeeds pieces.
inline constexpr std::size_t kMostSeeds = 6;  // a label and five more: tls1_PRF() in OpenSSL's ssl/t1_enc.c
bool expand_seed(const KdfHash& hash, std::span<const std::uint8_t> secret,
                 std::span<const std::span<const std::uint8_t>> seed, std::span<std::uint8_t> out);

}  // namespace sallyport
