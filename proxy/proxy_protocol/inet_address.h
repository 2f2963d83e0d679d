// An IPv4 or IPv6 address with its port, in 20 bytes where a sockaddr_storage has 128: a session keeps up to three.
// Pure values; any thread.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sallyport {

struct InetAddress {
  std::array<std::uint8_t, 16> ip{};  // in network order; of IPv4 the first four
  std::uint16_t port = 0;
  std::uint8_t version = 0;  // 4 or 6; 0: there is none

  bool known() const { return version != 0; }
  std::span<const std::uint8_t> bytes() const { return std::span(ip).first(version == 4 ? 4U : 16U); }
  bool operator==(const InetAddress&) const = default;
};

// Of another family than these two: one that is not known.
InetAddress to_inet(const sockaddr_storage& address);
sockaddr_storage to_sockaddr(const InetAddress& address);
// What a listener of both families calls ::ffff:10.1.2.3 is IPv4: RFC 4291, section 2.5.5.2.
InetAddress unmapped(const InetAddress& address);
InetAddress mapped(const InetAddress& address);  // and back: as IPv6

}  // namespace sallyport
