#include "bench/loadgen/mqtt.h"

#include <algorithm>
#include <cstring>

namespace load {

namespace {

void put_16(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8 & 0xFF);
  out += static_cast<char>(value & 0xFF);
}
void put_text(std::string& out, std::string_view text) {
  put_16(out, text.size());
  out += text;
}

std::string framed(std::uint8_t first, const std::string& rest) {
  std::string out(1, static_cast<char>(first));
  std::size_t length = rest.size();
  do {
    const std::size_t digit = length & 0x7F;
    length >>= 7;
    out += static_cast<char>(digit | (length > 0 ? 0x80 : 0));
  } while (length > 0);
  return out + rest;
}

}  // namespace

std::string connect_packet(std::string_view client_id, bool v5) {
  std::string rest;
  put_text(rest, "MQTT");
  rest += static_cast<char>(v5 ? 5 : 4);
  rest += '\x02';      // a clean start
  put_16(rest, 1200);  // keep alive, in seconds: longer than any load
  if (v5) rest += '\0';
  put_text(rest, client_id);
  return framed(0x10, rest);
}

std::string publish_packet(std::string_view topic, std::size_t payload_bytes, unsigned qos, std::uint16_t id, bool v5) {
  std::string rest;
  put_text(rest, topic);
  if (qos > 0) put_16(rest, id);
  if (v5) rest += '\0';
  rest.append(payload_bytes, 'x');
  return framed(static_cast<std::uint8_t>(0x30 | qos << 1), rest);
}

std::string subscribe_packet(std::string_view topic, bool v5) {
  std::string rest;
  put_16(rest, 1);
  if (v5) rest += '\0';
  put_text(rest, topic);
  rest += '\0';
  return framed(0x82, rest);
}

Frames::Found Frames::next(std::span<const std::uint8_t>& bytes) {
  while (true) {
    if (part_ == Part::Rest) {
      const std::size_t n = std::min(left_, bytes.size());
      const std::size_t kept = std::min(n, kHead - head_bytes_);
      std::memcpy(head_ + head_bytes_, bytes.data(), kept);
      head_bytes_ += kept;
      left_ -= n;
      bytes = bytes.subspan(n);
      if (left_ > 0) return Found::NeedMore;
      part_ = Part::Type;
      return Found::Packet;
    }
    if (bytes.empty()) return Found::NeedMore;
    const std::uint8_t byte = bytes.front();
    bytes = bytes.subspan(1);
    if (part_ == Part::Type) {
      first_ = byte;
      length_ = shift_ = 0;
      head_bytes_ = 0;
      part_ = Part::Length;
      continue;
    }
    length_ |= std::size_t{byte & 0x7FU} << shift_;
    shift_ += 7;
    if ((byte & 0x80) != 0) {
      if (shift_ > 21) return Found::Malformed;
      continue;
    }
    left_ = length_;
    part_ = Part::Rest;
  }
}

}  // namespace load
