// X25519 keys of the light context: those OpenSSL and RFC 7748 make of the same private keys.
#include "cache/crypto/light_x25519.h"

#include <gtest/gtest.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_ptr.h"

namespace sallyport::test {
namespace {

X25519Bytes from_hex(const std::string& hex) {
  X25519Bytes bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

X25519Bytes ours(const X25519Bytes& private_key) {
  X25519Bytes made{};
  EXPECT_TRUE(x25519_public(private_key, made));
  return made;
}

X25519Bytes public_of(EVP_PKEY* key) {
  X25519Bytes bytes{};
  std::size_t length = bytes.size();
  EXPECT_EQ(EVP_PKEY_get_raw_public_key(key, bytes.data(), &length), 1);
  return bytes;
}
X25519Bytes private_of(EVP_PKEY* key) {
  X25519Bytes bytes{};
  std::size_t length = bytes.size();
  EXPECT_EQ(EVP_PKEY_get_raw_private_key(key, bytes.data(), &length), 1);
  return bytes;
}

// OpenSSL's own, in the default context.
KeyPtr openssls(const X25519Bytes& private_key) {
  return KeyPtr(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key.data(), private_key.size()));
}

KeyPtr generated(OSSL_LIB_CTX* context) {
  return KeyPtr(EVP_PKEY_Q_keygen(context, nullptr, "X25519"));
}

std::string shared(EVP_PKEY* mine, EVP_PKEY* peer, OSSL_LIB_CTX* context) {
  const KeyContextPtr derivation(EVP_PKEY_CTX_new_from_pkey(context, mine, nullptr));
  std::string secret(32, 0);
  std::size_t length = secret.size();
  const bool done = EVP_PKEY_derive_init(derivation.get()) == 1 &&
                    EVP_PKEY_derive_set_peer(derivation.get(), peer) == 1 &&
                    EVP_PKEY_derive(derivation.get(), reinterpret_cast<unsigned char*>(secret.data()), &length) == 1;
  return done ? secret : std::string();
}

TEST(X25519, MakesTheKeysOfTheRfc) {
  EXPECT_EQ(ours(from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")),
            from_hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
  EXPECT_EQ(ours(from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")),
            from_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
}

TEST(X25519, MakesTheKeysOpensslMakes) {
  std::vector<X25519Bytes> private_keys(1000);
  for (X25519Bytes& each : private_keys) RAND_bytes(each.data(), static_cast<int>(each.size()));
  // Every bit alone, and all: what clamping sets and clears among them.
  for (int bit = 0; bit < 256; ++bit) {
    X25519Bytes one{};
    one[static_cast<std::size_t>(bit / 8)] = static_cast<std::uint8_t>(1U << (bit % 8));
    private_keys.push_back(one);
  }
  private_keys.emplace_back().fill(0xff);
  bool short_key = false;  // one whose last byte is zero
  for (const X25519Bytes& each : private_keys) {
    const X25519Bytes made = ours(each);
    ASSERT_EQ(made, public_of(openssls(each).get()));
    short_key = short_key || made.back() == 0;
  }
  X25519Bytes nothing{}, untouched{};
  EXPECT_FALSE(x25519_public(nothing, untouched)) << "libsodium takes no scalar of zero; a clamped one never is";
  EXPECT_TRUE(short_key) << "one in 128: the leading zeroes of a number are written, too";
}

TEST(X25519, AKeyOfTheLightContextAgreesWithOpenssls) {
  OSSL_LIB_CTX* light = light_parsing_context();
  std::set<X25519Bytes> seen;
  for (int round = 0; round < 200; ++round) {
    const KeyPtr mine = generated(light), peer = generated(nullptr);
    ASSERT_TRUE(mine && peer);
    const X25519Bytes private_key = private_of(mine.get());
    ASSERT_TRUE(seen.insert(private_key).second) << "a key is made once";
    ASSERT_EQ(private_key.front() & 7, 0) << "clamped";
    ASSERT_EQ(private_key.back() & 0xc0, 0x40) << "clamped";
    ASSERT_EQ(public_of(mine.get()), public_of(openssls(private_key).get()));
    // What is on the wire, as libssl reads it: a template is given the peer's share.
    const KeyPtr share(
        EVP_PKEY_new_raw_public_key_ex(light, "X25519", nullptr, public_of(peer.get()).data(), sizeof(X25519Bytes)));
    const KeyPtr back(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, public_of(mine.get()).data(), sizeof(X25519Bytes)));
    const std::string secret = shared(mine.get(), share.get(), light);
    ASSERT_EQ(secret.size(), 32U);
    ASSERT_EQ(secret, shared(peer.get(), back.get(), nullptr));
  }
}

// Else a handshake would still work, and be slow.
TEST(X25519, TheKeyManagerIsOurs) {
  OSSL_PROVIDER* whole = OSSL_PROVIDER_load(nullptr, "default");
  ASSERT_NE(whole, nullptr);
  int no_cache = 0;
  const OSSL_ALGORITHM* each = OSSL_PROVIDER_query_operation(whole, OSSL_OP_KEYMGMT, &no_cache);
  while (each->algorithm_names != nullptr && std::string_view(each->algorithm_names).substr(0, 6) != "X25519") ++each;
  ASSERT_NE(each->algorithm_names, nullptr);
  EXPECT_NE(x25519_key_manager(*each).implementation, each->implementation) << "OpenSSL's own is kept";
  OSSL_PROVIDER_unload(whole);
}

// tls_context.cc's handshakes make a template of the client's share before they read it.
TEST(X25519, ATemplateHasNoKey) {
  OSSL_LIB_CTX* light = light_parsing_context();
  const KeyContextPtr making(EVP_PKEY_CTX_new_from_name(light, "X25519", nullptr));
  ASSERT_EQ(EVP_PKEY_paramgen_init(making.get()), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_group_name(making.get(), "X25519"), 1);
  EVP_PKEY* made = nullptr;
  ASSERT_EQ(EVP_PKEY_paramgen(making.get(), &made), 1);
  const KeyPtr sample(made);
  X25519Bytes bytes{};
  std::size_t length = bytes.size();
  EXPECT_NE(EVP_PKEY_get_raw_private_key(sample.get(), bytes.data(), &length), 1);
  const KeyPtr peer = generated(nullptr);
  const X25519Bytes share = public_of(peer.get());
  ASSERT_EQ(EVP_PKEY_set1_encoded_public_key(sample.get(), share.data(), share.size()), 1);
  EXPECT_EQ(public_of(sample.get()), share);
  const KeyContextPtr again(EVP_PKEY_CTX_new_from_name(light, "X25519", nullptr));
  ASSERT_EQ(EVP_PKEY_keygen_init(again.get()), 1);
  EXPECT_NE(EVP_PKEY_CTX_set_group_name(again.get(), "X448"), 1) << "OpenSSL's refusal is passed on";
  ERR_clear_error();
}

TEST(X25519, IsMadeOnManyThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 50; ++round) {
        const KeyPtr key = generated(light_parsing_context());
        ASSERT_EQ(public_of(key.get()), public_of(openssls(private_of(key.get())).get()));
      }
    });
  }
  for (std::thread& each : threads) each.join();
}

}  // namespace
}  // namespace sallyport::test
