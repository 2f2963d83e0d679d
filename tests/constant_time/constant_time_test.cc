// No time and no address depends on a secret, in what is ours of TLS: checked by valgrind's memcheck (secrets.h), which
// this program starts for itself. What OpenSSL, libsodium and libipsec-mb do inside is theirs: theirs.supp names it.
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/light_x25519.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/server_key.h"
#include "proxy/tls/tls12_key_schedule.h"
#include "proxy/tls/tls_session_ticket.h"
#include "tests/constant_time/secrets.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls13_fixture.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::test {
namespace {

// Nothing has leaked from here to the end of the scope.
class NoLeak {
 public:
  explicit NoLeak(const char* of) : of_(of), before_(leaks()) {}
  ~NoLeak() { EXPECT_EQ(leaks() - before_, 0U) << of_ << ": valgrind's report is above"; }
  NoLeak(const NoLeak&) = delete;
  NoLeak& operator=(const NoLeak&) = delete;

 private:
  const char* const of_;
  const unsigned before_;
};

// If it did not see these, nothing below would mean anything.
TEST(Instrument, SeesABranchAndAnAddress) {
  std::array<std::uint8_t, 32> secret{}, other{};
  hide(secret);
  unsigned before = leaks();
  volatile int seen = 0;
  if (secret[3] > 7) seen = 1;
  EXPECT_GT(leaks(), before) << "a branch";
  before = leaks();
  static constexpr std::array<std::uint8_t, 256> kTable{};
  seen = static_cast<const volatile std::uint8_t*>(kTable.data())[secret[0]];
  EXPECT_GT(leaks(), before) << "a look into a table";
  before = leaks();
  seen = std::memcmp(secret.data(), other.data(), secret.size()) == 0 ? 1 : 0;
  EXPECT_GT(leaks(), before) << "memcmp";
  before = leaks();
  seen = CRYPTO_memcmp(secret.data(), other.data(), secret.size()) == 0 ? 1 : 0;
  EXPECT_EQ(leaks(), before) << "its verdict is no secret";
  seen = seen + 1;
}

class Finished13 : public Tls13 {
 protected:
  Finished13() { server.tickets = &keys; }
  void up_to_finished() {
    Hello hello(peer.share());
    hello.add(45, vector_of({1}, 1));
    greet(hello);
    ASSERT_EQ(say_certificate(), Step::WantInput);
    ASSERT_EQ(say_verify(), Step::WantInput);
  }
  // What the engine makes of it while all that it hashes is a secret.
  Step give_hidden(const Bytes& record) {
    const HashesAreSecret hidden;
    const NoLeak none("the engine");
    pending = record;
    engine->lend(pending);
    return engine->handshake();
  }
  TicketKeys keys{std::time(nullptr)};
};

TEST_F(Finished13, TheClientsFinished) {
  up_to_finished();
  const Bytes record = peer.seal(kHandshake, peer.finished());
  EXPECT_EQ(give_hidden(record), Step::Done) << "with a ticket";
  EXPECT_TRUE(engine->ticket_issued());
}

TEST_F(Finished13, AWrongFinished) {
  for (const std::size_t at : {std::size_t{4}, std::size_t{20}, std::size_t{35}}) {
    start_over();
    up_to_finished();
    Bytes wrong = peer.finished();
    wrong[at] ^= 1;
    EXPECT_EQ(give_hidden(peer.seal(kHandshake, wrong)), Step::Failed) << at;
  }
}

TEST_F(Finished13, ATicketAndItsBinder) {
  up_to_finished();
  ASSERT_EQ(say_finished(), Step::Done);
  std::span<const std::uint8_t> bytes = output.bytes();
  const auto kept = peer.take_ticket(bytes);
  ASSERT_TRUE(kept);
  for (const bool wrong : {false, true}) {
    start_over();
    Bytes message = peer.offer(Hello(peer.share()), *kept);
    if (wrong) message.back() ^= 1;
    const Bytes record = peer.say(message);
    engine.emplace(server.context(), &yes, output);
    EXPECT_EQ(give_hidden(record), wrong ? Step::Failed : Step::WantInput);
    EXPECT_EQ(engine->ticket_fate(), wrong ? TicketFate::None : TicketFate::Resumed);
  }
}

TEST(TicketMac, IsComparedWithoutATrace) {
  TicketKey key;
  key.name.fill(1);
  key.cipher.fill(2);
  key.mac.fill(3);
  key.made_at = std::time(nullptr);
  const SessionPtr session(SSL_SESSION_new());
  ASSERT_TRUE(session && SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) == 1);
  const std::unique_ptr<SSL_CTX, OpensslFree<&SSL_CTX_free>> context(SSL_CTX_new(TLS_server_method()));
  const std::unique_ptr<SSL, OpensslFree<&SSL_free>> ssl(SSL_new(context.get()));
  const unsigned char suite[] = {0x13, 0x01};
  ASSERT_EQ(SSL_SESSION_set_cipher(session.get(), SSL_CIPHER_find(ssl.get(), suite)), 1);
  const Bytes secret(32, 9);
  ASSERT_EQ(SSL_SESSION_set1_master_key(session.get(), secret.data(), secret.size()), 1);
  const Bytes good = sealed_session(session.get(), key);
  ASSERT_FALSE(good.empty());
  hide(key.mac);
  TicketKeys keys(key.made_at);
  keys.adopt(std::span(&key, 1), key.made_at);
  const NoLeak none("a ticket's MAC");
  EXPECT_NE(opened_session(good, keys, key.made_at), nullptr);
  for (const std::size_t from_end : {1U, 17U, 32U}) {
    Bytes bad = good;
    bad[bad.size() - from_end] ^= 1;
    EXPECT_EQ(opened_session(bad, keys, key.made_at), nullptr) << from_end;
  }
}

