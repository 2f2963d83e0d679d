// The data plane as a whole, in this process: real rings, real sockets on loopback, a real registrar and
// store, an OpenSSL client, and a broker that is a thread. What is shared between the threads is looked at
// by ThreadSanitizer here.
#include "proxy/data_plane.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "cache/base/file.h"
#include "cache/base/text.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/chains.h"
#include "proxy/io/ring.h"
#include "proxy/shard/rest_watch.h"
#include "proxy/shard/socket_options.h"
#include "tests/eventually.h"
#include "tests/proxy/tls/key_limit.h"
#include "tests/proxy/tls/tls_client.h"

namespace sallyport::test {
namespace {

using namespace std::chrono_literals;

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

// Whether a socket listens there: nobody else can have the port then, as socket(7) says of SO_REUSEADDR.
bool is_listened_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool taken = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
  ::close(fd);
  return taken;
}

// Sends back what it gets, behind a CONNACK where that is a CONNECT, and keeps a count of it.
class EchoBroker {
 public:
  EchoBroker() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::listen(listener_, 64);
    socklen_t length = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~EchoBroker() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }
  std::uint16_t port = 0;
  std::atomic<std::uint64_t> received{0};

 private:
  void run() {
    std::vector<pollfd> fds{{listener_, POLLIN, 0}};
    char buffer[4096];
    while (!stop_) {
      ::poll(fds.data(), fds.size(), 20);
      for (std::size_t i = fds.size(); i-- > 1;) {
        if (fds[i].revents == 0) continue;
        const ssize_t n = ::recv(fds[i].fd, buffer, sizeof buffer, 0);
        if (n <= 0) {
          ::close(fds[i].fd);
          fds.erase(fds.begin() + static_cast<std::ptrdiff_t>(i));
        } else {
          received += static_cast<std::uint64_t>(n);
          if (buffer[0] == '\x10') ::send(fds[i].fd, "\x20\x02\0\0", 4, MSG_NOSIGNAL);
          ::send(fds[i].fd, buffer, static_cast<std::size_t>(n), MSG_NOSIGNAL);
        }
      }
      if (fds[0].revents != 0) fds.push_back({::accept(listener_, nullptr, nullptr), POLLIN, 0});
    }
    for (std::size_t i = 1; i < fds.size(); ++i) ::close(fds[i].fd);
  }
  int listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// A device on a real socket.
class Device {
 public:
  // `openssl`: it asks for what OpenSSL's own handshake answers.
  Device(std::uint16_t port, const Identity509& identity, int version = 0, bool openssl = false)
      : fd_(connect_to(port)),
        tls_({.device = &identity,
              .version = version,
              .groups = openssl && version == TLS1_3_VERSION ? "P-384" : "",
              .ciphers = openssl ? "ECDHE-ECDSA-AES256-GCM-SHA384" : ""}) {}
  ~Device() { ::close(fd_); }

  bool handshake() {
    for (int i = 0; i < 200 && !tls_.handshake(); ++i) {
      if (!exchange() || tls_.error() != 0) return false;
    }
    exchange(0ms);  // hands over the last flight; what comes back is for receive()
    return true;
  }
  // All of its last flight but the end: its certificate is there, and nothing proven.
  void handshake_but_for_the_end() {
    tls_.handshake();
    exchange();
    tls_.handshake();
    const auto out = tls_.give();
    ASSERT_GT(out.size(), 500U);
    ::send(fd_, out.data(), out.size() - 20, MSG_NOSIGNAL);
  }
  void send(const std::string& bytes) {
    tls_.send({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    exchange(0ms);
  }
  // Waits for `bytes` more of plaintext, or for the end.
  std::string receive(std::size_t bytes) {
    std::string all;
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (all.size() < bytes && std::chrono::steady_clock::now() < end) {
      const bool open = exchange(50ms);
      all += tls_.receive();
      if (!open) break;
    }
    return all;
  }
  bool ended() {
    return eventually([&] {
      const bool open = exchange(10ms);
      tls_.receive();
      return !open || tls_.closed();
    });
  }

 private:
  // False: the peer has closed.
  bool exchange(std::chrono::milliseconds patience = 2000ms) {
    const auto out = tls_.give();
    if (!out.empty()) ::send(fd_, out.data(), out.size(), MSG_NOSIGNAL);
    pollfd poll_fd{fd_, POLLIN, 0};
    if (::poll(&poll_fd, 1, static_cast<int>(patience.count())) <= 0) return true;
    std::uint8_t buffer[16 * 1024];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n <= 0) return false;
    tls_.take({buffer, static_cast<std::size_t>(n)});
    return true;
  }
  int fd_;
  TlsClient tls_;
};

// A key that passes for that of `victim` until something is signed with it.
KeyPtr with_public_key_of(const Identity509& victim, const KeyPtr& own) {
  BIGNUM* secret = nullptr;
  std::uint8_t point[133];
  std::size_t length = 0;
  EVP_PKEY_get_bn_param(own.get(), OSSL_PKEY_PARAM_PRIV_KEY, &secret);
  EVP_PKEY_get_octet_string_param(victim.key.get(), OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &length);
  OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
  OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, length);
  OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, secret);
  OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(build);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  EVP_PKEY* made = nullptr;
  EVP_PKEY_fromdata_init(context);
  EVP_PKEY_fromdata(context, &made, EVP_PKEY_KEYPAIR, parameters);
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(parameters);
  OSSL_PARAM_BLD_free(build);
  BN_clear_free(secret);
  return KeyPtr(made);
}

std::string connect_packet() {
  return {
      "\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01"
      "c",
      15};
}

// What the broker makes of it.
const std::string kLetIn("\x20\x02\0\0", 4);
std::string echoed() {
  return kLetIn + connect_packet();
}

// Everything with descriptors of the process, and with direct ones.
class DataPlaneTest : public testing::TestWithParam<bool> {
 protected:
  DataPlaneTest() : device_ca_(make_ca("Device CA")), server_ca_(make_ca("Server CA")) {
    Leaf leaf;
    leaf.cn = "localhost";
    leaf.subject_alt_name = "DNS:localhost";
    const Identity509 server = make(leaf, &server_ca_);
    config_.shards = 2;
    ListenerConfig listener;
    listener.name = "mqtts";
    listener.address = {"127.0.0.1", 0, ""};
    listener.certificates.push_back(
        {dir_.write("chain", server.certificate.pem()), dir_.write("key", key_pem(server.key.get()))});
    listener.handshake_timeout = 2000ms;
    listener.connect_timeout = 2000ms;
    config_.listeners.push_back(listener);
    UpstreamConfig& upstream = config_.upstreams.emplace_back();
    upstream.name = "broker";
    upstream.servers = {{"127.0.0.1", broker_.port, ""}};
    upstream.health_interval = 500ms;
  }

