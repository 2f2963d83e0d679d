// Which certificate a server name asks for.
#include "proxy/tls/server_name.h"

#include <gtest/gtest.h>

namespace sallyport {
namespace {

TEST(ServerNames, TheFirstToClaimANameKeepsIt) {
  ServerNames names;
  names.add("a.example.com", 0);
  names.add("A.example.com", 1);
  names.add("*.example.com", 2);
  EXPECT_EQ(names.find("a.example.com"), 0U);
  EXPECT_EQ(names.find("b.example.com."), 2U);
  EXPECT_EQ(names.find(".example.com"), std::nullopt);
  EXPECT_EQ(names.find("b.a.example.com"), std::nullopt);
  EXPECT_EQ(names.find("example"), std::nullopt);
  EXPECT_EQ(names.find(std::string(200, 'x') + ".example.com"), 2U);
  EXPECT_EQ(names.find(std::string(15'000, 'x') + ".example.com"), std::nullopt) << "nobody's name";
}

}  // namespace
}  // namespace sallyport
