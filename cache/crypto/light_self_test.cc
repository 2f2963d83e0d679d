#include "cache/crypto/light_self_test.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/crypto/light_tls_kdf.h"
#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

namespace {

using Octets = std::vector<unsigned char>;
using KdfPtr = std::unique_ptr<EVP_KDF, OpensslFree<&EVP_KDF_free>>;
using KdfContextPtr = std::unique_ptr<EVP_KDF_CTX, OpensslFree<&EVP_KDF_CTX_free>>;
using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;

KeyPtr new_key(OSSL_LIB_CTX* context, const char* type, const char* group) {
  return KeyPtr(group == nullptr ? EVP_PKEY_Q_keygen(context, nullptr, type)
                                 : EVP_PKEY_Q_keygen(context, nullptr, type, group));
}

Octets encoded(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  Octets made(der, der + std::max(length, 0));
  OPENSSL_free(der);
  return made;
}

KeyPtr read_key(OSSL_LIB_CTX* context, const Octets& der) {
  const unsigned char* at = der.data();
  return KeyPtr(d2i_PUBKEY_ex(nullptr, &at, static_cast<long>(der.size()), context, nullptr));
}

constexpr std::array<unsigned char, 6> kText = {'s', 'i', 'g', 'n', 'e', 'd'};

Octets signature_of(OSSL_LIB_CTX* context, EVP_PKEY* key) {
  const MdContextPtr signing(EVP_MD_CTX_new());
  Octets made(128);
  std::size_t length = made.size();
  const bool done = signing &&
                    EVP_DigestSignInit_ex(signing.get(), nullptr, "SHA256", context, nullptr, key, nullptr) == 1 &&
                    EVP_DigestSign(signing.get(), made.data(), &length, kText.data(), kText.size()) == 1;
  made.resize(done ? length : 0);
  return made;
}

bool verifies(OSSL_LIB_CTX* context, EVP_PKEY* key, const Octets& signature) {
  const MdContextPtr verifying(EVP_MD_CTX_new());
  return verifying && !signature.empty() &&
         EVP_DigestVerifyInit_ex(verifying.get(), nullptr, "SHA256", context, nullptr, key, nullptr) == 1 &&
         EVP_DigestVerify(verifying.get(), signature.data(), signature.size(), kText.data(), kText.size()) == 1;
}

// light_ec_decoder.h: two keys are read, each is itself, each verifies its own signatures and no others; what is not on
// the curve is none.
bool reads_keys(OSSL_LIB_CTX* light) {
  const KeyPtr one = new_key(nullptr, "EC", "P-256"), other = new_key(light, "EC", "P-256");
  if (!one || !other) return false;
  Octets der = encoded(one.get());
  const KeyPtr read_one = read_key(light, der), read_other = read_key(light, encoded(other.get()));
  if (!read_one || !read_other || EVP_PKEY_eq(read_one.get(), one.get()) != 1) return false;
  const Octets by_one = signature_of(nullptr, one.get()), by_other = signature_of(light, other.get());
  if (!verifies(light, read_one.get(), by_one) || verifies(light, read_one.get(), by_other) ||
      !verifies(light, read_other.get(), by_other) || !verifies(nullptr, other.get(), by_other)) {
    return false;
  }
  der.back() ^= 1;
  return read_key(light, der) == nullptr;
}

Octets agreed(OSSL_LIB_CTX* context, EVP_PKEY* own, EVP_PKEY* peer) {
  const KeyContextPtr deriving(EVP_PKEY_CTX_new_from_pkey(context, own, nullptr));
  Octets made(32);
  std::size_t length = made.size();
  const bool done = deriving && EVP_PKEY_derive_init(deriving.get()) == 1 &&
                    EVP_PKEY_derive_set_peer(deriving.get(), peer) == 1 &&
                    EVP_PKEY_derive(deriving.get(), made.data(), &length) == 1;
  made.resize(done ? length : 0);
  return made;
}

// light_x25519.h, and P-256 beside it: both sides agree, one of them in the default context.
bool exchanges_keys(OSSL_LIB_CTX* light, const char* type, const char* group) {
  const KeyPtr ours = new_key(light, type, group), theirs = new_key(nullptr, type, group);
  if (!ours || !theirs) return false;
  const KeyPtr there = read_key(nullptr, encoded(ours.get()));
  KeyPtr peer(EVP_PKEY_new());
  std::array<unsigned char, 80> point;
  std::size_t length = 0;
  if (!there || !peer || EVP_PKEY_copy_parameters(peer.get(), ours.get()) != 1 ||
      EVP_PKEY_get_octet_string_param(theirs.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &length) !=
          1 ||
      EVP_PKEY_set1_encoded_public_key(peer.get(), point.data(), length) != 1) {
    return false;
  }
  const Octets secret = agreed(light, ours.get(), peer.get());
  return !secret.empty() && secret == agreed(nullptr, theirs.get(), there.get());
}

OSSL_PARAM bytes(const char* name, std::span<const unsigned char> value) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<unsigned char*>(value.data()), value.size());
}

