// Which ClientHellos go first in a storm: those that would be resumed, and no others.
#include "proxy/shard/handshake_rank.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <ctime>
#include <string>
#include <vector>

#include "proxy/session/session.h"
#include "tests/proxy/tls/joined.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls13_peer.h"

namespace sallyport::test {
namespace {

using Rank = HandshakeQueue::Rank;

class HandshakeRank : public testing::Test {
 protected:
  HandshakeRank() { server.tickets = &keys; }

  struct Kept {
    Bytes ticket, secret;
    std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>> session;
  };
  // What a device has after a connection of this version.
  Kept first(int version, const char* suites = "TLS_AES_128_GCM_SHA256") {
    Joined joined(server, verifier(), {.device = &device, .version = version});
    EXPECT_EQ(SSL_set_ciphersuites(joined.client.ssl(), suites), 1);
    EXPECT_EQ(joined.shake(), Step::Done);
    Kept kept;
    kept.session.reset(SSL_SESSION_dup(SSL_get0_session(joined.client.ssl())));
    const unsigned char* ticket = nullptr;
    std::size_t length = 0;
    SSL_SESSION_get0_ticket(kept.session.get(), &ticket, &length);
    kept.ticket.assign(ticket, ticket + length);
    kept.secret.resize(SSL_MAX_MASTER_KEY_LENGTH);
    kept.secret.resize(SSL_SESSION_get_master_key(kept.session.get(), kept.secret.data(), kept.secret.size()));
    EXPECT_FALSE(kept.ticket.empty() || kept.secret.empty());
    return kept;
  }
  Verifier* verifier() { return server.config.auth == AuthMode::Mutual ? &yes : nullptr; }
  // An OpenSSL client's ClientHello with that session.
  Bytes hello_of(const Kept& kept, int version, const char* suites = "TLS_AES_128_GCM_SHA256") {
    TlsClient returning({.device = &device, .version = version});
    EXPECT_EQ(SSL_set_ciphersuites(returning.ssl(), suites), 1);
    EXPECT_EQ(SSL_set_session(returning.ssl(), kept.session.get()), 1);
    returning.handshake();
    return returning.give();
  }
  static Bytes offer13(const Bytes& ticket, const Bytes& secret, const Bytes& psk_modes = {1}) {
    Tls13Peer peer;
    return peer.say(peer.offer(Hello(peer.share()), {ticket, secret}, psk_modes));
  }
  static Bytes offer12(const Bytes& ticket) {
    Hello hello = hello12();
    hello.add(35, ticket);
    return plain_record(kHandshake, hello.message());
  }
  Rank rank(const Bytes& hello) { return rank_of_hello(hello, server.context(), yes, std::time(nullptr)); }

  TicketKeys keys{std::time(nullptr)};
  Server server;
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  Says yes{Reason::None};
};

TEST_F(HandshakeRank, ATicketThatWouldBeHonouredGoesFirst) {
  EXPECT_EQ(rank(hello_of(first(TLS1_2_VERSION), TLS1_2_VERSION)), Rank::Ticket);
  EXPECT_EQ(yes.asked_to_resume, 1) << "standing";
  EXPECT_EQ(rank(hello_of(first(TLS1_3_VERSION), TLS1_3_VERSION)), Rank::Ticket);
  const char* const aes256 = "TLS_AES_256_GCM_SHA384";
  EXPECT_EQ(rank(hello_of(first(TLS1_3_VERSION, aes256), TLS1_3_VERSION, aes256)), Rank::Ticket);
  const Kept kept = first(TLS1_3_VERSION);
  EXPECT_EQ(rank(offer13(kept.ticket, kept.secret)), Rank::Ticket);
}

TEST_F(HandshakeRank, WhoLostStandingWaitsWithTheOthers) {
  const Bytes hello12 = hello_of(first(TLS1_2_VERSION), TLS1_2_VERSION);
  const Bytes hello13 = hello_of(first(TLS1_3_VERSION), TLS1_3_VERSION);
  yes.on_resume = Reason::DeviceInactive;
  EXPECT_EQ(rank(hello12), Rank::Fresh);
  EXPECT_EQ(rank(hello13), Rank::Fresh);
  EXPECT_EQ(yes.asked_to_resume, 2);
}

TEST_F(HandshakeRank, WhoSawATicketOfTls13HasNoBinder) {
  const Kept kept = first(TLS1_3_VERSION);
  Bytes guessed = kept.secret;
  guessed[0] ^= 1;
  EXPECT_EQ(rank(offer13(kept.ticket, guessed)), Rank::Fresh);
  Bytes changed = offer13(kept.ticket, kept.secret);
  changed[20] ^= 1;  // of the random: a binder is of its ClientHello
  EXPECT_EQ(rank(changed), Rank::Fresh);
  EXPECT_EQ(yes.asked_to_resume, 0);
}

TEST_F(HandshakeRank, ATicketCountsWhereItsVersionIsLookedFor) {
  const Kept of12 = first(TLS1_2_VERSION), of13 = first(TLS1_3_VERSION);
  EXPECT_EQ(rank(offer13(of12.ticket, Bytes(32, 1))), Rank::Fresh) << "seen on the wire, put where another belongs";
  EXPECT_EQ(rank(offer13(of12.ticket, {of12.secret.begin(), of12.secret.begin() + 32})), Rank::Fresh);
  EXPECT_EQ(rank(offer12(of13.ticket)), Rank::Fresh);
  EXPECT_EQ(rank(offer12(of12.ticket)), Rank::Ticket);
  Hello both;
  both.add(35, of12.ticket);
  EXPECT_EQ(rank(plain_record(kHandshake, both.message())), Rank::Fresh) << "TLS 1.3 does not look there";
  EXPECT_EQ(rank(offer13(of13.ticket, of13.secret, {0})), Rank::Fresh) << "nor without a key exchange";
  EXPECT_EQ(yes.asked_to_resume, 1);
}

TEST_F(HandshakeRank, AOneWayListenersTicketsGoBeforeNobody) {
  server.config.auth = AuthMode::OneWay;
  EXPECT_EQ(rank(hello_of(first(TLS1_3_VERSION), TLS1_3_VERSION)), Rank::Fresh);
  EXPECT_EQ(rank(hello_of(first(TLS1_2_VERSION), TLS1_2_VERSION)), Rank::Fresh);
}

// All of it: a long queue of strangers, some with a ticket that they only saw, and one device.
TEST_F(HandshakeRank, InAStormTheDeviceIsServedFirst) {
  const Kept of12 = first(TLS1_2_VERSION), of13 = first(TLS1_3_VERSION);
  HandshakeQueue queue;
  std::vector<Session> strangers(20);
  Session returning;
  for (std::size_t i = 0; i < strangers.size(); ++i) {
    const Bytes hello = i % 2 == 0 ? offer13(of12.ticket, Bytes(32, 1)) : offer13(of13.ticket, Bytes(32, 1));
    queue.push(strangers[i], rank(hello));
  }
  queue.push(returning, rank(offer13(of13.ticket, of13.secret)));
  EXPECT_EQ(&queue.pop(), &returning);
  EXPECT_EQ(&queue.pop(), &strangers[0]) << "and then in the order of their arrival";
}

}  // namespace
}  // namespace sallyport::test