  void SetUp() override {
    if (!GetParam()) return;
    utsname kernel{};
    ASSERT_EQ(::uname(&kernel), 0);
    int major = 0, minor = 0;
    ASSERT_EQ(std::sscanf(kernel.release, "%d.%d", &major, &minor), 2);
    if (major < 6 || (major == 6 && minor < 14)) GTEST_SKIP() << "direct descriptors are for Linux 6.14 and later";
    const auto ring = Ring::create(8);
    ASSERT_TRUE(ring && (*ring)->has_direct());
    capacity_ = {1000, 0, 500};
  }
  void start() {
    plane_ = std::make_unique<DataPlane>(config_, *log_);
    auto keys = plane_->prepare();
    ASSERT_TRUE(keys) << keys.error().what;
    auto store = RegistryStore::open(dir_.path() + "/state");
    ASSERT_TRUE(store);
    store_ = std::move(*store);
    registrar_ = std::make_unique<Registrar>(*store_, cache_, chains_, *plane_, RegistrarOptions{}, null_);
    ASSERT_TRUE(registrar_->warm());
    registrar_->start();
    ASSERT_TRUE(registrar_->set_server_keys(*keys));
    ASSERT_TRUE(registrar_->trust({device_ca_.certificate}));
    const auto started = plane_->start(gate_, *registrar_, capacity_);
    ASSERT_TRUE(started) << started.error().what;
    const std::string address = plane_->listeners().at(0).address;
    port_ = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  }
  void TearDown() override {
    if (plane_) {
      plane_->stop_now();
      plane_->join();
    }
    if (registrar_) registrar_->stop();
  }
  std::uint64_t rejected(Reason reason) const {
    std::uint64_t sum = 0;
    for (const ShardCounters* shard : plane_->counters()) {
      sum += shard->listeners[0].rejections[static_cast<std::size_t>(reason)].get();
    }
    return sum;
  }
  std::uint64_t sessions() const {
    std::uint64_t sum = 0;
    for (const ShardInfo& shard : plane_->shard_info()) sum += shard.sessions;
    return sum;
  }

  TempDir dir_;
  EchoBroker broker_;
  std::unique_ptr<Log> log_ = std::make_unique<Log>(Level::Error, LogFormat::Text, 2);
  NullLogger null_;
  Config config_;
  Identity509 device_ca_, server_ca_;
  StatusCache cache_;
  ChainTable chains_;
  DeviceGate gate_{cache_, chains_};
  Capacity capacity_ = Capacity::plain(1000);
  std::unique_ptr<DataPlane> plane_;
  std::unique_ptr<RegistryStore> store_;
  std::unique_ptr<Registrar> registrar_;
  std::uint16_t port_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Descriptors, DataPlaneTest, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "Direct" : "Plain"; });

TEST_P(DataPlaneTest, AFirstConnectionIsServedAndRegistered) {
  start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Identity509 identity = make_device("d" + std::to_string(version), device_ca_);
    Device device(port_, identity, version);
    ASSERT_TRUE(device.handshake());
    device.send(connect_packet());
    EXPECT_EQ(device.receive(19), echoed());
    const std::string words(100'000, 'w');
    device.send(words);
    EXPECT_EQ(device.receive(words.size()), words);
    EXPECT_TRUE(eventually([&] { return static_cast<bool>(registrar_->device(identity.certificate.fingerprint())); }));
    EXPECT_EQ(plane_->sessions_of_device(identity.certificate.fingerprint()), 1U);
  }
  EXPECT_TRUE(eventually([&] { return sessions() == 0; }));
}

// A key of TLS 1.2 that has protected as much as it may: the session ends, is counted, and is named in the log.
TEST_P(DataPlaneTest, AKeyThatIsSpentEndsItsSession) {
  const KeyLimit limit(300);
  const std::string file = dir_.write("log", "");
  const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND);
  log_ = std::make_unique<Log>(Level::Info, LogFormat::Text, fd);
  start();
  const Identity509 identity = make_device("d", device_ca_);
  Device device(port_, identity, TLS1_2_VERSION);
  ASSERT_TRUE(device.handshake());
  device.send(connect_packet());
  EXPECT_EQ(device.receive(19), echoed());
  device.send(std::string(8000, 'w'));
  EXPECT_TRUE(device.ended());
  EXPECT_TRUE(eventually([&] {
    std::uint64_t sum = 0;
    for (const ShardCounters* shard : plane_->counters()) {
      const auto& ended = shard->listeners[0].ended[static_cast<std::size_t>(Origin::Proxy)];
      sum += ended[static_cast<std::size_t>(Cause::KeyLimit)].get();
    }
    return sum == 1;
  }));
  TearDown();
  plane_.reset();
  log_.reset();
  ::close(fd);
  const auto lines = read_file(file, 1024 * 1024);
  ASSERT_TRUE(lines);
  EXPECT_NE(lines->find("cause=key_limit"), std::string::npos) << *lines;
}

// The broker sends back what it was told.
TEST_P(DataPlaneTest, TheBrokerIsToldWhoTheDeviceIs) {
  UpstreamConfig& upstream = config_.upstreams[0];
  upstream.username = *IdentityTemplate::parse("{cn}");
  upstream.client_id = *IdentityTemplate::parse("x{client_id}");
  start();
  const Identity509 known = make_device("meter-7", device_ca_);
  Leaf two;
  two.cn = "a";
  two.more_cns = {"b"};
  const Identity509 unusable = make(two, &device_ca_);
  const std::string told = "\x10\x17" + std::string("\0\4MQTT\4\x82\0\x3C\0\2xc\0\7meter-7", 23);
  for (const bool pipelined : {false, true}) {
    Device device(port_, known);
    ASSERT_TRUE(device.handshake());
    device.send(connect_packet() + (pipelined ? "behind it" : ""));
    const std::string echo = kLetIn + told + (pipelined ? "behind it" : "");
    EXPECT_EQ(device.receive(echo.size()), echo);
    EXPECT_EQ(plane_->sessions(known.certificate.fingerprint(), {}, false, 10, "")->sessions.back().client_id, "xc");
  }
  Device refused(port_, unusable);
  ASSERT_TRUE(refused.handshake());
  refused.send(connect_packet());
  EXPECT_EQ(refused.receive(4), std::string("\x20\2\0\5", 4));
  EXPECT_TRUE(refused.ended());
  EXPECT_EQ(rejected(Reason::BadIdentity), 1U);
  EXPECT_FALSE(registrar_->device(unusable.certificate.fingerprint())) << "who is refused is not registered";
}

