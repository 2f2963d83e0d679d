// As much MQTT as a load needs: packets written, and the frames of a stream found (MQTT 3.1.1 and 5, section 2).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace load {

enum class Packet : std::uint8_t {
  Connect = 1,
  Connack = 2,
  Publish = 3,
  Puback = 4,
  Subscribe = 8,
  Suback = 9,
  Pingreq = 12,
  Pingresp = 13,
  Disconnect = 14,
};

std::string connect_packet(std::string_view client_id, bool v5);
std::string publish_packet(std::string_view topic, std::size_t payload_bytes, unsigned qos, std::uint16_t id, bool v5);
std::string subscribe_packet(std::string_view topic, bool v5);
inline constexpr std::string_view kPingreq{"\xC0\x00", 2}, kPingresp{"\xD0\x00", 2}, kDisconnect{"\xE0\x00", 2};

// Finds the packets in a stream. Of each it keeps the first kHead bytes of what follows the fixed header, which is
// all that anybody here reads: a payload is counted and skipped.
class Frames {
 public:
  static constexpr std::size_t kHead = 256;
  enum class Found : std::uint8_t { NeedMore, Packet, Malformed };

  // Takes bytes from the front of `bytes` until a packet is whole. What packet() says holds until the next call.
  Found next(std::span<const std::uint8_t>& bytes);
  Packet packet() const { return static_cast<Packet>(first_ >> 4); }
  unsigned qos() const { return first_ >> 1 & 3U; }
  std::string_view head() const { return {reinterpret_cast<const char*>(head_), head_bytes_}; }
  std::size_t length() const { return length_; }

 private:
  enum class Part : std::uint8_t { Type, Length, Rest } part_ = Part::Type;
  std::uint8_t first_ = 0;
  unsigned shift_ = 0;
  std::size_t length_ = 0, left_ = 0, head_bytes_ = 0;
  std::uint8_t head_[kHead];
};

}  // namespace load
