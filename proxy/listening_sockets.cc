#include "proxy/listening_sockets.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/shard/shard.h"
#include "proxy/shard/socket_options.h"

namespace sallyport {

namespace {

constexpr int kBacklog = 65535;  // the kernel caps it at net.core.somaxconn

bool same_host(const sockaddr_storage& a, const sockaddr_storage& b) {
  const std::string x = peer_text(a), y = peer_text(b);
  return x.substr(0, x.rfind(':')) == y.substr(0, y.rfind(':'));
}

}  // namespace

Answer<int> listen_on(const ListenerConfig& listener, ServerAddress& address) {
  const auto refusal = [&](const char* call) {
    std::string what = "listener " + listener.name + " cannot listen on " + peer_text(address.address) + " (" + call +
                       "): " + std::strerror(errno);
    if (errno == EACCES) what += "; ports below 1024 need CAP_NET_BIND_SERVICE";
    if (errno == EADDRINUSE) what += "; another program has the port";
    return Refusal{Refusal::Kind::Unavailable, std::move(what)};
  };
  const int fd = ::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return refusal("socket");
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  set_up_listening(fd, listener);
  const char* call = "bind";
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.address), address.length) == 0) {
    call = "listen";
    if (::listen(fd, kBacklog) == 0) {
      socklen_t length = sizeof address.address;
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address.address), &length);
      return fd;
    }
  }
  auto refused = refusal(call);
  ::close(fd);
  return refused;
}

Answer<void> not_taken(const std::string& name, const ServerAddress& address) {
  const int fd = ::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {};
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address.address), address.length) == 0;
  const int why = errno;
  ::close(fd);
  if (free || why != EADDRINUSE) return {};
  return Refusal{Refusal::Kind::Unavailable, "listener " + name + " cannot listen on " + peer_text(address.address) +
                                                 ": another program has the port"};
}

TakenSockets::~TakenSockets() {
  for (const ListeningSocket& each : all_) ::close(each.fd);
}

bool TakenSockets::fits(const ListenerConfig& listener, ServerAddress& address) {
  bool any = false;
  for (const ListeningSocket& each : all_) {
    if (each.listener != listener.name) continue;
    ServerAddress bound;
    bound.length = sizeof bound.address;
    if (::getsockname(each.fd, reinterpret_cast<sockaddr*>(&bound.address), &bound.length) != 0) continue;
    if (listener.address.port != 0 ? peer_text(bound.address) != peer_text(address.address)
                                   : !same_host(bound.address, address.address)) {
      continue;
    }
    address = bound;
    any = true;
  }
  if (any) fitting_.insert(listener.name);
  return any;
}

std::optional<int> TakenSockets::next(const ListenerConfig& listener) {
  const auto found = std::find_if(all_.begin(), all_.end(), [&](const ListeningSocket& each) {
    return each.listener == listener.name && fitting_.count(each.listener) != 0;
  });
  if (found == all_.end()) return std::nullopt;
  const int fd = found->fd;
  all_.erase(found);
  set_up_listening(fd, listener);
  return fd;
}

}  // namespace sallyport