// A reload that gives a broker identities: whoever has not reached one by then starts over, and nothing that was
// written under the settings of before goes there.
TEST_P(DataPlaneTest, ANewIdentityIsForAllWhoComeAfterIt) {
  start();
  const Identity509 identity = make_device("meter-8", device_ca_);
  Device served(port_, identity), waits(port_, identity);
  ASSERT_TRUE(served.handshake());
  served.send(connect_packet());
  ASSERT_EQ(served.receive(19), echoed());
  ASSERT_TRUE(waits.handshake());
  ASSERT_TRUE(eventually([&] { return plane_->sessions_of_device(identity.certificate.fingerprint()) == 2; }));
  UpstreamConfig upstream = config_.upstreams[0];
  upstream.username = *IdentityTemplate::parse("{cn}");
  auto prepared = plane_->prepare_listener(config_.listeners[0], upstream, AuthMode::Mutual,
                                           std::move(*load_server_certificates(config_.listeners[0].certificates)));
  ASSERT_TRUE(prepared);
  plane_->install_listener(0, std::move(*prepared));
  waits.send(connect_packet());
  EXPECT_EQ(waits.receive(1), "") << "it had no identity to tell";
  EXPECT_TRUE(waits.ended());
  EXPECT_EQ(rejected(Reason::ShuttingDown), 1U);
  served.send("more");
  EXPECT_EQ(served.receive(4), "more");
  Device again(port_, identity);
  ASSERT_TRUE(again.handshake());
  again.send(connect_packet());
  const std::string told = "\x10\x16" + std::string("\0\4MQTT\4\x82\0\x3C\0\1c\0\7meter-8", 22);
  EXPECT_EQ(again.receive(kLetIn.size() + told.size()), kLetIn + told);
}

TEST_P(DataPlaneTest, AListenerAsksForAClientId) {
  config_.listeners[0].client_id = *IdentityTemplate::parse("{cn}");
  start();
  const auto answer = [&](const std::string& cn, const std::string& connect, std::size_t bytes) {
    Device device(port_, make_device(cn, device_ca_));
    EXPECT_TRUE(device.handshake());
    device.send(connect);
    return device.receive(bytes);
  };
  EXPECT_EQ(answer("c", connect_packet(), 19), echoed());
  EXPECT_EQ(answer("d", connect_packet(), 4), std::string("\x20\2\0\2", 4));
  EXPECT_EQ(rejected(Reason::ClientIdMismatch), 1U);
  const std::string empty("\x10\x0C\0\4MQTT\4\2\0\x3C\0\0", 14);
  EXPECT_EQ(answer("c", empty, 19), echoed()) << "filled in";
}

// In the file, and for a mode that is chosen at run time.
TEST_P(DataPlaneTest, NobodyWithoutACertificateGetsToATemplate) {
  config_.upstreams[0].user_properties = true;
  start();
  const auto prepare = [&](AuthMode mode) {
    return plane_->prepare_listener(config_.listeners[0], config_.upstreams[0], mode,
                                    std::move(*load_server_certificates(config_.listeners[0].certificates)));
  };
  EXPECT_TRUE(prepare(AuthMode::Mutual));
  const auto refused = prepare(AuthMode::OneWay);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Refusal::Kind::Conflict);
  config_.listeners[0].client_id = *IdentityTemplate::parse("{cn}");
  EXPECT_FALSE(prepare(AuthMode::OneWay));
}

// How many of the process's own TCP connections lead to this port, by their congestion control.
std::map<std::string, int> connections_to(std::uint16_t port) {
  std::map<std::string, int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != port) continue;
    std::array<char, 16> name{};  // TCP_CA_NAME_MAX
    length = name.size();
    if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &length) == 0) ++found[name.data()];
  }
  return found;
}

// Whatever the system's default is; devices, who may be far away, get that.
TEST_P(DataPlaneTest, NothingPacesWhatGoesToABrokerOnThisHost) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  Device device(port_, identity);
  ASSERT_TRUE(device.handshake());
  device.send(connect_packet());
  EXPECT_EQ(device.receive(19), echoed());
  std::map<std::string, int> expected;
  if (!GetParam()) expected["reno"] = 1;  // a direct descriptor is none of the process's
  EXPECT_EQ(connections_to(broker_.port), expected);
}

// What one thread has used of a processor, and how often it gave it up of its own accord: proc(5).
struct Usage {
  std::uint64_t cpu_us = 0, sleeps = 0;
};
std::map<std::string, Usage> threads() {
  std::map<std::string, Usage> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    Usage& usage = all[task.path().filename()];
    std::ifstream(task.path() / "schedstat") >> usage.cpu_us;
    usage.cpu_us /= 1000;
    std::ifstream status(task.path() / "status");
    for (std::string word; status >> word;) {
      if (word == "voluntary_ctxt_switches:") status >> usage.sleeps;
    }
  }
  return all;
}

