// Our own TLS 1.2 handshake against a client that says what it is told to: every message wrong in every way that
// RFC 5246 names, at the engine, so that what a peer sees and what the log says is what is tested. That the whole
// OpenSSL client gets through, and each refusal's alert, is in tls_engine_test.cc and tls_takeover_test.cc.
#include "proxy/tls/tls12_handshake.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <ctime>
#include <functional>

#include "proxy/tls/ticket_keys.h"
#include "tests/proxy/tls/handshake_fixture.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::test {
namespace {

class Tls12 : public OwnHandshakes<Tls12Peer> {
 protected:
  using OwnHandshakes::greet;
  void greet() { greet(hello12()); }
  // A message in a record of its own, which counts in the transcript.
  Step say(const Bytes& message) {
    peer.said(message);
    return give(plain_record(kHandshake, message));
  }
  Step say_certificate() { return say(peer.certificate({der_of(device)})); }
  Step say_key_exchange() {
    const Bytes message = peer.key_exchange();
    peer.said(message);
    peer.agree();
    return give(plain_record(kHandshake, message));
  }
  Step say_verify() { return say(peer.certificate_verify(device.key.get(), 0x0403, "SHA256")); }
  Step say_change() { return give(peer.change_cipher_spec()); }
  Step say_finished() { return say_finished(peer.finished()); }
  Step say_finished(const Bytes& message) {
    const Bytes record = peer.seal(kHandshake, message);
    peer.said(message);
    return give(record);
  }
  // Everything before the named message.
  void up_to_key_exchange() {
    greet();
    ASSERT_EQ(say_certificate(), Step::WantInput);
  }
  void up_to_verify() {
    ASSERT_NO_FATAL_FAILURE(up_to_key_exchange());
    ASSERT_EQ(say_key_exchange(), Step::WantInput);
  }
  void up_to_change() {
    ASSERT_NO_FATAL_FAILURE(up_to_verify());
    ASSERT_EQ(say_verify(), Step::WantInput);
  }
  void up_to_finished() {
    ASSERT_NO_FATAL_FAILURE(up_to_change());
    ASSERT_EQ(say_change(), Step::WantInput);
  }
  void finished(Step step) {
    ASSERT_EQ(step, Step::Done) << engine->error().what;
    EXPECT_TRUE(engine->established());
    std::span<const std::uint8_t> bytes = output.bytes();
    ASSERT_TRUE(peer.hear_end(bytes));
    EXPECT_TRUE(bytes.empty());
    output.consume(output.size());
  }

