// Chains of NIST's Public Key Interoperability Test Suite (PKITS 1.0.1, a work of the United States government, not
// under copyright), section 4.3: names. What is valid there is let in, also where only one of the certificates is
// registered, and what is not is not. At a moment of their own: they end in 2030.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/cache/standing/gate_world.h"

namespace sallyport::test {
namespace {

constexpr std::int64_t kNow = 1'735'689'600;  // the beginning of 2025

Certificate read(const std::string& name) {
  std::ifstream file(std::string(SALLYPORT_PKITS "/") + name + ".crt", std::ios::binary);
  const std::string der{std::istreambuf_iterator<char>(file), {}};
  auto read = Certificate::from_der({reinterpret_cast<const std::uint8_t*>(der.data()), der.size()});
  EXPECT_TRUE(read) << name;
  return std::move(*read);
}

struct Chain {
  const char* device;
  const char* ca;
};

constexpr Chain kValid[] = {
    {"ValidNameChainingWhitespaceTest3EE", "GoodCACert"},
    {"ValidNameChainingWhitespaceTest4EE", "GoodCACert"},
    {"ValidNameChainingCapitalizationTest5EE", "GoodCACert"},
    {"ValidNameUIDsTest6EE", "UIDCACert"},
    {"ValidRFC3280MandatoryAttributeTypesTest7EE", "RFC3280MandatoryAttributeTypesCACert"},
    {"ValidRFC3280OptionalAttributeTypesTest8EE", "RFC3280OptionalAttributeTypesCACert"},
    {"ValidUTF8StringEncodedNamesTest9EE", "UTF8StringEncodedNamesCACert"},
    {"ValidRolloverfromPrintableStringtoUTF8StringTest10EE", "RolloverfromPrintableStringtoUTF8StringCACert"},
    {"ValidUTF8StringCaseInsensitiveMatchTest11EE", "UTF8StringCaseInsensitiveMatchCACert"},
};
constexpr Chain kInvalid[] = {
    {"InvalidNameChainingTest1EE", "GoodCACert"},
    {"InvalidNameChainingOrderTest2EE", "NameOrderingCACert"},
};

TEST(Pkits, ValidNamesAreLetIn) {
  const Certificate root = read("TrustAnchorRootCertificate");
  for (const Chain& chain : kValid) {
    const Certificate device = read(chain.device), ca = read(chain.ca);
    GateWorld sent, registered;
    sent.trust(root);
    EXPECT_EQ(sent.ask(device, {ca}, kNow).reason, Reason::None) << chain.device;
    registered.trust(ca);
    EXPECT_EQ(registered.ask(device, {}, kNow).reason, Reason::None) << chain.device;
  }
}

TEST(Pkits, OtherNamesAreNot) {
  const Certificate root = read("TrustAnchorRootCertificate");
  for (const Chain& chain : kInvalid) {
    const Certificate device = read(chain.device), ca = read(chain.ca);
    GateWorld sent, registered;
    sent.trust(root);
    EXPECT_EQ(sent.ask(device, {ca}, kNow).reason, Reason::CaUnknown) << chain.device;
    registered.trust(ca);
    EXPECT_EQ(registered.ask(device, {}, kNow).reason, Reason::CaUnknown) << chain.device;
  }
}

}  // namespace
}  // namespace sallyport::test