// While someone established speaks: whoever else wants the core may be the broker.
TEST_P(DataPlaneTest, AShardFullOfHandshakesRestsNowAndThen) {
  config_.shards = 1;
  config_.listeners[0].max_handshakes_per_shard = 1000;
  start();
  const Identity509 identity = make_device("speaks", device_ca_);
  Device device(port_, identity);
  ASSERT_TRUE(device.handshake());
  device.send(connect_packet());
  ASSERT_EQ(device.receive(19), echoed());
  std::this_thread::sleep_for(1100ms);  // from then on it is one of the established
  TlsClient stranger({.version = TLS1_3_VERSION});
  stranger.handshake();
  const std::vector<std::uint8_t> hello = stranger.give();
  std::vector<int> crowd;
  while (crowd.size() < 600) crowd.push_back(connect_to(port_));
  ASSERT_TRUE(eventually([&] { return sessions() == crowd.size() + 1; }));
  auto before = threads();
  device.send("still here");
  for (const int each : crowd) ::send(each, hello.data(), hello.size(), MSG_NOSIGNAL);
  auto spoke = std::chrono::steady_clock::now();
  for (const int each : crowd) {
    for (pollfd answered{each, POLLIN, 0}; answered.revents == 0;) {
      ::poll(&answered, 1, 5);
      if (std::chrono::steady_clock::now() - spoke < 40ms) continue;
      spoke = std::chrono::steady_clock::now();
      device.send("still here");
    }
  }
  Usage shard;  // whose thread has done the most
  for (const auto& [task, usage] : threads()) {
    const Usage used{usage.cpu_us - before[task].cpu_us, usage.sleeps - before[task].sleeps};
    if (task != std::to_string(::getpid()) && used.cpu_us > shard.cpu_us) shard = used;
  }
  EXPECT_GT(shard.cpu_us, 20'000U);
  EXPECT_GT(shard.sleeps, shard.cpu_us / 4'000) << "in " << shard.cpu_us << " us";
  for (const int each : crowd) ::close(each);
}

TEST_P(DataPlaneTest, NothingIsRegisteredBeforeItsConnect) {
  start();
  const Identity509 identity = make_device("quiet", device_ca_);
  {
    Device device(port_, identity);
    ASSERT_TRUE(device.handshake());
    std::this_thread::sleep_for(100ms);
    EXPECT_FALSE(registrar_->device(identity.certificate.fingerprint()));
  }
  EXPECT_TRUE(eventually([&] { return rejected(Reason::BadConnect) == 1; }));
}

TEST_P(DataPlaneTest, DeactivatingCutsLiveSessionsBeforeItIsAnswered) {
  start();
  const Identity509 lost = make_device("lost", device_ca_), kept = make_device("kept", device_ca_);
  Device a(port_, lost), b(port_, kept);
  for (Device* device : {&a, &b}) {
    ASSERT_TRUE(device->handshake());
    device->send(connect_packet());
    ASSERT_EQ(device->receive(19), echoed());
  }
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(registrar_->device(lost.certificate.fingerprint())); }));
  const auto answered = registrar_->set_device_status(lost.certificate.fingerprint(), DeviceStatus::Inactive);
  ASSERT_TRUE(answered) << answered.error().what;
  EXPECT_EQ(plane_->sessions_of_device(lost.certificate.fingerprint()), 0U);
  const std::uint64_t before = broker_.received;
  a.send("must not pass");
  EXPECT_TRUE(a.ended());
  EXPECT_EQ(broker_.received, before);
  b.send("still here");
  EXPECT_EQ(b.receive(10), "still here");
  Device again(port_, lost);
  EXPECT_FALSE(again.handshake() && again.receive(1).size() == 1);
  EXPECT_TRUE(eventually([&] { return rejected(Reason::DeviceInactive) == 1; }));
}

TEST_P(DataPlaneTest, DeactivatingACaCutsEveryDeviceOfIt) {
  start();
  std::vector<Identity509> identities;
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 8; ++i) {
    identities.push_back(make_device("d" + std::to_string(i), device_ca_));
    devices.push_back(std::make_unique<Device>(port_, identities.back()));
    ASSERT_TRUE(devices.back()->handshake());
    devices.back()->send(connect_packet());
    ASSERT_EQ(devices.back()->receive(19), echoed());
  }
  EXPECT_EQ(plane_->impact_of_ca(device_ca_.certificate.fingerprint()).sessions, 8U);
  ASSERT_TRUE(registrar_->set_ca_status(device_ca_.certificate.fingerprint(), CaStatus::Inactive));
  EXPECT_EQ(plane_->impact_of_ca(device_ca_.certificate.fingerprint()).sessions, 0U);
  for (auto& device : devices) EXPECT_TRUE(device->ended());
  Device again(port_, identities[0]);
  EXPECT_FALSE(again.handshake() && again.receive(1).size() == 1);
  ASSERT_TRUE(registrar_->set_ca_status(device_ca_.certificate.fingerprint(), CaStatus::Active));
  Device back(port_, identities[0]);
  ASSERT_TRUE(back.handshake());
  back.send(connect_packet());
  EXPECT_EQ(back.receive(19), echoed());
}

// A change and connections at the same time: whatever the order, no session of the device outlives it.
TEST_P(DataPlaneTest, ADeactivationRacesHandshakes) {
  start();
  const Identity509 identity = make_device("racer", device_ca_);
  {
    Device first(port_, identity);
    ASSERT_TRUE(first.handshake());
    first.send(connect_packet());
    ASSERT_EQ(first.receive(19), echoed());
  }
  const Digest id = identity.certificate.fingerprint();
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(registrar_->device(id)); }));
  for (int round = 0; round < 10; ++round) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> connecting;
    for (int i = 0; i < 3; ++i) {
      connecting.emplace_back([&] {
        while (!stop) {
          Device device(port_, identity);
          if (device.handshake()) device.send(connect_packet());
          std::this_thread::sleep_for(5ms);
        }
      });
    }
    std::this_thread::sleep_for(20ms);
    ASSERT_TRUE(registrar_->set_device_status(id, DeviceStatus::Inactive));
    std::this_thread::sleep_for(20ms);  // what was sent before the answer reaches the broker's thread
    const std::uint64_t bytes = broker_.received;
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(plane_->sessions_of_device(id), 0U);
    EXPECT_EQ(broker_.received, bytes) << "a byte passed after the deactivation was answered";
    stop = true;
    for (std::thread& thread : connecting) thread.join();
    ASSERT_TRUE(registrar_->set_device_status(id, DeviceStatus::Active));
  }
}

