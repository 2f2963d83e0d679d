#include "proxy/mqtt/connect_rewrite.h"

#include <algorithm>
#include <cstring>

#include "cache/base/check.h"
#include "proxy/mqtt/mqtt_properties.h"

namespace sallyport {

namespace {

constexpr std::size_t kMostOfText = 65'535;  // its length has two bytes

std::size_t variable_bytes(std::size_t value) {
  return value < 128 ? 1 : value < 16'384 ? 2 : value < 2'097'152 ? 3 : 4;
}

bool is_replaced(const Property& property, std::span<const UserProperty> by) {
  return property.id == kUserProperty &&
         std::any_of(by.begin(), by.end(), [&](const UserProperty& each) { return each.name == property.name; });
}

// Calls `keep` with the pieces of the client's properties that stay.
template <class Keep>
void each_kept(const MqttConnect& connect, const ConnectChanges& changes, Keep keep) {
  if (changes.user_properties.empty()) return keep(connect.properties);
  Property property;
  for (std::string_view rest = connect.properties; take_property(rest, property);) {
    if (!is_replaced(property, changes.user_properties)) keep(property.whole);
  }
}

// The new packet's parts and their lengths.
struct Plan {
  Plan(const MqttConnect& connect, const ConnectChanges& changes)
      : client_id(changes.client_id.value_or(connect.client_id)),
        user_name(changes.user_name.value_or(connect.user_name)),
        has_user_name(changes.user_name || connect.has_user_name),
        has_password(!changes.user_name && connect.has_password) {
    length = connect.protocol.size() + 1 + 2 + 2 + client_id.size() + connect.will.size();
    if (has_user_name) length += 2 + user_name.size();
    if (has_password) length += 2 + connect.password.size();
    fits = client_id.size() <= kMostOfText && user_name.size() <= kMostOfText;
    if (connect.version != MqttVersion::V5) return;
    each_kept(connect, changes, [&](std::string_view piece) { properties += piece.size(); });
    for (const UserProperty& each : changes.user_properties) {
      if (each.value.empty()) continue;
      properties += 1 + 2 + each.name.size() + 2 + each.value.size();
      fits = fits && each.name.size() <= kMostOfText && each.value.size() <= kMostOfText;
    }
    length += variable_bytes(properties) + properties;
  }

  std::string_view client_id, user_name;
  bool has_user_name, has_password;
  std::size_t properties = 0;  // bytes of them
  std::size_t length = 0;      // the remaining length
  bool fits = false;
};

class PacketWriter {
 public:
  explicit PacketWriter(std::span<std::uint8_t> out) : out_(out) {}
  void byte(std::size_t value) {
    CHECK(!out_.empty());
    out_[0] = static_cast<std::uint8_t>(value);
    out_ = out_.subspan(1);
  }
  void two_bytes(std::size_t value) {
    byte(value >> 8);
    byte(value & 0xFF);
  }
  void variable(std::size_t value) {
    for (; value >= 128; value >>= 7) byte((value & 0x7F) | 0x80);
    byte(value);
  }
  void raw(std::string_view bytes) {
    CHECK(bytes.size() <= out_.size());
    if (!bytes.empty()) std::memcpy(out_.data(), bytes.data(), bytes.size());
    out_ = out_.subspan(bytes.size());
  }
  void text(std::string_view value) {
    two_bytes(value.size());
    raw(value);
  }
  bool full() const { return out_.empty(); }

 private:
  std::span<std::uint8_t> out_;
};

}  // namespace

std::optional<std::size_t> rewritten_bytes(const MqttConnect& connect, const ConnectChanges& changes) {
  const Plan plan(connect, changes);
  if (!plan.fits || plan.length > kMostOfPacket) return std::nullopt;
  return 1 + variable_bytes(plan.length) + plan.length;
}

void write_rewritten(const MqttConnect& connect, const ConnectChanges& changes, std::span<std::uint8_t> out) {
  const Plan plan(connect, changes);
  PacketWriter to(out);
  to.byte(kConnect);
  to.variable(plan.length);
  to.raw(connect.protocol);
  // Those of the user name and the password say what is there, also where a client of 3.1 had announced more.
  to.byte((connect.flags & ~(kFlagUserName | kFlagPassword)) | (plan.has_user_name ? kFlagUserName : 0) |
          (plan.has_password ? kFlagPassword : 0));
  to.two_bytes(connect.keep_alive);
  if (connect.version == MqttVersion::V5) {
    to.variable(plan.properties);
    each_kept(connect, changes, [&](std::string_view piece) { to.raw(piece); });
    for (const UserProperty& each : changes.user_properties) {
      if (each.value.empty()) continue;
      to.byte(kUserProperty);
      to.text(each.name);
      to.text(each.value);
    }
  }
  to.text(plan.client_id);
  to.raw(connect.will);
  if (plan.has_user_name) to.text(plan.user_name);
  if (plan.has_password) to.text(connect.password);
  CHECK(to.full());
}

}  // namespace sallyport
