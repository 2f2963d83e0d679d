// The records of an established TLS 1.3 connection: the cipher against OpenSSL's AES-GCM, the records RFC 8448 prints,
// and every rule of RFC 8446 against a peer that can break each of them. Whole connections: tls_takeover_test.cc.
#include "proxy/tls/tls_records.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <optional>
#include <string>

#include "tests/proxy/tls/records_fixture.h"

namespace sallyport::test {
namespace {

Bytes from_hex(const std::string& text) {
  Bytes bytes(text.size() / 2);
  std::size_t n = 0;
  EXPECT_EQ(OPENSSL_hexstr2buf_ex(bytes.data(), bytes.size(), &n, text.c_str(), '\0'), 1);
  EXPECT_EQ(n, bytes.size());
  return bytes;
}

class Cipher : public ByKeySize {};
INSTANTIATE_TEST_SUITE_P(Tls, Cipher, testing::Values(16, 32), key_size_name);

// OpenSSL's seal of the same record: RFC 8446, sections 5.2 and 5.3.
Bytes expected_seal(const RecordKey& key, std::uint64_t sequence, const Header& header, Bytes plain,
                    std::uint8_t type) {
  plain.push_back(type);
  return openssl_gcm(key, nonce_of(key, sequence), header, plain);
}

TEST_P(Cipher, SealsAsOpensslDoesAndOpensWhatItSealed) {
  // So near below it that the records carry into every byte of the sequence number.
  constexpr std::uint64_t kFirst = 0x00FFFFFFFFFFFFC0;
  RecordKey sealing, opening;
  set(sealing, kFirst);
  set(opening, kFirst);
  std::optional<RecordCipher> seals, opens;
  std::uint64_t sequence = kFirst;
  for (const std::size_t length : lengths_of_records()) {
    SCOPED_TRACE(length);
    if (length % 7 == 0) {  // a cipher is of several records, and a key of several ciphers
      seals.emplace(sealing);
      opens.emplace(opening);
    }
    const Bytes plain = counting(length, static_cast<std::uint8_t>(length));
    const Header header = header_of(kApplicationData, length + 1 + RecordCipher::kTagBytes);
    const auto type = static_cast<std::uint8_t>(20 + length % 4);
    Bytes sealed(length + 1 + RecordCipher::kTagBytes), opened(length + 1);
    seals->seal(header, plain, type, sealed.data());
    ASSERT_EQ(sealed, expected_seal(sealing, sequence, header, plain, type));
    ASSERT_TRUE(opens->open(header, sealed, opened.data()));
    ASSERT_EQ(opened.back(), type);
    opened.pop_back();
    ASSERT_EQ(opened, plain);
    ++sequence;
    ASSERT_EQ(sealing.sequence, sequence);
    ASSERT_EQ(opening.sequence, sequence);
  }
  EXPECT_GT(sequence, std::uint64_t{0x0100000000000000});
}

TEST_P(Cipher, OpensNothingWithOneBitFlipped) {
  for (const std::size_t length : Lengths{0, 1, 16, 47, 300}) {
    RecordKey key;
    set(key, 5);
    RecordCipher cipher(key);
    const std::size_t sealed_bytes = length + 1 + RecordCipher::kTagBytes;
    const Header header = header_of(kApplicationData, sealed_bytes);
    Bytes record = unsealed(kApplicationData, sealed_bytes, sealed_bytes);
    cipher.seal(header, counting(length), kApplicationData, record.data() + header.size());
    const auto opens = [&](const Bytes& tried, std::uint64_t sequence, Bytes& out) {
      key.sequence = sequence;
      const std::span<const std::uint8_t> all(tried);
      return cipher.open(all.first<RecordCipher::kHeaderBytes>(), all.subspan(header.size()), out.data());
    };
    Bytes out(length + 1);
    ASSERT_TRUE(opens(record, 5, out));
    const Bytes zeros(length + 1, 0);
    for (std::size_t bit = 0; bit < 8 * record.size(); ++bit) {
      Bytes flipped = record;
      flipped[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      out.assign(length + 1, 0xAA);
      ASSERT_FALSE(opens(flipped, 5, out)) << "bit " << bit << " of " << length;
      ASSERT_EQ(out, zeros) << "bit " << bit << " of " << length;
      ASSERT_EQ(key.sequence, 6U);
    }
    EXPECT_FALSE(opens(record, 6, out)) << "a record is good in its place alone";
    EXPECT_EQ(out, zeros);
    EXPECT_TRUE(opens(record, 5, out));
  }
}

// An established connection: TlsRecords, and the client that holds its secrets.
struct Established : EstablishedWith<RecordPeer> {
  explicit Established(std::size_t key_bytes, std::uint64_t written = 0)
      : Established(key_bytes, counting(key_bytes == 16 ? 32 : 48, 1), counting(key_bytes == 16 ? 32 : 48, 101),
                    written) {}
  Established(std::size_t key_bytes, const Bytes& client_secret, const Bytes& server_secret, std::uint64_t written)
      : EstablishedWith(key_bytes, client_secret, server_secret, written) {
    RecordPeer::share(client_secret, server_secret, records.secrets());
    EXPECT_TRUE(records.begin(key_bytes, written));
    EXPECT_TRUE(records.active());
  }
};

const InnerRecord kUpdateNotRequested = {kHandshake, key_update_message(0)};

// The connection of RFC 8448, section 3, whose server has sent one record already, its NewSessionTicket.
class Rfc8448 : public ByKeySize {
 protected:
  static Established established() {
    return Established(16, from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"),
                       from_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"), 1);
  }
};
INSTANTIATE_TEST_SUITE_P(Tls, Rfc8448, testing::Values(16), key_size_name);

TEST_P(Rfc8448, TheClientsRecordsAreOpened) {
  Established at = established();
  const Bytes data = from_hex(
      "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292"
      "a2977014bd1e3deae63aeebb21694915e4");
  EXPECT_EQ(at.take(data), Step::WantInput);
  EXPECT_EQ(at.data, counting(50));
  EXPECT_EQ(at.take(from_hex("1703030013c9872760655666b74d7ff1153efd6db6d0b0e3")), Step::Closed);
  EXPECT_TRUE(at.data.empty());
  EXPECT_TRUE(at.output.empty());
}

TEST_P(Rfc8448, TheServersRecordsAreWritten) {
  Established at = established();
  ASSERT_TRUE(at.records.write(counting(50), at.output));
  at.records.close(at.output);
  const Bytes expected = from_hex(
      "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0"
      "a21c0047c2abf332540dd032e167c2955d"
      "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9");
  EXPECT_EQ(Bytes(at.output.bytes().begin(), at.output.bytes().end()), expected);
}

class Records : public ByKeySize {};
INSTANTIATE_TEST_SUITE_P(Tls, Records, testing::Values(16, 32), key_size_name);

TEST_P(Records, BeginRefusesWhatIsNotWhole) {
  const Bytes secret = counting(GetParam() == 16 ? 32 : 48);
  const auto begins = [](const Bytes& client, const Bytes& server, std::size_t key_bytes) {
    TlsRecords records;
    RecordPeer::share(client, server, records.secrets());
    const bool begun = records.begin(key_bytes, 0);
    EXPECT_EQ(records.active(), begun);
    return begun;
  };
  EXPECT_FALSE(begins({}, {}, GetParam()));
  EXPECT_FALSE(begins(secret, {}, GetParam()));
  EXPECT_FALSE(begins({}, secret, GetParam()));
  EXPECT_FALSE(begins(secret, secret, 24));
  EXPECT_FALSE(begins(secret, secret, 0));
  EXPECT_TRUE(begins(secret, secret, GetParam()));
}

TEST_P(Records, WritesAreCutIntoRecordsOfTheMostPlaintext) {
  Established at(GetParam());
  const Bytes plain = counting(2 * kMostPlain + 7000);
  ASSERT_TRUE(at.records.write(plain, at.output));
  const auto bytes = at.output.bytes();
  EXPECT_EQ(bytes.size(), plain.size() + 3 * 22);
  EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 5), (Bytes{23, 3, 3, 0x40, 0x11}));
  const Sent sent = at.sent();
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].content.size(), kMostPlain);
  EXPECT_EQ(sent[1].content.size(), kMostPlain);
  EXPECT_EQ(in_a_row({sent[0].content, sent[1].content, sent[2].content}), plain);
  ASSERT_TRUE(at.write(""));
  EXPECT_TRUE(at.output.empty()) << "nothing is no record";
}

