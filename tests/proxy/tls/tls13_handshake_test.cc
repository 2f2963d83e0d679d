// Our own TLS 1.3 handshake against a client that says what it is told to: every message wrong in every way that
// RFC 8446 names, at the engine, so that what a peer sees and what the log says is what is tested. That the whole
// OpenSSL client gets through, and each refusal's alert, is in tls_engine_test.cc and tls_takeover_test.cc.
#include "proxy/tls/tls13_handshake.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <functional>

#include "tests/proxy/tls/tls13_fixture.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::test {
namespace {

TEST_F(Tls13, AFlightIsWhatTheRfcSays) {
  greet();
  ASSERT_EQ(peer.heard.size(), 6u);
  const std::uint8_t types[] = {2, 8, 13, 11, 15, 20};
  for (std::size_t i = 0; i < peer.heard.size(); ++i) EXPECT_EQ(peer.heard[i][0], types[i]);
  EXPECT_EQ(Bytes(peer.heard[0].begin() + 38, peer.heard[0].begin() + 39 + 32), vector_of(Bytes(32, 7), 1))
      << "the session id comes back";
  EXPECT_TRUE(peer.heard_change_cipher_spec) << "for middleboxes: appendix D.4";
  EXPECT_EQ(peer.heard[1], message_of(8, {0, 0}));
  EXPECT_EQ(engine->version_index(), 1);
  EXPECT_FALSE(engine->established());
  EXPECT_EQ(yes.asked, 0);
  EXPECT_EQ(say_certificate(), Step::WantInput);
  EXPECT_EQ(yes.asked, 1);
  EXPECT_EQ(say_verify(), Step::WantInput);
  EXPECT_FALSE(engine->established());
  EXPECT_EQ(say_finished(), Step::Done);
  EXPECT_TRUE(engine->established());
  EXPECT_TRUE(output.empty()) << "no ticket where none are issued";
  EXPECT_EQ(engine->handshake(), Step::Done) << "and stays so";

  const Bytes record = peer.seal_data({'h', 'i'});
  engine->lend(record);
  std::array<std::uint8_t, 64> plain;
  std::size_t n = 0;
  ASSERT_EQ(engine->read(plain, n), Step::Done);
  EXPECT_EQ(Bytes(plain.begin(), plain.begin() + n), (Bytes{'h', 'i'}));
}

TEST_F(Tls13, WithoutASessionIdThereIsNoChangeCipherSpec) {
  Hello hello(peer.share());
  hello.session_id.clear();
  greet(hello);
  EXPECT_FALSE(peer.heard_change_cipher_spec);
}

TEST_F(Tls13, AServerNameIsAcknowledged) {
  Hello hello(peer.share());
  hello.add(0, vector_of(join({{0}, vector_of({'x'}, 2)}), 2));
  greet(hello);
  EXPECT_EQ(peer.heard[1], message_of(8, {0, 4, 0, 0, 0, 0}));
}

TEST_F(Tls13, AOneWayListenerWantsTheFinishedAlone) {
  server.config.auth = AuthMode::OneWay;
  engine.emplace(server.context(), nullptr, output);
  ASSERT_EQ(give(peer.say(Hello(peer.share()))), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  EXPECT_EQ(peer.heard.size(), 5u) << "no CertificateRequest";
  output.consume(output.size());
  EXPECT_EQ(say_finished(), Step::Done);
}

TEST_F(Tls13, AOneWayListenerTakesNoCertificate) {
  server.config.auth = AuthMode::OneWay;
  engine.emplace(server.context(), nullptr, output);
  ASSERT_EQ(give(peer.say(Hello(peer.share()))), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  output.consume(output.size());
  refused(say_certificate(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}

// Nobody gets around proving who they are.
TEST_F(Tls13, FinishedAloneIsNoHandshake) {
  greet();
  refused(say_finished(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, FinishedWithoutAProofIsNoHandshake) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  refused(say_finished(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, AProofWithoutACertificateIsNoHandshake) {
  greet();
  refused(say_verify(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, ASecondCertificateIsNone) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  refused(say_certificate(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, ASecondProofIsNone) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  ASSERT_EQ(say_verify(), Step::WantInput);
  refused(say_verify(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, AKeyUpdateIsForLater) {
  greet();
  refused(give(peer.seal(kHandshake, key_update_message(0))), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE);
}

TEST_F(Tls13, NoCertificateIsItsOwnReason) {
  greet();
  refused(say(peer.certificate({})), SSL_AD_CERTIFICATE_REQUIRED);
  EXPECT_EQ(engine->error().reason, Reason::NoCertificate);
  EXPECT_EQ(yes.asked, 0);
}
TEST_F(Tls13, WhoIsRefusedNeedNotProveAnything) {
  Says no(Reason::DeviceRevoked);
  engine.emplace(server.context(), &no, output);
  ASSERT_EQ(give(peer.say(Hello(peer.share()))), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  output.consume(output.size());
  refused(say_certificate(), SSL_AD_CERTIFICATE_REVOKED);
  EXPECT_EQ(engine->error().reason, Reason::DeviceRevoked);
}

TEST_F(Tls13, ACertificateMessageIsReadToItsEnd) {
  const Bytes der = der_of(device);
  const auto entry = [&](const Bytes& extensions) { return join({vector_of(der, 3), vector_of(extensions, 2)}); };
  Bytes torn = der, trailing = der;
  torn.pop_back();
  trailing.push_back(0);
  const Bytes rsa = der_of(make_device("rsa", ca, Kind::Rsa2048));
  struct {
    const char* what;
    Bytes body;
    int alert;
  } const cases[] = {
      {"a context", join({{1, 9}, vector_of(entry({}), 3)}), SSL_AD_ILLEGAL_PARAMETER},
      {"bytes behind the list", join({{0}, vector_of(entry({}), 3), {0}}), SSL_AD_DECODE_ERROR},
      {"an entry without extensions", join({{0}, vector_of(vector_of(der, 3), 3)}), SSL_AD_DECODE_ERROR},
      {"an empty entry", join({{0}, vector_of(join({vector_of({}, 3), {0, 0}}), 3)}), SSL_AD_DECODE_ERROR},
      {"an extension", join({{0}, vector_of(entry({0, 5, 0, 0}), 3)}), SSL_AD_UNSUPPORTED_EXTENSION},
      {"a torn DER", join({{0}, vector_of(join({vector_of(torn, 3), {0, 0}}), 3)}), SSL_AD_BAD_CERTIFICATE},
      {"bytes behind the DER", join({{0}, vector_of(join({vector_of(trailing, 3), {0, 0}}), 3)}),
       SSL_AD_BAD_CERTIFICATE},
      {"rubbish behind an RSA leaf",
       join({{0}, vector_of(join({vector_of(rsa, 3), {0, 0}, vector_of({1, 2}, 3), {0, 0}}), 3)}),
       SSL_AD_BAD_CERTIFICATE},
      {"nothing", {}, SSL_AD_DECODE_ERROR},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.what);
    start_over();
    greet();
    refused(say(message_of(11, each.body)), each.alert);
    EXPECT_EQ(engine->error().reason, Reason::TlsError);
  }
  EXPECT_EQ(yes.asked, 0);
}

// Of a device that is known nobody needs it.
TEST_F(Tls13, WhatIsBehindAPlainLeafIsTheGatesToRead) {
  greet();
  ASSERT_EQ(say(peer.certificate({der_of(device), {1, 2}, {3}})), Step::WantInput);
  EXPECT_EQ(yes.saw_behind, (std::vector<Bytes>{{1, 2}, {3}}));
  EXPECT_TRUE(yes.saw_leaf);
}

struct KeyCase {
  const char* name;
  Kind kind;
  std::uint16_t scheme;
  const char* digest;
};
class Proofs : public Tls13, public testing::WithParamInterface<KeyCase> {};
TEST_P(Proofs, AreAcceptedFromTheKeyAndNoOther) {
  const KeyCase& given = GetParam();
  const Identity509 holder = make_device("holder", ca, given.kind);
  const KeyPtr thief = make_key(given.kind);
  for (const bool honest : {true, false}) {
    start_over();
    greet();
    ASSERT_EQ(say(peer.certificate({der_of(holder)})), Step::WantInput);
    const Step step = say(peer.certificate_verify(honest ? holder.key.get() : thief.get(), given.scheme, given.digest));
    if (!honest) {
      refused(step, SSL_AD_DECRYPT_ERROR, SSL_R_BAD_SIGNATURE);
    } else {
      ASSERT_EQ(step, Step::WantInput) << engine->error().what;
      EXPECT_EQ(say_finished(), Step::Done);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Tls, Proofs,
                         testing::Values(KeyCase{"P256", Kind::P256, 0x0403, "SHA256"},
                                         KeyCase{"P384", Kind::P384, 0x0503, "SHA384"},
                                         KeyCase{"P521", Kind::P521, 0x0603, "SHA512"},
                                         KeyCase{"Ed25519", Kind::Ed25519, 0x0807, nullptr},
                                         KeyCase{"Ed448", Kind::Ed448, 0x0808, nullptr},
                                         KeyCase{"RsaSha256", Kind::Rsa2048, 0x0804, "SHA256"},
                                         KeyCase{"RsaSha384", Kind::Rsa2048, 0x0805, "SHA384"},
                                         KeyCase{"RsaSha512", Kind::Rsa2048, 0x0806, "SHA512"}),
                         [](const auto& tested) { return std::string(tested.param.name); });

class WrongSchemes : public Tls13, public testing::WithParamInterface<KeyCase> {};
TEST_P(WrongSchemes, AreRefused) {
  const KeyCase& given = GetParam();
  const Identity509 holder = make_device("holder", ca, given.kind);
  greet();
  ASSERT_EQ(say(peer.certificate({der_of(holder)})), Step::WantInput);
  refused(say(peer.certificate_verify(holder.key.get(), given.scheme, given.digest)), SSL_AD_ILLEGAL_PARAMETER,
          SSL_R_WRONG_SIGNATURE_TYPE);
}
INSTANTIATE_TEST_SUITE_P(Tls, WrongSchemes,
                         testing::Values(KeyCase{"AnotherCurves", Kind::P256, 0x0503, "SHA384"},
                                         KeyCase{"ASmallerCurves", Kind::P384, 0x0403, "SHA256"},
                                         KeyCase{"EcdsaSha1", Kind::P256, 0x0203, "SHA1"},
                                         KeyCase{"Pkcs1", Kind::Rsa2048, 0x0401, "SHA256"},
                                         KeyCase{"RsaForEcdsa", Kind::Rsa2048, 0x0403, "SHA256"},
                                         KeyCase{"PssKeysOwn", Kind::Rsa2048, 0x0809, "SHA256"},
                                         KeyCase{"Ed448For25519", Kind::Ed25519, 0x0808, nullptr},
                                         KeyCase{"Unknown", Kind::P256, 0xffff, "SHA256"}),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(Tls13, AProofIsOfThisHandshakeAndOfAClient) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  refused(say(peer.certificate_verify(device.key.get(), 0x0403, "SHA256", "TLS 1.3, server CertificateVerify")),
          SSL_AD_DECRYPT_ERROR, SSL_R_BAD_SIGNATURE);

  const Bytes old = [&] {
    start_over();
    greet();
    EXPECT_EQ(say_certificate(), Step::WantInput);
    return peer.certificate_verify(device.key.get(), 0x0403, "SHA256");
  }();
  start_over();
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  refused(say(old), SSL_AD_DECRYPT_ERROR, SSL_R_BAD_SIGNATURE);
}

TEST_F(Tls13, AProofMessageIsReadToItsEnd) {
  for (const std::size_t cut : {1U, 0U}) {
    start_over();
    greet();
    ASSERT_EQ(say_certificate(), Step::WantInput);
    Bytes whole = peer.certificate_verify(device.key.get(), 0x0403, "SHA256");
    Bytes body(whole.begin() + 4, whole.end());
    cut == 1 ? body.pop_back() : body.push_back(0);
    refused(say(message_of(15, body)), SSL_AD_DECODE_ERROR);
  }
}

TEST_F(Tls13, AFinishedIsOfThisHandshake) {
  const auto prove = [&] {
    start_over();
    greet();
    ASSERT_EQ(say_certificate(), Step::WantInput);
    ASSERT_EQ(say_verify(), Step::WantInput);
  };
  for (const std::size_t at : {4U, 35U}) {
    prove();
    Bytes wrong = peer.finished();
    wrong[at] ^= 1;
    refused(say(wrong), SSL_AD_DECRYPT_ERROR, SSL_R_DIGEST_CHECK_FAILED);
  }
  prove();
  const Bytes right = peer.finished();
  refused(say(message_of(20, Bytes(right.begin() + 4, right.end() - 1))), SSL_AD_DECODE_ERROR);
  prove();
  refused(say(message_of(20, {})), SSL_AD_DECODE_ERROR);
}

// Section 5.1: keys change at the end of a record.
TEST_F(Tls13, NothingFollowsAFinishedInItsRecord) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  ASSERT_EQ(say_verify(), Step::WantInput);
  refused(say(join({peer.finished(), {0}})), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_NOT_ON_RECORD_BOUNDARY);
}

TEST_F(Tls13, MessagesMayShareARecord) {
  greet();
  const Bytes one = peer.certificate({der_of(device)});
  peer.said(one);
  const Bytes two = peer.certificate_verify(device.key.get(), 0x0403, "SHA256");
  peer.said(two);
  const Bytes three = peer.finished();
  EXPECT_EQ(give(peer.seal(kHandshake, join({one, two, three}), 100)), Step::Done) << engine->error().what;
}

TEST_F(Tls13, AMessageMayBeInAsManyRecordsAsItHasBytes) {
  greet();
  for (const Bytes& message : {peer.certificate({der_of(device)})}) {
    Step step = Step::WantInput;
    for (const std::uint8_t byte : message) {
      ASSERT_EQ(step, Step::WantInput);
      step = give(peer.seal(kHandshake, {byte}));
    }
    peer.said(message);
  }
  EXPECT_EQ(yes.asked, 1);
  ASSERT_EQ(say_verify(), Step::WantInput);
  EXPECT_EQ(say_finished(), Step::Done);
}

TEST_F(Tls13, NothingComesBetweenThePartsOfAMessage) {
  greet();
  const Bytes message = peer.certificate({der_of(device)});
  ASSERT_EQ(give(peer.seal(kHandshake, Bytes(message.begin(), message.begin() + 9))), Step::WantInput);
  refused(give(peer.seal(kAlert, {1, SSL_AD_CLOSE_NOTIFY})), SSL_AD_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, NoPartOfAMessageIsEmpty) {
  greet();
  refused(give(peer.seal(kHandshake, {}, 3)), SSL_AD_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, DataIsForLater) {
  greet();
  refused(give(peer.seal(kApplicationData, {1})), SSL_AD_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, ALongMessageIsRefusedByItsHeader) {
  greet();
  refused(give(peer.seal(kHandshake, {11, 0, 0x40, 1})), SSL_AD_ILLEGAL_PARAMETER, SSL_R_EXCESSIVE_MESSAGE_SIZE);
}
TEST_F(Tls13, AFlippedBitEndsIt) {
  greet();
  Bytes record = peer.seal(kHandshake, peer.certificate({der_of(device)}));
  record.back() ^= 1;
  refused(give(record), SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}
TEST_F(Tls13, ATooLongRecordIsRefusedByItsHeader) {
  greet();
  pending = {23, 3, 3, 0x41, 1};
  engine->lend(pending);
  refused(engine->handshake(), SSL_AD_RECORD_OVERFLOW, SSL_R_ENCRYPTED_LENGTH_TOO_LONG);
}
TEST_F(Tls13, APlainHandshakeMessageIsNone) {
  greet();
  pending = plain_record(kHandshake, peer.certificate({der_of(device)}));
  engine->lend(pending);
  refused(engine->handshake(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_BAD_RECORD_TYPE);
}

// Section 5: middleboxes are shown a ChangeCipherSpec, anywhere before the Finished.
TEST_F(Tls13, ChangeCipherSpecsAreDroppedForAWhile) {
  const Bytes change = plain_record(kChangeCipherSpec, {1});
  greet();
  ASSERT_EQ(give(change), Step::WantInput);
  ASSERT_EQ(say_certificate(), Step::WantInput);
  for (int i = 0; i < 31; ++i) ASSERT_EQ(give(change), Step::WantInput);
  ASSERT_EQ(say_verify(), Step::WantInput);
  refused(give(change), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_CCS_MESSAGE);
}
TEST_F(Tls13, AChangeCipherSpecHasOneByte) {
  for (const Bytes& content : {Bytes{2}, Bytes{}, Bytes{1, 1}, Bytes{1, 1, 1}}) {
    start_over();
    greet();
    pending = plain_record(kChangeCipherSpec, content);
    engine->lend(pending);
    refused(engine->handshake(), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_INVALID_CCS_MESSAGE);
  }
}

// A client that will not go on: section 6.2. In the clear where it could not read us.
TEST_F(Tls13, AnAlertEndsItUnanswered) {
  for (const bool plain : {true, false}) {
    start_over();
    greet();
    const Bytes alert = {2, SSL_AD_UNKNOWN_CA};
    EXPECT_EQ(give(plain ? plain_record(kAlert, alert) : peer.seal(kAlert, alert)), Step::Failed);
    EXPECT_EQ(engine->error().detail, SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA);
    EXPECT_EQ(engine->error().what, "tlsv1 alert unknown ca");
    EXPECT_TRUE(output.empty());
  }
}
TEST_F(Tls13, AfterAnEncryptedRecordNoAlertIsPlain) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  pending = plain_record(kAlert, {2, SSL_AD_UNKNOWN_CA});
  engine->lend(pending);
  refused(engine->handshake(), SSL_AD_UNEXPECTED_MESSAGE);
}
TEST_F(Tls13, ACloseNotifyIsAnEnd) {
  greet();
  EXPECT_EQ(give(peer.seal(kAlert, {1, SSL_AD_CLOSE_NOTIFY})), Step::Closed);
  EXPECT_FALSE(engine->established());
}
TEST_F(Tls13, AUserMayCancelManyTimesAndNotMore) {
  greet();
  for (int i = 0; i < 32; ++i) ASSERT_EQ(give(peer.seal(kAlert, {1, SSL_AD_USER_CANCELLED})), Step::WantInput);
  refused(give(peer.seal(kAlert, {1, SSL_AD_USER_CANCELLED})), SSL_AD_UNEXPECTED_MESSAGE, SSL_R_TOO_MANY_WARN_ALERTS);
}
TEST_F(Tls13, AnAlertHasTwoBytes) {
  greet();
  refused(give(peer.seal(kAlert, {1})), SSL_AD_DECODE_ERROR, SSL_R_BAD_LENGTH);
}
TEST_F(Tls13, AnEndInTheMiddleIsATruncation) {
  greet();
  ASSERT_EQ(say_certificate(), Step::WantInput);
  pending = {23, 3, 3};
  engine->lend(pending);
  engine->end_of_input();
  EXPECT_EQ(engine->handshake(), Step::Truncated);
}

// However the network cuts it up.
TEST_F(Tls13, BytesMayComeOneByOne) {
  engine.emplace(server.context(), &yes, output);
  const auto drip = [&](const Bytes& bytes) {
    Step step = Step::WantInput;
    for (const std::uint8_t byte : bytes) {
      EXPECT_EQ(step, Step::WantInput);
      step = give({byte});
    }
    return step;
  };
  ASSERT_EQ(drip(peer.say(Hello(peer.share()))), Step::WantInput);
  ASSERT_TRUE(peer.hear(output.bytes()));
  output.consume(output.size());
  for (const bool certificate : {true, false}) {
    const Bytes message =
        certificate ? peer.certificate({der_of(device)}) : peer.certificate_verify(device.key.get(), 0x0403, "SHA256");
    const Bytes record = peer.seal(kHandshake, message);
    peer.said(message);
    ASSERT_EQ(drip(record), Step::WantInput);
  }
  EXPECT_EQ(drip(peer.seal(kHandshake, peer.finished())), Step::Done);
}

TEST_F(Tls13, ATicketGoesToWhoCanUseIt) {
  const TicketKeys keys(std::time(nullptr));
  server.tickets = &keys;
  for (const bool can : {true, false}) {
    start_over();
    Hello hello(peer.share());
    if (can) hello.add(45, vector_of({1}, 1));
    greet(hello);
    ASSERT_EQ(say_certificate(), Step::WantInput);
    ASSERT_EQ(say_verify(), Step::WantInput);
    ASSERT_EQ(say_finished(), Step::Done);
    std::span<const std::uint8_t> bytes = output.bytes();
    const auto record = peer.open(bytes);
    ASSERT_EQ(record.has_value(), can);
    if (!can) continue;
    EXPECT_EQ(record->type, kHandshake);
    EXPECT_EQ(record->content[0], 4) << "NewSessionTicket";
    EXPECT_TRUE(bytes.empty()) << "one";
  }
}

TEST_F(Tls13, NoTicketIsLeftToACertificateWithoutTime) {
  const TicketKeys keys(std::time(nullptr));
  server.tickets = &keys;
  Leaf leaf;
  leaf.not_after = std::time(nullptr) - 1;
  const Identity509 late = make(leaf, &ca);
  Hello hello(peer.share());
  hello.add(45, vector_of({1}, 1));
  greet(hello);
  ASSERT_EQ(say(peer.certificate({der_of(late)})), Step::WantInput) << "that it is late is for the gate to say";
  ASSERT_EQ(say(peer.certificate_verify(late.key.get(), 0x0403, "SHA256")), Step::WantInput);
  ASSERT_EQ(say_finished(), Step::Done);
  EXPECT_TRUE(output.empty());
}

// What our own handshake does not do is done by OpenSSL, from the first byte on.
class Elsewhere : public Tls13, public testing::WithParamInterface<std::size_t> {};
TEST_P(Elsewhere, AClientHelloInTwoRecordsIsServed) {
  const std::size_t cut = GetParam();
  TlsClient client({.device = &device, .trust = &server.ca.certificate, .version = TLS1_3_VERSION});
  engine.emplace(server.context(), &yes, output);
  client.handshake();
  const Bytes whole = client.give();
  const Bytes message(whole.begin() + 5, whole.end());
  const auto at = message.begin() + static_cast<std::ptrdiff_t>(cut);
  ASSERT_EQ(give(join({plain_record(kHandshake, Bytes(message.begin(), at)),
                       plain_record(kHandshake, Bytes(at, message.end()))})),
            Step::WantInput);
  Step step = Step::WantInput;
  for (int i = 0; i < 3 && step == Step::WantInput; ++i) {
    client.take(output.bytes());
    output.consume(output.size());
    client.handshake();
    step = give(client.give());
  }
  EXPECT_EQ(step, Step::Done) << engine->error().what;
  EXPECT_EQ(yes.asked, 1);
}
INSTANTIATE_TEST_SUITE_P(Tls, Elsewhere, testing::Values(1, 4, 50, 150));

TEST_F(Tls13, AShareThatIsNoPointIsRefused) {
  Hello small_order(Bytes(32, 0)), off_the_curve;
  Bytes point(65, 1);
  point[0] = 4;
  *off_the_curve.find(51) = vector_of(join({number(23, 2), vector_of(point, 2)}), 2);
  for (const Hello& hello : {small_order, off_the_curve}) {
    start_over();
    engine.emplace(server.context(), &yes, output);
    EXPECT_EQ(give(peer.say(hello)), Step::Failed);
    EXPECT_EQ(engine->error().reason, Reason::TlsError);
    ASSERT_GE(output.size(), 7u);
    EXPECT_EQ(output.bytes()[0], kAlert) << "in the clear, and no ServerHello before it";
  }
}

}  // namespace
}  // namespace sallyport::test
