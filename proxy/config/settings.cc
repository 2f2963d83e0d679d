#include "proxy/config/settings.h"

#include "proxy/config/setting_members.h"
#include "proxy/config/setting_row.h"

namespace sallyport {

namespace {

using enum Applies;

constexpr std::uint64_t kMillion = 1'000'000;
constexpr std::uint64_t kSocketPath = 107;  // sun_path takes 108 bytes with its terminator: unix(7)
constexpr Row<Config> kTop[] = {
    row<&Config::state_dir>({.key = "state_dir",
                             .least = 1,
                             .most = 4095,
                             .example = "\"/srv/sallyport\"",
                             .says = "The folder of the registry: CAs, devices, tokens, the audit log. It is made "
                                     "private to the user that runs Sallyport."}),
};

constexpr Row<Config> kProxy[] = {
    row<&Config::shards>({.table = "proxy",
                          .key = "shards",
                          .most = 1024,
                          .example = "2",
                          .says = "How many shards serve connections, each a thread of its own. 0: one for each CPU "
                                  "this process may use."}),
    row<&Config::io>({.table = "proxy",
                      .key = "io",
                      .example = "\"epoll\"",
                      .says = "How shards speak to the kernel. \"auto\": by io_uring, and where that is refused, as "
                              "by Docker's default seccomp profile, by epoll, with a warning. \"io_uring\": not at all "
                              "then. \"epoll\": costs more CPU, and connections are bounded by the open-file limit "
                              "alone."}),
    row<&Config::tls_engine>(
        {.table = "proxy",
         .key = "tls_engine",
         .applies = AtOnce,
         .example = "\"openssl\"",
         .says = "Who does cryptography. \"auto\": Sallyport's own handshakes and records, the fastest, and OpenSSL "
                 "where those do not fit. \"openssl\": in the whole process OpenSSL's public API alone, with the "
                 "providers that OPENSSL_CONF names; slower. New connections follow a reload, open ones stay."}),
    row<&Config::drain>({.table = "proxy",
                         .key = "drain",
                         .applies = AtOnce,
                         .example = "\"10s\"",
                         .says = "Over how long sessions are closed after SIGTERM or `sallyport drain`, one after the "
                                 "other at an even pace. Kubernetes kills 30s after SIGTERM: drain_delay and this "
                                 "should stay below."}),
    row<&Config::drain_delay>({.table = "proxy",
                               .key = "drain_delay",
                               .applies = AtOnce,
                               .may_be_zero = true,
                               .example = "\"5s\"",
                               .says = "For how long listeners go on accepting after /readyz fails, so that a load "
                                       "balancer notices before the first connection is turned away."}),
    row<&Config::cuts_per_second>({.table = "proxy",
                                   .key = "cuts_per_second",
                                   .applies = AtOnce,
                                   .least = 1,
                                   .most = kMillion,
                                   .example = "200",
                                   .says = "The pace at which each shard closes sessions that were cut. No byte of "
                                           "them passes meanwhile."}),
    row<&Config::keep_ticket_keys>(
        {.table = "proxy",
         .key = "keep_ticket_keys",
         .applies = AtOnce,
         .example = "true",
         .says = "Whether the keys of TLS tickets outlive a planned restart (SIGTERM, `sallyport drain`, `serve "
                 "--take-over`), so that devices resume after it. They lie in state_dir meanwhile, encrypted with "
                 "registry.key_file, which this needs."}),
    row<&Config::ready_when>(
        {.table = "proxy",
         .key = "ready_when",
         .applies = AtOnce,
         .example = "\"any-upstream\"",
         .says = "Whether /readyz also asks for brokers: \"any-upstream\", that one upstream has "
                 "a server that is up; \"all-upstreams\", that each has one. One that is ejected counts "
                 "until it fails a probe, too: a few devices alone do not end readiness."}),
};

constexpr Row<ListenerConfig> kListener[] = {
    row<&ListenerConfig::name>({.table = "listener",
                                .key = "name",
                                .needed = "logs, metrics and commands call the listener by it",
                                .example = "\"mqtts\"",
                                .says = "The name by which logs, metrics and commands call the listener."}),
    row<&ListenerConfig::address>({.table = "listener",
                                   .key = "address",
                                   .needed = "where to listen, for example \"0.0.0.0:8883\"",
                                   .example = "\"0.0.0.0:8883\"",
                                   .says = "Where to listen. With port 0 the kernel chooses one; the log and "
                                           "`sallyport listener list` say which."}),
    row<&ListenerConfig::auth>(
        {.table = "listener",
         .key = "auth",
         .applies = AtOnce,
         .example = "\"one-way\"",
         .says = "\"mutual\" asks every device for its certificate; \"one-way\" asks for none."}),
    row<&ListenerConfig::protocol>({.table = "listener",
                                    .key = "protocol",
                                    .example = "\"tcp\"",
                                    .says = "\"mqtt\" awaits a CONNECT and checks it; \"tcp\" passes bytes only."}),
    row<&ListenerConfig::upstream_name>({.table = "listener",
                                         .key = "upstream",
                                         .needed = "the name of an [[upstream]]",
                                         .example = "\"broker\"",
                                         .says = "The name of the [[upstream]] this listener leads to."}),
    row<&ListenerConfig::certificates>(
        {.table = "listener",
         .key = "certificates",
         .applies = AtOnce,
         .needed = "at least one { chain = \"FILE\", key = \"FILE\" }",
         .example = "[ { chain = \"/etc/sallyport/server_chain.crt\", key = \"/etc/sallyport/server_pkcs8.key\" } ]",
         .says = "PEM files of the server certificates, each with its issuers behind it, and of their private keys. "
                 "Of several one is chosen by SNI and key type; the first is the default. Files that change are read "
                 "again by themselves."}),
    row<&ListenerConfig::tls_min>({.table = "listener",
                                   .key = "tls_min",
                                   .applies = AtOnce,
                                   .example = "\"1.3\"",
                                   .says = "The oldest TLS version that is accepted."}),
    row<&ListenerConfig::tls_engine>(
        {.table = "listener",
         .key = "tls_engine",
         .applies = AtOnce,
         .inherits = "proxy.tls_engine",
         .example = "\"openssl\"",
         .says = "The same for this listener's TLS: handshakes with the decision about the device, records, and "
                 "tickets. Where it is not written, proxy.tls_engine stands, which also says who verifies and hashes "
                 "for the registry; where it is, it wins, \"auto\" too."}),
    row<&ListenerConfig::resumption>({.table = "listener",
                                      .key = "resumption",
                                      .applies = AtOnce,
                                      .example = "false",
                                      .says = "Whether devices get TLS tickets. A ticket is honoured by the listener "
                                              "that issued it, for the same server name, and only while its device "
                                              "has not lost its standing since: one that is activated again makes "
                                              "a full handshake first."}),
    row<&ListenerConfig::resumption_max_age>(
        {.table = "listener",
         .key = "resumption_max_age",
         .applies = AtOnce,
         .least = 1'000,
         .most = 7ULL * 86'400'000,  // RFC 8446, section 4.6.1
         .example = "\"8h\"",
         .says = "For how long after a full handshake its tickets, and those of the resumptions that follow, are "
                 "honoured. Then a full handshake is due, in which the device proves again that it holds its key."}),
    row<&ListenerConfig::cas>(
        {.table = "listener",
         .key = "cas",
         .applies = AtOnce,
         .example = "[\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"]",
         .says = "The ids of the CAs whose devices this listener admits, as `sallyport ca list -q` shows them. Empty: "
                 "those of all."}),
    row<&ListenerConfig::client_id>(
        {.table = "listener",
         .key = "client_id",
         .applies = AtOnce,
         .example = "\"{cn}\"",
         .says =
             "A template that the client id of the CONNECT must equal; an empty one is filled in where the protocol "
             "allows it. Empty: any client id."}),
    row<&ListenerConfig::handshake_timeout>({.table = "listener",
                                             .key = "handshake_timeout",
                                             .applies = AtOnce,
                                             .example = "\"5s\"",
                                             .says = "How long a TLS handshake may take."}),
    row<&ListenerConfig::connect_timeout>({.table = "listener",
                                           .key = "connect_timeout",
                                           .applies = AtOnce,
                                           .example = "\"5s\"",
                                           .says = "How long the whole CONNECT may take after the handshake."}),
    row<&ListenerConfig::max_connect_bytes>({.table = "listener",
                                             .key = "max_connect_size",
                                             .takes = Takes::Size,
                                             .applies = AtOnce,
                                             .least = 64,
                                             .most = 16U << 20,
                                             .example = "\"16KiB\"",
                                             .says = "The largest CONNECT that is accepted, its Will included."}),
    row<&ListenerConfig::max_connections>({.table = "listener",
                                           .key = "max_connections",
                                           .applies = AtOnce,
                                           .example = "50000",
                                           .says = "How many connections the listener holds at once. 0: what the "
                                                   "open-file limit allows."}),
    row<&ListenerConfig::max_connections_per_ip>(
        {.table = "listener",
         .key = "max_connections_per_ip",
         .applies = AtOnce,
         .example = "100",
         .says = "How many connections one address may hold; an IPv6 address counts as its /64. 0: no limit. Leave it "
                 "at 0 behind a load balancer, whose address every device has, unless it sends PROXY headers "
                 "(proxy_protocol_from)."}),
    row<&ListenerConfig::max_new_per_second_per_ip>(
        {.table = "listener",
         .key = "max_new_per_second_per_ip",
         .applies = AtOnce,
         .most = kMillion,
         .example = "20",
         .says = "How many new connections one address may make in a second; it may make them all at once. Those "
                 "beyond it are refused before TLS. 0: no limit."}),
    row<&ListenerConfig::max_sessions_per_device>(
        {.table = "listener",
         .key = "max_sessions_per_device",
         .applies = AtOnce,
         .most = kMillion,
         .example = "4",
         .says =
             "How many sessions one certificate may hold, over all shards. 0: no limit, and one device may take all "
             "connections. Leave room for one that comes back before its dead connection is noticed: 4 is a good "
             "value."}),
    row<&ListenerConfig::max_connects_per_minute_per_device>(
        {.table = "listener",
         .key = "max_connects_per_minute_per_device",
         .applies = AtOnce,
         .most = 60'000,
         .example = "30",
         .says = "How often one certificate may connect in a minute, all at once if it likes; counted when its key is "
                 "proven. Beyond it the CONNECT is refused as rate_limited. 0: no limit."}),
    row<&ListenerConfig::proxy_protocol_from>(
        {.table = "listener",
         .key = "proxy_protocol_from",
         .applies = AtOnce,
         .example = "[\"10.0.0.0/8\", \"2001:db8::1\"]",
         .says = "Networks of balancers. Who connects from there must begin with a PROXY header, version 1 or 2, whose "
                 "address is the client's for limits, logs and lists. A header from anybody else is refused."}),
    row<&ListenerConfig::keepalive>(
        {.table = "listener",
         .key = "keepalive",
         .applies = AtOnce,
         .may_be_zero = true,
         .example = "\"30s\"",
         .says =
             "How long TCP waits on a connection that is silent, with a device or its broker, before it asks whether "
             "the peer is there (in whole seconds, 9 hours at most). 0s: it never asks."}),
    row<&ListenerConfig::user_timeout>(
        {.table = "listener",
         .key = "user_timeout",
         .applies = AtOnce,
         .may_be_zero = true,
         .example = "\"2m\"",
         .says =
             "How long a peer may leave that unanswered: it is given up keepalive + user_timeout after it was last "
             "heard, with data on its way or without. So is one that is there and takes no data for as long as both. "
             "0s: as the kernel has it."}),
    row<&ListenerConfig::idle_timeout>(
        {.table = "listener",
         .key = "idle_timeout",
         .applies = AtOnce,
         .may_be_zero = true,
         .example = "\"1h\"",
         .says = "How long a session may pass no byte either way; it ends at most a quarter later. It counts for every "
                 "session: set it well above the longest MQTT keep alive of your devices. Needed for protocol = "
                 "\"tcp\" and for clients with a keep alive of 0: the broker takes care of the others. 0s: for ever."}),
    row<&ListenerConfig::clones>(
        {.table = "listener",
         .key = "clones",
         .applies = AtOnce,
         .example = "\"alert\"",
         .says =
             "What to do when one certificate has sessions from two addresses or with two client ids at once. Each "
             "is counted and listed; \"alert\" also warns in the log, \"refuse-new\" refuses the newer, "
             "\"cut-old\" cuts the older. \"refuse-new\" keeps a device that changed its network out until its old "
             "connection is known to be dead. With \"cut-old\" two that both connect again cut each other for ever: "
             "bound them with max_connects_per_minute_per_device. A one-way listener knows no certificate, and no "
             "clone."}),
    row<&ListenerConfig::max_handshakes_per_shard>(
        {.table = "listener",
         .key = "max_handshakes_per_shard",
         .applies = AtOnce,
         .least = 1,
         .most = 65536,
         .example = "64",
         .says = "How many handshakes with work to do a shard takes on; at the limit it pauses accepting. Silent peers "
                 "have a bound of their own, four times this, and the oldest of them makes room."}),
    row<&ListenerConfig::cut_sessions>({.table = "listener",
                                        .key = "cut_sessions",
                                        .applies = AtOnce,
                                        .example = "false",
                                        .says = "Whether a device that loses its good standing is disconnected at "
                                                "once. false: it is refused when it connects again."}),
};

constexpr Row<RegistryConfig> kRegistry[] = {
    row<&RegistryConfig::auto_register>({.table = "registry",
                                         .key = "auto_register",
                                         .applies = AtOnce,
                                         .example = "false",
                                         .says = "Whether devices of a CA that was registered without a choice of its "
                                                 "own register themselves."}),
    row<&RegistryConfig::trusted_cas>({.table = "registry",
                                       .key = "trusted_cas",
                                       .applies = AtOnce,
                                       .example = "[\"/etc/sallyport/fleet-ca.pem\"]",
                                       .says = "PEM files, or folders of *.pem and *.crt. These CAs are registered at "
                                               "the start without a proof of possession: all of them, or none where "
                                               "one cannot be. One that is out of date is passed over with a warning. "
                                               "A CA that leaves the file stays registered until `ca deactivate`."}),
    row<&RegistryConfig::max_cas>({.table = "registry",
                                   .key = "max_cas",
                                   .applies = AtOnce,
                                   .least = 1,
                                   .most = 100'000,
                                   .example = "50",
                                   .says = "How many CAs can be registered."}),
    row<&RegistryConfig::max_devices_per_ca>({.table = "registry",
                                              .key = "max_devices_per_ca",
                                              .applies = AtOnce,
                                              .example = "1000000",
                                              .says =
                                                  "How many devices one CA can have: new ones beyond are refused as "
                                                  "`not_registered`. Of new ones that come in the same moment some may "
                                                  "be served until they are counted, and are cut then. 0: no limit."}),
    row<&RegistryConfig::queue>({.table = "registry",
                                 .key = "queue",
                                 .least = 1,
                                 .most = 1U << 24,
                                 .example = "4096",
                                 .says = "How many new devices may wait to be written. Those that find it full are "
                                         "served, and offered again while their session lasts."}),
    row<&RegistryConfig::key_file>({.table = "registry",
                                    .key = "key_file",
                                    .applies = AtOnce,
                                    .example = "\"/etc/sallyport/seal.key\"",
                                    .says = "The key that encrypts hosted server keys at rest: 64 hex digits in a file "
                                            "of mode 0600 (`openssl rand -hex 32`). Empty: none can be hosted."}),
    row<&RegistryConfig::audit_keep>({.table = "registry",
                                      .key = "audit_keep",
                                      .applies = AtOnce,
                                      .example = "\"90d\"",
                                      .says = "How long lines of the audit log are kept. The newest 10,000 stay, "
                                              "however old they are."}),
    row<&RegistryConfig::max_registrations_per_second_per_ca>(
        {.table = "registry",
         .key = "max_registrations_per_second_per_ca",
         .applies = AtOnce,
         .most = kMillion,
         .example = "100",
         .says = "How many devices of one CA may register themselves in a second. Those beyond it are refused as "
                 "rate_limited at their CONNECT and come again. 0: no limit."}),
    row<&RegistryConfig::shared>({.table = "registry",
                                  .key = "shared",
                                  .most = 4096,
                                  .is_url = true,
                                  .example = "\"postgresql://sallyport@db.example/sallyport\"",
                                  .says =
                                      "One registry for many machines: a connection string of PostgreSQL, made "
                                      "ready by `registry init`. This machine keeps a replica in state_dir and "
                                      "serves from it. A server elsewhere has to show a certificate for its name "
                                      "(sslmode=verify-full) unless the string says otherwise; a password is better "
                                      "kept in ~/.pgpass. Empty: the registry is this machine's own."}),
    row<&RegistryConfig::node>({.table = "registry",
                                .key = "node",
                                .most = 64,
                                .example = "\"edge-7\"",
                                .says = "This machine's name in the shared registry: letters, digits, '-', '_' and "
                                        "'.'. Empty: the host's."}),
    row<&RegistryConfig::stale_after>({.table = "registry",
                                       .key = "stale_after",
                                       .may_be_zero = true,
                                       .example = "\"10m\"",
                                       .says = "How long the shared registry may be out of reach until `stale` says "
                                               "what is done. A start that does not reach it counts as that long. 0s: "
                                               "for ever."}),
    row<&RegistryConfig::stale>({.table = "registry",
                                 .key = "stale",
                                 .example = "\"refuse-unknown\"",
                                 .says = "What a machine does that may not know of revocations. \"serve\": go on. "
                                         "\"refuse-unknown\": devices that are not registered here are refused as "
                                         "not_registered. \"refuse-all\": every device is refused as ca_inactive, and "
                                         "sessions end. Neither changes anything in the registry."}),
};

constexpr Row<AdminConfig> kAdmin[] = {
    row<&AdminConfig::socket>({.table = "admin",
                               .key = "socket",
                               .least = 1,
                               .most = kSocketPath,
                               .example = "\"/run/sallyport/other.sock\"",
                               .says = "The unix socket of the API, mode 0660. Whoever may open it is an operator."}),
    row<&AdminConfig::address>({.table = "admin",
                                .key = "address",
                                .example = "\"127.0.0.1:8443\"",
                                .says = "host:port of the API over the network. It asks for a token, and needs "
                                        "certificate and key unless it is loopback. Empty: there is none."}),
    row<&AdminConfig::certificate>({.table = "admin",
                                    .key = "certificate",
                                    .example = "\"/etc/sallyport/admin_chain.crt\"",
                                    .says = "PEM file with the certificate of that address, its issuers behind it. A "
                                            "reload reads the file again."}),
    row<&AdminConfig::key>({.table = "admin",
                            .key = "key",
                            .example = "\"/etc/sallyport/admin_pkcs8.key\"",
                            .says = "PEM file with its private key. A reload reads the file again."}),
    row<&AdminConfig::backup_dir>({.table = "admin",
                                   .key = "backup_dir",
                                   .example = "\"/var/backups/sallyport\"",
                                   .says = "The only folder into which a backup over the network writes; it is made "
                                           "private. Empty: no backups over the network."}),
};

constexpr Row<Config> kMetrics[] = {
    row<&Config::metrics>({.table = "metrics",
                           .key = "address",
                           .example = "\"127.0.0.1:9885\"",
                           .says = "host:port of /metrics, /livez and /readyz, which ask for no token."}),
};

constexpr Row<Config> kLog[] = {
    row<&Config::log_level>({.table = "log",
                             .key = "level",
                             .applies = AtOnce,
                             .example = "\"warn\"",
                             .says = "The least important lines that are written."}),
    row<&Config::log_format>(
        {.table = "log", .key = "format", .applies = AtOnce, .example = "\"json\"", .says = "How lines are written."}),
};

constexpr std::size_t kIndex = 1;   // ListenerConfig::upstream follows from upstream_name
constexpr std::size_t kTables = 4;  // Config's listeners, upstreams, registry and admin
static_assert(members<ListenerConfig>() == with_member<ListenerConfig>(kListener) + kIndex, "a member has no row");
static_assert(members<RegistryConfig>() == with_member<RegistryConfig>(kRegistry), "a member has no row");
static_assert(members<AdminConfig>() == with_member<AdminConfig>(kAdmin), "a member has no row");
static_assert(members<Config>() == kTables + with_member<Config>(kTop) + with_member<Config>(kProxy) +
                                       with_member<Config>(kMetrics) + with_member<Config>(kLog),
              "a member has no row");

}  // namespace

std::span<const Row<Config>> top_rows() {
  return kTop;
}
std::span<const Row<Config>> proxy_rows() {
  return kProxy;
}
std::span<const Row<ListenerConfig>> listener_rows() {
  return kListener;
}
std::span<const Row<RegistryConfig>> registry_rows() {
  return kRegistry;
}
std::span<const Row<AdminConfig>> admin_rows() {
  return kAdmin;
}
std::span<const Row<Config>> metrics_rows() {
  return kMetrics;
}
std::span<const Row<Config>> log_rows() {
  return kLog;
}

}  // namespace sallyport