TEST_P(Records, PaddingIsStripped) {
  Established at(GetParam());
  for (const std::size_t padding : Lengths{0, 1, 15, 16, 255, 4096, 16379}) {
    EXPECT_EQ(at.take(at.peer.seal(kApplicationData, text("word\0"), padding)), Step::WantInput);
    EXPECT_EQ(at.data, text("word"));
  }
  const Bytes zeros(100, 0);
  EXPECT_EQ(at.take(at.peer.seal(kApplicationData, zeros, 3)), Step::WantInput);
  EXPECT_EQ(at.data, zeros) << "zeros in front of the type are content";
  const Bytes most = counting(kMostPlain);
  EXPECT_EQ(at.take(at.peer.seal(kApplicationData, most)), Step::WantInput);
  EXPECT_EQ(at.data, most);
}

TEST_P(Records, ARecordWithoutATypeIsRefused) {
  for (const std::size_t zeros : Lengths{1, 2, 300, 16385}) {
    Established at(GetParam());
    expect_unexpected(at, at.peer.seal_inner(Bytes(zeros, 0)), SSL_R_BAD_RECORD_TYPE);
  }
}

TEST_P(Records, EmptyRecordsAreBounded) {
  Established at(GetParam());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 32; ++i) ASSERT_EQ(at.take(at.data_record("")), Step::WantInput) << i;
    ASSERT_EQ(at.take(at.data_record("x")), Step::WantInput);
    EXPECT_EQ(at.data, text("x"));
  }
  for (std::size_t i = 0; i < 32; ++i) {
    ASSERT_EQ(at.take(at.peer.seal(kApplicationData, {}, i)), Step::WantInput) << i;
  }
  expect_unexpected(at, at.data_record(""), SSL_R_RECORD_TOO_SMALL);
}

