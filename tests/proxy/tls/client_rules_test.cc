// What OpenSSL lets a client do and the engine does not, in OpenSSL's handshakes and in ours: client_rules.h. The alert
// of each such rule stands in the table, alerts_test.cc.
#include "proxy/tls/client_rules.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/ssl.h>

#include <ctime>
#include <string>

#include "proxy/tls/ticket_keys.h"
#include "tests/proxy/tls/joined.h"
#include "tests/proxy/tls/peer_parts.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls13_peer.h"

namespace sallyport::test {
namespace {

constexpr const char* kAes256 = "TLS_AES_256_GCM_SHA384";  // OpenSSL's handshake

// RFC 6066, section 3: "When resuming a session, the server MUST NOT include a server_name extension in the server
// hello." In TLS 1.3 it would be in the EncryptedExtensions.
class ServerName : public testing::TestWithParam<std::tuple<int, const char*>> {
 protected:
  // Joins the engine and a client that may bring a session; counts the acknowledgements.
  void connect(SSL_SESSION* session) {
    acknowledged_ = 0;
    made_.emplace(
        server, &yes,
        TlsClient::Options{.device = &device, .version = std::get<0>(GetParam()), .server_name = "localhost"});
    SSL* const ssl = made_->client.ssl();
    const char* const suites = std::get<1>(GetParam());
    ASSERT_TRUE(*suites == '\0' || SSL_set_ciphersuites(ssl, suites) == 1);
    ASSERT_TRUE(session == nullptr || SSL_set_session(ssl, session) == 1);
    SSL_set_tlsext_debug_callback(ssl, &ServerName::on_extension);
    SSL_set_tlsext_debug_arg(ssl, this);
    ASSERT_EQ(made_->shake(), Step::Done);
    ASSERT_TRUE(made_->client_done);
  }
  static void on_extension(SSL*, int of_client, int type, const unsigned char*, int, void* self) {
    static_cast<ServerName*>(self)->acknowledged_ += of_client != 0 && type == TLSEXT_TYPE_server_name ? 1 : 0;
  }

