// Addresses as the kernel takes them, and where they come from: literal ones at once, names by getaddrinfo(3). Any
// thread; what asks a name server blocks.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "cache/base/result.h"
#include "proxy/config/config.h"

namespace sallyport {

struct ServerAddress {
  sockaddr_storage address{};
  socklen_t length = 0;
  bool operator==(const ServerAddress& other) const;
};

// 127.0.0.0/8, ::1, or the former as an IPv6 address.
bool is_loopback(const sockaddr& address);
// No name server is asked for it: an address, or a unix path.
bool is_literal(const Endpoint& endpoint);
// "10.0.0.1:1883", "[::1]:1883", "unix:/path".
std::string address_text(const ServerAddress& address);

// A host and port, or a unix path: its first address.
Answer<ServerAddress> resolve_address(const Endpoint& endpoint, bool passive);
// Every address of it, each once, in an order that depends on them alone. Never empty.
Answer<std::vector<ServerAddress>> resolve_all(const Endpoint& endpoint, bool passive);

}  // namespace sallyport
