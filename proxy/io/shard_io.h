// What a shard's loop has besides what sessions see of the kernel (io.h): accepting, its mailbox's event, and the turns
// in which completions run. Ring (io_uring) and Epoll (epoll(7)) are the two there are; a completion never runs but in
// turn(). Used by its shard's thread alone, and made on it.
#pragma once

#include <chrono>
#include <cstdint>

#include "proxy/io/io.h"

namespace sallyport {

class ShardIo : public Io {
 public:
  // One connection: the result is for accepted(), and `peer` its address, which stays where it is until then. Several
  // may be asked for at once. -EAGAIN, of a ring alone: a process of the other kind shares the socket, and nobody
  // waits.
  virtual void accept(Socket listener, bool direct, sockaddr_storage& peer, socklen_t& peer_length,
                      Completion& completion) = 0;
  virtual Socket accepted(const IoResult& result, bool direct) = 0;
  // Whether sockets can be direct descriptors, which do not count against the process's open-file limit.
  virtual bool has_direct() const = 0;
  // Whether one more connection, and its way to the broker, can be direct.
  virtual bool room_for_direct() const = 0;
  // Moves a socket of open() out of the process's descriptors; where that cannot be done it stays as it is.
  virtual Socket make_direct(Socket socket) = 0;
  // Reads the eventfd's counter into `into`, which stays where it is.
  virtual void read_event(int event_fd, std::uint64_t& into, Completion& completion) = 0;

  // Hands over now what was asked for: what was sent is sent before anything the caller does next.
  virtual void submit() = 0;
  // Submits what was asked for, waits for at most `patience` (zero: not at all), for the first `awake` of it without
  // going to sleep, and runs what completed.
  virtual void turn(std::chrono::microseconds patience,
                    std::chrono::microseconds awake = std::chrono::microseconds(0)) = 0;
  // Submits what was asked for and sleeps for so long, whatever completes meanwhile; it counts as the next turn's wait.
  virtual void rest(std::chrono::microseconds time) = 0;
  // Of the last turn, how long it waited.
  virtual std::chrono::microseconds waited() const = 0;
};

}  // namespace sallyport
