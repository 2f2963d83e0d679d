#include "proxy/tls/tls_session_ticket.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "cache/crypto/hkdf.h"

namespace sallyport {

namespace {

using CipherContextPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>>;

constexpr std::size_t kNameBytes = 16, kIvBytes = 16, kBlockBytes = 16, kMacBytes = 32;

}  // namespace

EVP_CIPHER* ticket_cipher() {
  static EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  return algorithm;
}

Wiped without_certificate(std::span<const std::uint8_t> der) {
  constexpr unsigned char kSequence = 0x30, kTwoBytesOfLength = 0x82;
  constexpr unsigned char kPeer = 0xA3;
  struct Element {
    std::size_t header = 0, length = 0;
  };
  const auto element = [&](std::size_t at) -> Element {
    if (at + 2 > der.size()) return {};
    const unsigned char first = der[at + 1];
    if (first < 0x80) return {2, first};
    const std::size_t more = first & 0x7F;
    if (more == 0 || more > 3 || at + 2 + more > der.size()) return {};
    std::size_t length = 0;
    for (std::size_t i = 0; i < more; ++i) length = length << 8 | der[at + 2 + i];
    return {2 + more, length};
  };
  const Element outer = element(0);
  if (outer.header == 0 || der[0] != kSequence) return {};
  if (outer.header + outer.length != der.size()) return {};
  constexpr std::size_t kHeader = 4;
  Wiped out;
  out.reserve(kHeader + der.size());
  out.assign({kSequence, kTwoBytesOfLength, 0, 0});
  for (std::size_t at = outer.header; at < der.size();) {
    const Element inner = element(at);
    const std::size_t whole = inner.header + inner.length;
    if (inner.header == 0 || at + whole > der.size()) return {};
    const auto from = der.begin() + static_cast<std::ptrdiff_t>(at);
    if (*from != kPeer) out.insert(out.end(), from, from + static_cast<std::ptrdiff_t>(whole));
    at += whole;
  }
  const std::size_t length = out.size() - kHeader;
  if (length > 0xFFFF) return {};
  out[2] = static_cast<unsigned char>(length >> 8);
  out[3] = static_cast<unsigned char>(length & 0xFF);
  return out;
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

SessionPtr opened_session(std::span<const std::uint8_t> ticket, const TicketKeys& keys, std::int64_t now) {
  constexpr std::size_t kHeadBytes = kNameBytes + kIvBytes;
  if (ticket.size() < kHeadBytes + kBlockBytes + kMacBytes) return nullptr;
  const auto key = keys.find(ticket.first(kNameBytes), now);
  if (!key) return nullptr;
  const auto text = ticket.first(ticket.size() - kMacBytes);
  const auto body = text.subspan(kHeadBytes);
  std::array<std::uint8_t, kMacBytes> mac;
  const KdfHash* sha256 = kdf_hash("SHA2-256");
  if (sha256 == nullptr || !hmac(*sha256, key->mac, text, mac) ||
      CRYPTO_memcmp(mac.data(), ticket.last(kMacBytes).data(), kMacBytes) != 0) {
    return nullptr;
  }
  const NoErrorsLeft no_errors_left;
  Wiped der(body.size() + kBlockBytes);
  const CipherContextPtr cipher(EVP_CIPHER_CTX_new());
  int whole = 0, last = 0;
  if (!cipher ||
      EVP_DecryptInit_ex2(cipher.get(), ticket_cipher(), key->cipher.data(), ticket.data() + kNameBytes, nullptr) !=
          1 ||
      EVP_DecryptUpdate(cipher.get(), der.data(), &whole, body.data(), static_cast<int>(body.size())) != 1 ||
      EVP_DecryptFinal_ex(cipher.get(), der.data() + whole, &last) != 1) {
    return nullptr;
  }
  // Reading a certificate costs 200 us, and nobody asks for it here.
  const Wiped light = without_certificate(std::span(der).first(static_cast<std::size_t>(whole + last)));
  const unsigned char* from = light.data();
  const unsigned char* const end = from + light.size();
  SessionPtr session(light.empty() ? nullptr : d2i_SSL_SESSION(nullptr, &from, end - from));
  return from == end ? std::move(session) : nullptr;
}

}  // namespace sallyport
