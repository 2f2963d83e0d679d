// The records of an established TLS 1.2 connection: the cipher against OpenSSL's AES-GCM, the key schedule against
// OpenSSL's PRF, and every rule of RFC 5246 against a peer that can break each of them. TLS 1.3: tls_records_test.cc;
// whole connections: tls_takeover_test.cc.
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "proxy/tls/tls12_key_schedule.h"
#include "proxy/tls/tls_records.h"
#include "tests/proxy/tls/records_fixture.h"

namespace sallyport::test {
namespace {

class Cipher12 : public ByKeySize {
 protected:
  void set(RecordKey& key, std::uint64_t sequence) const {
    ByKeySize::set(key, sequence);
    key.version = TlsVersion::V12;
  }
};
INSTANTIATE_TEST_SUITE_P(Tls, Cipher12, testing::Values(16, 32), key_size_name);

// OpenSSL's seal of the same record: RFC 5246, section 6.2.3.3, and RFC 5288, section 3.
Bytes expected_seal(const RecordKey& key, const Nonce& nonce, std::uint64_t sequence, std::uint8_t type,
                    const Bytes& plain) {
  Bytes bound;
  for (int shift = 56; shift >= 0; shift -= 8) bound.push_back(static_cast<std::uint8_t>(sequence >> shift));
  const Header header = header_of(type, plain.size());
  bound.insert(bound.end(), header.begin(), header.end());
  const Bytes explicit_part(nonce.begin() + 4, nonce.end());
  return in_a_row({explicit_part, openssl_gcm(key, nonce, bound, plain)});
}

TEST_P(Cipher12, SealsAsOpensslDoesAndOpensWhatItSealed) {
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
    const auto type = static_cast<std::uint8_t>(21 + length % 3);
    Bytes sealed(length + 24), opened(length);
    seals->seal12(type, plain, sealed.data());
    ASSERT_EQ(sealed, expected_seal(sealing, nonce_of(sealing, sequence), sequence, type, plain));
    ASSERT_TRUE(opens->open12(type, sealed, opened.data()));
    ASSERT_EQ(opened, plain);
    ++sequence;
    ASSERT_EQ(sealing.sequence, sequence);
    ASSERT_EQ(opening.sequence, sequence);
  }
  EXPECT_GT(sequence, std::uint64_t{0x0100000000000000});
}

TEST_P(Cipher12, OpensNothingWithOneBitChanged) {
  for (const std::size_t length : Lengths{0, 1, 16, 47, 300}) {
    RecordKey key;
    set(key, 5);
    RecordCipher cipher(key);
    Bytes sealed(length + 24), out(length);
    cipher.seal12(kApplicationData, counting(length), sealed.data());
    const auto opens = [&](std::uint8_t type, const Bytes& tried, std::uint64_t sequence) {
      key.sequence = sequence;
      out.assign(length, 0xAA);
      return cipher.open12(type, tried, out.data());
    };
    ASSERT_TRUE(opens(kApplicationData, sealed, 5));
    const Bytes zeros(length, 0);
    for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {  // the explicit nonce, what is encrypted, the tag
      Bytes flipped = sealed;
      flipped[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      ASSERT_FALSE(opens(kApplicationData, flipped, 5)) << "bit " << bit << " of " << length;
      ASSERT_EQ(out, zeros) << "bit " << bit << " of " << length;
      ASSERT_EQ(key.sequence, 6U);
    }
    for (int bit = 0; bit < 8; ++bit) {
      EXPECT_FALSE(opens(static_cast<std::uint8_t>(kApplicationData ^ 1 << bit), sealed, 5)) << "type, bit " << bit;
      EXPECT_EQ(out, zeros);
    }
    for (int bit = 0; bit < 64; ++bit) {
      EXPECT_FALSE(opens(kApplicationData, sealed, 5 ^ std::uint64_t{1} << bit)) << "sequence, bit " << bit;
      EXPECT_EQ(out, zeros);
    }
    EXPECT_TRUE(opens(kApplicationData, sealed, 5));
  }
}

TEST_P(Cipher12, ThePeersExplicitNonceMayBeAnything) {
  RecordKey key;
  set(key, 7);
  RecordCipher cipher(key);
  const Bytes plain = text("whatever");
  for (const int filled : {0, 0, 0xFF, 0x5A, 0x5A}) {  // the same again, too: that is the sender's business
    Nonce nonce = key.iv;
    std::fill(nonce.begin() + 4, nonce.end(), static_cast<std::uint8_t>(filled));
    const Bytes sealed = expected_seal(key, nonce, key.sequence, kApplicationData, plain);
    Bytes opened(plain.size());
    EXPECT_TRUE(cipher.open12(kApplicationData, sealed, opened.data())) << filled;
    EXPECT_EQ(opened, plain);
  }
}

class KeySchedule12 : public ByKeySize {
 protected:
  KeySchedule12() {
    agreed_.hash = kdf_hash(GetParam() == 16 ? "SHA2-256" : "SHA2-384");
    std::iota(agreed_.master.begin(), agreed_.master.end(), std::uint8_t{9});
    agreed_.client_random.fill(0xC1);
    agreed_.server_random.fill(0x5E);
  }
  // OpenSSL's, RFC 5246, section 5.
  Bytes openssl_prf(const Bytes& secret, const std::vector<Bytes>& seeds, std::size_t length) const {
    using KdfPtr = std::unique_ptr<EVP_KDF, OpensslFree<&EVP_KDF_free>>;
    using ContextPtr = std::unique_ptr<EVP_KDF_CTX, OpensslFree<&EVP_KDF_CTX_free>>;
    const KdfPtr kdf(EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_TLS1_PRF, nullptr));
    const ContextPtr context(EVP_KDF_CTX_new(kdf.get()));
    std::string digest = GetParam() == 16 ? "SHA256" : "SHA384";
    Bytes key = secret, seed = in_a_row(seeds), out(length);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
                                 OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, key.data(), key.size()),
                                 OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed.data(), seed.size()),
                                 OSSL_PARAM_construct_end()};
    EXPECT_EQ(EVP_KDF_derive(context.get(), out.data(), out.size(), params), 1);
    return out;
  }
  Bytes master() const { return {agreed_.master.begin(), agreed_.master.end()}; }

  Tls12Agreement agreed_;
};
INSTANTIATE_TEST_SUITE_P(Tls, KeySchedule12, testing::Values(16, 32), key_size_name);

