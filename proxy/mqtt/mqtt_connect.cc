#include "proxy/mqtt/mqtt_connect.h"

#include <algorithm>
#include <cstring>

#include "cache/base/check.h"
#include "proxy/mqtt/mqtt_properties.h"
#include "proxy/mqtt/packet_reader.h"

namespace sallyport {

namespace {

constexpr std::uint8_t kFlagReserved = 0x01, kFlagClean = 0x02, kFlagWill = 0x04, kFlagWillRetain = 0x20;

constexpr std::uint8_t kUnacceptableLevel = 0x01, kIdentifierRejected = 0x02;  // 3.1.1, section 3.2.2.3

ConnectProgress refused(ConnectProgress progress, Reason reason, std::string_view what, std::uint8_t connack = 0) {
  progress.state = ConnectProgress::State::Refused;
  progress.reason = reason;
  progress.what = what;
  progress.connack = connack;
  return progress;
}
// For what MQTT 5 alone has an answer.
ConnectProgress malformed(const ConnectProgress& progress, std::string_view what,
                          std::uint8_t connack = kMalformedPacket) {
  return refused(progress, Reason::BadConnect, what, progress.connect.version == MqttVersion::V5 ? connack : 0);
}

// The remaining length (2.2.3 in 3.1.1). Returns the bytes it takes, 0 when more are needed, SIZE_MAX when
// it is malformed.
std::size_t remaining_length(std::span<const std::uint8_t> bytes, std::size_t& value) {
  value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    if (i == bytes.size()) return 0;
    value |= static_cast<std::size_t>(bytes[i] & 0x7F) << (7 * i);
    if ((bytes[i] & 0x80) == 0) return i + 1;
  }
  return SIZE_MAX;
}

// Protocol name and level, as far as they have arrived: what is not MQTT is refused here.
// Where its name is MQTT's and its level is not, there is an answer for it.
bool read_version(std::string_view text, ConnectProgress& progress, bool& enough) {
  struct Dialect {
    std::string_view prefix;  // length, name
    std::uint8_t level;
    MqttVersion version;
  };
  static constexpr std::string_view kMqtt("\0\4MQTT", 6), kMqisdp("\0\6MQIsdp", 8);
  static constexpr Dialect kDialects[] = {
      {kMqisdp, 3, MqttVersion::V31}, {kMqtt, 4, MqttVersion::V311}, {kMqtt, 5, MqttVersion::V5}};
  bool possible = false;
  enough = false;
  for (const Dialect& dialect : kDialects) {
    const std::size_t seen = std::min(text.size(), dialect.prefix.size());
    if (text.substr(0, seen) != dialect.prefix.substr(0, seen)) continue;
    if (text.size() <= dialect.prefix.size()) {
      possible = true;
      continue;
    }
    // The top bit marks a bridge (mosquitto's "try_private"): accepted, for the broker understands it.
    progress.connack = kUnacceptableLevel;
    if ((static_cast<std::uint8_t>(text[dialect.prefix.size()]) & 0x7F) != dialect.level) continue;
    progress.connect.version = dialect.version;
    progress.connect.protocol = text.substr(0, dialect.prefix.size() + 1);
    progress.connack = 0;
    enough = true;
    return true;
  }
  return possible;
}

// What the flags may not say. 3.1 leaves open what those of a Will mean without one.
ConnectProgress check_flags(const ConnectProgress& progress) {
  const MqttConnect& connect = progress.connect;
  const std::uint8_t flags = connect.flags;
  const bool v31 = connect.version == MqttVersion::V31;
  const int will_qos = flags >> 3 & 3;
  if ((flags & kFlagReserved) != 0 && !v31) return malformed(progress, "the reserved connect flag is set");
  if (will_qos == 3 || (!v31 && !connect.has_will && (will_qos != 0 || (flags & kFlagWillRetain) != 0))) {
    return malformed(progress, "the will flags contradict each other");
  }
  if (connect.version != MqttVersion::V5 && connect.has_password && !connect.has_user_name) {
    return malformed(progress, "a password without a user name");
  }
  return progress;
}

// Where 3.1 and 3.1.1 ask for a client id there is an answer to one without (3.1.3.1 in 3.1.1; CONNECT in 3.1).
bool may_be_empty(const MqttConnect& connect) {
  return connect.version == MqttVersion::V5 || (connect.version == MqttVersion::V311 && connect.clean);
}

ConnectProgress read_will(PacketReader& at, const ConnectProgress& progress) {
  MqttConnect connect = progress.connect;
  const std::string_view begins = at.rest();
  if (connect.version == MqttVersion::V5) {
    const std::string_view properties = at.take(at.variable());
    if (const auto flaw = check_properties(PropertiesOf::Will, properties); at.good() && flaw.code != 0) {
      return malformed(progress, flaw.what, flaw.code);
    }
  }
  const std::string_view topic = at.text();
  at.data();
  if (at.good() && (topic.empty() || topic.find_first_of("+#") != std::string_view::npos)) {
    return malformed(progress, "the topic of the Will is empty or has a wildcard", kTopicNameInvalid);
  }
  connect.will = begins.substr(0, begins.size() - at.rest().size());
  ConnectProgress read = progress;
  read.connect = connect;
  return read;
}

// Of 3.1 the length of the packet says whether what a flag announces is there ("Remaining Length takes precedence").
bool is_there(bool flag, const PacketReader& at, MqttVersion version) {
  return flag && (version != MqttVersion::V31 || !at.empty());
}

ConnectProgress parse_body(std::string_view body, ConnectProgress progress) {
  using enum ConnectProgress::State;
  MqttConnect& connect = progress.connect;
  PacketReader at(body);
  at.take(connect.protocol.size());
  connect.flags = at.byte();
  connect.keep_alive = at.two_bytes();
  connect.clean = (connect.flags & kFlagClean) != 0;
  connect.has_will = (connect.flags & kFlagWill) != 0;
  connect.has_user_name = (connect.flags & kFlagUserName) != 0;
  connect.has_password = (connect.flags & kFlagPassword) != 0;
  if (progress = check_flags(progress); progress.state == Refused) return progress;
  if (connect.version == MqttVersion::V5) {
    connect.properties = at.take(at.variable());
    if (const auto flaw = check_properties(PropertiesOf::Connect, connect.properties); at.good() && flaw.code != 0) {
      return malformed(progress, flaw.what, flaw.code);
    }
  }
  connect.client_id = at.text();
  if (at.good() && connect.client_id.empty() && !may_be_empty(connect)) {
    return refused(progress, Reason::BadConnect, "an empty client id without a clean session", kIdentifierRejected);
  }
  if (connect.has_will) {
    if (progress = read_will(at, progress); progress.state == Refused) return progress;
  }
  connect.has_user_name = is_there(connect.has_user_name, at, connect.version);
  if (connect.has_user_name) connect.user_name = at.text();
  connect.has_password = is_there(connect.has_password, at, connect.version);
  if (connect.has_password) connect.password = at.data();
  if (!at.good()) return malformed(progress, "a field is malformed or runs past the packet");
  if (!at.empty()) return malformed(progress, "there are bytes behind the last field");
  progress.state = Complete;
  return progress;
}

}  // namespace