// By whatever encrypts here.
class Records : public testing::TestWithParam<std::tuple<TlsVersion, std::size_t>> {};
INSTANTIATE_TEST_SUITE_P(Each, Records,
                         testing::Combine(testing::Values(TlsVersion::V12, TlsVersion::V13), testing::Values(16, 32)));

TEST_P(Records, ATagIsComparedWithoutATrace) {
  const TlsVersion version = std::get<0>(GetParam());
  const std::size_t key_bytes = std::get<1>(GetParam());
  const bool old = version == TlsVersion::V12;
  const auto make_key = [&](RecordKey& key) {
    key.key.fill(7);
    key.key_bytes = key_bytes;
    key.version = version;
  };
  const Bytes plain(300, 'x');
  const std::array<std::uint8_t, 5> header = {23, 3, 3, 1, 0};
  Bytes sealed(plain.size() + (old ? RecordCipher::kOverhead12 : 1 + RecordCipher::kTagBytes));
  RecordKey sealing;
  make_key(sealing);
  RecordCipher seals(sealing);
  old ? seals.seal12(23, plain, sealed.data()) : seals.seal(header, plain, 23, sealed.data());
  for (const std::size_t changed : {std::size_t{0}, std::size_t{1}, std::size_t{16}, sealed.size()}) {
    Bytes record = sealed;
    if (changed > 0) record[record.size() - changed] ^= 1;
    RecordKey key;
    make_key(key);
    hide(key.key);
    Bytes out(record.size());
    const NoLeak none("a record");
    RecordCipher opens(key);
    const bool good = old ? opens.open12(23, record, out.data()) : opens.open(header, record, out.data());
    EXPECT_EQ(good, changed == 0) << changed;
  }
  hide(sealing.key);
  const NoLeak none("a record that is sealed");
  RecordCipher again(sealing);
  old ? again.seal12(23, plain, sealed.data()) : again.seal(header, plain, 23, sealed.data());
}

TEST(KeySchedules, OfBothVersions) {
  Secret256 shared;
  for (std::size_t i = 0; i < shared.size(); ++i) shared[i] = static_cast<std::uint8_t>(i);
  hide(shared);
  const NoLeak none("a key schedule");
  Tls13KeySchedule schedule;
  schedule.add(Bytes(100, 1));
  ASSERT_TRUE(schedule.begin_with(shared) && schedule.derive_handshake(shared) && schedule.derive_application());
  Secret256 ticket;
  ASSERT_TRUE(schedule.derive_ticket(Bytes{0}, ticket));
  TranscriptHash mac;
  ASSERT_TRUE(finished_mac(schedule.client_handshake(), schedule.transcript(), mac));
  ASSERT_TRUE(binder_mac(shared, schedule.transcript(), mac));
  for (const char* name : {"SHA2-256", "SHA2-384"}) {
    Tls12Agreement agreement;
    agreement.hash = kdf_hash(name);
    RecordKey client, server;
    VerifyData data;
    ASSERT_TRUE(derive_master(*agreement.hash, shared, Bytes(agreement.hash->size), agreement.master));
    ASSERT_TRUE(derive_record_keys(agreement, 16, client, server));
    ASSERT_TRUE(derive_verify_data(agreement, kClientFinished, Bytes(agreement.hash->size), data));
  }
}

