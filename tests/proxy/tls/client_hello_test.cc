// Which ClientHellos our own handshake answers: those that ask for what it does, and no others.
#include "proxy/tls/client_hello.h"

#include <gtest/gtest.h>

#include "tests/proxy/tls/hello_variations.h"
#include "tests/proxy/tls/tls13_peer.h"

namespace sallyport::test {
namespace {

std::optional<PlainHello> read(const Hello& hello) {
  static Bytes message;  // the answer points into it
  message = hello.message();
  return plain_hello(message, true);
}

TEST(PlainHello, SaysWhatItSays) {
  Hello hello(Bytes(32, 3));
  hello.add(0, vector_of(join({{0}, vector_of({'a', '.', 'b'}, 2)}), 2));
  hello.add(45, vector_of({0, 1}, 1));
  const auto found = read(hello);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->group, Group::X25519);
  EXPECT_EQ(Bytes(found->share.begin(), found->share.end()), Bytes(32, 3));
  EXPECT_EQ(Bytes(found->session_id.begin(), found->session_id.end()), Bytes(32, 7));
  EXPECT_EQ(found->server_name, "a.b");
  EXPECT_TRUE(found->takes_tickets);
  EXPECT_TRUE(found->offers(0x0403));
  EXPECT_TRUE(found->offers(0x0805));
  EXPECT_FALSE(found->offers(0x0304)) << "the halves of two of them";
}

TEST(PlainHello, X25519ComesBeforeP256) {
  const Bytes p256 = join({number(23, 2), vector_of(Bytes(65, 4), 2)});
  const Bytes x25519 = join({number(29, 2), vector_of(Bytes(32, 9), 2)});
  Hello hello;
  *hello.find(51) = vector_of(join({p256, x25519}), 2);
  EXPECT_EQ(read(hello)->group, Group::X25519);
  *hello.find(51) = vector_of(p256, 2);
  const auto found = read(hello);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->group, Group::P256);
  EXPECT_EQ(Bytes(found->share.begin(), found->share.end()), Bytes(65, 4));
}

TEST(PlainHello, TicketsAreForThoseWhoCanUseThem) {
  EXPECT_FALSE(read(Hello())->takes_tickets);
  Hello psk_only;
  psk_only.add(45, vector_of({0}, 1));
  EXPECT_FALSE(read(psk_only)->takes_tickets);
}

Bytes identity_of(const Bytes& ticket) {
  return join({vector_of(ticket, 2), Bytes(4, 6)});
}
Bytes pre_shared_key(const Bytes& identities, const Bytes& binders) {
  return join({vector_of(identities, 2), vector_of(binders, 2)});
}
const Bytes kTicket = Bytes(50, 4), kBinder = vector_of(Bytes(32, 8), 1);

TEST(PlainHello, OneTicketMayBeOffered) {
  Hello hello;
  hello.add(45, vector_of({1}, 1));
  hello.add(41, pre_shared_key(identity_of(kTicket), kBinder));
  const auto found = read(hello);
  ASSERT_TRUE(found && found->ticket);
  EXPECT_EQ(Bytes(found->ticket->ticket.begin(), found->ticket->ticket.end()), kTicket);
  EXPECT_EQ(Bytes(found->ticket->binder.begin(), found->ticket->binder.end()), Bytes(32, 8));
  const Bytes whole = hello.message();
  EXPECT_EQ(found->ticket->binders_at, whole.size() - 35);
  EXPECT_EQ(whole[found->ticket->binders_at - 1], 6) << "up to the ticket's age";
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(plain_hello(std::span(whole).first(n), true)) << n;
  *hello.find(45) = vector_of({0}, 1);
  const auto without_exchange = read(hello);
  ASSERT_TRUE(without_exchange);
  EXPECT_FALSE(without_exchange->ticket);
}

