// Two implementations, one outcome: the same client says the same to an engine that is ours where it can be, and to one
// that is OpenSSL's alone. Both must answer with the same version, suite and group, and after each record both must
// have read the same bytes and go on, or have come to the same end with the same alert. Where they need not,
// outcome_differences.list says why.
//
// The first byte: bit 0, the ClientHello is a good one, else the rest is the first record's content; bit 1, the
// listener asks for no certificate; bit 2, the client takes a ticket; bit 3, TLS 1.2; bits 4-6, the bytes arrive torn
// into pieces of so many, 0: whole; bit 7, the ClientHello is not plain, so that the handshake is OpenSSL's and only
// the records are ours. Then records: how (bits 0-1: sealed, plain, raw bytes, what truly comes next, of which the
// other bits leave out so many), type, length, content; once the handshake is over, sealed means as a session's.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cache/crypto/light_parsing.h"
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
  Verdict verify(const PeerChain&) override {
    Verdict verdict;
    verdict.identity.emplace();
    verdict.identity->not_after = std::time(nullptr) + 3600;
    verdict.known = true;
    return verdict;
  }
};

// What is made once: keys are slow to make.
struct World {
  World() : ca(make_ca("Fuzz CA")), device(make_device("d", ca)) {
    light_parsing_context();  // the first to use OpenSSL, as in `serve`
    Leaf leaf;
    leaf.subject_alt_name = "DNS:localhost";
    const Identity509 server = make(leaf, &ca);
    ListenerConfig config;
    config.name = "fuzz";
    config.certificates.push_back(
        {dir.write("chain", server.certificate.pem()), dir.write("key", key_pem(server.key.get()))});
    for (const bool openssls : {false, true}) {
      for (const bool one_way : {false, true}) {
        config.tls_engine = openssls ? TlsMadeBy::Openssl : TlsMadeBy::Auto;
        config.auth = one_way ? AuthMode::OneWay : AuthMode::Mutual;
        auto made = TlsContext::create(config, &keys);
        require(made.operator bool());
        contexts[openssls ? 1 : 0][one_way ? 1 : 0] = std::move(*made);
      }
    }
    require(contexts[0][0]->handshake_server() != nullptr && contexts[1][0]->handshake_server() == nullptr);
  }
  TempDir dir;
  TicketKeys keys{std::time(nullptr)};
  Identity509 ca, device;
  std::unique_ptr<TlsContext> contexts[2][2];  // by whether it is OpenSSL's alone, and one-way
};

struct Script {
  bool good, one_way, ticket, tls12, not_plain;
  std::size_t piece;
  std::span<const std::uint8_t> rest;

  explicit Script(std::span<const std::uint8_t> bytes)
      : good((bytes[0] & 1) != 0),
        one_way((bytes[0] & 2) != 0),
        ticket((bytes[0] & 4) != 0),
        tls12((bytes[0] & 8) != 0),
        not_plain((bytes[0] & 0x80) != 0),
        piece(bytes[0] >> 4U & 7U),
        rest(bytes.subspan(1)) {}
};

// What has come of it so far. `end`: alert-N, failed without one, closed, open, or waits.
struct Outcome {
  std::string when = "hello", end = "waits", answer;
  Bytes read;
  bool operator==(const Outcome&) const = default;
  bool over() const { return end != "waits" && end != "open"; }
};