TEST_P(KeySchedule12, DerivesTheKeysThatOpensslDoes) {
  const Bytes block = openssl_prf(master(), {text("key expansion"), Bytes(32, 0x5E), Bytes(32, 0xC1)},
                                  2 * (GetParam() + RecordKey::kSaltBytes));
  RecordKey client, server;
  for (RecordKey* key : {&client, &server}) {  // nothing of what was there before stays
    key->iv.fill(0xEE);
    key->sequence = 99;
  }
  ASSERT_TRUE(derive_record_keys(agreed_, GetParam(), client, server));
  // Section 6.3: the client's key, the server's, the client's salt, the server's.
  auto at = block.begin();
  const auto next = [&](std::size_t n) { return std::exchange(at, at + static_cast<std::ptrdiff_t>(n)); };
  for (const RecordKey* key : {&client, &server}) {
    const auto begin = next(GetParam());
    EXPECT_TRUE(std::equal(begin, at, key->key.begin()));
    EXPECT_EQ(key->key_bytes, GetParam());
    EXPECT_EQ(key->version, TlsVersion::V12);
    EXPECT_EQ(key->sequence, 0U);
  }
  for (const RecordKey* key : {&client, &server}) {
    const auto begin = next(RecordKey::kSaltBytes);
    EXPECT_TRUE(std::equal(begin, at, key->iv.begin()));
    EXPECT_TRUE(std::all_of(key->iv.begin() + RecordKey::kSaltBytes, key->iv.end(), [](int byte) { return byte == 0; }))
        << "explicit nonces begin at zero";
  }
  EXPECT_EQ(at, block.end());
}

TEST_P(KeySchedule12, DerivesTheMasterSecretThatOpensslDoes) {
  const Bytes session_hash = counting(GetParam() == 16 ? 32 : 48, 77);
  for (const std::size_t length : Lengths{32, 48}) {  // X25519's and P-256's, P-384's
    const Bytes premaster = counting(length, 200);
    Tls12MasterSecret derived;
    ASSERT_TRUE(derive_master(*agreed_.hash, premaster, session_hash, derived));
    EXPECT_EQ(Bytes(derived.begin(), derived.end()),
              openssl_prf(premaster, {text("extended master secret"), session_hash}, 48));
  }
}

