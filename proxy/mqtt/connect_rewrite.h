// Writes a CONNECT anew that mqtt_connect.h has parsed, with another user name, client id and user properties; all the
// rest is copied byte for byte. Pure: views in, bytes out, no allocation. Called by sessions on their shard's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/mqtt/mqtt_connect.h"

namespace sallyport {

struct UserProperty {
  std::string_view name, value;
};

struct ConnectChanges {
  std::optional<std::string_view> user_name;  // in its place, or new; the password goes with the old one
  std::optional<std::string_view> client_id;
  // MQTT 5: what the client sent under one of these names is left out, and these stand at the end; one without a value
  // is only left out. 3.1 and 3.1.1 have no user properties.
  std::span<const UserProperty> user_properties;
};

inline constexpr std::size_t kMostOfPacket = 268'435'455;  // bytes behind the fixed header (2.2.3 in 3.1.1)

// How many bytes the packet takes then; none: one of its lengths would not fit.
std::optional<std::size_t> rewritten_bytes(const MqttConnect& connect, const ConnectChanges& changes);
// `out` has exactly so many, and is not where `connect` was parsed.
void write_rewritten(const MqttConnect& connect, const ConnectChanges& changes, std::span<std::uint8_t> out);

}  // namespace sallyport
