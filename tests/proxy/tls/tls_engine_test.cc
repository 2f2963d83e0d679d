// The TLS engine against a real OpenSSL client over memory: handshakes, every refusal's alert, flipped
// bytes, truncation, the choice of certificates, and tickets that are honoured only in good standing.
#include "proxy/tls/tls_engine.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "cache/crypto/openssl_insides.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/ticket_keys.h"
#include "tests/proxy/tls/changed_ticket.h"
#include "tests/proxy/tls/joined.h"
#include "tests/proxy/tls/tls_client.h"
#include "tests/proxy/tls/tls_server.h"

namespace sallyport::test {
namespace {

// TLS 1.3 three times: a client with neither X25519 nor P-256 is OpenSSL's, any other our own handshake's.
struct Negotiated {
  const char* name;
  int version;
  const char* groups;
  const char* ciphers;
};
const auto kNegotiated = testing::Values(
    Negotiated{"V12", TLS1_2_VERSION, "", ""}, Negotiated{"V12ByOpenssl", TLS1_2_VERSION, "", "ECDHE+AES256"},
    Negotiated{"V13", TLS1_3_VERSION, "", ""}, Negotiated{"V13P256", TLS1_3_VERSION, "P-256", ""},
    Negotiated{"V13ByOpenssl", TLS1_3_VERSION, "P-384", ""});
std::string name_of(const testing::TestParamInfo<Negotiated>& tested) {
  return tested.param.name;
}
class Versions : public testing::TestWithParam<Negotiated> {
 protected:
  // No device: it has no certificate. No trust: it does not check the server's.
  static TlsClient::Options client(const Identity509* device, const Certificate* trust = nullptr) {
    const Negotiated& with = GetParam();
    return {.device = device, .trust = trust, .version = with.version, .groups = with.groups, .ciphers = with.ciphers};
  }
};
INSTANTIATE_TEST_SUITE_P(Tls, Versions, kNegotiated, name_of);

// What a shard does while others have messages: the client's flight is taken record by record, though all of it is
// there.
TEST_P(Versions, AStepMayBeOneRecord) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  Says yes(Reason::None);
  Joined joined(server, &yes, client(&device, &server.ca.certificate));
  joined.client.handshake();
  joined.pass_to_engine(joined.client.give());
  ASSERT_EQ(joined.engine.handshake(TlsEngine::Pace::OneRecord), Step::WantInput);
  EXPECT_EQ(joined.engine.unread(), 0u) << "a ClientHello is one record";
  joined.pass_to_client();
  joined.client.handshake();
  joined.pass_to_engine(joined.client.give());
  joined.engine.end_of_input();
  Step step = Step::WantInput;
  int steps = 0;
  for (; step == Step::WantInput && steps < 20; ++steps) {
    ASSERT_GT(joined.engine.unread(), 0u);
    EXPECT_EQ(yes.asked, steps > (GetParam().version == TLS1_3_VERSION ? 1 : 0) ? 1 : 0)
        << "with the certificate's record";
    step = joined.engine.handshake(TlsEngine::Pace::OneRecord);
  }
  EXPECT_EQ(step, Step::Done) << joined.engine.error().what;
  EXPECT_GE(steps, 4) << "CCS, Certificate, CertificateVerify, Finished; TLS 1.2 has ClientKeyExchange, too";
}

TEST_P(Versions, ADeviceInGoodStandingIsServedBothWays) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  for (const Kind kind : {Kind::P256, Kind::Rsa2048, Kind::P384, Kind::P521, Kind::Ed25519, Kind::Ed448}) {
    const Identity509 device = make_device("d", ca, kind);
    Says yes(Reason::None);
    Joined joined(server, &yes, client(&device, &server.ca.certificate));
    ASSERT_EQ(joined.shake(), Step::Done) << joined.engine.error().what;
    EXPECT_TRUE(joined.client_done);
    EXPECT_EQ(yes.asked, 1);
    EXPECT_TRUE(yes.saw_leaf);
    EXPECT_EQ(joined.engine.version_index(), GetParam().version == TLS1_3_VERSION ? 1 : 0);
    const std::string words(40'000, 'x');
    joined.client.send({reinterpret_cast<const std::uint8_t*>(words.data()), words.size()});
    joined.pass_to_engine(joined.client.give());
    std::string all, part;
    while (joined.read(part) == Step::Done) all += part;
    EXPECT_EQ(all, words);
    EXPECT_EQ(joined.engine.write({reinterpret_cast<const std::uint8_t*>("back"), 4}), Step::Done);
    joined.pass_to_client();
    EXPECT_EQ(joined.client.receive(), "back");
  }
}

TEST_P(Versions, SayWhoMadeThemAndOverWhichGroup) {
  Server server;
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  Says yes(Reason::None);
  Joined joined(server, &yes, client(&device));
  ASSERT_EQ(joined.shake(), Step::Done);
  const bool openssls = server.context().handshake_server() == nullptr ||
                        std::string_view(GetParam().name).find("ByOpenssl") != std::string_view::npos;
  EXPECT_EQ(joined.engine.handshake_maker(), openssls ? TlsMaker::Openssl : TlsMaker::Own);
  const std::string_view groups = GetParam().groups;
  // OpenSSL's clients offer a share for it since 3.5, if nobody tells them otherwise.
  const bool post_quantum =
      groups.empty() && OPENSSL_VERSION_NUMBER >= 0x30500000L && SSL_version(joined.client.ssl()) == TLS1_3_VERSION;
  EXPECT_EQ(joined.engine.key_group(), groups == "P-256"   ? KeyGroup::P256
                                       : groups == "P-384" ? KeyGroup::P384
                                       : post_quantum      ? KeyGroup::X25519MlKem768
                                                           : KeyGroup::X25519);
}

TEST_P(Versions, EachRefusalHasTheContractsAlert) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  EXPECT_EQ(row_of(Reason::DeviceRevoked).alert, Alert::CertificateRevoked);
  EXPECT_EQ(row_of(Reason::Expired).alert, Alert::CertificateExpired);
  EXPECT_EQ(row_of(Reason::CaUnknown).alert, Alert::UnknownCa);
  EXPECT_EQ(row_of(Reason::CaInactive).alert, Alert::CertificateUnknown);
  for (const ReasonRow& row : kReasons) {
    const Reason reason = row.reason;
    // What a certificate is refused for; NoCertificate has a test of its own.
    if (row.alert == Alert::None || reason == Reason::NoCertificate) continue;
    const bool v13 = GetParam().version == TLS1_3_VERSION;
    const int alert = static_cast<int>(v13 ? row.alert : row.alert12);
    Says no(reason);
    Joined joined(server, &no, client(&device));
    EXPECT_EQ(joined.shake(), Step::Failed) << to_string(reason);
    EXPECT_EQ(joined.engine.error().reason, reason);
    EXPECT_EQ(joined.client.alert(), alert) << to_string(reason);
    EXPECT_FALSE(joined.engine.established());
  }
}

