// What anyone may send to our own TLS 1.3 handshake: any first record, and behind a good ClientHello any records, under
// the right key or not. Nothing but a certificate, its proof and a Finished ends in an established session, and a
// refusal is final.
//
// The first byte: bit 0, the ClientHello is a good one, else the rest is the first record's content; bit 1, the
// listener asks for no certificate. Then records: how (bits 0-1: sealed, plain, raw bytes, the true next message),
// type, length, content.
#include <openssl/err.h>

#include <cstdint>
#include <span>

#include "proxy/tls_engine.h"
#include "tests/cache/test_pki.h"
#include "tests/proxy/tls13_peer.h"

namespace sallyport::test {
namespace {

void require(bool invariant) {
  if (!invariant) __builtin_trap();
}

class Yes final : public Verifier {
 public:
  Verdict verify(const PeerChain& peer) override {
    require((peer.leaf != nullptr) != (peer.plain != nullptr));
    ++asked;
    Verdict verdict;
    verdict.identity.emplace();
    verdict.known = true;
    return verdict;
  }
  int asked = 0;
};

// What is made once: keys are slow to make.
struct World {
  World() : ca(make_ca("Fuzz CA")), device(make_device("d", ca)) {
    Leaf leaf;
    leaf.subject_alt_name = "DNS:localhost";
    const Identity509 server = make(leaf, &ca);
    ListenerConfig config;
    config.name = "fuzz";
    config.certificates.push_back(
        {dir.write("chain", server.certificate.pem()), dir.write("key", key_pem(server.key.get()))});
    auto made = TlsContext::create(config);
    config.auth = AuthMode::OneWay;
    auto made_one_way = TlsContext::create(config);
    require(made && made_one_way);
    mutual = std::move(*made);
    one_way = std::move(*made_one_way);
  }
  TempDir dir;
  Identity509 ca, device;
  std::unique_ptr<TlsContext> mutual, one_way;
};

class Run {
 public:
  Run(World& world, bool one_way)
      : world_(world),
        one_way_(one_way),
        engine_(one_way ? *world.one_way : *world.mutual, one_way ? nullptr : &yes_, output_) {}

  Step give(const Bytes& bytes) {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    engine_.lend(pending_);
    const Step step = engine_.handshake();
    pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(engine_.unread()));
    require(ERR_peek_error() == 0);
    require(engine_.established() == (step == Step::Done));
    require(step != Step::Done || (said_ == messages() && (one_way_ || yes_.asked == 1)));
    return step;
  }
  bool greet() { return give(peer_.say(Hello(peer_.share()))) == Step::WantInput && peer_.hear(output_.bytes()); }
  Step record(std::uint8_t how, std::uint8_t type, const Bytes& content) {
    switch (how & 3) {
      case 0: return give(peer_.seal(type, content));
      case 1: return give(plain_record(type, content));
      case 2: return give(content);
      default: return give(peer_.seal(kHandshake, next()));
    }
  }

 private:
  std::size_t messages() const { return one_way_ ? 1 : 3; }
  Bytes next() {
    const std::size_t at = said_++ + (one_way_ ? 2 : 0);
    const std::string& der = world_.device.certificate.der();
    const Bytes message = at == 0   ? peer_.certificate({Bytes(der.begin(), der.end())})
                          : at == 1 ? peer_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256")
                                    : peer_.finished();
    peer_.said(message);
    return message;
  }

  World& world_;
  const bool one_way_;
  Yes yes_;
  ByteBuffer output_;
  Bytes pending_;
  Tls13Peer peer_;
  std::size_t said_ = 0;
  TlsEngine engine_;
};

void run_script(std::span<const std::uint8_t> script) {
  static World world;
  const std::uint8_t flags = script[0];
  std::span<const std::uint8_t> rest = script.subspan(1);
  const auto take = [&rest](std::size_t n) {
    const auto taken = rest.first(std::min(n, rest.size()));
    rest = rest.subspan(taken.size());
    return Bytes(taken.begin(), taken.end());
  };
  Run run(world, (flags & 2) != 0);
  if ((flags & 1) == 0) {
    run.give(plain_record(kHandshake, take(kMostPlain)));
    return;
  }
  require(run.greet());
  for (Step step = Step::WantInput; step == Step::WantInput && rest.size() >= 3;) {
    const Bytes head = take(3);
    step = run.record(head[0], head[1], take(head[2]));
  }
}

}  // namespace
}  // namespace sallyport::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) sallyport::test::run_script({data, size});
  return 0;
}
