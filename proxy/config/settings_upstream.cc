// The rows of [[upstream]].
#include "proxy/config/setting_members.h"
#include "proxy/config/setting_row.h"

namespace sallyport {

namespace {

using enum Applies;

constexpr Row<UpstreamConfig> kUpstream[] = {
    row<&UpstreamConfig::name>({.table = "upstream",
                                .key = "name",
                                .needed = "listeners refer to the upstream by it",
                                .example = "\"broker\"",
                                .says = "The name by which listeners refer to the upstream."}),
    row<&UpstreamConfig::servers>({.table = "upstream",
                                   .key = "servers",
                                   .applies = AtOnce,
                                   .needed = "at least one \"host:port\" or \"unix:/path\" of a broker",
                                   .example = "[\"127.0.0.1:1883\"]",
                                   .says = "The brokers: \"host:port\", every address of which is used, or "
                                           "\"unix:/path\". At most 64. Sessions of one that is taken out go on."}),
    row<&UpstreamConfig::balance>({.table = "upstream",
                                   .key = "balance",
                                   .applies = AtOnce,
                                   .example = "\"round-robin\"",
                                   .says = "How a server is chosen. \"client-id\": the same one for the same client "
                                           "id, which takes protocol = \"mqtt\"."}),
    row<&UpstreamConfig::source>({.table = "upstream",
                                  .key = "source",
                                  .example = "[\"127.0.0.2\", \"127.0.0.3\"]",
                                  .says = "Local addresses to connect from, in turns. One gives about 28,000 "
                                          "connections to a server. Empty: the kernel chooses."}),
    row<&UpstreamConfig::username>({.table = "upstream",
                                    .key = "username",
                                    .applies = AtOnce,
                                    .example = "\"{cn}\"",
                                    .says = "A template that replaces the user name of the CONNECT; the password is "
                                            "dropped. Empty: both pass as the device sent them."}),
    row<&UpstreamConfig::client_id>({.table = "upstream",
                                     .key = "client_id",
                                     .applies = AtOnce,
                                     .example = "\"{ca_id}-{cn}\"",
                                     .says = "A template that replaces the client id of the CONNECT. Empty: it passes "
                                             "as the device sent it."}),
    row<&UpstreamConfig::user_properties>(
        {.table = "upstream",
         .key = "user_properties",
         .applies = AtOnce,
         .example = "true",
         .says = "Whether the CONNECT of an MQTT 5 client gets the user properties sallyport-device, sallyport-ca "
                 "and sallyport-cn, in place of what the client sent under these names. sallyport-cn is left out "
                 "where a template {cn} would be refused."}),
    row<&UpstreamConfig::proxy_protocol>(
        {.table = "upstream",
         .key = "proxy_protocol",
         .applies = AtOnce,
         .example = "true",
         .says = "Whether each session begins with a PROXY header of version 2, at most 500 bytes: addresses, TLS "
                 "version and cipher, and the CN of the device's certificate. A device without exactly one safe CN is "
                 "refused with bad_identity. The broker must take the header from Sallyport alone."}),
    row<&UpstreamConfig::proxy_protocol_certificate>(
        {.table = "upstream",
         .key = "proxy_protocol_certificate",
         .applies = AtOnce,
         .example = "true",
         .says = "Whether that header carries the device's certificate, too (PP2_SUBTYPE_SSL_CLIENT_CERT, DER). It "
                 "then has more than 500 bytes, which Mosquitto refuses, and no ticket is honoured."}),
    row<&UpstreamConfig::tls>(
        {.table = "upstream",
         .key = "tls",
         .applies = AtOnce,
         .example = "{ ca = \"/etc/sallyport/broker_ca.crt\", server_name = \"broker.example.com\" }",
         .says = "TLS to the broker. `ca`: a PEM file with the CAs of its certificate; `server_name`: the DNS name or "
                 "address in its subjectAltName, otherwise the server's host; `certificate`, `key`: PEM files of what "
                 "Sallyport shows where the broker asks. The handshake is within connect_timeout. {}: plain."}),
    row<&UpstreamConfig::connect_timeout>({.table = "upstream",
                                           .key = "connect_timeout",
                                           .applies = AtOnce,
                                           .example = "\"2s\"",
                                           .says = "How long connecting to a server may take, before the next is "
                                                   "tried."}),
    row<&UpstreamConfig::connack_timeout>(
        {.table = "upstream",
         .key = "connack_timeout",
         .applies = AtOnce,
         .example = "\"5s\"",
         .says = "How long a server may take to answer a CONNECT, before the next gets the same. With protocol = "
                 "\"tcp\" nothing is awaited."}),
    row<&UpstreamConfig::health>(
        {.table = "upstream",
         .key = "health",
         .applies = AtOnce,
         .example = "\"mqtt\"",
         .says = "How servers are checked, also those that are up: \"tcp\" connects, \"mqtt\" sends a CONNECT too, and "
                 "takes any CONNACK but \"unavailable\" for health."}),
    row<&UpstreamConfig::health_interval>({.table = "upstream",
                                           .key = "health_interval",
                                           .applies = AtOnce,
                                           .example = "\"10s\"",
                                           .says = "How often each server is checked."}),
    row<&UpstreamConfig::slow_start>(
        {.table = "upstream",
         .key = "slow_start",
         .applies = AtOnce,
         .may_be_zero = true,
         .example = "\"30s\"",
         .says = "For how long a server that came back is spared: it gets 100 new connections a second at first and "
                 "1,000 at the end, then all. 0s: all at once."}),
    row<&UpstreamConfig::resolve_interval>(
        {.table = "upstream",
         .key = "resolve_interval",
         .applies = AtOnce,
         .least = 1,
         .example = "\"5s\"",
         .says = "How often the names of servers are asked for again. Where every address of one has failed, that "
                 "happens within five seconds."}),
    row<&UpstreamConfig::server_reference>(
        {.table = "upstream",
         .key = "server_reference",
         .applies = AtOnce,
         .most = 1024,
         .example = "\"mqtt-b.example:8883\"",
         .says = "Where MQTT 5 clients are sent when Sallyport drains: it goes to them as the Server Reference with "
                 "reason code 0x9C (use another server). Empty: they are told 0x8B (server shutting down)."}),
};

static_assert(members<UpstreamConfig>() == with_member<UpstreamConfig>(kUpstream), "a member has no row");

}  // namespace

std::span<const Row<UpstreamConfig>> upstream_rows() {
  return kUpstream;
}

}  // namespace sallyport