// The version, suite and group of a server's answer, its messages' types where they are in the clear; "": none.
std::string answer_of(std::span<const std::uint8_t> output) {
  std::ostringstream said;
  for (WireReader records(output); !records.empty();) {
    const std::size_t type = records.number(1);
    records.number(2);
    WireReader messages(records.vector(2));
    if (records.missing() || type != kHandshake) break;
    while (!messages.empty()) {
      const std::size_t kind = messages.number(1);
      WireReader body(messages.vector(3));
      if (messages.missing()) return said.str();
      said << " message " << kind;
      if (kind == 12) {
        body.number(1);
        said << " group " << body.number(2);
      }
      if (kind != 2) continue;
      static const Bytes kRetry = {0xCF, 0x21, 0xAD, 0x74};  // RFC 8446, section 4.1.3
      body.number(2);
      const auto random = body.take(32);
      if (random.size() == 32 && std::equal(kRetry.begin(), kRetry.end(), random.begin())) said << " retry";
      body.vector(1);
      said << " suite " << body.number(2);
      body.number(1);
      std::set<std::size_t> types;  // in whichever order
      for (WireReader extensions(body.vector(2)); !extensions.empty();) {
        const std::size_t extension = extensions.number(2);
        WireReader content(extensions.vector(2));
        types.insert(extension);
        if (extension == 43 || extension == 51) said << " " << extension << ":" << content.number(2);
      }
      for (const std::size_t each : types) said << " extension " << each;
    }
  }
  return said.str();
}

// One engine, and the client before it.
class Side {
 public:
  Side(World& world, const Script& script, bool openssls)
      : world_(world),
        script_(script),
        engine_(*world.contexts[openssls ? 1 : 0][script.one_way ? 1 : 0], script.one_way ? nullptr : &yes_, output_) {}

  // Each says a record, or the first one.
  void begin() {
    if (script_.good) return greet();
    const auto content = script_.rest.first(std::min(kMostPlain, script_.rest.size()));
    give(plain_record(kHandshake, Bytes(content.begin(), content.end())));
    outcome_.answer = answer_of(output_.bytes());
    note();
  }
  void say(std::uint8_t how, std::uint8_t type, const Bytes& content) {
    give(record(how, type, content));
    if (step_ == Step::Done && !open_) begin_session();
    note();
  }
  const Outcome& outcome() const { return outcome_; }

 private:
  enum : std::size_t { kCertificate, kExchange, kVerify, kChange, kFinished };

  bool over() const { return step_ == Step::Failed || step_ == Step::Closed || step_ == Step::Truncated; }

  void greet() {
    Hello hello = script_.tls12 ? hello12() : Hello(peer13_.share());
    if (script_.ticket) script_.tls12 ? hello.add(35, {}) : hello.add(45, vector_of({1}, 1));
    // signature_algorithms_cert: RFC 8446, section 4.2.3.
    if (script_.not_plain) hello.add(50, vector_of(numbers_of({0x0403, 0x0804, 0x0401}), 2));
    give(script_.tls12 ? peer12_.say(hello) : peer13_.say(hello));
    outcome_.answer = answer_of(output_.bytes());
    require(script_.tls12 ? peer12_.hear(output_.bytes()) : peer13_.hear(output_.bytes()));
    output_.consume(output_.size());
    outcome_.when = script_.tls12 ? "shake12" : "shake13";
  }