TEST_P(KeySchedule12, DerivesTheVerifyDataThatOpensslDoes) {
  const Bytes transcript_hash = counting(GetParam() == 16 ? 32 : 48, 55);
  for (const std::string_view label : {"client finished", "server finished"}) {
    VerifyData derived;
    ASSERT_TRUE(derive_verify_data(agreed_, label == "client finished" ? kClientFinished : kServerFinished,
                                   transcript_hash, derived));
    EXPECT_EQ(Bytes(derived.begin(), derived.end()), openssl_prf(master(), {text(label), transcript_hash}, 12));
  }
}

// An established connection: TlsRecords, and the client that holds its keys.
struct Established : EstablishedWith<RecordPeer12> {
  template <typename... Sequences>
  explicit Established(std::size_t key_bytes, Sequences... sequences) : EstablishedWith(key_bytes, sequences...) {
    RecordKey client, server;
    peer.share(client, server);
    EXPECT_TRUE(records.begin(client, server));
    EXPECT_TRUE(records.active());
    EXPECT_EQ(records.version(), TlsVersion::V12);
    for (const RecordKey* key : {&client, &server}) EXPECT_EQ(key->key, RecordKey().key) << "a key has one place";
  }
  Bytes hello_record(std::size_t bytes = 0) { return peer.seal(kHandshake, hello_of(bytes)); }
  static Bytes hello_of(std::size_t bytes) {
    const Bytes header = {SSL3_MT_CLIENT_HELLO, 0, static_cast<std::uint8_t>(bytes >> 8),
                          static_cast<std::uint8_t>(bytes)};
    return in_a_row({header, counting(bytes)});
  }
};

const InnerRecord kNoRenegotiation = {kAlert, {SSL3_AL_WARNING, SSL_AD_NO_RENEGOTIATION}};

class Records12 : public ByKeySize {};
INSTANTIATE_TEST_SUITE_P(Tls, Records12, testing::Values(16, 32), key_size_name);

TEST_P(Records12, DataGoesBothWays) {
  Established at(GetParam());
  for (const std::size_t length : Lengths{1, 30, 700, kMostPlain}) {
    const Bytes plain = counting(length, 3);
    EXPECT_EQ(at.take(at.peer.seal(kApplicationData, plain)), Step::WantInput);
    EXPECT_EQ(at.data, plain);
    EXPECT_TRUE(at.records.write(plain, at.output));
    EXPECT_EQ(at.sent(), (Sent{{kApplicationData, plain}}));
  }
  const Bytes zeros(100, 0);
  EXPECT_EQ(at.take(at.peer.seal(kApplicationData, zeros)), Step::WantInput);
  EXPECT_EQ(at.data, zeros) << "there is no padding";
}

TEST_P(Records12, SequencesGoOnWhereTheyWere) {
  Established at(GetParam(), std::uint64_t{0x0102030405060708}, std::uint64_t{3});
  EXPECT_EQ(at.take(at.data_record("ping")), Step::WantInput);
  EXPECT_EQ(at.data, text("ping"));
  EXPECT_TRUE(at.write("pong"));
  EXPECT_EQ(at.sent(), (Sent{data_of("pong")}));
}

TEST_P(Records12, WritesAreCutIntoRecordsOfTheMostPlaintext) {
  Established at(GetParam());
  const Bytes plain = counting(2 * kMostPlain + 7000);
  ASSERT_TRUE(at.records.write(plain, at.output));
  const auto bytes = at.output.bytes();
  EXPECT_EQ(bytes.size(), plain.size() + 3 * 29);
  EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 5), (Bytes{23, 3, 3, 0x40, 0x18}));
  const Sent sent = at.sent();
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].content.size(), kMostPlain);
  EXPECT_EQ(sent[1].content.size(), kMostPlain);
  EXPECT_EQ(in_a_row({sent[0].content, sent[1].content, sent[2].content}), plain);
  ASSERT_TRUE(at.write(""));
  EXPECT_TRUE(at.output.empty()) << "nothing is no record";
}

