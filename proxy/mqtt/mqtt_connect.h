// The first packet of an MQTT connection. Pure: bytes in, verdict out; no allocation, no copy. Accepts
// MQTT 3.1 (the OASIS/IBM v3.1 text, protocol name "MQIsdp", level 3), 3.1.1 (OASIS standard, section 3.1)
// and 5.0 (OASIS standard, section 3.1), and refuses what those call malformed or a protocol error.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "cache/base/reason.h"
#include "cache/base/result.h"

namespace sallyport {

inline constexpr std::uint8_t kConnect = 0x10;  // packet type 1, reserved flags 0: section 3.1.1 of either standard
inline constexpr std::uint8_t kFlagPassword = 0x40, kFlagUserName = 0x80;

enum class MqttVersion : std::uint8_t { V31 = 0, V311 = 1, V5 = 2 };  // index into kMqttVersionNames

// Its views point into the parsed bytes. `protocol` to `password` stand in the packet in this order.
struct MqttConnect {
  MqttVersion version = MqttVersion::V311;
  std::size_t packet_bytes = 0;  // whole packet, fixed header included
  std::string_view protocol;     // its name and level, as they stand
  std::uint8_t flags = 0;        // as they stand: MQTT 3.1 sets some without what they announce
  std::uint16_t keep_alive = 0;  // seconds
  std::string_view properties;   // of MQTT 5, without the length before them
  std::string_view client_id;
  std::string_view will;  // as it stands: with MQTT 5 its properties, then topic and payload
  std::string_view user_name;
  std::string_view password;
  bool has_user_name = false, has_password = false, has_will = false, clean = false;
};

struct ConnectProgress {
  enum class State : std::uint8_t { NeedMore, Complete, Refused } state = State::NeedMore;
  MqttConnect connect;           // when Complete
  Reason reason = Reason::None;  // when Refused: not_mqtt (not a CONNECT at all) or bad_connect
  std::string_view what;         // static: which rule
  // When Refused: the code with which the standard answers, in the dialect of connect.version; 0: it has no answer.
  // For a level that is unknown that is 3.1.1's (3.1.2.2 there). MQTT 5 has one for whatever is wrong (4.13 there).
  std::uint8_t connack = 0;
};

// Looks at everything received so far. Refuses as early as the bytes allow (first byte, protocol name and level, length
// field over `max_bytes`), so that an endless CONNECT is never collected.
ConnectProgress parse_connect(std::span<const std::uint8_t> bytes, std::size_t max_bytes);

// A CONNACK that refuses, in the dialect of the client. `out` takes at least 8 bytes; returns the length.
std::size_t write_connack(MqttVersion version, std::uint8_t code, std::span<std::uint8_t> out);
// The same with the code in the row of the reason; where that has none the client is not authorized. 0: the row has a
// code for MQTT 5 alone, and the client speaks another.
std::size_t write_connack_refusal(MqttVersion version, Reason reason, std::span<std::uint8_t> out);

}  // namespace sallyport
