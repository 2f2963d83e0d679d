#include "proxy/mqtt/mqtt_connect.h"

#include <algorithm>
#include <cstring>

#include "cache/base/check.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::uint8_t kConnect = 0x10;  // packet type 1, reserved flags 0: section 3.1.1 of either standard
constexpr std::uint8_t kFlagReserved = 0x01, kFlagClean = 0x02, kFlagWill = 0x04, kFlagWillRetain = 0x20,
                       kFlagPassword = 0x40, kFlagUserName = 0x80;

// Walks the packet; past its end everything reads as missing.
class Cursor {
 public:
  explicit Cursor(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool good() const { return good_; }
  std::size_t left() const { return bytes_.size(); }
  std::uint8_t byte() {
    if (!need(1)) return 0;
    const std::uint8_t value = bytes_[0];
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::uint16_t two_bytes() {
    const auto high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  // Binary data behind a two-byte length (1.5.6 in MQTT 5).
  std::string_view data() {
    const std::size_t length = two_bytes();
    if (!need(length)) return {};
    const std::string_view value(reinterpret_cast<const char*>(bytes_.data()), length);
    bytes_ = bytes_.subspan(length);
    return value;
  }
  // A UTF-8 string: well-formed and without U+0000 (1.5.3 in 3.1.1, 1.5.4 in 5).
  std::string_view text() {
    const std::string_view value = data();
    for (std::size_t i = 0; good_ && i < value.size();) {
      const std::size_t length = utf8_sequence(value.substr(i));
      if (length == 0 || value[i] == '\0') good_ = false;
      i += length == 0 ? 1 : length;
    }
    return value;
  }
  // MQTT 5 properties: skipped as a whole, their length checked (2.2.2).
  void properties() {
    std::size_t length = 0;
    int shift = 0;
    std::uint8_t next = 0;
    do {
      next = byte();
      length |= static_cast<std::size_t>(next & 0x7F) << shift;
      shift += 7;
    } while ((next & 0x80) != 0 && shift < 28 && good_);
    if ((next & 0x80) != 0) good_ = false;
    if (need(length)) bytes_ = bytes_.subspan(length);
  }

 private:
  bool need(std::size_t n) {
    if (bytes_.size() < n) good_ = false;
    return good_;
  }

  std::span<const std::uint8_t> bytes_;
  bool good_ = true;
};

ConnectProgress refused(ConnectProgress progress, Reason reason, std::string_view what) {
  progress.state = ConnectProgress::State::Refused;
  progress.reason = reason;
  progress.what = what;
  return progress;
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
bool read_version(std::span<const std::uint8_t> body, ConnectProgress& progress, bool& enough) {
  struct Dialect {
    std::string_view prefix;  // length, name
    std::uint8_t level;
    MqttVersion version;
  };
  static constexpr std::string_view kMqtt("\0\4MQTT", 6), kMqisdp("\0\6MQIsdp", 8);
  static constexpr Dialect kDialects[] = {
      {kMqisdp, 3, MqttVersion::V31}, {kMqtt, 4, MqttVersion::V311}, {kMqtt, 5, MqttVersion::V5}};
  const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
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
    progress.answered = true;
    if ((static_cast<std::uint8_t>(text[dialect.prefix.size()]) & 0x7F) != dialect.level) continue;
    progress.connect.version = dialect.version;
    progress.answered = false;
    enough = true;
    return true;
  }
  return possible;
}

ConnectProgress parse_body(std::span<const std::uint8_t> body, ConnectProgress progress) {
  MqttConnect& connect = progress.connect;
  Cursor at(body);
  at.data();
  at.byte();
  const std::uint8_t flags = at.byte();
  connect.keep_alive = at.two_bytes();
  const bool v5 = connect.version == MqttVersion::V5;
  if (v5) at.properties();
  connect.client_id = at.text();
  connect.clean = (flags & kFlagClean) != 0;
  connect.has_will = (flags & kFlagWill) != 0;
  connect.has_user_name = (flags & kFlagUserName) != 0;
  connect.has_password = (flags & kFlagPassword) != 0;
  const int will_qos = flags >> 3 & 3;
  if ((flags & kFlagReserved) != 0 && connect.version != MqttVersion::V31) {
    return refused(progress, Reason::BadConnect, "the reserved connect flag is set");
  }
  if (will_qos == 3 || (!connect.has_will && (will_qos != 0 || (flags & kFlagWillRetain) != 0))) {
    return refused(progress, Reason::BadConnect, "the will flags contradict each other");
  }
  if (!v5 && connect.has_password && !connect.has_user_name) {
    return refused(progress, Reason::BadConnect, "a password without a user name");
  }
  if (connect.has_will) {
    if (v5) at.properties();
    at.text();
    at.data();
  }
  if (connect.has_user_name) connect.user_name = at.text();
  if (connect.has_password) at.data();
  if (!at.good()) return refused(progress, Reason::BadConnect, "a field is malformed or runs past the packet");
  if (at.left() != 0) return refused(progress, Reason::BadConnect, "there are bytes behind the last field");
  progress.state = ConnectProgress::State::Complete;
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
  std::span<const std::uint8_t> body = bytes.subspan(1 + length_bytes);
  body = body.first(std::min(body.size(), length));
  bool version = false;
  if (!read_version(body, progress, version)) {
    return refused(progress, Reason::NotMqtt, "the protocol name or level is none of MQTT 3.1, 3.1.1 and 5");
  }
  if (packet > max_bytes) {
    progress.answered = version && progress.connect.version == MqttVersion::V5;
    return refused(progress, Reason::BadConnect, "the CONNECT is larger than max_connect_size");
  }
  if (body.size() < length) return progress;
  if (!version) return refused(progress, Reason::BadConnect, "the CONNECT is too short");
  progress.connect.packet_bytes = packet;
  return parse_body(body, progress);
}

std::size_t write_connack_refusal(MqttVersion version, Reason reason, std::span<std::uint8_t> out) {
  const bool v5 = version == MqttVersion::V5;
  const Connack own = row_of(reason).connack;
  const Connack connack = own.v5 == 0 ? kNotAuthorized : own;
  const std::uint8_t code = v5 ? connack.v5 : connack.v311;
  const std::uint8_t packet[] = {0x20, static_cast<std::uint8_t>(v5 ? 3 : 2), 0x00, code, 0x00};
  const std::size_t size = v5 ? 5 : 4;
  CHECK(out.size() >= size);
  std::memcpy(out.data(), packet, size);
  return size;
}

}  // namespace sallyport
