// What the kernel is told about the sockets of devices and brokers: how much memory each may take, and when a peer that
// is gone without a word is given up. What a listening socket has, those it accepts inherit, for nothing. Any thread;
// failures are passed over, for the kernel's own defaults work, too.
#pragma once

#include <sys/socket.h>

#include "proxy/config/config.h"

namespace sallyport {

// The kernel's memory for one connection. It doubles each buffer's size for its own overhead (socket(7)), and takes
// some packets more than that at the most. With a fixed size it does not grow them to the megabytes of tcp_wmem and
// tcp_rmem.
inline constexpr int kClientReceiveBytes = 128 * 1024;
inline constexpr int kClientSendBytes = 128 * 1024;
inline constexpr int kBrokerReceiveBytes = 64 * 1024;
// What waits for a broker that does not read (TCP_NOTSENT_LOWAT in tcp(7)). Not less: a device that sends a burst and
// hangs up can lose what is still in its own kernel, so the burst should fit in here. A buffer of a fixed size would
// not do: net.core.wmem_max allows 208 KiB.
inline constexpr int kBrokerUnsentBytes = 1024 * 1024;
// All together as the kernel counts them, its overhead included: 2.6 MiB, of which 2 behind a broker that does not
// read.
inline constexpr int kKernelBytesOfASession =
    2 * (kClientReceiveBytes + kClientSendBytes + kBrokerReceiveBytes + kBrokerUnsentBytes);

// A socket that is going to listen for devices.
void set_up_listening(int fd, const ListenerConfig& config);
// When the peers of `fd`, and of what it accepts from now on, are given up. Also for a socket that listens already.
void watch_peers(int fd, const ListenerConfig& config);
// One that is going to connect to a broker, for a session of that listener; none for a probe.
void set_up_broker(int fd, const sockaddr& broker, const ListenerConfig* config);

}  // namespace sallyport
