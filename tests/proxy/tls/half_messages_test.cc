// A client's message in two records, and what the broker says between them: over both engines, as alerts_test.cc.
#include <gtest/gtest.h>

#include <span>
#include <string>

#include "tests/proxy/tls/alerts_fixture.h"

namespace sallyport::test {
namespace {

// What has come under the server's application key so far, data only.
std::string take_data(Client& client) {
  std::string text;
  std::span<const std::uint8_t> bytes = client.output.bytes();
  while (!bytes.empty()) {
    const auto record = client.peer13.open(bytes);
    if (!record) return "no record of the server's";
    if (record->type == kApplicationData) text.append(record->content.begin(), record->content.end());
  }
  client.output.consume(client.output.size());
  return text;
}

Step write(Client& client, const std::string& text) {
  return client.engine->write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

class HalfMessages : public testing::TestWithParam<std::size_t> {};

// Where the records are OpenSSL's, SSL_write(3) wants the rest of the client's message first.
TEST_P(HalfMessages, OfTheClientDoNotEndTheSession) {
  Client client;
  ASSERT_NO_FATAL_FAILURE(client.come_to(When::Open13));
  const Bytes update = key_update_message(0);
  const auto middle = update.begin() + static_cast<std::ptrdiff_t>(GetParam());
  ASSERT_EQ(write(client, "before"), Step::Done);
  EXPECT_EQ(take_data(client), "before");
  EXPECT_EQ(client.read(client.peer13.seal_any(kHandshake, Bytes(update.begin(), middle))), Step::WantInput);
  if (client.engine->takes_data()) {
    EXPECT_EQ(write(client, "between"), Step::Done);
    EXPECT_EQ(take_data(client), "between");
  } else {
    EXPECT_FALSE(openssl_insides_hold()) << "our own records always take data";
  }
  EXPECT_EQ(client.read(client.peer13.seal_any(kHandshake, Bytes(middle, update.end()))), Step::WantInput);
  EXPECT_TRUE(client.engine->takes_data());
  EXPECT_EQ(write(client, "after"), Step::Done) << client.engine->error().what;
  EXPECT_EQ(take_data(client), "after");
}

// OpenSSL would hold 128 KiB of it for a client whose handshake is long over.
TEST(HalfMessages12, AnotherHandshakeInPiecesEndsTheSession) {
  Client client;
  ASSERT_NO_FATAL_FAILURE(client.come_to(When::Open12));
  Bytes half(5000);
  half[0] = 1;  // a ClientHello of 130,000 bytes
  half[1] = 0x01, half[2] = 0xFB, half[3] = 0xD0;
  EXPECT_EQ(client.read(client.peer12.seal(kHandshake, half)), Step::Failed);
  EXPECT_EQ(client.engine->error().reason, Reason::TlsError);
  EXPECT_FALSE(client.engine->error().what.empty());
}

std::string name_of_split(const testing::TestParamInfo<std::size_t>& tested) {
  return "Behind" + std::to_string(tested.param);
}
INSTANTIATE_TEST_SUITE_P(KeyUpdate, HalfMessages, testing::Range(std::size_t{1}, std::size_t{5}), name_of_split);

}  // namespace
}  // namespace sallyport::test
