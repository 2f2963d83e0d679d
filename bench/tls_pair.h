// A server as a listener has it, and one connection to it, for the engine's benchmarks: the real TlsContext and
// TlsEngine, the real gate behind the Verifier, and OpenSSL's client over memory. Only what the server does is timed,
// by its thread's CPU clock, so that neither the client's share nor a busy machine is counted.
#pragma once

#include <openssl/ssl.h>

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/gate_registry.h"
#include "cache/crypto/light_parsing.h"
#include "cache/crypto/locked_memory.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_context.h"
#include "proxy/tls/tls_engine.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::bench {

// As in main(), and then the first to use OpenSSL, as in `serve`.
inline const bool key_memory_first = [] {
  KeyMemory::install();
  return true;
}();
inline const OSSL_LIB_CTX* const light_first = light_parsing_context();

// Seconds of CPU this thread spent between begin() and end(), summed.
class CpuTime {
 public:
  void begin() { begun_ = now(); }
  void end() { sum_ += now() - begun_; }
  double seconds() const { return sum_; }

 private:
  static double now() {
    timespec at{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9;
  }
  double begun_ = 0, sum_ = 0;
};

// What a shard does when the engine asks it.
class GateVerifier final : public Verifier {
 public:
  explicit GateVerifier(const GateRegistry& registry) : registry_(registry) {}
  Verdict verify(const PeerChain& peer) override { return registry_.decide(peer); }
  Verdict resume(const Identity& identity, std::uint64_t chain, std::uint32_t epoch) override {
    return registry_.resume(identity, chain, epoch);
  }

 private:
  const GateRegistry& registry_;
};

struct Shape {
  int version = TLS1_3_VERSION;
  bool known = true;  // the device is registered; else every connection is its first
  bool tickets = true;
  bool resumed = false;
  bool intermediate = false;  // the device sends one
  test::Kind server_key = test::Kind::P256;
  const char* groups = "";  // the client's; empty: OpenSSL's own list
  TlsMadeBy engine = TlsMadeBy::Auto;
};

class TlsServer {
 public:
  explicit TlsServer(const Shape& shape) : shape_(shape) {
    test::Leaf leaf;
    leaf.cn = "server";
    leaf.subject_alt_name = "DNS:localhost";
    leaf.extended_key_usage = "serverAuth";
    const test::Identity509 made = test::make(leaf, &server_ca_, test::make_key(shape.server_key));
    ListenerConfig listener;
    listener.name = "mqtts";
    listener.tls_engine = shape.engine;
    listener.certificates.push_back(
        {folder_.write("chain.pem", made.certificate.pem()), folder_.write("key.pem", test::key_pem(made.key.get()))});
    auto created = TlsContext::create(listener, shape.tickets ? &keys_ : nullptr);
    if (created) context_ = std::move(*created);
    if (shape.known) registry_.enroll(device_.certificate, above());
  }
  const TlsContext* context() const { return context_.get(); }
  GateVerifier& verifier() { return verifier_; }
  test::TlsClient::Options client_options() const {
    test::TlsClient::Options options{
        .device = &device_, .trust = &server_ca_.certificate, .version = shape_.version, .groups = shape_.groups};
    if (shape_.intermediate) options.intermediates.push_back(&intermediate_.certificate);
    return options;
  }

 private:
  std::vector<Certificate> above() const {
    return shape_.intermediate ? std::vector<Certificate>{intermediate_.certificate} : std::vector<Certificate>{};
  }

  const Shape shape_;
  test::TempDir folder_;
  TicketKeys keys_{std::time(nullptr)};
  test::Identity509 server_ca_ = test::make_ca("Server CA");
  test::Identity509 root_ = test::make_ca("Root");
  test::Identity509 intermediate_ = test::make_ca("Intermediate", &root_);
  test::Identity509 device_ = test::make_device("meter-4711", shape_.intermediate ? intermediate_ : root_);
  GateRegistry registry_{{root_.certificate}};
  GateVerifier verifier_{registry_};
  std::unique_ptr<TlsContext> context_;
};

class TlsPair {
 public:
  explicit TlsPair(TlsServer& server) : client_(server.client_options()), server_(server) {}
  TlsPair(const TlsPair&) = delete;
  TlsPair& operator=(const TlsPair&) = delete;

  // From the first byte to both sides' end of the handshake. The server's steps begin and end `time`.
  bool shake(CpuTime& time) {
    client_.handshake();
    Step step = Step::WantInput;
    for (int flight = 0; flight < 4 && step == Step::WantInput; ++flight) {
      const std::vector<std::uint8_t> bytes = client_.give();
      time.begin();
      if (!engine_) engine_.emplace(*server_.context(), &server_.verifier(), output_);
      engine_->lend(bytes);
      step = engine_->handshake();
      time.end();
      client_.take(output_.bytes());
      if (!output_.empty()) output_.consume(output_.size());
      client_.handshake();
    }
    client_.receive();  // the ticket
    return step == Step::Done && client_.handshake();
  }
  // The end of the server's side.
  void drop(CpuTime& time) {
    time.begin();
    engine_.reset();
    time.end();
    client_.close();  // OpenSSL lets nobody resume a session that was not closed
  }

  test::TlsClient& client() { return client_; }
  TlsEngine& engine() { return *engine_; }
  ByteBuffer& output() { return output_; }

 private:
  test::TlsClient client_;
  TlsServer& server_;
  ByteBuffer output_;
  std::optional<TlsEngine> engine_;
};

}  // namespace sallyport::bench
