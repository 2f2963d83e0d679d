#include "proxy/config/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace sallyport {

namespace {

using Ip = std::array<std::uint8_t, 16>;

// Whether the first `bits` are the same.
bool same_prefix(const Ip& a, const Ip& b, unsigned bits) {
  const unsigned whole = bits / 8;
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  const unsigned rest = bits % 8;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

Ip masked(const Ip& ip, unsigned bits) {
  Ip out{};
  for (unsigned byte = 0; byte < out.size() && byte * 8 < bits; ++byte) {
    const unsigned kept = std::min(bits - byte * 8, 8U);
    out[byte] = static_cast<std::uint8_t>(ip[byte] & 0xFF00U >> kept);
  }
  return out;
}

}  // namespace

Answer<Network> Network::parse(std::string_view text) {
  const auto refused = [](std::string what) { return Refusal{Refusal::Kind::Invalid, std::move(what)}; };
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Network out;
  if (::inet_pton(AF_INET, address.c_str(), out.ip_.data()) == 1) {
    out.family_ = AF_INET;
  } else if (::inet_pton(AF_INET6, address.c_str(), out.ip_.data()) == 1) {
    out.family_ = AF_INET6;
  } else {
    return refused("expected a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"");
  }
  const unsigned longest = out.family_ == AF_INET ? 32 : 128;
  out.prefix_ = longest;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), out.prefix_);
    if (failure != std::errc() || end != digits.data() + digits.size() || out.prefix_ > longest) {
      return refused("the prefix must be a number from 0 to " + std::to_string(longest));
    }
  }
  if (masked(out.ip_, out.prefix_) != out.ip_) {
    Network meant = out;
    meant.ip_ = masked(out.ip_, out.prefix_);
    return refused("bits are set behind the prefix: write \"" + meant.text() + "\", or the address alone");
  }
  return out;
}

bool Network::holds(const sockaddr_storage& address) const {
  Ip ip{};
  sa_family_t family = address.ss_family;
  if (family == AF_INET) {
    std::memcpy(ip.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  } else if (family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);
    if (mapped) family = AF_INET;
    std::memcpy(ip.data(), &v6.s6_addr[mapped ? 12 : 0], mapped ? 4 : 16);
  } else {
    return false;
  }
  return family == family_ && same_prefix(ip, ip_, prefix_);
}

std::string Network::text() const {
  char address[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(family_, ip_.data(), address, sizeof address);
  const bool alone = prefix_ == (family_ == AF_INET ? 32U : 128U);
  return alone ? std::string(address) : std::string(address) + "/" + std::to_string(prefix_);
}

bool any_holds(const std::vector<Network>& networks, const sockaddr_storage& address) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& each) { return each.holds(address); });
}

}  // namespace sallyport
