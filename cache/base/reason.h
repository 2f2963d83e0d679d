// The closed list of reasons for which Sallyport refuses or ends something (admin/docs/reasons.md), one row each: its
// name, which is the metric label, the log field and what `explain` prints; the TLS alert and the CONNACK code the
// peer is told; and what an operator can do. Both TLS engines, MQTT, the API and the reference page read it here.
// Adding to it changes what operators rely on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

namespace sallyport {

enum class Reason : std::uint8_t {
  None,  // not a refusal: an orderly end, or no verdict against the device
  NoCertificate,
  NotADevice,
  CaUnknown,
  CaInactive,
  DeviceInactive,
  DevicePending,
  DeviceRevoked,
  NotRegistered,
  Expired,
  NotYetValid,
  BadSignature,
  BadPurpose,
  BadChain,
  SerialConflict,
  BadIdentity,
  ClientIdMismatch,
  NotMqtt,
  BadConnect,
  TlsError,
  HandshakeTimeout,
  ConnectTimeout,
  RateLimited,
  TooManyConnections,
  TooManySessions,
  BadProxyHeader,
  Clone,
  BrokerUnavailable,
  InternalError,
  ShuttingDown,
};

// RFC 8446, section 6.2.
enum class Alert : std::uint8_t {
  HandshakeFailure = 40,
  CertificateRevoked = 44,
  CertificateExpired = 45,
  CertificateUnknown = 46,
  UnknownCa = 48,
  CertificateRequired = 116,
  None = 255,  // refused before TLS, after it, or by what TLS itself says
};

constexpr std::string_view to_string(Alert alert) {
  switch (alert) {
    case Alert::HandshakeFailure: return "handshake_failure";
    case Alert::CertificateRevoked: return "certificate_revoked";
    case Alert::CertificateExpired: return "certificate_expired";
    case Alert::CertificateUnknown: return "certificate_unknown";
    case Alert::UnknownCa: return "unknown_ca";
    case Alert::CertificateRequired: return "certificate_required";
    case Alert::None: break;
  }
  return "";
}

// What a client whose CONNECT was read is told.
struct Connack {
  std::uint8_t v311 = 0;  // MQTT 3.1.1, section 3.2.2.3; also of 3.1
  std::uint8_t v5 = 0;    // MQTT 5.0, section 3.2.2.2
};
inline constexpr Connack kNotAuthorized = {0x05, 0x87};
inline constexpr Connack kNoConnack = {};  // the connection ends without one

struct ReasonRow {
  Reason reason;
  std::string_view name;
  Alert alert;    // in a TLS 1.3 handshake
  Alert alert12;  // in one of TLS 1.2
  Connack connack;
  std::string_view what_to_do;
};

inline constexpr ReasonRow kReasons[] = {
    {Reason::None, "none", Alert::None, Alert::None, kNotAuthorized, ""},
    {Reason::NoCertificate, "no_certificate", Alert::CertificateRequired, Alert::HandshakeFailure, kNotAuthorized,
     "Give the device a certificate and its key. A device without one belongs on a listener with auth = one-way."},
    {Reason::NotADevice, "not_a_device", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "The certificate is a CA's, a server's or a verification certificate. Give the device one of its own."},
    {Reason::CaUnknown, "ca_unknown", Alert::UnknownCa, Alert::UnknownCa, kNotAuthorized,
     "Register the CA that signed it (`sallyport ca register`), or let the device send its intermediates. Where "
     "listener.cas is set, the CA must be named there."},
    {Reason::CaInactive, "ca_inactive", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Somebody deactivated its CA: `sallyport audit` says who, and `sallyport ca activate ID` lets its devices in "
     "again. "
     "Or the CA above revoked it by a CRL, which `sallyport explain` says: that is for ever. Issue its devices anew "
     "under another CA."},
    {Reason::DeviceInactive, "device_inactive", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Somebody deactivated the device. `sallyport audit` says who; `sallyport device activate ID` lets it in again."},
    {Reason::DevicePending, "device_pending", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Its CA asks for approval. Look at it with `sallyport device show ID`, then `sallyport device activate ID`."},
    {Reason::DeviceRevoked, "device_revoked", Alert::CertificateRevoked, Alert::CertificateRevoked, kNotAuthorized,
     "Revoked for ever. If the device is yours again, give it a new key and a new certificate."},
    {Reason::NotRegistered, "not_registered", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Its CA does not let devices register themselves, or has as many as registry.max_devices_per_ca allows. Register "
     "it with `sallyport device register CERT.crt`."},
    {Reason::Expired, "expired", Alert::CertificateExpired, Alert::CertificateExpired, kNotAuthorized,
     "Renew the certificate, or the CA above it that has ended; `sallyport explain` says which. Check the clock of "
     "this machine."},
    {Reason::NotYetValid, "not_yet_valid", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "The certificate begins later. Check the clock of this machine and of the CA."},
    {Reason::BadSignature, "bad_signature", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "The CA's name fits and its key does not: `sallyport explain` says whether another key signed the certificate, or "
     "whether it was changed or forged. Register the CA that has the other key; issue a changed one anew."},
    {Reason::BadPurpose, "bad_purpose", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Its extended key usage does not allow client authentication, or its key usage allows no signature: "
     "`sallyport explain` says which. Issue it with clientAuth and digitalSignature, or without these extensions."},
    {Reason::BadChain, "bad_chain", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "A certificate above it may not sign it, or its key or its signature algorithm is too weak. `sallyport explain` "
     "names the certificate."},
    {Reason::SerialConflict, "serial_conflict", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Another certificate with this serial is registered under the same CA key. A CA must use a serial once: look at "
     "both, for one may be forged."},
    {Reason::BadIdentity, "bad_identity", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "A template of listener.client_id, upstream.username or upstream.client_id, or the PROXY header of "
     "upstream.proxy_protocol, which names the CN, needs a field that is not in the "
     "certificate, is there several times, or is not safe: empty, longer than 256 bytes, not UTF-8, with a control "
     "character, '+', '#' or '/'. The log line and `sallyport explain --listener` name it. Issue the certificate anew, "
     "or choose another field."},
    {Reason::ClientIdMismatch,
     "client_id_mismatch",
     Alert::None,
     Alert::None,
     {0x02, 0x85},
     "The client id of the CONNECT, which the log line has, is not the one that listener.client_id asks for. Set it in "
     "the device, or let upstream.client_id replace it."},
    {Reason::NotMqtt,
     "not_mqtt",
     Alert::None,
     Alert::None,
     {0x01, 0x84},
     "The client does not speak MQTT 3.1, 3.1.1 or 5 here. Look at its port and its protocol. A CONNACK is sent where "
     "it "
     "speaks MQTT of another level."},
    {Reason::BadConnect,
     "bad_connect",
     Alert::None,
     Alert::None,
     {0x00, 0x95},
     "The CONNECT is malformed, ended too early or is larger than max_connect_size. The log line says which. MQTT 5 is "
     "told so with the code that fits (0x81, 0x82, 0x90; 0x95 where it is too large), 3.1 and 3.1.1 only that a client "
     "id is missing (0x02)."},
    {Reason::TlsError, "tls_error", Alert::None, Alert::None, kNoConnack,
     "TLS failed; the log line has the library's words. Often a client that does not trust the server certificate, or "
     "speaks TLS below tls_min, or plain MQTT or HTTP."},
    {Reason::HandshakeTimeout, "handshake_timeout", Alert::None, Alert::None, kNoConnack,
     "The client was silent during TLS, or slower than handshake_timeout, and Sallyport ended it. Port scanners do "
     "this; "
     "so do devices on a bad line. Who leaves by himself before his first byte is counted in "
     "connections_silent_total."},
    {Reason::ConnectTimeout, "connect_timeout", Alert::None, Alert::None, kNoConnack,
     "TLS was done and no whole CONNECT came within connect_timeout."},
    {Reason::RateLimited,
     "rate_limited",
     Alert::None,
     Alert::None,
     {0x03, 0x9F},
     "More came in the time than a limit allows: max_new_per_second_per_ip, max_connects_per_minute_per_device or "
     "registry.max_registrations_per_second_per_ca. The log line says which."},
    {Reason::TooManyConnections, "too_many_connections", Alert::None, Alert::None, kNoConnack,
     "A limit was reached: the open-file limit, max_connections or max_connections_per_ip. The log line says which."},
    {Reason::TooManySessions,
     "too_many_sessions",
     Alert::None,
     Alert::None,
     {0x03, 0x97},
     "One certificate has as many sessions as max_sessions_per_device allows. Look for a copy of it, or for a client "
     "that "
     "opens new connections and keeps the old ones."},
    {Reason::BadProxyHeader, "bad_proxy_header", Alert::None, Alert::None, kNoConnack,
     "A balancer that proxy_protocol_from names sent no PROXY header or a broken one, or somebody else sent one. The "
     "log "
     "line says which. Make both sides agree: send-proxy-v2 there, its network here."},
    {Reason::Clone,
     "clone",
     Alert::None,
     Alert::None,
     {0x03, 0x8E},
     "One certificate is used from two addresses or with two client ids at once. `session list --clones` shows them; "
     "listener.clones says what is done. Give each device a certificate of its own."},
    {Reason::BrokerUnavailable,
     "broker_unavailable",
     Alert::None,
     Alert::None,
     {0x03, 0x88},
     "No server of the upstream can be reached, or none answers the CONNECT. Look at `sallyport upstream show NAME`, "
     "and "
     "at the broker's log."},
    {Reason::InternalError, "internal_error", Alert::CertificateUnknown, Alert::CertificateUnknown, kNotAuthorized,
     "Sallyport itself failed; the log line says where. Please report it."},
    {Reason::ShuttingDown,
     "shutting_down",
     Alert::None,
     Alert::None,
     {0x03, 0x8B},
     "Sallyport is draining. Devices reconnect by themselves."},
};

inline constexpr std::size_t kReasonCount = std::size(kReasons);

constexpr const ReasonRow& row_of(Reason reason) {
  return kReasons[static_cast<std::size_t>(reason)];
}

constexpr std::string_view to_string(Reason reason) {
  return row_of(reason).name;
}

// The alert that ends a handshake whose certificate is refused, whatever the reason is.
constexpr Alert certificate_alert(Reason reason) {
  const Alert alert = row_of(reason).alert;
  return alert == Alert::None ? Alert::CertificateUnknown : alert;
}

// A row stands where its enumerator says, and the last enumerator has one.
constexpr bool reasons_in_order() {
  for (std::size_t i = 0; i < kReasonCount; ++i) {
    if (kReasons[i].reason != static_cast<Reason>(i)) return false;
    if (i > 0 && kReasons[i].what_to_do.empty()) return false;
  }
  return true;
}
static_assert(reasons_in_order() && kReasonCount == static_cast<std::size_t>(Reason::ShuttingDown) + 1,
              "each reason needs its row, in the order of the enumeration");

}  // namespace sallyport
