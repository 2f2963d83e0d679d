#include "cache/light_parsing.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>

#include <string_view>
#include <vector>

namespace sallyport {

namespace {

// What provider(7) asks of a provider; all but the decoders is handed through to the default one.
struct Light {
  OSSL_PROVIDER* whole = nullptr;
  std::vector<OSSL_ALGORITHM> decoders;  // ends with an empty one
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
  const bool key = first == "EC" || first == "RSA" || first == "RSA-PSS" || first == "ED25519";
  return (key && properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos) ||
         (first == "DER" && properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos);
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  if (operation != OSSL_OP_DECODER) return OSSL_PROVIDER_query_operation(light().whole, operation, no_cache);
  *no_cache = 0;
  return light().decoders.data();
}

void teardown(void*) {}

int initialise(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** provider_context) {
  static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_TEARDOWN, reinterpret_cast<void (*)()>(&teardown)},
                                            {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(&query)},
                                            {0, nullptr}};
  *out = functions;
  *provider_context = OSSL_PROVIDER_get0_provider_ctx(light().whole);
  return 1;
}

OSSL_LIB_CTX* make() {
  Light& made = light();
  made.whole = OSSL_PROVIDER_load(nullptr, "default");
  if (made.whole == nullptr) return nullptr;
  int no_cache = 0;
  const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(made.whole, OSSL_OP_DECODER, &no_cache);
  for (; all != nullptr && all->algorithm_names != nullptr; ++all) {
    if (wanted(*all)) made.decoders.push_back(*all);
  }
  made.decoders.push_back({});
  OSSL_LIB_CTX* context = OSSL_LIB_CTX_new();
  if (context == nullptr) return nullptr;
  if (OSSL_PROVIDER_add_builtin(context, "light", &initialise) == 1 &&
      OSSL_PROVIDER_load(context, "light") != nullptr) {
    return context;
  }
  OSSL_LIB_CTX_free(context);
  return nullptr;
}

}  // namespace

OSSL_LIB_CTX* light_parsing_context() {
  static OSSL_LIB_CTX* const context = make();
  return context;
}

}  // namespace sallyport
