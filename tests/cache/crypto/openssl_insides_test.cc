// What we rely on inside OpenSSL holds with the OpenSSL these tests run with, and the self-test would notice otherwise.
#include "cache/crypto/openssl_insides.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/light_self_test.h"

namespace sallyport::test {
namespace {

TEST(OpensslInsides, HoldWithTheVersionTheTestsRunWith) {
  EXPECT_EQ(openssl_insides_refusal(), "");
  EXPECT_TRUE(openssl_insides_hold());
  EXPECT_NE(light_parsing_context(), nullptr);
  EXPECT_EQ(openssl_version(), OpenSSL_version(OPENSSL_VERSION_STRING));
}

TEST(OpensslInsides, AreTriedWithoutLeavingErrors) {
  ASSERT_NE(light_parsing_context(), nullptr);
  EXPECT_EQ(light_self_test(light_parsing_context()), "");
  EXPECT_EQ(ERR_peek_error(), 0U);
}

// The default context's key schedules are not ours: no traffic secret comes out of them.
TEST(OpensslInsides, TheSelfTestNoticesAKeyScheduleThatIsNotOurs) {
  EXPECT_EQ(light_self_test(nullptr), "the light context's key schedules derive otherwise than OpenSSL's");
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(OpensslInsides, TheSelfTestNoticesAContextThatReadsNoKeys) {
  OSSL_LIB_CTX* const empty = OSSL_LIB_CTX_new();
  OSSL_PROVIDER* const nothing = OSSL_PROVIDER_load(empty, "null");
  EXPECT_EQ(light_self_test(empty), "the light context reads or uses a P-256 key otherwise than OpenSSL");
  EXPECT_EQ(ERR_peek_error(), 0U);
  OSSL_PROVIDER_unload(nothing);
  OSSL_LIB_CTX_free(empty);
}

}  // namespace
}  // namespace sallyport::test
