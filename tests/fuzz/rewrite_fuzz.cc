// What the CONNECT parser accepts, written anew with an identity, parses again, and says the same but for the identity.
// The first byte chooses what is changed.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/mqtt/connect_rewrite.h"
#include "proxy/mqtt/mqtt_properties.h"

using namespace sallyport;

namespace {

void must(bool holds) {
  if (!holds) __builtin_trap();
}

// All but the user properties that are ours to write.
std::string others(std::string_view properties) {
  std::string kept;
  Property property;
  while (take_property(properties, property)) {
    const bool ours =
        property.name == "sallyport-device" || property.name == "sallyport-ca" || property.name == "sallyport-cn";
    if (!ours) kept += property.whole;
  }
  must(properties.empty());
  return kept;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMax = 4096, kGrows = 1024;
  if (size == 0) return 0;
  const std::uint8_t choice = data[0];
  const ConnectProgress before = parse_connect({data + 1, size - 1}, kMax);
  if (before.state != ConnectProgress::State::Complete) return 0;
  const MqttConnect& said = before.connect;
  const UserProperty properties[] = {{"sallyport-device", "ab"}, {"sallyport-ca", "cd"}, {"sallyport-cn", ""}};
  ConnectChanges changes;
  if (choice & 1) changes.user_name = "user";
  if (choice & 2) changes.client_id = "client";
  if (choice & 4) changes.user_properties = properties;
  const auto bytes = rewritten_bytes(said, changes);
  must(bytes.has_value() && *bytes <= said.packet_bytes + kGrows);
  std::vector<std::uint8_t> out(*bytes);
  write_rewritten(said, changes, out);
  const ConnectProgress after = parse_connect(out, kMax + kGrows);
  must(after.state == ConnectProgress::State::Complete && after.connect.packet_bytes == *bytes);
  const MqttConnect& now = after.connect;
  must(now.version == said.version && now.protocol == said.protocol && now.keep_alive == said.keep_alive);
  must(now.will == said.will && now.has_will == said.has_will && now.clean == said.clean);
  must((now.flags & 0x3F) == (said.flags & 0x3F));
  must(now.client_id == (choice & 2 ? "client" : said.client_id));
  must(now.has_user_name == (choice & 1 || said.has_user_name));
  must(now.user_name == (choice & 1 ? "user" : said.user_name));
  must(now.has_password == (!(choice & 1) && said.has_password));
  must(now.has_password ? now.password == said.password : now.password.empty());
  const bool removes = (choice & 4) != 0 && said.version == MqttVersion::V5;
  must(others(now.properties) == others(said.properties));
  if (!removes) must(now.properties == said.properties);
  std::size_t ours = 0;
  Property property;
  for (std::string_view rest = now.properties; removes && take_property(rest, property);) {
    if (property.id != kUserProperty) continue;
    must(property.name != "sallyport-cn");
    ours += property.name == "sallyport-device" || property.name == "sallyport-ca" ? 1 : 0;
  }
  must(!removes || ours == 2);
  return 0;
}
