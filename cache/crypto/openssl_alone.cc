#include "cache/crypto/openssl_alone.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <atomic>
#include <cstdlib>
#include <memory>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

namespace {

enum : std::uint8_t { kAsTheProcess, kAlone, kNotAlone };

std::atomic<bool> process{false};
constinit thread_local std::uint8_t here = kAsTheProcess;

}  // namespace

bool openssl_alone() {
  return here == kAsTheProcess ? process.load(std::memory_order_relaxed) : here == kAlone;
}

void keep_to_openssl(bool alone) {
  process.store(alone, std::memory_order_relaxed);
}

OpensslAlone::OpensslAlone(bool alone) : before_(here) {
  here = alone ? kAlone : kNotAlone;
}
OpensslAlone::~OpensslAlone() {
  here = before_;
}

namespace {

// OpenSSL goes on without a configuration that it cannot read, with its own default provider: nobody who has one
// prescribed may get that unsaid (OSSL_LIB_CTX_load_config(3) is strict, the start of libcrypto is not).
std::string unreadable_configuration() {
  const char* file = std::getenv("OPENSSL_CONF");
  if (file == nullptr || *file == '\0') return {};
  using Context = std::unique_ptr<OSSL_LIB_CTX, OpensslFree<&OSSL_LIB_CTX_free>>;
  const Context apart(OSSL_LIB_CTX_new());
  if (apart && OSSL_LIB_CTX_load_config(apart.get(), file) == 1) return {};
  const char* why = ERR_reason_error_string(ERR_peek_error());
  return std::string("the file that OPENSSL_CONF names, ") + file +
         ", is not in force: " + (why != nullptr ? why : "it cannot be read");
}

}  // namespace

std::string openssl_alone_lacks() {
  const NoErrorsLeft no_errors_left;
  if (std::string unreadable = unreadable_configuration(); !unreadable.empty()) return unreadable;
  using Digest = std::unique_ptr<EVP_MD, OpensslFree<&EVP_MD_free>>;
  using Mac = std::unique_ptr<EVP_MAC, OpensslFree<&EVP_MAC_free>>;
  using Cipher = std::unique_ptr<EVP_CIPHER, OpensslFree<&EVP_CIPHER_free>>;
  const char* lacking = nullptr;
  if (!Digest(EVP_MD_fetch(nullptr, "SHA2-256", nullptr))) lacking = "SHA2-256";
  if (!Digest(EVP_MD_fetch(nullptr, "SHA2-384", nullptr))) lacking = "SHA2-384";
  if (!Mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr))) lacking = "HMAC";
  if (!Cipher(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr))) lacking = "AES-256-CBC";
  if (lacking == nullptr) return {};
  return std::string("no provider of OpenSSL's has ") + lacking + ": look at the file that OPENSSL_CONF names";
}

std::string openssl_providers() {
  const NoErrorsLeft no_errors_left;
  std::string names;
  const auto add = [](OSSL_PROVIDER* provider, void* into) {
    std::string& all = *static_cast<std::string*>(into);
    if (!all.empty()) all += ',';
    all += OSSL_PROVIDER_get0_name(provider);
    return 1;
  };
  OSSL_PROVIDER_do_all(nullptr, add, &names);
  return names;
}

}  // namespace sallyport
