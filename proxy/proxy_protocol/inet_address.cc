#include "proxy/proxy_protocol/inet_address.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace sallyport {

namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

}  // namespace

InetAddress to_inet(const sockaddr_storage& address) {
  InetAddress out;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(out.ip.data(), &v4.sin_addr, 4);
    out.port = ntohs(v4.sin_port);
    out.version = 4;
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    std::memcpy(out.ip.data(), &v6.sin6_addr, 16);
    out.port = ntohs(v6.sin6_port);
    out.version = 6;
  }
  return out;
}

sockaddr_storage to_sockaddr(const InetAddress& address) {
  sockaddr_storage out{};
  if (address.version == 4) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out);
    v4.sin_family = AF_INET;
    std::memcpy(&v4.sin_addr, address.ip.data(), 4);
    v4.sin_port = htons(address.port);
  } else if (address.version == 6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
    v6.sin6_family = AF_INET6;
    std::memcpy(&v6.sin6_addr, address.ip.data(), 16);
    v6.sin6_port = htons(address.port);
  }
  return out;
}

InetAddress unmapped(const InetAddress& address) {
  if (address.version != 6 || !std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.ip.begin())) {
    return address;
  }
  InetAddress out;
  std::copy_n(address.ip.begin() + kMappedPrefix.size(), 4, out.ip.begin());
  out.port = address.port;
  out.version = 4;
  return out;
}

InetAddress mapped(const InetAddress& address) {
  if (address.version != 4) return address;
  InetAddress out;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), out.ip.begin());
  std::copy_n(address.ip.begin(), 4, out.ip.begin() + kMappedPrefix.size());
  out.port = address.port;
  out.version = 6;
  return out;
}

}  // namespace sallyport
