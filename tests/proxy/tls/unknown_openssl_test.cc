// With an OpenSSL of an unknown version everything is OpenSSL's own way, and serves: the tests of the engine that are
// linked with this file run so.
#include <gtest/gtest.h>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_insides.h"
#include "proxy/tls/tls_engine.h"
#include "proxy/tls/tls_self_test.h"
#include "tests/proxy/tls/tls_client.h"
#include "tests/proxy/tls/tls_server.h"

namespace sallyport::test {
namespace {

TEST(UnknownOpenssl, IsNotReliedOn) {
  EXPECT_FALSE(openssl_insides_hold());
  EXPECT_EQ(openssl_insides_refusal(), "this version is not among those tested");
  EXPECT_EQ(light_parsing_context(), nullptr);
  Server server;
  EXPECT_EQ(server.context().handshake_server(), nullptr);
}

TEST(UnknownOpenssl, KeepsItsConnections) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Server server;
    Says yes(Reason::None);
    const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
    ByteBuffer output;
    TlsEngine engine(server.context(), &yes, output);
    TlsClient client({.device = &device, .version = version});
    std::vector<std::uint8_t> pending;
    Step step = Step::WantInput;
    for (int turn = 0; turn < 10 && step == Step::WantInput; ++turn) {
      client.handshake();
      const auto more = client.give();
      pending.insert(pending.end(), more.begin(), more.end());
      engine.lend(pending);
      step = engine.handshake();
      pending.erase(pending.begin(), pending.end() - static_cast<std::ptrdiff_t>(engine.unread()));
      client.take(output.bytes());
      output.consume(output.size());
    }
    ASSERT_EQ(step, Step::Done);
    EXPECT_EQ(engine.missing({}), 0U) << "only TlsRecords knows what is missing";
  }
}

TEST(UnknownOpenssl, ServesAllThatTheSelfTestTries) {
  EXPECT_EQ(tls_self_test(), "");
}

}  // namespace
}  // namespace sallyport::test
