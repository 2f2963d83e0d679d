#include "cache/registry/sealed.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "cache/base/file.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/certificate.h"

namespace sallyport {

namespace {

constexpr int kNonceBytes = 12;
constexpr int kTagBytes = 16;

using CipherPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>>;

unsigned char* bytes(std::string& text, std::size_t at = 0) {
  return reinterpret_cast<unsigned char*>(text.data()) + at;
}
const unsigned char* bytes(std::string_view text, std::size_t at = 0) {
  return reinterpret_cast<const unsigned char*>(text.data()) + at;
}

Refusal failed(const char* what) {
  ERR_clear_error();
  return {Refusal::Kind::Unavailable, what};
}

}  // namespace

SealingKey::~SealingKey() {
  OPENSSL_cleanse(key_.data(), key_.size());
}

Answer<SealingKey> SealingKey::load(const std::string& path) {
  struct stat about {};
  const bool there = ::stat(path.c_str(), &about) == 0;
  if (there && !S_ISREG(about.st_mode)) return Refusal{Refusal::Kind::Invalid, path + ": is no ordinary file"};
  if (there && (about.st_mode & 077) != 0) {
    return Refusal{Refusal::Kind::Invalid, path + ": others may read this key: chmod 0600 " + path};
  }
  auto text = read_file(path, 4096);
  if (!text) return text.error();
  std::string_view digits = *text;
  while (!digits.empty() && (digits.back() == '\n' || digits.back() == '\r' || digits.back() == ' ')) {
    digits.remove_suffix(1);
  }
  SealingKey made;
  std::vector<std::uint8_t> parsed;
  const bool good = digits.size() == 2 * made.key_.size() && parse_hex(digits, parsed) && parsed.size() == 32;
  if (good) std::copy(parsed.begin(), parsed.end(), made.key_.begin());
  OPENSSL_cleanse(parsed.data(), parsed.size());
  OPENSSL_cleanse(text->data(), text->size());
  if (!good) {
    return Refusal{Refusal::Kind::Invalid,
                   path + ": must hold 32 bytes as 64 hex digits: openssl rand -hex 32 > " + path};
  }
  return made;
}

Answer<std::string> SealingKey::seal(std::string_view secret, std::string_view name) const {
  std::string out(kNonceBytes + secret.size() + kTagBytes, '\0');
  const CipherPtr cipher(EVP_CIPHER_CTX_new());
  int n = 0;
  const bool done =
      cipher && RAND_bytes(bytes(out), kNonceBytes) == 1 &&
      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes(out)) == 1 &&
      EVP_EncryptUpdate(cipher.get(), nullptr, &n, bytes(name), static_cast<int>(name.size())) == 1 &&
      EVP_EncryptUpdate(cipher.get(), bytes(out, kNonceBytes), &n, bytes(secret), static_cast<int>(secret.size())) ==
          1 &&
      EVP_EncryptFinal_ex(cipher.get(), bytes(out, kNonceBytes + secret.size()), &n) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, bytes(out, kNonceBytes + secret.size())) == 1;
  if (!done) return failed("the key could not be encrypted");
  return out;
}

Answer<std::string> SealingKey::unseal(std::string_view sealed, std::string_view name) const {
  if (sealed.size() < kNonceBytes + kTagBytes) return failed("the hosted key's record is cut short");
  const std::size_t length = sealed.size() - kNonceBytes - kTagBytes;
  std::string out(length, '\0');
  std::string tag(sealed.substr(kNonceBytes + length));
  const CipherPtr cipher(EVP_CIPHER_CTX_new());
  int n = 0;
  const bool done =
      cipher && EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes(sealed)) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &n, bytes(name), static_cast<int>(name.size())) == 1 &&
      EVP_DecryptUpdate(cipher.get(), bytes(out), &n, bytes(sealed, kNonceBytes), static_cast<int>(length)) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, bytes(tag)) == 1 &&
      EVP_DecryptFinal_ex(cipher.get(), bytes(out, length), &n) == 1;
  if (!done) {
    OPENSSL_cleanse(out.data(), out.size());
    return failed("the hosted key cannot be decrypted: registry.key_file is another one than it was stored with");
  }
  return out;
}

}  // namespace sallyport