TEST_P(DataPlaneTest, SilentPeersAreRefusedInTimeAndOldestFirstBeyondTheBound) {
  config_.shards = 1;
  config_.listeners[0].max_handshakes_per_shard = 4;
  config_.listeners[0].handshake_timeout = 6s;
  start();
  const auto begun = std::chrono::steady_clock::now();
  std::vector<int> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(connect_to(port_));
  EXPECT_TRUE(eventually([&] { return rejected(Reason::HandshakeTimeout) >= 24; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 6s) << "evicted, and not by the timeout";
  const Identity509 identity = make_device("d", device_ca_);
  Device device(port_, identity);
  EXPECT_TRUE(device.handshake()) << "silent peers keep nobody out";
  EXPECT_TRUE(eventually([&] { return rejected(Reason::HandshakeTimeout) == 40; })) << "by the timeout";
  for (const int fd : silent) ::close(fd);
}

TEST_P(DataPlaneTest, AListenerThatTurnsMutualCutsThoseWithoutACertificate) {
  config_.listeners[0].auth = AuthMode::OneWay;
  start();
  const Identity509 known = make_device("known", device_ca_);
  Device nobody(port_, known);
  ASSERT_TRUE(nobody.handshake());
  nobody.send(connect_packet());
  ASSERT_EQ(nobody.receive(19), echoed());
  ASSERT_EQ(plane_->sessions({}, {}, false, 10, "")->sessions.size(), 1U);
  EXPECT_FALSE(plane_->sessions({}, {}, false, 10, "")->sessions[0].device);
  auto prepared = plane_->prepare_listener(config_.listeners[0], config_.upstreams[0], AuthMode::Mutual,
                                           std::move(*load_server_certificates(config_.listeners[0].certificates)));
  ASSERT_TRUE(prepared);
  plane_->install_listener(0, std::move(*prepared));
  EXPECT_TRUE(nobody.ended());
  Device device(port_, known);
  ASSERT_TRUE(device.handshake());
  device.send(connect_packet());
  EXPECT_EQ(device.receive(19), echoed());
  const auto page = plane_->sessions(known.certificate.fingerprint(), {}, false, 10, "");
  ASSERT_EQ(page->sessions.size(), 1U);
  EXPECT_EQ(page->sessions[0].cn, "known");
  EXPECT_EQ(plane_->listeners().at(0).auth, "mutual");
  EXPECT_TRUE(plane_->cut_session(page->sessions[0].id));
  EXPECT_TRUE(device.ended());
  EXPECT_FALSE(plane_->cut_session(page->sessions[0].id));
}

// Who is not below a CA that is still admitted is cut before the reload is answered; the others go on.
TEST_P(DataPlaneTest, NarrowingTheCasCutsThoseWhoNoLongerBelong) {
  start();
  const Identity509 other_ca = make_ca("Other CA");
  ASSERT_TRUE(registrar_->trust({other_ca.certificate}));
  const Identity509 stays = make_device("stays", device_ca_), goes = make_device("goes", other_ca);
  const auto reload = [&](std::vector<Digest> cas) {
    config_.listeners[0].cas = std::move(cas);
    auto prepared = plane_->prepare_listener(config_.listeners[0], config_.upstreams[0], AuthMode::Mutual,
                                             std::move(*load_server_certificates(config_.listeners[0].certificates)));
    ASSERT_TRUE(prepared);
    plane_->install_listener(0, std::move(*prepared));
  };
  Device one(port_, stays), two(port_, goes), three(port_, goes, TLS1_2_VERSION), under_way(port_, goes);
  for (Device* device : {&one, &two, &three}) {
    ASSERT_TRUE(device->handshake());
    device->send(connect_packet());
    ASSERT_EQ(device->receive(19), echoed());
  }
  under_way.handshake_but_for_the_end();
  ASSERT_TRUE(eventually([&] { return plane_->sessions({}, {}, false, 10, "")->sessions.size() == 4; }));
  reload({device_ca_.certificate.fingerprint(), other_ca.certificate.fingerprint()});
  EXPECT_EQ(plane_->sessions({}, {}, false, 10, "")->sessions.size(), 4U) << "both are listed: nobody is cut";
  reload({device_ca_.certificate.fingerprint()});
  EXPECT_TRUE(plane_->sessions(goes.certificate.fingerprint(), {}, false, 10, "")->sessions.empty())
      << "in force when answered";
  EXPECT_TRUE(two.ended());
  EXPECT_TRUE(three.ended());
  EXPECT_TRUE(under_way.ended());
  one.send("more");
  EXPECT_EQ(one.receive(4), "more");
  Device again(port_, goes);
  again.handshake();
  EXPECT_TRUE(again.ended());
  reload({});
  Device admitted(port_, goes);
  ASSERT_TRUE(admitted.handshake());
  admitted.send(connect_packet());
  EXPECT_EQ(admitted.receive(19), echoed()) << "and back";
}

TEST_P(DataPlaneTest, AReplacedConfigurationGoesWithItsLastSession) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  const auto reload = [&] {
    auto prepared = plane_->prepare_listener(config_.listeners[0], config_.upstreams[0], AuthMode::Mutual,
                                             std::move(*load_server_certificates(config_.listeners[0].certificates)));
    ASSERT_TRUE(prepared);
    plane_->install_listener(0, std::move(*prepared));
  };
  {
    Device device(port_, identity);
    ASSERT_TRUE(device.handshake());
    device.send(connect_packet());
    ASSERT_EQ(device.receive(19), echoed());
    for (int i = 0; i < 5; ++i) reload();
    EXPECT_EQ(plane_->retired_configs(), 1U) << "the session's, and none of those in between";
    device.send("more");
    EXPECT_EQ(device.receive(4), "more") << "it goes on with the one it began with";
  }
  EXPECT_TRUE(eventually([&] {
    reload();
    return plane_->retired_configs() == 0;
  }));
}

TEST_P(DataPlaneTest, RefusalsAreKeptByCertificateAndBounded) {
  start();
  const Identity509 other = make_ca("Another CA");
  const Identity509 stranger = make_device("stranger", other);
  for (int i = 0; i < 3; ++i) {
    Device device(port_, stranger);
    device.handshake();
    EXPECT_TRUE(device.ended());
  }
  EXPECT_TRUE(eventually([&] {
    const auto seen = plane_->rejections();
    return seen.size() == 1 && seen[0].count == 3 && seen[0].reason == Reason::CaUnknown &&
           seen[0].fingerprint == to_hex(stranger.certificate.fingerprint());
  }));
  Rejections bounded;
  for (std::size_t i = 0; i < 2 * Rejections::kMost; ++i) {
    Rejection seen;
    seen.fingerprint = std::to_string(i);
    seen.subject.assign(100'000, 'x');
    bounded.add(seen);
    seen.fingerprint.clear();
    seen.peer = std::to_string(i) + ":1";
    bounded.add(seen);
    bounded.add(seen);  // known by now
  }
  const auto all = bounded.all();
  EXPECT_EQ(all.size(), 2 * Rejections::kMost);
  EXPECT_EQ(all.front().subject, std::string(kPeerText - 3, 'x') + "…") << "what was cut says so";
  EXPECT_LE(bounded.text_bytes(), 2 * Rejections::kMost * 512) << "cut before it was copied";
  EXPECT_EQ(all.front().fingerprint, std::to_string(2 * Rejections::kMost - 1)) << "the oldest make room";
}

// Whoever sends somebody else's certificate has it shown as claimed, by either TLS engine, and as many as were.
TEST_P(DataPlaneTest, AStolenCertificateIsOnlyClaimed) {
  start();
  const Identity509 victim = make_device("victim", device_ca_);
  const std::string id = to_hex(victim.certificate.fingerprint());
  const auto seen = [&](Reason reason = Reason::TlsError) {
    const auto all = plane_->rejections();
    const auto found = std::find_if(
        all.begin(), all.end(), [&](const Rejection& each) { return each.fingerprint == id && each.reason == reason; });
    return found == all.end() ? Rejection{} : *found;
  };
  std::uint64_t tried = 0;
  for (const bool openssl : {false, true}) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      const Identity509 thief{victim.certificate, with_public_key_of(victim, make_key())};
      Device device(port_, thief, version, openssl);
      device.handshake();
      EXPECT_TRUE(device.ended());
      ++tried;
      ASSERT_TRUE(eventually([&] { return seen().count == tried; })) << openssl << " " << version;
      EXPECT_EQ(seen().reason, Reason::TlsError);
      EXPECT_TRUE(seen().claimed);
    }
  }
  std::uint64_t claimed = 0;
  for (const ShardCounters* shard : plane_->counters()) {
    claimed += shard->listeners[0].claimed[static_cast<std::size_t>(Reason::TlsError)].get();
  }
  EXPECT_EQ(claimed, tried);
  // Its own refusal, with the key proven.
  Device device(port_, victim);
  ASSERT_TRUE(device.handshake());
  device.send(std::string("\x30\0", 2));
  EXPECT_TRUE(device.ended());
  EXPECT_TRUE(eventually([&] { return seen(Reason::NotMqtt).count == 1; }));
  EXPECT_EQ(seen(Reason::NotMqtt).claimed_count, 0U);
  EXPECT_EQ(seen().count, tried);
  EXPECT_EQ(seen().claimed_count, tried);
}

