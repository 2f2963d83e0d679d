#include "cache/crypto/openssl_alone.h"

#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cache/crypto/keys_unread.h"
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

using ConfPtr = std::unique_ptr<CONF, OpensslFree<&NCONF_free>>;

// config(5): providers that a section asks for and that are not there. OpenSSL goes on without them.
std::string absent_providers(const CONF* conf) {
  const char* main = NCONF_get_string(conf, nullptr, "openssl_conf");
  const char* list = main != nullptr ? NCONF_get_string(conf, main, "providers") : nullptr;
  std::string absent;
  if (list == nullptr) return absent;
  const STACK_OF(CONF_VALUE)* const all = NCONF_get_section(conf, list);
  for (int i = 0; i < sk_CONF_VALUE_num(all); ++i) {
    const CONF_VALUE* each = sk_CONF_VALUE_value(all, i);
    const char* activate = NCONF_get_string(conf, each->value, "activate");
    const char* identity = NCONF_get_string(conf, each->value, "identity");
    const char* name = identity != nullptr ? identity : each->name;
    const bool wanted = activate != nullptr && std::strcmp(activate, "0") != 0 && std::strcmp(activate, "no") != 0 &&
                        std::strcmp(activate, "off") != 0 && std::strcmp(activate, "false") != 0;
    if (wanted && OSSL_PROVIDER_available(nullptr, name) != 1)
      absent += (absent.empty() ? "" : ", ") + std::string(name);
  }
  return absent;
}

// OpenSSL goes on without a configuration that it cannot read, with its own default provider: nobody who has one
// prescribed may get that unsaid (OSSL_LIB_CTX_load_config(3) is strict, the start of libcrypto is not). That start was
// then: the file of later is for the next process.
std::string not_in_force() {
  using Text = std::unique_ptr<char, decltype([](char* text) { OPENSSL_free(text); })>;
  // Whoever asks for a provider before that has the default one activated.
  OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, nullptr);
  const char* named = std::getenv("OPENSSL_CONF");
  const Text path(CONF_get1_default_config_file());
  if (path == nullptr || *path == '\0') return {};
  std::string file =
      named != nullptr && *named != '\0' ? "the file that OPENSSL_CONF names, " : "OpenSSL's configuration, ";
  file += path.get();
  struct stat about {};
  if (::stat(path.get(), &about) != 0 && errno == ENOENT && (named == nullptr || *named == '\0')) return {};
  if (S_ISDIR(about.st_mode)) return file + ", is a folder";
  using Context = std::unique_ptr<OSSL_LIB_CTX, OpensslFree<&OSSL_LIB_CTX_free>>;
  const Context apart(OSSL_LIB_CTX_new());
  if (!apart || OSSL_LIB_CTX_load_config(apart.get(), path.get()) != 1) {
    const char* first = ERR_reason_error_string(ERR_peek_error());
    const char* why = first != nullptr ? first : ERR_reason_error_string(ERR_peek_last_error());
    return file + ", is not in force: " + (why != nullptr ? why : "OpenSSL does not say why");
  }
  const ConfPtr conf(NCONF_new(nullptr));
  long line = 0;
  if (!conf || NCONF_load(conf.get(), path.get(), &line) != 1) return file + ", is not in force: it cannot be read";
  const std::string absent = absent_providers(conf.get());
  return absent.empty() ? absent : file + ", asks for a provider that cannot be had: " + absent;
}

const std::string& not_in_force_at_start() {
  static const std::string found = not_in_force();
  return found;
}

}  // namespace

void note_openssl_configuration() {
  const NoErrorsLeft no_errors_left;
  (void)not_in_force_at_start();
}

std::string openssl_alone_lacks() {
  const NoErrorsLeft no_errors_left;
  const std::string& unreadable = not_in_force_at_start();
  (void)KeysUnread::possible();  // tried now, and not in the first handshake
  return unreadable.empty() ? openssl_providers_lack() : unreadable;
}

std::string openssl_providers_lack() {
  const NoErrorsLeft no_errors_left;
  using Digest = std::unique_ptr<EVP_MD, OpensslFree<&EVP_MD_free>>;
  using Mac = std::unique_ptr<EVP_MAC, OpensslFree<&EVP_MAC_free>>;
  using Cipher = std::unique_ptr<EVP_CIPHER, OpensslFree<&EVP_CIPHER_free>>;
  const char* lacking = nullptr;
  if (!Cipher(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr))) lacking = "AES-256-CBC";
  if (!Mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr))) lacking = "HMAC";
  if (!Digest(EVP_MD_fetch(nullptr, "SHA2-384", nullptr))) lacking = "SHA2-384";
  if (!Digest(EVP_MD_fetch(nullptr, "SHA2-256", nullptr))) lacking = "SHA2-256";
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
