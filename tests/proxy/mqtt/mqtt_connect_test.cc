// The first packet: MQTT 3.1, 3.1.1 and 5, what they call malformed, and that a packet is judged the same
// however it is cut.
#include "proxy/mqtt/mqtt_connect.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sallyport {
namespace {

using State = ConnectProgress::State;
using namespace std::string_literals;

std::string field(const std::string& text) {
  return std::string{static_cast<char>(text.size() >> 8), static_cast<char>(text.size() & 0xFF)} + text;
}

std::string packet(const std::string& body, char first = 0x10) {
  std::string out(1, first);
  std::size_t n = body.size();
  do {
    out += static_cast<char>(n % 128 | (n > 127 ? 0x80 : 0));
    n /= 128;
  } while (n > 0);
  return out + body;
}

std::string head(const std::string& name, int level, int flags) {
  return field(name) + std::string{static_cast<char>(level), static_cast<char>(flags), 0, 60};
}

ConnectProgress parse(const std::string& bytes, std::size_t max = 64 * 1024) {
  return parse_connect({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, max);
}

TEST(MqttConnect, TheThreeDialects) {
  const auto v31 = parse(packet(head("MQIsdp", 3, 0x02) + field("c")));
  ASSERT_EQ(v31.state, State::Complete);
  EXPECT_EQ(v31.connect.version, MqttVersion::V31);
  const std::string bytes = packet(head("MQTT", 4, 0xC2) + field("client-1") + field("user") + field("secret"));
  const auto v311 = parse(bytes);
  ASSERT_EQ(v311.state, State::Complete);
  EXPECT_EQ(v311.connect.version, MqttVersion::V311);
  EXPECT_EQ(v311.connect.client_id, "client-1");
  EXPECT_EQ(v311.connect.user_name, "user");
  EXPECT_TRUE(v311.connect.has_password);
  EXPECT_TRUE(v311.connect.clean);
  EXPECT_EQ(v311.connect.keep_alive, 60);
  EXPECT_EQ(v311.connect.packet_bytes, bytes.size());
  const auto v5 =
      parse(packet(head("MQTT", 5, 0x06) + "\x05\x11\0\0\0\x0A"s + field("c") + "\0"s + field("w") + field("bye")));
  ASSERT_EQ(v5.state, State::Complete) << v5.what;
  EXPECT_EQ(v5.connect.version, MqttVersion::V5);
  EXPECT_TRUE(v5.connect.has_will);
  // MQTT 5 allows a password without a user name (3.1.2.9), and an empty client id.
  EXPECT_EQ(parse(packet(head("MQTT", 5, 0x40) + "\0"s + field("") + field("p"))).state, State::Complete);
}

TEST(MqttConnect, WhatIsNotMqttIsKnownFromItsFirstBytes) {
  for (const std::string& bytes :
       {"GET / HTTP/1.1\r\n"s, "\x16\x03\x01"s, packet(head("MQTT", 4, 2) + field("c"), 0x30), "\x11"s,
        "\x10\xFF\xFF\xFF\xFF\x01"s, packet(head("MQTX", 4, 2) + field("c")), packet(head("MQTT", 6, 2) + field("c")),
        packet(head("MQIsdp", 4, 2) + field("c")), "\x10\x20\0\x04HTTP"s}) {
    const auto progress = parse(bytes);
    EXPECT_EQ(progress.state, State::Refused) << bytes;
    EXPECT_EQ(progress.reason, Reason::NotMqtt) << bytes;
  }
}

// Who speaks MQTT of another level is told so in the words of 3.1.1 (3.1.2.2 there); who sends too much, in those of 5.
TEST(MqttConnect, OnlyWhatMqttHasAnAnswerForIsAnswered) {
  for (const auto& [name, level] : {std::pair("MQTT", 6), std::pair("MQTT", 3), std::pair("MQIsdp", 4)}) {
    const auto progress = parse(packet(head(name, static_cast<std::uint8_t>(level), 2) + field("c")));
    EXPECT_EQ(progress.reason, Reason::NotMqtt) << name << level;
    EXPECT_EQ(progress.connack, 0x01) << name << level;
    EXPECT_EQ(progress.connect.version, MqttVersion::V311);
  }
  EXPECT_EQ(parse(packet(head("MQTX", 4, 2) + field("c"))).connack, 0);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\n"s).connack, 0);
  const std::string large = field(std::string(2000, 'c'));
  EXPECT_EQ(parse(packet(head("MQTT", 5, 2) + "\0"s + large), 1024).connack, 0x95);
  EXPECT_EQ(parse(packet(head("MQTT", 4, 2) + large), 1024).connack, 0);
  EXPECT_EQ(parse(packet(head("MQTT", 5, 2) + "\0"s + large).substr(0, 9), 1024).state, State::NeedMore)
      << "its level is not known";
  EXPECT_EQ(parse(packet(head("MQTT", 5, 2) + "\0"s + large).substr(0, 10), 1024).connack, 0x95);
  EXPECT_EQ(parse(packet(head("MQTT", 5, 3) + "\0"s + field("c"))).connack, 0x81) << "malformed";
  EXPECT_EQ(parse(packet(head("MQTT", 4, 3) + field("c"))).connack, 0) << "malformed";
}

// An empty client id asks for a clean session in 3.1.1, and 3.1 has none: both have an answer. In 5 the broker gives
// one.
TEST(MqttConnect, AnEmptyClientIdNeedsACleanSession) {
  EXPECT_EQ(parse(packet(head("MQTT", 4, 2) + field(""))).state, State::Complete);
  EXPECT_EQ(parse(packet(head("MQTT", 5, 0) + "\0"s + field(""))).state, State::Complete);
  for (const auto& bytes : {packet(head("MQTT", 4, 0) + field("")), packet(head("MQIsdp", 3, 2) + field(""))}) {
    EXPECT_EQ(parse(bytes).reason, Reason::BadConnect);
    EXPECT_EQ(parse(bytes).connack, 0x02);
  }
}

// What 3.1 leaves to the length of the packet, and what its flags may say without a Will.
TEST(MqttConnect, MqttThreeOneIsMoreLenient) {
  const auto v31 = [](int flags, const std::string& rest) { return parse(packet(head("MQIsdp", 3, flags) + rest)); };
  EXPECT_EQ(v31(0x82, field("c")).state, State::Complete);
  EXPECT_FALSE(v31(0x82, field("c")).connect.has_user_name);
  const std::string bytes = packet(head("MQIsdp", 3, 0xC2) + field("c") + field("user"));
  const auto no_password = parse(bytes);
  EXPECT_EQ(no_password.state, State::Complete);
  EXPECT_EQ(no_password.connect.user_name, "user");
  EXPECT_FALSE(no_password.connect.has_password);
  EXPECT_EQ(v31(0x2B, field("c")).state, State::Complete);
  EXPECT_EQ(v31(0x42, field("c") + field("p")).state, State::Refused);
  EXPECT_EQ(v31(0x82, field("c") + "\0\5us"s).state, State::Refused);
}

// Sections 2.2.2.2, 3.1.2.11 and 3.1.3.2 of MQTT 5.
TEST(MqttConnect, PropertiesAreChecked) {
  const auto with = [](const std::string& properties, const std::string& of_will = "") {
    return parse(packet(head("MQTT", 5, 0x06) + std::string(1, static_cast<char>(properties.size())) + properties +
                        field("c") + std::string(1, static_cast<char>(of_will.size())) + of_will + field("w") +
                        field("bye")));
  };
  const std::string user = "\x26" + field("name") + field("value");
  EXPECT_EQ(with("\x11\0\0\0\1"s + "\x21\0\1"s + "\x27\0\0\0\1"s + "\x22\0\0"s + "\x19\1"s + "\x17\1"s + "\x15" +
                     field("method") + "\x16" + field("\xff") + user + user,
                 "\x18\0\0\0\1"s + "\x01\1"s + "\x02\0\0\0\0"s + "\x03" + field("type") + "\x08" + field("t") + "\x09" +
                     field("\xff") + user + user)
                .state,
            State::Complete);
  const std::pair<std::string, int> refused[] = {{"\x05\0"s, 0x81},           {"\x7F"s, 0x81},
                                                 {"\x80\1"s, 0x81},           {"\0"s, 0x81},
                                                 {"\x18\0\0\0\1"s, 0x81},     {"\x01\1"s, 0x81},
                                                 {"\x11\0\0\0"s, 0x81},       {"\x15\0\1\0"s, 0x81},
                                                 {"\x26" + field("a"), 0x81}, {"\x22\0\1\x22\0\1"s, 0x82},
                                                 {"\x21\0\0"s, 0x82},         {"\x27\0\0\0\0"s, 0x82},
                                                 {"\x19\2"s, 0x82},           {"\x17\2"s, 0x82},
                                                 {"\x16\0\0"s, 0x82}};
  for (const auto& [properties, code] : refused) {
    EXPECT_EQ(with(properties).state, State::Refused) << testing::PrintToString(properties);
    EXPECT_EQ(with(properties).connack, code) << testing::PrintToString(properties);
  }
  EXPECT_EQ(with("", "\x11\0\0\0\1"s).connack, 0x81);
  EXPECT_EQ(with("", "\x01\1\x01\1"s).connack, 0x82);
  EXPECT_EQ(with("", "\x08" + field("a/#")).connack, 0x82);
  EXPECT_EQ(parse(packet(head("MQTT", 5, 2) + "\x80\0"s + field("c"))).connack, 0x81) << "a longer length than needed";
  EXPECT_EQ(parse("\x10\x8E\0"s + head("MQTT", 5, 2) + "\0"s + field("c")).connack, 0x81);
}

TEST(MqttConnect, TheTopicOfAWillIsATopicName) {
  for (const std::string topic : {"", "a/+", "#"}) {
    const auto v5 = parse(packet(head("MQTT", 5, 6) + "\0"s + field("c") + "\0"s + field(topic) + field("x")));
    EXPECT_EQ(v5.connack, 0x90) << topic;
    EXPECT_EQ(parse(packet(head("MQTT", 4, 6) + field("c") + field(topic) + field("x"))).state, State::Refused)
        << topic;
  }
}

TEST(MqttConnect, WhatTheStandardsCallMalformed) {
  const std::string good = head("MQTT", 4, 2) + field("c");
  for (const std::string& body :
       {head("MQTT", 4, 0x03) + field("c"),                            // reserved flag, 3.1.2.3
        head("MQTT", 4, 0x1E) + field("c") + field("w") + field("m"),  // will QoS 3, 3.1.2.6
        head("MQTT", 4, 0x0A) + field("c"),                            // will QoS without a will
        head("MQTT", 4, 0x22) + field("c"),                            // will retain without a will
        head("MQTT", 4, 0x42) + field("c") + field("p"),               // password without user name, 3.1.2.9
        good + "x",                                                    // bytes behind the last field
        head("MQTT", 4, 2) + "\0\x09short"s,                           // runs past the packet
        head("MQTT", 4, 2) + field("a\0b"s), head("MQTT", 4, 2) + field("\xC0\x80"),  // U+0000, overlong UTF-8
        head("MQTT", 4, 2) + field("\xED\xA0\x80"),                                   // a surrogate
        head("MQTT", 5, 2) + "\xFF\xFF\xFF\xFF\x01"s + field("c"), "\0\x04MQTT\x04"s}) {
    const auto progress = parse(packet(body));
    EXPECT_EQ(progress.state, State::Refused);
    EXPECT_EQ(progress.reason, Reason::BadConnect) << progress.what;
  }
}

TEST(MqttConnect, AnEndlessConnectIsRefusedBeforeItIsCollected) {
  const std::string bytes = packet(head("MQTT", 4, 2) + field(std::string(60'000, 'c')));
  EXPECT_EQ(parse(bytes).state, State::Complete);
  EXPECT_EQ(parse(bytes, 1024).reason, Reason::BadConnect);
  EXPECT_EQ(parse(bytes.substr(0, 12), 1024).reason, Reason::BadConnect);
  EXPECT_EQ(parse(bytes, bytes.size()).state, State::Complete);
  EXPECT_EQ(parse(bytes, bytes.size() - 1).state, State::Refused);
}

TEST(MqttConnect, EveryPrefixNeedsMoreAndMoreBytesChangeNothing) {
  const std::string bytes = packet(head("MQTT", 5, 0xC6) + "\x05\x11\0\0\0\x0A"s + field("c") + "\0"s + field("w") +
                                   field("bye") + field("user") + field("password"));
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(parse(bytes.substr(0, n)).state, State::NeedMore) << n;
  }
  const auto pipelined = parse(bytes + "\xC0\0"s);
  EXPECT_EQ(pipelined.state, State::Complete);
  EXPECT_EQ(pipelined.connect.packet_bytes, bytes.size());
}

TEST(MqttConnect, RefusalsSpeakTheClientsDialect) {
  std::uint8_t out[8];
  EXPECT_EQ(write_connack_refusal(MqttVersion::V311, Reason::BrokerUnavailable, out), 4U);
  EXPECT_EQ(std::vector<int>(out, out + 4), (std::vector<int>{0x20, 2, 0, 3}));
  EXPECT_EQ(write_connack_refusal(MqttVersion::V5, Reason::BrokerUnavailable, out), 5U);
  EXPECT_EQ(std::vector<int>(out, out + 5), (std::vector<int>{0x20, 3, 0, 0x88, 0}));
  write_connack_refusal(MqttVersion::V31, Reason::DevicePending, out);
  EXPECT_EQ(out[3], 5);
  write_connack_refusal(MqttVersion::V5, Reason::DevicePending, out);
  EXPECT_EQ(out[3], 0x87);
  write_connack_refusal(MqttVersion::V311, Reason::ClientIdMismatch, out);
  EXPECT_EQ(out[3], 2);
}

// MQTT 3.1.1 has five codes that refuse (section 3.2.2.3); those of MQTT 5 begin at 0x80 (section 3.2.2.2).
TEST(MqttConnect, EveryReasonIsRefusedWithTheCodeOfItsRow) {
  std::uint8_t out[8];
  EXPECT_EQ(write_connack_refusal(MqttVersion::V311, Reason::BadConnect, out), 0U) << "code 0 lets the client in";
  for (const ReasonRow& row : kReasons) {
    const Connack codes = row.connack.v5 == 0 ? kNotAuthorized : row.connack;
    if (row.reason != Reason::BadConnect) {  // 3.1.1 has no code for it, and nothing is said
      EXPECT_EQ(row.connack.v311 == 0, row.connack.v5 == 0) << row.name;
      write_connack_refusal(MqttVersion::V311, row.reason, out);
      EXPECT_EQ(out[3], codes.v311) << row.name;
      EXPECT_TRUE(out[3] >= 1 && out[3] <= 5) << row.name;
    }
    write_connack_refusal(MqttVersion::V5, row.reason, out);
    EXPECT_EQ(out[3], codes.v5) << row.name;
    EXPECT_GE(out[3], 0x80) << row.name;
  }
}

}  // namespace
}  // namespace sallyport
