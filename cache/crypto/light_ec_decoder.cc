#include "cache/crypto/light_ec_decoder.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "cache/crypto/light_dispatch.h"

namespace sallyport {

namespace {

// SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING of 65 bytes } up to the point.
constexpr std::array<unsigned char, 26> kP256 = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                                 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                                 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
constexpr unsigned char kUncompressed = 4;
constexpr std::size_t kPoint = 65;
constexpr std::size_t kMostKey = 4096;  // with parameters spelled out; what is longer is not read as a key

struct Functions {
  OSSL_FUNC_BIO_read_ex_fn* read = nullptr;
  OSSL_FUNC_BIO_new_membuf_fn* in_memory = nullptr;
  OSSL_FUNC_BIO_free_fn* free_bio = nullptr;
  OSSL_FUNC_decoder_decode_fn* decode = nullptr;
  OSSL_FUNC_keymgmt_new_fn* new_key = nullptr;
  OSSL_FUNC_keymgmt_import_fn* import = nullptr;
  OSSL_FUNC_keymgmt_dup_fn* dup = nullptr;
  OSSL_FUNC_keymgmt_set_params_fn* set_params = nullptr;
  OSSL_FUNC_keymgmt_free_fn* free_key = nullptr;
  void* p256 = nullptr;  // without a point; copied, never changed
};
Functions& functions() {
  static Functions all;
  return all;
}

// False where the bytes are more than a key has.
bool read_all(OSSL_CORE_BIO* in, std::array<unsigned char, kMostKey>& into, std::size_t& length) {
  length = 0;
  std::size_t got = 0;
  while (length < into.size() && functions().read(in, into.data() + length, into.size() - length, &got) == 1) {
    length += got;
  }
  return length < into.size();
}

bool is_p256(std::span<const unsigned char> der) {
  return der.size() == kP256.size() + kPoint && std::equal(kP256.begin(), kP256.end(), der.begin()) &&
         der[kP256.size()] == kUncompressed;
}

// Null where the point is not on the curve.
void* key_of(std::span<const unsigned char> point) {
  void* key = functions().dup(functions().p256, OSSL_KEYMGMT_SELECT_ALL_PARAMETERS);
  if (key == nullptr) return nullptr;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, const_cast<unsigned char*>(point.data()),
                                        point.size()),
      OSSL_PARAM_construct_end()};
  if (functions().set_params(key, params) == 1) return key;
  functions().free_key(key);
  return nullptr;
}

// provider-decoder(7): what is handed over is a reference, from which the key manager takes the key; what it left is
// freed here. Coming back without a key is no error: another decoder may read it.
int decode_key(void* context, OSSL_CORE_BIO* in, int selection, OSSL_CALLBACK* take, void* argument,
               OSSL_PASSPHRASE_CALLBACK* passphrase, void* passphrase_argument) {
  std::array<unsigned char, kMostKey> der;
  std::size_t length = 0;
  if (!read_all(in, der, length)) return 1;
  if (!is_p256(std::span(der).first(length))) {
    OSSL_CORE_BIO* again = functions().in_memory(der.data(), static_cast<int>(length));
    if (again == nullptr) return 0;
    const int done = functions().decode(context, again, selection, take, argument, passphrase, passphrase_argument);
    functions().free_bio(again);
    return done;
  }
  void* key = key_of(std::span(der).subspan(kP256.size(), kPoint));
  if (key == nullptr) return 1;
  int type = OSSL_OBJECT_PKEY;
  char name[] = "EC";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
                               OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, name, 0),
                               OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof key),
                               OSSL_PARAM_construct_end()};
  const int done = take(params, argument);
  functions().free_key(key);
  return done;
}

void* prepared_key(void* provider_context) {
  void* key = functions().new_key(provider_context);
  char name[] = "prime256v1";
  const OSSL_PARAM group[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
                              OSSL_PARAM_construct_end()};
  if (key != nullptr && functions().import(key, OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS, group) == 1) return key;
  functions().free_key(key);
  return nullptr;
}

}  // namespace

OSSL_ALGORITHM ec_decoder(const OSSL_ALGORITHM& decoder, const OSSL_ALGORITHM& key_manager, const OSSL_PROVIDER* whole,
                          const OSSL_DISPATCH* core) {
  Functions& all = functions();
  find_function(core, OSSL_FUNC_BIO_READ_EX, all.read);
  find_function(core, OSSL_FUNC_BIO_NEW_MEMBUF, all.in_memory);
  find_function(core, OSSL_FUNC_BIO_FREE, all.free_bio);
  find_function(decoder.implementation, OSSL_FUNC_DECODER_DECODE, all.decode);
  find_function(key_manager.implementation, OSSL_FUNC_KEYMGMT_NEW, all.new_key);
  find_function(key_manager.implementation, OSSL_FUNC_KEYMGMT_IMPORT, all.import);
  find_function(key_manager.implementation, OSSL_FUNC_KEYMGMT_DUP, all.dup);
  find_function(key_manager.implementation, OSSL_FUNC_KEYMGMT_SET_PARAMS, all.set_params);
  find_function(key_manager.implementation, OSSL_FUNC_KEYMGMT_FREE, all.free_key);
  if (!all.read || !all.in_memory || !all.free_bio || !all.decode || !all.new_key || !all.import || !all.dup ||
      !all.set_params || !all.free_key) {
    return decoder;
  }
  all.p256 = prepared_key(OSSL_PROVIDER_get0_provider_ctx(whole));
  if (all.p256 == nullptr) return decoder;
  static const std::vector<OSSL_DISPATCH> table =
      with_functions(decoder.implementation, {{OSSL_FUNC_DECODER_DECODE, reinterpret_cast<void (*)()>(&decode_key)}});
  OSSL_ALGORITHM ours = decoder;
  ours.implementation = table.data();
  return ours;
}

}  // namespace sallyport
