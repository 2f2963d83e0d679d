// What the readers of a ClientHello have in common. Included by them alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/tls/handshake_message.h"
#include "proxy/tls/wire_reader.h"

namespace sallyport {

inline constexpr std::uint8_t kClientHello = 1;                         // RFC 8446, section 4
inline constexpr std::size_t kVersion12 = 0x0303, kVersion13 = 0x0304;  // ProtocolVersion

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

// The types of a ClientHello's extensions, none of which may come twice: RFC 8446, section 4.2; RFC 5246,
// section 7.4.1.4. Holds as many as a device sends; a ClientHello with more is OpenSSL's (client_rules.h).
class SeenExtensions {
 public:
  // False where it is there already, or where there is no more room.
  bool add(std::size_t type) {
    if (type < kLow) {
      if (has(type)) return false;
      low_ |= std::uint64_t{1} << type;
      return true;
    }
    const auto end = high_.begin() + high_count_;
    if (high_count_ == high_.size() || std::find(high_.begin(), end, type) != end) return false;
    high_[high_count_++] = static_cast<std::uint16_t>(type);
    return true;
  }
  bool has(std::size_t type) const { return type < kLow && (low_ >> type & 1) != 0; }  // below kLow

 private:
  static constexpr std::size_t kLow = 64;
  std::uint64_t low_ = 0;
  std::array<std::uint16_t, 12> high_{};
  std::uint8_t high_count_ = 0;
};

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
