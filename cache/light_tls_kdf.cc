#include "cache/light_tls_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "cache/openssl_ptr.h"

namespace sallyport {

namespace {

using Bytes = std::span<const unsigned char>;
using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;

constexpr std::size_t kMostBlock = 128;  // of SHA-384
constexpr std::size_t kMostDigest = 48;  // of SHA-384
constexpr std::size_t kMostLabel = 255;  // HkdfLabel, RFC 8446, section 7.1
constexpr std::size_t kMostContext = 255;
constexpr std::size_t kMostSeeds = 6;  // a label and five more: tls1_PRF() in OpenSSL's ssl/t1_enc.c

// Key material; gone from the stack when it is done with.
template <std::size_t N>
struct Secret : std::array<unsigned char, N> {
  ~Secret() { OPENSSL_cleanse(this->data(), N); }
};

// One digest, with a context of its own for each thread: nothing is looked up or allocated after the first use.
struct Digest {
  EVP_MD* md;
  std::size_t size, block;
  Secret<kMostDigest> of_nothing{};

  explicit Digest(const char* name) : md(EVP_MD_fetch(nullptr, name, nullptr)) {
    size = md == nullptr ? 0 : static_cast<std::size_t>(EVP_MD_get_size(md));
    block = md == nullptr ? 0 : static_cast<std::size_t>(EVP_MD_get_block_size(md));
    if (md != nullptr) EVP_Digest(nullptr, 0, of_nothing.data(), nullptr, md, nullptr);
  }
};

const Digest* digest_named(std::string_view name) {
  static const Digest sha256("SHA2-256"), sha384("SHA2-384");
  const Digest* found = name == "SHA2-256" || name == "SHA256"   ? &sha256
                        : name == "SHA2-384" || name == "SHA384" ? &sha384
                                                                 : nullptr;
  return found != nullptr && found->md != nullptr ? found : nullptr;
}

EVP_MD_CTX* context_of_this_thread() {
  thread_local const MdContextPtr context(EVP_MD_CTX_new());
  return context.get();
}

bool hash(const Digest& digest, Bytes pad, std::span<const Bytes> text, unsigned char* out) {
  EVP_MD_CTX* context = context_of_this_thread();
  if (context == nullptr || EVP_DigestInit_ex2(context, digest.md, nullptr) != 1 ||
      EVP_DigestUpdate(context, pad.data(), pad.size()) != 1) {
    return false;
  }
  for (const Bytes& piece : text) {
    if (EVP_DigestUpdate(context, piece.data(), piece.size()) != 1) return false;
  }
  return EVP_DigestFinal_ex(context, out, nullptr) == 1;
}

// RFC 2104. A key is never longer than a block here.
bool hmac(const Digest& digest, Bytes key, std::span<const Bytes> text, unsigned char* out) {
  if (key.size() > digest.block) return false;
  Secret<kMostBlock> pad{};
  std::copy(key.begin(), key.end(), pad.begin());
  for (unsigned char& byte : pad) byte ^= 0x36;
  Secret<kMostDigest> inner;
  if (!hash(digest, Bytes(pad).first(digest.block), text, inner.data())) return false;
  for (unsigned char& byte : pad) byte ^= 0x36 ^ 0x5c;
  const Bytes outer[] = {Bytes(inner).first(digest.size)};
  return hash(digest, Bytes(pad).first(digest.block), outer, out);
}
bool hmac(const Digest& digest, Bytes key, Bytes text, unsigned char* out) {
  return hmac(digest, key, std::span(&text, 1), out);
}

// What a call is given. Absent is not the same as empty.
struct Asked {
  int mode = -1;
  const Digest* digest = nullptr;
  Bytes key, salt, prefix, label, data;
  std::array<Bytes, kMostSeeds> seeds;  // TLS1-PRF: one after the other
  std::size_t seed_count = 0;
};

bool take(const OSSL_PARAM& param, Asked& asked) {
  const std::string_view name = param.key;
  if (name == OSSL_KDF_PARAM_MODE) return OSSL_PARAM_get_int(&param, &asked.mode) == 1;
  if (name == OSSL_KDF_PARAM_DIGEST) {
    const char* digest = nullptr;
    if (OSSL_PARAM_get_utf8_string_ptr(&param, &digest) != 1 || digest == nullptr) return false;
    asked.digest = digest_named(digest);
    return true;
  }
  if (name == OSSL_KDF_PARAM_SEED && asked.seed_count == kMostSeeds) return false;
  Bytes* const bytes = name == OSSL_KDF_PARAM_KEY || name == OSSL_KDF_PARAM_SECRET ? &asked.key
                       : name == OSSL_KDF_PARAM_SEED                               ? &asked.seeds[asked.seed_count++]
                       : name == OSSL_KDF_PARAM_SALT                               ? &asked.salt
                       : name == OSSL_KDF_PARAM_PREFIX                             ? &asked.prefix
                       : name == OSSL_KDF_PARAM_LABEL                              ? &asked.label
                       : name == OSSL_KDF_PARAM_DATA                               ? &asked.data
                                                                                   : nullptr;
  if (bytes == nullptr) return true;  // as everywhere in OpenSSL, what is not known is left
  const void* found = nullptr;
  std::size_t length = 0;
  if (OSSL_PARAM_get_octet_string_ptr(&param, &found, &length) != 1) return false;
  *bytes = Bytes(static_cast<const unsigned char*>(found), length);
  return true;
}

// HKDF-Expand-Label of one digest's length at most: RFC 8446, section 7.1, and RFC 5869, section 2.3, with one T(1).
bool expand_label(const Digest& digest, Bytes secret, const Asked& names, Bytes context, std::span<unsigned char> out) {
  const std::size_t label = names.prefix.size() + names.label.size();
  if (out.size() > digest.size || label > kMostLabel || context.size() > kMostContext) return false;
  std::array<unsigned char, 2 + 1 + kMostLabel + 1 + kMostContext + 1> info;
  unsigned char* at = info.data();
  const auto put = [&at](Bytes bytes) { at = std::copy(bytes.begin(), bytes.end(), at); };
  *at++ = 0;
  *at++ = static_cast<unsigned char>(out.size());
  *at++ = static_cast<unsigned char>(label);
  put(names.prefix);
  put(names.label);
  *at++ = static_cast<unsigned char>(context.size());
  put(context);
  *at++ = 1;  // the number of this T
  Secret<kMostDigest> first;
  const auto length = static_cast<std::size_t>(at - info.data());
  if (!hmac(digest, secret, Bytes(info).first(length), first.data())) return false;
  std::copy_n(first.begin(), out.size(), out.begin());
  return true;
}

// HKDF-Extract, salted with what the secret before this one derives, or with nothing where it is the first.
bool extract(const Digest& digest, const Asked& asked, std::span<unsigned char> out) {
  static constexpr std::array<unsigned char, kMostDigest> kZeros{};
  if (out.size() != digest.size) return false;
  const Bytes zeros = Bytes(kZeros).first(digest.size);
  const Bytes input = asked.key.data() == nullptr ? zeros : asked.key;
  if (asked.salt.data() == nullptr) return hmac(digest, {}, input, out.data());
  Secret<kMostDigest> derived;
  const std::span<unsigned char> salt = std::span(derived).first(digest.size);
  return expand_label(digest, asked.salt, asked, Bytes(digest.of_nothing).first(digest.size), salt) &&
         hmac(digest, salt, input, out.data());
}

thread_local TrafficSecrets* tapped = nullptr;

void tap(std::string_view label, Bytes secret) {
  if (tapped == nullptr || secret.size() > TrafficSecrets::kMostBytes) return;
  if (label == "c ap traffic") {
    std::copy(secret.begin(), secret.end(), tapped->client.begin());
    tapped->client_bytes = secret.size();
  } else if (label == "s ap traffic") {
    std::copy(secret.begin(), secret.end(), tapped->server.begin());
    tapped->server_bytes = secret.size();
  }
}

bool take_all(const OSSL_PARAM* params, Asked& asked) {
  for (; params != nullptr && params->key != nullptr; ++params) {
    if (!take(*params, asked)) return false;
  }
  return asked.digest != nullptr;
}

// P_hash of RFC 5246, section 5: A(0) is the seed, A(i) = HMAC(secret, A(i - 1)), and each i gives
// HMAC(secret, A(i) + seed).
bool expand_seed(const Digest& digest, const Asked& asked, std::span<unsigned char> out) {
  std::array<Bytes, kMostSeeds + 1> text;
  std::copy_n(asked.seeds.begin(), asked.seed_count, text.begin() + 1);
  Secret<kMostDigest> a, piece;
  if (!hmac(digest, asked.key, std::span(text).subspan(1, asked.seed_count), a.data())) return false;
  while (!out.empty()) {
    text[0] = Bytes(a).first(digest.size);
    if (!hmac(digest, asked.key, std::span(text).first(asked.seed_count + 1), piece.data())) return false;
    const std::size_t n = std::min(out.size(), digest.size);
    std::copy_n(piece.begin(), n, out.begin());
    out = out.subspan(n);
    if (!out.empty() && !hmac(digest, asked.key, text[0], a.data())) return false;
  }
  return true;
}

int prf(void*, unsigned char* key, std::size_t length, const OSSL_PARAM* params) {
  Asked asked;
  if (!take_all(params, asked) || asked.key.data() == nullptr || asked.seed_count == 0) return 0;
  return expand_seed(*asked.digest, asked, std::span(key, length)) ? 1 : 0;
}

int derive(void*, unsigned char* key, std::size_t length, const OSSL_PARAM* params) {
  Asked asked;
  if (!take_all(params, asked)) return 0;
  const std::span<unsigned char> out(key, length);
  if (asked.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY) return extract(*asked.digest, asked, out) ? 1 : 0;
  if (asked.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || asked.key.data() == nullptr) return 0;
  if (!expand_label(*asked.digest, asked.key, asked, asked.data, out)) return 0;
  tap({reinterpret_cast<const char*>(asked.label.data()), asked.label.size()}, out);
  return 1;
}

// Nothing is kept between calls.
void* new_context(void*) {
  static char no_state;
  return &no_state;
}
void free_context(void*) {}

template <OSSL_FUNC_kdf_derive_fn* kDerive>
OSSL_ALGORITHM kdf(const char* name) {
  static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_KDF_NEWCTX, reinterpret_cast<void (*)()>(&new_context)},
                                            {OSSL_FUNC_KDF_FREECTX, reinterpret_cast<void (*)()>(&free_context)},
                                            {OSSL_FUNC_KDF_DERIVE, reinterpret_cast<void (*)()>(kDerive)},
                                            {0, nullptr}};
  return {name, "provider=default", functions, nullptr};
}

}  // namespace

