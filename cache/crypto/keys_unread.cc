#include "cache/crypto/keys_unread.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <array>
#include <utility>
#include <vector>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

namespace {

constinit thread_local OSSL_LIB_CTX* before = nullptr;

using MacPtr = std::unique_ptr<EVP_MAC, OpensslFree<&EVP_MAC_free>>;
using MacContextPtr = std::unique_ptr<EVP_MAC_CTX, OpensslFree<&EVP_MAC_CTX_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, OpensslFree<&EVP_CIPHER_free>>;
using CipherContextPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>>;

// What OpenSSL does with a ticket between its key and its session: MAC and text of some bytes, with algorithms that
// were begun before. `none`: the thread's default context meanwhile, or null for the one it has. Empty: it failed.
std::vector<unsigned char> ticket_opened_in(OSSL_LIB_CTX* none) {
  constexpr std::size_t kMac = 32, kText = 48;
  const std::array<unsigned char, kText> zeros{};
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  const MacPtr hmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  const CipherPtr aes(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr));
  const MacContextPtr mac(hmac ? EVP_MAC_CTX_new(hmac.get()) : nullptr);
  const CipherContextPtr cipher(EVP_CIPHER_CTX_new());
  if (!mac || !aes || !cipher || EVP_MAC_init(mac.get(), zeros.data(), kMac, parameters) != 1 ||
      EVP_DecryptInit_ex2(cipher.get(), aes.get(), zeros.data(), zeros.data(), nullptr) != 1 ||
      EVP_CIPHER_CTX_set_padding(cipher.get(), 0) != 1) {
    return {};
  }
  std::vector<unsigned char> made(kMac + kText);
  std::size_t mac_bytes = 0;
  int bytes = 0, last = 0;
  OSSL_LIB_CTX* const own = none != nullptr ? OSSL_LIB_CTX_set0_default(none) : nullptr;
  const bool done = EVP_MAC_update(mac.get(), zeros.data(), zeros.size()) == 1 &&
                    EVP_MAC_final(mac.get(), made.data(), &mac_bytes, kMac) == 1 &&
                    EVP_DecryptUpdate(cipher.get(), made.data() + kMac, &bytes, zeros.data(), kText) == 1 &&
                    EVP_DecryptFinal_ex(cipher.get(), made.data() + kMac + bytes, &last) == 1;
  if (own != nullptr) OSSL_LIB_CTX_set0_default(own);
  return done ? std::move(made) : std::vector<unsigned char>{};
}

// Made once, kept for ever; null where it cannot be made, or would be of no use.
OSSL_LIB_CTX* context_without_algorithms() {
  static OSSL_LIB_CTX* const made = []() -> OSSL_LIB_CTX* {
    constexpr unsigned long kReadsInTheContextOfTheConnection = 0x30200000UL;
    if (OpenSSL_version_num() >= kReadsInTheContextOfTheConnection) return nullptr;
    const NoErrorsLeft no_errors_left;
    OSSL_LIB_CTX* const context = OSSL_LIB_CTX_new();
    if (context == nullptr) return nullptr;
    // A context without any provider would load the default one.
    const bool empty = OSSL_PROVIDER_load(context, "null") != nullptr;
    const std::vector<unsigned char> wanted = ticket_opened_in(nullptr);
    if (empty && !wanted.empty() && ticket_opened_in(context) == wanted) return context;
    OSSL_LIB_CTX_free(context);
    return nullptr;
  }();
  return made;
}

}  // namespace

void KeysUnread::begin() {
  OSSL_LIB_CTX* const none = before == nullptr ? context_without_algorithms() : nullptr;
  if (none != nullptr) before = OSSL_LIB_CTX_set0_default(none);
}

void KeysUnread::end() {
  if (before == nullptr) return;
  OSSL_LIB_CTX_set0_default(before);
  before = nullptr;
}

bool KeysUnread::begun() {
  return before != nullptr;
}

OSSL_LIB_CTX* named_default_context() {
  return OSSL_LIB_CTX_get0_global_default();
}

}  // namespace sallyport
