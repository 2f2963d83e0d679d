// HOST:PORT as numbers: a load speaks to addresses, not to names.
#pragma once

#include <sys/socket.h>

#include <string>

namespace load {

class Address {
 public:
  static Address parse(const std::string& text);  // "127.0.0.1:8883" or "[::1]:8883"; ends the process otherwise
  static Address of(int fd);                      // the socket's own
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return length_; }
  int family() const { return storage_.ss_family; }
  bool loopback() const;
  std::string text() const;

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
};

// A non-blocking connection begun. Towards 127.0.0.0/8 the source is one of many loopback addresses, by `number`, so
// that the ports of one do not run out; -1: the kernel refuses.
int begin_connection(const Address& to, std::size_t number);

}  // namespace load
