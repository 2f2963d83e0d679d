// tls_engine = "openssl": everything the engine does, with nothing but OpenSSL's public API. All tests of the engine
// that are linked with this file run so, and at their end nothing of what is poisoned may have been called.
#include "cache/crypto/openssl_alone.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "cache/crypto/hkdf.h"
#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_insides.h"
#include "cache/crypto/sha2.h"
#include "proxy/tls/tls_self_test.h"
#include "tests/proxy/tls/joined.h"
#include "tests/proxy/tls/poisoned_crypto.h"

namespace sallyport::test {
namespace {

// Before main(), so before anything could have been ours.
const bool alone_from_the_start = [] {
  keep_to_openssl(true);
  return true;
}();

class NothingPoisoned : public testing::Environment {
 public:
  void TearDown() override { EXPECT_EQ(poisoned_calls, 0); }
};
const testing::Environment* const at_the_end = testing::AddGlobalTestEnvironment(new NothingPoisoned);

using Bytes = std::vector<std::uint8_t>;

TEST(OpensslAlone, LeavesTheInsidesAlone) {
  EXPECT_TRUE(alone_from_the_start);
  EXPECT_TRUE(openssl_alone());
  EXPECT_FALSE(openssl_insides_hold());
  EXPECT_FALSE(openssl_exchanges_sessions());
  EXPECT_EQ(openssl_insides_refusal(), "") << "they would hold";
  EXPECT_EQ(light_parsing_context(), nullptr);
  Server server;
  EXPECT_EQ(server.context().handshake_server(), nullptr);
  EXPECT_EQ(openssl_alone_lacks(), "");
  EXPECT_EQ(openssl_providers(), "default");
}

// FIPS 180-4's "abc", RFC 4231's case 2, in pieces and copied halfway.
TEST(OpensslAlone, HashesAndAuthenticatesAsTheStandardsSay) {
  const std::string_view abc = "abc";
  EXPECT_EQ(to_hex(Sha256::of(abc)), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 begun;
  begun.add("a");
  Sha256 copy = begun;
  copy.add("bc");
  begun.add("xyz");
  EXPECT_EQ(copy.of_all(), Sha256::of(abc));
  copy = begun;
  EXPECT_EQ(copy.of_all(), Sha256::of(std::string_view("axyz")));
  Sha384 longer;
  longer.add(std::span(reinterpret_cast<const std::uint8_t*>(abc.data()), abc.size()));
  std::array<std::uint8_t, 48> hash;
  longer.finish(hash.data());
  EXPECT_EQ(to_hex(hash),
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
  const Bytes key = {'J', 'e', 'f', 'e'};
  const std::string_view text = "what do ya want for nothing?";
  std::array<std::uint8_t, 32> mac;
  const int before = mac_calls;
  ASSERT_TRUE(hmac(*kdf_hash("SHA256"), key, std::span(reinterpret_cast<const std::uint8_t*>(text.data()), 28), mac));
  EXPECT_EQ(to_hex(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(mac_calls, before + 1) << "by EVP_MAC, and not from a digest";
  std::array<std::uint8_t, 32> without_key, of_zeros;
  ASSERT_TRUE(hmac(*kdf_hash("SHA256"), {}, key, without_key));
  ASSERT_TRUE(hmac(*kdf_hash("SHA256"), Bytes(64), key, of_zeros));
  EXPECT_EQ(without_key, of_zeros) << "RFC 2104: a key is filled up with zeros";
}

// The records go on through the SSL object.
TEST(OpensslAlone, TakesNothingOver) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Server server;
    const TicketKeys keys(std::time(nullptr));
    server.tickets = &keys;
    Says yes(Reason::None);
    const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
    Joined joined(server, &yes, {.device = &device, .version = version});
    ASSERT_EQ(joined.shake(), Step::Done);
    EXPECT_EQ(joined.engine.missing({}), 0U) << "only TlsRecords knows what is missing";
  }
}

// OpenSSL reads ahead where nothing is taken over from it: what it holds already must not wait for more to come.
TEST(OpensslAlone, ARecordThatWasReadAheadIsNotForgotten) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Server server;
    Says yes(Reason::None);
    const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
    Joined joined(server, &yes, {.device = &device, .version = version});
    ASSERT_EQ(joined.shake(), Step::Done);
    joined.client.send(Bytes(100, 'a'));
    joined.client.send(Bytes(100, 'b'));
    joined.pass_to_engine(joined.client.give());
    std::string said;
    ASSERT_EQ(joined.read(said), Step::Done);
    EXPECT_EQ(said, std::string(100, 'a'));
    EXPECT_EQ(joined.engine.unread(), 0u) << "it was read ahead";
    EXPECT_FALSE(joined.engine.drained());
    ASSERT_EQ(joined.read(said), Step::Done);
    EXPECT_EQ(said, std::string(100, 'b'));
    EXPECT_TRUE(joined.engine.drained());
  }
}

// OpenSSL's own allocations, which tell what it did as exactly as instructions would, and on every machine alike.
std::atomic<int> allocations{0};
const bool counted_from_the_start =
    CRYPTO_set_mem_functions(
        [](std::size_t bytes, const char*, int) {
          ++allocations;
          return bytes == 0 ? nullptr : std::malloc(bytes);
        },
        [](void* at, std::size_t bytes, const char*, int) { return std::realloc(at, bytes); },
        [](void* at, const char*, int) { std::free(at); }) == 1;

// A ticket has the device's certificate in it. It is read when the ticket comes, and once more for the next ticket; its
// key, which takes most of that, is not (keys_unread.h).
TEST(OpensslAlone, AResumptionDoesNotReadTheKeyOfACertificate) {
  if (OpenSSL_version_num() >= 0x30200000UL) GTEST_SKIP() << "this OpenSSL has a way of its own";
  ASSERT_TRUE(counted_from_the_start);
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  const std::string der = device.certificate.der();
  const auto read = [&] {
    const auto* from = reinterpret_cast<const unsigned char*>(der.data());
    return X509Ptr(d2i_X509(nullptr, &from, static_cast<long>(der.size())));
  };
  ASSERT_NE(read(), nullptr);
  const int before = allocations;
  ASSERT_NE(read(), nullptr);
  const int of_a_certificate = allocations - before;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Server server;
    const TicketKeys keys(std::time(nullptr));
    server.tickets = &keys;
    Says yes(Reason::None);
    Joined first(server, &yes, {.device = &device, .version = version});
    ASSERT_EQ(first.shake(), Step::Done);
    first.client.receive();
    first.client.close();
    const std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>> session(SSL_get1_session(first.client.ssl()));
    Joined again(server, &yes, {.device = &device, .version = version});
    SSL_set_session(again.client.ssl(), session.get());
    int made = 0;
    Step step = Step::WantInput;
    for (int i = 0; i < 5 && step == Step::WantInput; ++i) {
      again.client.handshake();
      again.pass_to_engine(again.client.give());
      const int then = allocations;
      step = again.engine.handshake();
      made += allocations - then;
      again.pass_to_client();
    }
    ASSERT_EQ(step, Step::Done);
    EXPECT_TRUE(again.engine.resumed());
    EXPECT_LT(made, of_a_certificate) << "of " << made << " allocations";
  }
}

// Lets everyone in, and remembers whose cryptography was in force where it was asked.
class Notes final : public Verifier {
 public:
  explicit Notes(const Certificate& device) : identity_(make_identity(device)) {}
  Verdict verify(const PeerChain&) override {
    alone = openssl_alone();
    return {.identity = identity_};
  }
  Verdict resume(const Identity& identity, std::uint64_t, std::uint32_t) override { return {.identity = identity}; }
  std::optional<bool> alone;

