// The closed list of reasons for which Sallyport refuses or ends something (the contract, section 6).
// The same names are the metric label, the log field and what `explain` prints. Reading it teaches
// what can go wrong; adding to it changes the contract.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
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
  BrokerUnavailable,
  InternalError,
  ShuttingDown,
};

inline constexpr std::size_t kReasonCount = 27;

inline constexpr std::array<std::string_view, kReasonCount> kReasonNames = {
    "none",
    "no_certificate",
    "not_a_device",
    "ca_unknown",
    "ca_inactive",
    "device_inactive",
    "device_pending",
    "device_revoked",
    "not_registered",
    "expired",
    "not_yet_valid",
    "bad_signature",
    "bad_purpose",
    "bad_chain",
    "serial_conflict",
    "bad_identity",
    "client_id_mismatch",
    "not_mqtt",
    "bad_connect",
    "tls_error",
    "handshake_timeout",
    "connect_timeout",
    "rate_limited",
    "too_many_connections",
    "broker_unavailable",
    "internal_error",
    "shutting_down",
};

constexpr std::string_view to_string(Reason reason) {
  return kReasonNames[static_cast<std::size_t>(reason)];
}

}  // namespace sallyport
