// The self-test at the start passes with the OpenSSL these tests run with, and what it finds wanting ends the reliance.
#include "proxy/tls/tls_self_test.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_insides.h"
#include "tests/proxy/tls/tls_server.h"

namespace sallyport::test {
namespace {

// The last in this file gives the insides up: in one process, they run in this order.
TEST(TlsSelfTest, PassesOverEveryInside) {
  EXPECT_EQ(tls_self_test(), "");
  EXPECT_EQ(ERR_peek_error(), 0U);
  settle_tls_engines(Config());
  EXPECT_TRUE(openssl_insides_hold()) << openssl_insides_refusal();
  Server server;
  EXPECT_NE(server.context().handshake_server(), nullptr);
}

TEST(TlsSelfTest, WhatIsGivenUpStaysSoAndEverythingIsOpenssls) {
  give_up_openssl_insides("the first reason");
  give_up_openssl_insides("another");
  EXPECT_FALSE(openssl_insides_hold());
  EXPECT_EQ(openssl_insides_refusal(), "the first reason");
  EXPECT_EQ(light_parsing_context(), nullptr);
  Server server;
  EXPECT_EQ(server.context().handshake_server(), nullptr);
  EXPECT_EQ(tls_self_test(), "") << "OpenSSL's own way serves all of it, too";
}

}  // namespace
}  // namespace sallyport::test
