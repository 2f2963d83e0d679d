// An engine and a client that says what it is told to, with a listener and a device: what the tests of our own
// handshakes, of either version, begin with.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "proxy/tls/tls_engine.h"
#include "tests/proxy/tls/peer_parts.h"
#include "tests/proxy/tls/tls_server.h"

namespace sallyport::test {

inline Bytes der_of(const Identity509& identity) {
  const std::string& der = identity.certificate.der();
  return {der.begin(), der.end()};
}

// The engine has answered a ClientHello once greet() was called, and it is the client's turn.
template <class Peer>
class OwnHandshakes : public testing::Test {
 protected:
  OwnHandshakes() : ca(make_ca("Device CA")), device(make_device("d", ca)), yes(Reason::None) {}

  void start_over() {
    made.emplace();
    output.release();
  }
  void greet(const Hello& hello) {
    engine.emplace(server.context(), server.config.auth == AuthMode::Mutual ? &yes : nullptr, output);
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

  Server server;
  const Identity509 ca, device;
  Says yes;
  std::optional<Peer> made{std::in_place};
  Peer& peer = *made;
  ByteBuffer output;
  Bytes pending;
  std::optional<TlsEngine> engine;
};

}  // namespace sallyport::test