  void refused(Step step, int alert, int reason = 0) {
    EXPECT_EQ(step, Step::Failed);
    EXPECT_EQ(engine->error().origin, Origin::Client);
    EXPECT_TRUE(reason == 0 || engine->error().detail == reason) << engine->error().what;
    const auto said = output.bytes();
    EXPECT_EQ(Bytes(said.begin(), said.end()), plain_record(kAlert, {2, static_cast<std::uint8_t>(alert)}));
    EXPECT_FALSE(engine->established());
    EXPECT_EQ(give(plain_record(kHandshake, peer.key_exchange())), Step::Failed) << "it is over";
  }
  void unexpected(Step step) { refused(step, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE); }
};

TEST_F(Tls12, AFlightIsWhatTheRfcSays) {
  greet();
  ASSERT_EQ(peer.heard.size(), 5u);
  const std::uint8_t types[] = {2, 11, 12, 13, 14};
  for (std::size_t i = 0; i < peer.heard.size(); ++i) EXPECT_EQ(peer.heard[i][0], types[i]);
  const Bytes& greeting = peer.heard[0];
  EXPECT_EQ(Bytes(greeting.begin() + 4, greeting.begin() + 6), number(0x0303, 2));
  EXPECT_EQ(Bytes(greeting.begin() + 30, greeting.begin() + 38), (Bytes{'D', 'O', 'W', 'N', 'G', 'R', 'D', 1}));
  const Bytes extensions = join({{0xFF, 1, 0, 1, 0}, {0, 23, 0, 0}});
  EXPECT_EQ(Bytes(greeting.begin() + 38, greeting.end()), join({{0}, number(0xC02B, 2), {0}, vector_of(extensions, 2)}))
      << "no session id, no compression, and nothing that was not asked for";
  EXPECT_EQ(engine->version_index(), 0);
  EXPECT_EQ(yes.asked, 0);
  EXPECT_EQ(say_certificate(), Step::WantInput);
  EXPECT_EQ(yes.asked, 1);
  EXPECT_EQ(say_key_exchange(), Step::WantInput);
  EXPECT_EQ(say_verify(), Step::WantInput);
  EXPECT_EQ(say_change(), Step::WantInput);
  EXPECT_FALSE(engine->established());
  EXPECT_TRUE(output.empty()) << "nothing is said before the client has finished";
  finished(say_finished());
  EXPECT_FALSE(peer.ticket);
  EXPECT_EQ(engine->version_index(), 0);
  EXPECT_EQ(engine->handshake(), Step::Done) << "and stays so";
  EXPECT_FALSE(engine->resumed());

  const Bytes record = peer.seal(kApplicationData, {'h', 'i'});
  engine->lend(record);
  std::array<std::uint8_t, 64> plain;
  std::size_t n = 0;
  ASSERT_EQ(engine->read(plain, n), Step::Done);
  EXPECT_EQ(Bytes(plain.begin(), plain.begin() + n), (Bytes{'h', 'i'}));
  ASSERT_EQ(engine->write(Bytes{'y', 'o'}), Step::Done);
  std::span<const std::uint8_t> bytes = output.bytes();
  EXPECT_EQ(peer.open(bytes), (InnerRecord{kApplicationData, {'y', 'o'}}));
}

TEST_F(Tls12, TwoServersRandomsAreNotTheSame) {
  greet();
  const Bytes first = peer.heard[0];
  start_over();
  greet();
  EXPECT_FALSE(std::equal(first.begin() + 6, first.begin() + 30, peer.heard[0].begin() + 6));
  EXPECT_NE(peer.heard[0], first);
}

TEST_F(Tls12, WhatWasAskedForIsAnswered) {
  Hello hello = hello12();
  hello.add(0, vector_of(join({{0}, vector_of({'x'}, 2)}), 2));
  hello.add(11, vector_of({0}, 1));
  hello.add(35, {});
  hello.add(5, {1, 0, 0, 0, 0});
  hello.add(16, vector_of(vector_of({'h', '2'}, 1), 2));
  greet(hello);
  const Bytes extensions = join({{0xFF, 1, 0, 1, 0}, {0, 0, 0, 0}, {0, 11, 0, 2, 1, 0}, {0, 23, 0, 0}});
  const Bytes& greeting = peer.heard[0];
  EXPECT_EQ(Bytes(greeting.begin() + 42, greeting.end()), vector_of(extensions, 2)) << "no tickets here";
}

TEST_F(Tls12, TheRequestNamesWhatMaySign) {
  greet();
  const Bytes schemes = numbers_of(
      {0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601});
  EXPECT_EQ(peer.heard[3], message_of(13, join({{2, 1, 64}, vector_of(schemes, 2), {0, 0}})));
}

TEST_F(Tls12, OurKeyIsSignedWithBothRandoms) {
  greet();
  const Bytes& message = peer.heard[2];
  const std::size_t share = message[7];
  ASSERT_EQ(Bytes(message.begin() + 4, message.begin() + 8), (Bytes{3, 0, 29, 32})) << "X25519 where there are both";
  const Bytes params(message.begin() + 4, message.begin() + 8 + static_cast<std::ptrdiff_t>(share));
  const auto at = message.begin() + 8 + static_cast<std::ptrdiff_t>(share);
  EXPECT_EQ(Bytes(at, at + 2), number(0x0403, 2));
  const Bytes signature(at + 4, message.end());
  Bytes content(peer.agreed().client_random.begin(), peer.agreed().client_random.end());
  content.insert(content.end(), peer.agreed().server_random.begin(), peer.agreed().server_random.end());
  content = join({content, params});
  const std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>> checking(EVP_MD_CTX_new());
  EVP_PKEY* key = X509_get0_pubkey(server.leaves.front().x509());
  ASSERT_EQ(EVP_DigestVerifyInit_ex(checking.get(), nullptr, "SHA256", nullptr, nullptr, key, nullptr), 1);
  EXPECT_EQ(EVP_DigestVerify(checking.get(), signature.data(), signature.size(), content.data(), content.size()), 1);
}

TEST_F(Tls12, AOneWayListenerWantsNoCertificate) {
  server.config.auth = AuthMode::OneWay;
  greet();
  EXPECT_EQ(peer.heard.size(), 4u) << "no CertificateRequest";
  ASSERT_EQ(say_key_exchange(), Step::WantInput);
  ASSERT_EQ(say_change(), Step::WantInput);
  finished(say_finished());
  EXPECT_EQ(yes.asked, 0);
}
TEST_F(Tls12, AOneWayListenerTakesNoCertificate) {
  server.config.auth = AuthMode::OneWay;
  greet();
  unexpected(say_certificate());
}
TEST_F(Tls12, AOneWayListenerTakesNoProof) {
  server.config.auth = AuthMode::OneWay;
  greet();
  ASSERT_EQ(say_key_exchange(), Step::WantInput);
  unexpected(say_verify());
}

// Nobody gets around proving who they are.
TEST_F(Tls12, AKeyExchangeAloneIsNoHandshake) {
  greet();
  unexpected(say_key_exchange());
}
TEST_F(Tls12, AProofBeforeTheKeyExchangeIsNone) {
  up_to_key_exchange();
  unexpected(say_verify());
}
TEST_F(Tls12, ASecondCertificateIsNone) {
  up_to_key_exchange();
  unexpected(say_certificate());
}
TEST_F(Tls12, ASecondKeyExchangeIsNone) {
  up_to_verify();
  unexpected(say_key_exchange());
}
TEST_F(Tls12, ASecondProofIsNone) {
  up_to_change();
  unexpected(say_verify());
}
TEST_F(Tls12, AFinishedInTheClearIsNone) {
  up_to_change();
  unexpected(say(peer.finished()));
}
TEST_F(Tls12, AFinishedInTheClearIsNoneAfterTheChange) {
  up_to_finished();
  refused(say(peer.finished()), SSL_AD_BAD_RECORD_MAC);
}
TEST_F(Tls12, NoOtherMessageIsDueAtTheEnd) {
  up_to_finished();
  unexpected(say_finished(peer.certificate_verify(device.key.get(), 0x0403, "SHA256")));
}
TEST_F(Tls12, DataBeforeTheFinishedIsRefused) {
  up_to_finished();
  unexpected(give(peer.seal(kApplicationData, {1})));
}

// CVE-2014-0224: a ChangeCipherSpec before there are keys must not make any be used.
TEST_F(Tls12, KeysChangeAfterTheProofAndAtNoOtherTime) {
  const std::function<void()> before[] = {[this] { greet(); }, [this] { up_to_key_exchange(); },
                                          [this] { up_to_verify(); }};
  for (const auto& come : before) {
    start_over();
    ASSERT_NO_FATAL_FAILURE(come());
    refused(say_change(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_CCS_MESSAGE);
  }
}
TEST_F(Tls12, KeysDoNotChangeInAMessage) {
  up_to_change();
  ASSERT_EQ(give(plain_record(kHandshake, {20, 0})), Step::WantInput);
  refused(say_change(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_CCS_MESSAGE);
}
TEST_F(Tls12, KeysChangeOnce) {
  up_to_finished();
  EXPECT_EQ(say_change(), Step::Failed);
  EXPECT_FALSE(engine->established());
}
TEST_F(Tls12, AChangeIsOneByte) {
  for (const Bytes& wrong : {Bytes{}, Bytes{2}, Bytes{1, 1}}) {
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_change());
    refused(give(plain_record(kChangeCipherSpec, wrong)), SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_CHANGE_CIPHER_SPEC);
  }
}

TEST_F(Tls12, NoCertificateIsItsOwnReason) {
  greet();
  refused(say(peer.certificate({})), SSL_AD_HANDSHAKE_FAILURE);
  EXPECT_EQ(engine->error().reason, Reason::NoCertificate);
  EXPECT_EQ(yes.asked, 0);
}
TEST_F(Tls12, WhoIsRefusedNeedNotProveAnything) {
  Says no(Reason::DeviceRevoked);
  engine.emplace(server.context(), &no, output);
  ASSERT_EQ(give(peer.say(hello12())), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  output.consume(output.size());
  refused(say_certificate(), SSL_AD_CERTIFICATE_REVOKED);
  EXPECT_EQ(engine->error().reason, Reason::DeviceRevoked);
}
TEST_F(Tls12, WhereNobodyDecidesNobodyComesIn) {
  engine.emplace(server.context(), nullptr, output);
  ASSERT_EQ(give(peer.say(hello12())), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  output.consume(output.size());
  refused(say_certificate(), SSL_AD_CERTIFICATE_UNKNOWN);
}
TEST_F(Tls12, ACertificateMessageIsReadToItsEnd) {
  const Bytes der = der_of(device);
  Bytes torn = der;
  torn.pop_back();
  struct {
    const char* what;
    Bytes body;
    int alert;
  } const cases[] = {
      {"nothing at all", {}, SSL_AD_DECODE_ERROR},
      {"bytes behind the list", join({vector_of(vector_of(der, 3), 3), {0}}), SSL_AD_DECODE_ERROR},
      {"an entry that is longer than the list", vector_of(join({number(der.size() + 1, 3), der}), 3),
       SSL_AD_DECODE_ERROR},
      {"an empty entry", vector_of(vector_of({}, 3), 3), SSL_AD_DECODE_ERROR},
      {"what is no certificate", vector_of(vector_of({1, 2, 3}, 3), 3), SSL_AD_BAD_CERTIFICATE},
      {"a torn certificate", vector_of(vector_of(torn, 3), 3), SSL_AD_BAD_CERTIFICATE},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.what);
    start_over();
    ASSERT_NO_FATAL_FAILURE(greet());
    refused(say(message_of(11, each.body)), each.alert);
  }
  EXPECT_EQ(yes.asked, 0);
}

TEST_F(Tls12, AProofIsOfThisKeyAndTheseMessages) {
  const Identity509 other = make_device("other", ca);
  const std::pair<const char*, std::function<Bytes()>> cases[] = {
      {"another key", [&] { return peer.certificate_verify(other.key.get(), 0x0403, "SHA256"); }},
      {"another digest", [&] { return peer.certificate_verify(device.key.get(), 0x0403, "SHA384"); }},
      {"of another handshake",
       [&] {
         Tls12Peer stranger;
         stranger.said(peer.key_exchange());
         return stranger.certificate_verify(device.key.get(), 0x0403, "SHA256");
       }},
      {"an empty signature",
       [&] {
         return message_of(15, join({number(0x0403, 2), {0, 0}}));
       }},
  };
  for (const auto& [what, proof] : cases) {
    SCOPED_TRACE(what);
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_verify());
    refused(say(proof()), SSL_AD_DECRYPT_ERROR, SSL_R_BAD_SIGNATURE);
  }
}
TEST_F(Tls12, AProofIsByASchemeOfItsKey) {
  for (const std::uint16_t scheme : std::initializer_list<std::uint16_t>{0x0401, 0x0804, 0x0807, 0x0203, 0x0303, 0}) {
    SCOPED_TRACE(scheme);
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_verify());
    refused(say(peer.certificate_verify(device.key.get(), scheme, "SHA256")), SSL_AD_ILLEGAL_PARAMETER,
            SSL_R_WRONG_SIGNATURE_TYPE);
  }
}
TEST_F(Tls12, AProofIsReadToItsEnd) {
  for (const Bytes& wrong : {Bytes{}, Bytes{4}, Bytes{4, 3, 0, 9, 1}, Bytes{4, 3, 0, 1, 1, 1}}) {
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_verify());
    refused(say(message_of(15, wrong)), SSL_AD_DECODE_ERROR);
  }
}
// Section 7.4.8 leaves the hash to the client, and what an ECDSA scheme's name says of curves is of TLS 1.3.
TEST_F(Tls12, EachKindOfKeyProvesItself) {
  struct {
    Kind kind;
    std::uint16_t scheme;
    const char* digest;
  } const cases[] = {
      {Kind::P256, 0x0403, "SHA256"},    {Kind::P256, 0x0503, "SHA384"},    {Kind::P256, 0x0603, "SHA512"},
      {Kind::P384, 0x0403, "SHA256"},    {Kind::P384, 0x0503, "SHA384"},    {Kind::P521, 0x0603, "SHA512"},
      {Kind::Rsa2048, 0x0401, "SHA256"}, {Kind::Rsa2048, 0x0501, "SHA384"}, {Kind::Rsa2048, 0x0601, "SHA512"},
      {Kind::Rsa2048, 0x0804, "SHA256"}, {Kind::Rsa2048, 0x0806, "SHA512"}, {Kind::Ed25519, 0x0807, nullptr}};
  for (const auto& [kind, scheme, digest] : cases) {
    SCOPED_TRACE(scheme);
    start_over();
    ASSERT_NO_FATAL_FAILURE(greet());
    const Identity509 each = make_device("each", ca, kind);
    ASSERT_EQ(say(peer.certificate({der_of(each)})), Step::WantInput);
    ASSERT_EQ(say_key_exchange(), Step::WantInput);
    ASSERT_EQ(say(peer.certificate_verify(each.key.get(), scheme, digest)), Step::WantInput) << engine->error().what;
    ASSERT_EQ(say_change(), Step::WantInput);
    ASSERT_NO_FATAL_FAILURE(finished(say_finished()));
  }
}