 private:
  const Identity identity_;
};

// One listener of a process that does the rest itself, and the other way: what counts is the listener's.
TEST(OpensslAlone, AListenersAnswerCountsOnItsConnections) {
  keep_to_openssl(false);
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  const int allowed = allowed_calls;
  {
    Server alone;
    alone.config.tls_engine = TlsMadeBy::Openssl;
    EXPECT_EQ(alone.context().handshake_server(), nullptr);
    Notes notes(device.certificate);
    Joined joined(alone, &notes, {.device = &device});
    ASSERT_EQ(joined.shake(), Step::Done);
    EXPECT_EQ(notes.alone, true) << "the decision is part of the handshake";
    EXPECT_EQ(joined.engine.handshake_maker(), TlsMaker::Openssl);
    EXPECT_EQ(joined.engine.records_maker(), TlsMaker::Openssl);
  }
  EXPECT_FALSE(openssl_alone()) << "an answer ends with its scope";
  keep_to_openssl(true);
  Server ours;
  ours.config.tls_engine = TlsMadeBy::Auto;
  Notes notes(device.certificate);
  Joined joined(ours, &notes, {.device = &device});
  ASSERT_EQ(joined.shake(), Step::Done);
  EXPECT_EQ(notes.alone, false);
  EXPECT_EQ(joined.engine.handshake_maker(), TlsMaker::Own);
  EXPECT_EQ(joined.engine.records_maker(), TlsMaker::Own);
  EXPECT_GT(allowed_calls, allowed) << "what is poisoned is what our own way calls";
}

TEST(OpensslAlone, AnAnswerIsOfItsThread) {
  const OpensslAlone ours(false);
  EXPECT_FALSE(openssl_alone());
  {
    const OpensslAlone theirs(true);
    EXPECT_TRUE(openssl_alone());
  }
  EXPECT_FALSE(openssl_alone());
  std::thread([] { EXPECT_TRUE(openssl_alone()) << "the process's"; }).join();
}

TEST(OpensslAlone, OnlyWhatIsServedIsTried) {
  Config config;
  config.tls_engine = TlsMadeBy::Openssl;
  EXPECT_TRUE(check_tls_engines(config));
  EXPECT_FALSE(any_listener_by(TlsMadeBy::Auto, config));
  config.listeners.emplace_back();
  EXPECT_TRUE(any_listener_by(TlsMadeBy::Auto, config));
}

}  // namespace
}  // namespace sallyport::test