TEST_P(Versions, NoCertificateIsItsOwnReason) {
  Server server;
  Says yes(Reason::None);
  Joined joined(server, &yes, client(nullptr));
  EXPECT_EQ(joined.shake(), Step::Failed);
  EXPECT_EQ(joined.engine.error().reason, Reason::NoCertificate);
  EXPECT_EQ(yes.asked, 0);
  EXPECT_EQ(joined.client.alert(),
            GetParam().version == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE);
  const ReasonRow& row = row_of(Reason::NoCertificate);
  EXPECT_EQ(joined.client.alert(), static_cast<int>(GetParam().version == TLS1_3_VERSION ? row.alert : row.alert12));
}

TEST_P(Versions, ACertificateWithoutItsKeyIsRefused) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  Identity509 thief = make_device("d", ca);
  Says yes(Reason::None);
  TlsClient::Options options = client(&thief);
  Joined joined(server, &yes, options);
  // Flip one bit of the flight that proves possession: the verdict was good, the session must not be.
  Step step = Step::WantInput;
  for (int i = 0; i < 20 && step == Step::WantInput; ++i) {
    joined.client.handshake();
    auto bytes = joined.client.give();
    if (i > 0 && bytes.size() > 100) bytes[bytes.size() - 40] ^= 1;
    joined.pass_to_engine(bytes);
    step = joined.engine.handshake();
    joined.pass_to_client();
  }
  EXPECT_EQ(step, Step::Failed);
  EXPECT_EQ(joined.engine.error().reason, Reason::TlsError);
  EXPECT_FALSE(joined.engine.established());
}

TEST_P(Versions, AOneWayListenerAsksForNoCertificate) {
  Server server;
  server.config.auth = AuthMode::OneWay;
  Joined joined(server, nullptr, client(nullptr, &server.ca.certificate));
  EXPECT_EQ(joined.shake(), Step::Done);
  EXPECT_FALSE(joined.engine.verdict().has_value());
}

TEST_P(Versions, AMutualListenerWithoutAVerifierLetsNobodyIn) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  Joined joined(server, nullptr, client(&device));
  EXPECT_EQ(joined.shake(), Step::Failed);
}

// Where OpenSSL goes on with the connection itself, for want of AES-GCM, it says so in its own way.
TEST_P(Versions, ACloseNotifyIsAnEndAndAMissingOneIsNot) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  for (const auto& [orderly, chacha20] : {std::pair(true, false), {false, false}, {true, true}, {false, true}}) {
    Says yes(Reason::None);
    Joined joined(server, &yes, client(&device));
    if (chacha20) {
      SSL_set_cipher_list(joined.client.ssl(), "ECDHE-ECDSA-CHACHA20-POLY1305");
      SSL_set_ciphersuites(joined.client.ssl(), "TLS_CHACHA20_POLY1305_SHA256");
    }
    ASSERT_EQ(joined.shake(), Step::Done);
    if (orderly) joined.client.close();
    joined.pass_to_engine(joined.client.give());
    joined.engine.end_of_input();
    std::string nothing;
    EXPECT_EQ(joined.read(nothing), orderly ? Step::Closed : Step::Truncated) << (chacha20 ? "ChaCha20" : "AES");
  }
}

