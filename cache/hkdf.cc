#include "cache/hkdf.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "cache/openssl_ptr.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;
using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;

constexpr std::size_t kMostBlock = 128;  // of SHA-384
constexpr std::size_t kMostLabel = 255;  // HkdfLabel, RFC 8446, section 7.1
constexpr std::size_t kMostContext = 255;

KdfHash fetched(const char* name) {
  KdfHash hash;
  hash.md = EVP_MD_fetch(nullptr, name, nullptr);
  if (hash.md == nullptr) return hash;
  hash.size = static_cast<std::size_t>(EVP_MD_get_size(hash.md));
  hash.block = static_cast<std::size_t>(EVP_MD_get_block_size(hash.md));
  EVP_Digest(nullptr, 0, hash.of_nothing.data(), nullptr, hash.md, nullptr);
  return hash;
}

EVP_MD_CTX* context_of_this_thread() {
  thread_local const MdContextPtr context(EVP_MD_CTX_new());
  return context.get();
}

bool digest(const KdfHash& hash, Bytes pad, std::span<const Bytes> text, std::uint8_t* out) {
  EVP_MD_CTX* context = context_of_this_thread();
  if (context == nullptr || EVP_DigestInit_ex2(context, hash.md, nullptr) != 1 ||
      EVP_DigestUpdate(context, pad.data(), pad.size()) != 1) {
    return false;
  }
  for (const Bytes& piece : text) {
    if (EVP_DigestUpdate(context, piece.data(), piece.size()) != 1) return false;
  }
  return EVP_DigestFinal_ex(context, out, nullptr) == 1;
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
  static const KdfHash sha256 = fetched("SHA2-256"), sha384 = fetched("SHA2-384");
  const KdfHash* found = name == "SHA2-256" || name == "SHA256"   ? &sha256
                         : name == "SHA2-384" || name == "SHA384" ? &sha384
                                                                  : nullptr;
  return found != nullptr && found->md != nullptr ? found : nullptr;
}

bool hmac(const KdfHash& hash, Bytes key, std::span<const Bytes> text, std::span<std::uint8_t> out) {
  if (key.size() > hash.block || out.size() < hash.size) return false;
  Pad pad;
  std::copy(key.begin(), key.end(), pad.begin());
  for (std::uint8_t& byte : pad) byte ^= 0x36;
  KdfSecret inner;
  if (!digest(hash, Bytes(pad).first(hash.block), text, inner.data())) return false;
  for (std::uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  const Bytes outer[] = {Bytes(inner).first(hash.size)};
  return digest(hash, Bytes(pad).first(hash.block), outer, out.data());
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

}  // namespace sallyport
