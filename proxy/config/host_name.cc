#include "proxy/config/host_name.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string>

namespace sallyport {

namespace {

constexpr std::size_t kLongestName = 253, kLongestLabel = 63;  // RFC 1035, section 2.3.4, as text

bool is_label(std::string_view label) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !label.empty() && label.size() <= kLongestLabel && label.front() != '-' && label.back() != '-' &&
         std::all_of(label.begin(), label.end(), good);
}

}  // namespace

bool is_ip_address(std::string_view host) {
  if (host.find('\0') != std::string_view::npos) return false;
  const std::string text(host);
  in6_addr ip{};
  return ::inet_pton(AF_INET, text.c_str(), &ip) == 1 || ::inet_pton(AF_INET6, text.c_str(), &ip) == 1;
}

std::string_view without_root_dot(std::string_view host) {
  return host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
}

bool is_dns_name(std::string_view host) {
  std::string_view rest = without_root_dot(host);
  if (rest.size() > kLongestName) return false;
  for (;;) {
    const std::size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (!is_label(label)) return false;
    if (dot != std::string_view::npos) {
      rest = rest.substr(dot + 1);
      continue;
    }
    // A last label of digits alone is a number: an address that somebody wrote wrong, or in an old way ("127.1").
    return !std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
}

}  // namespace sallyport