TEST_P(Versions, AFlippedByteEndsTheSession) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  Says yes(Reason::None);
  Joined joined(server, &yes, client(&device));
  ASSERT_EQ(joined.shake(), Step::Done);
  joined.client.send({reinterpret_cast<const std::uint8_t*>("payload"), 7});
  auto bytes = joined.client.give();
  bytes[bytes.size() - 3] ^= 0x40;
  joined.pass_to_engine(bytes);
  std::string nothing;
  EXPECT_EQ(joined.read(nothing), Step::Failed);
  EXPECT_EQ(joined.engine.error().reason, Reason::TlsError);
}

TEST_P(Versions, OurCloseNotifyReachesTheClientOnce) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  Says yes(Reason::None);
  Joined joined(server, &yes, client(&device));
  ASSERT_EQ(joined.shake(), Step::Done);
  joined.engine.close();
  const std::size_t once = joined.output.size();
  EXPECT_GT(once, 0U);
  joined.engine.close();
  EXPECT_EQ(joined.output.size(), once);
  joined.pass_to_client();
  joined.client.receive();
  EXPECT_TRUE(joined.client.closed());
}

// A whole connection, and what the client could resume it by.
SessionPtr first_session(Server& server, Verifier* verifier, const TlsClient::Options& options) {
  Joined first(server, verifier, options);
  EXPECT_EQ(first.shake(), Step::Done) << first.engine.error().what;
  first.client.receive();
  first.client.close();  // OpenSSL lets nobody resume a session that was not closed
  return SessionPtr(SSL_get1_session(first.client.ssl()));
}

class Resuming : public Versions {
 protected:
  // The second connection, with the first one's session.
  std::unique_ptr<Joined> again(Server& server, Verifier* verifier, SSL_SESSION* session, bool certificate = true) {
    TlsClient::Options options = client(certificate ? &device : nullptr);
    auto joined = std::make_unique<Joined>(server, verifier, options);
    SSL_set_session(joined->client.ssl(), session);
    last_step = joined->shake();
    joined->client.receive();
    return joined;
  }
  bool reused(Joined& joined) {
    const bool yes = SSL_session_reused(joined.client.ssl()) == 1;
    joined.client.close();
    return yes;
  }

  void newer_key() { keys.adopt(keys.alive(now), now); }

  const std::int64_t now = std::time(nullptr);
  TicketKeys keys{now};
  Identity509 ca = make_ca("Device CA");
  Identity509 device = make_device("d", ca);
  Step last_step = Step::Failed;
};
INSTANTIATE_TEST_SUITE_P(Tls, Resuming, kNegotiated, name_of);

TEST_P(Resuming, TheClientHelloTellsWhoseTicketItOffers) {
  Server server;
  server.tickets = &keys;
  Says yes(Reason::None);
  auto session = first_session(server, &yes, client(&device));
  TlsClient fresh(client(&device));
  fresh.handshake();
  EXPECT_TRUE(offered_ticket(fresh.give()).first.ticket.empty());
  TlsClient returning(client(&device));
  SSL_set_session(returning.ssl(), session.get());
  returning.handshake();
  const std::vector<std::uint8_t> hello = returning.give();
  const TicketOffer offer = offered_ticket(hello);
  ASSERT_GT(offer.first.ticket.size(), 16U);
  EXPECT_EQ(offer.message.size(), hello.size() - 5);
  EXPECT_TRUE(server.context().devices_ticket(offer, now));
  for (std::size_t n = 0; n < hello.size(); ++n) {
    EXPECT_TRUE(offered_ticket({hello.data(), n}).first.ticket.empty()) << "cut after " << n;
  }
  TicketKeys others(now);
  Server stranger;
  stranger.tickets = &others;
  EXPECT_FALSE(stranger.context().devices_ticket(offer, now));
}

TEST_P(Versions, ANegotiatedRecordSizeHoldsAfterTheHandshake) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  Says yes(Reason::None);
  Joined joined(server, &yes, client(&device));
  SSL_set_tlsext_max_fragment_length(joined.client.ssl(), TLSEXT_max_fragment_length_512);
  ASSERT_EQ(joined.shake(), Step::Done);
  joined.pass_to_client();
  joined.client.receive();
  ASSERT_EQ(joined.engine.write(std::vector<std::uint8_t>(5000, 'x')), Step::Done);
  const auto bytes = joined.output.bytes();
  std::size_t records = 0;
  for (std::size_t at = 0; at + 5 <= bytes.size(); ++records) {
    const std::size_t length = std::size_t{bytes[at + 3]} << 8 | bytes[at + 4];
    EXPECT_LE(length, 512U + 64) << "a client that asked for small records has no room for others";
    at += 5 + length;
  }
  EXPECT_GE(records, 10U);
}

