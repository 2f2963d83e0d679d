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

enum class MqttVersion : std::uint8_t { V31 = 0, V311 = 1, V5 = 2 };  // index into kMqttVersionNames

struct MqttConnect {
  MqttVersion version = MqttVersion::V311;
  std::size_t packet_bytes = 0;  // whole packet, fixed header included
  std::string_view client_id;    // points into the parsed bytes
  std::string_view user_name;
  bool has_user_name = false, has_password = false, has_will = false, clean = false;
  std::uint16_t keep_alive = 0;  // seconds
};

struct ConnectProgress {
  enum class State : std::uint8_t { NeedMore, Complete, Refused } state = State::NeedMore;
  MqttConnect connect;           // when Complete
  Reason reason = Reason::None;  // when Refused: not_mqtt (not a CONNECT at all) or bad_connect
  std::string_view what;         // static: which rule
  // When Refused: MQTT has an answer for it, the code of the reason's row in the dialect of connect.version. For a
  // level that is unknown that is 3.1.1's (3.1.2.2 there); for what is too large, 5's alone (3.2.2.2 there).
  bool answered = false;
};

// Looks at everything received so far. Refuses as early as the bytes allow (first byte, length field over
// `max_bytes`, protocol name), so that an endless CONNECT is never collected.
ConnectProgress parse_connect(std::span<const std::uint8_t> bytes, std::size_t max_bytes);

// A CONNACK that refuses, for the client's version. `out` takes at least 8 bytes; returns the length.
// The code stands in the row of the reason; where that has none the client is not authorized.
std::size_t write_connack_refusal(MqttVersion version, Reason reason, std::span<std::uint8_t> out);

}  // namespace sallyport
