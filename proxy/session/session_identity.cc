// What the broker is told of the device: the client id that the listener asks for, and the CONNECT written anew with
// the user name, the client id and the user properties of the upstream. Once a session, before the broker is chosen;
// what the client sent behind its CONNECT stays behind it.
#include <array>

#include "cache/base/text.h"
#include "proxy/mqtt/connect_rewrite.h"
#include "proxy/session/session.h"

namespace sallyport {

namespace {

using enum IdentityTemplate::Field;

constexpr std::string_view kDevice = "sallyport-device", kCa = "sallyport-ca", kCn = "sallyport-cn";

}  // namespace

// False: it was refused.
bool Session::tell_identity() {
  const bool asks = !settings_.config->client_id.empty();
  const bool tells = settings_.upstream != nullptr && settings_.upstream->tells_identity();
  if (!asks && !tells) return true;
  const Verdict* decided = verdict();
  if (decided == nullptr || !decided->identity || !mqtt_.version) {
    return not_told({Origin::Proxy, Reason::InternalError, 0, "a template is in use, and there is no identity"});
  }
  return rewrite_connect(*decided->identity);
}

bool Session::rewrite_connect(const Identity& identity) {
  // What it says points into the buffer, so it is read once more: 0.1 us.
  const ConnectProgress progress = parse_connect(broker_.to_send.bytes(), settings_.config->max_connect_bytes);
  const MqttConnect& said = progress.connect;
  ConnectChanges changes;
  std::string client_id(said.client_id);
  if (const IdentityTemplate& wanted = settings_.config->client_id; !wanted.empty()) {
    auto value = wanted.value(identity, {});
    if (!value) return not_told(value.error());
    if (!client_id.empty() && client_id != *value) {
      return not_told(
          {Origin::Client, Reason::ClientIdMismatch, 0, "not the client id that listener.client_id asks for"});
    }
    client_id = std::move(*value);
  }
  std::string user_name;
  std::array<std::string, 3> values;
  std::array<UserProperty, 3> properties;
  if (const UpstreamConfig* upstream = settings_.upstream) {
    if (!upstream->username.empty()) {
      auto value = upstream->username.value(identity, client_id);
      if (!value) return not_told(value.error());
      user_name = std::move(*value);
      changes.user_name = user_name;
    }
    if (!upstream->client_id.empty()) {
      auto value = upstream->client_id.value(identity, client_id);
      if (!value) return not_told(value.error());
      client_id = std::move(*value);
    }
    if (upstream->user_properties) {
      values[0] = to_hex(identity.fingerprint);
      values[1] = to_hex(identity.ca_id);
      // No template needs it, so a name that none could use keeps nobody out: the broker is told none.
      if (auto cn = IdentityTemplate::value_of(Cn, identity, {})) values[2] = std::move(*cn);
      properties = {UserProperty{kDevice, values[0]}, {kCa, values[1]}, {kCn, values[2]}};
      changes.user_properties = properties;
    }
  }
  if (client_id != said.client_id) changes.client_id = client_id;
  const auto bytes = rewritten_bytes(said, changes);
  if (!bytes) return not_told({Origin::Client, Reason::BadConnect, 0, "the CONNECT with the identity is too large"});
  ByteBuffer anew;
  write_rewritten(said, changes, anew.prepare(*bytes).first(*bytes));
  anew.commit(*bytes);
  anew.append(broker_.to_send.bytes().subspan(said.packet_bytes));
  broker_.to_send.swap(anew);
  mqtt_.client_id = kept_of(client_id);
  return true;
}

bool Session::not_told(const Error& why) {
  say_refused(why.reason);
  terminate(why, Cause::Protocol);
  return false;
}

}  // namespace sallyport
