// Clients that make TLS answer, and never read what it answers: what is held for them stays within a bound.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <climits>

#include "proxy/tls/record_layer.h"
#include "proxy/tls/tls12_key_schedule.h"
#include "tests/simulation/world.h"

namespace sallyport::test {
namespace {

constexpr std::size_t kMostHeld = 256 * 1024;  // as for all sessions: World::check()

std::string text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct AskingClient : ::testing::Test {
  // A client that has come as far as `state`, and reads nothing from then on. Its socket takes little.
  void come_to(Session::State state, Script script, const char* tls13_cipher = nullptr) {
    script.client_bytes = script.broker_bytes = 0;
    script.client_end = Script::ClientEnd::WaitsForBroker;
    world = std::make_unique<World>(script, 1);
    world->io.faults = {.short_sends = 0, .no_buffers = 0, .late = 0, .beats_cancel = 0, .window = 8192};
    if (tls13_cipher != nullptr) SSL_set_ciphersuites(world->client->ssl(), tls13_cipher);
    for (int i = 0; i < 200 && world->session.state() != state; ++i) world->turn();
    for (int i = 0; i < 10; ++i) world->turn();  // its tickets and whatever else there is are on their way
    ASSERT_EQ(world->session.state(), state);
    world->script.client_reads_from_turn = INT_MAX;
  }
  void says(const std::string& ciphertext) {
    world->io.peer_writes(world->client_socket, ciphertext);
    world->turn();
    world->turn();
  }

  std::unique_ptr<World> world;
};

// The client's key of a TLS 1.2 connection with AES-128-GCM: RFC 5246, section 6.3.
void derive_client_key(SSL* ssl, RecordKey& client) {
  Tls12Agreement agreed;
  agreed.hash = kdf_hash("SHA2-256");
  SSL_SESSION_get_master_key(SSL_get_session(ssl), agreed.master.data(), agreed.master.size());
  SSL_get_client_random(ssl, agreed.client_random.data(), agreed.client_random.size());
  SSL_get_server_random(ssl, agreed.server_random.data(), agreed.server_random.size());
  RecordKey server;
  EXPECT_TRUE(derive_record_keys(agreed, 16, client, server));
}

TEST_F(AskingClient, ForAnotherHandshakeIsAnsweredOnceUntilItReads) {
  come_to(Session::State::Forwarding, {.version = TLS1_2_VERSION});
  RecordKey key;
  derive_client_key(world->client->ssl(), key);
  key.sequence = 2;  // after its Finished and its CONNECT
  std::size_t said = 0;
  for (int round = 0; round < 100; ++round) {
    ByteBuffer flood;
    for (int i = 0; i < 200; ++i) {
      RecordCipher cipher(key);
      for (int each = 0; each < 4; ++each) {
        seal_record(cipher, std::vector<std::uint8_t>{1, 0, 0, 0}, ContentType::Handshake, flood);
      }
      seal_record(cipher, std::vector<std::uint8_t>{'x'}, ContentType::ApplicationData, flood);
    }
    world->client_sends += std::string(200, 'x');
    world->client_sent = world->client_sends.size();
    said += flood.size();
    says(text_of(flood.bytes()));
  }
  EXPECT_GT(said, 2'000'000U);
  EXPECT_EQ(world->session.state(), Session::State::Forwarding);
  EXPECT_LT(world->session.held_bytes(), kMostHeld);
}

// With ChaCha20 the records stay OpenSSL's, which answers each.
TEST_F(AskingClient, ForKeyUpdatesIsCutOffWhereNothingBoundsTheAnswers) {
  come_to(Session::State::AwaitingConnect, {.version = TLS1_3_VERSION, .client_sends_from_turn = INT_MAX},
          "TLS_CHACHA20_POLY1305_SHA256");
  std::size_t most = 0;
  for (int round = 0; round < 100 && world->session.state() == Session::State::AwaitingConnect; ++round) {
    std::string flood;
    for (int i = 0; i < 300; ++i) {
      ASSERT_EQ(SSL_key_update(world->client->ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
      world->client->handshake();
      flood += text_of(world->client->give());
    }
    says(flood);
    most = std::max(most, world->session.held_bytes());
  }
  EXPECT_NE(world->session.state(), Session::State::AwaitingConnect);
  EXPECT_EQ(world->host.reason, Reason::TlsError);
  EXPECT_LT(most, kMostHeld);
}

}  // namespace
}  // namespace sallyport::test
