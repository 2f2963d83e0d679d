#include "cache/crypto/light_x25519.h"

#include <gmp.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <sodium/core.h>
#include <sodium/crypto_scalarmult_ed25519.h>

#include <memory>

#include "cache/crypto/light_dispatch.h"

namespace sallyport {

namespace {

struct Number {
  mpz_t value;

  Number() { mpz_init(value); }
  ~Number() { mpz_clear(value); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
};

// RFC 7748, section 4.1: u = (1 + y) / (1 - y), modulo 2^255 - 19. Of an encoded Edwards point the last bit is x's
// sign. False for the neutral element, which no clamped scalar leads to.
bool to_montgomery(X25519Bytes edwards, X25519Bytes& u) {
  edwards.back() &= 0x7f;
  Number prime, numerator, denominator;
  mpz_ui_pow_ui(prime.value, 2, 255);
  mpz_sub_ui(prime.value, prime.value, 19);
  mpz_import(numerator.value, edwards.size(), -1, 1, 0, 0, edwards.data());
  mpz_ui_sub(denominator.value, 1, numerator.value);
  if (mpz_invert(denominator.value, denominator.value, prime.value) == 0) return false;
  mpz_add_ui(numerator.value, numerator.value, 1);
  mpz_mul(numerator.value, numerator.value, denominator.value);
  mpz_mod(numerator.value, numerator.value, prime.value);
  u.fill(0);
  mpz_export(u.data(), nullptr, -1, 1, 0, 0, numerator.value);
  return true;
}

struct Functions {
  OSSL_FUNC_keymgmt_new_fn* new_key = nullptr;
  OSSL_FUNC_keymgmt_free_fn* free_key = nullptr;
  OSSL_FUNC_keymgmt_import_fn* import = nullptr;
  OSSL_FUNC_keymgmt_gen_init_fn* gen_init = nullptr;
  OSSL_FUNC_keymgmt_gen_set_params_fn* gen_set_params = nullptr;
  OSSL_FUNC_keymgmt_gen_fn* gen = nullptr;
  OSSL_FUNC_keymgmt_gen_cleanup_fn* gen_cleanup = nullptr;
};
Functions& functions() {
  static Functions all;
  return all;
}

// provider-keymgmt(7): what is known between the start of a generation and its end.
struct Generation {
  void* provider_context;
  int selection;
  void* openssls;
};

void* begin(void* provider_context, int selection, const OSSL_PARAM params[]) {
  void* openssls = functions().gen_init(provider_context, selection, params);
  if (openssls == nullptr) return nullptr;
  return std::make_unique<Generation>(Generation{provider_context, selection, openssls}).release();
}

int set_params(void* generation, const OSSL_PARAM params[]) {
  return functions().gen_set_params(static_cast<Generation*>(generation)->openssls, params);
}

void end(void* generation) {
  const std::unique_ptr<Generation> owned(static_cast<Generation*>(generation));
  if (owned) functions().gen_cleanup(owned->openssls);
}

void* imported(void* provider_context, X25519Bytes& private_key, X25519Bytes& public_key) {
  void* key = functions().new_key(provider_context);
  if (key == nullptr) return nullptr;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, private_key.data(), private_key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public_key.data(), public_key.size()),
      OSSL_PARAM_construct_end()};
  if (functions().import(key, OSSL_KEYMGMT_SELECT_KEYPAIR, params) == 1) return key;
  functions().free_key(key);
  return nullptr;
}

// Clamped as OpenSSL keeps its own (RFC 7748, section 5), from the generator OpenSSL takes for private keys.
void* generate(void* generation, OSSL_CALLBACK* progress, void* argument) {
  const auto& asked = *static_cast<Generation*>(generation);
  if ((asked.selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) {  // a template for the peer's key
    return functions().gen(asked.openssls, progress, argument);
  }
  X25519Bytes private_key, public_key;
  if (RAND_priv_bytes(private_key.data(), static_cast<int>(private_key.size())) != 1) return nullptr;
  private_key.front() &= 0xf8;
  private_key.back() = static_cast<std::uint8_t>((private_key.back() & 0x7f) | 0x40);
  void* key =
      x25519_public(private_key, public_key) ? imported(asked.provider_context, private_key, public_key) : nullptr;
  OPENSSL_cleanse(private_key.data(), private_key.size());
  return key;
}

// RFC 7748, section 6.1: Alice's keys.
bool makes_the_rfcs_key() {
  constexpr X25519Bytes kPrivate = {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1,
                                    0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0,
                                    0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
  constexpr X25519Bytes kPublic = {0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d,
                                   0xdc, 0xb4, 0x3e, 0xf7, 0x5a, 0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38,
                                   0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a};
  X25519Bytes made{};
  return x25519_public(kPrivate, made) && made == kPublic;
}

}  // namespace

bool x25519_public(const X25519Bytes& private_key, X25519Bytes& public_key) {
  static const bool usable = sodium_init() >= 0;
  X25519Bytes edwards;
  return usable && crypto_scalarmult_ed25519_base(edwards.data(), private_key.data()) == 0 &&
         to_montgomery(edwards, public_key);
}

OSSL_ALGORITHM x25519_key_manager(const OSSL_ALGORITHM& key_manager) {
  Functions& all = functions();
  const OSSL_DISPATCH* theirs = key_manager.implementation;
  find_function(theirs, OSSL_FUNC_KEYMGMT_NEW, all.new_key);
  find_function(theirs, OSSL_FUNC_KEYMGMT_FREE, all.free_key);
  find_function(theirs, OSSL_FUNC_KEYMGMT_IMPORT, all.import);
  find_function(theirs, OSSL_FUNC_KEYMGMT_GEN_INIT, all.gen_init);
  find_function(theirs, OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, all.gen_set_params);
  find_function(theirs, OSSL_FUNC_KEYMGMT_GEN, all.gen);
  find_function(theirs, OSSL_FUNC_KEYMGMT_GEN_CLEANUP, all.gen_cleanup);
  if (!all.new_key || !all.free_key || !all.import || !all.gen_init || !all.gen_set_params || !all.gen ||
      !all.gen_cleanup || !makes_the_rfcs_key()) {
    return key_manager;
  }
  static const std::vector<OSSL_DISPATCH> table =
      with_functions(theirs, {{OSSL_FUNC_KEYMGMT_GEN_INIT, reinterpret_cast<void (*)()>(&begin)},
                              {OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, reinterpret_cast<void (*)()>(&set_params)},
                              {OSSL_FUNC_KEYMGMT_GEN, reinterpret_cast<void (*)()>(&generate)},
                              {OSSL_FUNC_KEYMGMT_GEN_CLEANUP, reinterpret_cast<void (*)()>(&end)}});
  OSSL_ALGORITHM ours = key_manager;
  ours.implementation = table.data();
  return ours;
}

}  // namespace sallyport
