// One value type for every change of what is registered, and the sink through which the registrar puts a
// change in force on the data plane. cache/ declares the sink, proxy/ implements it: includes point
// downwards only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/reason.h"
#include "cache/x509/certificate.h"

namespace sallyport {

class CaSet;

enum class DeviceStatus : std::uint8_t { Active = 1, Inactive = 2, Pending = 3, Revoked = 4 };
// Why a device with this status of its own is refused; None where it is not.
constexpr Reason reason_of(DeviceStatus status) {
  switch (status) {
    case DeviceStatus::Active: return Reason::None;
    case DeviceStatus::Inactive: return Reason::DeviceInactive;
    case DeviceStatus::Pending: return Reason::DevicePending;
    case DeviceStatus::Revoked: return Reason::DeviceRevoked;
  }
  return Reason::InternalError;  // a status from outside the enumeration: fail closed
}

enum class CaStatus : std::uint8_t { Active = 1, Inactive = 2 };

// As an operator reads and writes them, everywhere.
constexpr std::string_view to_string(DeviceStatus status) {
  switch (status) {
    case DeviceStatus::Active: return "active";
    case DeviceStatus::Inactive: return "inactive";
    case DeviceStatus::Pending: return "pending";
    case DeviceStatus::Revoked: return "revoked";
  }
  return "of an unknown status";
}
constexpr std::string_view to_string(CaStatus status) {
  return status == CaStatus::Active ? "active" : "inactive";
}

enum class RegisteredBy : std::uint8_t { Auto = 1, Operator = 2, Crl = 3 };

// What happened, once. Revisions rise by one with each change that was written and never repeat, also
// across restarts; a batch of changes is one commit.
struct Change {
  enum class Kind : std::uint8_t {
    DeviceRegistered = 1,
    DeviceMoved = 2,  // now verified through another chain
    DeviceStatusSet = 3,
    CaRegistered = 4,
    CaStatusSet = 5,
    CodeIssued = 6,
    CaDeleted = 7,
    DeviceDeleted = 8,
    CrlImported = 9,
    SettingChanged = 10,  // server certificates, overrides, tokens
  };
  Kind kind{};
  std::uint64_t revision = 0;
  Digest id{};              // device or CA; of a code: its SHA-256
  std::uint8_t status = 0;  // DeviceStatus or CaStatus after the change
};

constexpr std::string_view to_string(Change::Kind kind) {
  switch (kind) {
    case Change::Kind::DeviceRegistered: return "device-registered";
    case Change::Kind::DeviceMoved: return "device-moved";
    case Change::Kind::DeviceStatusSet: return "device-status";
    case Change::Kind::CaRegistered: return "ca-registered";
    case Change::Kind::CaStatusSet: return "ca-status";
    case Change::Kind::CodeIssued: return "code-issued";
    case Change::Kind::CaDeleted: return "ca-deleted";
    case Change::Kind::DeviceDeleted: return "device-deleted";
    case Change::Kind::CrlImported: return "crl-imported";
    case Change::Kind::SettingChanged: return "setting";
  }
  return "change";
}

// Ends live sessions. `why` is what is logged and counted.
struct Cut {
  enum class Scope : std::uint8_t { Device, Ca };
  Scope scope{};
  Digest id{};  // device fingerprint, or CA id: every session whose nearest registered CA (the owner) it is
  Reason why{};
  bool look_again = false;  // only those whose standing does not hold any more; each for its own reason
};

// What every shard must know before a change counts as in force.
struct Notice {
  std::uint64_t revision = 0;
  std::shared_ptr<const CaSet> cas;  // null: unchanged
  std::vector<Cut> cuts;
  std::chrono::steady_clock::time_point durable_at = std::chrono::steady_clock::now();
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
