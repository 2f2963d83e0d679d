// What the clients that say what they are told to are made of: bytes, a ClientHello, a key exchange and a signature by
// OpenSSL's own in its default context.
#pragma once

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <array>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "cache/base/check.h"
#include "cache/crypto/openssl_ptr.h"
#include "proxy/tls/tls13_key_schedule.h"
#include "tests/proxy/tls/record_peer.h"

namespace sallyport::test {

inline Bytes join(std::initializer_list<Bytes> pieces) {
  Bytes all;
  for (const Bytes& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}
inline Bytes number(std::size_t value, std::size_t bytes) {
  Bytes made;
  while (bytes-- > 0) made.push_back(static_cast<std::uint8_t>(value >> (8 * bytes)));
  return made;
}
// A vector with its length in front.
inline Bytes vector_of(const Bytes& content, std::size_t length_bytes) {
  return join({number(content.size(), length_bytes), content});
}
inline Bytes numbers_of(std::initializer_list<std::size_t> values) {
  Bytes made;
  for (const std::size_t value : values) made = join({made, number(value, 2)});
  return made;
}
inline Bytes message_of(std::uint8_t type, const Bytes& body) {
  return join({{type}, vector_of(body, 3)});
}
inline Bytes plain_record(std::uint8_t type, const Bytes& content) {
  return join({{type, 3, 3}, vector_of(content, 2)});
}

// The fields of a ClientHello (RFC 8446, section 4.1.2). As it is made it asks for nothing but what it must.
struct Hello {
  std::uint16_t version = 0x0303;
  Bytes session_id = Bytes(32, 7);
  Bytes suites = numbers_of({0x1302, 0x1303, 0x1301});
  Bytes compressions = {0};
  std::vector<std::pair<std::size_t, Bytes>> extensions;
  Bytes behind;  // in the message, after the extensions

  explicit Hello(const Bytes& x25519 = Bytes(32, 9)) {
    extensions = {{10, vector_of(numbers_of({23, 29}), 2)},
                  {13, vector_of(numbers_of({0x0403, 0x0804, 0x0805}), 2)},
                  {43, vector_of(numbers_of({0x0304, 0x0303}), 1)},
                  {51, vector_of(join({number(29, 2), vector_of(x25519, 2)}), 2)}};
  }
  Bytes* find(std::size_t type) {
    for (auto& [each, content] : extensions) {
      if (each == type) return &content;
    }
    return nullptr;
  }
  void add(std::size_t type, const Bytes& content) { extensions.emplace_back(type, content); }
  void remove(std::size_t type) {
    std::erase_if(extensions, [type](const auto& each) { return each.first == type; });
  }
  Bytes message() const {
    Bytes listed;
    for (const auto& [type, content] : extensions) listed = join({listed, number(type, 2), vector_of(content, 2)});
    return message_of(1, join({number(version, 2), Bytes(32, 5), vector_of(session_id, 1), vector_of(suites, 2),
                               vector_of(compressions, 1), vector_of(listed, 2), behind}));
  }
};

class ExchangeKey {
 public:
  ExchangeKey() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")) {
    std::size_t length = share_.size();
    CHECK(EVP_PKEY_get_raw_public_key(key_.get(), share_.data(), &length) == 1);
  }
  const Bytes& share() const { return share_; }
  bool agree(std::span<const std::uint8_t> theirs, Secret256& shared) const {
    const KeyPtr peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, theirs.data(), theirs.size()));
    const KeyContextPtr deriving(EVP_PKEY_CTX_new(key_.get(), nullptr));
    std::size_t length = shared.size();
    return peer && EVP_PKEY_derive_init(deriving.get()) == 1 &&
           EVP_PKEY_derive_set_peer(deriving.get(), peer.get()) == 1 &&
           EVP_PKEY_derive(deriving.get(), shared.data(), &length) == 1;
  }

 private:
  KeyPtr key_;
  Bytes share_ = Bytes(32);
};

inline Bytes sign(EVP_PKEY* key, std::uint16_t scheme, const char* digest, const Bytes& content) {
  const std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>> signing(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  CHECK(EVP_DigestSignInit_ex(signing.get(), &parameters, digest, nullptr, nullptr, key, nullptr) == 1);
  if (scheme >> 8 == 8 && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    CHECK(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
          EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1);
  }
  Bytes signature(1024);
  std::size_t length = signature.size();
  CHECK(EVP_DigestSign(signing.get(), signature.data(), &length, content.data(), content.size()) == 1);
  signature.resize(length);
  return signature;
}

}  // namespace sallyport::test
