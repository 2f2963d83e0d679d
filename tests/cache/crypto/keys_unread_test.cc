// A session is read without the key of its certificate where nobody asks for it, and all else is as before.
#include "cache/crypto/keys_unread.h"

#include <gtest/gtest.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#include <array>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
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

// A provider's HMAC that asks the thread's default context for another one: once it is made, or once it is used; for
// every message, or for those of some sizes.
class LateMac {
 public:
  static inline bool when_made = false;
  static inline std::size_t least = 0, most = SIZE_MAX;

  static void* make(void*) {
    auto made = std::make_unique<LateMac>();
    return when_made && !made->begin() ? nullptr : made.release();
  }
  static void end(void* mac) { const std::unique_ptr<LateMac> owned(static_cast<LateMac*>(mac)); }
  static int set(void* mac, const OSSL_PARAM* parameters) {
    LateMac& self = *static_cast<LateMac*>(mac);
    void* into = self.key_.data();
    const OSSL_PARAM* key = OSSL_PARAM_locate_const(parameters, OSSL_MAC_PARAM_KEY);
    return key == nullptr || OSSL_PARAM_get_octet_string(key, &into, self.key_.size(), &self.bytes_) == 1 ? 1 : 0;
  }
  static int init(void* mac, const unsigned char*, std::size_t, const OSSL_PARAM* parameters) {
    const bool any_size = least == 0 && most == SIZE_MAX;
    return set(mac, parameters) == 1 && (!any_size || static_cast<LateMac*>(mac)->begin()) ? 1 : 0;
  }
  static int update(void* mac, const unsigned char* bytes, std::size_t count) {
    LateMac& self = *static_cast<LateMac*>(mac);
    return self.begin(count) && self.key() && EVP_MAC_update(self.context_.get(), bytes, count) == 1 ? 1 : 0;
  }
  static int finish(void* mac, unsigned char* out, std::size_t* length, std::size_t most) {
    LateMac& self = *static_cast<LateMac*>(mac);
    return self.begin() && self.key() && EVP_MAC_final(self.context_.get(), out, length, most) == 1 ? 1 : 0;
  }
  static int about(void*, OSSL_PARAM* parameters) {
    OSSL_PARAM* size = OSSL_PARAM_locate(parameters, OSSL_MAC_PARAM_SIZE);
    return size == nullptr ? 1 : OSSL_PARAM_set_size_t(size, 32);
  }

 private:
  bool begin(std::size_t bytes = SIZE_MAX) {
    if (context_ != nullptr) return true;
    OSSL_LIB_CTX* const asked = bytes >= least && bytes <= most ? nullptr : named_default_context();
    const std::unique_ptr<EVP_MAC, OpensslFree<&EVP_MAC_free>> hmac(EVP_MAC_fetch(asked, "HMAC", "provider=default"));
    context_.reset(hmac ? EVP_MAC_CTX_new(hmac.get()) : nullptr);
    return context_ != nullptr;
  }
  bool key() {
    if (std::exchange(keyed_, true)) return true;
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                     OSSL_PARAM_construct_end()};
    return EVP_MAC_init(context_.get(), key_.data(), bytes_, parameters) == 1;
  }

  std::unique_ptr<EVP_MAC_CTX, OpensslFree<&EVP_MAC_CTX_free>> context_;
  std::array<unsigned char, 64> key_{};
  std::size_t bytes_ = 0;
  bool keyed_ = false;
};

template <class Function>
OSSL_DISPATCH entry(int id, Function* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* query_late(void*, int operation, int* no_cache) {
  static const OSSL_DISPATCH functions[] = {
      entry(OSSL_FUNC_MAC_NEWCTX, &LateMac::make),        entry(OSSL_FUNC_MAC_FREECTX, &LateMac::end),
      entry(OSSL_FUNC_MAC_INIT, &LateMac::init),          entry(OSSL_FUNC_MAC_UPDATE, &LateMac::update),
      entry(OSSL_FUNC_MAC_FINAL, &LateMac::finish),       entry(OSSL_FUNC_MAC_GET_CTX_PARAMS, &LateMac::about),
      entry(OSSL_FUNC_MAC_SET_CTX_PARAMS, &LateMac::set), {0, nullptr}};
  static const OSSL_ALGORITHM macs[] = {{"HMAC", "provider=late", functions, ""}, {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  return operation == OSSL_OP_MAC ? macs : nullptr;
}

int init_late(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** context) {
  static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, &query_late), {0, nullptr}};
  *out = functions;
  *context = const_cast<OSSL_CORE_HANDLE*>(core);
  return 1;
}

// Such a provider is served as it is, only slower: no handshake fails for it.
TEST(KeysUnread, NotWithAlgorithmsThatNeedTheDefaultContextMeanwhile) {
  const std::unique_ptr<OSSL_LIB_CTX, OpensslFree<&OSSL_LIB_CTX_free>> empty(OSSL_LIB_CTX_new());
  OSSL_PROVIDER* const none = OSSL_PROVIDER_load(empty.get(), "null");
  EXPECT_TRUE(tickets_open_without_algorithms(empty.get()));
  EXPECT_EQ(KeysUnread::possible(), gains_here());
  ASSERT_EQ(OSSL_PROVIDER_add_builtin(nullptr, "late", &init_late), 1);
  OSSL_PROVIDER* const late = OSSL_PROVIDER_try_load(nullptr, "late", 1);
  ASSERT_NE(late, nullptr);
  ASSERT_EQ(EVP_set_default_properties(nullptr, "?provider=late"), 1);
  for (const bool when_made : {true, false}) {
    LateMac::when_made = when_made;
    EXPECT_TRUE(tickets_open_without_algorithms(nullptr)) << "it works where it may ask";
    EXPECT_FALSE(tickets_open_without_algorithms(empty.get())) << "asks " << (when_made ? "when made" : "when used");
  }
  const std::pair<std::size_t, std::size_t> sizes[] = {{0, 400}, {500, 1100}, {1000, 1200}, {2200, SIZE_MAX}};
  for (const auto& [least, most] : sizes) {
    LateMac::least = least;
    LateMac::most = most;
    EXPECT_FALSE(tickets_open_without_algorithms(empty.get())) << "asks from " << least << " to " << most << " bytes";
  }
  LateMac::least = LateMac::most = 0;
  EXPECT_TRUE(tickets_open_without_algorithms(empty.get())) << "asks for none";
  EVP_set_default_properties(nullptr, "");
  OSSL_PROVIDER_unload(late);
  OSSL_PROVIDER_unload(none);
  EXPECT_TRUE(has_a_hash(nullptr));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

// The last one: it is given up for the whole process.
TEST(KeysUnread, WhatIsGivenUpBeginsNoMore) {
  KeysUnread::begin();
  KeysUnread::give_up();
  KeysUnread::end();
  EXPECT_FALSE(KeysUnread::begun());
  KeysUnread::begin();
  EXPECT_FALSE(KeysUnread::begun());
  EXPECT_TRUE(has_a_hash(nullptr));
  EXPECT_FALSE(KeysUnread::possible());
}

}  // namespace
}  // namespace sallyport::test
