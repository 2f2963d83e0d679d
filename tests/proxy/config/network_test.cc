// Networks as the configuration writes them: which addresses they hold, and what is not clear enough to be one.
#include "proxy/config/network.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

namespace sallyport {
namespace {

using testing::HasSubstr;

sockaddr_storage peer(const std::string& text) {
  sockaddr_storage out{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
  out.ss_family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  void* into = out.ss_family == AF_INET ? static_cast<void*>(&v4.sin_addr) : &v6.sin6_addr;
  EXPECT_EQ(::inet_pton(out.ss_family, text.c_str(), into), 1) << text;
  return out;
}

bool holds(const std::string& network, const std::string& address) {
  const auto parsed = Network::parse(network);
  EXPECT_TRUE(parsed) << network;
  return parsed && parsed->holds(peer(address));
}

TEST(Network, HoldsItsAddressesAndNoOthers) {
  EXPECT_TRUE(holds("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(holds("10.0.0.0/8", "11.0.0.1"));
  EXPECT_TRUE(holds("192.0.2.128/25", "192.0.2.128"));
  EXPECT_TRUE(holds("192.0.2.128/25", "192.0.2.255"));
  EXPECT_FALSE(holds("192.0.2.128/25", "192.0.2.127"));
  EXPECT_TRUE(holds("192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(holds("192.0.2.1", "192.0.2.2"));
  EXPECT_TRUE(holds("192.0.2.1/32", "192.0.2.1"));
  EXPECT_TRUE(holds("0.0.0.0/0", "203.0.113.9"));
  EXPECT_TRUE(holds("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(holds("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(holds("::/0", "2001:db8::1"));
  EXPECT_TRUE(holds("2001:db8::1", "2001:db8::1"));
  EXPECT_FALSE(holds("2001:db8::1", "2001:db8::2"));
}

TEST(Network, FamiliesDoNotMeetButForMappedAddresses) {
  EXPECT_TRUE(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
  EXPECT_FALSE(holds("10.0.0.0/8", "::ffff:11.1.2.3"));
  EXPECT_FALSE(holds("::/0", "10.1.2.3"));
  EXPECT_FALSE(holds("0.0.0.0/0", "2001:db8::1"));
  EXPECT_FALSE(Network::parse("0.0.0.0/0")->holds(sockaddr_storage{})) << "of no family at all";
}

TEST(Network, IsWrittenAsItWasRead) {
  for (const std::string text : {"10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1", "0.0.0.0/0", "::/0"}) {
    EXPECT_EQ(Network::parse(text)->text(), text);
  }
}

TEST(Network, IsRefusedWhereItIsNotClear) {
  const std::pair<std::string, std::string> bad[] = {
      {"", "expected a network"},       {"balancer", "expected a network"},      {"10.0.0/8", "expected a network"},
      {"10.0.0.0/33", "from 0 to 32"},  {"10.0.0.0/", "from 0 to 32"},           {"10.0.0.0/8x", "from 0 to 32"},
      {"10.0.0.0/-1", "from 0 to 32"},  {"2001:db8::/129", "from 0 to 128"},     {"[::1]", "expected a network"},
      {"10.0.0.1/8", "\"10.0.0.0/8\""}, {"192.0.2.129/25", "\"192.0.2.128/25\""}};
  for (const auto& [text, what] : bad) {
    const auto parsed = Network::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().what, HasSubstr(what)) << text;
  }
}

}  // namespace
}  // namespace sallyport
