// Which ClientHellos our own TLS 1.2 handshake answers: those that ask for what it does, and no others.
#include "proxy/tls/tls12_client_hello.h"

#include <gtest/gtest.h>

#include "tests/proxy/tls/hello_variations.h"
#include "tests/proxy/tls/tls12_peer.h"

namespace sallyport::test {
namespace {

std::optional<PlainHello12> read(const Hello& hello) {
  static Bytes message;  // the answer points into it
  message = hello.message();
  return plain_hello12(message);
}
// What is read of the usual one with other suites or groups.
std::optional<PlainHello12> read_with_suites(std::initializer_list<std::size_t> suites) {
  Hello hello = hello12();
  hello.suites = numbers_of(suites);
  return read(hello);
}
std::optional<PlainHello12> read_with_groups(std::initializer_list<std::size_t> groups) {
  Hello hello = hello12();
  *hello.find(10) = vector_of(numbers_of(groups), 2);
  return read(hello);
}
Bytes named(const Bytes& name) {
  return join({{0}, vector_of(name, 2)});
}

TEST(PlainHello12, SaysWhatItSays) {
  Hello hello = hello12();
  hello.add(0, vector_of(named({'a', '.', 'b'}), 2));
  hello.add(11, vector_of({1, 0}, 1));
  hello.add(35, {});
  const auto found = read(hello);
  ASSERT_TRUE(found);
  EXPECT_EQ(Bytes(found->random.begin(), found->random.end()), Bytes(32, 5));
  EXPECT_EQ(found->server_name, "a.b");
  EXPECT_TRUE(found->point_formats);
  EXPECT_TRUE(found->takes_tickets);
  EXPECT_EQ(Bytes(found->signature_schemes.begin(), found->signature_schemes.end()),
            numbers_of({0x0403, 0x0804, 0x0401}));
  EXPECT_TRUE(found->offers(0x0403));
  EXPECT_TRUE(found->offers(0x0401));
  EXPECT_FALSE(found->offers(0x0308)) << "the halves of two of them";
}
TEST(PlainHello12, SaysNothingThatWasNotSaid) {
  const auto found = read(hello12());
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->server_name);
  EXPECT_FALSE(found->point_formats);
  EXPECT_FALSE(found->takes_tickets);
}
TEST(PlainHello12, X25519ComesBeforeP256) {
  const auto both = read_with_groups({23, 29}), x25519 = read_with_groups({24, 29}), p256 = read_with_groups({30, 23});
  ASSERT_TRUE(both && x25519 && p256);
  EXPECT_EQ(both->group, Group::X25519);
  EXPECT_TRUE(both->p256);
  EXPECT_EQ(x25519->group, Group::X25519);
  EXPECT_FALSE(x25519->p256);
  EXPECT_EQ(p256->group, Group::P256);
  EXPECT_TRUE(p256->p256);
}
TEST(PlainHello12, ASuiteIsOfOneKindOfKey) {
  const auto both = read(hello12()), ecdsa = read_with_suites({0xC02B, 0xFF}), rsa = read_with_suites({0xC02F, 0xFF});
  ASSERT_TRUE(both && ecdsa && rsa);
  EXPECT_TRUE(both->ecdsa && both->rsa);
  EXPECT_TRUE(ecdsa->ecdsa && !ecdsa->rsa);
  EXPECT_TRUE(rsa->rsa && !rsa->ecdsa);
}

class StillPlain12 : public Variations {};
TEST_P(StillPlain12, IsOurs) {
  Hello hello = hello12();
  GetParam().change(hello);
  EXPECT_TRUE(read(hello));
}
INSTANTIATE_TEST_SUITE_P(
    Hello, StillPlain12,
    testing::Values(Case{"ASessionId", [](Hello& h) { h.session_id = Bytes(32, 1); }},
                    Case{"TheExtensionInPlaceOfTheSignal",
                         [](Hello& h) { h.suites = numbers_of({0xC02B}), h.add(0xFF01, {0}); }},
                    Case{"TheExtensionAndTheSignal", [](Hello& h) { h.add(0xFF01, {0}); }},
                    Case{"TheSignalFirst",
                         [](Hello& h) {
                           h.suites = numbers_of({0x00FF, 0xC02B});
                         }},
                    Case{"UnknownSuitesFirst",
                         [](Hello& h) {
                           h.suites = numbers_of({0x3A3A, 0xC02B, 0x00FF});
                         }},
                    Case{"AnyAes256First",
                         [](Hello& h) {
                           h.suites = numbers_of({0xC02C, 0xC030, 0xC02F, 0x00FF});
                         }},
                    Case{"ChaCha20Behind",
                         [](Hello& h) {
                           h.suites = numbers_of({0xC02B, 0xCCA9, 0xCCA8, 0xC02F, 0x00FF});
                         }},
                    Case{"ChaCha20BehindAes256OfEcdsa",
                         [](Hello& h) {
                           h.suites = numbers_of({0xC02C, 0xCCA9, 0xCCA8, 0xC02B, 0x00FF});
                         }},
                    Case{"ChaCha20BehindAes256OfRsa",
                         [](Hello& h) {
                           h.suites = numbers_of({0xC030, 0xCCA9, 0xCCA8, 0xC02F, 0x00FF});
                         }},
                    Case{"UnknownGroupsAndSchemes",
                         [](Hello& h) {
                           *h.find(10) = vector_of(numbers_of({0x3A3A, 29}), 2);
                           *h.find(13) = vector_of(numbers_of({0x3A3A, 0x0203, 0x0403}), 2);
                         }},
                    Case{"FormatsOfPoints",
                         [](Hello& h) {
                           h.add(11, vector_of({0, 1, 2}, 1));
                         }},
                    Case{"UnknownExtensions",
                         [](Hello& h) {
                           h.add(0x3A3A, {1, 2, 3}), h.add(0x4A4A, {}), h.add(63, {1}), h.add(21, Bytes(200));
                         }},
                    Case{"WhatIsNothingToUs",
                         [](Hello& h) {
                           h.add(5, {1, 0, 0, 0, 0}), h.add(18, {}), h.add(22, {}), h.add(49, {});
                         }},
                    Case{"Protocols",
                         [](Hello& h) {
                           h.add(16, vector_of(vector_of({'m', 'q', 't', 't'}, 1), 2));
                         }}),
    name_of_case);

class NotPlain12 : public Variations {};
TEST_P(NotPlain12, IsOpenssls) {
  Hello hello = hello12();
  GetParam().change(hello);
  EXPECT_FALSE(read(hello));
}
INSTANTIATE_TEST_SUITE_P(
    Hello, NotPlain12,
    testing::Values(Case{"AnOldVersion", [](Hello& h) { h.version = 0x0302; }},
                    Case{"ALaterVersion", [](Hello& h) { h.version = 0x0304; }},
                    Case{"Tls13Too",
                         [](Hello& h) {
                           h.add(43, vector_of(numbers_of({0x0304, 0x0303}), 1));
                         }},
                    Case{"Tls12InItsList", [](Hello& h) { h.add(43, vector_of(numbers_of({0x0303}), 1)); }},
                    Case{"NoExtendedMasterSecret", [](Hello& h) { h.remove(23); }},
                    Case{"AnExtendedMasterSecretWithContent", [](Hello& h) { *h.find(23) = {0}; }},
                    Case{"NoGroups", [](Hello& h) { h.remove(10); }},
                    Case{"EmptyGroups", [](Hello& h) { *h.find(10) = vector_of({}, 2); }},
                    Case{"NoCommonGroup",
                         [](Hello& h) {
                           *h.find(10) = vector_of(numbers_of({24, 25, 30}), 2);
                         }},
                    Case{"TornGroups",
                         [](Hello& h) {
                           *h.find(10) = vector_of({0, 29, 0}, 2);
                         }},
                    Case{"BytesBehindGroups", [](Hello& h) { h.find(10)->push_back(0); }},
                    Case{"NoSignatures", [](Hello& h) { h.remove(13); }},
                    Case{"EmptySignatures", [](Hello& h) { *h.find(13) = vector_of({}, 2); }},
                    Case{"TornSignatures",
                         [](Hello& h) {
                           *h.find(13) = vector_of({4, 3, 8}, 2);
                         }},
                    Case{"BytesBehindSignatures", [](Hello& h) { h.find(13)->push_back(0); }},
                    Case{"SignaturesOfCertificates", [](Hello& h) { h.add(50, vector_of(numbers_of({0x0403}), 2)); }},
                    Case{"NoAes128",
                         [](Hello& h) {
                           h.suites = numbers_of({0xC02C, 0xC030, 0x00FF});
                         }},
                    Case{"AnotherKeyExchange",
                         [](Hello& h) {
                           h.suites = numbers_of({0x009C, 0x009E, 0x00FF});
                         }},
                    Case{"ChaCha20OfEcdsaFirst",
                         [](Hello& h) {
                           h.suites = numbers_of({0xCCA9, 0xC02B, 0xC02F, 0x00FF});
                         }},
                    Case{"ChaCha20OfRsaFirst",
                         [](Hello& h) {
                           h.suites = numbers_of({0x3A3A, 0xCCA8, 0xC02B, 0xC02F, 0x00FF});
                         }},
                    Case{"ChaCha20BeforeAes256",
                         [](Hello& h) {
                           h.suites = numbers_of({0xCCA9, 0xC02C, 0xC030, 0xC02B, 0x00FF});
                         }},
                    Case{"AFallback",
                         [](Hello& h) {
                           h.suites = join({h.suites, numbers_of({0x5600})});
                         }},
                    Case{"TornSuites", [](Hello& h) { h.suites.push_back(0); }},
                    Case{"NoSuites", [](Hello& h) { h.suites.clear(), h.add(0xFF01, {0}); }},
                    Case{"NoSecureRenegotiation", [](Hello& h) { h.suites = numbers_of({0xC02B}); }},
                    Case{"ARenegotiation", [](Hello& h) { h.add(0xFF01, vector_of(Bytes(12, 1), 1)); }},
                    Case{"AnEmptyRenegotiationInfo", [](Hello& h) { h.add(0xFF01, {}); }},
                    Case{"BytesBehindARenegotiationInfo",
                         [](Hello& h) {
                           h.add(0xFF01, {0, 0});
                         }},
                    Case{"ATicket", [](Hello& h) { h.add(35, Bytes(100, 1)); }},
                    Case{"AHighExtensionTwice", [](Hello& h) { h.add(0x3A3A, {1}), h.add(0x3A3A, {}); }},
                    Case{"AFragmentLength", [](Hello& h) { h.add(1, {1}); }},
                    Case{"APreSharedKey", [](Hello& h) { h.add(41, Bytes(40)); }},
                    Case{"EarlyData", [](Hello& h) { h.add(42, {}); }},
                    Case{"ACookie", [](Hello& h) { h.add(44, vector_of({1}, 2)); }},
                    Case{"CompressedPointsAlone",
                         [](Hello& h) {
                           h.add(11, vector_of({1, 2}, 1));
                         }},
                    Case{"NoFormatsOfPoints", [](Hello& h) { h.add(11, vector_of({}, 1)); }},
                    Case{"BytesBehindFormatsOfPoints",
                         [](Hello& h) {
                           h.add(11, {1, 0, 0});
                         }},
                    Case{"ACompression",
                         [](Hello& h) {
                           h.compressions = {0, 1};
                         }},
                    Case{"NoNullCompression", [](Hello& h) { h.compressions = {1}; }},
                    Case{"NoCompressions", [](Hello& h) { h.compressions.clear(); }},
                    Case{"ALongSessionId", [](Hello& h) { h.session_id = Bytes(33, 1); }},
                    Case{"TwoNames", [](Hello& h) { h.add(0, vector_of(join({named({'a'}), named({'b'})}), 2)); }},
                    Case{"AnEmptyName", [](Hello& h) { h.add(0, vector_of(named({}), 2)); }},
                    Case{"BytesBehindIt", [](Hello& h) { h.behind = {0}; }}),
    name_of_case);

// RFC 5246, section 7.4.1.4: none of one type comes twice.
TEST(PlainHello12, AnExtensionComesOnce) {
  Hello all = hello12();
  all.add(0, vector_of(named({'a'}), 2));
  all.add(11, vector_of({0}, 1));
  all.add(16, vector_of(vector_of({'a'}, 1), 2));
  all.add(35, {});
  all.add(62, {});
  all.add(0xFF01, {0});
  ASSERT_TRUE(read(all));
  for (const auto& [type, content] : all.extensions) {
    Hello twice = all;
    twice.add(type, content);
    EXPECT_FALSE(read(twice)) << type;
  }
}

TEST(PlainHello12, NoBeginningOfOneIsOne) {
  Hello hello = hello12();
  hello.add(35, {});
  const Bytes whole = hello.message();
  ASSERT_TRUE(plain_hello12(whole));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(plain_hello12(std::span(whole).first(n))) << n;
    // However much is missing, the message may say that it has no more.
    if (n < 4) continue;
    const Bytes torn = message_of(1, Bytes(whole.begin() + 4, whole.begin() + static_cast<std::ptrdiff_t>(n)));
    EXPECT_FALSE(plain_hello12(torn)) << n;
  }
  Bytes other = whole;
  other[0] = 2;
  EXPECT_FALSE(plain_hello12(other));
}
TEST(PlainHello12, ExtensionsAreReadToTheirEnd) {
  const Hello hello = hello12();
  const Bytes whole = hello.message();
  std::size_t listed = 0;
  for (const auto& [type, content] : hello.extensions) listed += 4 + content.size();
  const Bytes before(whole.begin() + 4, whole.end() - static_cast<std::ptrdiff_t>(listed + 2));
  const Bytes extensions(whole.end() - static_cast<std::ptrdiff_t>(listed), whole.end());
  const auto with = [&](const Bytes& list) { return message_of(1, join({before, vector_of(list, 2)})); };
  ASSERT_TRUE(plain_hello12(with(extensions)));
  for (std::size_t n = 0; n < listed; ++n) {
    const Bytes torn(extensions.begin(), extensions.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(plain_hello12(with(torn))) << n;
  }
  for (const Bytes& behind : {Bytes{0}, Bytes{0x3A, 0x3A, 0}, Bytes{0x3A, 0x3A, 0, 1}}) {
    EXPECT_FALSE(plain_hello12(with(join({extensions, behind})))) << behind.size();
  }
}

}  // namespace
}  // namespace sallyport::test
