// RecordCipher by OpenSSL's public interface, EVP: where libipsec-mb does not exist. The same bytes; a setup for each
// batch of records and a call for each part of a record cost more (record_cipher.h).
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <new>

#include "cache/base/check.h"
#include "proxy/tls/record_cipher.h"

namespace sallyport {

using Bytes = std::span<const std::uint8_t>;

namespace {

// Fetched once: an implicit fetch costs a lock and a search each time.
const EVP_CIPHER* algorithm(std::size_t key_bytes) {
  static const EVP_CIPHER* const aes128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static const EVP_CIPHER* const aes256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return key_bytes == 16 ? aes128 : aes256;
}

// EVP counts in int; a record has less.
int length_of(Bytes bytes) {
  return static_cast<int>(bytes.size());
}

}  // namespace

// OpenSSL wipes the key when it frees the context.
struct RecordCipher::Expanded {
  EVP_CIPHER_CTX* context;

  static Expanded& in(RecordCipher& cipher) {
    return *std::launder(reinterpret_cast<Expanded*>(cipher.memory_.data()));
  }
};

bool RecordCipher::available() {
  return algorithm(16) != nullptr && algorithm(32) != nullptr;
}
std::string_view RecordCipher::library_name() {
  return "OpenSSL";
}

RecordCipher::RecordCipher(RecordKey& key) : key_(key) {
  static_assert(sizeof(Expanded) <= sizeof memory_);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  CHECK(context != nullptr &&
        EVP_EncryptInit_ex2(context, algorithm(key.key_bytes), key.key.data(), nullptr, nullptr) == 1);
  Expanded::in(*this).context = context;
}

RecordCipher::~RecordCipher() {
  EVP_CIPHER_CTX_free(Expanded::in(*this).context);
}

void RecordCipher::encrypt(const Nonce& nonce, Bytes bound, Bytes plain, Bytes last, std::uint8_t* out) {
  EVP_CIPHER_CTX* const context = Expanded::in(*this).context;
  int n = 0;
  bool done = EVP_EncryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1 &&
              EVP_EncryptUpdate(context, nullptr, &n, bound.data(), length_of(bound)) == 1;
  for (const Bytes part : {plain, last}) {
    if (part.empty()) continue;
    done = done && EVP_EncryptUpdate(context, out, &n, part.data(), length_of(part)) == 1;
    out += part.size();
  }
  done = done && EVP_EncryptFinal_ex(context, out, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, out) == 1;
  CHECK(done);
}

bool RecordCipher::decrypt(const Nonce& nonce, Bytes bound, Bytes sealed, std::uint8_t* out) {
  EVP_CIPHER_CTX* const context = Expanded::in(*this).context;
  const Bytes text = sealed.first(sealed.size() - kTagBytes);
  std::array<std::uint8_t, kTagBytes> tag;
  std::copy_n(sealed.end() - kTagBytes, kTagBytes, tag.begin());
  int n = 0;
  std::uint8_t nothing;  // where there is no text, `out` may be null, and a null output means additional data
  std::uint8_t* const into = text.empty() ? &nothing : out;
  const bool ready = EVP_DecryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1 &&
                     EVP_DecryptUpdate(context, nullptr, &n, bound.data(), length_of(bound)) == 1 &&
                     (text.empty() || EVP_DecryptUpdate(context, into, &n, text.data(), length_of(text)) == 1) &&
                     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1;
  CHECK(ready);
  const bool good = EVP_DecryptFinal_ex(context, into, &n) == 1;
  if (!good) OPENSSL_cleanse(out, text.size());
  return good;
}

}  // namespace sallyport
