#include "tests/simulation/world.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "proxy/proxy_protocol/proxy_header.h"
#include "proxy/tls/ticket_keys.h"

namespace sallyport::test {

namespace {

// Keys, certificates and the server's TLS context, made once for all runs.
struct Shared {
  TempDir dir;
  Identity509 ca = make_ca("CA");
  Identity509 device = make_device("device", ca);
  Identity509 server = make_device("localhost", ca);
  ListenerConfig listener, tcp_listener;
  TicketKeys keys{std::time(nullptr)};
  std::unique_ptr<TlsContext> tls, tls_with_tickets;
  std::unique_ptr<OpensslServer> broker;
  std::unique_ptr<BrokerTlsContext> to_broker;

  Shared() {
    listener.name = "simulated";
    listener.certificates.push_back(
        {dir.write("chain", server.certificate.pem()), dir.write("key", key_pem(server.key.get()))});
    listener.handshake_timeout = std::chrono::milliseconds(2000);
    listener.connect_timeout = std::chrono::milliseconds(2000);
    listener.max_sessions_per_device = 1;
    tcp_listener = listener;
    tcp_listener.protocol = Protocol::Tcp;
    auto made = TlsContext::create(listener);
    if (made) tls = std::move(*made);
    Leaf leaf;
    leaf.subject_alt_name = "DNS:broker.test";
    leaf.extended_key_usage = "serverAuth";
    broker = std::make_unique<OpensslServer>(make(leaf, &ca));
    auto client = BrokerTlsContext::create({dir.write("ca", ca.certificate.pem()), "", "", ""});
    if (client) to_broker = std::move(*client);
    auto other = TlsContext::create(listener, &keys);
    if (other) tls_with_tickets = std::move(*other);
  }
};

Shared& shared() {
  static Shared made;
  return made;
}

std::string noise(std::mt19937_64& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

// PUBLISH packets of many sizes, `size` bytes or a little more of them.
std::string packets(std::mt19937_64& random, std::size_t size) {
  std::string bytes;
  while (bytes.size() < size) {
    const std::size_t length = 1 + random() % (random() % 5 == 0 ? 30'000 : 300);
    bytes += '\x30';
    for (std::size_t rest = length; rest > 0; rest >>= 7) {
      bytes += static_cast<char>((rest & 0x7F) | (rest > 0x7F ? 0x80 : 0));
    }
    bytes += noise(random, length);
  }
  return bytes;
}

std::span<const std::uint8_t> span_of(const std::string& bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string connect_packet(bool mqtt5 = false) {
  if (mqtt5) {
    return {
        "\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01"
        "c",
        16};
  }
  return {
      "\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01"
      "c",
      15};
}

std::string connack(bool mqtt5) {
  return mqtt5 ? std::string("\x20\x03\0\0\0", 5) : std::string("\x20\x02\0\0", 4);
}

sockaddr_storage World::balancer() {
  return to_sockaddr({{192, 0, 2, 7}, 4711, 4});
}

std::string World::certificate() {
  return shared().device.certificate.der();
}

OpensslServer& World::tls_of_broker() {
  return *shared().broker;
}

const ListenerConfig& World::listener(bool tcp) {
  return tcp ? shared().tcp_listener : shared().listener;
}

namespace {

std::unique_ptr<Session> lived_before() {
  Script earlier;
  earlier.mqtt5 = true;
  earlier.brokers = 2;
  earlier.broken_brokers = 1;
  World world(earlier, 1, std::make_unique<Session>());
  const auto served = [&] { return world.session.state() == Session::State::Forwarding && !world.client_got.empty(); };
  while (!served() && world.turn()) {
  }
  EXPECT_TRUE(served()) << "an earlier life that was none: " << world.story();
  EXPECT_EQ(world.session.client_id(), "c");
  world.session.cut(Reason::DeviceInactive);
  world.run();
  world.check();
  EXPECT_EQ(world.host.ended_as, Cause::Cut);
  return std::move(world.owned);
}

}  // namespace

World::World(const Script& chosen, std::uint64_t seed)
    : World(chosen, seed, seed % 4 == 1 ? lived_before() : std::make_unique<Session>()) {}

World::World(const Script& chosen, std::uint64_t seed, std::unique_ptr<Session> used)
    : random(seed), script(chosen), config(listener(chosen.tcp)), owned(std::move(used)), session(*owned) {
  config.idle_timeout = script.idle_timeout;
  if (script.broker_tls) host.tls = shared().to_broker.get();
  // Written anew, to the same bytes: nothing else about the session may differ.
  if (seed % 3 == 2 && !script.tcp) upstream.client_id = *IdentityTemplate::parse("{client_id}");
  client_socket = io.open(0);
  client = std::make_unique<TlsClient>(TlsClient::Options{.device = &shared().device, .version = script.version});
  client_sends = connect_packet(script.mqtt5) + noise(random, script.client_bytes);
  broker_sends = script.tcp ? "" : connack(script.mqtt5);
  broker_sends += script.mqtt5 ? packets(random, script.broker_bytes) : noise(random, script.broker_bytes);
  upstream.connack_timeout = std::chrono::milliseconds(3000);
  io.refuse_connects = script.broken_brokers;
  host.brokers = script.brokers;
  host.full_offers = script.full_offers;
  host.verdict.identity = make_identity(shared().device.certificate);
  host.verdict.identity->not_after = INT64_MAX;
  host.verdict.chain_cas = {shared().ca.certificate.fingerprint()};
  host.verdict.known = script.standing == Script::Standing::Known;
  host.verdict.pending = script.standing == Script::Standing::Pending;
  if (!host.verdict.known) {
    host.verdict.path = std::make_shared<const PathFound>();
    host.verdict.leaf_der = shared().device.certificate.der();
  }
  if (script.standing == Script::Standing::Refused) host.verdict.reason = Reason::CaInactive;
  if (script.standing == Script::Standing::LostBeforeConnect) host.standing = Reason::DeviceInactive;
  if (script.client_reads_from_turn > 0 || script.broker_reads_from_turn > 0) io.faults.window = 8 * 1024;
  if (script.place_taken) {
    EXPECT_EQ(host.device_enters(0, host.verdict.identity->fingerprint, 1), DevicePlace::Taken);
  }
  const TlsContext* tls = script.tickets ? shared().tls_with_tickets.get() : shared().tls.get();
  sockaddr_storage peer{};
  if (!script.from_balancer.empty()) {
    config.proxy_protocol_from = {*Network::parse("192.0.2.0/24")};
    peer = balancer();
    io.peer_writes(client_socket, script.from_balancer);
  }
  upstream.proxy_protocol = script.says_proxy;
  upstream.proxy_protocol_certificate = script.shows_certificate;
  session.begin(host.parts, {0, &config, tls, AuthMode::Mutual, &upstream}, client_socket, peer, to_inet(balancer()));
  EXPECT_EQ(session.client_id(), "");
  EXPECT_FALSE(session.mqtt_version().has_value());
  EXPECT_EQ(session.verdict(), nullptr);
}

void World::free_place() {
  if (!std::exchange(script.place_taken, false)) return;
  host.device_leaves(0, host.verdict.identity->fingerprint, DevicePlace::Taken);
}

bool World::client_has_ticket() const {
  const SSL_SESSION* held = SSL_get_session(client->ssl());
  return held != nullptr && SSL_SESSION_has_ticket(held) == 1;
}

std::size_t World::received_whole() {
  const std::size_t received = io.received_by_session(client_socket);
  std::size_t whole = 0;
  for (const auto& [ciphertext, said] : whole_at_) {
    if (ciphertext <= received) whole = said;
  }
  return whole;
}

void World::client_ends() {
  if (script.client_end == Script::ClientEnd::Reset) io.peer_resets(client_socket);
  if (script.client_end == Script::ClientEnd::Rubbish && !harmed_) {
    harmed_ = true;
    io.peer_writes(client_socket, std::string("\x17\x03\x03\0\x40", 5) + noise(random, 64));
  }
  script.hangs_up ? io.peer_closes(client_socket) : io.peer_ends(client_socket);
}

void World::broker_hears(const std::string& bytes) {
  const bool whole =
      !script.says_proxy || parse_proxy_header(span_of(broker_header)).state == ProxyHeaderProgress::State::Complete;
  if (whole) {
    broker_got += bytes;
    return;
  }
  broker_header += bytes;
  const ProxyHeaderProgress header = parse_proxy_header(span_of(broker_header));
  EXPECT_NE(header.state, ProxyHeaderProgress::State::Refused) << header.what;
  if (header.state != ProxyHeaderProgress::State::Complete) return;
  broker_got += broker_header.substr(header.header_bytes);
  broker_header.resize(header.header_bytes);
}

void World::client_acts() {
  if (script.before_tls_only) {
    if (!std::exchange(client_finished, true)) client_ends();
    return;
  }
  if (turns >= script.client_reads_from_turn) {
    const std::string bytes = io.peer_reads(client_socket, 1 + random() % 9000);
    if (!bytes.empty()) client->take(span_of(bytes));
  }
  const bool up = client->handshake();
  if (up) {
    client_got += client->receive();
    if (client_sent < client_sends.size() && turns >= script.client_sends_from_turn) {
      const std::size_t n = std::min<std::size_t>(client_sends.size() - client_sent, 1 + random() % 20'000);
      client->send(span_of(client_sends.substr(client_sent, n)));
      client_sent += n;
    }
  }
  const bool all_sent = up && client_sent == client_sends.size();
  const bool heard_all = script.hangs_up || client_got.size() >= broker_sends.size() || client->closed() ||
                         io.peer_sees_end(client_socket);
  if (all_sent && !client_finished) {
    switch (script.client_end) {
      case Script::ClientEnd::CloseNotify:
        if (heard_all) {
          client->close();
          client_finished = true;
        }
        break;
      case Script::ClientEnd::FinAlone: client_finished = heard_all; break;
      case Script::ClientEnd::Reset:
        client_finished = script.hangs_up || broker_got.size() > client_sends.size() / 2;
        break;
      case Script::ClientEnd::Rubbish: client_finished = heard_all; break;
      case Script::ClientEnd::WaitsForBroker: client_finished = client->closed(); break;
    }
  }
  auto out = client->give();
  if (script.flips_a_byte && !out.empty() && random() % 4 == 0) {
    out[random() % out.size()] ^= 1;
    harmed_ = true;
  }
  client_wrote_ += out.size();
  if (!out.empty()) io.peer_writes(client_socket, {reinterpret_cast<const char*>(out.data()), out.size()});
  if (up && !harmed_) whole_at_.emplace_back(client_wrote_, client_sent);
  if (client_finished) client_ends();
  // Whoever is refused or let go leaves, too.
  if (io.peer_sees_end(client_socket)) io.peer_ends(client_socket);
}

// A socket that is new is another broker, which has heard nothing yet.
// The same broker's TLS for all: tickets of one run are honoured in the next.
void World::shake_with_broker() {
  if (!script.broker_tls || !host.broker.valid()) return;
  OpensslServer& broker = *shared().broker;
  if (std::exchange(broker_with_tls_, host.broker.handle()) != host.broker.handle()) {
    broker.accept();
    if (script.broker_tls_version != 0) SSL_set_max_proto_version(broker.ssl(), script.broker_tls_version);
    ++tls_brokers_met_;
    broker_heard_.clear();
  }
  if (SSL_is_init_finished(broker.ssl()) != 0 || tls_brokers_met_ <= script.silent_tls_brokers) return;
  broker_heard_ += broker.hears(span_of(io.peer_reads(host.broker, 1 + random() % 3000)));
  broker_answers_tls();
}

void World::broker_answers_tls() {
  OpensslServer& broker = *shared().broker;
  if (script.speaks_at_once && SSL_is_init_finished(broker.ssl()) != 0) {
    broker.says(broker_sends);
    broker.closes();
  }
  if (const std::string gives = broker.gives(); !gives.empty()) io.peer_writes(host.broker, gives);
}

std::string World::broker_reads(std::size_t most) {
  const std::string bytes = io.peer_reads(host.broker, most);
  if (!script.broker_tls) return bytes;
  if (broker_with_tls_ != host.broker.handle()) return {};
  const bool shook = SSL_is_init_finished(shared().broker->ssl()) != 0;
  broker_heard_ += shared().broker->hears(span_of(bytes));
  if (!shook) broker_answers_tls();
  broker_told = shared().broker->ended;
  return std::exchange(broker_heard_, {});
}

void World::broker_writes(const std::string& bytes) {
  if (!script.broker_tls) return io.peer_writes(host.broker, bytes);
  shared().broker->says(bytes);
  io.peer_writes(host.broker, shared().broker->gives());
}

void World::broker_ends() {
  if (script.broker_tls && !script.cuts_off && !script.speaks_at_once) {
    shared().broker->closes();
    io.peer_writes(host.broker, shared().broker->gives());
  }
  if (script.breaks_tls) io.peer_writes(host.broker, std::string("\x17\x03\x03\0\x20", 5) + noise(random, 32));
  if (!script.breaks_tls && !script.stays_open) io.peer_ends(host.broker);
}

bool World::meets_next_broker() {
  const bool shakes = script.broker_tls && host.broker.handle() != asked.handle();  // with the next one
  if (!host.broker.valid() || host.connected <= brokers_met) return brokers_met > 0 && !shakes;
  EXPECT_TRUE(client_sends.compare(0, broker_got.size(), broker_got) == 0) << "a broker got other bytes than were sent";
  ++brokers_met;
  asked = host.broker;
  broker_got.clear();
  broker_header.clear();
  broker_sent = script.speaks_at_once ? broker_sends.size() : 0;
  broker_finished = false;
  return true;
}

// It takes the CONNECT, and perhaps more, and does not answer.
void World::broker_fails() {
  broker_hears(broker_reads(1 + random() % 30'000));
  if (broker_finished || broker_got.size() < connect_packet(script.mqtt5).size()) return;
  broker_finished = true;
  switch (script.failing) {
    case Script::Failing::Closes: return broker_ends();
    case Script::Failing::Resets: return io.peer_resets(host.broker);
    case Script::Failing::Silent: return;
    case Script::Failing::Unavailable:
      return broker_writes(script.mqtt5 ? std::string("\x20\x03\0\x88\0", 5) : std::string("\x20\x02\0\x03", 4));
    case Script::Failing::Rubbish: return broker_writes("HTTP/1.1 400 Bad Request\r\n\r\n");
  }
}

void World::broker_acts() {
  shake_with_broker();
  if (!meets_next_broker()) return;
  if (brokers_met <= script.failing_brokers) return broker_fails();
  // Also one that hangs later has taken its CONNECT.
  const std::size_t greeting = script.tcp ? 0 : connect_packet(script.mqtt5).size();
  if (turns >= script.broker_reads_from_turn) {
    broker_hears(broker_reads(1 + random() % 30'000));
  } else if (broker_got.size() < greeting) {
    broker_hears(broker_reads(greeting - broker_got.size()));
  }
  if (broker_sent < broker_sends.size() && broker_got.size() >= connect_packet(script.mqtt5).size()) {
    const std::size_t n = std::min<std::size_t>(broker_sends.size() - broker_sent, 1 + random() % 20'000);
    broker_writes(broker_sends.substr(broker_sent, n));
    broker_sent += n;
  }
  if (broker_finished) return;
  const bool shook = !script.speaks_at_once || SSL_is_init_finished(shared().broker->ssl()) != 0;
  const bool all_sent = broker_sent == broker_sends.size() && shook;
  switch (script.broker_end) {
    case Script::BrokerEnd::AfterClient:
      broker_finished = all_sent && io.peer_sees_end(host.broker) && io.unsent(host.broker) == 0;
      break;
    case Script::BrokerEnd::Fin: broker_finished = all_sent; break;
    case Script::BrokerEnd::Reset: broker_finished = broker_sent > broker_sends.size() / 2; break;
  }
  if (!broker_finished) return;
  if (script.broker_end != Script::BrokerEnd::Reset) return broker_ends();
  io.peer_resets(host.broker);
  io.peer_ends(host.broker);
}

bool World::turn() {
  ++turns;
  const bool moved = io.turn();
  host.now_ms += moved ? 1 : 40;
  if (script.cut_at_turn == turns) {
    if (host.index().count_of_device(host.verdict.identity->fingerprint) == 1) {
      in_flight_at_cut = io.sending_bytes(host.broker);
      broker_hears(broker_reads(SIZE_MAX));
      broker_bytes_at_cut = broker_got.size();
      session.cut(Reason::DeviceInactive);
    }
    host.standing = Reason::DeviceInactive;
  }
  if (script.shut_down_at_turn == turns || script.leave_at_turn == turns) {
    accepted_at_shutdown = broker_got.size() + session.to_broker_held();
    if (host.broker.valid()) accepted_at_shutdown += io.unsent(host.broker);
    left_served = script.leave_at_turn == turns && session.state() == Session::State::Forwarding;
    script.leave_at_turn == turns ? session.leave() : session.shut_down();
  }
  client_acts();
  broker_acts();
  host.end_turn(session);
  if (session.state() != Session::State::Free) {
    most_held = std::max(most_held, session.held_bytes());
    if (session.state() < Session::State::Connecting)
      most_held_before_connect = std::max(most_held_before_connect, session.held_bytes());
  }
  return session.state() != Session::State::Free;
}

void World::run() {
  constexpr int kMostTurns = 20'000;
  while (turn()) {
    if (turns == kMostTurns) {
      ADD_FAILURE() << "it never ends: " << story();
      return;
    }
  }
  // What is still on the wire arrives.
  for (int i = 0; i < 3; ++i) {
    const std::string bytes = io.peer_reads(client_socket, SIZE_MAX);
    if (!bytes.empty()) client->take(span_of(bytes));
    client->handshake();
    client_got += client->receive();
    if (host.broker.valid()) broker_hears(broker_reads(SIZE_MAX));
  }
}

void World::check() {
  EXPECT_EQ(io.broken_rules, std::vector<std::string>());
  EXPECT_EQ(host.over_count, 1);
  EXPECT_EQ(host.gone_count, 1);
  EXPECT_EQ(host.begun_count, host.was_served ? 1 : 0) << "a line of its begin for each line of its end";
  EXPECT_EQ(host.session_bytes,
            host.shard_counters().bytes_to_broker.get() + host.shard_counters().bytes_to_client.get());
  EXPECT_EQ(io.open_sockets(), 0);
  EXPECT_EQ(io.in_flight(), 0U);
  EXPECT_TRUE(host.timers().empty());
  EXPECT_TRUE(host.index().empty());
  EXPECT_EQ(host.held, 0) << "a broker is held for ever";
  EXPECT_EQ(host.left_served, host.answered);
  free_place();
  EXPECT_EQ(host.device_sessions.devices(), 0U) << "a place of the device's is lost";
  EXPECT_EQ(session.held_bytes(), 0U);
  EXPECT_LE(most_held, 256U * 1024);
  EXPECT_LE(most_held_before_connect, 96U * 1024);
  // Compared as a whole, never printed: thousands of random bytes tell nobody anything.
  EXPECT_TRUE(client_sends.compare(0, broker_got.size(), broker_got) == 0)
      << "the broker got other bytes than were sent";
  EXPECT_LE(broker_got.size(), client_sends.size());
  if (host.was_served && !script.mqtt5) {
    EXPECT_TRUE(broker_sends.compare(0, client_got.size(), client_got) == 0)
        << "the client got other bytes than were sent";
    EXPECT_GE(host.rechecks, 1);
    EXPECT_EQ(host.offered + host.seen_count > 0 || script.full_offers > 0, true);
  } else if (!host.was_served && host.connected == 0) {
    EXPECT_TRUE(broker_got.empty() && broker_header.empty())
        << "bytes of a session that was never admitted reached the broker";
  }
}

std::string World::story() const {
  return "turns " + std::to_string(turns) + ", state " + std::to_string(static_cast<int>(session.state())) +
         ", reason " + std::string(to_string(host.reason)) + ", client sent " + std::to_string(client_sent) + "/" +
         std::to_string(client_sends.size()) + ", broker got " + std::to_string(broker_got.size()) + ", broker sent " +
         std::to_string(broker_sent) + "/" + std::to_string(broker_sends.size()) + ", client got " +
         std::to_string(client_got.size()) + ", in flight " + std::to_string(io.in_flight()) + ", ended as " +
         std::to_string(static_cast<int>(host.ended_as)) + " by: " + std::string(host.what);
}

}  // namespace sallyport::test
