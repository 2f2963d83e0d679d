// A network of addresses, as "10.0.0.0/8" writes it. Pure.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"

namespace sallyport {

class Network {
 public:
  // "10.0.0.0/8", "2001:db8::/32", or an address alone. Refused where bits are set behind the prefix: it is then not
  // clear what was meant.
  static Answer<Network> parse(std::string_view text);

  // An IPv4 address that a listener of both families calls ::ffff:10.1.2.3 is IPv4.
  bool holds(const sockaddr_storage& address) const;
  bool holds_all() const { return prefix_ == 0; }
  std::string text() const;

 private:
  sa_family_t family_ = AF_UNSPEC;
  std::array<std::uint8_t, 16> ip_{};
  unsigned prefix_ = 0;  // bits
};

bool any_holds(const std::vector<Network>& networks, const sockaddr_storage& address);

}  // namespace sallyport
