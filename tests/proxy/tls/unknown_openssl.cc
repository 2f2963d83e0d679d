// OpenSSL as it will be: linked into a test, or preloaded into the program (tests/e2e/test_unknown_openssl.py), this
// takes the place of libcrypto's function.
#include <openssl/crypto.h>

extern "C" unsigned int OPENSSL_version_minor() {
  return 99;
}
