#include "cache/crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <memory>
#include <string>

#include "cache/crypto/openssl_alone.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/crypto/sha2.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kMostBlock = Sha384::kBlockBytes;
constexpr std::size_t kMostLabel = 255;  // HkdfLabel, RFC 8446, section 7.1
constexpr std::size_t kMostContext = 255;

template <class Hash>
KdfHash hash_of_size() {
  KdfHash hash;
  hash.size = Hash::kBytes;
  Hash().finish(hash.of_nothing.data());
  return hash;
}

struct Pad : std::array<std::uint8_t, kMostBlock> {
  Pad() : array{} {}
  ~Pad() { OPENSSL_cleanse(data(), size()); }
};

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

KdfSecret::~KdfSecret() {
  OPENSSL_cleanse(data(), size());
}

const KdfHash* kdf_hash(std::string_view name) {
  static const KdfHash sha256 = hash_of_size<Sha256>(), sha384 = hash_of_size<Sha384>();
  if (name == "SHA2-256" || name == "SHA256") return &sha256;
  return name == "SHA2-384" || name == "SHA384" ? &sha384 : nullptr;
}

namespace {

template <class Hash>
bool hmac_with(Bytes key, std::span<const Bytes> text, std::span<std::uint8_t> out) {
  if (out.size() < Hash::kBytes) return false;
  Pad pad;
  if (key.size() > Hash::kBlockBytes) {
    Hash of_key;
    of_key.add(key);
    of_key.finish(pad.data());
  } else {
    std::copy(key.begin(), key.end(), pad.begin());
  }
  for (std::uint8_t& byte : pad) byte ^= 0x36;
  Hash inner, outer;
  inner.add(Bytes(pad).first(Hash::kBlockBytes));
  for (const Bytes& piece : text) inner.add(piece);
  KdfSecret between;
  inner.finish(between.data());
  for (std::uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  outer.add(Bytes(pad).first(Hash::kBlockBytes));
  outer.add(Bytes(between).first(Hash::kBytes));
  outer.finish(out.data());
  return true;
}

bool hmac_by_openssl(const KdfHash& hash, Bytes key, std::span<const Bytes> text, std::span<std::uint8_t> out) {
  static EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  if (algorithm == nullptr || out.size() < hash.size) return false;
  const NoErrorsLeft no_errors_left;
  const std::unique_ptr<EVP_MAC_CTX, OpensslFree<&EVP_MAC_CTX_free>> mac(EVP_MAC_CTX_new(algorithm));
  std::string digest = hash.size == Sha256::kBytes ? "SHA2-256" : "SHA2-384";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
                               OSSL_PARAM_construct_end()};
  static constexpr std::uint8_t kNoKey = 0;  // a null pointer would mean: the key of before
  const std::uint8_t* bytes = key.empty() ? &kNoKey : key.data();
  if (!mac || EVP_MAC_init(mac.get(), bytes, key.size(), params) != 1) return false;
  for (const Bytes& piece : text) {
    if (EVP_MAC_update(mac.get(), piece.data(), piece.size()) != 1) return false;
  }
  std::size_t length = 0;
  return EVP_MAC_final(mac.get(), out.data(), &length, out.size()) == 1 && length == hash.size;
}

}  // namespace

bool hmac(const KdfHash& hash, Bytes key, std::span<const Bytes> text, std::span<std::uint8_t> out) {
  if (openssl_alone()) return hmac_by_openssl(hash, key, text, out);
  return hash.size == Sha256::kBytes ? hmac_with<Sha256>(key, text, out) : hmac_with<Sha384>(key, text, out);
}

bool hmac(const KdfHash& hash, Bytes key, Bytes text, std::span<std::uint8_t> out) {
  return hmac(hash, key, std::span(&text, 1), out);
}

// One T(1) of RFC 5869, section 2.3, suffices.
bool expand_label(const KdfHash& hash, Bytes secret, Bytes prefix, Bytes label, Bytes context,
                  std::span<std::uint8_t> out) {
  const std::size_t label_bytes = prefix.size() + label.size();
  if (out.size() > hash.size || label_bytes > kMostLabel || context.size() > kMostContext) return false;
  std::array<std::uint8_t, 2 + 1 + kMostLabel + 1 + kMostContext + 1> info;
  std::uint8_t* at = info.data();
  const auto put = [&at](Bytes bytes) { at = std::copy(bytes.begin(), bytes.end(), at); };
  *at++ = 0;
  *at++ = static_cast<std::uint8_t>(out.size());
  *at++ = static_cast<std::uint8_t>(label_bytes);
  put(prefix);
  put(label);
  *at++ = static_cast<std::uint8_t>(context.size());
  put(context);
  *at++ = 1;  // the number of this T
  KdfSecret first;
  const auto length = static_cast<std::size_t>(at - info.data());
  if (!hmac(hash, secret, Bytes(info).first(length), first)) return false;
  std::copy_n(first.begin(), out.size(), out.begin());
  return true;
}

bool expand_label(Bytes secret, std::string_view label, Bytes context, std::span<std::uint8_t> out) {
  const KdfHash* hash = kdf_hash(secret.size() == 32 ? "SHA2-256" : secret.size() == 48 ? "SHA2-384" : "");
  return hash != nullptr && expand_label(*hash, secret, bytes_of("tls13 "), bytes_of(label), context, out);
}

// A(0) is the seed, A(i) = HMAC(secret, A(i - 1)), and each i gives HMAC(secret, A(i) + seed).
bool expand_seed(const KdfHash& hash, Bytes secret, std::span<const Bytes> seed, std::span<std::uint8_t> out) {
  if (seed.size() > kMostSeeds) return false;
  std::array<Bytes, kMostSeeds + 1> text;
  std::copy(seed.begin(), seed.end(), text.begin() + 1);
  KdfSecret a, piece;
  if (!hmac(hash, secret, seed, a)) return false;
  while (!out.empty()) {
    text[0] = Bytes(a).first(hash.size);
    if (!hmac(hash, secret, std::span(text).first(seed.size() + 1), piece)) return false;
    const std::size_t n = std::min(out.size(), hash.size);
    std::copy_n(piece.begin(), n, out.begin());
    out = out.subspan(n);
    if (!out.empty() && !hmac(hash, secret, text[0], a)) return false;
  }
  return true;
}

}  // namespace sallyport
