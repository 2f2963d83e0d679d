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
    ASSERT_TRUE(client.write(bytes_of(long_text)));
    EXPECT_EQ(hears(server, client), long_text);
    server.says(long_text.substr(0, 9000));
    const std::string gives = server.gives();
    for (const char each : gives) EXPECT_EQ(client.take(bytes_of(std::string(1, each)), said), Step::Done);
    EXPECT_EQ(text_of(said), long_text.substr(0, 9000));
    client.close();
    client.close();
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
        ASSERT_TRUE(client.write(bytes_of(text)));
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
    ASSERT_TRUE(client.write(bytes_of("the last"))) << "what is due may still be said";
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
    EXPECT_FALSE(client.write(bytes_of("a secret")));
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
