// What a broker's first bytes say, whole and in pieces.
#include "proxy/mqtt/mqtt_connack.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport {
namespace {

BrokerWord word(MqttVersion version, const std::string& said) {
  return broker_word(version, {reinterpret_cast<const std::uint8_t*>(said.data()), said.size()});
}

struct Row {
  MqttVersion version;
  std::string said;
  BrokerWord says;
};

TEST(BrokerWord, WhatItsFirstBytesSay) {
  using enum MqttVersion;
  using enum BrokerWord;
  const Row rows[] = {
      {V311, std::string("\x20\x02\0\0", 4), Spoken},
      {V311, std::string("\x20\x02\x01\0", 4), Spoken},
      {V31, std::string("\x20\x02\0\x03", 4), Unavailable},
      {V311, std::string("\x20\x02\0\x03", 4), Unavailable},
      {V311, std::string("\x20\x02\0\x01", 4), Spoken},
      {V311, std::string("\x20\x02\0\x05", 4), Spoken},
      {V5, std::string("\x20\x03\0\0\0", 5), Spoken},
      {V5, std::string("\x20\x03\0\x87\0", 5), Spoken},
      {V5, std::string("\x20\x03\0\x97\0", 5), Spoken},
      {V5, std::string("\x20\x03\0\x88\0", 5), Unavailable},
      {V5, std::string("\x20\x03\0\x89\0", 5), Unavailable},
      {V5, std::string("\x20\x03\0\x9C\0", 5), Unavailable},
      {V5, std::string("\x20\x03\0\x9D\0", 5), Unavailable},
      {V5, std::string("\x20\x80\x01\0\x88", 5), Unavailable},  // a length of two bytes
      {V5, std::string("\x20\x03\0\x03\0", 5), Spoken},
      {V5, std::string("\x20\x02\0\x03", 4), Unavailable},  // a broker that knows no MQTT 5
      {V5, std::string("\x20\x02\0\x01", 4), Spoken},
      {V5, std::string("\xF0\0", 2), Spoken},
      {V311, std::string("\xF0\0", 2), NotMqtt},
      {V311, std::string("\x20\x01\0", 3), NotMqtt},
      {V311, std::string("\x20\0", 2), NotMqtt},
      {V311, std::string("\x21\x02\0\0", 4), NotMqtt},
      {V311, std::string("\x30\x02\0\0", 4), NotMqtt},
      {V311, "HTTP/1.1 400", NotMqtt},
      {V5, std::string("\x20\x80\x80\x80\x80\x01", 6), NotMqtt},
      {V5, std::string("\xE0\x01\x8B", 3), NotMqtt},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(word(row.version, row.said), row.says) << ::testing::PrintToString(row.said);
    // Until it is said, nothing is; and no later byte changes it.
    bool decided = false;
    for (std::size_t n = 0; n <= row.said.size(); ++n) {
      const BrokerWord so_far = word(row.version, row.said.substr(0, n));
      EXPECT_TRUE(so_far == row.says || (so_far == NeedMore && !decided)) << n;
      decided = decided || so_far != NeedMore;
    }
  }
}

}  // namespace
}  // namespace sallyport
