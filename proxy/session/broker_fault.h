// What can go wrong with a broker, as a session meets it and as its health and the metrics tell it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sallyport {

// What went wrong with a server, for one session: the `kind` label of upstream_failures_total.
enum class BrokerFault : std::uint8_t {
  Unreachable,  // refused or reset
  Timeout,      // not connected within connect_timeout
  Tls,          // its certificate is not one to trust, it does not take ours, or it does not speak TLS
  Closed,       // it took the CONNECT and ended the connection
  Silent,       // it took the CONNECT and said nothing within connack_timeout
  Unavailable,  // its CONNACK says that it cannot serve now
  NotMqtt,      // it answered with something else
};
inline constexpr std::array<std::string_view, 7> kBrokerFaultNames = {"unreachable", "timeout",     "tls",     "closed",
                                                                      "silent",      "unavailable", "not_mqtt"};
constexpr std::string_view to_string(BrokerFault fault) {
  return kBrokerFaultNames[static_cast<std::size_t>(fault)];
}
// The connection was made, and what came of the CONNECT was no answer.
constexpr bool follows_connect(BrokerFault fault) {
  return fault >= BrokerFault::Closed;
}

}  // namespace sallyport