TEST(Rejections, EachReasonAndListenerIsCountedApart) {
  Rejections rejections;
  Rejection seen{.reason = Reason::DeviceInactive, .listener = "one", .peer = "192.0.2.1:5", .fingerprint = "a"};
  rejections.add(seen);
  rejections.add(seen);
  seen.reason = Reason::BrokerUnavailable;
  rejections.add(seen);
  seen.listener = "two";
  rejections.add(seen);
  seen.fingerprint.clear();
  seen.what = "this is HTTP";
  rejections.add(seen);
  seen.what = "this is MQTT";
  rejections.add(seen);
  auto all = rejections.all();
  EXPECT_EQ(all.size(), 5U);
  for (const Rejection& each : all) EXPECT_EQ(each.count, each.reason == Reason::DeviceInactive ? 2U : 1U);
  std::vector<std::vector<Rejection>> shards(2, all);
  all = merged(std::move(shards));
  EXPECT_EQ(all.size(), 5U);
  for (const Rejection& each : all) EXPECT_EQ(each.count, each.reason == Reason::DeviceInactive ? 4U : 2U);
}

// Claims are free: any number of them pushes out nobody whose key was proven, and does not hide how many were proven.
TEST(Rejections, ClaimsPushOutNobody) {
  Rejections rejections;
  Rejection proven;
  proven.fingerprint = "victim";
  proven.reason = Reason::NotMqtt;
  proven.last = 1;
  rejections.add(proven);
  Rejection claim;
  claim.claimed = true;
  claim.reason = Reason::TlsError;
  for (std::size_t i = 0; i < 3 * Rejections::kMost; ++i) {
    claim.fingerprint = std::to_string(i);
    claim.last = static_cast<std::int64_t>(i);
    rejections.add(claim);
  }
  EXPECT_EQ(rejections.all().size(), Rejections::kMost + 1);
  claim.fingerprint = "victim";
  claim.reason = Reason::NotMqtt;
  claim.last = 5;
  rejections.add(claim);
  for (std::size_t i = 0; i < 2 * Rejections::kMost; ++i) {
    claim.fingerprint = "again " + std::to_string(i);
    rejections.add(claim);
  }
  const auto all = rejections.all();
  const auto found =
      std::find_if(all.begin(), all.end(), [](const Rejection& each) { return each.fingerprint == "victim"; });
  ASSERT_NE(found, all.end()) << "it was pushed out by what costs nothing";
  EXPECT_EQ(found->count, 2U);
  EXPECT_EQ(found->claimed_count, 1U);
  EXPECT_TRUE(found->claimed);
  EXPECT_EQ(found->first, 1);
  EXPECT_EQ(found->last, 5);
  // Whose key is proven later moves to the others of its kind, with its count.
  claim.claimed = false;
  rejections.add(claim);
  for (std::size_t i = 0; i < 2 * Rejections::kMost; ++i) {
    Rejection more = claim;
    more.claimed = true;
    more.fingerprint = "more " + std::to_string(i);
    rejections.add(more);
  }
  const auto later = rejections.all();
  const auto moved = std::find_if(later.begin(), later.end(),
                                  [&](const Rejection& each) { return each.fingerprint == claim.fingerprint; });
  ASSERT_NE(moved, later.end());
  EXPECT_EQ(moved->count, 2U);
}

// The limit is of the certificate, whichever shards its sessions are on and however they end.
TEST_P(DataPlaneTest, ADeviceHasSoManySessionsAndNoMore) {
  config_.listeners[0].max_sessions_per_device = 3;
  start();
  const Identity509 greedy = make_device("greedy", device_ca_), modest = make_device("modest", device_ca_);
  const auto connected = [&](const Identity509& identity) {
    auto device = std::make_unique<Device>(port_, identity);
    EXPECT_TRUE(device->handshake());
    device->send(connect_packet());
    return device;
  };
  const std::string refused("\x20\x02\0\x03", 4);
  std::uint64_t turned_away = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<Device>> devices;
    for (int i = 0; i < 3; ++i) {
      devices.push_back(connected(greedy));
      ASSERT_EQ(devices.back()->receive(19), echoed());
    }
    for (int i = 0; i < 4; ++i, ++turned_away) EXPECT_EQ(connected(greedy)->receive(4), refused);
    EXPECT_EQ(connected(modest)->receive(19), echoed()) << "others have places of their own";
    EXPECT_EQ(rejected(Reason::TooManySessions), turned_away);
    if (round == 1) {
      const auto page = plane_->sessions(greedy.certificate.fingerprint(), {}, false, 10, "");
      ASSERT_EQ(page->sessions.size(), 3U);
      for (const SessionInfo& session : page->sessions) EXPECT_TRUE(plane_->cut_session(session.id));
    }
    devices.clear();
    ASSERT_TRUE(eventually([&] { return sessions() == 0; }));
  }
}

// The options of every TCP socket of this process that `wanted` says yes to.
std::vector<int> sockets_with(const std::function<bool(int)>& wanted) {
  std::vector<int> found;
  for (int fd = 3; fd < 1'024; ++fd) {
    int type = 0;
    socklen_t length = sizeof type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM && wanted(fd)) {
      found.push_back(fd);
    }
  }
  return found;
}
int option_of(int fd, int level, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  ::getsockopt(fd, level, option, &value, &length);
  return value;
}
std::uint16_t port_of(int fd, bool peer) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  auto* at = reinterpret_cast<sockaddr*>(&address);
  if ((peer ? ::getpeername(fd, at, &length) : ::getsockname(fd, at, &length)) != 0) return 0;
  return ntohs(address.sin_port);
}

