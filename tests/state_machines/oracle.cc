// Says to a TlsEngine what it is told, a message at a time, and answers with what came back: what learn.py learns the
// engine's state machine from. A line of standard input is a connection, of messages' names; a line of standard output
// is what each was answered with, with "|" between them. The engine knows nothing of this: it reads and writes bytes.
//
//   oracle tls12|tls13 mutual|one-way auto|openssl
//
// A message is what it should be for all that was said before, whether or not it may come now: a Finished has the right
// MAC of the messages so far. It is sealed once the client's key is due.
#include <openssl/ssl.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include "cache/crypto/light_parsing.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_engine.h"
#include "tests/cache/test_pki.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls13_peer.h"

namespace sallyport::test {
namespace {

class Yes final : public Verifier {
 public:
  Verdict verify(const PeerChain&) override { return yes(); }
  Verdict resume(const Identity&, std::uint64_t, std::uint32_t) override { return yes(); }

 private:
  static Verdict yes() {
    Verdict verdict;
    verdict.identity.emplace();
    verdict.identity->not_after = std::time(nullptr) + 3600;
    verdict.known = true;
    return verdict;
  }
};

// What is made once, and the ticket that is offered.
struct World {
  World(bool one_way, bool openssls) : one_way(one_way), ca(make_ca("CA")), device(make_device("d", ca)) {
    if (!openssls) light_parsing_context();
    Leaf leaf;
    leaf.subject_alt_name = "DNS:localhost";
    const Identity509 server = make(leaf, &ca);
    ListenerConfig config;
    config.name = "oracle";
    config.auth = one_way ? AuthMode::OneWay : AuthMode::Mutual;
    config.tls_engine = openssls ? TlsMadeBy::Openssl : TlsMadeBy::Auto;
    config.certificates.push_back(
        {dir.write("chain", server.certificate.pem()), dir.write("key", key_pem(server.key.get()))});
    auto made = TlsContext::create(config, &keys);
    CHECK(made.operator bool());
    context = std::move(*made);
  }
  Bytes der() const { return {device.certificate.der().begin(), device.certificate.der().end()}; }

  const bool one_way;
  TempDir dir;
  TicketKeys keys{std::time(nullptr)};
  Identity509 ca, device;
  std::unique_ptr<TlsContext> context;
  std::optional<KeptTicket> kept;
};

std::string alert_name(int alert) {
  if (alert == SSL_AD_CERTIFICATE_REQUIRED) return "certificate_required";  // OpenSSL 3.0 has no name for it
  std::string name = SSL_alert_desc_string_long(alert);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}
std::string message_name(std::uint8_t type) {
  static const std::map<std::uint8_t, std::string> kNames = {
      {2, "ServerHello"},        {4, "NewSessionTicket"},    {8, "EncryptedExtensions"}, {11, "Certificate"},
      {12, "ServerKeyExchange"}, {13, "CertificateRequest"}, {14, "ServerHelloDone"},    {15, "CertificateVerify"},
      {20, "Finished"},          {24, "KeyUpdate"}};
  const auto found = kNames.find(type);
  return found == kNames.end() ? "message_" + std::to_string(type) : found->second;
}

// One connection, from the client's side.
class Connection {
 public:
  explicit Connection(World& world)
      : world_(world), engine_(*world.context, world.one_way ? nullptr : &yes_, output_) {}
  virtual ~Connection() = default;

  std::string say(const std::string& message) {
    if (ended_) return "ended";
    give(record_of(message));
    std::string answer = heard();
    if (step_ == Step::Done && !established_) {
      established_ = true;
      answer += engine_.resumed() ? " established_by_ticket" : " established";
    }
    if (!read_.empty()) answer += " data";
    read_.clear();
    if (step_ == Step::Closed) answer += " closed";
    if (step_ == Step::Failed) answer += " failed";
    ended_ = step_ != Step::Done && step_ != Step::WantInput;
    return answer.empty() ? "-" : answer.substr(answer.front() == ' ' ? 1 : 0);
  }
  bool established() const { return established_; }

 protected:
  virtual Bytes record_of(const std::string& message) = 0;
  virtual std::string heard() = 0;  // what the output says; it is taken

