// Tickets that come back to our own TLS 1.3 handshake: which are honoured, what becomes of those that are not, and what
// a client that offers one cannot get around. Who may resume at all, in every version, is in tls_engine_test.cc.
#include <algorithm>

#include "proxy/tls/tls_resumption.h"
#include "tests/proxy/tls/tls13_fixture.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::test {
namespace {

constexpr std::size_t kFull = 6, kResumed = 3;  // messages of the server's flight

class Tls13Resumption : public Tls13 {
 protected:
  Tls13Resumption() { server.tickets = &keys; }

  // The ticket of a whole connection.
  KeptTicket first() {
    start_over();
    Hello hello(peer.share());
    hello.add(45, vector_of({1}, 1));
    greet(hello);
    prove();
    const auto kept = take();
    CHECK(kept.has_value());
    return *kept;
  }
  void prove() {
    EXPECT_EQ(peer.heard.size(), kFull);
    EXPECT_EQ(say_certificate(), Step::WantInput);
    EXPECT_EQ(say_verify(), Step::WantInput);
    EXPECT_EQ(say_finished(), Step::Done);
    EXPECT_FALSE(engine->resumed());
  }
  std::optional<KeptTicket> take() {
    std::span<const std::uint8_t> bytes = output.bytes();
    auto kept = peer.take_ticket(bytes);
    EXPECT_TRUE(bytes.empty());
    return kept;
  }
  // A second connection, up to the server's answer.
  void come_back(const KeptTicket& kept, const Bytes& psk_modes = {1}) {
    start_over();
    ASSERT_EQ(begin(peer.offer(Hello(peer.share()), kept, psk_modes)), Step::WantInput);
    ASSERT_TRUE(peer.hear(output.bytes()));
    output.consume(output.size());
  }
  Step begin(const Bytes& message) {
    engine.emplace(server.context(), verifier, output);
    return give(peer.say(message));
  }
  // Refused in the clear, before anything was answered.
  void refused_at_once(Step step, int alert) {
    EXPECT_EQ(step, Step::Failed);
    EXPECT_EQ(engine->error().reason, Reason::TlsError);
    const auto bytes = output.bytes();
    EXPECT_EQ(Bytes(bytes.begin(), bytes.end()), plain_record(kAlert, {2, static_cast<std::uint8_t>(alert)}));
    EXPECT_FALSE(engine->verdict());
    EXPECT_FALSE(engine->established());
  }

