// The PROXY protocol's header, versions 1 and 2, as a balancer sends it to us before the client's first byte
// (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt). Read strictly: whoever may send one decides whose
// address is limited, logged and listed. Pure: no state, no allocation; the same bytes are judged the same however they
// were cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/proxy_protocol/inet_address.h"

namespace sallyport {

// Version 1 has 107 bytes at most (section 2.1). Version 2 may have 64 KiB; what balancers send beside the addresses
// (names, a checksum, what they know of TLS) fits in much less, and so much is held for a stranger's connection.
inline constexpr std::size_t kProxyLineMost = 107;
inline constexpr std::size_t kProxyHeaderTaken = 4096;

// Whom the header speaks of. Neither is known where the balancer speaks for itself (LOCAL: its health check), or does
// not know the client's address (UNKNOWN, UNSPEC, a unix socket): then the connection's own addresses stand.
struct ProxiedConnection {
  InetAddress client;
  InetAddress destination;  // what the client connected to
};

struct ProxyHeaderProgress {
  enum class State : std::uint8_t { NeedMore, Refused, Complete };
  State state = State::NeedMore;
  std::size_t header_bytes = 0;  // Complete: what follows is the client's
  ProxiedConnection proxied;
  std::string_view what;  // Refused: why, static
};

ProxyHeaderProgress parse_proxy_header(std::span<const std::uint8_t> bytes);

// Whether `bytes` begin such a header, or may with more of them.
enum class Begins : std::uint8_t { No, Perhaps, Yes };  // in this order
Begins begins_proxy_header(std::span<const std::uint8_t> bytes);

}  // namespace sallyport
