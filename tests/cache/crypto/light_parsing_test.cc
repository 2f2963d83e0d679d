// The light context: it decides as OpenSSL's own would, and its key schedule is that of RFC 8446.
#include "cache/crypto/light_parsing.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <optional>
#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"

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
}

// The most that a secret may be before it is hashed, one more, what P-521 agrees on, and longer than either hash's
// block.
constexpr std::size_t kAroundABlock[] = {63, 64, 65, 66, 127, 128, 129, 200};

TEST_F(KeySchedule, ASecretMayBeLongerThanABlock) {
  for (const auto& [digest, size] : {std::pair<std::string, std::size_t>{"SHA2-256", 32}, {"SHA2-384", 48}}) {
    for (const std::size_t length : kAroundABlock) {
      const Derivation expand{.digest = digest, .key = random_bytes(length), .label = "key", .length = size};
      ASSERT_TRUE(derived(light, expand)) << digest << " " << length;
      ASSERT_EQ(derived(light, expand), expected(expand)) << digest << " " << length;
      Derivation extract{.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                         .digest = digest,
                         .key = random_bytes(length),
                         .salt = random_bytes(size),
                         .label = "derived",
                         .length = size};
      ASSERT_TRUE(derived(light, extract)) << digest << " " << length;
      ASSERT_EQ(derived(light, extract), expected(extract)) << digest << " " << length;
    }
  }
}

// TLS 1.2's. The seeds come one after the other, absent ones included.
std::optional<std::string> prf(OSSL_LIB_CTX* context, std::string digest, const std::optional<std::string>& secret,
                               const std::vector<std::string>& seeds, std::size_t length) {
  const KdfPtr kdf(EVP_KDF_fetch(context, OSSL_KDF_NAME_TLS1_PRF, nullptr));
  const KdfContextPtr derivation(EVP_KDF_CTX_new(kdf.get()));
  std::vector<OSSL_PARAM> params = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0)};
  if (secret) params.push_back(bytes(OSSL_KDF_PARAM_SECRET, *secret));
  for (const std::string& seed : seeds) params.push_back(bytes(OSSL_KDF_PARAM_SEED, seed));
  params.push_back(OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, nullptr, 0));
  params.push_back(OSSL_PARAM_construct_end());
  std::string out(length, 0);
  auto* into = reinterpret_cast<unsigned char*>(out.data());
  const bool done = derivation && EVP_KDF_derive(derivation.get(), into, out.size(), params.data()) == 1;
  ERR_clear_error();
  return done ? std::optional(out) : std::nullopt;
}

// The vector for P_SHA256 that was published on the IETF's TLS list.
TEST(Prf, DerivesWhatWasPublished) {
  EXPECT_EQ(prf(light_parsing_context(), "SHA256", from_hex("9bbe436ba940f017b17652849a71db35"),
                {"test label", from_hex("a0ba9f936cda311827a6f796ffd5198c")}, 100),
            from_hex("e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
                     "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
                     "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
                     "87347b66"));
}

TEST(Prf, DerivesWhatOpensslDerives) {
  OSSL_LIB_CTX* light = light_parsing_context();
  for (const char* digest : {"SHA2-256", "SHA2-384"}) {
    for (std::size_t length = 1; length <= 150; ++length) {
      const std::string secret = random_bytes(length % 2 == 0 ? 48 : 32);
      const std::vector<std::string> seeds = {"key expansion", random_bytes(32), random_bytes(length % 40)};
      const auto ours = prf(light, digest, secret, seeds, length);
      ASSERT_TRUE(ours);
      ASSERT_EQ(ours, prf(nullptr, digest, secret, seeds, length));
    }
  }
}

TEST(Prf, RefusesWhatItDoesNotKnow) {
  OSSL_LIB_CTX* light = light_parsing_context();
  const std::string secret = random_bytes(48);
  EXPECT_TRUE(prf(light, "SHA256", secret, {"label", "1", "2", "3", "4"}, 12));
  EXPECT_FALSE(prf(light, "SHA256", secret, {"label", "1", "2", "3", "4", "5", "6"}, 12))
      << "more seeds than libssl has";
  EXPECT_FALSE(prf(light, "SHA256", std::nullopt, {"label"}, 12)) << "no secret";
  EXPECT_FALSE(prf(light, "MD5-SHA1", secret, {"label"}, 12)) << "TLS 1.1 and older";
}

