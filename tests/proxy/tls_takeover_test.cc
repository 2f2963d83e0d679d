// Whole connections with OpenSSL's client, before and after TlsRecords takes them over: both directions, KeyUpdates,
// tickets, resumption, and those that stay with OpenSSL.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <ctime>
#include <memory>
#include <random>
#include <string>

#include "proxy/ticket_keys.h"
#include "proxy/tls_engine.h"
#include "proxy/tls_records.h"
#include "tests/proxy/record_peer.h"
#include "tests/proxy/tls_client.h"

namespace sallyport::test {
namespace {

constexpr std::size_t kMostSealed = 16 * 1024 + 256;

// What a connection negotiated, and whether TlsRecords takes it over.
struct Negotiated {
  const char* name;
  int version = TLS1_3_VERSION;
  const char* ciphersuite = "";  // of TLS 1.3
  bool tickets = false;
  bool small_records = false;  // a maximum fragment length of 512 bytes
  bool taken_over = false;
};
void PrintTo(const Negotiated& how, std::ostream* out) {
  *out << how.name;
}

// A one-way listener's TLS.
class Listener {
 public:
  explicit Listener(bool tickets) : keys_(std::time(nullptr)) {
    Leaf leaf;
    leaf.cn = "server";
    leaf.subject_alt_name = "DNS:localhost";
    leaf.extended_key_usage = "serverAuth";
    const Identity509 ca = make_ca("Server CA"), made = make(leaf, &ca);
    ListenerConfig config;
    config.name = "test";
    config.auth = AuthMode::OneWay;
    config.certificates.push_back(
        {dir_.write("chain", made.certificate.pem()), dir_.write("key", key_pem(made.key.get()))});
    auto context = TlsContext::create(config, tickets ? &keys_ : nullptr);
    if (!context) ADD_FAILURE() << context.error().what;
    context_ = std::move(*context);
  }
  const TlsContext& context() const { return *context_; }

 private:
  TempDir dir_;
  TicketKeys keys_;
  std::unique_ptr<TlsContext> context_;
};

// The listener's engine and OpenSSL's client, joined over memory.
class Conversation {
 public:
  Conversation(const Listener& listener, const Negotiated& how)
      : engine(listener.context(), nullptr, output), client({.version = how.version}) {
    if (how.version == TLS1_3_VERSION) SSL_set_ciphersuites(client.ssl(), how.ciphersuite);
    if (how.small_records) SSL_set_tlsext_max_fragment_length(client.ssl(), TLSEXT_max_fragment_length_512);
    SSL_set_msg_callback(client.ssl(), &Conversation::on_message);
    SSL_set_msg_callback_arg(client.ssl(), this);
  }

  Step shake() {
    Step step = Step::WantInput;
    for (int i = 0; i < 20 && step == Step::WantInput; ++i) {
      client.handshake();
      const Bytes bytes = client.give();
      pending_.insert(pending_.end(), bytes.begin(), bytes.end());
      engine.lend(pending_);
      step = engine.handshake();
      keep_unread();
      to_client();
    }
    EXPECT_EQ(client.handshake(), step == Step::Done);
    return step;
  }
  // What the client has to send, behind what was not used before, in two pieces.
  Step to_engine(std::size_t cut) {
    const Bytes bytes = client.give();
    const auto middle = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(cut, bytes.size()));
    const Step first = lend({bytes.begin(), middle});
    return middle == bytes.end() ? first : lend({middle, bytes.end()});
  }
  std::string to_client() {
    if (output.empty()) return client.receive();
    for (auto left = output.bytes(); left.size() > 5;) {
      const std::size_t length = std::size_t{left[3]} << 8 | left[4];
      longest_record = std::max(longest_record, length);
      left = left.subspan(5 + length);
    }
    client.take(output.bytes());
    output.release();
    return engine.established() ? client.receive() : "";
  }
  // A KeyUpdate is sent with the next data.
  void update_key(bool requested) {
    const int type = requested ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
    EXPECT_EQ(SSL_key_update(client.ssl(), type), 1);
  }

