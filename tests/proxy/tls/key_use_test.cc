// What one key of AES-GCM may protect: with whole connections of a real OpenSSL client, over both engines.
#include "proxy/tls/key_use.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>

#include "cache/crypto/openssl_insides.h"
#include "tests/proxy/tls/joined.h"
#include "tests/proxy/tls/key_limit.h"

namespace sallyport::test {
namespace {

constexpr std::size_t kFullRecord = 16 * 1024;

TEST(KeyUse, EndsBeforeSoManyFullRecords) {
  constexpr std::uint64_t kSafe = 23'726'566;  // 2^24.5
  KeyUse use;
  std::uint64_t records = 0;
  for (; !use.spent(); ++records) use.add(kFullRecord + 24);
  EXPECT_LT(records, kSafe);
  EXPECT_GT(records, kSafe / 2);
  use.renew();
  EXPECT_FALSE(use.spent());
}

TEST(KeyUse, SmallRecordsCountByTheirBlocks) {
  const KeyLimit limit(100);
  KeyUse use;
  for (int i = 0; i < 49; ++i) use.add(24);  // a record without content is no less than its nonce and tag
  EXPECT_FALSE(use.spent());
  use.add(24);
  EXPECT_TRUE(use.spent());
  KeyUses both;
  both.written = use;
  EXPECT_TRUE(both.spent());
  both.written.renew();
  both.read = use;
  EXPECT_TRUE(both.spent());
}

struct Connection {
  explicit Connection(const TlsClient::Options& options, const char* suites = "") : joined(server, nullptr, options) {
    EXPECT_TRUE(*suites == '\0' || SSL_set_ciphersuites(joined.client.ssl(), suites) == 1);
    SSL_set_msg_callback(joined.client.ssl(), &Connection::on_message);
    SSL_set_msg_callback_arg(joined.client.ssl(), this);
    EXPECT_EQ(joined.shake(), Step::Done);
  }
  static void on_message(int written, int, int type, const void* bytes, std::size_t length, SSL*, void* self) {
    const bool update = written == 0 && type == SSL3_RT_HANDSHAKE && length > 0 &&
                        *static_cast<const std::uint8_t*>(bytes) == SSL3_MT_KEY_UPDATE;
    static_cast<Connection*>(self)->key_updates += update ? 1 : 0;
  }
  // One record of the client's; how reading it went, and what came of it.
  Step up(const std::string& text, std::string& arrived) {
    joined.client.send({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    joined.pass_to_engine(joined.client.give());
    Step step = joined.read(arrived);
    std::string nothing;
    if (step == Step::Done) step = joined.engine.drained() ? Step::WantInput : joined.read(nothing);
    joined.pass_to_client();
    return step;
  }
  Step down(const std::string& text, std::string& arrived) {
    const Step step = joined.engine.write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    joined.pass_to_client();
    arrived = joined.client.receive();
    return step;
  }
  void expect_ended() {
    EXPECT_TRUE(joined.engine.has_spent_key());
    EXPECT_EQ(joined.engine.error().what, kSpentKey.what);
    EXPECT_EQ(joined.engine.error().origin, Origin::Proxy);
    EXPECT_EQ(joined.engine.error().reason, Reason::None);
    std::string word;
    down("the last", word);
    EXPECT_EQ(word, "the last") << "what is due may still be said";
    joined.engine.close();
    joined.pass_to_client();
    joined.client.receive();
    EXPECT_TRUE(joined.client.closed()) << "in order";
    EXPECT_EQ(joined.client.alert(), SSL_AD_CLOSE_NOTIFY);
  }

  struct OneWay : Server {
    OneWay() { config.auth = AuthMode::OneWay; }
  } server;
  Joined joined;
  int key_updates = 0;
};

std::string cipher_name(const testing::TestParamInfo<const char*>& tested) {
  std::string name;
  for (const char each : std::string(tested.param)) name += std::isalnum(each) != 0 ? std::string(1, each) : "";
  return name;
}

class Gcm12 : public testing::TestWithParam<const char*> {};
TEST_P(Gcm12, EndsWhenTheClientHasSentEnough) {
  const KeyLimit limit(100);
  Connection connection({.version = TLS1_2_VERSION, .ciphers = GetParam()});
  const std::string text(100, 'u');  // 124 bytes: 8 blocks
  std::string arrived;
  int records = 0;
  while (connection.up(text, arrived) == Step::WantInput) {
    ASSERT_EQ(arrived, text);
    ASSERT_LT(++records, 20);
  }
  EXPECT_EQ(arrived, text) << "what reached the limit was good yet";
  EXPECT_GE(records, 10);
  connection.expect_ended();
}
TEST_P(Gcm12, EndsWhenWeHaveSentEnough) {
  const KeyLimit limit(100);
  Connection connection({.version = TLS1_2_VERSION, .ciphers = GetParam()});
  const std::string text(100, 'd');
  std::string arrived;
  int records = 0;
  while (connection.down(text, arrived) == Step::Done) {
    ASSERT_EQ(arrived, text);
    ASSERT_LT(++records, 20);
  }
  EXPECT_EQ(arrived, text) << "nothing is lost";
  EXPECT_GE(records, 10);
  EXPECT_FALSE(connection.joined.engine.drained()) << "read() has something to say";
  connection.expect_ended();
}
INSTANTIATE_TEST_SUITE_P(Tls, Gcm12, testing::Values("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
                         cipher_name);

// ChaCha20-Poly1305 has no such limit, and TLS 1.3 has another key.
TEST(KeyUse, IsOfNoOtherConnection) {
  const KeyLimit limit(100);
  Connection chacha({.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"});
  Connection aes128({.version = TLS1_3_VERSION}, "TLS_AES_128_GCM_SHA256");
  Connection aes256({.version = TLS1_3_VERSION}, "TLS_AES_256_GCM_SHA384");
  for (Connection* connection : {&chacha, &aes128, &aes256}) {
    for (int i = 0; i < 60; ++i) {
      std::string arrived;
      ASSERT_EQ(connection->up(std::string(100, 'u'), arrived), Step::WantInput);
      ASSERT_EQ(arrived.size(), 100U);
      ASSERT_EQ(connection->down(std::string(100, 'd'), arrived), Step::Done);
      ASSERT_EQ(arrived.size(), 100U);
    }
    EXPECT_FALSE(connection->joined.engine.has_spent_key());
  }
  EXPECT_EQ(chacha.key_updates, 0);
  // Our own records count theirs (tls_records_test.cc).
  const int openssls = openssl_insides_hold() ? 0 : 4;
  EXPECT_EQ(aes128.key_updates, openssls);
  EXPECT_EQ(aes256.key_updates, openssls);
}

}  // namespace
}  // namespace sallyport::test
