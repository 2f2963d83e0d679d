#include "proxy/tls/server_name.h"

#include <algorithm>

namespace sallyport {

namespace {

constexpr std::size_t kLongest = 255;  // RFC 1035, section 2.3.4: what is longer is nobody's name, and is not copied

std::string lower(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (!out.empty() && out.back() == '.') out.pop_back();  // the root's dot says nothing
  return out;
}

}  // namespace

void ServerNames::add(std::string_view name, std::size_t certificate) {
  const std::string key = lower(name);
  if (key.substr(0, 2) == "*.") {
    wildcard_.emplace(key.substr(2), certificate);
  } else if (!key.empty()) {
    exact_.emplace(key, certificate);
  }
}

std::optional<std::size_t> ServerNames::find(std::string_view server_name) const {
  if (server_name.size() > kLongest) return std::nullopt;
  const std::string key = lower(server_name);
  if (const auto exact = exact_.find(key); exact != exact_.end()) return exact->second;
  const std::size_t dot = key.find('.');
  if (dot == std::string::npos || dot == 0) return std::nullopt;
  const auto wildcard = wildcard_.find(key.substr(dot + 1));
  if (wildcard == wildcard_.end()) return std::nullopt;
  return wildcard->second;
}

}  // namespace sallyport