// RFC 5288, section 3: twice the same would lay the key open.
TEST_P(Records12, NoExplicitNonceComesTwice) {
  Established at(GetParam());
  EXPECT_EQ(at.take(at.hello_record()), Step::WantInput);
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(at.write("x"));
  at.records.close(at.output);
  std::set<Bytes> nonces;
  std::size_t records = 0;
  for (auto left = at.output.bytes(); !left.empty(); ++records) {
    const auto nonce = left.subspan(5, 8);
    nonces.emplace(nonce.begin(), nonce.end());
    left = left.subspan(5 + (std::size_t{left[3]} << 8 | left[4]));
  }
  EXPECT_EQ(records, 302U);
  EXPECT_EQ(nonces.size(), records);
}

TEST_P(Records12, ThePeerChoosesItsExplicitNonces) {
  Established at(GetParam());
  for (const std::uint64_t nonce : {std::uint64_t{0}, UINT64_MAX, std::uint64_t{0}, std::uint64_t{1} << 63}) {
    at.peer.choose_nonce(nonce);
    const Bytes record = at.data_record("x");
    for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(record[5 + i], static_cast<std::uint8_t>(nonce >> (56 - 8 * i)));
    EXPECT_EQ(at.take(record), Step::WantInput);
    EXPECT_EQ(at.data, text("x"));
  }
}

TEST_P(Records12, ATornRecordIsLeftUntilItIsWhole) {
  Established at(GetParam());
  for (const std::size_t length : Lengths{1, 30, 700}) {
    const Bytes plain = counting(length), record = at.peer.seal(kApplicationData, plain);
    for (std::size_t cut = 0; cut < record.size(); ++cut) {
      const std::span<const std::uint8_t> torn = std::span(record).first(cut);
      std::span<const std::uint8_t> input = torn;
      ASSERT_EQ(at.read(input), Step::WantInput) << cut;
      ASSERT_EQ(input.data(), torn.data());
      ASSERT_EQ(input.size(), cut);
      ASSERT_EQ(at.records.missing(torn), cut < 5 ? 5 - cut : record.size() - cut) << cut;
    }
    EXPECT_EQ(at.records.missing(record), 0U);
    EXPECT_EQ(at.take(record), Step::WantInput);
    EXPECT_EQ(at.data, plain);
  }
  EXPECT_TRUE(at.output.empty());
}

TEST_P(Records12, AStreamMayBeCutAnywhere) {
  const auto stream_for = [](Established& at) {
    return in_a_row({at.data_record("one"), at.hello_record(20), at.data_record("two"),
                     at.alert_record(SSL3_AL_WARNING, 90), at.data_record(""), at.data_record("three")});
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
    EXPECT_EQ(at.sent(), (Sent{kNoRenegotiation})) << cut;
  }
}

TEST_P(Records12, EmptyRecordsAreBounded) {
  Established at(GetParam());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 32; ++i) ASSERT_EQ(at.take(at.data_record("")), Step::WantInput) << i;
    ASSERT_EQ(at.take(at.data_record("x")), Step::WantInput);
    EXPECT_EQ(at.data, text("x"));
  }
  for (int i = 0; i < 32; ++i) ASSERT_EQ(at.take(at.data_record("")), Step::WantInput) << i;
  expect_unexpected(at, at.data_record(""), SSL_R_RECORD_TOO_SMALL);
}

TEST_P(Records12, TooMuchPlaintextIsAnOverflow) {
  for (const std::uint8_t type : {kAlert, kHandshake, kApplicationData}) {
    for (const std::size_t length : Lengths{kMostPlain + 1, kMostSealed - 24}) {
      Established at(GetParam());
      expect_refused(at, at.peer.seal(type, counting(length)), SSL_AD_RECORD_OVERFLOW, SSL_R_DATA_LENGTH_TOO_LONG);
    }
  }
}

TEST_P(Records12, TooLongARecordIsRefusedByItsHeader) {
  for (const std::uint8_t type : {kAlert, kHandshake, kApplicationData}) {
    for (const std::size_t length : {kMostSealed + 1, std::size_t{0xFFFF}}) {
      Established at(GetParam());
      const Bytes header = unsealed(type, length, 0);
      EXPECT_EQ(at.records.missing(header), 0U);
      expect_refused(at, header, SSL_AD_RECORD_OVERFLOW, SSL_R_ENCRYPTED_LENGTH_TOO_LONG);
    }
    Established at(GetParam());
    const Bytes longest = unsealed(type, kMostSealed, 0);
    EXPECT_EQ(at.take(longest), Step::WantInput);
    EXPECT_EQ(at.records.missing(longest), kMostSealed);
    EXPECT_TRUE(at.output.empty());
  }
}

