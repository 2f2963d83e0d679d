#include "cache/base/text.h"

#include <algorithm>
#include <cstdint>

namespace sallyport {

namespace {

constexpr char kHex[] = "0123456789abcdef";

std::uint32_t decode(std::string_view sequence) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(sequence[i])); };
  switch (sequence.size()) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3: return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

// What may move the cursor, end a line or reorder what a person reads.
bool steers(std::uint32_t point) {
  return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x2028 || point == 0x2029 || point == 0x061C ||
         (point >= 0x200E && point <= 0x200F) || (point >= 0x202A && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0xFEFF;
}

void append_hex(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += "\\x";
    out += kHex[b >> 4];
    out += kHex[b & 15];
  }
}

void append_unicode_escape(std::string& out, std::uint32_t point) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(point >> shift) & 15];
}

constexpr std::string_view kCut = "\xE2\x80\xA6";  // U+2026, an ellipsis

// The first `most` bytes, or up to three fewer where they end in the middle of a character.
std::string_view beginning(std::string_view raw, std::size_t most) {
  if (raw.size() <= most) return raw;
  std::size_t end = most;
  while (end > 0 && most - end < 3 && (static_cast<unsigned char>(raw[end]) & 0xC0) == 0x80) --end;
  // Three continuation bytes and no lead before them: no UTF-8, so anywhere is as good.
  if ((static_cast<unsigned char>(raw[end]) & 0xC0) == 0x80) end = most;
  return raw.substr(0, end);
}

std::string cut_at(std::string_view raw, std::size_t most) {
  const std::string_view begun = beginning(raw, most);
  std::string out;
  out.reserve(begun.size() + kCut.size());
  out += begun;
  out += kCut;
  return out;
}

}  // namespace

std::string shortened(std::string_view raw, std::size_t most) {
  return raw.size() <= most ? std::string(raw) : cut_at(raw, most - kCut.size());
}

std::string kept_of(std::string_view raw) {
  return raw.size() <= kPeerText ? std::string(raw) : cut_at(raw, kPeerText + 1);
}

std::size_t utf8_sequence(std::string_view text) {
  if (text.empty()) return 0;
  const auto lead = static_cast<unsigned char>(text[0]);
  std::size_t length = 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  if (lead >= 0xE0 && lead <= 0xEF) length = 3;
  if (lead >= 0xF0 && lead <= 0xF4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  const std::uint32_t point = decode(text.substr(0, length));
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  return overlong || surrogate || point > 0x10FFFF ? 0 : length;
}

void append_escaped(std::string& out, std::string_view raw, bool quote) {
  while (!raw.empty()) {
    const std::size_t length = utf8_sequence(raw);
    const std::string_view piece = raw.substr(0, length == 0 ? 1 : length);
    if (length == 0 || steers(decode(piece))) {
      append_hex(out, piece);
    } else {
      if (piece == "\\" || (quote && piece == "\"")) out += '\\';
      out += piece;
    }
    raw.remove_prefix(piece.size());
  }
}

std::string escaped(std::string_view raw) {
  std::string out;
  append_escaped(out, raw, false);
  return out;
}

void append_json_escaped(std::string& out, std::string_view raw) {
  while (!raw.empty()) {
    const std::size_t length = utf8_sequence(raw);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      raw.remove_prefix(1);
      continue;
    }
    const std::string_view piece = raw.substr(0, length);
    const std::uint32_t point = decode(piece);
    if (point == '"' || point == '\\') {
      out += '\\';
      out += piece;
    } else if (steers(point) && point <= 0xFFFF) {
      append_unicode_escape(out, point);
    } else {
      out += piece;
    }
    raw.remove_prefix(length);
  }
}

std::string steering_escaped(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  while (!json.empty()) {
    const std::string_view piece = json.substr(0, std::max<std::size_t>(utf8_sequence(json), 1));
    const std::uint32_t point = decode(piece);
    // Below DEL the text is JSON's own: line ends between values, and escapes inside of strings.
    if (piece.size() <= 3 && point >= 0x7F && steers(point) && utf8_sequence(piece) != 0) {
      append_unicode_escape(out, point);
    } else {
      out += piece;
    }
    json.remove_prefix(piece.size());
  }
  return out;
}

}  // namespace sallyport
