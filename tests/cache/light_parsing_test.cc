// The light context: it decides as OpenSSL's own would, and its key schedule is that of RFC 8446.
#include "cache/light_parsing.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <optional>
#include <string>
#include <vector>

#include "cache/openssl_ptr.h"

namespace sallyport::test {
namespace {

using KdfPtr = std::unique_ptr<EVP_KDF, OpensslFree<&EVP_KDF_free>>;
using KdfContextPtr = std::unique_ptr<EVP_KDF_CTX, OpensslFree<&EVP_KDF_CTX_free>>;

struct Derivation {
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  std::string digest = "SHA2-256";
  std::optional<std::string> key, salt, data;
  std::string prefix = "tls13 ", label;
  std::size_t length = 32;
};

OSSL_PARAM bytes(const char* name, const std::string& value) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(value.data()), value.size());
}

// Nothing where the context refuses.
std::optional<std::string> derived(OSSL_LIB_CTX* context, Derivation asked) {
  const KdfPtr kdf(EVP_KDF_fetch(context, OSSL_KDF_NAME_TLS1_3_KDF, nullptr));
  const KdfContextPtr derivation(EVP_KDF_CTX_new(kdf.get()));
  if (!derivation) return std::nullopt;
  std::vector<OSSL_PARAM> params = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &asked.mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, asked.digest.data(), 0),
      bytes(OSSL_KDF_PARAM_PREFIX, asked.prefix),
      bytes(OSSL_KDF_PARAM_LABEL, asked.label),
  };
  if (asked.key) params.push_back(bytes(OSSL_KDF_PARAM_KEY, *asked.key));
  if (asked.salt) params.push_back(bytes(OSSL_KDF_PARAM_SALT, *asked.salt));
  if (asked.data) params.push_back(bytes(OSSL_KDF_PARAM_DATA, *asked.data));
  params.push_back(OSSL_PARAM_construct_end());
  std::string out(asked.length, 0);
  const int done =
      EVP_KDF_derive(derivation.get(), reinterpret_cast<unsigned char*>(out.data()), out.size(), params.data());
  ERR_clear_error();
  return done == 1 ? std::optional(out) : std::nullopt;
}

