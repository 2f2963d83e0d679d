// The PROXY header of both versions: what is taken, what is refused, that the cut of the bytes decides nothing, and
// that what is written for a broker says what it should, read by other code than the parser's.
#include "proxy/proxy_protocol/proxy_header.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "proxy/proxy_protocol/proxy_writer.h"

namespace sallyport {
namespace {

using namespace std::string_literals;
using State = ProxyHeaderProgress::State;
using testing::HasSubstr;

std::span<const std::uint8_t> span_of(const std::string& bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

InetAddress address(const std::string& text, std::uint16_t port) {
  InetAddress out;
  out.version = text.find(':') == std::string::npos ? 4 : 6;
  EXPECT_EQ(::inet_pton(out.version == 4 ? AF_INET : AF_INET6, text.c_str(), out.ip.data()), 1) << text;
  out.port = port;
  return out;
}

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string two(std::size_t n) {
  return {static_cast<char>(n >> 8), static_cast<char>(n)};
}
std::string binary(char command, char family, const std::string& rest) {
  return kSignature + command + family + two(rest.size()) + rest;
}
const std::string kV4 = "\xC0\0\2\1\xC6\x33\x64\2"s + "\x30\x39\x22\xB3"s;  // 192.0.2.1:12345 to 198.51.100.2:8883
std::string field(char type, const std::string& value) {
  return type + two(value.size()) + value;
}

struct Good {
  std::string name, bytes;
  InetAddress client, destination;
};

std::vector<Good> good() {
  const std::string v6(32, '\1');
  const InetAddress ones = [] {
    InetAddress out;
    out.ip.fill(1);
    out.version = 6;
    return out;
  }();
  InetAddress client6 = ones, destination6 = ones;
  client6.port = 1;
  destination6.port = 65535;
  const InetAddress client = address("192.0.2.1", 12345), destination = address("198.51.100.2", 8883);
  return {
      {"a line of IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 12345 8883\r\n", client, destination},
      {"a line of IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", address("2001:db8::1", 1),
       address("2001:db8::2", 65535)},
      {"the longest line",
       "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
       address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
       address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535)},
      {"a line of port 0", "PROXY TCP4 192.0.2.1 198.51.100.2 0 0\r\n", address("192.0.2.1", 0),
       address("198.51.100.2", 0)},
      {"a line of nobody", "PROXY UNKNOWN\r\n", {}, {}},
      {"a line of nobody with words", "PROXY UNKNOWN ffff::1 x y z\r\n", {}, {}},
      {"IPv4", binary('\x21', '\x11', kV4), client, destination},
      {"IPv6", binary('\x21', '\x21', v6 + "\0\1\xFF\xFF"s), client6, destination6},
      {"IPv4 with fields", binary('\x21', '\x11', kV4 + field('\2', "host") + field('\4', "") + field('\xEE', "x")),
       client, destination},
      {"a checksum", binary('\x21', '\x11', kV4 + field('\3', "\x3F\xA6\xE9\x5B")), client, destination},
      {"LOCAL", binary('\x20', '\0', ""), {}, {}},
      {"LOCAL with addresses", binary('\x20', '\x11', kV4), {}, {}},
      {"LOCAL with rubbish", binary('\x20', '\x7F', "x"), {}, {}},
      {"UNSPEC", binary('\x21', '\0', "anything"), {}, {}},
      {"a unix socket", binary('\x21', '\x31', std::string(216, 'u')), {}, {}},
      {"4 KiB", binary('\x21', '\x11', kV4 + field('\4', std::string(4096 - 16 - 12 - 3, 'n'))), client, destination},
  };
}

TEST(ProxyHeader, IsTakenHoweverItIsCut) {
  for (const Good& each : good()) {
    std::string bytes = each.bytes;
    if (each.name == "a checksum") {  // by the polynomial of RFC 3720, appendix B.4, over the header with zeros there
      std::string zeros = bytes;
      zeros.replace(zeros.size() - 4, 4, 4, '\0');
      std::uint32_t sum = ~0U;
      for (const char c : zeros) {
        sum ^= static_cast<std::uint8_t>(c);
        for (int bit = 0; bit < 8; ++bit) sum = (sum & 1) != 0 ? sum >> 1 ^ 0x82F63B78U : sum >> 1;
      }
      sum = ~sum;
      bytes.replace(bytes.size() - 4, 4, two(sum >> 16) + two(sum & 0xFFFF));
    }
    const std::string behind = "\x16\3\1";
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      ASSERT_EQ(parse_proxy_header(span_of(bytes.substr(0, n))).state, State::NeedMore) << each.name << " at " << n;
    }
    const auto progress = parse_proxy_header(span_of(bytes + behind));
    ASSERT_EQ(progress.state, State::Complete) << each.name << ": " << progress.what;
    EXPECT_EQ(progress.header_bytes, bytes.size()) << each.name;
    EXPECT_EQ(progress.proxied.client, each.client) << each.name;
    EXPECT_EQ(progress.proxied.destination, each.destination) << each.name;
  }
}

TEST(ProxyHeader, IsRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"\x16\3\1", "no PROXY header"},
      {"PROXX", "no PROXY header"},
      {"proxy TCP4", "no PROXY header"},
      {"\r\n\r\n\1", "no PROXY header"},
      {"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", "neither TCP4, TCP6 nor UNKNOWN"},
      {"PROXY UNKNOWNX\r\n", "neither TCP4, TCP6 nor UNKNOWN"},
      {"PROXY \r\n", "neither TCP4, TCP6 nor UNKNOWN"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", "cannot be read"},
      {"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n", "cannot be read"},
      {"PROXY TCP4 ::1 ::2 1 2\r\n", "cannot be read"},
      {"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 1 2x\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n\r\n", "cannot be read"},
      {"PROXY TCP4 192.0.2.1\0.3 198.51.100.2 1 2\r\n"s, "cannot be read"},
      {"PROXY UNKNOWN " + std::string(107 - 14, 'x'), "without an end"},
      {kSignature + '\x11', "unknown version"},
      {kSignature + '\x31', "unknown version"},
      {kSignature + '\x22', "unknown command"},
      {binary('\x21', '\x12', kV4), "something else than TCP"},
      {binary('\x21', '\x41', kV4), "something else than TCP"},
      {binary('\x21', '\x11', kV4.substr(1)), "without its addresses"},
      {binary('\x21', '\x21', kV4), "without its addresses"},
      {binary('\x21', '\x11', kV4 + "\4\0"), "do not fit"},
      {binary('\x21', '\x11', kV4 + "\4\0\1"s), "do not fit"},
      {binary('\x21', '\x11', kV4 + field('\4', "ok") + "\4\0\2x"s), "do not fit"},
      {binary('\x21', '\x11', kV4 + field('\3', "\1\2\3\4")), "checksum"},
      {binary('\x21', '\x11', kV4 + field('\3', "\1\2\3")), "checksum"},
      {kSignature + "\x21\x11" + two(4096 - 15), "more than 4 KiB"},
      {kSignature + "\x20"s + '\0' + "\xFF\xFF"s, "more than 4 KiB"},
  };
  for (const auto& [bytes, what] : bad) {
    const auto progress = parse_proxy_header(span_of(bytes));
    EXPECT_EQ(progress.state, State::Refused) << bytes;
    EXPECT_THAT(std::string(progress.what), HasSubstr(what)) << bytes;
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      EXPECT_NE(parse_proxy_header(span_of(bytes.substr(0, n))).state, State::Complete) << bytes << " at " << n;
    }
  }
}

