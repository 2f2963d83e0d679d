// Owners of OpenSSL objects, so that none is freed by hand, and of what its errors leave behind.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

namespace sallyport {

template <auto kFree>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using X509Ptr = std::unique_ptr<X509, OpensslFree<&X509_free>>;
using X509StackPtr = std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<&X509_STORE_CTX_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<&EVP_PKEY_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<&EVP_PKEY_CTX_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<&BN_free>>;
using BioPtr = std::unique_ptr<BIO, OpensslFree<&BIO_free_all>>;

// OpenSSL leaves an entry in the thread's queue for each failure, also for those that were expected. Clearing an empty
// queue is dear: as much as a small record.
inline void clear_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}
struct NoErrorsLeft {
  ~NoErrorsLeft() { clear_errors(); }
};

}  // namespace sallyport
