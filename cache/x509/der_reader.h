// Takes elements of DER (X.690, sections 8.1 and 10.1) off the front of bytes that anyone may have sent. Tags are of
// one byte, lengths definite, below 64 KiB and in the fewest bytes; anything else is missing. Once something is missing
// everything is, and whole() stays false.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sallyport {

class DerReader {
 public:
  using Bytes = std::span<const std::uint8_t>;

  explicit DerReader(Bytes bytes) : rest_(bytes) {}

  bool next_is(std::uint8_t tag) const { return !rest_.empty() && rest_[0] == tag; }
  std::uint8_t tag() const { return rest_.empty() ? 0 : rest_[0]; }  // of the next element; 0: there is none
  // The content of the next element, which must have this tag.
  Bytes take(std::uint8_t tag) {
    const std::size_t header = header_bytes();
    return element(tag).subspan(missing_ ? 0 : header);
  }
  // The same with its tag and length.
  Bytes element(std::uint8_t tag) {
    const std::size_t header = header_bytes();
    if (missing_ || !next_is(tag) || header == 0 || rest_.size() < header + content_bytes()) {
      rest_ = {};
      missing_ = true;
      return {};
    }
    const Bytes taken = rest_.first(header + content_bytes());
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  bool empty() const { return rest_.empty(); }
  bool whole() const { return !missing_ && rest_.empty(); }  // all of it was taken and nothing was missing

 private:
  // Of tag and length; 0 where they are not all there, or none that is read here.
  std::size_t header_bytes() const {
    if (rest_.size() < 2 || (rest_[0] & 0x1f) == 0x1f) return 0;
    if (rest_[1] < 0x80) return 2;
    if (rest_[1] == 0x81) return rest_.size() >= 3 && rest_[2] >= 0x80 ? 3 : 0;
    if (rest_[1] == 0x82) return rest_.size() >= 4 && rest_[2] != 0 ? 4 : 0;
    return 0;
  }
  std::size_t content_bytes() const {
    if (rest_[1] < 0x80) return rest_[1];
    return rest_[1] == 0x81 ? rest_[2] : std::size_t{rest_[2]} << 8 | rest_[3];
  }

  Bytes rest_;
  bool missing_ = false;
};

}  // namespace sallyport
