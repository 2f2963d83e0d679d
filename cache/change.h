// One value type for every change of what is registered, and the sink through which the registrar puts a
// change in force on the data plane. cache/ declares the sink, proxy/ implements it: includes point
// downwards only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/certificate.h"
#include "cache/reason.h"

namespace sallyport {

class CaSet;

enum class DeviceStatus : std::uint8_t { Active = 1, Inactive = 2, Pending = 3, Revoked = 4 };
enum class CaStatus : std::uint8_t { Active = 1, Inactive = 2 };
enum class RegisteredBy : std::uint8_t { Auto = 1, Operator = 2, Crl = 3 };

// A batch is one commit; revisions rise by one with each change and never repeat, also across restarts.
struct Change {
  enum class Kind : std::uint8_t {
    DeviceRegistered = 1,
    DeviceStatusSet = 2,
    DeviceMoved = 3,  // now verified through another chain
    CaRegistered = 4,
    CaStatusSet = 5,
    ChainAdded = 6,
    CodeIssued = 7,
    CodeUsed = 8,
    LastSeen = 9,
  };
  Kind kind{};
  std::uint64_t revision = 0;
  std::int64_t at = 0;      // Unix seconds
  Digest id{};              // device or CA
  std::uint8_t status = 0;  // DeviceStatus or CaStatus after the change
  std::uint64_t chain = 0;
};

// Ends live sessions. `why` is what is logged and counted.
struct Cut {
  enum class Scope : std::uint8_t { Device, Ca };
  Scope scope{};
  Digest id{};  // device fingerprint, or CA id: every session whose nearest registered CA (the owner) it is
  Reason why{};
};

// What every shard must know before a change counts as in force.
struct Notice {
  std::uint64_t revision = 0;
  std::shared_ptr<const CaSet> cas;  // null: unchanged
  std::vector<Cut> cuts;
};

class ChangeSink {
 public:
  virtual ~ChangeSink() = default;
  // Called by the registrar's thread after the change is durable and published in the status cache.
  // Blocks until every running shard has taken the snapshot and carried out the cuts; with no shard
  // running it returns at once. From then on no further byte of a cut session passes in either direction.
  virtual void put_in_force(const Notice& notice) = 0;
};

}  // namespace sallyport
