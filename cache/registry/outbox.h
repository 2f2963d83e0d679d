// What waits on this node to be written to the shared registry while that is out of reach, as bytes in the store:
// devices that registered by themselves, restrictions that hold here already, and lines of the audit log. Reading
// checks every length.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/registry/audit.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

// In force here, whatever an older row says. `lost`: the rows of a device that the shared registry has not got (its
// history is another one), so that it can be written there again.
struct LocalRestriction {
  bool ca = false;          // else a device's
  std::uint8_t status = 0;  // CaStatus or DeviceStatus
  Actor by;
  struct Rows {
    DeviceRow device;
    DeviceText text;
    ChainRow chain;
  };
  std::optional<Rows> lost;
};

// What an operator did at this node, whose line in the audit log waits.
struct WaitingLine {
  Actor by;
  std::string action, target, after;
};

namespace outbox {

inline constexpr std::string_view kDevices = "device:", kRestrictions = "restriction:", kLines = "line:";

std::string key(std::string_view prefix, const Digest& id);
std::optional<Digest> id_of(std::string_view prefix, std::string_view key);
std::string encode(const Registration& registration);
std::optional<Registration> decode_registration(std::string_view bytes);
std::string encode(const LocalRestriction& restriction);
std::optional<LocalRestriction> decode_restriction(std::string_view bytes);
std::string encode(const WaitingLine& line);
std::optional<WaitingLine> decode_line(std::string_view bytes);

}  // namespace outbox

}  // namespace sallyport