// Over P-521 the premaster secret has 66 bytes.
TEST(Prf, ASecretMayBeLongerThanABlock) {
  OSSL_LIB_CTX* light = light_parsing_context();
  for (const char* digest : {"SHA2-256", "SHA2-384"}) {
    for (const std::size_t length : kAroundABlock) {
      const std::string secret = random_bytes(length);
      const std::vector<std::string> seeds = {"extended master secret", random_bytes(48)};
      const auto ours = prf(light, digest, secret, seeds, 48);
      ASSERT_TRUE(ours) << digest << " " << length;
      ASSERT_EQ(ours, prf(nullptr, digest, secret, seeds, 48)) << digest << " " << length;
    }
  }
}

std::string spki_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  std::string made(reinterpret_cast<char*>(der), static_cast<std::size_t>(length));
  OPENSSL_free(der);
  return made;
}

KeyPtr read_key(OSSL_LIB_CTX* context, const std::string& spki) {
  const auto* at = reinterpret_cast<const unsigned char*>(spki.data());
  KeyPtr key(d2i_PUBKEY_ex(nullptr, &at, static_cast<long>(spki.size()), context, nullptr));
  ERR_clear_error();
  return key;
}

KeyPtr new_ec_key(const char* curve, const char* form = "uncompressed") {
  KeyPtr key(EVP_EC_gen(curve));
  EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, form);
  return key;
}

bool verifies(EVP_PKEY* verifier, OSSL_LIB_CTX* context, EVP_PKEY* signer) {
  using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;
  const unsigned char text[] = "signed";
  std::string signature(256, 0);
  auto* bytes = reinterpret_cast<unsigned char*>(signature.data());
  std::size_t length = signature.size();
  const MdContextPtr signing(EVP_MD_CTX_new()), verifying(EVP_MD_CTX_new());
  return EVP_DigestSignInit_ex(signing.get(), nullptr, "SHA256", nullptr, nullptr, signer, nullptr) == 1 &&
         EVP_DigestSign(signing.get(), bytes, &length, text, sizeof text) == 1 &&
         EVP_DigestVerifyInit_ex(verifying.get(), nullptr, "SHA256", context, nullptr, verifier, nullptr) == 1 &&
         EVP_DigestVerify(verifying.get(), bytes, length, text, sizeof text) == 1;
}

TEST(LightKeys, AreTheKeysOpensslReads) {
  OSSL_LIB_CTX* light = light_parsing_context();
  for (const char* curve : {"P-256", "P-384", "P-521"}) {
    for (const char* form : {"uncompressed", "compressed", "hybrid"}) {
      SCOPED_TRACE(std::string(curve) + " " + form);
      const KeyPtr key = new_ec_key(curve, form), another = new_ec_key(curve);
      const std::string spki = spki_of(key.get());
      const KeyPtr read = read_key(light, spki), expected = read_key(nullptr, spki);
      ASSERT_TRUE(read && expected);
      EXPECT_EQ(spki_of(read.get()), spki);
      EXPECT_EQ(EVP_PKEY_get_bits(read.get()), EVP_PKEY_get_bits(expected.get()));
      EXPECT_EQ(EVP_PKEY_get_security_bits(read.get()), EVP_PKEY_get_security_bits(expected.get()));
      EXPECT_EQ(EVP_PKEY_eq(read.get(), expected.get()), 1);
      EXPECT_NE(EVP_PKEY_eq(read.get(), another.get()), 1);
      EXPECT_TRUE(verifies(read.get(), light, key.get()));
      EXPECT_FALSE(verifies(read.get(), light, another.get()));
      // One key's point is not another's: each is a copy.
      const KeyPtr next = read_key(light, spki_of(another.get()));
      EXPECT_TRUE(verifies(read.get(), light, key.get()) && verifies(next.get(), light, another.get()));
    }
  }
}

// As by OpenSSL's own decoder: byte for byte, what is damaged is refused or another key.
TEST(LightKeys, AreRefusedWhereOpensslRefusesThem) {
  OSSL_LIB_CTX* light = light_parsing_context();
  const std::string good = spki_of(new_ec_key("P-256").get());
  int refused = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int change : {1, 2, 0x80}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ change);
      const KeyPtr read = read_key(light, bad), expected = read_key(nullptr, bad);
      ASSERT_EQ(read == nullptr, expected == nullptr) << "byte " << i << " ^ " << change;
      refused += read == nullptr;
    }
    ASSERT_FALSE(read_key(light, good.substr(0, i)));
  }
  EXPECT_GT(refused, 3 * 64) << "a point that is not on the curve";
  std::string nothing(good.substr(0, 26));
  nothing.append(65, 0);
  EXPECT_FALSE(read_key(light, nothing));
  EXPECT_FALSE(read_key(light, std::string(20000, 'x')));
  EXPECT_FALSE(read_key(light, ""));
  EXPECT_TRUE(read_key(light, good));
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
