#include "proxy/mqtt/mqtt_connack.h"

#include <algorithm>
#include <array>

namespace sallyport {

namespace {

constexpr std::uint8_t kConnack = 0x20, kAuth = 0xF0;
constexpr std::uint8_t kUnavailable = 0x03;                                   // 3.1 and 3.1.1
constexpr std::array<std::uint8_t, 4> kElsewhere = {0x88, 0x89, 0x9C, 0x9D};  // 5: unavailable, busy, another, moved

}  // namespace

BrokerWord broker_word(MqttVersion version, std::span<const std::uint8_t> said) {
  if (said.empty()) return BrokerWord::NeedMore;
  if (said[0] == kAuth && version == MqttVersion::V5) return BrokerWord::Spoken;
  if (said[0] != kConnack) return BrokerWord::NotMqtt;
  std::size_t at = 1, length = 0;
  for (int shift = 0;; shift += 7) {
    if (at == said.size()) return BrokerWord::NeedMore;
    const std::uint8_t digit = said[at++];
    length |= static_cast<std::size_t>(digit & 0x7F) << shift;
    if ((digit & 0x80) == 0) break;
    if (shift == 21) return BrokerWord::NotMqtt;  // a length has at most four bytes
  }
  if (length < 2) return BrokerWord::NotMqtt;
  if (said.size() < at + 2) return BrokerWord::NeedMore;
  const std::uint8_t code = said[at + 1];
  // A broker that knows no MQTT 5 answers a CONNECT of it in its own dialect, whose CONNACK has two bytes.
  const bool of_3 = version != MqttVersion::V5 || length == 2;
  const bool elsewhere =
      of_3 ? code == kUnavailable : std::find(kElsewhere.begin(), kElsewhere.end(), code) != kElsewhere.end();
  return elsewhere ? BrokerWord::Unavailable : BrokerWord::Spoken;
}

}  // namespace sallyport