  TicketKeys keys{std::time(nullptr)};
  Server server;
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  Says yes{Reason::None};
  std::optional<Joined> made_;
  int acknowledged_ = 0;
};
TEST_P(ServerName, IsAcknowledgedInAFullHandshakeAlone) {
  server.tickets = &keys;
  ASSERT_NO_FATAL_FAILURE(connect(nullptr));
  EXPECT_FALSE(made_->engine.resumed());
  EXPECT_EQ(acknowledged_, 1);
  using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;
  const SessionPtr session(SSL_SESSION_dup(SSL_get0_session(made_->client.ssl())));
  ASSERT_NO_FATAL_FAILURE(connect(session.get()));
  EXPECT_TRUE(made_->engine.resumed());
  EXPECT_EQ(acknowledged_, 0);
}
INSTANTIATE_TEST_SUITE_P(Tls, ServerName,
                         testing::Values(std::tuple{TLS1_2_VERSION, ""}, std::tuple{TLS1_3_VERSION, ""},
                                         std::tuple{TLS1_3_VERSION, kAes256}));

// RFC 8422, section 5.4: points are uncompressed. OpenSSL would take the other forms.
Bytes p256_point(point_conversion_form_t form) {
  const KeyPtr key = make_key(Kind::P256);
  const std::unique_ptr<EC_GROUP, OpensslFree<&EC_GROUP_free>> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const std::unique_ptr<EC_POINT, OpensslFree<&EC_POINT_free>> point(EC_POINT_new(group.get()));
  Bytes encoded(65);
  std::size_t length = 0;
  CHECK(EVP_PKEY_get_octet_string_param(key.get(), "pub", encoded.data(), encoded.size(), &length) == 1);
  CHECK(EC_POINT_oct2point(group.get(), point.get(), encoded.data(), length, nullptr) == 1);
  encoded.resize(EC_POINT_point2oct(group.get(), point.get(), form, encoded.data(), encoded.size(), nullptr));
  return encoded;
}

// RFC 8446, section 4.2.8.2. In TLS 1.3 OpenSSL holds to it by itself.
TEST(ClientRules, AKeyShareIsAnUncompressedPoint) {
  for (const point_conversion_form_t form :
       {POINT_CONVERSION_COMPRESSED, POINT_CONVERSION_HYBRID, POINT_CONVERSION_UNCOMPRESSED}) {
    SCOPED_TRACE(form);
    Server server;
    server.config.auth = AuthMode::OneWay;
    ByteBuffer output;
    TlsEngine engine(server.context(), nullptr, output);
    Hello hello;
    *hello.find(51) = vector_of(join({number(23, 2), vector_of(p256_point(form), 2)}), 2);
    const Bytes greeting = plain_record(kHandshake, hello.message());
    engine.lend(greeting);
    const bool good = form == POINT_CONVERSION_UNCOMPRESSED;
    EXPECT_EQ(engine.handshake(), good ? Step::WantInput : Step::Failed);
    const Bytes alert = plain_record(kAlert, {2, SSL_AD_ILLEGAL_PARAMETER});
    EXPECT_EQ(Bytes(output.bytes().begin(), output.bytes().end()) == alert, !good);
  }
}

class KeyExchange12 : public testing::TestWithParam<std::size_t> {};
TEST_P(KeyExchange12, IsOfAnUncompressedPoint) {
  for (const point_conversion_form_t form :
       {POINT_CONVERSION_COMPRESSED, POINT_CONVERSION_HYBRID, POINT_CONVERSION_UNCOMPRESSED}) {
    SCOPED_TRACE(form);
    Server server;
    server.config.auth = AuthMode::OneWay;
    ByteBuffer output;
    TlsEngine engine(server.context(), nullptr, output);
    Tls12Peer peer;
    Hello hello = hello12();
    hello.suites = numbers_of({GetParam(), 0x00FF});
    *hello.find(10) = vector_of(numbers_of({23}), 2);
    const Bytes greeting = peer.say(hello);
    engine.lend(greeting);
    ASSERT_EQ(engine.handshake(), Step::WantInput);
    output.consume(output.size());
    const Bytes exchange = plain_record(kHandshake, message_of(16, vector_of(p256_point(form), 1)));
    engine.lend(exchange);
    const Step step = engine.handshake();
    if (form == POINT_CONVERSION_UNCOMPRESSED) {
      EXPECT_EQ(step, Step::WantInput) << engine.error().what;
      continue;
    }
    ASSERT_EQ(step, Step::Failed);
    EXPECT_EQ(engine.error().reason, Reason::TlsError);
    EXPECT_EQ(Bytes(output.bytes().begin(), output.bytes().end()), plain_record(kAlert, {2, SSL_AD_ILLEGAL_PARAMETER}));
    output.release();
    engine.lend(greeting);
    EXPECT_EQ(engine.handshake(), Step::Failed) << "it is over, and does not begin again";
    EXPECT_TRUE(output.empty());
    EXPECT_FALSE(engine.established());
  }
}
INSTANTIATE_TEST_SUITE_P(Tls, KeyExchange12, testing::Values(0xC02B, 0xC02C));  // ours, and OpenSSL's

// A ticket of one version is none in the other: the handshake is a full one.
class Tickets : public testing::Test {
 protected:
  Tickets() { server.tickets = &keys; }
  Bytes ticket_of(int version) {
    Joined joined(server, &yes, {.device = &device, .version = version});
    EXPECT_EQ(joined.shake(), Step::Done);
    const unsigned char* ticket = nullptr;
    std::size_t length = 0;
    SSL_SESSION_get0_ticket(SSL_get0_session(joined.client.ssl()), &ticket, &length);
    EXPECT_GT(length, 0U);
    return {ticket, ticket + length};
  }
  // The types of the messages that a ClientHello is answered with, of those in the clear.
  Bytes answers_to(const Bytes& hello) {
    output.release();
    engine.emplace(server.context(), &yes, output);
    pending = plain_record(kHandshake, hello);
    engine->lend(pending);
    EXPECT_EQ(engine->handshake(), Step::WantInput) << engine->error().what;
    Bytes types;
    for (auto bytes = output.bytes(); bytes.size() > 5 && bytes[0] == kHandshake;) {
      types.push_back(bytes[5]);
      bytes = bytes.subspan(5 + record_length(bytes));
    }
    return types;
  }

