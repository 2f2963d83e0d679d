#include "cache/crypto/light_tls_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "cache/crypto/hkdf.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

// What a call is given. Absent is not the same as empty.
struct Asked {
  int mode = -1;
  const KdfHash* hash = nullptr;
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
    asked.hash = kdf_hash(digest);
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

// HKDF-Extract, salted with what the secret before this one derives, or with nothing where it is the first.
bool extract(const KdfHash& hash, const Asked& asked, std::span<std::uint8_t> out) {
  static constexpr std::array<std::uint8_t, KdfHash::kMostBytes> kZeros{};
  if (out.size() != hash.size) return false;
  const Bytes input = asked.key.data() == nullptr ? Bytes(kZeros).first(hash.size) : asked.key;
  if (asked.salt.data() == nullptr) return hmac(hash, {}, input, out);
  KdfSecret derived;
  const std::span<std::uint8_t> salt = std::span(derived).first(hash.size);
  return expand_label(hash, asked.salt, asked.prefix, asked.label, hash.of_nothing_bytes(), salt) &&
         hmac(hash, salt, input, out);
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
  return asked.hash != nullptr;
}

int prf(void*, unsigned char* key, std::size_t length, const OSSL_PARAM* params) {
  Asked asked;
  if (!take_all(params, asked) || asked.key.data() == nullptr || asked.seed_count == 0) return 0;
  const std::span seed = std::span(asked.seeds).first(asked.seed_count);
  return expand_seed(*asked.hash, asked.key, seed, std::span(key, length)) ? 1 : 0;
}

int derive(void*, unsigned char* key, std::size_t length, const OSSL_PARAM* params) {
  Asked asked;
  if (!take_all(params, asked)) return 0;
  const std::span<unsigned char> out(key, length);
  if (asked.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY) return extract(*asked.hash, asked, out) ? 1 : 0;
  if (asked.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || asked.key.data() == nullptr) return 0;
  if (!expand_label(*asked.hash, asked.key, asked.prefix, asked.label, asked.data, out)) return 0;
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

OSSL_ALGORITHM tls13_kdf() {
  return kdf<&derive>("TLS13-KDF");
}
OSSL_ALGORITHM tls1_prf() {
  return kdf<&prf>("TLS1-PRF");
}

}  // namespace sallyport