class StillPlain : public Variations {};
TEST_P(StillPlain, IsOurs) {
  Hello hello;
  GetParam().change(hello);
  EXPECT_TRUE(read(hello));
}
INSTANTIATE_TEST_SUITE_P(
    Hello, StillPlain,
    testing::Values(Case{"NoSessionId", [](Hello& h) { h.session_id.clear(); }},
                    Case{"OneSuite", [](Hello& h) { h.suites = numbers_of({0x1301}); }},
                    Case{"UnknownSuitesFirst",
                         [](Hello& h) {
                           h.suites = numbers_of({0x3a3a, 0x1301, 0x1303});
                         }},
                    Case{"AsManyExtensionsAsADeviceHas",
                         [](Hello& h) {
                           for (std::size_t i = 0; i < 12; ++i) h.add(64 + i, {});
                         }},
                    Case{"UnknownExtensions",
                         [](Hello& h) {
                           h.add(0x3a3a, {1, 2, 3}), h.add(0xfe0d, {}), h.add(21, Bytes(200));
                         }},
                    Case{"ALaterVersionToo",
                         [](Hello& h) {
                           *h.find(43) = vector_of(numbers_of({0x3a3a, 0x0305, 0x0304}), 1);
                         }},
                    Case{"AnotherShareFirst",
                         [](Hello& h) {
                           *h.find(51) = vector_of(
                               join({number(0x3a3a, 2), vector_of({0}, 2), number(29, 2), vector_of(Bytes(32, 9), 2)}),
                               2);
                         }},
                    Case{"ThingsOfTls12",
                         [](Hello& h) { h.add(23, {}), h.add(22, {}), h.add(35, {}), h.add(0xff01, {0}); }},
                    Case{"PostHandshakeAuthentication", [](Hello& h) { h.add(49, {}); }},
                    Case{"Protocols",
                         [](Hello& h) {
                           h.add(16, vector_of(vector_of({'m', 'q', 't', 't'}, 1), 2));
                         }}),
    name_of_case);

