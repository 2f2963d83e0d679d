// A provider as an operator may bring one: "house", which has the default provider's algorithms under a name and a
// property of its own (provider(7)). With it as the only active provider (tests/e2e/tls/test_openssl_alone.py) nothing
// can come from anywhere else. While there is the file that HOUSE_DOWN names, its HMAC is as hardware's that is gone,
// which asks the thread's default library context for another one.
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

OSSL_PROVIDER* whole = nullptr;
OSSL_FUNC_mac_final_fn* finish_hmac = nullptr;

int finish_or_ask(void* context, unsigned char* out, std::size_t* bytes, std::size_t room) {
  const char* down = std::getenv("HOUSE_DOWN");
  if (down != nullptr && ::access(down, F_OK) == 0) {
    EVP_MAC* other = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    if (other == nullptr) return 0;
    EVP_MAC_free(other);
  }
  return finish_hmac(context, out, bytes, room);
}

const OSSL_DISPATCH* hmac_of(const OSSL_DISPATCH* functions) {
  static std::vector<OSSL_DISPATCH> own;
  if (!own.empty()) return own.data();
  for (; functions->function_id != 0; ++functions) {
    own.push_back(*functions);
    if (functions->function_id != OSSL_FUNC_MAC_FINAL) continue;
    finish_hmac = OSSL_FUNC_mac_final(functions);
    own.back().function = reinterpret_cast<void (*)()>(&finish_or_ask);
  }
  own.push_back({0, nullptr});
  return own.data();
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  static std::map<int, std::vector<OSSL_ALGORITHM>> known;
  static std::vector<std::string*> kept;
  *no_cache = 0;
  const auto [found, added] = known.try_emplace(operation);
  std::vector<OSSL_ALGORITHM>& all = found->second;
  if (!added) return all.data();
  int ignored = 0;
  for (const OSSL_ALGORITHM* each = OSSL_PROVIDER_query_operation(whole, operation, &ignored);
       each != nullptr && each->algorithm_names != nullptr; ++each) {
    auto* properties = kept.emplace_back(new std::string(each->property_definition));
    if (const auto at = properties->find("provider=default"); at != std::string::npos) {
      properties->replace(at, 16, "provider=house");
    }
    all.push_back(*each);
    all.back().property_definition = properties->c_str();
    const bool hmac = operation == OSSL_OP_MAC && std::string_view(each->algorithm_names).starts_with("HMAC");
    if (hmac) all.back().implementation = hmac_of(each->implementation);
  }
  all.push_back({nullptr, nullptr, nullptr, nullptr});
  return all.data();
}

int capabilities(void*, const char* capability, OSSL_CALLBACK* take, void* argument) {
  return OSSL_PROVIDER_get_capabilities(whole, capability, take, argument);
}

void teardown(void*) {}

}  // namespace

extern "C" __attribute__((visibility("default"))) int OSSL_provider_init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*,
                                                                         const OSSL_DISPATCH** out, void** context) {
  static const OSSL_DISPATCH functions[] = {
      {OSSL_FUNC_PROVIDER_TEARDOWN, reinterpret_cast<void (*)()>(&teardown)},
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(&query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(&capabilities)},
      {0, nullptr}};
  OSSL_LIB_CTX* behind = OSSL_LIB_CTX_new();
  whole = behind == nullptr ? nullptr : OSSL_PROVIDER_load(behind, "default");
  if (whole == nullptr) return 0;
  *out = functions;
  *context = OSSL_PROVIDER_get0_provider_ctx(whole);
  return 1;
}