// RFC 8422, section 5.5: a curve that is not ours is no device's. OpenSSL refuses it, too.
TEST_F(Tls12, AKeyIsOfAKnownCurve) {
  for (const char* curve : {"secp256k1", "brainpoolP256r1", "P-224"}) {
    SCOPED_TRACE(curve);
    start_over();
    ASSERT_NO_FATAL_FAILURE(greet());
    const Identity509 strange = make({}, &ca, KeyPtr(EVP_EC_gen(curve)));
    ASSERT_EQ(say(peer.certificate({der_of(strange)})), Step::WantInput);
    ASSERT_EQ(say_key_exchange(), Step::WantInput);
    refused(say(peer.certificate_verify(strange.key.get(), 0x0403, "SHA256")), SSL_AD_ILLEGAL_PARAMETER,
            SSL_R_WRONG_SIGNATURE_TYPE);
  }
}

TEST_F(Tls12, AShareIsAPointOfTheGroup) {
  const std::pair<const char*, Bytes> cases[] = {
      {"of small order", Bytes(32, 0)}, {"too short", Bytes(31, 9)}, {"too long", Bytes(33, 9)}};
  for (const auto& [what, share] : cases) {
    SCOPED_TRACE(what);
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_key_exchange());
    refused(say(message_of(16, vector_of(share, 1))), SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_ECPOINT);
  }
  for (const Bytes& body : {Bytes{}, Bytes{0}, Bytes{2, 1}, Bytes{1, 1, 1}}) {
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_key_exchange());
    refused(say(message_of(16, body)), SSL_AD_DECODE_ERROR, SSL_R_LENGTH_MISMATCH);
  }
}
TEST_F(Tls12, AShareIsAPointOfP256) {
  Hello hello = hello12();
  *hello.find(10) = vector_of(numbers_of({23}), 2);
  Bytes off_the_curve(65, 1);
  off_the_curve[0] = 4;
  const std::pair<const char*, std::function<Bytes()>> cases[] = {
      {"off the curve", [&] { return off_the_curve; }},
      {"compressed",  // RFC 8422, section 5.4.1
       [&] {
         const Bytes& message = peer.heard[2];
         return join({{2}, Bytes(message.begin() + 9, message.begin() + 41)});
       }},
      {"hybrid",
       [&] {
         Bytes share(peer.heard[2].begin() + 8, peer.heard[2].begin() + 73);
         share[0] = static_cast<std::uint8_t>(6 | (share.back() & 1));
         return share;
       }},
  };
  for (const auto& [what, share] : cases) {
    SCOPED_TRACE(what);
    start_over();
    ASSERT_NO_FATAL_FAILURE(greet(hello));
    EXPECT_EQ(Bytes(peer.heard[2].begin() + 4, peer.heard[2].begin() + 9), (Bytes{3, 0, 23, 65, 4}));
    ASSERT_EQ(say_certificate(), Step::WantInput);
    refused(say(message_of(16, vector_of(share(), 1))), SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_ECPOINT);
  }
}

