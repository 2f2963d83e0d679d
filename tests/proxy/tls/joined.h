// An engine and a real OpenSSL client, joined in memory: bytes go both ways until neither side has more to say.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/tls/tls_engine.h"
#include "tests/proxy/tls/tls_client.h"
#include "tests/proxy/tls/tls_server.h"

namespace sallyport::test {

struct Joined {
  Joined(Server& server, Verifier* verifier, const TlsClient::Options& options)
      : Joined(server.context(), verifier, options) {}
  Joined(const TlsContext& context, Verifier* verifier, const TlsClient::Options& options)
      : engine(context, verifier, output), client(options) {}

  // What the engine's handshake ended with.
  Step shake() {
    Step step = Step::WantInput;
    for (int i = 0; i < 20 && step == Step::WantInput; ++i) {
      client.handshake();
      pass_to_engine(client.give());
      step = engine.handshake();
      pass_to_client();
    }
    client_done = client.handshake();
    client.receive();  // a TLS 1.3 client hears of its refusal only now
    return step;
  }
  void pass_to_engine(std::vector<std::uint8_t> bytes) {
    pending.insert(pending.end(), bytes.begin(), bytes.end());
    engine.lend(pending);
  }
  void pass_to_client() {
    pending.erase(pending.begin(), pending.end() - static_cast<std::ptrdiff_t>(engine.unread()));
    engine.lend(pending);
    client.take(output.bytes());
    if (!output.empty()) output.consume(output.size());
  }
  Step read(std::string& into) {
    std::uint8_t plain[17 * 1024];
    std::size_t n = 0;
    const Step step = engine.read(plain, n);
    into.assign(reinterpret_cast<char*>(plain), n);
    return step;
  }

  ByteBuffer output;
  std::vector<std::uint8_t> pending;
  TlsEngine engine;
  TlsClient client;
  bool client_done = false;
};

}  // namespace sallyport::test
