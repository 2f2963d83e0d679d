#include "cache/crypto/keys_unread.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

namespace {

constinit thread_local OSSL_LIB_CTX* before = nullptr;
std::atomic<bool> is_given_up{false};

using MacPtr = std::unique_ptr<EVP_MAC, OpensslFree<&EVP_MAC_free>>;
using MacContextPtr = std::unique_ptr<EVP_MAC_CTX, OpensslFree<&EVP_MAC_CTX_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, OpensslFree<&EVP_CIPHER_free>>;
using CipherContextPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>>;

class DefaultContext {
 public:
  explicit DefaultContext(OSSL_LIB_CTX* context)  // null: as it is
      : before_(context != nullptr ? OSSL_LIB_CTX_set0_default(context) : nullptr) {}
  ~DefaultContext() {
    if (before_ != nullptr) OSSL_LIB_CTX_set0_default(before_);
  }
  DefaultContext(const DefaultContext&) = delete;
  DefaultContext& operator=(const DefaultContext&) = delete;

 private:
  OSSL_LIB_CTX* const before_;
};

constexpr std::size_t kTrialMac = 32, kTrialBlock = 16;
// Of a session without a certificate, of one with a usual one, and of what a ticket may hold.
constexpr std::size_t kTrialTexts[] = {160, 512, 1024, 2048, 8192, 32768};
using TrialTicket = std::vector<unsigned char>;

// A ticket of a session of `text` bytes, sealed and opened as libssl does it (construct_stateless_ticket(),
// tls_decrypt_ticket()): `none` is the thread's default context where begin() makes it so, and not where
// Resumption::ticket_key() works.
std::optional<TrialTicket> ticket_opened_in(OSSL_LIB_CTX* none, std::size_t text) {
  const TrialTicket zeros(text);
  TrialTicket sealed(text + kTrialBlock);
  std::array<unsigned char, kTrialMac> key{};
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.data(), key.size()),
                                   OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  MacContextPtr mac;
  CipherContextPtr cipher;
  {
    const DefaultContext while_it_is_written(none);
    const MacPtr hmac(EVP_MAC_fetch(named_default_context(), "HMAC", nullptr));
    mac.reset(hmac ? EVP_MAC_CTX_new(hmac.get()) : nullptr);
    cipher.reset(EVP_CIPHER_CTX_new());
  }
  const CipherPtr aes(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr));
  int whole = 0, last = 0;
  if (!mac || !aes || !cipher || EVP_MAC_CTX_set_params(mac.get(), parameters) != 1 ||
      EVP_EncryptInit_ex2(cipher.get(), aes.get(), zeros.data(), zeros.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(cipher.get(), sealed.data(), &whole, zeros.data(), static_cast<int>(text)) != 1 ||
      EVP_EncryptFinal_ex(cipher.get(), sealed.data() + whole, &last) != 1 ||
      static_cast<std::size_t>(whole + last) != sealed.size() ||
      EVP_DecryptInit_ex2(cipher.get(), aes.get(), zeros.data(), zeros.data(), nullptr) != 1) {
    return std::nullopt;
  }
  TrialTicket made(kTrialMac + text + 2 * kTrialBlock);
  std::size_t mac_bytes = 0;
  const DefaultContext while_it_is_read(none);
  const bool done = EVP_MAC_CTX_get_mac_size(mac.get()) == kTrialMac &&
                    EVP_CIPHER_CTX_get_iv_length(cipher.get()) == 16 &&
                    EVP_MAC_update(mac.get(), sealed.data(), sealed.size()) == 1 &&
                    EVP_MAC_final(mac.get(), made.data(), &mac_bytes, kTrialMac) == 1 &&
                    EVP_DecryptUpdate(cipher.get(), made.data() + kTrialMac, &whole, sealed.data(),
                                      static_cast<int>(sealed.size())) == 1 &&
                    EVP_DecryptFinal_ex(cipher.get(), made.data() + kTrialMac + whole, &last) == 1;
  mac.reset();
  cipher.reset();
  return done && static_cast<std::size_t>(whole + last) == text ? std::optional(std::move(made)) : std::nullopt;
}

}  // namespace

bool tickets_open_without_algorithms(OSSL_LIB_CTX* none) {
  const NoErrorsLeft no_errors_left;
  return std::all_of(std::begin(kTrialTexts), std::end(kTrialTexts), [none](std::size_t text) {
    const std::optional<TrialTicket> wanted = ticket_opened_in(nullptr, text);
    return wanted && ticket_opened_in(none, text) == wanted;
  });
}

namespace {

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
    if (empty && tickets_open_without_algorithms(context)) return context;
    OSSL_LIB_CTX_free(context);
    return nullptr;
  }();
  return made;
}

}  // namespace

void KeysUnread::begin() {
  OSSL_LIB_CTX* const none = before == nullptr && possible() ? context_without_algorithms() : nullptr;
  if (none != nullptr) before = OSSL_LIB_CTX_set0_default(none);
}

void KeysUnread::end() {
  if (before == nullptr) return;
  OSSL_LIB_CTX_set0_default(before);
  before = nullptr;
}

bool KeysUnread::possible() {
  return !given_up() && context_without_algorithms() != nullptr;
}

void KeysUnread::give_up() {
  is_given_up = true;
}

bool KeysUnread::given_up() {
  return is_given_up.load(std::memory_order_relaxed);
}

bool KeysUnread::begun() {
  return before != nullptr;
}

OSSL_LIB_CTX* named_default_context() {
  return OSSL_LIB_CTX_get0_global_default();
}

}  // namespace sallyport