// Another reader, by the letter of the specification: {type: value} of the fields in `bytes`.
std::map<int, std::string> fields_of(const std::string& bytes) {
  std::map<int, std::string> out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = static_cast<std::size_t>(static_cast<std::uint8_t>(bytes.at(at + 1))) << 8 |
                               static_cast<std::uint8_t>(bytes.at(at + 2));
    EXPECT_LE(at + 3 + length, bytes.size());
    EXPECT_TRUE(out.emplace(static_cast<std::uint8_t>(bytes[at]), bytes.substr(at + 3, length)).second);
    at += 3 + length;
  }
  return out;
}

std::string written(const ProxyWords& words) {
  std::string out(proxy_header_bytes(words), '\xAA');
  if (!out.empty()) {
    EXPECT_EQ(write_proxy_header(words, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()}), out.size());
  }
  return out;
}

ProxyWords words_of(const std::string& client, const std::string& destination) {
  ProxyWords words;
  words.client = address(client, 40000);
  words.destination = address(destination, 8883);
  words.tls_version = "TLSv1.3";
  words.cipher = "TLS_AES_128_GCM_SHA256";
  words.proven = words.shown = true;
  words.common_name = "meter-4711";
  return words;
}

TEST(ProxyWriter, SaysWhoseConnectionItIs) {
  const std::string header = written(words_of("192.0.2.1", "198.51.100.2"));
  EXPECT_EQ(header.substr(0, 12), kSignature);
  EXPECT_EQ(header.substr(12, 2), "\x21\x11");
  EXPECT_EQ(header.substr(14, 2), two(header.size() - 16));
  EXPECT_EQ(header.substr(16, 12), "\xC0\0\2\1\xC6\x33\x64\2\x9C\x40\x22\xB3"s);
  const auto outer = fields_of(header.substr(28));
  ASSERT_EQ(outer.size(), 1U);
  const std::string ssl = outer.at(0x20);
  EXPECT_EQ(ssl.substr(0, 5), "\x07\0\0\0\0"s);
  const std::map<int, std::string> inner = {{0x21, "TLSv1.3"}, {0x22, "meter-4711"}, {0x23, "TLS_AES_128_GCM_SHA256"}};
  EXPECT_EQ(fields_of(ssl.substr(5)), inner);
}