  TicketKeys keys{std::time(nullptr)};
  Server server;
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  Says yes{Reason::None};
  ByteBuffer output;
  Bytes pending;
  std::optional<TlsEngine> engine;
};
class TicketOf12 : public Tickets, public testing::WithParamInterface<std::size_t> {};
TEST_P(TicketOf12, IsDeclinedInTls13) {
  const KeptTicket kept{ticket_of(TLS1_2_VERSION), Bytes(32, 1)};
  Hello hello;
  hello.suites = numbers_of({GetParam()});
  *hello.find(51) = vector_of(join({number(29, 2), vector_of(ExchangeKey().share(), 2)}), 2);
  Tls13Peer peer;
  EXPECT_EQ(answers_to(peer.offer(hello, kept)), Bytes{2});
  EXPECT_EQ(yes.asked_to_resume, 0);
}
INSTANTIATE_TEST_SUITE_P(Tls, TicketOf12, testing::Values(0x1301, 0x1302));  // ours, and OpenSSL's

TEST_F(Tickets, OfTls13AreDeclinedInTls12) {
  Hello hello = hello12();
  hello.session_id = Bytes(32, 8);
  hello.add(35, ticket_of(TLS1_3_VERSION));
  EXPECT_EQ(answers_to(hello.message()), (Bytes{2, 11, 12, 13, 14}));
  EXPECT_EQ(yes.asked_to_resume, 0);
}

// RFC 8446, section 6.2: whose binder is wrong hears decrypt_error.
TEST_F(Tickets, WithABadBinderEndTheHandshake) {
  Tls13Peer first, second;
  Hello hello(first.share());
  hello.add(45, vector_of({1}, 1));
  engine.emplace(server.context(), &yes, output);
  const auto give = [&](const Bytes& bytes) {
    pending = bytes;
    engine->lend(pending);
    return engine->handshake();
  };
  const auto say = [&](const Bytes& message) {
    const Bytes record = first.seal(kHandshake, message);
    first.said(message);
    return give(record);
  };
  ASSERT_EQ(give(first.say(hello)), Step::WantInput);
  ASSERT_TRUE(first.hear(output.bytes()));
  output.consume(output.size());
  const std::string& der = device.certificate.der();
  ASSERT_EQ(say(first.certificate({{der.begin(), der.end()}})), Step::WantInput);
  ASSERT_EQ(say(first.certificate_verify(device.key.get(), 0x0403, "SHA256")), Step::WantInput);
  ASSERT_EQ(say(first.finished()), Step::Done);
  std::span<const std::uint8_t> bytes = output.bytes();
  auto kept = first.take_ticket(bytes);
  ASSERT_TRUE(kept);
  output.release();
  kept->secret[0] ^= 1;
  engine.emplace(server.context(), &yes, output);
  EXPECT_EQ(give(second.say(second.offer(Hello(second.share()), *kept))), Step::Failed);
  EXPECT_EQ(Bytes(output.bytes().begin(), output.bytes().end()), plain_record(kAlert, {2, SSL_AD_DECRYPT_ERROR}));
  EXPECT_FALSE(engine->verdict());
}

// The second ClientHello, behind a HelloRetryRequest, is looked at like the first.
TEST(ClientRules, HoldForASecondClientHello) {
  Server server;
  server.config.auth = AuthMode::OneWay;
  ByteBuffer output;
  TlsEngine engine(server.context(), nullptr, output);
  Hello hello;
  *hello.find(51) = {0, 0};  // no share: RFC 8446, section 4.2.8
  const Bytes first = plain_record(kHandshake, hello.message());
  engine.lend(first);
  ASSERT_EQ(engine.handshake(), Step::WantInput);
  ASSERT_FALSE(output.empty());
  output.consume(output.size());
  *hello.find(51) = vector_of(join({number(29, 2), vector_of(ExchangeKey().share(), 2)}), 2);
  hello.add(0x3A3A, {}), hello.add(0x3A3A, {});
  const Bytes second = plain_record(kHandshake, hello.message());
  engine.lend(second);
  EXPECT_EQ(engine.handshake(), Step::Failed);
  EXPECT_EQ(engine.error().what, "an extension is twice in the ClientHello");
  EXPECT_EQ(Bytes(output.bytes().begin(), output.bytes().end()), plain_record(kAlert, {2, SSL_AD_ILLEGAL_PARAMETER}));
}

// RFC 8422, section 5.1.2: it is of TLS 1.2 and of whoever names curves.
TEST(ClientRules, PointFormatsAreOfTls12) {
  const auto breaks = [](Hello hello, const Bytes& formats) {
    hello.add(11, vector_of(formats, 1));
    return rule_broken_by_hello(hello.message()).has_value();
  };
  EXPECT_TRUE(breaks(hello12(), {1}));
  EXPECT_TRUE(breaks(hello12(), {2, 1}));
  EXPECT_FALSE(breaks(hello12(), {1, 0}));
  EXPECT_FALSE(breaks(hello12(), {0}));
  EXPECT_FALSE(breaks(Hello(), {1})) << "TLS 1.3 has no such choice";
  Hello without = hello12();
  without.remove(10);
  EXPECT_FALSE(breaks(without, {1}));
}

TEST(ClientRules, WhatCannotBeReadIsOpenssls) {
  const Bytes whole = Hello().message();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(rule_broken_by_hello(std::span(whole).first(n)));
    EXPECT_FALSE(rule_broken_by_key_exchange(std::span(whole).first(n % 6)));
    EXPECT_FALSE(rule_broken_by_certificate(std::span(whole).first(n)));
  }
}

}  // namespace
}  // namespace sallyport::test