TrafficSecrets::~TrafficSecrets() {
  OPENSSL_cleanse(client.data(), client.size());
  OPENSSL_cleanse(server.data(), server.size());
}

TrafficSecretsTap::TrafficSecretsTap(TrafficSecrets& into) {
  tapped = &into;
}
TrafficSecretsTap::~TrafficSecretsTap() {
  tapped = nullptr;
}

bool expand_label(std::span<const std::uint8_t> secret, std::string_view label, std::span<std::uint8_t> out) {
  const Digest* digest = digest_named(secret.size() == 32 ? "SHA2-256" : secret.size() == 48 ? "SHA2-384" : "");
  if (digest == nullptr) return false;
  static constexpr std::string_view kPrefix = "tls13 ";
  Asked names;
  names.prefix = Bytes(reinterpret_cast<const unsigned char*>(kPrefix.data()), kPrefix.size());
  names.label = Bytes(reinterpret_cast<const unsigned char*>(label.data()), label.size());
  return expand_label(*digest, secret, names, {}, out);
}

OSSL_ALGORITHM tls13_kdf() {
  return kdf<&derive>("TLS13-KDF");
}
OSSL_ALGORITHM tls1_prf() {
  return kdf<&prf>("TLS1-PRF");
}

}  // namespace sallyport
