#include "bench/loadgen/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "bench/loadgen/loop.h"

namespace load {

Address Address::parse(const std::string& text) {
  Address made;
  const std::size_t colon = text.rfind(':');
  const std::string host = text.substr(0, colon);
  const std::string digits = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool number =
      !digits.empty() && digits.size() <= 5 && digits.find_first_not_of("0123456789") == std::string::npos;
  const unsigned long value = number ? std::strtoul(digits.c_str(), nullptr, 10) : 65536;
  const auto port = htons(static_cast<std::uint16_t>(value));
  auto* v4 = reinterpret_cast<sockaddr_in*>(&made.storage_);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&made.storage_);
  errno = 0;
  if (value <= 65535 && ::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    made.length_ = sizeof *v4;
  } else if (value <= 65535 && host.size() > 2 && host.front() == '[' &&
             ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    made.length_ = sizeof *v6;
  } else {
    give_up((text + " is not an address: 127.0.0.1:8883 or [::1]:8883 is").c_str());
  }
  return made;
}

Address Address::of(int fd) {
  Address found;
  found.length_ = sizeof found.storage_;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&found.storage_), &found.length_);
  return found;
}

bool Address::loopback() const {
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage_);
  return family() == AF_INET && ntohl(v4->sin_addr.s_addr) >> 24 == 127;
}

std::string Address::text() const {
  char host[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage_);
    ::inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage_);
  ::inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
  return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6->sin6_port));
}

int begin_connection(const Address& to, std::size_t number) {
  const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (to.loopback()) {
    // ip(7): the port is chosen when connecting.
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(0x7F010001U + static_cast<std::uint32_t>(number % 64));
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
      ::close(fd);
      return -1;
    }
  }
  if (::connect(fd, to.get(), to.length()) == 0 || errno == EINPROGRESS) return fd;
  ::close(fd);
  return -1;
}

}  // namespace load