class Finished12 : public OwnHandshakes<Tls12Peer> {
 protected:
  Step say(const Bytes& message) {
    peer.said(message);
    return give(plain_record(kHandshake, message));
  }
};

TEST_F(Finished12, IsComparedWithoutATrace) {
  for (const bool wrong : {false, true}) {
    start_over();
    greet(hello12());
    ASSERT_EQ(say(peer.certificate({der_of(device)})), Step::WantInput);
    const Bytes exchange = peer.key_exchange();
    peer.said(exchange);
    peer.agree();
    ASSERT_EQ(give(plain_record(kHandshake, exchange)), Step::WantInput);
    ASSERT_EQ(say(peer.certificate_verify(device.key.get(), 0x0403, "SHA256")), Step::WantInput);
    ASSERT_EQ(give(peer.change_cipher_spec()), Step::WantInput);
    Bytes finished = peer.finished();
    if (wrong) finished.back() ^= 1;
    pending = peer.seal(kHandshake, finished);
    const HashesAreSecret hidden;
    const NoLeak none("the engine");
    engine->lend(pending);
    EXPECT_EQ(engine->handshake(), wrong ? Step::Failed : Step::Done);
  }
}

TEST(X25519, AKeyIsMadeWithoutATrace) {
  ASSERT_NE(light_parsing_context(), nullptr) << "else the keys are OpenSSL's";
  Bytes share;
  ASSERT_TRUE(make_exchange_key(Group::X25519, share)) << "what is made once, is made";
  const HashesAreSecret hidden;
  const NoLeak none("an X25519 key");
  const KeyPtr key = make_exchange_key(Group::X25519, share);
  ASSERT_TRUE(key);
  Secret256 shared;
  const Bytes peer(32, 9);
  EXPECT_TRUE(derive_shared(Group::X25519, key, peer, shared));
}

// A P-256 key whose scalar is a secret from its first byte on.
KeyPtr hidden_key() {
  const KeyPtr made = make_key(Kind::P256);
  BIGNUM* scalar = nullptr;
  std::array<unsigned char, 80> point;
  std::size_t point_bytes = 0;
  std::array<unsigned char, 32> bytes;
  CHECK(EVP_PKEY_get_bn_param(made.get(), OSSL_PKEY_PARAM_PRIV_KEY, &scalar) == 1 &&
        EVP_PKEY_get_octet_string_param(made.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                        &point_bytes) == 1 &&
        BN_bn2nativepad(scalar, bytes.data(), static_cast<int>(bytes.size())) == 32);
  BN_free(scalar);
  hide(bytes);
  std::string group = "P-256";
  OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
                         OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point_bytes),
                         OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, bytes.data(), bytes.size()),
                         OSSL_PARAM_construct_end()};
  const KeyContextPtr importing(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  CHECK(importing && EVP_PKEY_fromdata_init(importing.get()) == 1 &&
        EVP_PKEY_fromdata(importing.get(), &key, EVP_PKEY_KEYPAIR, params) == 1);
  return KeyPtr(key);
}

TEST(Ecdsa, SigningIsSetUpWithoutATrace) {
  KeyPtr secret = hidden_key();
  const NoLeak none("a signing key");
  const ServerKey held(std::move(secret));
  ASSERT_TRUE(held);
  const KeyPtr form = held.form(false);
  ASSERT_TRUE(form);
  const TranscriptSigner signer(form.get(), kEcdsaP256Sha256);
  std::vector<std::uint8_t> signature;
  ASSERT_TRUE(signer.sign(Sha256::of(std::string_view("a transcript")), signature));
  EXPECT_GT(signature.size(), 60U);
}

}  // namespace
}  // namespace sallyport::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (RUNNING_ON_VALGRIND != 0 || testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  const std::string suppressions = std::string("--suppressions=") + SALLYPORT_THEIRS;
  const std::string filter = "--gtest_filter=" + testing::GTEST_FLAG(filter);
  const char* const run[] = {"valgrind",        "--quiet",          "--tool=memcheck",
                             "--leak-check=no", "--num-callers=20", suppressions.c_str(),
                             argv[0],           filter.c_str(),     nullptr};
  ::execvp(run[0], const_cast<char**>(run));
  std::perror("constant_time_test: valgrind");
  return 1;
}