// The kernel's memory for both sockets of a session is bounded. How much it takes: test_peers.py.
TEST_P(DataPlaneTest, TheKernelHoldsSoMuchOfASession) {
  if (GetParam()) GTEST_SKIP() << "direct descriptors have no number to ask for";
  start();
  const Identity509 identity = make_device("d", device_ca_);
  Device device(port_, identity);
  ASSERT_TRUE(device.handshake());
  device.send(connect_packet());
  ASSERT_EQ(device.receive(19), echoed());
  const auto accepted = sockets_with([&](int fd) { return port_of(fd, false) == port_ && port_of(fd, true) != 0; });
  const auto to_broker = sockets_with([&](int fd) {
    return port_of(fd, true) == broker_.port && option_of(fd, SOL_SOCKET, SO_RCVBUF) == 2 * kBrokerReceiveBytes;
  });
  ASSERT_EQ(accepted.size(), 1U);
  ASSERT_EQ(to_broker.size(), 1U);
  EXPECT_EQ(option_of(accepted[0], SOL_SOCKET, SO_SNDBUF), 2 * kClientSendBytes);
  EXPECT_EQ(option_of(accepted[0], SOL_SOCKET, SO_RCVBUF), 2 * kClientReceiveBytes);
  EXPECT_EQ(option_of(to_broker[0], SOL_SOCKET, SO_RCVBUF), 2 * kBrokerReceiveBytes);
  EXPECT_EQ(option_of(to_broker[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT), kBrokerUnsentBytes);
  EXPECT_LE(kKernelBytesOfASession, 2700 * 1024) << "what the documentation says";
}

// Dead peers are looked for on both sides, from a reload on as it says. How the kernel ends them: test_peers.py.
TEST_P(DataPlaneTest, PeersAreWatched) {
  if (GetParam()) GTEST_SKIP() << "direct descriptors have no number to ask for";
  start();
  const Identity509 identity = make_device("d", device_ca_);
  const auto look = [&](int idle, int interval, int user_timeout, bool on) {
    Device device(port_, identity);
    ASSERT_TRUE(device.handshake());
    device.send(connect_packet());
    ASSERT_EQ(device.receive(19), echoed());
    const auto accepted = sockets_with([&](int fd) { return port_of(fd, false) == port_ && port_of(fd, true) != 0; });
    const auto to_broker = sockets_with([&](int fd) {
      return port_of(fd, true) == broker_.port && option_of(fd, SOL_SOCKET, SO_RCVBUF) == 2 * kBrokerReceiveBytes;
    });
    ASSERT_EQ(accepted.size(), 1U);
    ASSERT_EQ(to_broker.size(), 1U);
    for (const int fd : {accepted[0], to_broker[0]}) {
      EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), on ? 1 : 0);
      EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), user_timeout);
      if (!on) continue;
      EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle);
      EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), interval);
      EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    }
  };
  const auto reload = [&](std::chrono::milliseconds keepalive, std::chrono::milliseconds user_timeout) {
    config_.listeners[0].keepalive = keepalive;
    config_.listeners[0].user_timeout = user_timeout;
    auto prepared = plane_->prepare_listener(config_.listeners[0], config_.upstreams[0], AuthMode::Mutual,
                                             std::move(*load_server_certificates(config_.listeners[0].certificates)));
    ASSERT_TRUE(prepared);
    plane_->install_listener(0, std::move(*prepared));
    ASSERT_TRUE(eventually([&] { return sessions() == 0; })) << "the last one's sockets are closed";
  };
  look(60, 15, 120'000, true);  // a dead peer is found two minutes after it was last heard
  reload(20s, 8s);
  look(20, 2, 28'000, true);
  reload(0s, 30s);
  look(0, 0, 30'000, false);
  reload(500ms, 1s);
  look(1, 1, 1'500, true);
}

// At ten a second a shard the first handful closes at once, the rest in turn; all are in force with the answer.
TEST_P(DataPlaneTest, ClosingIsPaced) {
  config_.cuts_per_second = 20;
  start();
  const Identity509 identity = make_device("many", device_ca_);
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 40; ++i) {
    devices.push_back(std::make_unique<Device>(port_, identity));
    ASSERT_TRUE(devices.back()->handshake());
    devices.back()->send(connect_packet());
    ASSERT_EQ(devices.back()->receive(19), echoed());
  }
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(registrar_->device(identity.certificate.fingerprint())); }));
  ASSERT_TRUE(registrar_->set_device_status(identity.certificate.fingerprint(), DeviceStatus::Revoked));
  EXPECT_TRUE(plane_->sessions(identity.certificate.fingerprint(), {}, false, 100, "")->sessions.empty());
  std::uint64_t closing = 0;
  for (const ShardInfo& shard : plane_->shard_info()) closing += shard.closing;
  EXPECT_GT(closing, 20U);
  const std::uint64_t before = broker_.received;
  for (auto& device : devices) device->send("more");
  EXPECT_TRUE(eventually([&] { return sessions() == 0; }));
  EXPECT_EQ(broker_.received, before) << "bytes of a revoked device reached the broker";
}

TEST_P(DataPlaneTest, PagesOfSessionsLeaveNoneOut) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 5; ++i) {  // on two shards: several of one device on one of them
    devices.push_back(std::make_unique<Device>(port_, identity));
    ASSERT_TRUE(devices.back()->handshake());
    devices.back()->send(connect_packet());
    ASSERT_EQ(devices.back()->receive(19), echoed());
  }
  const Digest device = identity.certificate.fingerprint(), ca = device_ca_.certificate.fingerprint();
  const auto listed = [&](std::optional<Digest> of_device, std::optional<Digest> of_ca, std::size_t limit) {
    std::set<std::uint64_t> ids;
    std::string token;
    do {
      const auto page = plane_->sessions(of_device, of_ca, false, limit, token);
      EXPECT_TRUE(page && page->sessions.size() <= limit);
      for (const SessionInfo& session : page->sessions) EXPECT_TRUE(ids.insert(session.id).second) << "twice";
      token = page->next_page_token;
    } while (!token.empty());
    return ids.size();
  };
  for (const std::size_t limit : {1U, 2U, 100U}) {
    EXPECT_EQ(listed(device, {}, limit), 5U);
    EXPECT_EQ(listed({}, ca, limit), 5U);
    EXPECT_EQ(listed(device, ca, limit), 5U);
    EXPECT_EQ(listed({}, {}, limit), 5U);
  }
}

