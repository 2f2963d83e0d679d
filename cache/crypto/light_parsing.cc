#include "cache/crypto/light_parsing.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "cache/crypto/light_ec_decoder.h"
#include "cache/crypto/light_self_test.h"
#include "cache/crypto/light_tls_kdf.h"
#include "cache/crypto/light_x25519.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/crypto/openssl_insides.h"

namespace sallyport {

namespace {

// What provider(7) asks of a provider. Of these operations only what is named; the rest is the default provider's.
// What is not here cannot be negotiated, and the context knows few names: OpenSSL 3.0 walks all of them for each
// EVP_PKEY_CTX it makes (EVP_KEYMGMT_names_do_all), ten times in a handshake.
struct Wanted {
  int operation;
  std::vector<std::string_view> names;  // the first of an algorithm's names
};
const std::vector<Wanted>& wanted() {
  static const std::vector<Wanted> all = {
      {OSSL_OP_DIGEST,
       {"SHA1", "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"}},
      // Records; tickets; and what a CTR-DRBG runs on.
      {OSSL_OP_CIPHER,
       {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-256-CBC", "AES-256-CTR", "AES-256-ECB"}},
      {OSSL_OP_MAC, {"HMAC"}},
      {OSSL_OP_KDF, {}},  // our own: light_tls_kdf.h
      {OSSL_OP_RAND, {"CTR-DRBG", "SEED-SRC"}},
      // Of certificates' keys and of the exchanges in tls_context.cc; HMAC for the binders of TLS 1.3.
      {OSSL_OP_KEYMGMT, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "X25519", "HMAC", "ML-KEM-768", "X25519MLKEM768"}},
      {OSSL_OP_KEYEXCH, {"ECDH", "X25519"}},
      {OSSL_OP_SIGNATURE, {"ECDSA", "RSA", "ED25519", "ED448", "HMAC"}},
      {OSSL_OP_DECODER, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448"}},
      {OSSL_OP_ASYM_CIPHER, {}},
      {OSSL_OP_KEM, {"ML-KEM-768", "X25519MLKEM768"}},  // since OpenSSL 3.5
  };
  return all;
}

struct Light {
  OSSL_PROVIDER* whole = nullptr;
  std::map<int, std::vector<OSSL_ALGORITHM>> algorithms;  // by operation; each list ends with an empty one
};

Light& light() {
  static Light made;
  return made;
}

// Names and properties are such as "EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=default,structure=...". Keys come
// from SubjectPublicKeyInfo in DER alone: files are read by OpenSSL's default context.
bool is_among(const std::vector<std::string_view>& names, int operation, const OSSL_ALGORITHM& algorithm) {
  const std::string_view all = algorithm.algorithm_names;
  const std::string_view properties = algorithm.property_definition;
  if (operation == OSSL_OP_DECODER && properties.find("structure=SubjectPublicKeyInfo") == std::string_view::npos) {
    return false;
  }
  return std::find(names.begin(), names.end(), all.substr(0, all.find(':'))) != names.end();
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  *no_cache = 0;
  const auto found = light().algorithms.find(operation);
  if (found != light().algorithms.end()) return found->second.data();
  return OSSL_PROVIDER_query_operation(light().whole, operation, no_cache);
}

std::vector<OSSL_ALGORITHM> those(const Wanted& wanted) {
  std::vector<OSSL_ALGORITHM> found;
  if (wanted.operation == OSSL_OP_KDF) found = {tls13_kdf(), tls1_prf()};
  int no_cache = 0;
  const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(light().whole, wanted.operation, &no_cache);
  for (; all != nullptr && all->algorithm_names != nullptr; ++all) {
    if (is_among(wanted.names, wanted.operation, *all)) found.push_back(*all);
  }
  found.push_back({});
  return found;
}

// The groups of TLS come from here: provider-base(7).
int capabilities(void*, const char* capability, OSSL_CALLBACK* take, void* argument) {
  return OSSL_PROVIDER_get_capabilities(light().whole, capability, take, argument);
}

void teardown(void*) {}

OSSL_ALGORITHM* first_named(int operation, std::string_view name) {
  for (OSSL_ALGORITHM& each : light().algorithms[operation]) {
    if (each.algorithm_names != nullptr && is_among({name}, operation, each)) return &each;
  }
  return nullptr;
}

int initialise(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH* core, const OSSL_DISPATCH** out, void** provider_context) {
  static const OSSL_DISPATCH functions[] = {
      {OSSL_FUNC_PROVIDER_TEARDOWN, reinterpret_cast<void (*)()>(&teardown)},
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(&query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(&capabilities)},
      {0, nullptr}};
  OSSL_ALGORITHM* decoder = first_named(OSSL_OP_DECODER, "EC");
  const OSSL_ALGORITHM* key_manager = first_named(OSSL_OP_KEYMGMT, "EC");
  if (decoder != nullptr && key_manager != nullptr) {
    *decoder = ec_decoder(*decoder, *key_manager, light().whole, core);
  }
  OSSL_ALGORITHM* x25519 = first_named(OSSL_OP_KEYMGMT, "X25519");
  if (x25519 != nullptr) *x25519 = x25519_key_manager(*x25519);
  *out = functions;
  *provider_context = OSSL_PROVIDER_get0_provider_ctx(light().whole);
  return 1;
}

// A new context takes over the names of OpenSSL's table of legacy methods, 200 ciphers' among them. Of those only
// what ASN.1 looks up by name is put there: digests of signatures, and the ciphers an encrypted PEM key names so that
// it is refused for being encrypted. Where something else filled the table before, names are many and that is all.
void keep_legacy_names_few() {
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS, nullptr);
  for (const EVP_MD* digest : {EVP_sha1(), EVP_sha224(), EVP_sha256(), EVP_sha384(), EVP_sha512(), EVP_sha3_224(),
                               EVP_sha3_256(), EVP_sha3_384(), EVP_sha3_512()}) {
    EVP_add_digest(digest);
  }
  for (const EVP_CIPHER* cipher : {EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc(), EVP_des_ede3_cbc()}) {
    EVP_add_cipher(cipher);
  }
}

OSSL_LIB_CTX* make() {
  keep_legacy_names_few();
  Light& made = light();
  // In a context of its own: what OPENSSL_CONF gives to the default one, and withholds from it, is not ours to change.
  OSSL_LIB_CTX* apart = OSSL_LIB_CTX_new();
  made.whole = apart != nullptr ? OSSL_PROVIDER_load(apart, "default") : nullptr;
  if (made.whole == nullptr) {
    OSSL_LIB_CTX_free(apart);
    return nullptr;
  }
  for (const Wanted& each : wanted()) made.algorithms.emplace(each.operation, those(each));
  OSSL_LIB_CTX* context = OSSL_LIB_CTX_new();
  if (context == nullptr) return nullptr;
  if (OSSL_PROVIDER_add_builtin(context, "light", &initialise) != 1 ||
      OSSL_PROVIDER_load(context, "light") == nullptr) {
    OSSL_LIB_CTX_free(context);
    return nullptr;
  }
  const std::string_view failed = light_self_test(context);
  if (failed.empty()) return context;
  give_up_openssl_insides(failed);
  OSSL_LIB_CTX_free(context);
  return nullptr;
}

OSSL_LIB_CTX* made_if_it_may_be() {
  if (!openssl_insides_hold()) return nullptr;
  OSSL_LIB_CTX* const made = make();
  if (made == nullptr) give_up_openssl_insides("the light context cannot be made");
  return made;
}

using ParamsPtr = std::unique_ptr<OSSL_PARAM, OpensslFree<&OSSL_PARAM_free>>;

}  // namespace

KeyPtr held_in(OSSL_LIB_CTX* context, const EVP_PKEY* key) {
  OSSL_PARAM* all = nullptr;
  const char* type = EVP_PKEY_get0_type_name(key);
  if (type == nullptr || EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &all) != 1) return nullptr;
  const ParamsPtr params(all);
  const KeyContextPtr making(EVP_PKEY_CTX_new_from_name(context, type, nullptr));
  EVP_PKEY* made = nullptr;
  if (!making || EVP_PKEY_fromdata_init(making.get()) != 1 ||
      EVP_PKEY_fromdata(making.get(), &made, EVP_PKEY_KEYPAIR, params.get()) != 1) {
    return nullptr;
  }
  return KeyPtr(made);
}

OSSL_LIB_CTX* light_parsing_context() {
  if (openssl_alone()) return nullptr;  // nor is it made for whoever must not use it
  static OSSL_LIB_CTX* const context = made_if_it_may_be();
  return openssl_insides_hold() ? context : nullptr;
}

}  // namespace sallyport
