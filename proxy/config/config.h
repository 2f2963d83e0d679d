// The configuration as the data plane sees it: what admin/docs/configuration.md says, parsed, checked and with
// every default filled in. Read by proxy/config/config.cc from TOML; plain values afterwards. Each member has its row
// in the table of settings (settings.h), which the compiler checks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/x509/certificate.h"
#include "proxy/config/identity_template.h"
#include "proxy/config/network.h"

namespace sallyport {

struct Endpoint {
  std::string host;  // an address or a name; empty for a unix socket
  std::uint16_t port = 0;
  std::string unix_path;
  std::string text() const;
};

struct CertificateFiles {
  std::string chain;  // PEM, leaf first
  std::string key;    // PEM: PKCS#8, PKCS#1 or SEC1, not encrypted
};

// TLS to a broker: we are the client. Nothing is said where `ca` is empty: plain.
struct BrokerTlsConfig {
  std::string ca;                // PEM: by whom its certificate must be signed
  std::string certificate, key;  // PEM: what we show, and its key; both or neither
  std::string server_name;       // what its certificate must name; empty: the host of the server
  bool asked() const { return !ca.empty(); }
};

enum class AuthMode : std::uint8_t { Mutual, OneWay };
enum class Protocol : std::uint8_t { Mqtt, Tcp };
enum class TlsMin : std::uint8_t { V12, V13 };
enum class TlsMadeBy : std::uint8_t { Auto, Openssl };  // Openssl: by its public API and its providers alone
enum class Clones : std::uint8_t { Allow, Alert, RefuseNew, CutOld };
enum class Balance : std::uint8_t { LeastConnections, RoundRobin, ClientId };
enum class HealthCheck : std::uint8_t { Tcp, Mqtt };
enum class IoEngine : std::uint8_t { Auto, IoUring, Epoll };
enum class ReadyWhen : std::uint8_t { Always, AnyUpstream, AllUpstreams };

std::string_view to_string(Balance balance);  // as the file writes them
std::string_view to_string(HealthCheck health);
std::string_view to_string(TlsMadeBy engine);

struct ListenerConfig {
  std::string name;
  Endpoint address;  // port 0: the kernel chooses, the log and `listener list` say which
  AuthMode auth = AuthMode::Mutual;
  Protocol protocol = Protocol::Mqtt;
  std::string upstream_name;                   // as the file writes it
  std::size_t upstream = 0;                    // its index in Config::upstreams
  std::vector<CertificateFiles> certificates;  // the first is the default
  TlsMin tls_min = TlsMin::V12;
  TlsMadeBy tls_engine = TlsMadeBy::Auto;  // where the file does not say: the proxy's
  bool resumption = true;
  std::chrono::milliseconds resumption_max_age{24 * 3'600'000};  // of a ticket, since its last full handshake
  std::vector<Digest> cas;                                       // empty: all
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds connect_timeout{10'000};
  std::size_t max_connect_bytes = 64 * 1024;
  std::uint64_t max_connections = 0;                                        // 0: what the open-file limit allows
  std::uint64_t max_connections_per_ip = 0, max_new_per_second_per_ip = 0;  // 0: no limit
  std::uint64_t max_sessions_per_device = 0;                                // of one certificate; 0: no limit
  std::uint64_t max_connects_per_minute_per_device = 0;                     // of one certificate; 0: no limit
  Clones clones = Clones::Allow;
  std::vector<Network> proxy_protocol_from;  // whose PROXY header is required and believed
  std::uint32_t max_handshakes_per_shard = 256;
  std::chrono::milliseconds keepalive{60'000}, user_timeout{60'000};  // of TCP, on both sides; 0: none
  std::chrono::milliseconds idle_timeout{0};                          // no byte either way; 0: for ever
  bool cut_sessions = true;
  IdentityTemplate client_id;  // what the CONNECT's client id must equal; empty: anything
};

struct UpstreamConfig {
  static constexpr std::size_t kMostServers = 64;

