// The issuer's name out of a certificate's DER: what OpenSSL reads there, and nothing where there is none.
#include "cache/x509/issuer_line.h"

#include <gtest/gtest.h>
#include <openssl/x509.h>

#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

Bytes bytes_of(const std::string& der) {
  return {reinterpret_cast<const std::uint8_t*>(der.data()), der.size()};
}

TEST(IssuerLine, IsTheNameThatOpensslReads) {
  const Identity509 root = make_ca("Root, of trust = all");
  const Identity509 device = make_device("device", root);
  EXPECT_EQ(issuer_line(bytes_of(device.certificate.der())), root.certificate.subject());
  EXPECT_EQ(issuer_line(bytes_of(device.certificate.der())),
            short_line(X509_get_issuer_name(device.certificate.x509())));
}

TEST(IssuerLine, WhateverElseIsNothingAndReadsNoFurther) {
  const Identity509 root = make_ca("Root");
  const std::string der = make_device("device", root).certificate.der();
  EXPECT_EQ(issuer_line({}), "");
  for (std::size_t cut = 0; cut < der.size(); ++cut) {
    const std::string part = der.substr(0, cut);
    EXPECT_EQ(issuer_line(bytes_of(part)), "") << cut;
  }
  for (std::size_t at = 0; at < 64; ++at) {
    for (const int byte : {0x00, 0x30, 0x7f, 0x80, 0x84, 0xa0, 0xff}) {
      std::string broken = der;
      broken[at] = static_cast<char>(byte);
      issuer_line(bytes_of(broken));  // under AddressSanitizer: it reads nothing behind the end
    }
  }
}

}  // namespace
}  // namespace sallyport::test
