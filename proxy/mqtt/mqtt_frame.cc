#include "proxy/mqtt/mqtt_frame.h"

#include <algorithm>

#include "cache/base/check.h"

namespace sallyport {

void MqttFraming::advance(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    switch (step_) {
      case Step::Header:
        any_ = true;
        step_ = Step::Length;
        shift_ = 0;
        missing_ = 0;
        bytes = bytes.subspan(1);
        break;
      case Step::Length: {
        const std::uint8_t digit = bytes.front();
        bytes = bytes.subspan(1);
        missing_ |= static_cast<std::uint32_t>(digit & 0x7F) << shift_;
        shift_ = static_cast<std::uint8_t>(shift_ + 7);
        if ((digit & 0x80) == 0) {
          step_ = missing_ == 0 ? Step::Header : Step::Body;
        } else if (shift_ == 28) {
          step_ = Step::Lost;  // a length has at most four bytes (MQTT 5.0, section 1.5.5)
        }
        break;
      }
      case Step::Body: {
        const std::size_t n = std::min<std::size_t>(missing_, bytes.size());
        missing_ -= static_cast<std::uint32_t>(n);
        bytes = bytes.subspan(n);
        if (missing_ == 0) step_ = Step::Header;
        break;
      }
      case Step::Lost: return;
    }
  }
}

std::size_t MqttFraming::rest_of_packet(std::span<const std::uint8_t> bytes) const {
  if (step_ == Step::Body) return std::min<std::size_t>(missing_, bytes.size());
  if (step_ != Step::Length || bytes.empty()) return 0;
  MqttFraming ahead = *this;
  std::size_t n = 0;
  while (n < bytes.size() && ahead.step_ == Step::Length) ahead.advance(bytes.subspan(n++, 1));
  return n + ahead.rest_of_packet(bytes.subspan(n));
}

std::size_t write_disconnect(std::uint8_t reason_code, std::span<std::uint8_t> out) {
  CHECK(out.size() >= 3);
  out[0] = 0xE0;
  out[1] = 1;  // no properties: the property length may be left out (section 3.14.2.2.1)
  out[2] = reason_code;
  return 3;
}

std::size_t write_moved(MovedBy packet, std::string_view server_reference, std::span<std::uint8_t> out) {
  CHECK(server_reference.size() <= kLongestReference && out.size() >= kMovedBytes + server_reference.size());
  constexpr std::uint8_t kUseAnotherServer = 0x9C, kServerReference = 0x1C;
  std::size_t at = 0;
  const auto put = [&](std::size_t byte) { out[at++] = static_cast<std::uint8_t>(byte); };
  // A Variable Byte Integer of one byte or two, the fewest that it needs (section 1.5.5).
  const auto put_length = [&](std::size_t length) {
    if (length >= 128) put((length & 0x7F) | 0x80);
    put(length >= 128 ? length >> 7 : length);
  };
  const std::size_t property = 1 + 2 + server_reference.size();
  const bool connack = packet == MovedBy::Connack;
  put(connack ? 0x20 : 0xE0);
  put_length((connack ? 2 : 1) + (property >= 128 ? 2 : 1) + property);
  if (connack) put(0);  // no session present
  put(kUseAnotherServer);
  put_length(property);
  put(kServerReference);
  put(server_reference.size() >> 8);
  put(server_reference.size() & 0xFF);
  std::copy(server_reference.begin(), server_reference.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  return at + server_reference.size();
}

}  // namespace sallyport