  Bytes alert_of(const std::string& message) const { return message == "CloseNotify" ? Bytes{1, 0} : Bytes{2, 40}; }
  static std::string told(const InnerRecord& record) {
    if (record.type == kAlert && record.content.size() == 2) {
      return std::string(record.content[0] == 2 ? " alert_" : " warning_") + alert_name(record.content[1]);
    }
    if (record.type == kChangeCipherSpec) return " ChangeCipherSpec";
    if (record.type == kHandshake && !record.content.empty()) return " " + message_name(record.content[0]);
    return " record_" + std::to_string(record.type);
  }
  // Those that are not sealed, off the front.
  static std::string in_the_clear(std::span<const std::uint8_t>& bytes) {
    if (bytes.size() < 5) return "";
    const std::size_t length = std::size_t{bytes[3]} << 8 | bytes[4];
    const auto content = bytes.subspan(5, length);
    const InnerRecord record{bytes[0], Bytes(content.begin(), content.end())};
    bytes = bytes.subspan(5 + length);
    return told(record);
  }

  World& world_;
  Yes yes_;
  ByteBuffer output_;
  TlsEngine engine_;
  bool established_ = false;

 private:
  void give(const Bytes& bytes) {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    engine_.lend(pending_);
    if (!engine_.established()) step_ = engine_.handshake();
    if (engine_.established()) {
      std::vector<std::uint8_t> plain(pending_.size() + TlsRecords::kMostOpened);
      std::size_t n = 0;
      while ((step_ = engine_.read(plain, n)) == Step::Done) read_.append(n, 'x');
      if (step_ == Step::WantInput) step_ = Step::Done;
    }
    pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(engine_.unread()));
  }
  Bytes pending_;
  std::string read_;
  Step step_ = Step::WantInput;
  bool ended_ = false;
};

class Connection13 final : public Connection {
 public:
  using Connection::Connection;
  std::optional<KeptTicket> ticket;

 private:
  Bytes record_of(const std::string& message) override {
    if (message == "ClientHello" || message == "TicketHello") return greeting(message == "TicketHello");
    if (message == "ChangeCipherSpec") return plain_record(kChangeCipherSpec, {1});
    if (message == "Data") return sealed(kApplicationData, {'h', 'i'});
    if (message == "CloseNotify" || message == "FatalAlert") return sealed(kAlert, alert_of(message));
    if (message == "KeyUpdate" && established_) return peer_.update_key();
    if (message == "KeyUpdate") return sealed(kHandshake, key_update_message(0));
    Bytes made;
    if (message == "Certificate") made = peer_.certificate({world_.der()});
    if (message == "NoCertificate") made = peer_.certificate({});
    if (message == "CertificateVerify" || message == "BadCertificateVerify") {
      made = peer_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256");
    }
    if (message == "Finished" || message == "BadFinished")
      made = greeted_ ? peer_.finished() : message_of(20, Bytes(32));
    CHECK(!made.empty());
    if (message.starts_with("Bad")) made.back() ^= 1;
    const Bytes record = sealed(kHandshake, made);
    peer_.said(made);
    return record;
  }
  Bytes greeting(bool with_ticket) {
    if (greeted_) return sealed(kHandshake, Hello(peer_.share()).message());
    Hello hello(peer_.share());
    if (!with_ticket) hello.add(45, vector_of({1}, 1));
    return peer_.say(with_ticket ? peer_.offer(hello, *world_.kept) : hello.message());
  }
  Bytes sealed(std::uint8_t type, const Bytes& content) {
    if (!greeted_) return plain_record(type, content);
    return established_ ? peer_.seal_any(type, content) : peer_.seal(type, content);
  }
  std::string heard() override {
    std::string answer;
    std::span<const std::uint8_t> bytes = output_.bytes();
    if (!greeted_ && bytes.size() > 6 && bytes[0] == kHandshake) {
      CHECK(peer_.hear(bytes));
      for (const Bytes& message : peer_.heard) answer += " " + message_name(message.front());
      greeted_ = true;
    } else if (!greeted_) {
      while (!bytes.empty()) answer += in_the_clear(bytes);
    } else {
      while (!bytes.empty()) {
        auto ahead = bytes;
        if (const auto kept = !ticket && engine_.established() ? take(ahead) : std::nullopt) {
          ticket = kept;
          bytes = ahead;
          answer += " NewSessionTicket";
          continue;
        }
        const auto record = peer_.open(bytes);
        CHECK(record.has_value());
        answer += told(*record);
      }
    }
    output_.consume(output_.size());
    return answer;
  }
  std::optional<KeptTicket> take(std::span<const std::uint8_t>& bytes) { return peer_.take_ticket(bytes); }

