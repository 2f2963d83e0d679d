// A session is read without the key of its certificate where nobody asks for it, and all else is as before.
#include "cache/crypto/keys_unread.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <thread>
#include <vector>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport::test {
namespace {

using DigestPtr = std::unique_ptr<EVP_MD, OpensslFree<&EVP_MD_free>>;

// Since 3.2 OpenSSL reads a session in the context of its connection.
bool gains_here() {
  return OpenSSL_version_num() < 0x30200000UL;
}

bool has_a_hash(OSSL_LIB_CTX* context) {
  const DigestPtr found(EVP_MD_fetch(context, "SHA2-256", nullptr));
  ERR_clear_error();
  return found != nullptr;
}

std::vector<unsigned char> a_certificate() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr x509(X509_new());
  X509_set_pubkey(x509.get(), key.get());
  X509_gmtime_adj(X509_getm_notBefore(x509.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
  X509_sign(x509.get(), key.get(), EVP_sha256());
  std::vector<unsigned char> der(static_cast<std::size_t>(i2d_X509(x509.get(), nullptr)));
  unsigned char* into = der.data();
  i2d_X509(x509.get(), &into);
  return der;
}

TEST(KeysUnread, ThisThreadHasNoAlgorithmByDefaultMeanwhile) {
  EXPECT_TRUE(has_a_hash(nullptr));
  KeysUnread::begin();
  EXPECT_EQ(KeysUnread::begun(), gains_here());
  EXPECT_EQ(has_a_hash(nullptr), !gains_here());
  EXPECT_TRUE(has_a_hash(named_default_context())) << "who names the context has all";
  std::thread([] {
    EXPECT_FALSE(KeysUnread::begun());
    EXPECT_TRUE(has_a_hash(nullptr)) << "another thread";
  }).join();
  KeysUnread::end();
  EXPECT_FALSE(KeysUnread::begun());
  EXPECT_TRUE(has_a_hash(nullptr));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(KeysUnread, ToBeginTwiceIsToBeginOnce) {
  KeysUnread::begin();
  KeysUnread::begin();
  KeysUnread::end();
  EXPECT_FALSE(KeysUnread::begun());
  EXPECT_TRUE(has_a_hash(nullptr));
  KeysUnread::end();
  EXPECT_TRUE(has_a_hash(nullptr));
}

TEST(KeysUnread, EndsWithItsScope) {
  {
    const KeysUnread ended_with_this{};
    KeysUnread::begin();
  }
  EXPECT_FALSE(KeysUnread::begun());
  EXPECT_TRUE(has_a_hash(nullptr));
}

TEST(KeysUnread, ACertificateIsReadAndItsKeyIsNot) {
  const std::vector<unsigned char> der = a_certificate();
  const auto read = [&] {
    const unsigned char* from = der.data();
    return X509Ptr(d2i_X509(nullptr, &from, static_cast<long>(der.size())));
  };
  KeysUnread::begin();
  const X509Ptr without = read();
  KeysUnread::end();
  const X509Ptr with = read();
  ASSERT_NE(with, nullptr);
  ASSERT_NE(without, nullptr);
  EXPECT_NE(X509_get0_pubkey(with.get()), nullptr);
  EXPECT_EQ(X509_get0_pubkey(without.get()) == nullptr, gains_here());
  std::vector<unsigned char> again(der.size());
  unsigned char* into = again.data();
  ASSERT_EQ(i2d_X509(without.get(), &into), static_cast<int>(der.size()));
  EXPECT_EQ(again, der) << "it is written as it came";
  ERR_clear_error();
}

}  // namespace
}  // namespace sallyport::test