TEST_P(Records, TooMuchPlaintextIsAnOverflow) {
  const std::pair<std::size_t, std::size_t> rows[] = {
      {kMostPlain + 1, 0}, {kMostPlain, 1}, {1, kMostPlain}, {TlsRecords::kMostOpened - 1, 0}};
  for (const auto& [content, padding] : rows) {
    Established at(GetParam());
    expect_refused(at, at.peer.seal(kApplicationData, counting(content), padding), SSL_AD_RECORD_OVERFLOW,
                   SSL_R_DATA_LENGTH_TOO_LONG);
  }
}

TEST_P(Records, TooLongARecordIsRefusedByItsHeader) {
  for (const std::size_t length : {kMostSealed + 1, std::size_t{0xFFFF}}) {
    Established at(GetParam());
    const Bytes header = unsealed(kApplicationData, length, 0);
    EXPECT_EQ(TlsRecords::missing(TlsVersion::V13, header), 0U);
    expect_refused(at, header, SSL_AD_RECORD_OVERFLOW, SSL_R_ENCRYPTED_LENGTH_TOO_LONG);
  }
  Established at(GetParam());
  const Bytes longest = unsealed(kApplicationData, kMostSealed, 0);
  EXPECT_EQ(at.take(longest), Step::WantInput);
  EXPECT_EQ(TlsRecords::missing(TlsVersion::V13, longest), kMostSealed);
  EXPECT_TRUE(at.output.empty());
}

