#include "cache/light_parsing.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <string_view>
#include <vector>

namespace sallyport {

namespace {

// What provider(7) asks of a provider; all but decoders and key managers is handed through to the default one.
struct Light {
  OSSL_PROVIDER* whole = nullptr;
  std::vector<OSSL_ALGORITHM> decoders, key_managers;  // each ends with an empty one
};

Light& light() {
  static Light made;
  return made;
}

// "EC:id-ecPublicKey:1.2.840.10045.2.1" from a SubjectPublicKeyInfo or the key's own structure in DER.
bool wanted(const OSSL_ALGORITHM& algorithm) {
  const std::string_view names = algorithm.algorithm_names;
  const std::string_view properties = algorithm.property_definition;
  const std::string_view first = names.substr(0, names.find(':'));
  const bool key = first == "EC" || first == "RSA" || first == "RSA-PSS" || first == "ED25519" || first == "ED448";
  return (key && properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos) ||
         (first == "DER" && properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos);
}

// Of certificates' keys and of the exchanges in tls_context.cc. Every parsed certificate walks the whole list.
bool of_a_key(const OSSL_ALGORITHM& algorithm) {
  const std::string_view names = algorithm.algorithm_names;
  const std::string_view first = names.substr(0, names.find(':'));
  return first == "EC" || first == "RSA" || first == "RSA-PSS" || first == "ED25519" || first == "ED448" ||
         first == "X25519" || first == "HMAC";  // the last for the binders of TLS 1.3
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  *no_cache = 0;
  if (operation == OSSL_OP_DECODER) return light().decoders.data();
  if (operation == OSSL_OP_KEYMGMT) return light().key_managers.data();
  return OSSL_PROVIDER_query_operation(light().whole, operation, no_cache);
}

std::vector<OSSL_ALGORITHM> those(int operation, bool (*wanted)(const OSSL_ALGORITHM&)) {
  std::vector<OSSL_ALGORITHM> found;
  int no_cache = 0;
  const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(light().whole, operation, &no_cache);
  for (; all != nullptr && all->algorithm_names != nullptr; ++all) {
    if (wanted(*all)) found.push_back(*all);
  }
  found.push_back({});
  return found;
}

// The groups of TLS come from here: provider-base(7).
int capabilities(void*, const char* capability, OSSL_CALLBACK* take, void* argument) {
  return OSSL_PROVIDER_get_capabilities(light().whole, capability, take, argument);
}

void teardown(void*) {}

int initialise(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** provider_context) {
  static const OSSL_DISPATCH functions[] = {
      {OSSL_FUNC_PROVIDER_TEARDOWN, reinterpret_cast<void (*)()>(&teardown)},
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(&query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(&capabilities)},
      {0, nullptr}};
  *out = functions;
  *provider_context = OSSL_PROVIDER_get0_provider_ctx(light().whole);
  return 1;
}

OSSL_LIB_CTX* make() {
  Light& made = light();
  made.whole = OSSL_PROVIDER_load(nullptr, "default");
  if (made.whole == nullptr) return nullptr;
  made.decoders = those(OSSL_OP_DECODER, &wanted);
  made.key_managers = those(OSSL_OP_KEYMGMT, &of_a_key);
  OSSL_LIB_CTX* context = OSSL_LIB_CTX_new();
  if (context == nullptr) return nullptr;
  if (OSSL_PROVIDER_add_builtin(context, "light", &initialise) == 1 &&
      OSSL_PROVIDER_load(context, "light") != nullptr) {
    return context;
  }
  OSSL_LIB_CTX_free(context);
  return nullptr;
}

using ParamsPtr = std::unique_ptr<OSSL_PARAM, OpensslFree<&OSSL_PARAM_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<&EVP_PKEY_CTX_free>>;

}  // namespace

KeyPtr lightly_held(KeyPtr key) {
  OSSL_PARAM* all = nullptr;
  const char* type = EVP_PKEY_get0_type_name(key.get());
  if (type == nullptr || EVP_PKEY_todata(key.get(), EVP_PKEY_KEYPAIR, &all) != 1) return key;
  const ParamsPtr params(all);
  const KeyContextPtr making(EVP_PKEY_CTX_new_from_name(light_parsing_context(), type, nullptr));
  EVP_PKEY* made = nullptr;
  if (!making || EVP_PKEY_fromdata_init(making.get()) != 1 ||
      EVP_PKEY_fromdata(making.get(), &made, EVP_PKEY_KEYPAIR, params.get()) != 1) {
    return key;
  }
  return KeyPtr(made);
}

OSSL_LIB_CTX* light_parsing_context() {
  static OSSL_LIB_CTX* const context = make();
  return context;
}

}  // namespace sallyport