ConnectProgress parse_connect(std::span<const std::uint8_t> bytes, std::size_t max_bytes) {
  ConnectProgress progress;
  if (bytes.empty()) return progress;
  if (bytes[0] != kConnect) return refused(progress, Reason::NotMqtt, "the first packet is not a CONNECT");
  std::size_t length = 0;
  const std::size_t length_bytes = remaining_length(bytes.subspan(1), length);
  if (length_bytes == SIZE_MAX) return refused(progress, Reason::NotMqtt, "the remaining length is malformed");
  if (length_bytes == 0) return progress;
  const std::size_t packet = 1 + length_bytes + length;
  std::string_view body(reinterpret_cast<const char*>(bytes.data()) + 1 + length_bytes,
                        bytes.size() - 1 - length_bytes);
  body = body.substr(0, length);
  bool version = false;
  if (!read_version(body, progress, version)) {
    return refused(progress, Reason::NotMqtt, "the protocol name or level is none of MQTT 3.1, 3.1.1 and 5",
                   progress.connack);
  }
  if (packet > max_bytes) {
    if (!version && body.size() < length) return progress;  // a few bytes more say whether there is an answer
    const bool v5 = version && progress.connect.version == MqttVersion::V5;
    return refused(progress, Reason::BadConnect, "the CONNECT is larger than max_connect_size",
                   v5 ? row_of(Reason::BadConnect).connack.v5 : std::uint8_t{0});
  }
  if (body.size() < length) return progress;
  if (!version) return refused(progress, Reason::BadConnect, "the CONNECT is too short");
  if (length_bytes > 1 && bytes[length_bytes] == 0 && progress.connect.version == MqttVersion::V5) {
    return malformed(progress, "the remaining length takes more bytes than it needs");
  }
  progress.connect.packet_bytes = packet;
  return parse_body(body, progress);
}

std::size_t write_connack(MqttVersion version, std::uint8_t code, std::span<std::uint8_t> out) {
  const bool v5 = version == MqttVersion::V5;
  const std::uint8_t packet[] = {0x20, static_cast<std::uint8_t>(v5 ? 3 : 2), 0x00, code, 0x00};
  const std::size_t size = v5 ? 5 : 4;
  CHECK(out.size() >= size);
  std::memcpy(out.data(), packet, size);
  return size;
}

std::size_t write_connack_refusal(MqttVersion version, Reason reason, std::span<std::uint8_t> out) {
  const Connack own = row_of(reason).connack;
  const Connack connack = own.v5 == 0 ? kNotAuthorized : own;
  const std::uint8_t code = version == MqttVersion::V5 ? connack.v5 : connack.v311;
  return code == 0 ? 0 : write_connack(version, code, out);  // 0 would let the client in
}

}  // namespace sallyport
