// The properties of MQTT 5 that a CONNECT and its Will may have (OASIS standard, sections 3.1.2.11 and 3.1.3.2), one
// after the other. Pure; no allocation.
#pragma once

#include <cstdint>
#include <string_view>

namespace sallyport {

// Reason codes of MQTT 5 with which a CONNECT is refused (sections 2.4 and 4.13).
inline constexpr std::uint8_t kMalformedPacket = 0x81;
inline constexpr std::uint8_t kProtocolError = 0x82;
inline constexpr std::uint8_t kClientIdNotValid = 0x85;
inline constexpr std::uint8_t kTopicNameInvalid = 0x90;

enum class PropertiesOf : std::uint8_t { Connect, Will };

struct PropertiesFlaw {
  std::uint8_t code = 0;  // 0: there is none
  std::string_view what;  // static
};

// `properties`: without the length before them.
PropertiesFlaw check_properties(PropertiesOf where, std::string_view properties);

struct Property {
  std::uint8_t id = 0;
  std::string_view whole;  // as it stands, its identifier included
  std::string_view name;   // of a user property
};
inline constexpr std::uint8_t kUserProperty = 0x26;

// Takes the first of `rest` off; false: there is none that could be read.
bool take_property(std::string_view& rest, Property& property);

}  // namespace sallyport