  // The handshake until it is done, then what is read.
  void give(const Bytes& bytes) {
    const std::size_t piece = script_.piece == 0 ? bytes.size() : script_.piece;
    for (std::size_t at = 0; at < bytes.size() && !over(); at += piece) {
      const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      pending_.insert(pending_.end(), from, from + static_cast<std::ptrdiff_t>(std::min(piece, bytes.size() - at)));
      engine_.lend(pending_);
      if (!engine_.established()) step_ = engine_.handshake();
      if (engine_.established()) read();
      pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(engine_.unread()));
      require(ERR_peek_error() == 0);
    }
  }
  void read() {
    std::vector<std::uint8_t> plain(pending_.size() + TlsRecords::kMostOpened);
    std::size_t n = 0;
    while ((step_ = engine_.read(plain, n)) == Step::Done) {
      outcome_.read.insert(outcome_.read.end(), plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(n));
    }
    if (step_ == Step::WantInput) step_ = Step::Done;
  }
  // What the server said last in the handshake is read here, so that its records can be told from then on.
  void begin_session() {
    open_ = true;
    outcome_.when = script_.tls12 ? "open12" : "open13";
    if (!script_.tls12) return;
    std::span<const std::uint8_t> bytes = output_.bytes();
    require(peer12_.hear_end(bytes));
    output_.consume(output_.size() - bytes.size());
  }

  Bytes record(std::uint8_t how, std::uint8_t type, const Bytes& content) {
    switch (how & 3) {
      case 0: return open_ && !script_.tls12 ? peer13_.seal_any(type, content) : seal(type, content);
      case 1: return plain_record(type, content);
      case 2: return content;
      default: return open_ ? Bytes() : next(how >> 2U);
    }
  }
  Bytes seal(std::uint8_t type, const Bytes& content) {
    if (!script_.tls12) return peer13_.seal(type, content);
    return agreed_ ? peer12_.seal(type, content) : plain_record(type, content);
  }
  Bytes next(std::size_t left_out) {
    const std::size_t messages = script_.tls12 ? (script_.one_way ? 3 : 5) : script_.one_way ? 1 : 3;
    const std::size_t which = (said_ + left_out) % messages;
    said_ = which + 1;
    return script_.tls12 ? message12(which) : message13(which + 3 - messages);
  }
  Bytes der() const {
    const std::string& bytes = world_.device.certificate.der();
    return {bytes.begin(), bytes.end()};
  }
  Bytes message13(std::size_t at) {
    const Bytes message = at == 0   ? peer13_.certificate({der()})
                          : at == 1 ? peer13_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256")
                                    : peer13_.finished();
    peer13_.said(message);
    return seal(kHandshake, message);
  }
  Bytes message12(std::size_t which) {
    const std::size_t at = !script_.one_way ? which : which == 0 ? kExchange : which + 2;
    if (at == kChange) return peer12_.change_cipher_spec();
    if (at == kFinished) agree();
    const Bytes message = at == kCertificate ? peer12_.certificate({der()})
                          : at == kExchange  ? peer12_.key_exchange()
                          : at == kVerify    ? peer12_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256")
                                             : peer12_.finished();
    peer12_.said(message);
    if (at == kExchange) agree();
    return at < kChange ? plain_record(kHandshake, message) : seal(kHandshake, message);
  }
  void agree() {
    if (!agreed_) peer12_.agree();
    agreed_ = true;
  }

  // The first fatal alert in what was said since the answer.
  std::optional<int> alert() {
    std::span<const std::uint8_t> bytes = output_.bytes();
    const bool sealed = outcome_.when == "shake13" || open_;
    while (!bytes.empty()) {
      std::optional<InnerRecord> record;
      if (sealed) {
        record = script_.tls12 ? peer12_.open(bytes) : peer13_.open(bytes);
      } else if (bytes.size() >= 5) {
        const std::size_t length = std::size_t{bytes[3]} << 8 | bytes[4];
        require(bytes.size() >= 5 + length);
        record =
            InnerRecord{bytes[0], Bytes(bytes.begin() + 5, bytes.begin() + 5 + static_cast<std::ptrdiff_t>(length))};
        bytes = bytes.subspan(5 + length);
      }
      require(record.has_value());
      if (record->type == kAlert && record->content.size() == 2 && record->content[0] == 2) return record->content[1];
    }
    return std::nullopt;
  }
  void note() {
    if (step_ == Step::Failed) {
      const auto said = alert();
      outcome_.end = said ? "alert-" + std::to_string(*said) : "failed";
    } else if (step_ == Step::Closed) {
      outcome_.end = "closed";
    } else if (open_ && outcome_.end == "waits") {
      outcome_.end = "open";
      // OpenSSL sends a ticket also to who will not use it (RFC 8446, section 4.2.9: SHOULD NOT).
      outcome_.answer += " " + std::string(engine_.cipher_name()) + " group " +
                         std::to_string(static_cast<int>(engine_.key_group())) +
                         (script_.ticket && engine_.ticket_issued() ? " ticket" : "");
    }
  }

  World& world_;
  const Script script_;
  Yes yes_;
  ByteBuffer output_;
  TlsEngine engine_;
  Tls13Peer peer13_;
  Tls12Peer peer12_;
  Bytes pending_;
  Step step_ = Step::WantInput;
  bool open_ = false, agreed_ = false;
  std::size_t said_ = 0;
  Outcome outcome_;
};