// What was let in before a reload: the newcomer's own sessions stay.
TEST_P(DataPlaneTest, OneCertificateInTwoPlacesKeepsTheNewcomersOwn) {
  start();
  const Identity509 identity = make_device("twice", device_ca_);
  std::vector<std::unique_ptr<Device>> devices;
  const auto connected = [&](char name) {
    std::string packet = connect_packet();
    packet.back() = name;
    devices.push_back(std::make_unique<Device>(port_, identity));
    EXPECT_TRUE(devices.back()->handshake());
    devices.back()->send(packet);
    EXPECT_EQ(devices.back()->receive(19).size(), 19U);
  };
  connected('a');
  connected('b');
  config_.listeners[0].clones = Clones::CutOld;
  auto prepared = plane_->prepare_listener(config_.listeners[0], config_.upstreams[0], AuthMode::Mutual,
                                           std::move(*load_server_certificates(config_.listeners[0].certificates)));
  ASSERT_TRUE(prepared);
  plane_->install_listener(0, std::move(*prepared));
  connected('a');
  EXPECT_TRUE(devices[1]->ended());
  const auto page = plane_->sessions(identity.certificate.fingerprint(), {}, false, 10, "");
  ASSERT_EQ(page->sessions.size(), 2U);
  for (const SessionInfo& session : page->sessions) EXPECT_EQ(session.client_id, "a");
}

// The kernel spreads them over both shards: whoever is cut, and who is listed, is found on either.
TEST_P(DataPlaneTest, OneCertificateInTwoPlacesIsCutWhereverItIs) {
  config_.shards = 2;
  config_.listeners[0].clones = Clones::CutOld;
  start();
  const Identity509 identity = make_device("twice", device_ca_);
  const auto named = [](char name) {
    std::string packet = connect_packet();
    packet.back() = name;
    return packet;
  };
  std::vector<std::unique_ptr<Device>> devices;
  for (char name = 'a'; name < 'i'; ++name) {
    devices.push_back(std::make_unique<Device>(port_, identity));
    ASSERT_TRUE(devices.back()->handshake());
    devices.back()->send(named(name));
    ASSERT_EQ(devices.back()->receive(19), kLetIn + named(name));
    if (devices.size() > 1) {
      EXPECT_TRUE(devices[devices.size() - 2]->ended());
    }
  }
  const Digest device = identity.certificate.fingerprint();
  EXPECT_TRUE(eventually([&] { return plane_->sessions(device, {}, false, 10, "")->sessions.size() == 1; }));
  EXPECT_EQ(plane_->sessions(device, {}, false, 10, "")->sessions[0].client_id, "h") << "the last that came";
  devices.push_back(std::make_unique<Device>(port_, identity));
  ASSERT_TRUE(devices.back()->handshake());
  devices.back()->send(named('h'));
  ASSERT_EQ(devices.back()->receive(19), kLetIn + named('h'));
  EXPECT_EQ(plane_->sessions(device, {}, false, 10, "")->sessions.size(), 2U) << "the same device on the same way";
  EXPECT_TRUE(plane_->sessions(device, {}, true, 10, "")->sessions.empty());
}

TEST_P(DataPlaneTest, WhoHasNotProvenAnythingIsListedAsNobody) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  Device device(port_, identity);
  device.handshake_but_for_the_end();
  std::this_thread::sleep_for(50ms);  // by then its certificate was judged
  const auto all = plane_->sessions({}, {}, false, 10, "");
  ASSERT_EQ(all->sessions.size(), 1U);
  EXPECT_EQ(all->sessions[0].state, "handshaking");
  EXPECT_FALSE(all->sessions[0].device);
  EXPECT_EQ(all->sessions[0].cn, "");
  EXPECT_TRUE(plane_->sessions({}, device_ca_.certificate.fingerprint(), false, 10, "")->sessions.empty());
}

TEST_P(DataPlaneTest, ADrainLetsSessionsEndAndTurnsNewOnesAway) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  auto device = std::make_unique<Device>(port_, identity);
  ASSERT_TRUE(device->handshake());
  device->send(connect_packet());
  ASSERT_EQ(device->receive(19), echoed());
  EXPECT_TRUE(is_listened_on(port_));
  plane_->drain(10s);
  EXPECT_TRUE(eventually([&] { return !is_listened_on(port_); }));  // without anybody having come
  EXPECT_EQ(connect_to(port_), -1);
  device->send("last words");
  EXPECT_EQ(device->receive(10), "last words");
  EXPECT_FALSE(plane_->finished());
  device.reset();
  plane_->join();
  EXPECT_TRUE(plane_->finished());
}

// Never earlier than an even pace has it, and long before the limit the first ones.
TEST_P(DataPlaneTest, ADrainClosesOneAfterTheOther) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 20; ++i) {
    devices.push_back(std::make_unique<Device>(port_, identity));
    ASSERT_TRUE(devices.back()->handshake());
    devices.back()->send(connect_packet());
    ASSERT_EQ(devices.back()->receive(19), echoed());
  }
  const auto began = std::chrono::steady_clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  plane_->drain(20s);
  EXPECT_TRUE(eventually([&] {
    for (auto& device : devices) device->receive(0);
    const std::uint64_t left = sessions();
    EXPECT_GE(static_cast<double>(left) + 2, 20 * (1 - passed() / 20)) << "two shards, each rounds down";
    return left <= 14;
  }));
  EXPECT_LT(passed(), 20);
}

TEST_P(DataPlaneTest, ADrainSendsClientsElsewhere) {
  config_.upstreams[0].server_reference = "other:8883";
  start();
  const std::string v5("\x10\x0E\0\4MQTT\5\2\0\x3C\0\0\1c", 16);
  const Identity509 identity = make_device("d", device_ca_);
  Device speaks_5(port_, identity), speaks_4(port_, identity);
  for (auto& [device, connect] : {std::pair(&speaks_5, v5), std::pair(&speaks_4, connect_packet())}) {
    ASSERT_TRUE(device->handshake());
    device->send(connect);
    ASSERT_EQ(device->receive(kLetIn.size() + connect.size()), kLetIn + connect);
  }
  plane_->drain(100ms);
  EXPECT_EQ(speaks_5.receive(100), std::string("\xE0\x0F\x9C\x0D\x1C\0\x0A", 7) + "other:8883");
  EXPECT_EQ(speaks_4.receive(100), "");
  EXPECT_TRUE(speaks_5.ended());
  EXPECT_TRUE(speaks_4.ended());
  plane_->join();
}

TEST_P(DataPlaneTest, TheDrainsLimitEndsWhatIsLeft) {
  start();
  const Identity509 identity = make_device("d", device_ca_);
  Device device(port_, identity);
  ASSERT_TRUE(device.handshake());
  device.send(connect_packet());
  ASSERT_EQ(device.receive(19), echoed());
  plane_->drain(100ms);
  EXPECT_TRUE(device.ended());
  plane_->join();
}

}  // namespace
}  // namespace sallyport::test
