// The tests of records that are linked with this file run over record_cipher_openssl.cc.
#include <gtest/gtest.h>

#include "proxy/tls/record_cipher.h"

namespace sallyport::test {
namespace {

TEST(RecordsByOpenssl, AreWhatIsTestedHere) {
  EXPECT_EQ(RecordCipher::library_name(), "OpenSSL");
  EXPECT_TRUE(RecordCipher::available());
}

}  // namespace
}  // namespace sallyport::test
