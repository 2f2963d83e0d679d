// What anyone may send to our own handshakes: any first record, and behind a good ClientHello any records, under the
// right key or not. Nothing but a certificate, its proof and a Finished, with the key exchange and ChangeCipherSpec
// between them in TLS 1.2, ends in an established session, or a ticket and a Finished, and a refusal is final.
//
// The first byte: bit 0, the ClientHello is a good one, else the rest is the first record's content; bit 1, the
// listener asks for no certificate; bit 2, the ClientHello offers a ticket, and where it is not a good one the rest
// says at which byte of it (two bytes) what is changed (one), in turn; bit 3, a good ClientHello is one of TLS 1.2, and
// bit 2 that it takes a ticket. Then records: how (bits 0-1: sealed, plain, raw bytes, what truly comes next, of which
// the other bits leave out so many), type, length, content.
#include <openssl/err.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>

#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_engine.h"
#include "tests/cache/test_pki.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls13_peer.h"

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
  Verdict resume(const Identity&, std::uint64_t, std::uint32_t) override {
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

// One connection, and what is so of it at any time.
class Run {
 public:
  Run(World& world, bool one_way)
      : world_(world),
        one_way_(one_way),
        engine_(one_way ? *world.one_way : *world.mutual, one_way ? nullptr : &yes_, output_) {}
  virtual ~Run() = default;

  Step give(const Bytes& bytes) {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    engine_.lend(pending_);
    const Step step = engine_.handshake();
    pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(engine_.unread()));
    require(ERR_peek_error() == 0);
    require(engine_.established() == (step == Step::Done));
    require(step != Step::Done || (!refused_ && in_order_ && said_ == messages() && is_decided()));
    refused_ = refused_ || step == Step::Failed;
    return step;
  }
  Step record(std::uint8_t how, std::uint8_t type, const Bytes& content) {
    switch (how & 3) {
      case 0: return give(seal(type, content));
      case 1: return give(plain_record(type, content));
      case 2: return give(content);
      default: return say_next(how >> 2U);
    }
  }

 protected:
  virtual std::size_t messages() const = 0;      // how many the handshake takes of a client behind its ClientHello
  virtual Bytes message(std::size_t which) = 0;  // the record of one of them
  virtual Bytes seal(std::uint8_t type, const Bytes& content) = 0;
  virtual bool is_decided() const = 0;  // whoever has to decide was asked, once
  Bytes device() const {
    const std::string& der = world_.device.certificate.der();
    return {der.begin(), der.end()};
  }

  World& world_;
  const bool one_way_;
  Yes yes_;
  ByteBuffer output_;
  TlsEngine engine_;

 private:
  Step say_next(std::size_t left_out) {
    in_order_ = in_order_ && left_out % messages() == 0;
    const std::size_t which = (said_ + left_out) % messages();
    said_ = which + 1;
    return give(message(which));
  }

  Bytes pending_;
  std::size_t said_ = 0;  // which message was said last, counted from one
  bool in_order_ = true, refused_ = false;
};

class Run13 final : public Run {
 public:
  using Run::Run;

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

 private:
  std::size_t messages() const override { return one_way_ || peer_.resumed ? 1 : 3; }
  bool is_decided() const override {
    if (engine_.resumed() != peer_.resumed) return false;
    return one_way_ || (peer_.resumed ? yes_.asked_to_resume == 1 && yes_.asked == 0 : yes_.asked == 1);
  }
  Bytes seal(std::uint8_t type, const Bytes& content) override { return peer_.seal(type, content); }
  Bytes message(std::size_t which) override {
    const std::size_t at = which + 3 - messages();
    const Bytes message = at == 0   ? peer_.certificate({device()})
                          : at == 1 ? peer_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256")
                                    : peer_.finished();
    peer_.said(message);
    return seal(kHandshake, message);
  }

  Tls13Peer peer_;
};

class Run12 final : public Run {
 public:
  using Run::Run;

  bool greet(bool takes_ticket) {
    Hello hello = hello12();
    if (takes_ticket) hello.add(35, {});
    const bool heard = give(peer_.say(hello)) == Step::WantInput && peer_.hear(output_.bytes());
    output_.consume(output_.size());
    return heard;
  }
  // After Done.
  void hear_end(bool takes_ticket) {
    std::span<const std::uint8_t> bytes = output_.bytes();
    require(peer_.hear_end(bytes) && bytes.empty());
    require(peer_.ticket.has_value() == takes_ticket);
  }

 private:
  enum : std::size_t { kCertificate, kExchange, kVerify, kChange, kFinished };
  std::size_t messages() const override { return one_way_ ? 3 : 5; }
  bool is_decided() const override { return !engine_.resumed() && yes_.asked == (one_way_ ? 0 : 1); }
  Bytes seal(std::uint8_t type, const Bytes& content) override {
    return agreed_ ? peer_.seal(type, content) : plain_record(type, content);
  }
  Bytes message(std::size_t which) override {
    const std::size_t at = !one_way_ ? which : which == 0 ? kExchange : which + 2;
    if (at == kChange) return peer_.change_cipher_spec();
    if (at == kFinished) agree();
    const Bytes message = at == kCertificate ? peer_.certificate({device()})
                          : at == kExchange  ? peer_.key_exchange()
                          : at == kVerify    ? peer_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256")
                                             : peer_.finished();
    peer_.said(message);
    if (at == kExchange) agree();
    return at < kChange ? plain_record(kHandshake, message) : seal(kHandshake, message);
  }
  // Also with a key exchange that was left out.
  void agree() {
    if (!agreed_) peer_.agree();
    agreed_ = true;
  }

  Tls12Peer peer_;
  bool agreed_ = false;
};

// Every record there is, also those that follow a refusal.
Step play(Run& run, std::span<const std::uint8_t> records) {
  Step step = Step::WantInput;
  while ((step == Step::WantInput || step == Step::Failed) && records.size() >= 3) {
    const auto content = records.subspan(3, std::min<std::size_t>(records[2], records.size() - 3));
    step = run.record(records[0], records[1], Bytes(content.begin(), content.end()));
    records = records.subspan(3 + content.size());
  }
  return step;
}

void run_script(std::span<const std::uint8_t> script) {
  static World world;
  const std::uint8_t flags = script[0];
  const std::span<const std::uint8_t> rest = script.subspan(1);
  const bool good = (flags & 1) != 0, one_way = (flags & 2) != 0, ticket = (flags & 4) != 0, tls12 = (flags & 8) != 0;
  if (good && tls12) {
    Run12 run(world, one_way);
    require(run.greet(ticket));
    if (play(run, rest) == Step::Done) run.hear_end(ticket);
    return;
  }
  std::optional<KeptTicket>& kept = world.kept[one_way ? 1 : 0];
  if (!kept) {
    Run13 first(world, one_way);
    require(first.greet(nullptr));
    for (Step step = Step::WantInput; step == Step::WantInput;) step = first.record(3, 0, {});
    kept = first.take_ticket();
    require(kept.has_value());
  }
  Run13 run(world, one_way);
  if (!good && ticket) return run.greet_changed(*kept, rest);
  if (!good) {
    const auto content = rest.first(std::min(kMostPlain, rest.size()));
    run.give(plain_record(kHandshake, Bytes(content.begin(), content.end())));
    return;
  }
  require(run.greet(ticket ? &*kept : nullptr));
  play(run, rest);
}

}  // namespace
}  // namespace sallyport::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) sallyport::test::run_script({data, size});
  return 0;
}
