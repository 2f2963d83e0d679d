// What the readers of a ClientHello have in common. Included by them alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/tls/handshake_message.h"
#include "proxy/tls/wire_reader.h"

namespace sallyport {

// Where `value` stands in a list of two-byte numbers; its length where it is not in it.
inline std::size_t place_of(std::size_t value, std::span<const std::uint8_t> list) {
  std::size_t at = 0;
  for (WireReader each(list); !each.empty(); ++at) {
    if (each.number(2) == value) return at;
  }
  return list.size();
}
inline bool is_in(std::size_t value, std::span<const std::uint8_t> list) {
  return place_of(value, list) < list.size();
}

// A vector of two-byte numbers and nothing behind it; empty where it is anything else.
inline std::span<const std::uint8_t> numbers(std::span<const std::uint8_t> content, std::size_t length_bytes) {
  WireReader reader(content);
  const std::span<const std::uint8_t> list = reader.vector(length_bytes);
  return reader.whole() && list.size() % 2 == 0 ? list : std::span<const std::uint8_t>();
}

// RFC 6066, section 3: one host_name. Nothing for whatever else it is.
inline std::optional<std::string_view> host_name(std::span<const std::uint8_t> content) {
  constexpr std::size_t kLongestName = 255;  // OpenSSL's TLSEXT_MAXLEN_host_name
  WireReader reader(content);
  WireReader list(reader.vector(2));
  const std::size_t type = list.number(1);
  const std::span<const std::uint8_t> name = list.vector(2);
  if (!reader.whole() || !list.whole() || type != 0 || name.empty() || name.size() > kLongestName) return std::nullopt;
  if (std::find(name.begin(), name.end(), 0) != name.end()) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(name.data()), name.size());
}

}  // namespace sallyport
