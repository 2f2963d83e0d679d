// The checks of a server behind TLS, over the fake kernel: what they say of it, and when.
#include "proxy/shard/broker_probes.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/proxy/tls/openssl_server.h"
#include "tests/simulation/fake_io.h"

namespace sallyport::test {
namespace {

class ProbeOverTls : public ::testing::Test, public BrokerProbes::Host {
 protected:
  ProbeOverTls() {
    Leaf leaf;
    leaf.subject_alt_name = "DNS:broker.test";
    broker = std::make_unique<OpensslServer>(make(leaf, &ca));
    context = std::move(*BrokerTlsContext::create({dir.write("ca", ca.certificate.pem()), "", "", ""}));
    named.endpoint = {"broker.test", 8883, ""};
    target.server = &named;
    list.targets = {&target};
    list.health_ms = 1'000'000;
    list.connect_ms = 4000;
    list.connack_ms = 3000;
    list.tls = context.get();
    io_.faults.short_sends = 0;  // a check has few bytes, which a kernel takes whole
  }

  Io& io() override { return io_; }
  TimerWheel& timers() override { return timers_; }
  std::uint64_t now_us() override { return now_ms * 1000; }
  Socket open_probe(const BrokerTarget&) override { return socket = io_.open(0); }
  void probed(std::size_t, BrokerTarget&, bool good, std::string_view what, int) override {
    ++checks;
    was_good = good;
    why = what;
    took_ms = now_ms;
  }

  void turn() {
    now_ms += io_.turn() ? 1 : 20;
    timers_.advance(now_ms);
    const std::string bytes = io_.peer_reads(socket, SIZE_MAX);
    got += bytes.size();
    heard += broker->hears({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    if (SSL_is_init_finished(broker->ssl()) != 0 && !heard.empty() && !answered) {
      answered = true;
      if (!answer.empty()) broker->says(answer);
      if (closes) broker->closes();
    }
    io_.peer_writes(socket, broker->gives());
  }
  // One check, to its end.
  void check() {
    broker->accept();
    BrokerProbes probes(*this);
    probes.set(0, &list);
    for (int i = 0; i < 2000 && io_.open_sockets() > 0; ++i) turn();
    for (int i = 0; i < 3; ++i) turn();  // what is still on its way
    EXPECT_EQ(io_.open_sockets(), 0);
    EXPECT_EQ(io_.broken_rules, std::vector<std::string>());
    EXPECT_EQ(checks, 1);
    probes.stop();
  }

  std::mt19937_64 random{1};
  FakeIo io_{random};
  TimerWheel timers_{0};
  std::uint64_t now_ms = 0;
  TempDir dir;
  Identity509 ca = make_ca("CA of brokers");
  std::unique_ptr<OpensslServer> broker;
  std::unique_ptr<BrokerTlsContext> context;
  NamedServer named;
  BrokerTarget target;
  TargetList list;
  Socket socket;
  std::string heard, answer;
  bool answered = false, closes = false;
  std::size_t got = 0;
  int checks = 0;
  bool was_good = false;
  std::string why;
  std::uint64_t took_ms = 0;
};

// TLS 1.3 refuses after the handshake: one that did not wait for it would find the server good, each time.
TEST_F(ProbeOverTls, HearsThatOurCertificateIsRefused) {
  for (const HealthCheck health : {HealthCheck::Tcp, HealthCheck::Mqtt}) {
    list.health = health;
    broker->asks_of(ca.certificate);
    checks = 0;
    check();
    EXPECT_FALSE(was_good);
    EXPECT_NE(why.find("certificate required"), std::string::npos) << why;
  }
}

TEST_F(ProbeOverTls, WaitsForATicketAndNoLongerThanAQuarter) {
  SSL_CTX* of = nullptr;
  broker->accept();
  of = SSL_get_SSL_CTX(broker->ssl());
  SSL_CTX_set_verify(of, SSL_VERIFY_PEER, nullptr);  // it asks, and takes what comes
  for (const unsigned tickets : {2U, 0U}) {
    SSL_CTX_set_num_tickets(of, tickets);
    checks = 0;
    const std::uint64_t began = now_ms;
    check();
    EXPECT_TRUE(was_good) << why;
    if (tickets > 0) {
      EXPECT_LT(took_ms - began, 900U);
    } else {
      EXPECT_GE(took_ms - began, list.connect_ms / 4);
      EXPECT_LT(took_ms - began, list.connect_ms / 2);
    }
    EXPECT_TRUE(broker->ended) << "an orderly end";
  }
}

// Each proves the server anew, and sees what a device would without a session.
TEST_F(ProbeOverTls, ResumesNothing) {
  for (int i = 0; i < 3; ++i) {
    checks = 0;
    list.health = HealthCheck::Mqtt;
    heard.clear();
    answered = false;
    answer = std::string("\x20\x02\0\0", 4);
    check();
    EXPECT_TRUE(was_good) << why;
    EXPECT_EQ(SSL_session_reused(broker->ssl()), 0);
    EXPECT_EQ(heard.substr(heard.size() - 2), std::string("\xE0\0", 2)) << "a DISCONNECT";
  }
}

TEST_F(ProbeOverTls, ATicketInPiecesDoesNotHoldItsConnect) {
  list.health = HealthCheck::Mqtt;
  answer = std::string("\x20\x02\0\0", 4);
  broker->has_large_tickets(true);
  for (int i = 0; i < 10; ++i) {
    checks = 0;
    heard.clear();
    answered = false;
    check();
    EXPECT_TRUE(was_good) << why;
  }
}

TEST_F(ProbeOverTls, HearsAnEndInPlaceOfAConnack) {
  list.health = HealthCheck::Mqtt;
  closes = true;
  check();
  EXPECT_FALSE(was_good);
  EXPECT_EQ(why, "closed without a CONNACK");
}

// A reload may put other servers and other TLS there while it connects: it goes without a word.
TEST_F(ProbeOverTls, SaysNothingToAServerThatIsGone) {
  TargetList other;
  other.health_ms = 1'000'000;  // plain, and of no server
  list.health = other.health = HealthCheck::Mqtt;
  broker->accept();
  io_.hold_connects = true;
  BrokerProbes probes(*this);
  probes.set(0, &list);
  for (int i = 0; i < 5; ++i) turn();
  probes.set(0, &other);
  io_.hold_connects = false;
  for (int i = 0; i < 300 && io_.open_sockets() > 0; ++i) turn();
  EXPECT_EQ(io_.open_sockets(), 0);
  EXPECT_EQ(got, 0U);
  EXPECT_EQ(checks, 0);
  EXPECT_EQ(target.holds.load(), 0U);
  probes.stop();
}

}  // namespace
}  // namespace sallyport::test
