#include "proxy/shard/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "proxy/upstream/address.h"

namespace sallyport {

namespace {

// tcp(7): RFC 5681's, the one that every process may choose.
constexpr std::string_view kPlainCongestion = "reno";
constexpr std::int64_t kMostSeconds = 32'767;  // MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL
constexpr std::int64_t kProbes = 4;            // unanswered ones, so that one lost packet ends nothing

void set(int fd, int level, int option, std::int64_t value) {
  const int number = static_cast<int>(std::min<std::int64_t>(value, INT32_MAX));
  ::setsockopt(fd, level, option, &number, sizeof number);
}

std::int64_t seconds(std::chrono::milliseconds time) {
  return std::clamp<std::int64_t>((time.count() + 999) / 1000, 1, kMostSeconds);
}

}  // namespace

void watch_peers(int fd, const ListenerConfig& config) {
  const bool probes = config.keepalive.count() > 0, limited = config.user_timeout.count() > 0;
  set(fd, SOL_SOCKET, SO_KEEPALIVE, probes ? 1 : 0);
  if (probes) {
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(config.keepalive));
    if (limited) {
      set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(config.user_timeout / kProbes));
      set(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
    }
  }
  // The kernel counts it from when the peer was last heard, also of an idle one: were it as long as keepalive, the
  // first lost probe would end the connection.
  set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, limited ? (config.keepalive + config.user_timeout).count() : 0);
}

void set_up_listening(int fd, const ListenerConfig& config) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // What a device pushes while its broker does not read waits at the device, and what a device does not take waits at
  // the broker: not in megabytes of this kernel's memory for each of a million connections.
  set(fd, SOL_SOCKET, SO_RCVBUF, kClientReceiveBytes);
  set(fd, SOL_SOCKET, SO_SNDBUF, kClientSendBytes);
  watch_peers(fd, config);
}

void set_up_broker(int fd, const sockaddr& broker, const ListenerConfig* config) {
  // A cancelled multishot receive still delivers what the socket holds: so it holds little, however busy we are.
  set(fd, SOL_SOCKET, SO_RCVBUF, kBrokerReceiveBytes);
  if (broker.sa_family == AF_UNIX) return;
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kBrokerUnsentBytes);
  if (is_loopback(broker)) {
    // To a broker on this host there is no queue to be fair to or to pace for, as BBR would, a timer at a time.
    ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kPlainCongestion.data(), kPlainCongestion.size());
  }
  if (config != nullptr) watch_peers(fd, *config);
}

}  // namespace sallyport