TEST(ProxyWriter, FlagsSayWhatWasProvenAndWhen) {
  ProxyWords words = words_of("192.0.2.1", "198.51.100.2");
  const auto flags = [&] { return fields_of(written(words).substr(28)).at(0x20).substr(0, 5); };
  words.shown = false;
  EXPECT_EQ(flags(), "\x05\0\0\0\0"s) << "resumed: the certificate was shown in the session, not in this connection";
  words.proven = false;
  words.common_name = {};
  EXPECT_EQ(flags(), "\x01\0\0\0\1"s) << "one-way: no certificate, so nothing was verified";
  words.shown = true;
  EXPECT_EQ(flags(), "\x01\0\0\0\1"s) << "what was shown and not proven is none";
  EXPECT_EQ(fields_of(fields_of(written(words).substr(28)).at(0x20).substr(5)).count(0x22), 0U);
}

TEST(ProxyWriter, NeedsNoFamilyButTheTwo) {
  const auto written_as = [](const std::string& client, const std::string& destination) {
    const std::string header = written(words_of(client, destination));
    const auto read = parse_proxy_header(span_of(header));
    EXPECT_EQ(read.state, State::Complete);
    EXPECT_EQ(read.header_bytes, header.size());
    return read.proxied;
  };
  EXPECT_EQ(written_as("2001:db8::1", "2001:db8::2").client, address("2001:db8::1", 40000));
  EXPECT_EQ(written_as("::ffff:192.0.2.1", "::ffff:198.51.100.2").client, address("192.0.2.1", 40000));
  const auto mixed = written_as("192.0.2.1", "2001:db8::2");
  EXPECT_EQ(mixed.client, address("::ffff:192.0.2.1", 40000));
  EXPECT_EQ(mixed.destination, address("2001:db8::2", 8883));
  ProxyWords words = words_of("192.0.2.1", "198.51.100.2");
  words.client = InetAddress();
  EXPECT_EQ(written(words).substr(12, 2), "\x21\0"s) << "an address that is not known";
}

TEST(ProxyWriter, HasAtMost500BytesWhateverTheCertificateSays) {
  ProxyWords words = words_of("2001:db8::1", "2001:db8::2");
  words.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305";  // the longest name we offer
  const std::string longest(256, 'c');
  words.common_name = longest;
  EXPECT_GT(written(words).size(), 256U);
  EXPECT_LE(written(words).size(), kProxyHeaderMost);
  const std::string beyond(450, 'c');
  words.common_name = beyond;
  EXPECT_EQ(proxy_header_bytes(words), 0U) << "said not at all, instead of in part";
}

TEST(ProxyWriter, TheCertificateIsAFieldOfTls) {
  ProxyWords words = words_of("192.0.2.1", "198.51.100.2");
  const std::vector<std::uint8_t> der(16'384, 0x30);
  words.certificate = der;
  const std::string header = written(words);
  EXPECT_EQ(header.substr(14, 2), two(header.size() - 16));
  EXPECT_EQ(fields_of(fields_of(header.substr(28)).at(0x20).substr(5)).at(0x28), std::string(16'384, '0'));
  const std::vector<std::uint8_t> endless(65'500, 0x30);
  words.certificate = endless;
  EXPECT_EQ(proxy_header_bytes(words), 0U);
}

TEST(ProxyWriter, AProbeSpeaksForNobody) {
  const auto read = parse_proxy_header(kProxyLocalHeader);
  EXPECT_EQ(read.state, State::Complete);
  EXPECT_EQ(read.header_bytes, kProxyLocalHeader.size());
  EXPECT_FALSE(read.proxied.client.known());
  // One that asks for an answer speaks for this host: a broker closes the other kind.
  const auto asking = parse_proxy_header(kProxyOwnHeader);
  EXPECT_EQ(asking.state, State::Complete);
  EXPECT_EQ(asking.header_bytes, kProxyOwnHeader.size());
  EXPECT_EQ(asking.proxied.client, (InetAddress{{127, 0, 0, 1}, 0, 4}));
}

}  // namespace
}  // namespace sallyport
