#include "proxy/tls/record_cipher.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "cache/base/check.h"

namespace sallyport {

using Bytes = std::span<const std::uint8_t>;

RecordKey::~RecordKey() {
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(iv.data(), iv.size());
}

void RecordKey::take(RecordKey& other) {
  key = other.key;
  iv = other.iv;
  key_bytes = other.key_bytes;
  sequence = other.sequence;
  version = other.version;
  OPENSSL_cleanse(other.key.data(), other.key.size());
  OPENSSL_cleanse(other.iv.data(), other.iv.size());
}

// RFC 8446, section 5.3: the sequence number, as wide as the IV, XOR the IV. TLS 1.2 leaves it to the sender, as long
// as none comes twice.
RecordCipher::Nonce RecordCipher::next_nonce() {
  CHECK(key_.sequence != UINT64_MAX);
  Nonce nonce = key_.iv;
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[RecordKey::kIvBytes - 1 - i] ^= static_cast<std::uint8_t>(key_.sequence >> (8 * i));
  }
  ++key_.sequence;
  return nonce;
}

void RecordCipher::seal(Header header, Bytes plain, std::uint8_t type, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V13);
  encrypt(next_nonce(), header, plain, Bytes(&type, 1), out);
}

bool RecordCipher::open(Header header, Bytes sealed, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V13 && sealed.size() >= kTagBytes);
  return decrypt(next_nonce(), header, sealed, out);
}

namespace {

// RFC 5246, section 6.2.3.3: the sequence number, the type, the version and the length of the plaintext.
std::array<std::uint8_t, 13> bound12(std::uint64_t sequence, std::uint8_t type, std::size_t length) {
  std::array<std::uint8_t, 13> bound;
  for (std::size_t i = 0; i < 8; ++i) bound[i] = static_cast<std::uint8_t>(sequence >> (56 - 8 * i));
  bound[8] = type;
  bound[9] = bound[10] = 3;
  bound[11] = static_cast<std::uint8_t>(length >> 8);
  bound[12] = static_cast<std::uint8_t>(length);
  return bound;
}

}  // namespace

void RecordCipher::seal12(std::uint8_t type, Bytes plain, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V12);
  const auto bound = bound12(key_.sequence, type, plain.size());
  const Nonce nonce = next_nonce();
  encrypt(nonce, bound, plain, {}, std::copy(nonce.begin() + RecordKey::kSaltBytes, nonce.end(), out));
}

bool RecordCipher::open12(std::uint8_t type, Bytes sealed, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V12 && sealed.size() >= kOverhead12);
  const auto bound = bound12(key_.sequence, type, sealed.size() - kOverhead12);
  Nonce nonce = next_nonce();
  std::copy_n(sealed.begin(), kExplicitBytes, nonce.begin() + RecordKey::kSaltBytes);
  return decrypt(nonce, bound, sealed.subspan(kExplicitBytes), out);
}

}  // namespace sallyport
