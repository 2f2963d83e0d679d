// What nothing may call where cryptography is OpenSSL's alone: the functions of other libraries, OpenSSL's below its
// public API, and what a library context of our own begins with. Linked into a test, each is counted that is called
// where it may not be; preloaded into the program (tests/e2e/tls/test_openssl_alone.py), the first one ends it.
// What libcrypto calls of itself is its own affair.
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/sha.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifdef SALLYPORT_PRELOADED
namespace {
void bad_call(const char* name) {
  std::fprintf(stderr, "poisoned: %s\n", name);
  std::abort();
}
}  // namespace
#else
#include "cache/crypto/openssl_alone.h"
#include "tests/proxy/tls/poisoned_crypto.h"
namespace sallyport::test {
std::atomic<int> poisoned_calls{0};
std::atomic<int> allowed_calls{0};
std::atomic<int> mac_calls{0};
}  // namespace sallyport::test
namespace {
void bad_call(const char* name) {
  if (!sallyport::openssl_alone()) {
    ++sallyport::test::allowed_calls;
    return;
  }
  ++sallyport::test::poisoned_calls;
  std::fprintf(stderr, "poisoned: %s\n", name);
}
}  // namespace
#endif

namespace {

void called(const char* name, void* from) {
  Dl_info caller{};
  const bool known = dladdr(from, &caller) != 0 && caller.dli_fname != nullptr;
  if (!known || std::strstr(caller.dli_fname, "libcrypto") == nullptr) bad_call(name);
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

extern "C" {

int SHA256_Init(SHA256_CTX* state) {
  called("SHA256_Init", __builtin_return_address(0));
  return real<int(SHA256_CTX*)>("SHA256_Init")(state);
}
int SHA384_Init(SHA512_CTX* state) {
  called("SHA384_Init", __builtin_return_address(0));
  return real<int(SHA512_CTX*)>("SHA384_Init")(state);
}
int OSSL_PROVIDER_add_builtin(OSSL_LIB_CTX* context, const char* name, OSSL_provider_init_fn* begin) {
  called("OSSL_PROVIDER_add_builtin", __builtin_return_address(0));
  return real<int(OSSL_LIB_CTX*, const char*, OSSL_provider_init_fn*)>("OSSL_PROVIDER_add_builtin")(context, name,
                                                                                                    begin);
}
#ifndef SALLYPORT_PRELOADED
int EVP_MAC_init(EVP_MAC_CTX* state, const unsigned char* key, size_t bytes, const OSSL_PARAM params[]) {
  ++sallyport::test::mac_calls;
  return real<int(EVP_MAC_CTX*, const unsigned char*, size_t, const OSSL_PARAM[])>("EVP_MAC_init")(state, key, bytes,
                                                                                                   params);
}
#endif
// libsodium, GMP and libipsec-mb: their headers are not needed to stand in front of them.
int sodium_init() {
  called("sodium_init", __builtin_return_address(0));
  return real<int()>("sodium_init")();
}
int crypto_scalarmult_ed25519_base(unsigned char* point, const unsigned char* scalar) {
  called("crypto_scalarmult_ed25519_base", __builtin_return_address(0));
  return real<int(unsigned char*, const unsigned char*)>("crypto_scalarmult_ed25519_base")(point, scalar);
}
void __gmpz_init(void* number) {
  called("__gmpz_init", __builtin_return_address(0));
  real<void(void*)>("__gmpz_init")(number);
}
void* alloc_mb_mgr(unsigned long flags) {
  called("alloc_mb_mgr", __builtin_return_address(0));
  return real<void*(unsigned long)>("alloc_mb_mgr")(flags);
}

}  // extern "C"