 private:
  static void on_message(int written, int, int type, const void* message, std::size_t length, SSL*, void* at) {
    const auto* bytes = static_cast<const std::uint8_t*>(message);
    if (written == 0 && type == SSL3_RT_HANDSHAKE && length == 5 && bytes[0] == SSL3_MT_KEY_UPDATE) {
      ++static_cast<Conversation*>(at)->answers;
    }
  }
  void keep_unread() {
    pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(engine.unread()));
    engine.lend(pending_);
  }
  Step lend(const Bytes& more) {
    pending_.insert(pending_.end(), more.begin(), more.end());
    engine.lend(pending_);
    plain_.resize(std::max(pending_.size(), TlsRecords::kMostOpened));
    std::size_t n = 0;
    Step step = engine.read(plain_, n);
    for (; step == Step::Done; step = engine.read(plain_, n)) {
      arrived.append(plain_.begin(), plain_.begin() + static_cast<std::ptrdiff_t>(n));
    }
    keep_unread();
    return step;
  }

  Bytes pending_, plain_;

 public:
  ByteBuffer output;
  TlsEngine engine;
  TlsClient client;
  std::string arrived;             // at the engine
  int answers = 0;                 // KeyUpdates of the server's
  std::size_t longest_record = 0;  // of the server's
};