TEST_F(Tls12, AFinishedIsOfThisHandshake) {
  Bytes changed, shorter;
  const std::function<Bytes()> wrong[] = {
      [&] {
        changed = peer.finished();
        changed.back() ^= 1;
        return changed;
      },
      [&] { return peer.finished(kServerFinished); },
  };
  for (const auto& message : wrong) {
    start_over();
    ASSERT_NO_FATAL_FAILURE(up_to_finished());
    refused(say_finished(message()), SSL_AD_DECRYPT_ERROR, SSL_R_DIGEST_CHECK_FAILED);
  }
  start_over();
  ASSERT_NO_FATAL_FAILURE(up_to_finished());
  refused(say_finished(message_of(20, Bytes(11, 0))), SSL_AD_DECODE_ERROR, SSL_R_BAD_DIGEST_LENGTH);
}
TEST_F(Tls12, AFinishedEndsItsRecord) {
  up_to_finished();
  const Bytes record = peer.seal(kHandshake, join({peer.finished(), {1}}));
  refused(give(record), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_NOT_ON_RECORD_BOUNDARY);
}
TEST_F(Tls12, AChangedRecordIsNoFinished) {
  up_to_finished();
  Bytes record = peer.seal(kHandshake, peer.finished());
  record.back() ^= 1;
  refused(give(record), SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}

// However they are cut into records, and those into segments.
TEST_F(Tls12, MessagesMayBeTornAndInOneRecord) {
  for (const std::size_t most : {std::size_t{1}, std::size_t{7}, std::size_t{200}, std::size_t{16'384}}) {
    SCOPED_TRACE(most);
    start_over();
    ASSERT_NO_FATAL_FAILURE(greet());
    const Bytes certificate = peer.certificate({der_of(device)}), key_exchange = peer.key_exchange();
    peer.said(certificate);
    peer.said(key_exchange);
    peer.agree();
    const Bytes verify = peer.certificate_verify(device.key.get(), 0x0403, "SHA256");
    peer.said(verify);
    const Bytes all = join({certificate, key_exchange, verify});
    Bytes flight;
    for (std::size_t at = 0; at < all.size(); at += most) {
      const auto from = all.begin() + static_cast<std::ptrdiff_t>(at);
      const Bytes piece(from, from + static_cast<std::ptrdiff_t>(std::min(most, all.size() - at)));
      flight = join({flight, plain_record(kHandshake, piece)});
    }
    const Bytes last = peer.finished();
    flight = join({flight, peer.change_cipher_spec(), peer.seal(kHandshake, last)});
    peer.said(last);
    Step step = Step::WantInput;
    for (std::size_t at = 0; at < flight.size() && step == Step::WantInput; at += most) {
      const auto from = flight.begin() + static_cast<std::ptrdiff_t>(at);
      step = give(Bytes(from, from + static_cast<std::ptrdiff_t>(std::min(most, flight.size() - at))));
    }
    ASSERT_NO_FATAL_FAILURE(finished(step));
  }
}

TEST_F(Tls12, ARecordThatCannotBeIsRefused) {
  struct {
    const char* what;
    Bytes record;
    int alert;
  } const cases[] = {
      {"of another version", {22, 3, 1, 0, 1, 11}, SSL_AD_PROTOCOL_VERSION},
      {"empty", plain_record(kHandshake, {}), SSL_AD_UNEXPECTED_MESSAGE},
      {"data", plain_record(kApplicationData, {1}), SSL_AD_UNEXPECTED_MESSAGE},
      {"of no type", plain_record(99, {1}), SSL_AD_UNEXPECTED_MESSAGE},
      {"too long", {22, 3, 3, 0x40, 1}, SSL_AD_RECORD_OVERFLOW},
      {"half an alert", plain_record(kAlert, {2}), SSL_AD_DECODE_ERROR},
      {"an alert of no level", plain_record(kAlert, {3, 0}), SSL_AD_ILLEGAL_PARAMETER},
      {"a second ClientHello", plain_record(kHandshake, hello12().message()), SSL_AD_UNEXPECTED_MESSAGE},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.what);
    start_over();
    ASSERT_NO_FATAL_FAILURE(greet());
    refused(give(each.record), each.alert);
  }
}
TEST_F(Tls12, AnAlertInAMessageIsRefused) {
  greet();
  ASSERT_EQ(give(plain_record(kHandshake, {11, 0})), Step::WantInput);
  unexpected(give(plain_record(kAlert, {1, SSL_AD_USER_CANCELLED})));
}
TEST_F(Tls12, AMessageIsBounded) {
  greet();
  refused(give(plain_record(kHandshake, {11, 0, 0x40, 1})), SSL_AD_ILLEGAL_PARAMETER, SSL_R_EXCESSIVE_MESSAGE_SIZE);
}
TEST_F(Tls12, AClientMayGiveUp) {
  greet();
  EXPECT_EQ(give(plain_record(kAlert, {2, SSL_AD_BAD_CERTIFICATE})), Step::Failed);
  EXPECT_EQ(engine->error().detail, SSL_AD_REASON_OFFSET + SSL_AD_BAD_CERTIFICATE);
  EXPECT_TRUE(output.empty()) << "nothing is answered";
  start_over();
  greet();
  EXPECT_EQ(give(plain_record(kAlert, {1, SSL_AD_CLOSE_NOTIFY})), Step::Closed);
  EXPECT_EQ(say_certificate(), Step::Closed) << "it is over";
  EXPECT_EQ(yes.asked, 0);
  start_over();
  up_to_finished();
  EXPECT_EQ(give(peer.seal(kAlert, {2, SSL_AD_DECRYPT_ERROR})), Step::Failed);
  EXPECT_EQ(engine->error().detail, SSL_AD_REASON_OFFSET + SSL_AD_DECRYPT_ERROR);
}
TEST_F(Tls12, WarningsAreBounded) {
  greet();
  const Bytes warning = plain_record(kAlert, {1, SSL_AD_USER_CANCELLED});
  for (int i = 0; i < 32; ++i) ASSERT_EQ(give(warning), Step::WantInput);
  refused(give(warning), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_TOO_MANY_WARN_ALERTS);
}
TEST_F(Tls12, AnEndInTheMiddleIsNone) {
  up_to_change();
  engine->lend({});
  engine->end_of_input();
  EXPECT_EQ(engine->handshake(), Step::Truncated);
}

TEST_F(Tls12, AListenerOfTls13AloneDoesNotAnswer) {
  server.config.tls_min = TlsMin::V13;
  engine.emplace(server.context(), &yes, output);
  EXPECT_EQ(give(peer.say(hello12())), Step::Failed);
  EXPECT_EQ(engine->error().detail, SSL_R_UNSUPPORTED_PROTOCOL);
  const auto said = output.bytes();
  EXPECT_EQ(Bytes(said.end() - 2, said.end()), (Bytes{2, SSL_AD_PROTOCOL_VERSION}));
}

// What the certificate cannot be verified with is OpenSSL's to judge.
TEST_F(Tls12, SuiteSchemeAndCurveAreTheClients) {
  server.add("DNS:localhost", Kind::P256);
  const auto answered = [this](const Hello& hello) {
    start_over();
    engine.emplace(server.context(), &yes, output);
    give(peer.say(hello));
    return !output.empty() && output.bytes()[0] == kHandshake && peer.hear(output.bytes()) &&
           engine->version_index() == 0;
  };
  Hello hello = hello12();
  EXPECT_TRUE(answered(hello));
  hello.suites = numbers_of({0xC02F, 0x00FF});
  EXPECT_FALSE(answered(hello)) << "RSA alone";
  hello = hello12();
  *hello.find(13) = vector_of(numbers_of({0x0804}), 2);
  EXPECT_FALSE(answered(hello)) << "no ECDSA";
  hello = hello12();
  *hello.find(10) = vector_of(numbers_of({29}), 2);
  EXPECT_FALSE(answered(hello)) << "not the certificate's curve";
}
TEST_F(Tls12, AnRsaCertificateIsForItsOwnSuite) {
  server.add("DNS:localhost", Kind::Rsa2048);
  Hello hello = hello12();
  *hello.find(10) = vector_of(numbers_of({29}), 2);
  greet(hello);
  EXPECT_EQ(Bytes(peer.heard[0].begin() + 39, peer.heard[0].begin() + 41), number(0xC02F, 2));
  const auto& message = peer.heard[2];
  EXPECT_EQ(Bytes(message.begin() + 40, message.begin() + 42), number(0x0804, 2));
  ASSERT_EQ(say_certificate(), Step::WantInput);
  ASSERT_EQ(say_key_exchange(), Step::WantInput);
  ASSERT_EQ(say_verify(), Step::WantInput);
  ASSERT_EQ(say_change(), Step::WantInput);
  finished(say_finished());
}

class Tls12Tickets : public Tls12 {
 protected:
  Tls12Tickets() { server.tickets = &keys; }
  void shake(const Hello& hello) {
    ASSERT_NO_FATAL_FAILURE(greet(hello));
    ASSERT_EQ(say_certificate(), Step::WantInput);
    ASSERT_EQ(say_key_exchange(), Step::WantInput);
    ASSERT_EQ(say_verify(), Step::WantInput);
    ASSERT_EQ(say_change(), Step::WantInput);
    ASSERT_NO_FATAL_FAILURE(finished(say_finished()));
  }
  static Hello willing() {
    Hello hello = hello12();
    hello.add(35, {});
    return hello;
  }
  TicketKeys keys{std::time(nullptr)};
};

TEST_F(Tls12Tickets, WhoTakesThemIsToldAndGetsOne) {
  shake(willing());
  const Bytes& greeting = peer.heard[0];
  EXPECT_EQ(Bytes(greeting.begin() + 42, greeting.end()),
            vector_of(join({{0xFF, 1, 0, 1, 0}, {0, 35, 0, 0}, {0, 23, 0, 0}}), 2));
  ASSERT_TRUE(peer.ticket);
  EXPECT_GT(peer.ticket->size(), 100u);
  TicketOffer offer;
  offer.first.ticket = *peer.ticket;
  EXPECT_TRUE(server.context().devices_ticket(offer, std::time(nullptr)));
}
TEST_F(Tls12Tickets, WhoDoesNotGetsNone) {
  shake(hello12());
  EXPECT_FALSE(peer.ticket);
}
TEST_F(Tls12Tickets, WhoseCertificateEndsGetsAnEmptyOne) {
  yes.not_after = std::time(nullptr) - 1;
  shake(willing());
  ASSERT_TRUE(peer.ticket);
  EXPECT_TRUE(peer.ticket->empty()) << "RFC 5077, section 3.3";
}

}  // namespace
}  // namespace sallyport::test
