#include "proxy/tls_session_ticket.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <span>

#include "cache/hkdf.h"
#include "cache/openssl_ptr.h"

namespace sallyport {

namespace {

using CipherContextPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>>;

constexpr std::size_t kNameBytes = 16, kIvBytes = 16, kBlockBytes = 16, kMacBytes = 32;

// Room for `n` bytes of what must not stay in memory.
struct Wiped : std::vector<std::uint8_t> {
  using vector::vector;
  ~Wiped() { OPENSSL_cleanse(data(), size()); }
};

}  // namespace

EVP_CIPHER* ticket_cipher() {
  static EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  return algorithm;
}

std::vector<std::uint8_t> sealed_session(const SSL_SESSION* session, const TicketKey& key) {
  const int length = i2d_SSL_SESSION(session, nullptr);
  if (length <= 0) return {};
  Wiped der(static_cast<std::size_t>(length));
  unsigned char* into = der.data();
  i2d_SSL_SESSION(session, &into);

  std::vector<std::uint8_t> sealed(kNameBytes + kIvBytes + der.size() + kBlockBytes + kMacBytes);
  std::copy(key.name.begin(), key.name.end(), sealed.begin());
  unsigned char* const iv = sealed.data() + kNameBytes;
  unsigned char* const body = iv + kIvBytes;
  const CipherContextPtr cipher(EVP_CIPHER_CTX_new());
  int whole = 0, last = 0;
  if (!cipher || RAND_bytes(iv, kIvBytes) != 1 ||
      EVP_EncryptInit_ex2(cipher.get(), ticket_cipher(), key.cipher.data(), iv, nullptr) != 1 ||
      EVP_EncryptUpdate(cipher.get(), body, &whole, der.data(), length) != 1 ||
      EVP_EncryptFinal_ex(cipher.get(), body + whole, &last) != 1) {
    return {};
  }
  const std::size_t text = kNameBytes + kIvBytes + static_cast<std::size_t>(whole + last);
  const KdfHash* sha256 = kdf_hash("SHA2-256");
  if (sha256 == nullptr || !hmac(*sha256, key.mac, std::span(sealed).first(text), std::span(sealed).subspan(text))) {
    return {};
  }
  sealed.resize(text + kMacBytes);
  return sealed;
}

}  // namespace sallyport
