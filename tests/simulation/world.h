// One simulated connection: a session over the fake kernel, a real TLS client on the one side, a made-up
// broker on the other, and what either sent and got.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "proxy/session/session.h"
#include "tests/proxy/tls/openssl_server.h"
#include "tests/proxy/tls/tls_client.h"
#include "tests/simulation/fake_host.h"

namespace sallyport::test {

std::string connack(bool mqtt5);  // of a broker that lets the client in

struct Script {
  enum class Standing { Known, First, Pending, Refused, LostBeforeConnect } standing = Standing::Known;
  enum class ClientEnd { CloseNotify, FinAlone, Reset, Rubbish, WaitsForBroker } client_end = ClientEnd::CloseNotify;
  enum class BrokerEnd { AfterClient, Fin, Reset } broker_end = BrokerEnd::AfterClient;
  int version = 0;
  std::size_t client_bytes = 1000, broker_bytes = 1000;
  unsigned brokers = 1;
  int broken_brokers = 0;  // the first ones refuse connections
  // The first ones behind those take the CONNECT, and then:
  enum class Failing { Closes, Resets, Silent, Unavailable, Rubbish } failing = Failing::Closes;
  int failing_brokers = 0;
  int full_offers = 0;
  std::optional<int> cut_at_turn, shut_down_at_turn, leave_at_turn;
  int client_reads_from_turn = 0, broker_reads_from_turn = 0;  // until then the peer takes nothing
  int client_sends_from_turn = 0;                              // until then it says nothing beyond its handshake
  bool flips_a_byte = false;
  bool mqtt5 = false;  // the broker's bytes are whole packets
  bool tickets = false;
  bool broker_tls = false;      // the way to the brokers is TLS
  int broker_tls_version = 0;   // the latest that it takes; 0: OpenSSL's
  int silent_tls_brokers = 0;   // the first ones never answer its ClientHello
  bool cuts_off = false;        // the broker ends without a close_notify
  bool breaks_tls = false;      // … and with what is no record
  bool stays_open = false;      // it ends TLS alone
  bool speaks_at_once = false;  // what it has to say comes with the end of the handshake, and its close_notify
  bool tcp = false;             // the listener's protocol
  std::chrono::milliseconds idle_timeout{0};
  bool place_taken = false;        // the device has as many sessions as it may have
  std::string from_balancer;       // the connection is a balancer's, who says this before the client's first byte
  bool before_tls_only = false;    // … and the client nothing
  bool says_proxy = false;         // the broker gets a PROXY header
  bool shows_certificate = false;  // … and the certificate in it
  bool hangs_up = false;           // the client closes its socket when it has said all, and hears nothing more
};

// A session of the slab is used again and again. Here every fourth seed's has lived before: with a client of MQTT 5, a
// broker that refused, a cut in the middle of it and a farewell. None of it may be seen in the next life.
class World {
 public:
  World(const Script& script, std::uint64_t seed);
  World(const Script& script, std::uint64_t seed, std::unique_ptr<Session> used);

  // One turn of everything; false once the session is gone and everything is counted.
  bool turn();
  void run();    // to the end; a failure if it does not come
  void check();  // what must hold whatever happened
  std::string story() const;
  bool client_has_ticket() const;
  // Of what the client said: so much at least was in whole, unharmed records that the session has received.
  std::size_t received_whole();

  void free_place();  // the one that place_taken takes

  static const ListenerConfig& listener(bool tcp = false);
  static sockaddr_storage balancer();
  static std::string certificate();       // the device's, DER
  static OpensslServer& tls_of_broker();  // all worlds'

  std::mt19937_64 random;
  Script script;
  ListenerConfig config;  // the session's
  UpstreamConfig upstream;
  FakeIo io{random};
  FakeHost host{io};
  std::unique_ptr<Session> owned;
  Session& session;
  Socket client_socket;
  std::unique_ptr<TlsClient> client;
  std::string client_sends, broker_sends;  // all that either means to send
  std::string client_got, broker_got;
  std::string broker_header;  // what the broker got before that
  std::size_t client_sent = 0, broker_sent = 0;
  Socket asked;         // the broker that the session has now
  int brokers_met = 0;  // connections that a broker took
  std::size_t most_held = 0, most_held_before_connect = 0;
  std::size_t broker_bytes_at_cut = SIZE_MAX, client_bytes_at_cut = SIZE_MAX, in_flight_at_cut = 0;
  std::size_t accepted_at_shutdown = 0;  // of the client's bytes, by the engine
  bool left_served = false;              // it drained while it was served
  int turns = 0;
  bool client_finished = false, broker_finished = false;
  bool broker_told = false;  // by a close_notify, that nothing more comes

 private:
  void client_ends();
  void client_acts();
  bool meets_next_broker();
  void shake_with_broker();
  void broker_answers_tls();
  std::string broker_reads(std::size_t most);
  void broker_writes(const std::string& bytes);
  void broker_ends();
  void broker_fails();
  void broker_acts();
  void broker_hears(const std::string& bytes);

  std::size_t client_wrote_ = 0;                               // ciphertext
  std::vector<std::pair<std::size_t, std::size_t>> whole_at_;  // after how much of it how much of what is said is whole
  bool harmed_ = false;
  int tls_brokers_met_ = 0;
  int broker_with_tls_ = -1;  // whose connection the broker's TLS has now
  std::string broker_heard_;  // decrypted, and not read yet
};

std::string connect_packet();

}  // namespace sallyport::test
