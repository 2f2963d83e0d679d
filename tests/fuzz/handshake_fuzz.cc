// What anyone may send to our own TLS 1.3 handshake: any first record, and behind a good ClientHello any records, under
// the right key or not. Nothing but a certificate, its proof and a Finished ends in an established session, or a ticket
// and a Finished, and a refusal is final.
//
// The first byte: bit 0, the ClientHello is a good one, else the rest is the first record's content; bit 1, the
// listener asks for no certificate; bit 2, the ClientHello offers a ticket, and where it is not a good one the rest
// says at which byte of it (two bytes) what is changed (one), in turn. Then records: how (bits 0-1: sealed, plain, raw
// bytes, the true next message), type, length, content.
#include <openssl/err.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <span>

#include "proxy/ticket_keys.h"
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
    return admitted();
  }
  Verdict resume(const Identity&, std::uint64_t) override {
    ++asked_to_resume;
    return admitted();
  }
  static Verdict admitted() {
    Verdict verdict;
    verdict.identity.emplace();
    verdict.identity->not_after = std::time(nullptr) + 3600;
    verdict.known = true;
    return verdict;
  }
  int asked = 0, asked_to_resume = 0;
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
    auto made = TlsContext::create(config, &keys);
    config.auth = AuthMode::OneWay;
    auto made_one_way = TlsContext::create(config, &keys);
    require(made && made_one_way);
    mutual = std::move(*made);
    one_way = std::move(*made_one_way);
  }
  TempDir dir;
  TicketKeys keys{std::time(nullptr)};
  Identity509 ca, device;
  std::unique_ptr<TlsContext> mutual, one_way;
  std::optional<KeptTicket> kept[2];  // by whether it is the one-way listener's
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
    require(step != Step::Done || engine_.resumed() == peer_.resumed);
    require(step != Step::Done || (said_ == messages() && (one_way_ || decided())));
    return step;
  }
  // Of a ticket that came back unchanged, or of none.
  bool greet(const KeptTicket* kept) {
    Hello hello(peer_.share());
    if (kept == nullptr) hello.add(45, vector_of({1}, 1));
    const Bytes message = kept == nullptr ? hello.message() : peer_.offer(hello, *kept);
    const bool heard = give(peer_.say(message)) == Step::WantInput && peer_.hear(output_.bytes());
    output_.consume(output_.size());
    return heard && peer_.resumed == (kept != nullptr);
  }
  // Somebody changed it on its way: it is not honoured.
  void greet_changed(const KeptTicket& kept, std::span<const std::uint8_t> changes) {
    Bytes message = peer_.offer(Hello(peer_.share()), kept);
    const Bytes before = message;
    for (; changes.size() >= 3; changes = changes.subspan(3)) {
      message[(std::size_t{changes[0]} << 8 | changes[1]) % message.size()] ^= changes[2];
    }
    if (message == before) return;
    const Step step = give(peer_.say(message));
    require(step != Step::Done);
    require(step != Step::WantInput || output_.empty() || !peer_.hear(output_.bytes()) || !peer_.resumed);
  }
  std::optional<KeptTicket> take_ticket() {
    std::span<const std::uint8_t> bytes = output_.bytes();
    return peer_.take_ticket(bytes);
  }
  Step record(std::uint8_t how, std::uint8_t type, const Bytes& content) {
    switch (how & 3) {
      case 0: return give(peer_.seal(type, content));
      case 1: return give(plain_record(type, content));
      case 2: return give(content);
      default: return give(peer_.seal(kHandshake, next()));
    }
  }

 private:
  std::size_t messages() const { return one_way_ || peer_.resumed ? 1 : 3; }
  bool decided() const { return peer_.resumed ? yes_.asked_to_resume == 1 && yes_.asked == 0 : yes_.asked == 1; }
  Bytes next() {
    const std::size_t at = said_++ + 3 - messages();
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
  const bool one_way = (flags & 2) != 0;
  std::optional<KeptTicket>& kept = world.kept[one_way ? 1 : 0];
  if (!kept) {
    Run first(world, one_way);
    require(first.greet(nullptr));
    for (Step step = Step::WantInput; step == Step::WantInput;) step = first.record(3, 0, {});
    kept = first.take_ticket();
    require(kept.has_value());
  }
  Run run(world, one_way);
  if ((flags & 5) == 4) return run.greet_changed(*kept, rest);
  if ((flags & 1) == 0) {
    run.give(plain_record(kHandshake, take(kMostPlain)));
    return;
  }
  require(run.greet((flags & 4) != 0 ? &*kept : nullptr));
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
