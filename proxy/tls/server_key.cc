#include "proxy/tls/server_key.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <utility>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/locked_memory.h"
#include "cache/crypto/openssl_alone.h"

namespace sallyport {

struct ServerKey::One {
  std::string spki;  // what it is found by
  std::size_t handles = 0;
  KeyPtr of_default, of_light;        // one of them at least
  bool default_is_asked_for = false;  // so it is kept beside the other

  // Never destroyed: the last handle may go after main().
  static std::map<std::string, One*>& all() {
    static auto& made = *std::make_unique<std::map<std::string, One*>>().release();
    return made;
  }
};

namespace {

std::mutex mutex;  // of all below, and of what each has

// Of the public key: SubjectPublicKeyInfo in DER.
std::string spki_of(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  std::string made(reinterpret_cast<char*>(der), length > 0 ? static_cast<std::size_t>(length) : 0);
  OPENSSL_free(der);
  return made;
}

// Whether it signs what the public key `spki` verifies. Also what an RSA key keeps for its signatures is made now, with
// the key and where the key is.
bool signs(EVP_PKEY* key, OSSL_LIB_CTX* context, const std::string& spki) {
  using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;
  const auto* at = reinterpret_cast<const unsigned char*>(spki.data());
  const KeyPtr known(d2i_PUBKEY_ex(nullptr, &at, static_cast<long>(spki.size()), context, nullptr));
  constexpr std::array<unsigned char, 4> kText = {'t', 'e', 's', 't'};
  std::string signature(static_cast<std::size_t>(std::max(EVP_PKEY_get_size(key), 0)), '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(signature.data());
  std::size_t length = signature.size();
  const MdContextPtr signing(EVP_MD_CTX_new()), verifying(EVP_MD_CTX_new());
  return known && signing && verifying &&
         EVP_DigestSignInit_ex(signing.get(), nullptr, nullptr, context, nullptr, key, nullptr) == 1 &&
         EVP_DigestSign(signing.get(), bytes, &length, kText.data(), kText.size()) == 1 &&
         EVP_DigestVerifyInit_ex(verifying.get(), nullptr, nullptr, context, nullptr, known.get(), nullptr) == 1 &&
         EVP_DigestVerify(verifying.get(), bytes, length, kText.data(), kText.size()) == 1;
}

KeyPtr another_reference(const KeyPtr& key) {
  if (key) EVP_PKEY_up_ref(key.get());
  return KeyPtr(key.get());
}

}  // namespace

ServerKey::ServerKey(KeyPtr key) {
  const NoErrorsLeft no_errors_left;
  const KeyMemory locked;
  std::string spki = spki_of(key.get());
  if (spki.empty() || !signs(key.get(), nullptr, spki)) return;
  const std::lock_guard lock(mutex);
  One*& one = One::all()[spki];
  if (one == nullptr) {
    one = std::make_unique<One>().release();
    one->spki = std::move(spki);
    one->of_default = std::move(key);
  }
  one_ = one;
  ++one_->handles;
}

ServerKey::ServerKey(const ServerKey& other) : one_(other.one_) {
  const std::lock_guard lock(mutex);
  if (one_ != nullptr) ++one_->handles;
}
ServerKey::ServerKey(ServerKey&& other) noexcept : one_(std::exchange(other.one_, nullptr)) {}
ServerKey& ServerKey::operator=(ServerKey other) noexcept {
  std::swap(one_, other.one_);
  return *this;
}

ServerKey::~ServerKey() {
  if (one_ == nullptr) return;
  const KeyMemory locked;
  const std::lock_guard lock(mutex);
  if (--one_->handles > 0) return;
  One::all().erase(one_->spki);
  const std::unique_ptr<One> last(one_);
}

KeyPtr ServerKey::form(bool openssl_alone) const {
  if (one_ == nullptr) return nullptr;
  const NoErrorsLeft no_errors_left;
  const KeyMemory locked;
  const OpensslAlone scope(openssl_alone);
  const std::lock_guard lock(mutex);
  OSSL_LIB_CTX* const light = light_parsing_context();
  if (light == nullptr) {
    if (!one_->of_default) one_->of_default = held_in(nullptr, one_->of_light.get());
    one_->default_is_asked_for = true;
    return another_reference(one_->of_default);
  }
  if (!one_->of_light) {
    one_->of_light = held_in(light, one_->of_default.get());
    // What a provider does not give out stays with it, and a key that does not sign there as well.
    if (!one_->of_light || !signs(one_->of_light.get(), light, one_->spki)) {
      one_->of_light.reset();
      return another_reference(one_->of_default);
    }
    if (!one_->default_is_asked_for) one_->of_default.reset();
  }
  return another_reference(one_->of_light);
}

}  // namespace sallyport