class Connections : public testing::TestWithParam<Negotiated> {
 protected:
  void begin(Conversation& with) {
    ASSERT_EQ(with.shake(), Step::Done) << with.engine.error().what;
    if (GetParam().version == TLS1_3_VERSION) {
      EXPECT_STREQ(SSL_get_cipher_name(with.client.ssl()), GetParam().ciphersuite);
    }
    // Only TlsRecords knows what is missing.
    EXPECT_EQ(with.engine.missing({}), GetParam().taken_over ? 5U : 0U);
    EXPECT_EQ(with.client.receive(), "");
    EXPECT_EQ(SSL_SESSION_has_ticket(SSL_get0_session(with.client.ssl())), GetParam().tickets ? 1 : 0);
    with.longest_record = 0;
  }
  // Writes each way; now and then a KeyUpdate of the client's, and answers that wait behind unsent output.
  void talk(Conversation& with, int turns = 200) {
    std::string to_client, at_client, to_engine;
    for (int turn = 0; turn < turns; ++turn) {
      SCOPED_TRACE(turn);
      if (GetParam().version == TLS1_3_VERSION && pick(0, 3) == 0) {
        const bool requested = pick(0, 1) == 1;
        requests += requested;
        with.update_key(requested);
      }
      to_engine += send(with);
      if (pick(0, 2) == 0) to_client += write(with);
      ASSERT_EQ(with.to_engine(pick(0, 2) == 0 ? 0 : pick(0, 40'000)), Step::WantInput);
      to_client += write(with);
      if (pick(0, 2) != 0) at_client += with.to_client();
    }
    at_client += with.to_client();
    EXPECT_TRUE(with.arrived == to_engine) << with.arrived.size() << " of " << to_engine.size() << " bytes";
    EXPECT_TRUE(at_client == to_client) << at_client.size() << " of " << to_client.size() << " bytes";
  }
  Bytes payload() {
    Bytes bytes(pick(1, 40'000));
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random_());
    return bytes;
  }
  std::string send(Conversation& with) {
    const Bytes bytes = payload();
    with.client.send(bytes);
    return {bytes.begin(), bytes.end()};
  }
  std::string write(Conversation& with) {
    const Bytes bytes = payload();
    EXPECT_EQ(with.engine.write(bytes), Step::Done);
    return {bytes.begin(), bytes.end()};
  }
  std::size_t pick(std::size_t least, std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(least, most)(random_);
  }

  int requests = 0;

 private:
  std::mt19937 random_{20261121};
};

class ResumedConnections : public Connections {};

std::string name_of(const testing::TestParamInfo<Negotiated>& tested) {
  return tested.param.name;
}
constexpr const char* kAes128 = "TLS_AES_128_GCM_SHA256";
constexpr const char* kAes256 = "TLS_AES_256_GCM_SHA384";
constexpr const char* kChaCha20 = "TLS_CHACHA20_POLY1305_SHA256";
const auto kWithTickets = testing::Values(
    Negotiated{.name = "Aes128Tickets", .ciphersuite = kAes128, .tickets = true, .taken_over = true},
    Negotiated{.name = "Aes256Tickets", .ciphersuite = kAes256, .tickets = true, .taken_over = true},
    Negotiated{.name = "ChaCha20Tickets", .ciphersuite = kChaCha20, .tickets = true},
    Negotiated{.name = "Small128Tickets", .ciphersuite = kAes128, .tickets = true, .small_records = true},
    Negotiated{.name = "SmallChaCha20Tickets", .ciphersuite = kChaCha20, .tickets = true, .small_records = true},
    Negotiated{.name = "SmallV12Tickets", .version = TLS1_2_VERSION, .tickets = true, .small_records = true});
const auto kWithoutTickets =
    testing::Values(Negotiated{.name = "Aes128", .ciphersuite = kAes128, .taken_over = true},
                    Negotiated{.name = "Aes256", .ciphersuite = kAes256, .taken_over = true},
                    Negotiated{.name = "ChaCha20", .ciphersuite = kChaCha20},
                    Negotiated{.name = "Small128", .ciphersuite = kAes128, .small_records = true},
                    Negotiated{.name = "Small256", .ciphersuite = kAes256, .small_records = true},
                    Negotiated{.name = "V12", .version = TLS1_2_VERSION, .taken_over = true});
INSTANTIATE_TEST_SUITE_P(Tls, Connections, kWithoutTickets, name_of);
INSTANTIATE_TEST_SUITE_P(TlsTickets, Connections, kWithTickets, name_of);
INSTANTIATE_TEST_SUITE_P(TlsTickets, ResumedConnections, kWithTickets, name_of);

TEST_P(Connections, CarryBothDirectionsToTheirEnd) {
  const Listener listener(GetParam().tickets);
  Conversation with(listener, GetParam());
  ASSERT_NO_FATAL_FAILURE(begin(with));
  EXPECT_FALSE(with.engine.resumed());
  ASSERT_NO_FATAL_FAILURE(talk(with));
  EXPECT_LE(with.answers, requests) << "one KeyUpdate may answer several";
  EXPECT_EQ(with.answers > 5, GetParam().version == TLS1_3_VERSION);
  EXPECT_LE(with.longest_record, GetParam().small_records ? 512U + 256 : kMostSealed);
  EXPECT_EQ(with.client.error(), 0);

  const std::string last = send(with);
  with.client.close();
  with.arrived.clear();
  EXPECT_EQ(with.to_engine(0), Step::Closed);
  EXPECT_TRUE(with.arrived == last);
  const std::string answer = write(with);
  EXPECT_FALSE(with.client.closed());
  with.engine.close();
  EXPECT_TRUE(with.to_client() == answer) << "what the client's close_notify crossed";
  EXPECT_TRUE(with.client.closed());
  EXPECT_EQ(with.client.alert(), SSL_AD_CLOSE_NOTIFY);
}

TEST_P(ResumedConnections, CarryBothDirections) {
  const Listener listener(true);
  using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;
  SessionPtr session;
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    Conversation with(listener, GetParam());
    if (session) SSL_set_session(with.client.ssl(), session.get());
    ASSERT_NO_FATAL_FAILURE(begin(with));
    EXPECT_EQ(with.engine.resumed(), round > 0);
    ASSERT_NO_FATAL_FAILURE(talk(with, 20));
    EXPECT_LE(with.longest_record, GetParam().small_records ? 512U + 256 : kMostSealed);
    with.client.close();  // OpenSSL lets nobody resume a session that was not closed
    session.reset(SSL_get1_session(with.client.ssl()));
  }
}

}  // namespace
}  // namespace sallyport::test