Octets derived(OSSL_LIB_CTX* context, const char* kdf, const OSSL_PARAM* params) {
  const KdfPtr algorithm(EVP_KDF_fetch(context, kdf, nullptr));
  const KdfContextPtr derivation(algorithm ? EVP_KDF_CTX_new(algorithm.get()) : nullptr);
  Octets made(32);
  if (!derivation || EVP_KDF_derive(derivation.get(), made.data(), made.size(), params) != 1) made.clear();
  return made;
}

// light_tls_kdf.h: the same as OpenSSL's own, and the tap sees an application traffic secret.
bool derives_secrets(OSSL_LIB_CTX* light) {
  constexpr std::array<unsigned char, 32> kSecret = {1, 2, 3}, kHash = {4, 5, 6};
  constexpr std::array<unsigned char, 6> kPrefix = {'t', 'l', 's', '1', '3', ' '};
  constexpr std::array<unsigned char, 12> kLabel = {'c', ' ', 'a', 'p', ' ', 't', 'r', 'a', 'f', 'f', 'i', 'c'};
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  char digest[] = "SHA2-256";
  const OSSL_PARAM expand[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                               OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                               bytes(OSSL_KDF_PARAM_KEY, kSecret),
                               bytes(OSSL_KDF_PARAM_PREFIX, kPrefix),
                               bytes(OSSL_KDF_PARAM_LABEL, kLabel),
                               bytes(OSSL_KDF_PARAM_DATA, kHash),
                               OSSL_PARAM_construct_end()};
  const OSSL_PARAM prf[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                            bytes(OSSL_KDF_PARAM_SECRET, kSecret), bytes(OSSL_KDF_PARAM_SEED, kLabel),
                            bytes(OSSL_KDF_PARAM_SEED, kHash), OSSL_PARAM_construct_end()};
  TrafficSecrets secrets;
  Octets expanded;
  {
    const TrafficSecretsTap tap(secrets);
    expanded = derived(light, OSSL_KDF_NAME_TLS1_3_KDF, expand);
  }
  const Octets seeded = derived(light, OSSL_KDF_NAME_TLS1_PRF, prf);
  return !expanded.empty() && expanded == derived(nullptr, OSSL_KDF_NAME_TLS1_3_KDF, expand) && !seeded.empty() &&
         seeded == derived(nullptr, OSSL_KDF_NAME_TLS1_PRF, prf) && secrets.client_bytes == expanded.size() &&
         std::equal(expanded.begin(), expanded.end(), secrets.client.begin());
}

}  // namespace

std::string_view light_self_test(OSSL_LIB_CTX* light) {
  const NoErrorsLeft no_errors_left;
  if (!reads_keys(light)) return "the light context reads or uses a P-256 key otherwise than OpenSSL";
  if (!exchanges_keys(light, "EC", "P-256")) return "the light context's P-256 agrees on no secret";
  if (!exchanges_keys(light, "X25519", nullptr)) return "the light context's X25519 agrees on no secret";
  if (!derives_secrets(light)) return "the light context's key schedules derive otherwise than OpenSSL's";
  return {};
}

}  // namespace sallyport