  Tls13Peer peer_;
  bool greeted_ = false;
};

class Connection12 final : public Connection {
 public:
  using Connection::Connection;

 private:
  Bytes record_of(const std::string& message) override {
    if (message == "ClientHello" && !greeted_) return peer_.say(hello12());
    if (message == "ChangeCipherSpec") {
      const Bytes record = changed_ ? peer_.seal(kChangeCipherSpec, {1}) : Tls12Peer::change_cipher_spec();
      if (greeted_) agree();
      changed_ = changed_ || greeted_;
      return record;
    }
    if (message == "Data") return sealed(kApplicationData, {'h', 'i'});
    if (message == "CloseNotify" || message == "FatalAlert") return sealed(kAlert, alert_of(message));
    Bytes made;
    if (message == "ClientHello") made = hello12().message();
    if (message == "Certificate") made = Tls12Peer::certificate({world_.der()});
    if (message == "NoCertificate") made = Tls12Peer::certificate({});
    if (message == "ClientKeyExchange") made = peer_.key_exchange();
    if (message == "CertificateVerify" || message == "BadCertificateVerify") {
      made = peer_.certificate_verify(world_.device.key.get(), 0x0403, "SHA256");
    }
    if (message == "Finished" || message == "BadFinished") {
      if (greeted_) agree();
      made = agreed_ ? peer_.finished() : message_of(20, Bytes(12));
    }
    CHECK(!made.empty());
    if (message.starts_with("Bad")) made.back() ^= 1;
    const Bytes record = sealed(kHandshake, made);
    if (message != "ClientHello") peer_.said(made);
    if (message == "ClientKeyExchange" && greeted_) agree();
    return record;
  }
  Bytes sealed(std::uint8_t type, const Bytes& content) {
    return changed_ ? peer_.seal(type, content) : plain_record(type, content);
  }
  void agree() {
    if (!agreed_) peer_.agree();
    agreed_ = true;
  }
  std::string heard() override {
    std::string answer;
    std::span<const std::uint8_t> bytes = output_.bytes();
    if (!greeted_ && bytes.size() > 7 && bytes[0] == kHandshake) {
      CHECK(peer_.hear(bytes));
      for (const Bytes& message : peer_.heard) answer += " " + message_name(message.front());
      greeted_ = true;
    } else if (engine_.established() && !established_) {
      CHECK(peer_.hear_end(bytes));
      answer += peer_.ticket ? " NewSessionTicket ChangeCipherSpec Finished" : " ChangeCipherSpec Finished";
    } else {
      while (!bytes.empty()) {
        if (!established_) {
          answer += in_the_clear(bytes);
          continue;
        }
        const auto record = peer_.open(bytes);
        CHECK(record.has_value());
        answer += told(*record);
      }
    }
    output_.consume(output_.size());
    return answer;
  }

  Tls12Peer peer_;
  bool greeted_ = false, changed_ = false, agreed_ = false;
};

int run(const std::string& version, World& world) {
  if (version == "tls13") {
    Connection13 first(world);
    std::istringstream all(world.one_way ? "ClientHello Finished"
                                         : "ClientHello Certificate CertificateVerify Finished");
    for (std::string message; all >> message;) first.say(message);
    CHECK(first.established() && first.ticket);
    world.kept = first.ticket;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::unique_ptr<Connection> connection;
    if (version == "tls13") {
      connection = std::make_unique<Connection13>(world);
    } else {
      connection = std::make_unique<Connection12>(world);
    }
    std::istringstream messages(line);
    std::string answers;
    for (std::string message; messages >> message;) {
      if (!answers.empty()) answers += '|';
      answers += connection->say(message);
    }
    std::cout << answers << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace sallyport::test

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: oracle tls12|tls13 mutual|one-way auto|openssl\n");
    return 2;
  }
  sallyport::test::World world(std::string(argv[2]) == "one-way", std::string(argv[3]) == "openssl");
  return sallyport::test::run(argv[1], world);
}