std::string random_bytes(std::size_t length) {
  std::string made(length, 0);
  RAND_bytes(reinterpret_cast<unsigned char*>(made.data()), static_cast<int>(length));
  return made;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

class KeySchedule : public ::testing::Test {
 protected:
  OSSL_LIB_CTX* light = light_parsing_context();
  // OpenSSL's own, in the default context.
  static std::optional<std::string> expected(const Derivation& asked) { return derived(nullptr, asked); }
};

TEST_F(KeySchedule, IsOurs) {
  ASSERT_NE(light, nullptr);
  const KdfPtr kdf(EVP_KDF_fetch(light, OSSL_KDF_NAME_TLS1_3_KDF, nullptr));
  ASSERT_NE(kdf, nullptr);
  EXPECT_EQ(EVP_KDF_settable_ctx_params(kdf.get()), nullptr) << "OpenSSL's own has some";
}

// RFC 8448, section 3: the early, handshake and master secrets, and the keys of both handshake traffic secrets.
TEST_F(KeySchedule, DerivesWhatTheRfcPrints) {
  const std::string early = from_hex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
  const std::string shared = from_hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");
  const std::string handshake = from_hex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
  const std::string master = from_hex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919");
  const std::string client = from_hex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21");
  const std::string server = from_hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
  constexpr int kExtract = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
  EXPECT_EQ(derived(light, {.mode = kExtract, .label = "derived"}), early);
  EXPECT_EQ(derived(light, {.mode = kExtract, .key = shared, .salt = early, .label = "derived"}), handshake);
  EXPECT_EQ(derived(light, {.mode = kExtract, .salt = handshake, .label = "derived"}), master);
  EXPECT_EQ(derived(light, {.key = client, .label = "key", .length = 16}),
            from_hex("dbfaa693d1762c5b666af5d950258d01"));
  EXPECT_EQ(derived(light, {.key = server, .label = "key", .length = 16}),
            from_hex("3fce516009c21727d0f2e4e86ee403bc"));
  EXPECT_EQ(derived(light, {.key = server, .label = "iv", .length = 12}), from_hex("5d313eb2671276ee13000b30"));
}

TEST_F(KeySchedule, DerivesWhatOpensslDerives) {
  for (const auto& [digest, size] : {std::pair<std::string, std::size_t>{"SHA2-256", 32}, {"SHA2-384", 48}}) {
    for (int round = 0; round < 50; ++round) {
      const std::string secret = random_bytes(size);
      for (const std::string label : {"", "key", "iv", "finished", "res master", "a label of an exporter"}) {
        for (const std::size_t context : {std::size_t{0}, size, std::size_t{200}}) {
          const Derivation asked{.digest = digest,
                                 .key = secret,
                                 .data = random_bytes(context),
                                 .label = label,
                                 .length = 1 + static_cast<std::size_t>(round) % size};
          ASSERT_TRUE(derived(light, asked));
          ASSERT_EQ(derived(light, asked), expected(asked));
        }
      }
      // A shared secret of X25519, P-256 or P-384, none (the master secret), and a PSK.
      for (const std::size_t input : {std::size_t{0}, std::size_t{32}, std::size_t{48}, size}) {
        Derivation asked{.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                         .digest = digest,
                         .salt = secret,
                         .label = "derived",
                         .length = size};
        if (input != 0) asked.key = random_bytes(input);
        ASSERT_TRUE(derived(light, asked));
        ASSERT_EQ(derived(light, asked), expected(asked));
        asked.salt.reset();
        ASSERT_EQ(derived(light, asked), expected(asked));
      }
    }
  }
}

TEST_F(KeySchedule, RefusesWhatItDoesNotKnow) {
  const std::string secret = random_bytes(32);
  EXPECT_TRUE(derived(light, {.key = secret, .label = "key"}));
  EXPECT_FALSE(derived(light, {.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, .key = secret, .label = "key"}));
  EXPECT_FALSE(derived(light, {.digest = "SHA1", .key = secret, .label = "key", .length = 20}));
  EXPECT_FALSE(derived(light, {.digest = "no such", .key = secret, .label = "key"}));
  EXPECT_FALSE(derived(light, {.label = "key"})) << "no secret";
  EXPECT_FALSE(derived(light, {.key = secret, .label = std::string(250, 'x')})) << "no room for the label";
  EXPECT_FALSE(derived(light, {.key = secret, .data = std::string(256, 'x'), .label = "key"})) << "nor the context";
  EXPECT_FALSE(derived(light, {.key = secret, .label = "key", .length = 33})) << "longer than one digest";
  EXPECT_FALSE(derived(light, {.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .label = "derived", .length = 31}));
  EXPECT_FALSE(derived(light, {.key = std::string(65, 'x'), .label = "key"})) << "no secret is longer than a block";
}

// What is not in the light context's lists cannot be negotiated there.
TEST(LightContext, KnowsWhatTlsNeedsAndNoMore) {
  OSSL_LIB_CTX* light = light_parsing_context();
  ASSERT_NE(light, nullptr);
  using CipherPtr = std::unique_ptr<EVP_CIPHER, OpensslFree<&EVP_CIPHER_free>>;
  for (const char* name : {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"}) {
    EXPECT_TRUE(CipherPtr(EVP_CIPHER_fetch(light, name, nullptr))) << name;
  }
  for (const char* name : {"DES-EDE3-CBC", "AES-128-CBC", "NULL", "CAMELLIA-128-CBC"}) {
    EXPECT_FALSE(CipherPtr(EVP_CIPHER_fetch(light, name, nullptr))) << name;
  }
  ERR_clear_error();
}

}  // namespace
}  // namespace sallyport::test