TEST_P(Resuming, ATicketCarriesTheIdentityAndStandingIsAskedAgain) {
  Server server;
  server.tickets = &keys;
  Says yes(Reason::None);
  auto session = first_session(server, &yes, client(&device));
  ASSERT_EQ(SSL_SESSION_has_ticket(session.get()), 1);
  const unsigned char* ticket = nullptr;
  std::size_t length = 0;
  SSL_SESSION_get0_ticket(session.get(), &ticket, &length);
  // OpenSSL's own way leaves the certificate in it.
  EXPECT_LT(length, openssl_exchanges_sessions() ? 600U : 600U + device.certificate.der().size());
  for (int round = 0; round < 3; ++round) {
    auto joined = again(server, &yes, session.get());
    ASSERT_EQ(last_step, Step::Done) << joined->engine.error().what;
    EXPECT_EQ(SSL_session_reused(joined->client.ssl()), 1);
    EXPECT_TRUE(joined->engine.resumed());
    EXPECT_EQ(yes.asked, 1) << "no certificate was verified again";
    EXPECT_EQ(yes.asked_to_resume, round + 1);
    EXPECT_EQ(yes.came_back.fingerprint, device.certificate.fingerprint());
    EXPECT_EQ(yes.came_back.not_after, device.certificate.not_after());
    EXPECT_EQ(yes.came_back.cns, std::vector<std::string>{"d"});
    EXPECT_EQ(yes.came_back_chain, 7U);
    ASSERT_TRUE(joined->engine.verdict().has_value());
    EXPECT_EQ(joined->engine.verdict()->identity->fingerprint, device.certificate.fingerprint());
    const std::string words(40'000, 'x');
    EXPECT_EQ(joined->engine.write({reinterpret_cast<const std::uint8_t*>(words.data()), words.size()}), Step::Done);
    joined->pass_to_client();
    EXPECT_EQ(joined->client.receive(), words);
    // The next round uses what this one was given, where it was given one.
    joined->client.close();
    if (GetParam().version == TLS1_3_VERSION) session.reset(SSL_get1_session(joined->client.ssl()));
  }
}

TEST_P(Resuming, LostStandingDeclinesTheTicketAndAFullHandshakeDecides) {
  Server server;
  server.tickets = &keys;
  Says verifier(Reason::None);
  const auto session = first_session(server, &verifier, client(&device));
  verifier.on_resume = Reason::DeviceInactive;
  auto joined = again(server, &verifier, session.get());
  EXPECT_EQ(last_step, Step::Done);
  EXPECT_FALSE(reused(*joined));
  EXPECT_EQ(verifier.asked, 2) << "the certificate was asked for and decided on again";
  Says no(Reason::DeviceRevoked);
  no.on_resume = Reason::DeviceRevoked;
  joined = again(server, &no, session.get());
  EXPECT_EQ(last_step, Step::Failed);
  EXPECT_EQ(joined->engine.error().reason, Reason::DeviceRevoked);
  // Without a certificate a declined ticket lets nobody in.
  joined = again(server, &verifier, session.get(), false);
  EXPECT_EQ(last_step, Step::Failed);
  EXPECT_EQ(joined->engine.error().reason, Reason::NoCertificate);
}

TEST_P(Resuming, ATicketIsOfOneListenerAndOneMode) {
  Server here, there, open;
  for (Server* server : {&here, &there, &open}) server->tickets = &keys;
  here.config.name = "here";
  there.config.name = "there";
  open.config.name = "here";
  open.config.auth = AuthMode::OneWay;
  Says verifier(Reason::None);
  const auto session = first_session(here, &verifier, client(&device));
  EXPECT_FALSE(reused(*again(there, &verifier, session.get())));
  EXPECT_EQ(last_step, Step::Done);
  EXPECT_FALSE(reused(*again(open, nullptr, session.get())));
  EXPECT_EQ(last_step, Step::Done);
  const auto nameless = first_session(open, nullptr, client(nullptr));
  EXPECT_TRUE(reused(*again(open, nullptr, nameless.get(), false)));
  EXPECT_FALSE(reused(*again(here, &verifier, nameless.get(), false)));
  EXPECT_EQ(last_step, Step::Failed) << "a session without a certificate must not open a mutual listener";
}

// A session id context has no room for all of a long one.
TEST_P(Resuming, AListenersWholeNameCounts) {
  Server here, there;
  for (Server* server : {&here, &there}) server->tickets = &keys;
  here.config.name = std::string(60, 'n') + "1";
  there.config.name = std::string(60, 'n') + "2";
  Says verifier(Reason::None);
  const auto session = first_session(here, &verifier, client(&device));
  EXPECT_FALSE(reused(*again(there, &verifier, session.get())));
  EXPECT_EQ(last_step, Step::Done);
  EXPECT_EQ(verifier.asked_to_resume, 0);
  EXPECT_TRUE(reused(*again(here, &verifier, session.get())));
}

TEST_P(Resuming, KeysRotateAndDieAfterADay) {
  Server server;
  server.tickets = &keys;
  Says verifier(Reason::None);
  const auto session = first_session(server, &verifier, client(&device));
  for (int hour = 1; hour < 5; ++hour) keys.rotate(now + hour * 3600);
  EXPECT_TRUE(reused(*again(server, &verifier, session.get()))) << "an older key is still good";
  for (int hour = 5; hour < 40; ++hour) keys.rotate(now + hour * 3600);
  EXPECT_FALSE(reused(*again(server, &verifier, session.get()))) << "its life has ended";
  TicketKeys others(now);
  Server stranger;
  stranger.tickets = &others;
  EXPECT_FALSE(reused(*again(stranger, &verifier, session.get())));
}

TEST_P(Resuming, ATicketsLifeEndsWithTheCertificate) {
  Server server;
  server.tickets = &keys;
  Says verifier(Reason::None);
  Leaf soon;
  soon.not_after = now + 60;
  device = make(soon, &ca);
  const auto session = first_session(server, &verifier, client(&device));
  EXPECT_LE(SSL_SESSION_get_ticket_lifetime_hint(session.get()), 60U);
  EXPECT_GE(SSL_SESSION_get_ticket_lifetime_hint(session.get()), 50U);
}

// A context may be replaced while handshakes begun with it are under way.
TEST_P(Resuming, EnginesOutliveTheirContext) {
  auto server = std::make_unique<Server>();
  server->tickets = &keys;
  server->add("DNS:one.example", Kind::P256);
  server->add("DNS:two.example", Kind::P256);
  Says verifier(Reason::None);
  TlsClient::Options options = client(&device);
  options.server_name = "two.example";
  Joined joined(*server, &verifier, options);
  server.reset();
  ASSERT_EQ(joined.shake(), Step::Done) << joined.engine.error().what;
  EXPECT_TRUE(joined.client_done);
}

// Whoever offered a ticket in time and waits with his Finished gains nothing by it, nor a ticket under the new key.
TEST_P(Resuming, WhatEndsAllTicketsEndsOneThatIsBeingResumed) {
  for (const bool drops : {false, true}) {
    Server server;
    server.tickets = &keys;
    Says verifier(Reason::None);
    const auto session = first_session(server, &verifier, client(&device));
    Joined joined(server, &verifier, client(&device));
    SSL_set_session(joined.client.ssl(), session.get());
    joined.client.handshake();
    joined.pass_to_engine(joined.client.give());
    ASSERT_EQ(joined.engine.handshake(), Step::WantInput);
    joined.pass_to_client();
    if (drops) keys.drop(now);
    EXPECT_EQ(joined.shake(), drops ? Step::Failed : Step::Done);
    EXPECT_TRUE(reused(joined)) << "as the client sees it";
    if (!drops) continue;
    EXPECT_FALSE(joined.engine.ticket_issued());
    EXPECT_EQ(joined.engine.error().what, "all tickets were ended while its own was being resumed");
  }
}

// Whatever is resumed in between, and with whichever tickets: the last full handshake counts.
TEST_P(Resuming, AChainOfResumptionsEndsAtTheLongestAge) {
  Server server;
  server.tickets = &keys;
  server.config.resumption_max_age = std::chrono::hours(8);
  Says verifier(Reason::None);
  const auto fresh = first_session(server, &verifier, client(&device));
  EXPECT_LE(SSL_SESSION_get_ticket_lifetime_hint(fresh.get()), 8U * 3600);
  EXPECT_GE(SSL_SESSION_get_ticket_lifetime_hint(fresh.get()), 8U * 3600 - 60);
  const std::int64_t authenticated_at = now - 8 * 3600 + 600;
  auto session =
      with_changed_ticket(fresh.get(), keys, now, [&](Ticket& said) { said.authenticated_at = authenticated_at; });
  for (int round = 0; round < 3; ++round) {
    newer_key();  // so that TLS 1.2 gets a new ticket, too
    auto joined = again(server, &verifier, session.get());
    ASSERT_EQ(last_step, Step::Done);
    EXPECT_EQ(joined->engine.ticket_fate(), TicketFate::Resumed);
    EXPECT_TRUE(joined->engine.ticket_issued());
    ASSERT_TRUE(reused(*joined));
    session.reset(SSL_get1_session(joined->client.ssl()));
    EXPECT_EQ(said_in(session.get(), keys, now).authenticated_at, authenticated_at) << round;
    EXPECT_LE(SSL_SESSION_get_ticket_lifetime_hint(session.get()), 600U) << round;
  }
  EXPECT_EQ(verifier.asked, 1);
  // A shorter age is in force at once: another context, as after a reload.
  Server shorter;
  shorter.tickets = &keys;
  shorter.config.resumption_max_age = std::chrono::hours(7);
  auto joined = again(shorter, &verifier, session.get());
  EXPECT_EQ(joined->engine.ticket_fate(), TicketFate::TooOld);
  EXPECT_FALSE(reused(*joined));
  EXPECT_EQ(last_step, Step::Done);
  EXPECT_EQ(verifier.asked, 2) << "the certificate was asked for and decided on again";
  EXPECT_TRUE(joined->engine.ticket_issued());
  const SessionPtr renewed(SSL_get1_session(joined->client.ssl()));
  EXPECT_GE(said_in(renewed.get(), keys, now).authenticated_at, now) << "a full handshake begins anew";
}

TEST_P(Resuming, ATicketOfTheFutureIsDeclined) {
  Server server;
  server.tickets = &keys;
  Says verifier(Reason::None);
  const auto session = first_session(server, &verifier, client(&device));
  const auto shifted = [&](std::int64_t by) {
    return with_changed_ticket(session.get(), keys, now, [&](Ticket& said) { said.authenticated_at += by; });
  };
  EXPECT_TRUE(reused(*again(server, &verifier, shifted(50).get()))) << "clocks of threads, and a small step";
  auto joined = again(server, &verifier, shifted(1000).get());
  EXPECT_FALSE(reused(*joined)) << "the clock was set back: its age cannot be told";
  EXPECT_EQ(joined->engine.ticket_fate(), TicketFate::TooOld);
  EXPECT_FALSE(reused(*again(server, &verifier, shifted(INT64_MAX / 2).get())));
  EXPECT_FALSE(reused(*again(server, &verifier, shifted(-24 * 3600 - 5).get())));
  EXPECT_EQ(last_step, Step::Done);
}

TEST_P(Resuming, AOneWayListenersTicketsAgeAsWell) {
  Server server;
  server.tickets = &keys;
  server.config.auth = AuthMode::OneWay;
  const auto session = first_session(server, nullptr, client(nullptr));
  const auto aged = [&](std::int64_t by) {
    return with_changed_ticket(session.get(), keys, now, [&](Ticket& said) { said.authenticated_at -= by; });
  };
  newer_key();
  auto joined = again(server, nullptr, aged(24 * 3600 - 600).get(), false);
  ASSERT_TRUE(reused(*joined));
  const SessionPtr next(SSL_get1_session(joined->client.ssl()));
  EXPECT_LT(said_in(next.get(), keys, now).authenticated_at, now - 23 * 3600);
  EXPECT_LE(SSL_SESSION_get_ticket_lifetime_hint(next.get()), 600U);
  EXPECT_FALSE(reused(*again(server, nullptr, aged(24 * 3600 + 5).get(), false)));
}

TEST_P(Resuming, ATicketSaysTheEpochOfItsVerdict) {
  Server server;
  server.tickets = &keys;
  Says verifier(Reason::None);
  verifier.epoch = 77;
  auto session = first_session(server, &verifier, client(&device));
  verifier.epoch = 0xABCDEF0;
  newer_key();
  auto joined = again(server, &verifier, session.get());
  ASSERT_TRUE(reused(*joined));
  EXPECT_EQ(verifier.came_back_epoch, 77U);
  session.reset(SSL_get1_session(joined->client.ssl()));
  EXPECT_TRUE(reused(*again(server, &verifier, session.get())));
  EXPECT_EQ(verifier.came_back_epoch, 0xABCDEF0U) << "its standing was looked up again: that counts";
}

// RFC 6066, section 3.
TEST_P(Resuming, ATicketIsOfOneServerName) {
  Server server;
  server.tickets = &keys;
  server.add("DNS:one.example", Kind::P256);
  server.add("DNS:two.example", Kind::P256);
  Says verifier(Reason::None);
  TlsClient::Options options = client(&device);
  options.server_name = "One.example";
  const auto named = first_session(server, &verifier, options);
  const auto nameless = first_session(server, &verifier, client(&device));
  const auto comes_back = [&](const SSL_SESSION* session, const std::string& name) {
    TlsClient::Options its = client(&device);
    its.server_name = name;
    Joined joined(server, &verifier, its);
    // Of the session a client of OpenSSL's offers the name it was made with: a copy without one is asked for here.
    const SessionPtr copy(SSL_SESSION_dup(session));
    SSL_SESSION_set1_hostname(copy.get(), nullptr);
    SSL_set_session(joined.client.ssl(), copy.get());
    EXPECT_EQ(joined.shake(), Step::Done) << joined.engine.error().what;
    joined.client.receive();
    const bool yes = joined.engine.resumed();
    EXPECT_EQ(joined.engine.ticket_fate(), yes ? TicketFate::Resumed : TicketFate::OtherName);
    joined.client.close();
    return yes;
  };
  EXPECT_TRUE(comes_back(named.get(), "one.EXAMPLE"));
  EXPECT_FALSE(comes_back(named.get(), "two.example"));
  EXPECT_FALSE(comes_back(named.get(), ""));
  EXPECT_TRUE(comes_back(nameless.get(), ""));
  EXPECT_FALSE(comes_back(nameless.get(), "one.example"));
}

TEST_P(Resuming, WhatBecameOfATicketIsTold) {
  Server server, stranger, elsewhere;
  TicketKeys others(now);
  server.tickets = elsewhere.tickets = &keys;
  elsewhere.config.name = "elsewhere";
  stranger.tickets = &others;
  Says verifier(Reason::None);
  Joined first(server, &verifier, client(&device));
  ASSERT_EQ(first.shake(), Step::Done);
  EXPECT_EQ(first.engine.ticket_fate(), TicketFate::None);
  EXPECT_TRUE(first.engine.ticket_issued());
  first.client.receive();
  first.client.close();
  const SessionPtr session(SSL_get1_session(first.client.ssl()));
  const auto fate = [&](Server& at) {
    const SessionPtr copy(SSL_SESSION_dup(session.get()));  // OpenSSL's client uses one of TLS 1.3 once
    const auto joined = again(at, &verifier, copy.get());
    EXPECT_EQ(last_step, Step::Done);
    EXPECT_EQ(reused(*joined), joined->engine.ticket_fate() == TicketFate::Resumed);
    return joined->engine.ticket_fate();
  };
  EXPECT_EQ(fate(server), TicketFate::Resumed);
  EXPECT_EQ(fate(stranger), TicketFate::UnknownKey);
  EXPECT_EQ(fate(elsewhere), TicketFate::OtherName);
  verifier.on_resume = Reason::DeviceInactive;
  EXPECT_EQ(fate(server), TicketFate::NoStanding);
  verifier.on_resume = Reason::None;
  EXPECT_EQ(fate(server), TicketFate::Resumed);
  keys.drop(now);
  EXPECT_EQ(fate(server), TicketFate::UnknownKey);
  Server without;
  const auto joined = again(without, &verifier, session.get());
  EXPECT_FALSE(reused(*joined));
  EXPECT_FALSE(joined->engine.ticket_issued());
}

// `resumption = false`: no ticket is sent, no id is remembered, and a session offered again leads to a full
// handshake that asks for the device's standing.
TEST_P(Versions, NothingIsEverResumed) {
  Server server;
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  for (const bool tickets : {true, false}) {
    TlsClient::Options options = client(&device);
    options.tickets = tickets;
    Says yes(Reason::None);
    Joined first(server, &yes, options);
    ASSERT_EQ(first.shake(), Step::Done);
    first.client.receive();
    first.client.close();
    SSL_SESSION* session = SSL_get1_session(first.client.ssl());
    EXPECT_EQ(SSL_SESSION_has_ticket(session), 0);
    unsigned id_length = 0;
    SSL_SESSION_get_id(session, &id_length);
    EXPECT_FALSE(GetParam().version == TLS1_3_VERSION && SSL_SESSION_is_resumable(session) == 1);
    Says no(Reason::DeviceInactive);
    Joined again(server, &no, options);
    SSL_set_session(again.client.ssl(), session);
    EXPECT_EQ(again.shake(), Step::Failed);
    EXPECT_EQ(no.asked, 1);
    EXPECT_EQ(SSL_session_reused(again.client.ssl()), 0);
    SSL_SESSION_free(session);
  }
}

TEST(TlsEngine, GarbageIsATlsError) {
  Server server;
  Says yes(Reason::None);
  Joined joined(server, &yes, {});
  joined.pass_to_engine({'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P', '/', '1', '.', '1', '\r', '\n', '\r', '\n'});
  EXPECT_EQ(joined.engine.handshake(), Step::Failed);
  EXPECT_EQ(joined.engine.error().reason, Reason::TlsError);
}

TEST(TlsEngine, ALongClientChainIsRefusedBeforeAnyCallback) {
  Server server;
  std::vector<Identity509> cas;
  cas.push_back(make_ca("0"));
  for (int i = 1; i < 60; ++i) cas.push_back(make_ca("CA " + std::to_string(i), &cas.back()));
  const Identity509 device = make_device("d", cas.back());
  TlsClient::Options options{.device = &device};
  for (const Identity509& ca : cas) options.intermediates.push_back(&ca.certificate);
  Says yes(Reason::None);
  Joined joined(server, &yes, options);
  EXPECT_EQ(joined.shake(), Step::Failed);
  EXPECT_EQ(yes.asked, 0);
}

TEST(TlsContext, ChoosesByNameAndThenByKeyType) {
  Server server;
  server.add("DNS:default.example.com", Kind::P256);
  server.add("DNS:*.mqtt.example.com,DNS:mqtt-test.example.com", Kind::P256);
  server.add("DNS:*.mqtt.example.com", Kind::Rsa2048);
  struct Row {
    const char* name;
    const char* algorithms;
    std::size_t expected;
  };
  const Row rows[] = {{"", "", 0},
                      {"nobody.example.org", "", 0},
                      {"a.mqtt.example.com", "ecdsa_secp256r1_sha256", 1},
                      {"A.MQTT.Example.com", "ecdsa_secp256r1_sha256", 1},
                      {"mqtt-test.example.com", "", 1},
                      {"a.mqtt.example.com", "rsa_pss_rsae_sha256", 2},
                      {"a.b.mqtt.example.com", "", 0},  // a wildcard stands for one label
                      {"mqtt.example.com", "", 0}};
  for (const Row& row : rows) {
    server.config.auth = AuthMode::OneWay;
    Joined joined(server, nullptr, {.server_name = row.name, .signature_algorithms = row.algorithms});
    ASSERT_EQ(joined.shake(), Step::Done) << row.name << " " << joined.engine.error().what;
    X509* presented = SSL_get0_peer_certificate(joined.client.ssl());
    ASSERT_NE(presented, nullptr);
    EXPECT_EQ(X509_cmp(presented, server.leaves[row.expected].x509()), 0) << row.name << " " << row.algorithms;
  }
}

// Keys that our own handshake does not sign with are OpenSSL's, also where the name has an RSA certificate beside them.
TEST(TlsContext, EveryKindOfServerKeyServes) {
  const Identity509 ca = make_ca("Device CA");
  const Identity509 device = make_device("d", ca);
  const Kind kinds[][2] = {{Kind::P384, Kind::P384},
                           {Kind::Ed25519, Kind::Ed25519},
                           {Kind::Rsa2048, Kind::Rsa2048},
                           {Kind::P384, Kind::Rsa2048},
                           {Kind::Rsa2048, Kind::P256}};
  for (const auto& [first, second] : kinds) {
    Server server;
    server.add("DNS:a.example.com", first);
    if (second != first) server.add("DNS:a.example.com", second);
    Says yes(Reason::None);
    Joined joined(server, &yes, {.device = &device, .trust = &server.ca.certificate, .version = TLS1_3_VERSION});
    ASSERT_EQ(joined.shake(), Step::Done) << joined.engine.error().what;
    EXPECT_TRUE(joined.client_done);
    const std::size_t elliptic = first == Kind::Rsa2048 && second != first ? 1 : 0;
    EXPECT_EQ(X509_cmp(SSL_get0_peer_certificate(joined.client.ssl()), server.leaves[elliptic].x509()), 0);
  }
}

// A TLS 1.2 device may offer a single group, and every suite derives its keys from what that agrees on: 32 bytes on
// X25519 and P-256, 48 on P-384, 66 on P-521, which is more than a block of SHA-256. OpenSSL takes an ECDSA key, the
// device's own too, only where its curve is among the groups that are offered.
TEST(TlsEngine, EveryGroupGoesWithEverySuiteOfTls12) {
  const Identity509 ca = make_ca("Device CA");
  struct Row {
    const char* group;
    Kind key;
    const char* signs;
  };
  const Row rows[] = {{"X25519", Kind::Rsa2048, "RSA"}, {"P-256", Kind::Rsa2048, "RSA"},
                      {"P-384", Kind::Rsa2048, "RSA"},  {"P-521", Kind::Rsa2048, "RSA"},
                      {"P-256", Kind::P256, "ECDSA"},   {"P-384", Kind::P384, "ECDSA"},
                      {"P-521", Kind::P521, "ECDSA"}};
  for (const Row& row : rows) {
    Server server;
    server.add("DNS:localhost", row.key);
    const Identity509 device = make_device("d", ca, row.key);
    for (const std::string suite : {"AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"}) {
      const std::string ciphers = std::string("ECDHE-") + row.signs + "-" + suite;
      SCOPED_TRACE(ciphers + " over " + row.group);
      Says yes(Reason::None);
      Joined joined(server, &yes,
                    {.device = &device,
                     .trust = &server.ca.certificate,
                     .version = TLS1_2_VERSION,
                     .groups = row.group,
                     .ciphers = ciphers});
      ASSERT_EQ(joined.shake(), Step::Done) << joined.engine.error().what;
      EXPECT_TRUE(joined.client_done);
      EXPECT_EQ(SSL_get_cipher_name(joined.client.ssl()), ciphers);
      const std::string words = "to the broker";
      joined.client.send({reinterpret_cast<const std::uint8_t*>(words.data()), words.size()});
      joined.pass_to_engine(joined.client.give());
      std::string heard;
      ASSERT_EQ(joined.read(heard), Step::Done);
      EXPECT_EQ(heard, words);
      EXPECT_EQ(joined.engine.write({reinterpret_cast<const std::uint8_t*>("back"), 4}), Step::Done);
      joined.pass_to_client();
      EXPECT_EQ(joined.client.receive(), "back");
    }
  }
}

std::string refusal_of(const std::string& chain, const std::string& key) {
  TempDir dir;
  ListenerConfig config;
  config.name = "x";
  config.certificates.push_back({dir.write("chain.pem", chain), dir.write("key.pem", key)});
  const auto context = TlsContext::create(config);
  return context ? "" : context.error().what;
}

TEST(TlsContext, SaysWhatIsWrongWithAServerCertificate) {
  const Identity509 ca = make_ca("CA");
  const Identity509 server = make_device("localhost", ca);
  const Identity509 other = make_device("other", ca);
  Leaf old;
  old.not_before = 1'000'000'000;
  old.not_after = 1'100'000'000;
  const Identity509 expired = make(old, &ca);
  const Identity509 weak = make_device("weak", ca, Kind::Rsa1024);
  const auto& key = key_pem(server.key.get());
  EXPECT_EQ(refusal_of(server.certificate.pem() + ca.certificate.pem(), key), "");
  EXPECT_NE(refusal_of(ca.certificate.pem() + server.certificate.pem(), key).find("put the server's certificate first"),
            std::string::npos);
  EXPECT_NE(refusal_of(server.certificate.pem(), key_pem(other.key.get())).find("does not belong"), std::string::npos);
  EXPECT_EQ(refusal_of(expired.certificate.pem(), key_pem(expired.key.get())), "")
      << "its dates are looked at elsewhere";
  EXPECT_NE(refusal_of(weak.certificate.pem(), key_pem(weak.key.get())).find("2048"), std::string::npos);
  EXPECT_NE(refusal_of("nothing", key).find("no PEM certificate"), std::string::npos);
  EXPECT_NE(refusal_of(server.certificate.pem(), "nothing").find("no private key"), std::string::npos);
  EXPECT_NE(refusal_of(server.certificate.pem(),
                       "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBHDBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI\n"
                       "-----END ENCRYPTED PRIVATE KEY-----\n"),
            "");
  ListenerConfig missing;
  missing.certificates.push_back({"/nowhere/a", "/nowhere/b"});
  EXPECT_NE(TlsContext::create(missing).error().what.find("/nowhere/a: cannot be read"), std::string::npos);
}

}  // namespace
}  // namespace sallyport::test
