// X25519MLKEM768, by our own TLS 1.3 handshake and by OpenSSL's: for everyone who sends a share for it, and for nobody
// who does not. OpenSSL has ML-KEM since 3.5; with an older one a share for it is passed over.
#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/obj_mac.h>
#include <openssl/ssl.h>

#include "proxy/tls/handshake_crypto.h"
#include "tests/proxy/tls/joined.h"
#include "tests/proxy/tls/tls13_fixture.h"

namespace sallyport::test {
namespace {

constexpr int kHybrid = 0x11EC;

// A NID, or the code of a group that has none.
int group_of(SSL* ssl) {
  return SSL_get_negotiated_group(ssl) & 0xFFFF;
}

Bytes share_of(std::size_t group, const Bytes& key) {
  return join({number(group, 2), vector_of(key, 2)});
}

// A ClientHello with a share for either.
Hello both(const Bytes& x25519, const Bytes& ml_kem) {
  Hello hello(x25519);
  *hello.find(10) = vector_of(numbers_of({kHybrid, 29, 23}), 2);
  *hello.find(51) = vector_of(join({share_of(kHybrid, join({ml_kem, x25519})), share_of(29, x25519)}), 2);
  return hello;
}

TEST(PostQuantum, OpensslHasItSince35) {
  const bool has = OPENSSL_version_major() > 3 || (OPENSSL_version_major() == 3 && OPENSSL_version_minor() >= 5);
  EXPECT_EQ(has_post_quantum_exchange(), has) << OpenSSL_version(OPENSSL_VERSION);
}

TEST(PostQuantum, ItsShareComesFirstWhereItCanBeAnswered) {
  const Bytes x25519(32, 3), ml_kem(kMlKemKeyBytes, 0);
  const Bytes message = both(x25519, ml_kem).message();
  const auto with = plain_hello(message, true);
  ASSERT_TRUE(with);
  EXPECT_EQ(with->group, Group::X25519MlKem768);
  EXPECT_EQ(Bytes(with->share.begin(), with->share.end()), join({ml_kem, x25519}));
  const auto without = plain_hello(message, false);
  ASSERT_TRUE(without);
  EXPECT_EQ(without->group, Group::X25519);

  Hello alone = both(x25519, ml_kem);
  *alone.find(51) = vector_of(share_of(kHybrid, join({ml_kem, x25519})), 2);
  const Bytes only = alone.message();
  EXPECT_TRUE(plain_hello(only, true));
  EXPECT_FALSE(plain_hello(only, false)) << "OpenSSL asks for another share";

  Hello short_one = both(x25519, Bytes(kMlKemKeyBytes - 1));
  EXPECT_FALSE(plain_hello(short_one.message(), true));
  Hello unlisted = both(x25519, ml_kem);
  *unlisted.find(10) = vector_of(numbers_of({29, 23}), 2);
  EXPECT_FALSE(plain_hello(unlisted.message(), true)) << "a share for a group that is not supported";
  Hello twice = both(x25519, ml_kem);
  *twice.find(51) =
      vector_of(join({share_of(kHybrid, join({ml_kem, x25519})), share_of(kHybrid, join({ml_kem, x25519}))}), 2);
  EXPECT_FALSE(plain_hello(twice.message(), true));
}

TEST(PostQuantum, AShareIsFoundInTheExtension) {
  const Bytes list = vector_of(join({share_of(29, Bytes(32)), share_of(kHybrid, Bytes(5))}), 2);
  EXPECT_TRUE(has_share_for(Group::X25519MlKem768, list));
  EXPECT_TRUE(has_share_for(Group::X25519, list));
  EXPECT_FALSE(has_share_for(Group::P256, list));
  EXPECT_FALSE(has_share_for(Group::P256, {}));
}

// A client of OpenSSL's, served by our own handshake and, because it asks for a fragment length, by OpenSSL's.
class Exchanges : public testing::TestWithParam<bool> {
 protected:
  int negotiated(const std::string& groups) {
    Server server;
    const Identity509 ca = make_ca("Device CA");
    const Identity509 device = make_device("d", ca);
    Says yes(Reason::None);
    Joined joined(server, &yes,
                  {.device = &device, .trust = &server.ca.certificate, .version = TLS1_3_VERSION, .groups = groups});
    if (GetParam()) SSL_set_tlsext_max_fragment_length(joined.client.ssl(), TLSEXT_max_fragment_length_4096);
    EXPECT_EQ(joined.shake(), Step::Done) << joined.engine.error().what;
    EXPECT_TRUE(joined.client_done);
    const std::string words = "to the broker";
    joined.client.send({reinterpret_cast<const std::uint8_t*>(words.data()), words.size()});
    joined.pass_to_engine(joined.client.give());
    std::string heard;
    EXPECT_EQ(joined.read(heard), Step::Done);
    EXPECT_EQ(heard, words);
    return group_of(joined.client.ssl());
  }
};
INSTANTIATE_TEST_SUITE_P(PostQuantum, Exchanges, testing::Bool(),
                         [](const auto& tested) { return std::string(tested.param ? "ByOpenssl" : "Ours"); });

TEST_P(Exchanges, WhoSendsAShareGetsIt) {
  if (has_post_quantum_exchange()) {
    EXPECT_EQ(negotiated("X25519MLKEM768"), kHybrid);
    EXPECT_EQ(negotiated("*X25519MLKEM768:*X25519"), kHybrid);
    EXPECT_EQ(negotiated("*X25519:*X25519MLKEM768"), kHybrid) << "whatever the client prefers";
  }
  EXPECT_EQ(negotiated("X25519"), NID_X25519);
  EXPECT_EQ(negotiated("P-256"), NID_X9_62_prime256v1);
}

TEST_P(Exchanges, NobodyIsAskedForAShare) {
  const std::string supported = has_post_quantum_exchange() ? ":X25519MLKEM768" : "";
  EXPECT_EQ(negotiated("X25519" + supported), NID_X25519);
  EXPECT_EQ(negotiated("X448" + supported + ":X25519"), NID_X25519) << "the HelloRetryRequest names the other";
}

class PostQuantumOurs : public Tls13 {};

TEST_F(PostQuantumOurs, WithoutMlKemTheOtherShareIsAnswered) {
  if (has_post_quantum_exchange()) return;  // the other case is Exchanges'
  greet(both(peer.share(), Bytes(kMlKemKeyBytes, 0)));
  ASSERT_EQ(say_certificate(), Step::WantInput);
  ASSERT_EQ(say_verify(), Step::WantInput);
  EXPECT_EQ(say_finished(), Step::Done);
}

// FIPS 203, section 7.2: a key whose numbers are not below q is none. OpenSSL's alert ends it (RFC 8446,
// section 4.2.8).
TEST_F(PostQuantumOurs, AKeyThatIsNoneEndsTheHandshake) {
  engine.emplace(server.context(), &yes, output);
  const Step step = give(peer.say(both(peer.share(), Bytes(kMlKemKeyBytes, 0xFF))));
  if (!has_post_quantum_exchange()) {
    EXPECT_EQ(step, Step::WantInput) << "nobody looks at it";
    return;
  }
  EXPECT_EQ(step, Step::Failed);
  ASSERT_GE(output.size(), 7U);
  const Bytes alert(output.bytes().end() - 2, output.bytes().end());
  EXPECT_EQ(alert, (Bytes{2, SSL_AD_ILLEGAL_PARAMETER}));
}

}  // namespace
}  // namespace sallyport::test
