// Walks the bytes of one MQTT packet, field by field. Past its end everything reads as missing, and good() is false
// from then on, so that a caller asks once, when it has read all. Used by the files of this room alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cache/base/text.h"

namespace sallyport {

class PacketReader {
 public:
  explicit PacketReader(std::string_view bytes) : rest_(bytes) {}

  bool good() const { return good_; }
  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

  std::string_view take(std::size_t n) {
    if (!good_ || rest_.size() < n) return good_ = false, std::string_view();
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  std::uint8_t byte() {
    const std::string_view taken = take(1);
    return taken.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(taken[0]);
  }
  std::uint16_t two_bytes() {
    const auto high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  std::uint32_t four_bytes() {
    const std::uint32_t high = two_bytes();
    return high << 16 | two_bytes();
  }
  // Binary data behind a two-byte length (1.5.6 in MQTT 5).
  std::string_view data() { return take(two_bytes()); }
  // A UTF-8 string: well-formed and without U+0000 (1.5.3 in 3.1.1, 1.5.4 in 5).
  std::string_view text() {
    const std::string_view value = data();
    for (std::size_t i = 0; good_ && i < value.size();) {
      const std::size_t length = utf8_sequence(value.substr(i));
      if (length == 0 || value[i] == '\0') good_ = false;
      i += length == 0 ? 1 : length;
    }
    return value;
  }
  // A variable byte integer of MQTT 5, in the fewest bytes (1.5.5).
  std::size_t variable() {
    std::size_t value = 0;
    for (int shift = 0; shift < 28; shift += 7) {
      const std::uint8_t next = byte();
      value |= static_cast<std::size_t>(next & 0x7F) << shift;
      if ((next & 0x80) != 0) continue;
      if (next == 0 && shift > 0) good_ = false;
      return good_ ? value : 0;
    }
    return good_ = false, 0;
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

}  // namespace sallyport
