// Takes the fields of TLS's presentation language (RFC 8446, section 3) off the front of bytes that anyone may have
// sent. Once something is missing everything is, and whole() stays false.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sallyport {

class WireReader {
 public:
  explicit WireReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  std::span<const std::uint8_t> take(std::size_t n) {
    if (n > rest_.size()) {
      rest_ = {};
      missing_ = true;
      return {};
    }
    const auto taken = rest_.first(n);
    rest_ = rest_.subspan(n);
    return taken;
  }
  std::size_t number(std::size_t bytes) {
    std::size_t value = 0;
    for (const std::uint8_t byte : take(bytes)) value = value << 8 | byte;
    return value;
  }
  // A vector with its length in front.
  std::span<const std::uint8_t> vector(std::size_t length_bytes) { return take(number(length_bytes)); }
  bool empty() const { return rest_.empty(); }
  bool whole() const { return !missing_ && rest_.empty(); }  // all of it was taken and nothing was missing
  bool missing() const { return missing_; }

 private:
  std::span<const std::uint8_t> rest_;
  bool missing_ = false;
};

}  // namespace sallyport