class NotPlain : public Variations {};
TEST_P(NotPlain, IsOpenssls) {
  Hello hello;
  GetParam().change(hello);
  EXPECT_FALSE(read(hello));
}
INSTANTIATE_TEST_SUITE_P(
    Hello, NotPlain,
    testing::Values(
        Case{"AnOldVersion", [](Hello& h) { h.version = 0x0302; }},
        Case{"Tls12Alone", [](Hello& h) { *h.find(43) = vector_of(numbers_of({0x0303}), 1); }},
        Case{"NoVersions", [](Hello& h) { h.remove(43); }},
        Case{"TornVersions",
             [](Hello& h) {
               *h.find(43) = vector_of({3, 4, 3}, 1);
             }},
        Case{"BytesBehindVersions", [](Hello& h) { h.find(43)->push_back(0); }},
        Case{"LongSessionId", [](Hello& h) { h.session_id = Bytes(33, 1); }},
        Case{"NoAes128",
             [](Hello& h) {
               h.suites = numbers_of({0x1302, 0x1303});
             }},
        Case{"ChaChaFirst",
             [](Hello& h) {
               h.suites = numbers_of({0x1303, 0x1301, 0x1302});
             }},
        Case{"TornSuites",
             [](Hello& h) {
               h.suites = {0x13, 0x01, 0x13};
             }},
        Case{"NoSuites", [](Hello& h) { h.suites.clear(); }},
        Case{"Compression",
             [](Hello& h) {
               h.compressions = {0, 1};
             }},
        Case{"NoNullCompression", [](Hello& h) { h.compressions = {1}; }},
        Case{"NoCompressions", [](Hello& h) { h.compressions.clear(); }},
        Case{"NotInTheGroups", [](Hello& h) { *h.find(10) = vector_of(numbers_of({23}), 2); }},
        Case{"NoGroups", [](Hello& h) { h.remove(10); }},
        Case{"AnotherShareAlone",
             [](Hello& h) {
               *h.find(51) = vector_of(join({number(24, 2), vector_of(Bytes(97, 4), 2)}), 2);
             }},
        Case{"ACompressedShareOfP256",
             [](Hello& h) {
               *h.find(51) = vector_of(join({number(23, 2), vector_of(Bytes(33, 2), 2)}), 2);
             }},
        Case{"EmptyShares", [](Hello& h) { *h.find(51) = vector_of({}, 2); }},
        Case{"NoShares", [](Hello& h) { h.remove(51); }},
        Case{"AShortShare",
             [](Hello& h) {
               *h.find(51) = vector_of(join({number(29, 2), vector_of(Bytes(31, 4), 2)}), 2);
             }},
        Case{"TwoSharesOfX25519",
             [](Hello& h) {
               const Bytes one = join({number(29, 2), vector_of(Bytes(32, 4), 2)});
               *h.find(51) = vector_of(join({one, one}), 2);
             }},
        Case{"ATornShare",
             [](Hello& h) {
               *h.find(51) = vector_of(join({number(29, 2), vector_of(Bytes(32, 4), 2), {0}}), 2);
             }},
        Case{"BytesBehindShares", [](Hello& h) { h.find(51)->push_back(0); }},
        Case{"NoSignatures", [](Hello& h) { h.remove(13); }},
        Case{"EmptySignatures", [](Hello& h) { *h.find(13) = vector_of({}, 2); }},
        Case{"SignaturesOfCertificates", [](Hello& h) { h.add(50, vector_of(numbers_of({0x0403}), 2)); }},
        Case{"ATornTicket",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, Bytes(40));
             }},
        Case{"ATicketWithoutModes", [](Hello& h) { h.add(41, pre_shared_key(identity_of(kTicket), kBinder)); }},
        Case{"ATicketThatIsNotLast",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, pre_shared_key(identity_of(kTicket), kBinder)), h.add(23, {});
             }},
        Case{"TwoTickets",
             [](Hello& h) {
               const Bytes one = identity_of(kTicket);
               h.add(45, {1, 1}), h.add(41, pre_shared_key(join({one, one}), join({kBinder, kBinder})));
             }},
        Case{"MoreBindersThanTickets",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, pre_shared_key(identity_of(kTicket), join({kBinder, kBinder})));
             }},
        Case{"AnEmptyTicket",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, pre_shared_key(identity_of({}), kBinder));
             }},
        Case{"ATicketWithoutItsAge",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, pre_shared_key(vector_of(kTicket, 2), kBinder));
             }},
        Case{"ABinderOfSha384",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, pre_shared_key(identity_of(kTicket), vector_of(Bytes(48, 8), 1)));
             }},
        Case{"BytesBehindTheBinders",
             [](Hello& h) {
               h.add(45, {1, 1}), h.add(41, join({pre_shared_key(identity_of(kTicket), kBinder), {0}}));
             }},
        Case{"EarlyData", [](Hello& h) { h.add(42, {}); }},
        Case{"ACookie", [](Hello& h) { h.add(44, vector_of({1}, 2)); }},
        Case{"AFragmentLength", [](Hello& h) { h.add(1, {1}); }},
        Case{"NoPskModes", [](Hello& h) { h.add(45, vector_of({}, 1)); }},
        Case{"AHighExtensionTwice", [](Hello& h) { h.add(0x3a3a, {1}), h.add(0xfe0d, {}), h.add(0x3a3a, {}); }},
        Case{"MoreExtensionsThanADeviceHas",
             [](Hello& h) {
               for (std::size_t i = 0; i < 13; ++i) h.add(64 + i, {});
             }},
        Case{"AnyExtensionTwice", [](Hello& h) { h.add(23, {}), h.add(23, {}); }},
        Case{"TwoNames",
             [](Hello& h) {
               const Bytes name = join({{0}, vector_of({'a'}, 2)});
               h.add(0, vector_of(join({name, name}), 2));
             }},
        Case{"AnotherKindOfName",
             [](Hello& h) {
               h.add(0, vector_of(join({{1}, vector_of({'a'}, 2)}), 2));
             }},
        Case{"AnEmptyName",
             [](Hello& h) {
               h.add(0, vector_of(join({{0}, vector_of({}, 2)}), 2));
             }},
        Case{"ANameWithANul",
             [](Hello& h) {
               h.add(0, vector_of(join({{0}, vector_of({'a', 0, 'b'}, 2)}), 2));
             }},
        Case{"ALongName", [](Hello& h) { h.add(0, vector_of(join({{0}, vector_of(Bytes(256, 'a'), 2)}), 2)); }},
        Case{"BytesBehindIt", [](Hello& h) { h.behind = {0}; }}),
    name_of_case);

TEST(PlainHello, NoBeginningOfOneIsOne) {
  const Bytes whole = Hello().message();
  ASSERT_TRUE(plain_hello(whole, true));
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(plain_hello(std::span(whole).first(n), true)) << n;
  Bytes other = whole;
  other[0] = 2;
  EXPECT_FALSE(plain_hello(other, true));
}

}  // namespace
}  // namespace sallyport::test
