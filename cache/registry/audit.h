// Who changed what: one record for every change an operator makes, written in the same batch as the change
// itself, so that neither exists without the other.
#pragma once

#include <cstdint>
#include <string>

namespace sallyport {

// Who asks for a change, and from where.
struct Actor {
  std::string who = "sallyport";  // a token's name, "uid 0", "configuration", …
  std::string from = "-";         // a peer address, "socket pid 4711"
};

struct AuditRecord {
  std::int64_t at_us = 0;  // Unix microseconds; unique, rising
  std::uint64_t revision = 0;
  Actor by;
  std::string action;  // "ca.deactivate", "device.revoke", …
  std::string target;  // what it was done to: an id or a name
  std::string before, after;
};

}  // namespace sallyport