  const std::int64_t now = std::time(nullptr);
  TicketKeys keys{now};
  Verifier* verifier = &yes;
};

TEST_F(Tls13Resumption, ATicketStandsForTheCertificate) {
  KeptTicket kept = first();
  for (int round = 1; round <= 3; ++round) {
    come_back(kept);
    ASSERT_EQ(peer.heard.size(), kResumed);
    const std::uint8_t types[] = {2, 8, 20};
    for (std::size_t i = 0; i < kResumed; ++i) EXPECT_EQ(peer.heard[i][0], types[i]);
    EXPECT_TRUE(peer.heard_change_cipher_spec);
    EXPECT_FALSE(engine->established());
    EXPECT_EQ(yes.asked, 1) << "no certificate but the first connection's";
    EXPECT_EQ(yes.asked_to_resume, round);
    EXPECT_EQ(yes.came_back.fingerprint, device.certificate.fingerprint());
    EXPECT_EQ(yes.came_back_chain, 7U);
    ASSERT_EQ(say_finished(), Step::Done);
    EXPECT_TRUE(engine->established());
    EXPECT_TRUE(engine->resumed());
    EXPECT_EQ(engine->version_index(), 1);
    ASSERT_TRUE(engine->verdict());
    EXPECT_EQ(engine->verdict()->identity->fingerprint, device.certificate.fingerprint());
    const auto next = take();
    ASSERT_TRUE(next) << "a ticket is for one use: RFC 8446, appendix C.4";
    EXPECT_NE(next->ticket, kept.ticket);
    EXPECT_NE(next->secret, kept.secret);
    const Bytes record = peer.seal_data({'h', 'i'});
    engine->lend(record);
    std::array<std::uint8_t, 64> plain;
    std::size_t n = 0;
    EXPECT_EQ(engine->read(plain, n), Step::Done);
    EXPECT_EQ(n, 2U);
    kept = *next;
  }
}

// Who comes first in a storm: nobody whose ticket does not open, or stands for no certificate.
TEST_F(Tls13Resumption, OnlyADevicesTicketGoesFirst) {
  KeptTicket kept = first();
  const auto goes_first = [&](const Bytes& ticket, std::int64_t at) {
    Tls13Peer returning;
    const Bytes hello = returning.say(returning.offer(Hello(returning.share()), {ticket, kept.secret}));
    return server.context().devices_ticket(offered_ticket(hello), at).has_value();
  };
  EXPECT_TRUE(goes_first(kept.ticket, now));
  EXPECT_FALSE(goes_first({kept.ticket.begin(), kept.ticket.begin() + 16}, now)) << "the name of the key is no secret";
  EXPECT_FALSE(goes_first({kept.ticket.begin(), kept.ticket.end() - 1}, now));
  EXPECT_FALSE(server.context().devices_ticket({}, now));
  EXPECT_FALSE(goes_first(kept.ticket, now + 24 * 3600 + 1800)) << "its key is alive yet";
  EXPECT_FALSE(goes_first(kept.ticket, now + 26 * 3600));
  for (std::size_t i = 16; i < kept.ticket.size(); i += 7) {
    Bytes forged = kept.ticket;
    forged[i] ^= 1;
    EXPECT_FALSE(goes_first(forged, now)) << i;
  }
}

// RFC 6066, section 3.
TEST_F(Tls13Resumption, AServerNameIsNotAcknowledged) {
  start_over();
  Hello hello(peer.share());
  hello.add(0, vector_of(join({{0}, vector_of({'x'}, 2)}), 2));
  hello.add(45, vector_of({1}, 1));
  greet(hello);
  prove();
  const auto kept = take();
  ASSERT_TRUE(kept);
  start_over();
  Hello again(peer.share());
  again.add(0, vector_of(join({{0}, vector_of({'X'}, 2)}), 2));
  ASSERT_EQ(begin(peer.offer(again, *kept)), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  ASSERT_EQ(peer.heard.size(), kResumed);
  EXPECT_EQ(peer.heard[1], message_of(8, {0, 0}));
}

TEST_F(Tls13Resumption, AOneWayListenersTicketStandsForNobody) {
  server.config.auth = AuthMode::OneWay;
  verifier = nullptr;
  start_over();
  Hello first(peer.share());
  first.add(45, vector_of({1}, 1));
  ASSERT_EQ(begin(first.message()), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  output.consume(output.size());
  ASSERT_EQ(say_finished(), Step::Done);
  const auto kept = take();
  ASSERT_TRUE(kept);
  Tls13Peer returning;
  const Bytes hello = returning.say(returning.offer(Hello(returning.share()), *kept));
  EXPECT_FALSE(server.context().devices_ticket(offered_ticket(hello), now))
      << "anybody gets one there: it goes before nobody";
  come_back(*kept);
  EXPECT_EQ(peer.heard.size(), kResumed);
  EXPECT_EQ(say_finished(), Step::Done);
  EXPECT_TRUE(engine->resumed());
  EXPECT_FALSE(engine->verdict());
}

// Standing is asked for now, and who lost it has to show the certificate; without one nobody is let in.
TEST_F(Tls13Resumption, LostStandingIsNoTicket) {
  const KeptTicket kept = first();
  yes.on_resume = Reason::DeviceRevoked;
  come_back(kept);
  EXPECT_EQ(yes.asked_to_resume, 1);
  EXPECT_FALSE(engine->verdict());
  prove();
  EXPECT_EQ(yes.asked, 2);
  come_back(kept);
  ASSERT_EQ(peer.heard.size(), kFull);
  refused(say_finished(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}

// Whoever has seen a ticket on its way but not the secret: nothing is answered, and nobody is named.
constexpr int kBadBinder = SSL_AD_DECRYPT_ERROR;  // RFC 8446, section 6.2

TEST_F(Tls13Resumption, ABinderProvesTheSecret) {
  KeptTicket stolen = first();
  for (std::uint8_t& byte : stolen.secret) byte ^= 1;
  start_over();
  refused_at_once(begin(peer.offer(Hello(peer.share()), stolen)), kBadBinder);
  EXPECT_EQ(engine->handshake_maker(), TlsMaker::Own) << "who refused it";
}

TEST_F(Tls13Resumption, ABinderIsOfTheWholeClientHello) {
  const KeptTicket kept = first();
  start_over();
  const Bytes message = peer.offer(Hello(peer.share()), kept);
  // The random, the session id, a share, the ticket's age, the binder itself.
  const std::size_t age = message.size() - 35 - 4;
  const std::size_t share = static_cast<std::size_t>(
      std::search(message.begin(), message.end(), peer.share().begin(), peer.share().end()) - message.begin());
  for (const std::size_t at : {std::size_t{6}, std::size_t{40}, share, age, message.size() - 32, message.size() - 1}) {
    Bytes other = message;
    other[at] ^= 1;
    start_over();
    refused_at_once(begin(other), kBadBinder);
  }
}

// What is not a good ticket is none, and a full handshake decides.
TEST_F(Tls13Resumption, ATicketIsWhatWasSealed) {
  const KeptTicket kept = first();
  const std::size_t n = kept.ticket.size();
  for (const std::size_t at : {std::size_t{0}, std::size_t{15}, std::size_t{16}, std::size_t{31}, std::size_t{32},
                               n / 2, n - 33, n - 32, n - 1}) {
    KeptTicket other = kept;
    other.ticket[at] ^= 1;
    come_back(other);
    EXPECT_EQ(peer.heard.size(), kFull) << at;
  }
  for (const std::size_t length : {std::size_t{1}, std::size_t{16}, std::size_t{32}, std::size_t{64}, std::size_t{79},
                                   std::size_t{80}, n - 32, n - 1}) {
    KeptTicket other = kept;
    other.ticket.resize(length);
    come_back(other);
    EXPECT_EQ(peer.heard.size(), kFull) << length;
  }
  EXPECT_EQ(yes.asked_to_resume, 0);
  come_back(kept);
  EXPECT_EQ(peer.heard.size(), kResumed);
}

TEST_F(Tls13Resumption, WithoutAKeyExchangeThereIsNoResumption) {
  const KeptTicket kept = first();
  come_back(kept, {0});  // psk_ke
  EXPECT_EQ(peer.heard.size(), kFull);
  EXPECT_EQ(yes.asked_to_resume, 0);
  prove();
  EXPECT_TRUE(output.empty()) << "nor a ticket";
}

// RFC 8446, section 4.2.9.
TEST_F(Tls13Resumption, ATicketWithoutModesIsAMistake) {
  const KeptTicket kept = first();
  start_over();
  refused_at_once(begin(peer.offer(Hello(peer.share()), kept, {})), SSL_AD_MISSING_EXTENSION);
}

TEST_F(Tls13Resumption, WhereNoneAreIssuedNoneAreHonoured) {
  const KeptTicket kept = first();
  Server without;
  start_over();
  engine.emplace(without.context(), &yes, output);
  ASSERT_EQ(give(peer.say(peer.offer(Hello(peer.share()), kept))), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  EXPECT_EQ(peer.heard.size(), kFull);
}

// A ticket of TLS 1.2 has another kind of secret.
TEST_F(Tls13Resumption, ATicketIsOfOneVersion) {
  TlsClient client({.device = &device, .version = TLS1_2_VERSION});
  engine.emplace(server.context(), &yes, output);
  for (int i = 0; i < 4; ++i) {
    client.handshake();
    give(client.give());
    client.take(output.bytes());
    output.consume(output.size());
  }
  const unsigned char* ticket = nullptr;
  std::size_t length = 0;
  SSL_SESSION_get0_ticket(SSL_get_session(client.ssl()), &ticket, &length);
  ASSERT_GT(length, 100U);
  come_back({Bytes(ticket, ticket + length), Bytes(32, 1)});
  EXPECT_EQ(peer.heard.size(), kFull);
}

TEST_F(Tls13Resumption, ATicketLivesAsLongAsItSays) {
  const KeptTicket kept = first();
  const Resumption& resumption = *server.context().resumption();
  Secret256 secret;
  TicketFate fate = TicketFate::None;
  const std::int64_t life = 24 * 3600;
  const auto ticket = resumption.open(kept.ticket, now + life, secret, fate);
  ASSERT_TRUE(ticket);
  EXPECT_EQ(ticket->listener, "test");
  EXPECT_EQ(ticket->identity->fingerprint, device.certificate.fingerprint());
  EXPECT_EQ(Bytes(secret.begin(), secret.end()), kept.secret);
  ASSERT_TRUE(keys.find(std::span(kept.ticket).first(16), now + life + 5)) << "its key lives on";
  EXPECT_FALSE(resumption.open(kept.ticket, now + life + 5, secret, fate));
  EXPECT_EQ(fate, TicketFate::TooOld);
}

TEST_F(Tls13Resumption, TheFinishedIsStillAskedFor) {
  const KeptTicket kept = first();
  come_back(kept);
  EXPECT_EQ(engine->handshake_maker(), TlsMaker::Own) << "before it is over, too";
  Bytes wrong = peer.finished();
  wrong.back() ^= 1;
  refused(say(wrong), SSL_AD_DECRYPT_ERROR, SSL_R_DIGEST_CHECK_FAILED);
  EXPECT_FALSE(engine->verdict()) << "who it was has not been proven";
  EXPECT_FALSE(engine->resumed());
}

TEST_F(Tls13Resumption, NobodyShowsACertificateAsWell) {
  const KeptTicket kept = first();
  come_back(kept);
  refused(say_certificate(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
  EXPECT_EQ(yes.asked, 1);
}

TEST_F(Tls13Resumption, AnEndInTheMiddleProvesNothing) {
  const KeptTicket kept = first();
  come_back(kept);
  ASSERT_TRUE(engine->verdict());
  engine->lend({});
  engine->end_of_input();
  EXPECT_EQ(engine->handshake(), Step::Truncated);
  EXPECT_FALSE(engine->verdict());
}

}  // namespace
}  // namespace sallyport::test