  std::string name;
  std::vector<Endpoint> servers;
  Balance balance = Balance::LeastConnections;
  std::vector<std::string> source;          // local addresses to connect from
  bool proxy_protocol = false;              // PROXY v2 before a session's first byte
  bool proxy_protocol_certificate = false;  // … and the device's certificate in it
  BrokerTlsConfig tls;                      // empty: plain
  std::chrono::milliseconds connect_timeout{5'000}, connack_timeout{10'000};
  HealthCheck health = HealthCheck::Tcp;
  std::chrono::milliseconds health_interval{2'000};
  std::chrono::milliseconds slow_start{10'000};  // 0: none
  std::chrono::milliseconds resolve_interval{30'000};
  IdentityTemplate username;     // replaces the CONNECT's user name; its password is dropped
  IdentityTemplate client_id;    // replaces the CONNECT's client id
  bool user_properties = false;  // MQTT 5: who the device is, in place of what it says itself
  std::string server_reference;  // MQTT 5: where clients are sent when Sallyport drains
  // Its broker is told who a device is: nobody without a certificate may be led to it.
  bool tells_identity() const { return !username.empty() || !client_id.empty() || user_properties; }
};

// Why a listener in this mode can tell its broker nothing of devices, where it has to; empty: it can, or need not. The
// mode may be one chosen at run time, and the protocol one before a restart: the file alone does not show them.
std::string why_not_told(const ListenerConfig& listener, const UpstreamConfig& upstream, AuthMode auth);

// What a session of a listener is carried out by: kept together, for as long as one of them needs it.
struct ListenerSetup {
  ListenerConfig listener;
  UpstreamConfig upstream;
};

// What a machine does that has not heard of the shared registry for long.
enum class WhenStale : std::uint8_t { Serve, RefuseUnknown, RefuseAll };

struct RegistryConfig {
  bool auto_register = true;
  std::vector<std::string> trusted_cas;  // PEM files or folders
  std::size_t max_cas = 1000;
  std::uint64_t max_devices_per_ca = 0;
  std::size_t queue = 65536;
  std::uint64_t max_registrations_per_second_per_ca = 0;  // 0: no limit
  std::string key_file;  // encrypts hosted server keys at rest; empty: none can be hosted
  std::chrono::milliseconds audit_keep{400LL * 86'400'000};
  std::string shared;  // PostgreSQL's connection string; empty: the registry is this machine's own
  std::string node;    // its name there; empty: the host's
  std::chrono::milliseconds stale_after{0};  // 0: never
  WhenStale stale = WhenStale::Serve;
};

struct AdminConfig {
  std::string socket = "/run/sallyport/admin.sock";
  std::optional<Endpoint> address;  // API over the network: needs tokens, and TLS unless it is loopback
  std::string certificate, key;     // of the address; both or neither
  std::string backup_dir;           // the only place where `backup` over the network writes
  std::optional<CertificateFiles> tls() const;
};

struct Config {
  std::string state_dir = "/var/lib/sallyport";
  unsigned shards = 0;                       // 0: one per CPU this process may use
  IoEngine io = IoEngine::Auto;              // how shards speak to the kernel
  TlsMadeBy tls_engine = TlsMadeBy::Auto;    // of the process, and of each listener that does not say
  std::chrono::milliseconds drain{25'000};   // Kubernetes kills after 30 s
  std::chrono::milliseconds drain_delay{0};  // accepting goes on for so long after /readyz fails
  std::uint64_t cuts_per_second = 1000;      // per shard: the pace of closing sessions that were cut
  bool keep_ticket_keys = false;             // over a planned restart, sealed under registry.key_file
  ReadyWhen ready_when = ReadyWhen::Always;
  std::vector<ListenerConfig> listeners;
  std::vector<UpstreamConfig> upstreams;
  RegistryConfig registry;
  AdminConfig admin;
  Endpoint metrics{"127.0.0.1", 9884, ""};
  Level log_level = Level::Info;
  LogFormat log_format = LogFormat::Text;
};

// One finding: `FILE:LINE:COL: message (did you mean 'x'?)`.
struct ConfigProblem {
  std::uint32_t line = 0, column = 0;
  std::string message;
};

struct ConfigReport {
  Config config;  // meaningful only where there are no problems
  std::vector<ConfigProblem> problems;
  std::vector<ConfigProblem> warnings;
  bool unread = false;  // the file cannot be read: nothing is known of what it says
  // Line and column of each key and element, as "listener[0].certificates[1]": for what the text alone does not show.
  std::map<std::string, std::pair<std::uint32_t, std::uint32_t>> places;

  bool ok() const { return problems.empty(); }
  // A finding at `key`, or at what it stands in where it is not written, or at 0:0.
  ConfigProblem at(std::string key, std::string message) const;
  void sort();  // both lists by place
};

// Pure: the text alone, no file is opened. All problems in one pass.
ConfigReport parse_config(std::string_view text, std::string_view file_name);
// Reads `path`; an unreadable file is a problem at 0:0.
ConfigReport load_config(const std::string& path);
std::string to_string(const ConfigProblem& problem, std::string_view file_name);

}  // namespace sallyport
