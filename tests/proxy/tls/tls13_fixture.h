// What the tests of our own TLS 1.3 handshake begin with.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "tests/proxy/tls/handshake_fixture.h"
#include "tests/proxy/tls/tls13_peer.h"

namespace sallyport::test {

class Tls13 : public OwnHandshakes<Tls13Peer> {
 protected:
  using OwnHandshakes::greet;
  void greet() { greet(Hello(peer.share())); }
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
};

}  // namespace sallyport::test
