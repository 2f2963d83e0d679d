// TLS to a broker, against OpenSSL's own server in memory: whom it takes for the broker, and what it remembers.
#include "proxy/tls/tls_broker.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <ctime>
#include <string>
#include <thread>
#include <utility>

#include "tests/proxy/tls/key_limit.h"
#include "tests/proxy/tls/openssl_server.h"

namespace sallyport::test {
namespace {

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::string text_of(const ByteBuffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

std::string hears(OpensslServer& server, BrokerTls& client) {
  std::string heard = server.hears(client.output().bytes());
  client.output().release();
  return heard;
}

struct BrokerTlsTest : ::testing::TestWithParam<int> {
  Identity509 broker_of(const std::string& names, const Identity509* by = nullptr, const char* usage = "serverAuth") {
    Leaf leaf;
    leaf.cn = "broker";
    leaf.subject_alt_name = names;
    leaf.extended_key_usage = usage;
    return make(leaf, by != nullptr ? by : &ca);
  }
  BrokerTlsConfig config(const std::string& server_name = "") {
    return {dir.write("ca", ca.certificate.pem()), "", "", server_name};
  }
  static std::unique_ptr<BrokerTlsContext> made(const BrokerTlsConfig& from) {
    auto context = BrokerTlsContext::create(from);
    if (!context) ADD_FAILURE() << context.error().what;
    return context ? std::move(*context) : nullptr;
  }
  // Until neither has more to say. What it ended with, and what was said to us.
  Step shake(BrokerTls& client, OpensslServer& server, std::size_t piece = SIZE_MAX) {
    server.accept();
    said.release();
    Step step = client.take({}, said);
    for (int i = 0; i < 10 && (step == Step::WantInput || step == Step::Done); ++i) {
      heard += hears(server, client);
      std::string gives = server.gives();
      if (gives.empty()) break;
      for (std::size_t at = 0; at < gives.size() && step != Step::Failed; at += piece) {
        step = client.take(bytes_of(gives.substr(at, piece)), said);
        if (gives.size() - at <= piece) break;
      }
    }
    return step;
  }

  const Endpoint server_at{"broker.test", 8883, ""};
  TempDir dir;
  Identity509 ca = make_ca("CA of brokers");
  ByteBuffer said;
  std::string heard;
};

INSTANTIATE_TEST_SUITE_P(Versions, BrokerTlsTest, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& each) { return each.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(BrokerTlsTest, PassesBytesBothWaysWholeAndInPieces) {
  const Identity509 identity = broker_of("DNS:broker.test");
  const auto context = made(config());
  for (const std::size_t piece : {SIZE_MAX, std::size_t{1}, std::size_t{7}}) {
    OpensslServer server(identity, GetParam());
    BrokerTls client(*context, server_at);
    ASSERT_EQ(shake(client, server, piece), Step::Done) << client.error().what;
    EXPECT_STREQ(SSL_get_servername(server.ssl(), TLSEXT_NAMETYPE_host_name), "broker.test");
    EXPECT_TRUE(said.empty());
    const std::string long_text(33'000, 'x');
    ASSERT_EQ(client.write(bytes_of(long_text)), Step::Done);
    EXPECT_EQ(hears(server, client), long_text);
    server.says(long_text.substr(0, 9000));
    const std::string gives = server.gives();
    for (const char each : gives) EXPECT_EQ(client.take(bytes_of(std::string(1, each)), said), Step::Done);
    EXPECT_EQ(text_of(said), long_text.substr(0, 9000));
    EXPECT_TRUE(client.close());
    EXPECT_TRUE(client.close());
    EXPECT_EQ(hears(server, client), "");
    EXPECT_TRUE(server.ended);
    server.closes();
    EXPECT_EQ(client.take(bytes_of(server.gives()), said), Step::Closed);
  }
}

// key_use.h: TLS 1.3 goes on with another key, TLS 1.2 says that it has none.
TEST_P(BrokerTlsTest, AKeyIsUsedForSoMuch) {
  const KeyLimit limit(100);
  const Identity509 identity = broker_of("DNS:broker.test");
  const auto context = made(config());
  for (const bool up : {true, false}) {
    OpensslServer server(identity, GetParam());
    BrokerTls client(*context, server_at);
    ASSERT_EQ(shake(client, server), Step::Done) << client.error().what;
    int key_updates = 0;
    SSL_set_msg_callback(server.ssl(), [](int, int, int type, const void* bytes, std::size_t, SSL*, void* counted) {
      const bool update = type == SSL3_RT_HANDSHAKE && *static_cast<const std::uint8_t*>(bytes) == SSL3_MT_KEY_UPDATE;
      *static_cast<int*>(counted) += update ? 1 : 0;
    });
    SSL_set_msg_callback_arg(server.ssl(), &key_updates);
    int records = 0;
    for (; records < 30 && !client.has_spent_key(); ++records) {
      const std::string text(100, 'x');
      if (up) {
        ASSERT_EQ(client.write(bytes_of(text)), Step::Done);
        ASSERT_EQ(hears(server, client), text);
      } else {
        server.says(text);
        ASSERT_EQ(client.take(bytes_of(server.gives()), said), Step::Done);
        ASSERT_EQ(text_of(said), text);
        said.release();
      }
    }
    const bool tls13 = GetParam() == TLS1_3_VERSION;
    EXPECT_EQ(client.has_spent_key(), !tls13);
    EXPECT_TRUE(tls13 ? records == 30 : records > 8 && records < 15) << records;
    EXPECT_EQ(key_updates, tls13 && up ? 2 : 0);
    ASSERT_EQ(client.write(bytes_of("the last")), Step::Done) << "what is due may still be said";
    EXPECT_EQ(hears(server, client), "the last");
  }
}

TEST_P(BrokerTlsTest, RefusesWhoIsNotTheBroker) {
  const Identity509 stranger = make_ca("A stranger");
  const struct {
    Identity509 identity;
    const char* server_name;
    const char* host;
    int error;
  } cases[] = {
      {broker_of("DNS:broker.test", &stranger), "", "broker.test", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
      {broker_of("DNS:other.test"), "", "broker.test", X509_V_ERR_HOSTNAME_MISMATCH},
      {broker_of("DNS:broker.test"), "other.test", "broker.test", X509_V_ERR_HOSTNAME_MISMATCH},
      {broker_of("DNS:*.broker.test"), "", "a.b.broker.test", X509_V_ERR_HOSTNAME_MISMATCH},
      {broker_of("DNS:b*.broker.test"), "", "big.broker.test", X509_V_ERR_HOSTNAME_MISMATCH},
      {broker_of("IP:127.0.0.2"), "", "127.0.0.1", X509_V_ERR_IP_ADDRESS_MISMATCH},
      {broker_of("DNS:127.0.0.1"), "", "127.0.0.1", X509_V_ERR_IP_ADDRESS_MISMATCH},
      {broker_of("DNS:broker.test", nullptr, "clientAuth"), "", "broker.test", X509_V_ERR_INVALID_PURPOSE},
  };
  for (const auto& each : cases) {
    const auto context = made(config(each.server_name));
    OpensslServer server(each.identity, GetParam());
    BrokerTls client(*context, {each.host, 8883, ""});
    EXPECT_EQ(shake(client, server), Step::Failed) << each.host;
    EXPECT_EQ(client.error().detail, each.error) << client.error().what;
    EXPECT_FALSE(client.established());
    EXPECT_EQ(client.write(bytes_of("a secret")), Step::Failed);
    hears(server, client);
    EXPECT_EQ(heard, "");
  }
}

TEST_P(BrokerTlsTest, TakesWhomTheConfigurationNames) {
  const struct {
    const char* names;
    const char* server_name;
    Endpoint server;
  } cases[] = {
      {"DNS:broker.test", "", {"broker.test", 1, ""}},        {"DNS:*.broker.test", "", {"a.broker.test", 1, ""}},
      {"DNS:a.test,IP:127.0.0.1", "", {"127.0.0.1", 1, ""}},  {"IP:::1", "", {"::1", 1, ""}},
      {"DNS:named.test", "named.test", {"127.0.0.1", 1, ""}}, {"DNS:named.test", "named.test", {"", 0, "/b"}}};
  for (const auto& each : cases) {
    const auto context = made(config(each.server_name));
    OpensslServer server(broker_of(each.names), GetParam());
    BrokerTls client(*context, each.server);
    EXPECT_EQ(shake(client, server), Step::Done) << each.names << ": " << client.error().what;
  }
  // Nothing to look at: no connection.
  const auto context = made(config());
  ByteBuffer plain;
  EXPECT_EQ(BrokerTls(*context, {"", 0, "/b"}).take({}, plain), Step::Failed);
}

// A CA that issues to devices writes what they like into their CN.
TEST_P(BrokerTlsTest, TheCnIsNoName) {
  for (const auto& [names, says] :
       {std::pair{"", "no subjectAltName"}, {"IP:127.0.0.1", "ostname mismatch"}, {"URI:urn:x", "ostname mismatch"}}) {
    Leaf leaf;
    leaf.cn = "broker.test";
    leaf.subject_alt_name = names;
    const auto context = made(config());
    OpensslServer server(make(leaf, &ca), GetParam());
    BrokerTls client(*context, server_at);
    EXPECT_EQ(shake(client, server), Step::Failed);
    EXPECT_EQ(client.error().detail, X509_V_ERR_HOSTNAME_MISMATCH);
    EXPECT_NE(client.error().what.find(says), std::string::npos) << client.error().what;
  }
}

TEST_P(BrokerTlsTest, ARootDotIsNoPartOfAName) {
  const auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  BrokerTls client(*context, {"broker.test.", 1, ""});
  EXPECT_EQ(shake(client, server), Step::Done) << client.error().what;
  EXPECT_STREQ(SSL_get_servername(server.ssl(), TLSEXT_NAMETYPE_host_name), "broker.test");
}

TEST_P(BrokerTlsTest, WithoutANameThereIsNoConnection) {
  const auto context = made(config());
  for (const std::string& host : {std::string(".test"), std::string("*.test"), std::string(300, 'x'),
                                  std::string("a b"), std::string("broker.test\0.evil", 17), std::string("[::1]")}) {
    BrokerTls client(*context, {host, 1, ""});
    EXPECT_EQ(client.take({}, said), Step::Failed) << host;
    EXPECT_NE(client.error().what.find("server_name"), std::string::npos) << client.error().what;
    EXPECT_TRUE(client.output().empty());
  }
}

// A broker that makes us answer and takes nothing: what is held for it is bounded, and so is the time of one call.
TEST_P(BrokerTlsTest, ABrokerThatAsksAndDoesNotReadHasFailed) {
  const auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  for (const std::size_t at_once : {std::size_t{1}, std::size_t{50}, std::size_t{4000}}) {
    BrokerTls client(*context, server_at);
    ASSERT_EQ(shake(client, server), Step::Done);
    std::size_t asked = 0;
    Step step = Step::Done;
    while (step == Step::Done && asked < 10'000) {
      for (std::size_t i = 0; i < at_once; ++i) server.asks();
      asked += at_once;
      step = client.take(bytes_of(server.gives()), said);
      EXPECT_LE(client.output().size(), BrokerTls::kMostAnswers);
    }
    ASSERT_EQ(step, Step::Failed) << at_once;
    EXPECT_EQ(client.error().what, "the broker asks and does not read");
    EXPECT_EQ(client.take({}, said), Step::Failed) << "and so for ever";
    EXPECT_EQ(client.write(bytes_of("x")), Step::Failed);
    EXPECT_TRUE(client.close());
  }
}

// One that reads may ask as often as it likes, though not all at once.
TEST_P(BrokerTlsTest, ABrokerThatReadsMayAsk) {
  if (GetParam() == TLS1_2_VERSION) return;  // our answer to a HelloRequest ends OpenSSL's server
  const auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  BrokerTls client(*context, server_at);
  ASSERT_EQ(shake(client, server), Step::Done);
  for (int i = 0; i < 2000; ++i) {
    server.asks();
    ASSERT_EQ(client.take(bytes_of(server.gives()), said), Step::Done);
    hears(server, client);
  }
  ASSERT_EQ(client.write(bytes_of("still there")), Step::Done);
  EXPECT_EQ(hears(server, client), "still there");
  // After its close_notify nothing is said, an answer neither.
  EXPECT_TRUE(client.close());
  client.output().release();
  server.asks();
  EXPECT_EQ(client.take(bytes_of(server.gives()), said), Step::Done);
  EXPECT_TRUE(client.output().empty());
}

// Tickets and KeyUpdates are worked off one after the other: so many in one read would stop everybody else's turn.
TEST(BrokerTlsAsides, AreCountedWhereTheyAskForNothing) {
  TempDir dir;
  const Identity509 ca = make_ca("CA of brokers");
  Leaf leaf;
  leaf.subject_alt_name = "DNS:broker.test";
  auto context = BrokerTlsContext::create({dir.write("ca", ca.certificate.pem()), "", "", ""});
  ASSERT_TRUE(context);
  ByteBuffer said;
  for (const unsigned count : {BrokerTls::kMostAsides, BrokerTls::kMostAsides + 1}) {
    OpensslServer server(make(leaf, &ca), TLS1_3_VERSION);
    server.accept();
    BrokerTls client(**context, {"broker.test", 1, ""});
    client.take({}, said);
    for (int i = 0; i < 4 && !client.established(); ++i) {
      hears(server, client);
      client.take(bytes_of(server.gives()), said);
    }
    hears(server, client);
    ASSERT_EQ(client.take(bytes_of(server.gives()), said), Step::Done);
    for (unsigned i = 0; i < count; ++i) {
      SSL_key_update(server.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
      SSL_do_handshake(server.ssl());
    }
    EXPECT_EQ(client.take(bytes_of(server.gives()), said), count > BrokerTls::kMostAsides ? Step::Failed : Step::Done);
  }
}

// RFC 8446, section 5.1: a handshake message may come in several records. Until it is whole nothing is encrypted.
TEST(BrokerTlsTornTicket, HoldsWritesAndTheEndUntilItIsWhole) {
  TempDir dir;
  const Identity509 ca = make_ca("CA of brokers");
  Leaf leaf;
  leaf.subject_alt_name = "DNS:broker.test";
  OpensslServer server(make(leaf, &ca), TLS1_3_VERSION);
  server.has_large_tickets(true);
  server.accept();
  auto context = BrokerTlsContext::create({dir.write("ca", ca.certificate.pem()), "", "", ""});
  ASSERT_TRUE(context);
  BrokerTls client(**context, {"broker.test", 1, ""});
  ByteBuffer said;
  client.take({}, said);
  for (int i = 0; i < 4; ++i) {
    hears(server, client);
    client.take(bytes_of(server.gives()), said);
  }
  ASSERT_TRUE(client.established());
  for (const bool ends : {false, true}) {
    const auto records = server.gives_ticket();
    ASSERT_GT(records.size(), 1U);
    for (const std::string& record : records) {
      ASSERT_EQ(client.take(bytes_of(record), said), Step::Done);
      if (&record == &records.back()) break;
      if (ends) {
        EXPECT_FALSE(client.close());
      } else {
        EXPECT_EQ(client.write(bytes_of("waits")), Step::WantInput);
      }
      EXPECT_TRUE(client.output().empty());
    }
    if (ends) {
      EXPECT_TRUE(client.close());
      hears(server, client);
      EXPECT_TRUE(server.ended);
    } else {
      ASSERT_EQ(client.write(bytes_of("waits")), Step::Done);
      EXPECT_EQ(hears(server, client), "waits");
    }
  }
}

// With TLS 1.3 a broker that asks for a certificate says after the handshake whether it takes ours.
TEST_P(BrokerTlsTest, ABrokerThatAskedAcceptsByWhatItSaysNext) {
  const auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  for (const bool asks : {false, true}) {
    if (asks) SSL_CTX_set_verify(SSL_get_SSL_CTX(server.ssl()), SSL_VERIFY_PEER, nullptr);
    server.accept();
    BrokerTls client(*context, server_at, BrokerTls::Resumes::No);
    client.take({}, said);
    EXPECT_FALSE(client.accepted());
    while (!client.established()) {
      hears(server, client);
      ASSERT_NE(client.take(bytes_of(server.gives()), said), Step::Failed);
    }
    EXPECT_EQ(client.accepted(), !asks || GetParam() == TLS1_2_VERSION);
    hears(server, client);
    ASSERT_EQ(client.take(bytes_of(server.gives()), said), Step::Done);
    EXPECT_TRUE(client.accepted()) << "a ticket came";
    EXPECT_FALSE(client.heard());
    server.says("x");
    client.take(bytes_of(server.gives()), said);
    EXPECT_TRUE(client.heard());
  }
}

TEST_P(BrokerTlsTest, ShowsItsCertificateWhereTheBrokerAsks) {
  Leaf leaf;
  leaf.cn = "sallyport";
  leaf.extended_key_usage = "clientAuth";
  const Identity509 ours = make(leaf, &ca);
  const Identity509 identity = broker_of("DNS:broker.test");
  BrokerTlsConfig shows = config();
  shows.certificate = dir.write("ours", ours.certificate.pem());
  shows.key = dir.write("key", key_pem(ours.key.get()));
  for (const bool does : {true, false}) {
    const auto context = made(does ? shows : config());
    OpensslServer server(identity, GetParam());
    server.asks_of(ca.certificate);
    BrokerTls client(*context, server_at);
    EXPECT_EQ(shake(client, server), does ? Step::Done : Step::Failed) << client.error().what;
    EXPECT_EQ(client.error().detail, X509_V_OK) << "where it refuses, it is the broker's word";
  }
}

TEST_P(BrokerTlsTest, ResumesTheLastSessionWithThatServer) {
  const Identity509 identity = broker_of("DNS:broker.test");
  const auto context = made(config("broker.test"));
  OpensslServer server(identity, GetParam());
  for (int i = 0; i < 4; ++i) {
    BrokerTls client(*context, server_at);
    ASSERT_EQ(shake(client, server), Step::Done);
    EXPECT_EQ(client.resumed(), i > 0) << i << ": no connection has ended with a close_notify";
  }
  BrokerTls other(*context, {"broker.test", 8884, ""});
  ASSERT_EQ(shake(other, server), Step::Done);
  EXPECT_FALSE(other.resumed()) << "another server";
  const auto reloaded = made(config("broker.test"));
  BrokerTls anew(*reloaded, server_at);
  ASSERT_EQ(shake(anew, server), Step::Done);
  EXPECT_FALSE(anew.resumed());
}

// A server that refuses what it is offered would be offered it again and again.
TEST_P(BrokerTlsTest, ASessionThatFailsIsForgotten) {
  const auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  {
    BrokerTls first(*context, server_at);
    ASSERT_EQ(shake(first, server), Step::Done);
  }
  server.refuses_resumption();
  {
    BrokerTls second(*context, server_at);
    EXPECT_TRUE(second.offered());
    EXPECT_EQ(shake(second, server), Step::Failed);
  }
  BrokerTls third(*context, server_at);
  EXPECT_FALSE(third.offered());
  ASSERT_EQ(shake(third, server), Step::Done);
  server.takes_resumption();
  // What nobody answers is forgotten as well, and what its connection found bad; a newer one is not.
  {
    BrokerTls silent(*context, server_at);
    EXPECT_TRUE(silent.offered());
    EXPECT_EQ(silent.take({}, said), Step::WantInput);
  }
  EXPECT_FALSE(BrokerTls(*context, server_at).offered());
  BrokerTls fourth(*context, server_at);
  ASSERT_EQ(shake(fourth, server), Step::Done);
  BrokerTls fifth(*context, server_at), sixth(*context, server_at, BrokerTls::Resumes::No);
  ASSERT_EQ(shake(sixth, server), Step::Done);
  fifth.forget();
  EXPECT_TRUE(BrokerTls(*context, server_at).offered()) << "the sixth's";
}

TEST_P(BrokerTlsTest, OffersNoSessionWhereItMayNot) {
  const auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  for (int i = 0; i < 2; ++i) {
    BrokerTls client(*context, server_at, BrokerTls::Resumes::No);
    EXPECT_FALSE(client.offered());
    ASSERT_EQ(shake(client, server), Step::Done);
    EXPECT_FALSE(client.resumed());
  }
}

// By the first certificate of the chain that ends, and not longer than 24 hours, however often it was resumed.
TEST_P(BrokerTlsTest, ASessionEndsWithItsProof) {
  const std::int64_t now = std::time(nullptr), hour = 3600;
  Leaf issuing;
  issuing.cn = "An issuing CA";
  issuing.ca = true;
  issuing.key_usage = "keyCertSign";
  issuing.not_after = now + 2 * hour;
  const Identity509 issuer = make(issuing, &ca);
  for (const bool ends : {true, false}) {
    BrokerTlsConfig trusts = config();
    if (ends) trusts.ca = dir.write("issuer", issuer.certificate.pem());
    const auto context = made(trusts);
    OpensslServer server(broker_of("DNS:broker.test", ends ? &issuer : nullptr), GetParam());
    const std::int64_t lasts = ends ? 2 * hour : 24 * hour;
    const auto connects = [&](std::int64_t at) {
      BrokerTls client(*context, server_at, BrokerTls::Resumes::Yes, now + at);
      EXPECT_EQ(shake(client, server), Step::Done);
      return client.resumed();
    };
    EXPECT_FALSE(connects(0));
    EXPECT_TRUE(connects(lasts / 2));
    EXPECT_TRUE(connects(lasts - 2)) << "resumed from one that was resumed";
    EXPECT_FALSE(connects(lasts + 1)) << (ends ? "its issuer has ended" : "a day is over");
    EXPECT_FALSE(connects(0)) << "the clock was set back";
  }
}

// Who resumes shows no certificate: nobody may go on with one for ever.
TEST_P(BrokerTlsTest, ASessionEndsWithTheCertificate) {
  Leaf leaf;
  leaf.subject_alt_name = "DNS:broker.test";
  leaf.not_after = std::time(nullptr) + 2;
  const auto context = made(config());
  OpensslServer server(make(leaf, &ca), GetParam());
  BrokerTls first(*context, server_at);
  ASSERT_EQ(shake(first, server), Step::Done);
  while (std::time(nullptr) <= leaf.not_after) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  BrokerTls second(*context, server_at);
  EXPECT_EQ(shake(second, server), Step::Failed);
  EXPECT_EQ(second.error().detail, X509_V_ERR_CERT_HAS_EXPIRED);
}

TEST_P(BrokerTlsTest, OutlivesItsContext) {
  auto context = made(config());
  OpensslServer server(broker_of("DNS:broker.test"), GetParam());
  BrokerTls client(*context, server_at);
  context.reset();
  EXPECT_EQ(shake(client, server), Step::Done) << "and its tickets have a place to go";
}

TEST(BrokerTlsOldVersions, AreNotSpoken) {
  TempDir dir;
  const Identity509 ca = make_ca("CA of brokers");
  auto context = BrokerTlsContext::create({dir.write("ca", ca.certificate.pem()), "", "", ""});
  ASSERT_TRUE(context);
  BrokerTls client(**context, {"broker.test", 1, ""});
  ByteBuffer said;
  ASSERT_EQ(client.take({}, said), Step::WantInput);
  EXPECT_EQ(client.take(bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n"), said), Step::Failed);
  EXPECT_EQ(client.error().what, "wrong version number");
  OpensslServer server(make(Leaf{}, &ca), TLS1_1_VERSION);
  BrokerTls another(**context, {"broker.test", 1, ""});
  server.accept();
  ASSERT_EQ(another.take({}, said), Step::WantInput);
  hears(server, another);
  EXPECT_EQ(another.take(bytes_of(server.gives()), said), Step::Failed);
}

TEST(BrokerTlsFiles, AreCheckedAndNamed) {
  TempDir dir;
  const Identity509 ca = make_ca("CA"), one = make(Leaf{}, &ca), other = make(Leaf{}, &ca);
  const std::string good = dir.write("ca", ca.certificate.pem()), chain = dir.write("one", one.certificate.pem());
  const std::string key = dir.write("key", key_pem(other.key.get())), bad = dir.write("bad", "nothing");
  for (const auto& [config, names] : {std::pair{BrokerTlsConfig{"/nowhere", "", "", ""}, std::string("/nowhere")},
                                      {BrokerTlsConfig{bad, "", "", ""}, bad},
                                      {BrokerTlsConfig{good, bad, key, ""}, bad},
                                      {BrokerTlsConfig{good, chain, bad, ""}, bad},
                                      {BrokerTlsConfig{good, chain, key, ""}, key}}) {
    const auto made = BrokerTlsContext::create(config);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().what.substr(0, names.size()), names) << made.error().what;
  }
}

}  // namespace
}  // namespace sallyport::test
