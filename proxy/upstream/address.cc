#include "proxy/upstream/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

namespace sallyport {

namespace {

std::string_view bytes_of(const ServerAddress& address) {
  return {reinterpret_cast<const char*>(&address.address), address.length};
}

ServerAddress unix_address(const std::string& path) {
  ServerAddress out;
  auto* local = reinterpret_cast<sockaddr_un*>(&out.address);
  local->sun_family = AF_UNIX;
  std::memcpy(local->sun_path, path.c_str(), path.size() + 1);
  out.length = sizeof(sockaddr_un);
  return out;
}

}  // namespace

bool ServerAddress::operator==(const ServerAddress& other) const {
  return bytes_of(*this) == bytes_of(other);
}

bool is_loopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  if (address.sa_family != AF_INET6) return false;
  const in6_addr& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&ip) || (IN6_IS_ADDR_V4MAPPED(&ip) && ip.s6_addr[12] == IN_LOOPBACKNET);
}

bool is_literal(const Endpoint& endpoint) {
  if (!endpoint.unix_path.empty()) return true;
  in6_addr ip{};
  const std::string host = endpoint.host.substr(0, endpoint.host.find('%'));
  return ::inet_pton(AF_INET, host.c_str(), &ip) == 1 || ::inet_pton(AF_INET6, host.c_str(), &ip) == 1;
}

std::string address_text(const ServerAddress& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.address.ss_family == AF_UNIX) {
    return std::string("unix:") + reinterpret_cast<const sockaddr_un&>(address.address).sun_path;
  }
  if (address.address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.address);
    ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.address);
  ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
  return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6.sin6_port));
}

Answer<std::vector<ServerAddress>> resolve_all(const Endpoint& endpoint, bool passive) {
  if (!endpoint.unix_path.empty()) return std::vector{unix_address(endpoint.unix_path)};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const int outcome = ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (outcome != 0) {
    return Refusal{Refusal::Kind::Invalid, endpoint.text() + " cannot be resolved: " + ::gai_strerror(outcome)};
  }
  std::vector<ServerAddress> all;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    ServerAddress address;
    std::memcpy(&address.address, each->ai_addr, each->ai_addrlen);
    address.length = each->ai_addrlen;
    if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  }
  ::freeaddrinfo(found);
  if (all.empty()) {
    return Refusal{Refusal::Kind::Invalid, endpoint.text() + " has neither an IPv4 nor an IPv6 address"};
  }
  return all;
}

Answer<ServerAddress> resolve_address(const Endpoint& endpoint, bool passive) {
  const auto all = resolve_all(endpoint, passive);
  if (!all) return all.error();
  return all->front();
}

}  // namespace sallyport