TEST_P(Records12, TooShortARecordHasNoNonceAndTag) {
  for (std::size_t length = 0; length < 24; ++length) {
    Established at(GetParam());
    expect_refused(at, unsealed(kApplicationData, length, length), SSL_AD_BAD_RECORD_MAC, SSL_R_LENGTH_TOO_SHORT);
  }
  Established at(GetParam());
  expect_refused(at, unsealed(kApplicationData, 24, 24), SSL_AD_BAD_RECORD_MAC,
                 SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}

TEST_P(Records12, TheHeaderSaysTheVersion) {
  for (const std::array<std::uint8_t, 2> version :
       {std::array<std::uint8_t, 2>{3, 1}, {3, 2}, {3, 4}, {2, 3}, {0, 0}}) {
    Established at(GetParam());
    expect_refused(at, at.peer.seal(kApplicationData, text("x"), {.version = version}), SSL_AD_PROTOCOL_VERSION,
                   SSL_R_WRONG_VERSION_NUMBER);
  }
}

TEST_P(Records12, OtherTypesAreRefused) {
  for (const std::uint8_t type :
       {std::uint8_t{0}, std::uint8_t{1}, kChangeCipherSpec, std::uint8_t{24}, std::uint8_t{255}}) {
    Established plain(GetParam()), sealed(GetParam());
    const Bytes header = unsealed(type, 100, 0);
    EXPECT_EQ(plain.records.missing(header), 0U) << "nobody waits for the rest of it";
    expect_unexpected(plain, header, SSL_R_BAD_RECORD_TYPE);
    expect_unexpected(sealed, sealed.peer.seal(type, Bytes{1}), SSL_R_BAD_RECORD_TYPE);
  }
}

TEST_P(Records12, AFlippedBitEndsTheConnection) {
  constexpr std::size_t kBytes = 5 + 8 + 7 + 16;
  for (std::size_t bit = 0; bit < 8 * kBytes; ++bit) {
    // The version and the length in the header are other tests', and so are types that no record has.
    if (const std::size_t byte = bit / 8; (byte > 0 && byte < 5) || (byte == 0 && bit > 1)) continue;
    Established at(GetParam());
    Bytes record = at.data_record("payload");
    ASSERT_EQ(record.size(), kBytes);
    record[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    SCOPED_TRACE(bit);
    expect_refused(at, record, SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
  }
}

TEST_P(Records12, ARecordCountsOnceAndInItsOrder) {
  Established twice(GetParam()), swapped(GetParam()), early(GetParam());
  const Bytes record = twice.data_record("once");
  EXPECT_EQ(twice.take(record), Step::WantInput);
  expect_refused(twice, record, SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
  swapped.data_record("first");
  expect_refused(swapped, swapped.data_record("second"), SSL_AD_BAD_RECORD_MAC,
                 SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
  const Bytes first = early.data_record("first"), second = early.data_record("second");
  EXPECT_EQ(early.take(in_a_row({first, second})), Step::WantInput);
  expect_refused(early, first, SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
}

TEST_P(Records12, ACloseNotifyIsAnOrderlyEndOfOneDirection) {
  Established at(GetParam());
  EXPECT_EQ(at.take(in_a_row({at.data_record("last "), at.data_record("words"),
                              at.alert_record(SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY)})),
            Step::Closed);
  EXPECT_EQ(at.data, text("last words"));
  EXPECT_TRUE(at.pending.empty());
  EXPECT_EQ(at.take(at.data_record("too late")), Step::Closed);
  EXPECT_TRUE(at.data.empty());
  EXPECT_EQ(at.records.failure(), 0);
  EXPECT_TRUE(at.output.empty()) << "when to close the other direction is not decided here";
  EXPECT_TRUE(at.write("an answer"));
  at.records.close(at.output);
  EXPECT_EQ(at.sent(), (Sent{data_of("an answer"), kCloseNotify}));
}

TEST_P(Records12, AFatalAlertIsNotAnswered) {
  for (const int description : {SSL_AD_CLOSE_NOTIFY, SSL_AD_UNEXPECTED_MESSAGE, SSL_AD_BAD_RECORD_MAC,
                                SSL_AD_USER_CANCELLED, SSL_AD_NO_RENEGOTIATION, 255}) {
    Established at(GetParam());
    EXPECT_EQ(at.take(in_a_row({at.data_record("before"), at.alert_record(SSL3_AL_FATAL, description)})), Step::Failed);
    EXPECT_EQ(at.data, text("before"));
    EXPECT_EQ(at.records.failure(), SSL_AD_REASON_OFFSET + description);
    EXPECT_TRUE(at.output.empty());
    expect_over(at);
  }
}

TEST_P(Records12, WarningsAreIgnoredForAWhile) {
  for (const int description : {SSL_AD_USER_CANCELLED, SSL_AD_UNRECOGNIZED_NAME, 255}) {
    Established at(GetParam());
    const auto take_warnings = [&](int count) {
      for (int i = 0; i < count; ++i) {
        ASSERT_EQ(at.take(at.alert_record(SSL3_AL_WARNING, description)), Step::WantInput) << i;
      }
    };
    for (int round = 0; round < 3; ++round) {
      take_warnings(4);
      ASSERT_EQ(at.take(at.data_record("x")), Step::WantInput);
      EXPECT_EQ(at.data, text("x"));
    }
    take_warnings(4);
    ASSERT_EQ(at.take(at.data_record("")), Step::WantInput) << "nothing is no data";
    EXPECT_TRUE(at.output.empty());
    expect_unexpected(at, at.alert_record(SSL3_AL_WARNING, description), SSL_R_TOO_MANY_WARN_ALERTS);
  }
}

TEST_P(Records12, NobodyWasAskedToRenegotiate) {
  Established at(GetParam());
  expect_refused(at, at.alert_record(SSL3_AL_WARNING, SSL_AD_NO_RENEGOTIATION), SSL_AD_HANDSHAKE_FAILURE,
                 SSL_R_NO_RENEGOTIATION);
}

TEST_P(Records12, AnAlertHasOneOfTwoLevels) {
  for (const int level : {0, 3, 255}) {
    for (const int description : {SSL_AD_CLOSE_NOTIFY, SSL_AD_INTERNAL_ERROR}) {
      Established at(GetParam());
      expect_refused(at, at.alert_record(level, description), SSL_AD_ILLEGAL_PARAMETER, SSL_R_UNKNOWN_ALERT_TYPE);
    }
  }
}

TEST_P(Records12, AnAlertHasTwoBytes) {
  for (const Bytes& content : {Bytes{2}, Bytes{1, 0, 0}, Bytes{1, 0, 1, 0}}) {
    Established at(GetParam());
    expect_refused(at, at.peer.seal(kAlert, content), SSL_AD_DECODE_ERROR, SSL_R_BAD_LENGTH);
  }
  Established at(GetParam());
  expect_unexpected(at, at.peer.seal(kAlert, Bytes{}), SSL_R_BAD_LENGTH);
}

TEST_P(Records12, AnotherHandshakeIsDeclinedAndDataGoesOn) {
  Established at(GetParam());
  for (const std::size_t bytes : Lengths{0, 1, 255, 256, kMostPlain - 4}) {
    EXPECT_EQ(at.take(in_a_row({at.data_record("before "), at.hello_record(bytes), at.data_record("behind")})),
              Step::WantInput);
    EXPECT_EQ(at.data, text("before behind"));
    EXPECT_TRUE(at.write("answer"));
    EXPECT_EQ(at.sent(), (Sent{kNoRenegotiation, data_of("answer")}));
  }
}

TEST_P(Records12, HandshakesAreDeclinedSoManyTimes) {
  Established at(GetParam()), mixed(GetParam());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(at.take(at.hello_record()), Step::WantInput);
      EXPECT_EQ(at.sent(), (Sent{kNoRenegotiation}));
    }
    ASSERT_EQ(at.take(at.data_record("x")), Step::WantInput);
    EXPECT_EQ(at.data, text("x"));
  }
  for (int i = 0; i < 4; ++i) ASSERT_EQ(at.take(at.hello_record()), Step::WantInput);
  at.sent();
  expect_unexpected(at, at.hello_record(), SSL_R_UNEXPECTED_MESSAGE);

  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(mixed.take(mixed.hello_record()), Step::WantInput);
    ASSERT_EQ(mixed.take(mixed.alert_record(SSL3_AL_WARNING, SSL_AD_USER_CANCELLED)), Step::WantInput);
  }
  EXPECT_EQ(mixed.sent(), (Sent{kNoRenegotiation}));  // the second one while the first one's answer waited
  expect_unexpected(mixed, mixed.hello_record(), SSL_R_UNEXPECTED_MESSAGE);
}

TEST_P(Records12, WhoDoesNotReadIsDeclinedOnce) {
  Established at(GetParam());
  for (int round = 0; round < 100; ++round) {
    ASSERT_EQ(at.take(in_a_row({at.hello_record(), at.hello_record(), at.data_record("x")})), Step::WantInput);
  }
  EXPECT_EQ(at.sent(), (Sent{kNoRenegotiation}));
}

TEST_P(Records12, NothingIsDeclinedBehindACloseNotify) {
  Established at(GetParam());
  at.records.close(at.output);
  EXPECT_EQ(at.sent(), (Sent{kCloseNotify}));
  EXPECT_EQ(at.take(in_a_row({at.hello_record(), at.data_record("still read")})), Step::WantInput);
  EXPECT_EQ(at.data, text("still read"));
  EXPECT_TRUE(at.output.empty());
}

TEST_P(Records12, OtherHandshakeMessagesAreRefused) {
  const Bytes hello = Established::hello_of(40);
  const std::vector<Bytes> messages = {{},  // RFC 5246, section 6.2.1: no empty fragments
                                       {SSL3_MT_CLIENT_HELLO},
                                       {SSL3_MT_CLIENT_HELLO, 0, 0},
                                       {SSL3_MT_CLIENT_HELLO, 0, 0, 1},     // the rest would come in another record
                                       {SSL3_MT_CLIENT_HELLO, 0, 1, 0, 0},  // each byte of its length counts
                                       {SSL3_MT_CLIENT_HELLO, 1, 0, 0},
                                       {hello.begin(), hello.end() - 1},
                                       in_a_row({hello, {0}}),
                                       in_a_row({hello, hello}),
                                       {SSL3_MT_HELLO_REQUEST, 0, 0, 0},
                                       {SSL3_MT_SERVER_HELLO, 0, 0, 0},
                                       {SSL3_MT_CLIENT_KEY_EXCHANGE, 0, 0, 0},
                                       in_a_row({{SSL3_MT_FINISHED, 0, 0, 12}, counting(12)}),
                                       key_update_message(0),
                                       key_update_message(1)};
  for (const Bytes& message : messages) {
    SCOPED_TRACE(testing::PrintToString(message));
    Established at(GetParam());
    expect_unexpected(at, at.peer.seal(kHandshake, message), SSL_R_UNEXPECTED_MESSAGE);
  }
}

TEST_P(Records12, OneKeySealsAllThereIs) {
  constexpr std::uint64_t kMostOfOneKey13 = std::uint64_t{1} << 24;
  for (const std::uint64_t written : {kMostOfOneKey13 - 1, kMostOfOneKey13 + 1, std::uint64_t{1} << 40}) {
    Established at(GetParam(), written, written);
    const Bytes plain = counting(kMostPlain + 1);
    EXPECT_TRUE(at.records.write(plain, at.output));
    EXPECT_TRUE(at.write("and on"));
    EXPECT_EQ(at.sent(), (Sent{{kApplicationData, counting(kMostPlain)}, {kApplicationData, {0}}, data_of("and on")}));
    EXPECT_EQ(at.take(at.data_record("the other direction")), Step::WantInput);
    EXPECT_EQ(at.data, text("the other direction"));
  }
}

TEST_P(Records12, CloseIsSaidOnceAndEndsWriting) {
  Established at(GetParam());
  EXPECT_TRUE(at.write("bye"));
  at.records.close(at.output);
  at.records.close(at.output);
  EXPECT_FALSE(at.write("x"));
  EXPECT_FALSE(at.write(""));
  EXPECT_EQ(at.sent(), (Sent{data_of("bye"), kCloseNotify}));
  EXPECT_EQ(at.take(at.data_record("the other direction")), Step::WantInput);
  EXPECT_EQ(at.data, text("the other direction"));
  EXPECT_EQ(at.take(unsealed(kChangeCipherSpec, 1, 1)), Step::Failed);
  EXPECT_EQ(at.records.failure(), SSL_R_BAD_RECORD_TYPE);
  EXPECT_TRUE(at.output.empty()) << "a close_notify is the last that is sent";
  expect_over(at);
}

}  // namespace
}  // namespace sallyport::test
