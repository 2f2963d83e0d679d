// What comes in place of a ClientHello has a name as soon as it can, however it is cut; TLS and rubbish have none.
#include "proxy/session/first_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sallyport {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

FirstBytes look(const std::string& bytes) {
  return look_at_first_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

TEST(FirstBytes, AreNamed) {
  struct Named {
    std::string bytes;
    Reason reason;
    std::string what;
  };
  const std::vector<Named> named = {
      {"\x10\x0D\0\4MQTT\4"s, Reason::TlsError, "MQTT"},
      {"\x10\x8D\x80\1\0\4MQTT\5"s, Reason::TlsError, "MQTT"},
      {"\x10\x0F\0\6MQIsdp\3"s, Reason::TlsError, "MQTT"},
      {"GET / HTTP/1.1\r\n", Reason::TlsError, "HTTP"},
      {"OPTIONS * HTTP/1.1\r\n", Reason::TlsError, "HTTP"},
      {"POST /", Reason::TlsError, "HTTP"},
      {"PRI * HTTP/2.0\r\n", Reason::TlsError, "HTTP"},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Reason::BadProxyHeader, "PROXY"},
      {"\r\n\r\n\0\r\nQUIT\n\x21"s, Reason::BadProxyHeader, "PROXY"},
  };
  for (const Named& each : named) {
    const FirstBytes found = look(each.bytes);
    EXPECT_EQ(found.reason, each.reason) << each.bytes;
    EXPECT_FALSE(found.undecided) << each.bytes;
    EXPECT_THAT(std::string(found.what), HasSubstr(each.what));
    bool decided = false;
    for (std::size_t n = 1; n <= each.bytes.size(); ++n) {
      const FirstBytes part = look(each.bytes.substr(0, n));
      EXPECT_NE(part.undecided, part.reason == each.reason) << each.bytes << " at " << n;
      EXPECT_TRUE(!decided || !part.undecided) << "decided once and for all";
      decided = decided || !part.undecided;
    }
  }
}

TEST(FirstBytes, OthersAreForTlsToJudge) {
  const std::vector<std::string> others = {"",
                                           "\x16",
                                           "\x16\3\1\2\0\1",
                                           "\x15\3\1",
                                           "GOT",
                                           "get /",
                                           "PROXX",
                                           "\x10\x02\0\4MQTX"s,
                                           "\x10\xFF\xFF\xFF\xFF\1",
                                           "\x20\2\0\0"s,
                                           std::string(64, '\0')};
  for (const std::string& each : others) {
    const FirstBytes found = look(each);
    EXPECT_EQ(found.reason, Reason::None) << each;
    EXPECT_FALSE(found.undecided) << each;
  }
}

}  // namespace
}  // namespace sallyport