// WHEN RECORD OURS OPENSSLS reason: what may be so of ours and of OpenSSL's after a record, the first that differs.
class Differences {
 public:
  Differences() {
    const char* other = std::getenv("SALLYPORT_DIFFERENCES");
    std::ifstream file(other != nullptr ? other : SALLYPORT_DIFFERENCES_LIST);
    require(file.is_open());
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string when, record, ours, openssls, reason;
      if (line.empty() || line[0] == '#') continue;
      require(static_cast<bool>(words >> when >> record >> ours >> openssls >> reason));
      listed_.insert(when + ' ' + record + ' ' + ours + ' ' + openssls);
    }
  }
  // `end`: of ours; with a "+" where it may still come to a session.
  bool has(const std::string& when, const std::string& record, const std::string& end, const Outcome& openssls) const {
    const std::string ends = ' ' + end + ' ' + openssls.end;
    return listed_.count(when + ' ' + record + ends) > 0 || listed_.count(when + " *" + ends) > 0;
  }

 private:
  std::set<std::string> listed_;
};

// What a record is called in the list.
std::string name_of(std::uint8_t how, std::uint8_t type, std::size_t length) {
  if ((how & 3) >= 2) return (how & 3) == 2 ? "raw" : "next";
  static constexpr const char* kTypes[] = {"change", "alert", "handshake", "data"};
  const char* kind = type >= kChangeCipherSpec && type <= kApplicationData ? kTypes[type - kChangeCipherSpec] : "other";
  return std::string((how & 3) == 0 ? "sealed-" : "plain-") + kind + (length == 0 ? "-empty" : "");
}

void report(const char* what, const std::string& when, const std::string& record, const Side& ours,
            const Side& openssls) {
  const Outcome &a = ours.outcome(), &b = openssls.outcome();
  std::fprintf(stderr, "outcome: %s %s %s %s (%s): ours [%s], %zu read; OpenSSL's %s [%s], %zu read\n", when.c_str(),
               record.c_str(), a.end.c_str(), b.end.c_str(), what, a.answer.c_str(), a.read.size(), b.when.c_str(),
               b.answer.c_str(), b.read.size());
  __builtin_trap();
}

void run_script(std::span<const std::uint8_t> bytes) {
  static World world;
  static const Differences differences;
  const Script script(bytes);
  Side ours(world, script, false), openssls(world, script, true);
  ours.begin();
  openssls.begin();
  std::string when = "hello", record = "hello";
  bool differ = false, may_go_on = false;
  for (auto records = script.good ? script.rest : std::span<const std::uint8_t>();;) {
    if (!differ && !(ours.outcome() == openssls.outcome())) {
      differ = true;
      may_go_on = differences.has(when, record, ours.outcome().end + '+', openssls.outcome());
      if (!may_go_on && !differences.has(when, record, ours.outcome().end, openssls.outcome())) {
        report("not listed", when, record, ours, openssls);
      }
    }
    // What OpenSSL has refused already must not come to a session of ours.
    if (differ && !may_go_on && !when.starts_with("open") && ours.outcome().end == "open") {
      report("it went on", when, record, ours, openssls);
    }
    if (ours.outcome().over() || records.size() < 3) return;
    const auto content = records.subspan(3, std::min<std::size_t>(records[2], records.size() - 3));
    when = ours.outcome().when;
    record = name_of(records[0], records[1], content.size());
    ours.say(records[0], records[1], Bytes(content.begin(), content.end()));
    if (!differ) openssls.say(records[0], records[1], Bytes(content.begin(), content.end()));
    records = records.subspan(3 + content.size());
  }
}

}  // namespace
}  // namespace sallyport::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) sallyport::test::run_script({data, size});
  return 0;
}
