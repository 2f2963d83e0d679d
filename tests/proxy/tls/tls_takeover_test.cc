// Whole connections with OpenSSL's client, before and after TlsRecords takes them over: both directions, KeyUpdates,
// tickets, resumption, the wish to renegotiate, and those that stay with OpenSSL.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>

#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls12_key_schedule.h"
#include "proxy/tls/tls_engine.h"
#include "proxy/tls/tls_records.h"
#include "tests/proxy/tls/record_peer.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::test {
namespace {

constexpr std::size_t kMostSealed = 16 * 1024 + 256;

// What a connection negotiated, and whether TlsRecords takes it over.
struct Negotiated {
  const char* name;
  int version = TLS1_3_VERSION;
  const char* ciphersuite = "";
  bool tickets = false;
  bool extended_master = true;  // of TLS 1.2: RFC 7627
  bool small_records = false;   // a maximum fragment length of 512 bytes
  bool taken_over = false;
};
void PrintTo(const Negotiated& how, std::ostream* out) {
  *out << how.name;
}

// A one-way listener's TLS, with an RSA key where the cipher suite is for one.
class Listener {
 public:
  explicit Listener(const Negotiated& how, bool tickets) : keys_(std::time(nullptr)) {
    Leaf leaf;
    leaf.cn = "server";
    leaf.subject_alt_name = "DNS:localhost";
    leaf.extended_key_usage = "serverAuth";
    const bool rsa = std::string_view(how.ciphersuite).starts_with("ECDHE-RSA-");
    const Identity509 ca = make_ca("Server CA");
    const Identity509 made = make(leaf, &ca, make_key(rsa ? Kind::Rsa2048 : Kind::P256));
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
    const auto choose = how.version == TLS1_3_VERSION ? &SSL_set_ciphersuites : &SSL_set_cipher_list;
    EXPECT_EQ(choose(client.ssl(), how.ciphersuite), 1);
    if (!how.extended_master) SSL_set_options(client.ssl(), SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (how.small_records) SSL_set_tlsext_max_fragment_length(client.ssl(), TLSEXT_max_fragment_length_512);
    SSL_set_msg_callback(client.ssl(), &Conversation::on_message);
    SSL_set_msg_callback_arg(client.ssl(), this);
  }

  // `at_once`: what the client sends as soon as it may, maybe with its Finished.
  Step shake(const Bytes& at_once = {}) {
    Step step = Step::WantInput;
    for (int i = 0; i < 20 && step == Step::WantInput; ++i) {
      if (client.handshake()) client.send(at_once);
      step = shake_with(client.give());
    }
    EXPECT_EQ(client.handshake(), step == Step::Done);
    return step;
  }
  Step shake_with(const Bytes& more) {
    pending_.insert(pending_.end(), more.begin(), more.end());
    engine.lend(pending_);
    const Step step = engine.handshake();
    keep_unread();
    to_client();
    return step;
  }
  // What the client has to send, behind what was not used before, in two pieces.
  Step to_engine(std::size_t cut) {
    const Bytes bytes = client.give();
    const auto middle = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(cut, bytes.size()));
    const Step first = lend({bytes.begin(), middle});
    return middle == bytes.end() ? first : lend({middle, bytes.end()});
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
    EXPECT_STREQ(SSL_get_cipher_name(with.client.ssl()), GetParam().ciphersuite);
    const bool of_tls13 = GetParam().version == TLS1_3_VERSION;
    EXPECT_EQ(with.engine.version_index(), of_tls13 ? 1 : 0);
    if (!of_tls13) {
      EXPECT_EQ(SSL_get_extms_support(with.client.ssl()), GetParam().extended_master ? 1 : 0);
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

using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;

class ResumedConnections : public Connections {};
class ConnectionsOfTls12 : public Connections {};

std::string name_of(const testing::TestParamInfo<Negotiated>& tested) {
  return tested.param.name;
}
constexpr const char* kAes128 = "TLS_AES_128_GCM_SHA256";
constexpr const char* kAes256 = "TLS_AES_256_GCM_SHA384";
constexpr const char* kChaCha20 = "TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kAes128Rsa = "ECDHE-RSA-AES128-GCM-SHA256";
constexpr const char* kAes256Rsa = "ECDHE-RSA-AES256-GCM-SHA384";
constexpr const char* kChaCha20Rsa = "ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* kAes128Ecdsa = "ECDHE-ECDSA-AES128-GCM-SHA256";
constexpr const char* kAes256Ecdsa = "ECDHE-ECDSA-AES256-GCM-SHA384";

// A connection of TLS 1.2.
Negotiated v12(const char* name, const char* cipher, bool taken_over = true) {
  return {.name = name, .version = TLS1_2_VERSION, .ciphersuite = cipher, .taken_over = taken_over};
}
Negotiated with_tickets(Negotiated how) {
  how.tickets = true;
  return how;
}
Negotiated without_extended_master(Negotiated how) {
  how.extended_master = false;
  return how;
}
Negotiated with_small_records(Negotiated how) {
  how.small_records = true;
  return how;
}

const auto kWithTickets = testing::Values(
    Negotiated{.name = "Aes128Tickets", .ciphersuite = kAes128, .tickets = true, .taken_over = true},
    Negotiated{.name = "Aes256Tickets", .ciphersuite = kAes256, .tickets = true, .taken_over = true},
    Negotiated{.name = "ChaCha20Tickets", .ciphersuite = kChaCha20, .tickets = true},
    Negotiated{.name = "Small128Tickets", .ciphersuite = kAes128, .tickets = true, .small_records = true},
    Negotiated{.name = "SmallChaCha20Tickets", .ciphersuite = kChaCha20, .tickets = true, .small_records = true},
    with_tickets(v12("V12Aes128Tickets", kAes128Ecdsa)), with_tickets(v12("V12Aes256Tickets", kAes256Ecdsa)),
    with_tickets(v12("V12Aes128RsaTickets", kAes128Rsa)), with_tickets(v12("V12ChaCha20Tickets", kChaCha20Rsa, false)),
    with_tickets(without_extended_master(v12("V12OldMasterTickets", kAes128Ecdsa))),
    with_tickets(with_small_records(v12("SmallV12Tickets", kAes128Ecdsa, false))));
const auto kWithoutTickets =
    testing::Values(Negotiated{.name = "Aes128", .ciphersuite = kAes128, .taken_over = true},
                    Negotiated{.name = "Aes256", .ciphersuite = kAes256, .taken_over = true},
                    Negotiated{.name = "ChaCha20", .ciphersuite = kChaCha20},
                    Negotiated{.name = "Small128", .ciphersuite = kAes128, .small_records = true},
                    Negotiated{.name = "Small256", .ciphersuite = kAes256, .small_records = true});
const auto kOfTls12 =
    testing::Values(v12("V12Aes128", kAes128Ecdsa), v12("V12Aes256", kAes256Ecdsa), v12("V12Aes128Rsa", kAes128Rsa),
                    v12("V12Aes256Rsa", kAes256Rsa), v12("V12ChaCha20", kChaCha20Rsa, false),
                    without_extended_master(v12("V12OldMaster128", kAes128Rsa)),
                    without_extended_master(v12("V12OldMaster256", kAes256Ecdsa)),
                    with_small_records(v12("SmallV12", kAes256Ecdsa, false)));
INSTANTIATE_TEST_SUITE_P(Tls, Connections, kWithoutTickets, name_of);
INSTANTIATE_TEST_SUITE_P(Tls12, Connections, kOfTls12, name_of);
INSTANTIATE_TEST_SUITE_P(TlsTickets, Connections, kWithTickets, name_of);
INSTANTIATE_TEST_SUITE_P(TlsTickets, ResumedConnections, kWithTickets, name_of);
INSTANTIATE_TEST_SUITE_P(Tls12, ConnectionsOfTls12, kOfTls12, name_of);

TEST_P(Connections, CarryBothDirectionsToTheirEnd) {
  const Listener listener(GetParam(), GetParam().tickets);
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
  const Listener listener(GetParam(), true);
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

// A client may send behind its Finished before the server has read that: in TLS 1.2 where it resumes.
TEST_P(ResumedConnections, LoseNothingThatCameWithTheFinished) {
  const Listener listener(GetParam(), true);
  const Bytes words = payload();
  SessionPtr session;
  for (int round = 0; round < 2; ++round) {
    SCOPED_TRACE(round);
    Conversation with(listener, GetParam());
    if (session) SSL_set_session(with.client.ssl(), session.get());
    ASSERT_EQ(with.shake(words), Step::Done);
    EXPECT_EQ(with.engine.resumed(), round > 0);
    const bool came_with_it = round > 0 || GetParam().version == TLS1_3_VERSION;
    EXPECT_EQ(with.engine.unread() > 0, came_with_it);
    if (!came_with_it) with.client.send(words);
    EXPECT_EQ(with.to_engine(0), Step::WantInput);
    EXPECT_TRUE(with.arrived == std::string(words.begin(), words.end()));
    with.client.receive();
    with.client.close();
    session.reset(SSL_get1_session(with.client.ssl()));
  }
}

TEST_P(ConnectionsOfTls12, AreNotNegotiatedAgain) {
  const Listener listener(GetParam(), false);
  Conversation with(listener, GetParam());
  ASSERT_NO_FATAL_FAILURE(begin(with));
  const std::string sent = send(with), answer = write(with);
  EXPECT_TRUE(with.to_client() == answer);
  EXPECT_EQ(SSL_renegotiate(with.client.ssl()), 1);
  EXPECT_FALSE(with.client.handshake());
  EXPECT_EQ(with.to_engine(0), Step::WantInput) << with.engine.error().what;
  EXPECT_TRUE(with.arrived == sent) << "what came before the wish is data";
  with.client.take(with.output.bytes());
  with.output.release();
  EXPECT_FALSE(with.client.handshake());
  EXPECT_EQ(with.client.alert(), SSL_AD_NO_RENEGOTIATION);
  EXPECT_EQ(with.client.error(), SSL_R_NO_RENEGOTIATION);

  // OpenSSL's client does not put up with that.
  EXPECT_EQ(with.to_engine(0), Step::Failed);
  EXPECT_EQ(with.engine.error().detail, SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE);
  EXPECT_TRUE(with.output.empty());
}

// OpenSSL's Finished had an explicit nonce of the same key, at random and unknown to us: so are ours.
TEST(Tls12, ExplicitNoncesBeginAtRandom) {
  const Negotiated how = without_extended_master(v12("Aes128", kAes128Ecdsa));
  const Listener listener(how, false);
  std::set<Bytes> nonces;
  for (int i = 0; i < 3; ++i) {
    Conversation with(listener, how);
    ASSERT_EQ(with.shake(), Step::Done);
    EXPECT_EQ(with.engine.write(Bytes{1}), Step::Done);
    const auto nonce = with.output.bytes().subspan(RecordCipher::kHeaderBytes, RecordCipher::kExplicitBytes);
    nonces.emplace(nonce.begin(), nonce.end());
  }
  EXPECT_EQ(nonces.size(), 3U);
}

// Opens what OpenSSL's client has sealed with its key of TLS 1.2 and AES-128, and seals it again in smaller records.
class Resealing {
 public:
  explicit Resealing(const SSL* client) {
    Tls12Agreement agreed;
    agreed.hash = kdf_hash("SHA2-256");
    SSL_SESSION_get_master_key(SSL_get_session(client), agreed.master.data(), agreed.master.size());
    SSL_get_client_random(client, agreed.client_random.data(), agreed.client_random.size());
    SSL_get_server_random(client, agreed.server_random.data(), agreed.server_random.size());
    RecordKey server;
    EXPECT_TRUE(derive_record_keys(agreed, 16, opening_, server) && derive_record_keys(agreed, 16, sealing_, server));
  }
  // One record, in records of at most `most` bytes each.
  Bytes again(std::span<const std::uint8_t> record, std::size_t most) {
    Bytes plain(record.size() - RecordCipher::kHeaderBytes - RecordCipher::kOverhead12);
    RecordCipher opens(opening_), seals(sealing_);
    EXPECT_TRUE(opens.open12(record[0], record.subspan(RecordCipher::kHeaderBytes), plain.data()));
    ByteBuffer records;
    for (std::span<const std::uint8_t> left = plain; !left.empty(); left = left.subspan(std::min(most, left.size()))) {
      seal_record(seals, left.first(std::min(most, left.size())), static_cast<ContentType>(record[0]), records);
    }
    return {records.bytes().begin(), records.bytes().end()};
  }

 private:
  RecordKey opening_, sealing_;
};

// RFC 5246, section 6.2.1: a message may be in several records, and each counts.
void finish_in_pieces(const Negotiated& how) {
  constexpr std::size_t kFinished = 16, kRecord = RecordCipher::kHeaderBytes + RecordCipher::kOverhead12 + kFinished;
  const Listener listener(how, false);
  for (const std::size_t most : {kFinished, kFinished - 1, std::size_t{1}}) {
    SCOPED_TRACE(most);
    Conversation with(listener, how);
    with.client.handshake();
    ASSERT_EQ(with.shake_with(with.client.give()), Step::WantInput);
    with.client.handshake();
    Bytes flight = with.client.give();
    const std::span<const std::uint8_t> finished = std::span(flight).last(kRecord);
    Resealing resealing(with.client.ssl());
    const Bytes pieces = resealing.again(finished, most);
    flight.resize(flight.size() - kRecord);
    flight.insert(flight.end(), pieces.begin(), pieces.end());
    ASSERT_EQ(with.shake_with(flight), Step::Done);
    EXPECT_TRUE(with.client.handshake());
    EXPECT_EQ(with.engine.missing({}), 5U) << "taken over";

    with.client.send(Bytes{'p', 'i', 'n', 'g'});
    EXPECT_EQ(with.lend(resealing.again(with.client.give(), 3)), Step::WantInput) << with.engine.error().what;
    EXPECT_EQ(with.arrived, "ping");
    EXPECT_EQ(with.engine.write(Bytes{'p', 'o', 'n', 'g'}), Step::Done);
    EXPECT_EQ(with.to_client(), "pong");
  }
}
TEST(Tls12, AFinishedMayComeInPiecesToUs) {
  finish_in_pieces(v12("Aes128", kAes128Ecdsa));
}
TEST(Tls12, AFinishedMayComeInPiecesToOpenssl) {
  finish_in_pieces(without_extended_master(v12("Aes128", kAes128Ecdsa)));
}

}  // namespace
}  // namespace sallyport::test