TEST_P(Records, TooShortARecordHasNoTag) {
  for (std::size_t length = 0; length <= 16; ++length) {
    Established at(GetParam());
    expect_refused(at, unsealed(kApplicationData, length, length), SSL_AD_BAD_RECORD_MAC, SSL_R_LENGTH_TOO_SHORT);
  }
  Established at(GetParam());
  expect_refused(at, unsealed(kApplicationData, 17, 17), SSL_AD_BAD_RECORD_MAC,
                 SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}

TEST_P(Records, EveryRecordLooksLikeApplicationData) {
  for (const std::uint8_t type : {std::uint8_t{0}, kChangeCipherSpec, kAlert, kHandshake, std::uint8_t{24}}) {
    Established plain(GetParam()), sealed(GetParam());
    expect_unexpected(plain, unsealed(type, 2, 0), SSL_R_BAD_RECORD_TYPE);
    expect_unexpected(sealed, sealed.peer.seal(kApplicationData, text("x"), 0, {.type = type}), SSL_R_BAD_RECORD_TYPE);
  }
  Established at(GetParam());
  EXPECT_EQ(at.take(at.peer.seal(kApplicationData, text("old"), 0, {.version = {3, 1}})), Step::WantInput);
  EXPECT_EQ(at.data, text("old")) << "RFC 8446, section 5.1: the version in the header says nothing";
}

TEST_P(Records, AFlippedBitEndsTheConnection) {
  constexpr std::size_t kBytes = 5 + 7 + 1 + 16;
  for (std::size_t bit = 0; bit < 8 * kBytes; ++bit) {
    // The type and the length in the header are other tests'.
    if (const std::size_t byte = bit / 8; byte == 0 || byte == 3 || byte == 4) continue;
    Established at(GetParam());
    Bytes record = at.data_record("payload");
    ASSERT_EQ(record.size(), kBytes);
    record[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    SCOPED_TRACE(bit);
    expect_refused(at, record, SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
  }
}

TEST_P(Records, ARecordCountsOnceAndInItsOrder) {
  Established twice(GetParam()), swapped(GetParam());
  const Bytes record = twice.data_record("once");
  EXPECT_EQ(twice.take(record), Step::WantInput);
  expect_refused(twice, record, SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
  swapped.data_record("first");
  expect_refused(swapped, swapped.data_record("second"), SSL_AD_BAD_RECORD_MAC,
                 SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}

TEST_P(Records, OtherInnerTypesAreRefused) {
  for (const int type : {1, 20, 24, 99, 255}) {
    Established at(GetParam());
    expect_unexpected(at, at.peer.seal(static_cast<std::uint8_t>(type), Bytes{1}), SSL_R_UNEXPECTED_RECORD);
  }
}

TEST_P(Records, ACloseNotifyIsAnOrderlyEndOfOneDirection) {
  for (const int level : {SSL3_AL_WARNING, SSL3_AL_FATAL}) {  // RFC 8446, section 6: the level says nothing
    Established at(GetParam());
    EXPECT_EQ(at.take(in_a_row({at.data_record("last "), at.data_record("words"), at.alert_record(level, 0)})),
              Step::Closed);
    EXPECT_EQ(at.data, text("last words"));
    EXPECT_TRUE(at.pending.empty());
    EXPECT_EQ(at.take(at.data_record("too late")), Step::Closed);
    EXPECT_TRUE(at.data.empty());
    EXPECT_EQ(at.take({}), Step::Closed);
    EXPECT_EQ(at.records.failure(), 0);
    EXPECT_TRUE(at.output.empty()) << "when to close the other direction is not decided here";
    EXPECT_TRUE(at.write("an answer"));
    at.records.close(at.output);
    EXPECT_EQ(at.sent(), (Sent{data_of("an answer"), kCloseNotify}));
  }
}

TEST_P(Records, UserCanceledIsIgnoredForAWhile) {
  Established at(GetParam());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) ASSERT_EQ(at.take(at.alert_record(SSL3_AL_WARNING, 90)), Step::WantInput);
    ASSERT_EQ(at.take(at.data_record("x")), Step::WantInput);
    EXPECT_EQ(at.data, text("x"));
  }
  for (int i = 0; i < 4; ++i) ASSERT_EQ(at.take(at.alert_record(SSL3_AL_WARNING, 90)), Step::WantInput);
  expect_unexpected(at, at.alert_record(SSL3_AL_WARNING, 90), SSL_R_TOO_MANY_WARN_ALERTS);
}

TEST_P(Records, AnotherAlertIsFatalAndNotAnswered) {
  for (const int level : {SSL3_AL_WARNING, SSL3_AL_FATAL}) {
    for (const int description : {SSL_AD_UNEXPECTED_MESSAGE, SSL_AD_BAD_RECORD_MAC, SSL_AD_INTERNAL_ERROR, 100, 255}) {
      Established at(GetParam());
      const Bytes both = in_a_row({at.data_record("before"), at.alert_record(level, description)});
      EXPECT_EQ(at.take(both), Step::Failed);
      EXPECT_EQ(at.data, text("before"));
      EXPECT_EQ(at.records.failure(), SSL_AD_REASON_OFFSET + description);
      EXPECT_TRUE(at.output.empty());
      expect_over(at);
    }
  }
}

TEST_P(Records, AnAlertHasTwoBytes) {
  for (const Bytes& content : {Bytes{2}, Bytes{1, 0, 0}, Bytes{1, 0, 1, 0}}) {
    Established at(GetParam());
    expect_refused(at, at.peer.seal(kAlert, content), SSL_AD_DECODE_ERROR, SSL_R_BAD_LENGTH);
  }
  Established at(GetParam());
  expect_unexpected(at, at.peer.seal(kAlert, Bytes{}), SSL_R_BAD_LENGTH);
}

TEST_P(Records, AKeyUpdateThatAsksForNothingRekeysReadingOnly) {
  Established at(GetParam()), unmoved(GetParam());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(at.take(in_a_row({at.peer.key_update(0), at.data_record("next key")})), Step::WantInput);
    EXPECT_EQ(at.data, text("next key"));
    EXPECT_TRUE(at.output.empty());
    EXPECT_TRUE(at.write("same key"));
    EXPECT_EQ(at.sent(), (Sent{data_of("same key")}));
  }
  EXPECT_EQ(unmoved.take(unmoved.peer.seal(kHandshake, key_update_message(0))), Step::WantInput);
  expect_refused(unmoved, unmoved.data_record("old key"), SSL_AD_BAD_RECORD_MAC,
                 SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}

TEST_P(Records, AKeyUpdateThatAsksIsAnsweredOnce) {
  Established at(GetParam());
  for (int i = 0; i < 3; ++i) {
    // The peer's open() goes on with the next key behind a KeyUpdate, so what opens there is sealed with it.
    EXPECT_EQ(at.take(at.peer.key_update(1)), Step::WantInput);
    EXPECT_EQ(at.sent(), (Sent{kUpdateNotRequested}));
    EXPECT_EQ(at.take(at.data_record("ping")), Step::WantInput);
    EXPECT_EQ(at.data, text("ping"));
    EXPECT_TRUE(at.write("pong"));
    EXPECT_EQ(at.sent(), (Sent{data_of("pong")}));
  }
}

TEST_P(Records, TheAnswerWaitsForWhatIsBeingSent) {
  Established at(GetParam());
  EXPECT_TRUE(at.write("before"));
  const std::size_t before = at.output.size();
  EXPECT_EQ(at.take(in_a_row({at.peer.key_update(1), at.peer.key_update(1)})), Step::WantInput);
  EXPECT_EQ(at.output.size(), before);
  EXPECT_TRUE(at.write("after"));
  EXPECT_TRUE(at.write("later"));
  EXPECT_EQ(at.sent(), (Sent{data_of("before"), kUpdateNotRequested, data_of("after"), data_of("later")}));
  EXPECT_EQ(at.take(in_a_row({at.peer.key_update(1), at.peer.key_update(0), at.peer.key_update(1)})), Step::WantInput);
  EXPECT_TRUE(at.write("and"));
  EXPECT_EQ(at.sent(), (Sent{kUpdateNotRequested, kUpdateNotRequested, data_of("and")}))
      << "the first found nothing to wait for, the other waited for its answer";
  EXPECT_TRUE(at.write("once more"));
  EXPECT_EQ(at.take(in_a_row({at.peer.key_update(1), at.peer.key_update(0)})), Step::WantInput);
  EXPECT_TRUE(at.write("end"));
  EXPECT_EQ(at.sent(), (Sent{data_of("once more"), kUpdateNotRequested, data_of("end")}))
      << "who asks for nothing does not take back what was asked";
}

TEST_P(Records, AKeyUpdateGetsNoAnswerBehindACloseNotify) {
  Established at(GetParam());
  at.records.close(at.output);
  EXPECT_EQ(at.sent(), (Sent{kCloseNotify}));
  EXPECT_EQ(at.take(in_a_row({at.peer.key_update(1), at.data_record("still read")})), Step::WantInput);
  EXPECT_EQ(at.data, text("still read"));
  EXPECT_TRUE(at.output.empty());
}

TEST_P(Records, AKeyUpdateMayBeTorn) {
  const Bytes message = key_update_message(1);
  const std::span<const std::uint8_t> all(message);
  for (std::size_t cut = 1; cut < message.size(); ++cut) {
    Established at(GetParam());
    EXPECT_EQ(at.take(at.peer.seal(kHandshake, all.first(cut))), Step::WantInput);
    EXPECT_TRUE(at.output.empty());
    EXPECT_EQ(at.take(at.peer.seal(kHandshake, all.subspan(cut), 9)), Step::WantInput);
    at.peer.rekey_client();
    EXPECT_EQ(at.take(at.data_record("x")), Step::WantInput);
    EXPECT_EQ(at.data, text("x"));
    EXPECT_EQ(at.sent(), (Sent{kUpdateNotRequested}));
  }
  Established at(GetParam());
  for (int round = 0; round < 2; ++round) {
    for (const std::uint8_t byte : message) {
      EXPECT_EQ(at.take(at.peer.seal(kHandshake, Bytes{byte})), Step::WantInput);
    }
    at.peer.rekey_client();
    EXPECT_EQ(at.sent(), (Sent{kUpdateNotRequested}));
  }
}

TEST_P(Records, NothingComesBetweenTheParts) {
  const Bytes message = key_update_message(0);
  for (std::size_t cut = 1; cut < message.size(); ++cut) {
    for (const auto& [type, content] : {InnerRecord{kApplicationData, text("data")}, InnerRecord{kApplicationData, {}},
                                        kCloseNotify, InnerRecord{99, {1}}}) {
      Established at(GetParam());
      EXPECT_EQ(at.take(at.peer.seal(kHandshake, std::span(message).first(cut))), Step::WantInput);
      expect_unexpected(at, at.peer.seal(type, content), SSL_R_UNEXPECTED_MESSAGE);
    }
  }
}

TEST_P(Records, AKeyUpdateAsksOrDoesNot) {
  for (const int value : {2, 3, 255}) {
    Established at(GetParam());
    expect_refused(at, at.peer.seal(kHandshake, key_update_message(static_cast<std::uint8_t>(value))),
                   SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_KEY_UPDATE);
  }
}

TEST_P(Records, AKeyUpdateHasOneByte) {
  for (const Bytes& message :
       {Bytes{kKeyUpdateMessage, 0, 0, 0}, Bytes{kKeyUpdateMessage, 0, 0, 2, 0}, Bytes{kKeyUpdateMessage, 1},
        Bytes{kKeyUpdateMessage, 0, 1}, counting(1000, kKeyUpdateMessage)}) {
    SCOPED_TRACE(testing::PrintToString(message));
    Established at(GetParam());
    expect_refused(at, at.peer.seal(kHandshake, message), SSL_AD_DECODE_ERROR, SSL_R_BAD_KEY_UPDATE);
  }
}

TEST_P(Records, OtherHandshakeMessagesAreRefused) {
  const Bytes update = key_update_message(0);
  const std::vector<Bytes> messages = {{},                      // section 5.1: no empty fragments
                                       {SSL3_MT_CLIENT_HELLO},  // its first byte suffices
                                       {SSL3_MT_NEWSESSION_TICKET, 0, 0, 1, 0},
                                       {SSL3_MT_CERTIFICATE_REQUEST, 0, 0, 0},
                                       {SSL3_MT_FINISHED, 0, 0, 32}};
  for (const Bytes& message : messages) {
    SCOPED_TRACE(testing::PrintToString(message));
    Established at(GetParam());
    expect_unexpected(at, at.peer.seal(kHandshake, message), SSL_R_UNEXPECTED_MESSAGE);
  }
  // Section 5.1: behind a KeyUpdate there is another key.
  for (const Bytes& more : {update, Bytes{0}, Bytes(1000)}) {
    Established at(GetParam());
    expect_unexpected(at, at.peer.seal(kHandshake, in_a_row({update, more})), SSL_R_NOT_ON_RECORD_BOUNDARY);
  }
  Established overhanging(GetParam());
  EXPECT_EQ(overhanging.take(overhanging.peer.seal(kHandshake, Bytes{kKeyUpdateMessage, 0, 0})), Step::WantInput);
  expect_unexpected(overhanging, overhanging.peer.seal(kHandshake, Bytes{1, 0, 0}), SSL_R_NOT_ON_RECORD_BOUNDARY);
  Established nothing(GetParam());
  EXPECT_EQ(nothing.take(nothing.peer.seal(kHandshake, Bytes{kKeyUpdateMessage})), Step::WantInput);
  expect_unexpected(nothing, nothing.peer.seal(kHandshake, {}), SSL_R_UNEXPECTED_MESSAGE);
}

TEST_P(Records, KeyUpdatesAreBounded) {
  Established at(GetParam());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(at.take(in_a_row({at.peer.key_update(0), at.data_record("x")})), Step::WantInput) << i;
    EXPECT_EQ(at.data, text("x"));
  }
  for (int i = 0; i < 32; ++i) {
    ASSERT_EQ(at.take(at.peer.key_update(0)), Step::WantInput) << i;
    ASSERT_EQ(at.take(i % 8 == 0 ? at.data_record("") : Bytes{}), Step::WantInput) << "nothing is no data";
  }
  expect_unexpected(at, at.peer.key_update(0), SSL_R_TOO_MANY_KEY_UPDATES);
}

TEST_P(Records, AKeySealsSoManyRecordsAndNoMore) {
  constexpr std::uint64_t kMostOfOneKey = std::uint64_t{1} << 24;
  Established at(GetParam(), kMostOfOneKey - 1);
  EXPECT_TRUE(at.write("its last"));
  EXPECT_EQ(at.sent(), (Sent{data_of("its last")}));
  EXPECT_TRUE(at.write("next key's"));
  EXPECT_TRUE(at.write("goes on"));
  EXPECT_EQ(at.sent(), (Sent{kUpdateNotRequested, data_of("next key's"), data_of("goes on")}));
  // The same in the middle of one write; and what the client asked for is answered by the same KeyUpdate.
  for (const bool asked : {false, true}) {
    Established amid(GetParam(), kMostOfOneKey - 1);
    if (asked) {
      EXPECT_TRUE(amid.write("waits"));
      EXPECT_EQ(amid.take(amid.peer.key_update(1)), Step::WantInput);
    }
    const Bytes plain = counting(kMostPlain + 1);
    EXPECT_TRUE(amid.records.write(plain, amid.output));
    const InnerRecord first = {kApplicationData, counting(kMostPlain)}, rest = {kApplicationData, {0}};
    const Sent expected =
        asked ? Sent{data_of("waits"), kUpdateNotRequested, first, rest} : Sent{first, kUpdateNotRequested, rest};
    EXPECT_EQ(amid.sent(), expected);
  }
}

TEST_P(Records, CloseIsSaidOnceAndEndsWriting) {
  Established at(GetParam());
  EXPECT_TRUE(at.write("bye"));
  at.records.close(at.output);
  at.records.close(at.output);
  EXPECT_FALSE(at.write("x"));
  EXPECT_FALSE(at.write(""));
  EXPECT_EQ(at.sent(), (Sent{data_of("bye"), kCloseNotify}));
  EXPECT_EQ(at.take(at.data_record("the other direction")), Step::WantInput);
  EXPECT_EQ(at.data, text("the other direction"));
  EXPECT_EQ(at.take(unsealed(kAlert, 2, 2)), Step::Failed);
  EXPECT_EQ(at.records.failure(), SSL_R_BAD_RECORD_TYPE);
  EXPECT_TRUE(at.output.empty()) << "a close_notify is the last that is sent";
  expect_over(at);
}

TEST_P(Records, ATornRecordIsLeftUntilItIsWhole) {
  Established at(GetParam());
  for (const std::size_t length : Lengths{1, 30, 700}) {
    const Bytes plain = counting(length), record = at.peer.seal(kApplicationData, plain, 3);
    for (std::size_t cut = 0; cut < record.size(); ++cut) {
      const std::span<const std::uint8_t> torn = std::span(record).first(cut);
      std::span<const std::uint8_t> input = torn;
      ASSERT_EQ(at.read(input), Step::WantInput) << cut;
      ASSERT_EQ(input.data(), torn.data());
      ASSERT_EQ(input.size(), cut);
      ASSERT_EQ(TlsRecords::missing(TlsVersion::V13, torn), cut < 5 ? 5 - cut : record.size() - cut) << cut;
    }
    EXPECT_EQ(TlsRecords::missing(TlsVersion::V13, record), 0U);
    EXPECT_EQ(at.take(record), Step::WantInput);
    EXPECT_EQ(at.data, plain);
  }
  EXPECT_TRUE(at.output.empty());
}

TEST_P(Records, AStreamMayBeCutAnywhere) {
  const auto stream_for = [](Established& at) {
    return in_a_row({at.data_record("one"), at.peer.key_update(1), at.data_record("two"),
                     at.alert_record(SSL3_AL_WARNING, 90), at.data_record("three")});
  };
  Established first(GetParam());
  const std::size_t length = stream_for(first).size();
  for (std::size_t cut = 0; cut <= length; ++cut) {
    Established at(GetParam());
    const Bytes stream = stream_for(at);
    const auto middle = stream.begin() + static_cast<std::ptrdiff_t>(cut);
    ASSERT_EQ(at.take({stream.begin(), middle}), Step::WantInput) << cut;
    const Bytes before = at.data;
    ASSERT_EQ(at.take({middle, stream.end()}), Step::WantInput) << cut;
    EXPECT_EQ(in_a_row({before, at.data}), text("onetwothree")) << cut;
    EXPECT_EQ(at.sent(), (Sent{kUpdateNotRequested})) << cut;
  }
}

TEST_P(Records, RecordsAreReadOneAfterTheOther) {
  Established at(GetParam());
  std::vector<Bytes> records;
  for (std::size_t i = 1; i <= 10; ++i) records.push_back(at.peer.seal(kApplicationData, counting(i * i), i));
  const Bytes stream = in_a_row(records);
  std::span<const std::uint8_t> input(stream);
  for (std::size_t i = 1; i <= records.size(); ++i) {
    const std::size_t before = input.size();
    ASSERT_EQ(at.read(input), Step::Done);
    EXPECT_EQ(before - input.size(), records[i - 1].size());
    at.plain.resize(at.n);
    EXPECT_EQ(at.plain, counting(i * i));
  }
  EXPECT_TRUE(input.empty());
  EXPECT_EQ(at.read(input), Step::WantInput);
}

}  // namespace
}  // namespace sallyport::test
