#include "proxy/mqtt/mqtt_properties.h"

#include "proxy/mqtt/packet_reader.h"

namespace sallyport {

namespace {

enum class Holds : std::uint8_t { Nothing, Byte, TwoBytes, FourBytes, Data, Text, TwoTexts };
enum class Asks : std::uint8_t { Nothing, NotZero, ZeroOrOne, TopicName };

// Table 2-4, the rows that name CONNECT or Will Properties; what the value has to be, where a section calls anything
// else a protocol error.
struct Kind {
  std::uint8_t id = 0;
  Holds holds = Holds::Nothing;
  bool of_connect = false, of_will = false;
  Asks asks = Asks::Nothing;
};
constexpr std::uint8_t kAuthenticationMethod = 0x15, kAuthenticationData = 0x16;
constexpr Kind kKinds[] = {
    {0x01, Holds::Byte, false, true},                      // payload format indicator
    {0x02, Holds::FourBytes, false, true},                 // message expiry interval
    {0x03, Holds::Text, false, true},                      // content type
    {0x08, Holds::Text, false, true, Asks::TopicName},     // response topic: 3.1.3.2.6
    {0x09, Holds::Data, false, true},                      // correlation data
    {0x11, Holds::FourBytes, true, false},                 // session expiry interval
    {kAuthenticationMethod, Holds::Text, true, false},     //
    {kAuthenticationData, Holds::Data, true, false},       //
    {0x17, Holds::Byte, true, false, Asks::ZeroOrOne},     // request problem information: 3.1.2.11.7
    {0x18, Holds::FourBytes, false, true},                 // will delay interval
    {0x19, Holds::Byte, true, false, Asks::ZeroOrOne},     // request response information: 3.1.2.11.6
    {0x21, Holds::TwoBytes, true, false, Asks::NotZero},   // receive maximum: 3.1.2.11.3
    {0x22, Holds::TwoBytes, true, false},                  // topic alias maximum
    {kUserProperty, Holds::TwoTexts, true, true},          //
    {0x27, Holds::FourBytes, true, false, Asks::NotZero},  // maximum packet size: 3.1.2.11.4
};

constexpr std::size_t kIds = 0x28;
struct ById {
  Kind kinds[kIds];
};
constexpr ById by_id() {
  ById all{};
  for (const Kind& kind : kKinds) all.kinds[kind.id] = kind;
  return all;
}
constexpr ById kById = by_id();

const Kind& kind_of(std::uint8_t id) {
  return kById.kinds[id < kIds ? id : 0];  // no property has the identifier 0
}

bool is_topic_name(std::string_view text) {
  return !text.empty() && text.find_first_of("+#") == std::string_view::npos;
}

// The value behind an identifier. False: it is not what the standard asks for.
bool read_value(PacketReader& at, const Kind& kind, Property& property) {
  const auto fits = [&](std::uint32_t value) {
    return (kind.asks != Asks::NotZero || value != 0) && (kind.asks != Asks::ZeroOrOne || value <= 1);
  };
  switch (kind.holds) {
    case Holds::Nothing: return false;
    case Holds::Byte: return fits(at.byte());
    case Holds::TwoBytes: return fits(at.two_bytes());
    case Holds::FourBytes: return fits(at.four_bytes());
    case Holds::Data: return at.data(), true;
    case Holds::Text: {
      const std::string_view text = at.text();
      return kind.asks != Asks::TopicName || is_topic_name(text);
    }
    case Holds::TwoTexts: return property.name = at.text(), at.text(), true;
  }
  return false;
}

}  // namespace

PropertiesFlaw check_properties(PropertiesOf where, std::string_view properties) {
  std::uint64_t seen = 0;
  PacketReader at(properties);
  while (!at.empty()) {
    // Identifiers are variable byte integers, and all that exist take one byte.
    const std::uint8_t id = at.byte();
    const Kind& kind = kind_of(id);
    if (!(where == PropertiesOf::Connect ? kind.of_connect : kind.of_will)) {
      return {kMalformedPacket, "a property that has no place here (MQTT 5.0, 2.2.2.2)"};
    }
    Property property;
    const bool fits = read_value(at, kind, property);
    if (!at.good()) return {kMalformedPacket, "a property is malformed"};
    const std::uint64_t bit = std::uint64_t{1} << id;
    if ((seen & bit) != 0 && id != kUserProperty) return {kProtocolError, "a property comes twice"};
    if (!fits) return {kProtocolError, "a property has a value that is not allowed"};
    seen |= bit;
  }
  const auto has = [&](std::uint8_t id) { return (seen >> id & 1) != 0; };
  if (has(kAuthenticationData) && !has(kAuthenticationMethod)) {
    return {kProtocolError, "authentication data without a method"};
  }
  return {};
}

bool take_property(std::string_view& rest, Property& property) {
  PacketReader at(rest);
  property = {at.byte(), {}, {}};
  read_value(at, kind_of(property.id), property);
  if (!at.good() || rest.empty()) return false;
  property.whole = rest.substr(0, rest.size() - at.rest().size());
  rest = at.rest();
  return true;
}

}  // namespace sallyport
