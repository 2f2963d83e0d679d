// An engine and a TLS 1.3 client that says what it is told to, with a listener and a device: what the tests of our own
// handshake begin with.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <optional>

#include "proxy/tls_engine.h"
#include "tests/proxy/tls13_peer.h"
#include "tests/proxy/tls_server.h"

namespace sallyport::test {

inline Bytes der_of(const Identity509& identity) {
  const std::string& der = identity.certificate.der();
  return {der.begin(), der.end()};
}

// An engine that has answered a ClientHello, and the client whose turn it is.
class Tls13 : public testing::Test {
 protected:
  Tls13() : ca(make_ca("Device CA")), device(make_device("d", ca)), yes(Reason::None) {}

  void start_over() {
    made.emplace();
    output.release();
  }
  void greet() { greet(Hello(peer.share())); }
  void greet(const Hello& hello) {
    engine.emplace(server.context(), &yes, output);
    ASSERT_EQ(give(peer.say(hello)), Step::WantInput);
    ASSERT_TRUE(peer.hear(output.bytes()));
    output.consume(output.size());
  }
  Step give(const Bytes& bytes) {
    pending = bytes;
    engine->lend(pending);
    const Step step = engine->handshake();
    EXPECT_TRUE(step == Step::Failed || step == Step::Closed || engine->unread() == 0);
    return step;
  }
  // A message in a record of its own, which counts in the transcript.
  Step say(const Bytes& message) {
    const Bytes record = peer.seal(kHandshake, message);
    peer.said(message);
    return give(record);
  }
  Step say_certificate() { return say(peer.certificate({der_of(device)})); }
  Step say_verify() { return say(peer.certificate_verify(device.key.get(), 0x0403, "SHA256")); }
  Step say_finished() { return say(peer.finished()); }

  void refused(Step step, int alert, int reason = 0) {
    EXPECT_EQ(step, Step::Failed);
    EXPECT_EQ(engine->error().origin, Origin::Client);
    EXPECT_TRUE(reason == 0 || engine->error().detail == reason) << engine->error().what;
    std::span<const std::uint8_t> bytes = output.bytes();
    const auto said = peer.open(bytes);
    ASSERT_TRUE(said) << "under the server's application key";
    EXPECT_EQ(*said, (InnerRecord{kAlert, {2, static_cast<std::uint8_t>(alert)}}));
    EXPECT_TRUE(bytes.empty());
    EXPECT_FALSE(engine->established());
    EXPECT_EQ(give(peer.seal(kHandshake, peer.finished())), Step::Failed) << "it is over";
  }

  Server server;
  const Identity509 ca, device;
  Says yes;
  std::optional<Tls13Peer> made{std::in_place};
  Tls13Peer& peer = *made;
  ByteBuffer output;
  Bytes pending;
  std::optional<TlsEngine> engine;
};

}  // namespace sallyport::test
