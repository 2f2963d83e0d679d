// The functions of OpenSSL and libsodium at which secrets are made, or become public: these are called in their place,
// and call them.
#include "tests/constant_time/secrets.h"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sodium/crypto_scalarmult_ed25519.h>

namespace sallyport::test {
namespace {
bool hashes_are_secret = false;

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
}  // namespace

HashesAreSecret::HashesAreSecret() {
  hashes_are_secret = true;
}
HashesAreSecret::~HashesAreSecret() {
  hashes_are_secret = false;
}

}  // namespace sallyport::test

using namespace sallyport::test;
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

extern "C" {

// Whether both are the same is told to the peer; where they differ is not.
int CRYPTO_memcmp(const void* a, const void* b, std::size_t length) {
  static const auto theirs = real<decltype(CRYPTO_memcmp)>("CRYPTO_memcmp");
  int differ = theirs(a, b, length);
  reveal(&differ, sizeof differ);
  return differ != 0 ? 1 : 0;
}

int SHA256_Final(unsigned char* hash, SHA256_CTX* state) {
  static const auto theirs = real<decltype(SHA256_Final)>("SHA256_Final");
  const int done = theirs(hash, state);
  if (hashes_are_secret) hide(hash, SHA256_DIGEST_LENGTH);
  return done;
}

int RAND_priv_bytes(unsigned char* bytes, int count) {
  static const auto theirs = real<decltype(RAND_priv_bytes)>("RAND_priv_bytes");
  const int done = theirs(bytes, count);
  if (hashes_are_secret) hide(bytes, static_cast<std::size_t>(count));
  return done;
}

// A signature goes to the peer, with its length.
int EVP_PKEY_sign(EVP_PKEY_CTX* context, unsigned char* signature, std::size_t* length, const unsigned char* digest,
                  std::size_t digest_length) {
  static const auto theirs = real<decltype(EVP_PKEY_sign)>("EVP_PKEY_sign");
  int done = theirs(context, signature, length, digest, digest_length);
  reveal(&done, sizeof done);
  reveal(length, sizeof *length);
  if (signature != nullptr) reveal(signature, *length);
  return done;
}

int EVP_DigestSign(EVP_MD_CTX* context, unsigned char* signature, std::size_t* length, const unsigned char* text,
                   std::size_t text_length) {
  static const auto theirs = real<decltype(EVP_DigestSign)>("EVP_DigestSign");
  int done = theirs(context, signature, length, text, text_length);
  reveal(&done, sizeof done);
  reveal(length, sizeof *length);
  if (signature != nullptr) reveal(signature, *length);
  return done;
}

// So does a public key.
int crypto_scalarmult_ed25519_base(unsigned char* point, const unsigned char* scalar) {
  static const auto theirs = real<decltype(crypto_scalarmult_ed25519_base)>("crypto_scalarmult_ed25519_base");
  int failed = theirs(point, scalar);
  reveal(&failed, sizeof failed);
  reveal(point, crypto_scalarmult_ed25519_BYTES);
  return failed;
}

}  // extern "C"
