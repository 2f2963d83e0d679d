// A CONNECT written anew: byte for byte what an encoder of its own, below, makes of the same fields, for every
// combination of dialect, flags and changes; and what may not be written.
#include "proxy/mqtt/connect_rewrite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace sallyport {
namespace {

using namespace std::string_literals;

// All that a CONNECT says. The encoder follows the text of the standards and shares nothing with the parser.
struct Fields {
  int level = 4;
  bool clean = true;
  int keep_alive = 60;
  std::vector<std::pair<std::string, std::string>> user_properties;
  std::string other_properties;  // encoded
  std::string client_id = "client";
  bool will = false, will_retain = false;
  int will_qos = 0;
  std::string will_properties, will_topic = "t", will_payload;
  bool has_user_name = false, has_password = false;
  std::string user_name, password;
};

std::string number(std::size_t n) {
  std::string out;
  while (n >= 128) {
    out += static_cast<char>(n % 128 + 128);
    n /= 128;
  }
  return out + static_cast<char>(n);
}

std::string text(const std::string& value) {
  return std::string{static_cast<char>(value.size() / 256), static_cast<char>(value.size() % 256)} + value;
}

std::string encode(const Fields& fields) {
  std::string body = text(fields.level == 3 ? "MQIsdp" : "MQTT");
  body += static_cast<char>(fields.level);
  int flags = fields.clean ? 2 : 0;
  if (fields.will) flags += 4 + 8 * fields.will_qos + (fields.will_retain ? 32 : 0);
  if (fields.has_password) flags += 64;
  if (fields.has_user_name) flags += 128;
  body += static_cast<char>(flags);
  body += static_cast<char>(fields.keep_alive / 256);
  body += static_cast<char>(fields.keep_alive % 256);
  if (fields.level == 5) {
    std::string properties = fields.other_properties;
    for (const auto& [name, value] : fields.user_properties) properties += '\x26' + text(name) + text(value);
    body += number(properties.size()) + properties;
  }
  body += text(fields.client_id);
  if (fields.will) {
    if (fields.level == 5) body += number(fields.will_properties.size()) + fields.will_properties;
    body += text(fields.will_topic) + text(fields.will_payload);
  }
  if (fields.has_user_name) body += text(fields.user_name);
  if (fields.has_password) body += text(fields.password);
  return '\x10' + number(body.size()) + body;
}

ConnectProgress parse(const std::string& bytes) {
  return parse_connect({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, kMostOfPacket + 5);
}

std::string rewritten(const std::string& bytes, const ConnectChanges& changes) {
  const ConnectProgress progress = parse(bytes);
  EXPECT_EQ(progress.state, ConnectProgress::State::Complete) << progress.what;
  const auto size = rewritten_bytes(progress.connect, changes);
  if (!size) return "does not fit";
  std::vector<std::uint8_t> out(*size);
  write_rewritten(progress.connect, changes, out);
  return {out.begin(), out.end()};
}

constexpr std::string_view kDevice = "sallyport-device", kCn = "sallyport-cn";

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return random_() % n; }
  bool coin() { return below(2) == 1; }
  std::string some(std::size_t most) { return std::string(below(most + 1), static_cast<char>('a' + below(26))); }
  // Lengths around which an encoding takes one byte more.
  std::string around() {
    constexpr std::size_t kEdges[] = {0, 1, 100, 127, 128, 16'300, 16'383, 16'384, 65'535};
    return std::string(kEdges[below(std::size(kEdges))], 'e');
  }
  Fields fields() {
    Fields made;
    made.level = static_cast<int>(3 + below(3));
    made.clean = coin();
    made.keep_alive = static_cast<int>(below(65'536));
    made.client_id = "c" + some(40);
    made.will = coin();
    made.will_retain = coin();
    made.will_qos = static_cast<int>(below(3));
    made.will_topic = "t" + some(20);
    made.will_payload = coin() ? around() : some(10);
    made.has_user_name = coin();
    made.has_password = coin() && (made.has_user_name || made.level == 5);
    made.user_name = coin() ? around() : some(10);
    made.password = coin() ? around() : "\0\xff"s;
    if (coin()) made.will_properties = "\x18\0\0\0\1"s + "\x26" + text("sallyport-cn") + text("kept: it is the Will's");
    if (coin()) made.other_properties = "\x11\0\0\0\1"s + "\x21\0\1"s;
    for (std::size_t n = below(5); n > 0; --n) {
      const std::string names[] = {std::string(kDevice), std::string(kCn), "sallyport-ca", "site", "Sallyport-CN", ""};
      made.user_properties.emplace_back(names[below(std::size(names))], some(30));
    }
    return made;
  }

 private:
  std::mt19937 random_;
};

TEST(ConnectRewrite, EveryCombinationIsWhatAnotherEncoderMakesOfIt) {
  Draw draw(19);
  for (int run = 0; run < 20'000; ++run) {
    const Fields said = draw.fields();
    Fields wanted = said;
    ConnectChanges changes;
    const std::string user_name = draw.coin() ? draw.around() : "meter-7",
                      client_id = draw.coin() ? draw.around() : "m";
    if (draw.coin()) {
      changes.user_name = user_name;
      wanted.has_user_name = true;
      wanted.user_name = user_name;
      wanted.has_password = false;
    }
    if (draw.coin()) {
      changes.client_id = client_id;
      wanted.client_id = client_id;
    }
    const UserProperty ours[] = {{kDevice, "ab12"}, {kCn, draw.coin() ? "meter-7" : ""}};
    if (draw.coin()) {
      changes.user_properties = ours;
      std::erase_if(wanted.user_properties,
                    [](const auto& each) { return each.first == kDevice || each.first == kCn; });
      wanted.user_properties.emplace_back(kDevice, "ab12");
      if (!ours[1].value.empty()) wanted.user_properties.emplace_back(kCn, "meter-7");
    }
    ASSERT_EQ(rewritten(encode(said), changes), encode(wanted)) << "run " << run << ", level " << said.level;
  }
}

TEST(ConnectRewrite, NothingToChangeChangesNothing) {
  Draw draw(7);
  for (int run = 0; run < 1'000; ++run) {
    const std::string bytes = encode(draw.fields());
    ASSERT_EQ(rewritten(bytes, {}), bytes);
  }
}

// Clients of 3.1 announce a user name or a password that is not there: the flags are put right.
TEST(ConnectRewrite, FlagsSayWhatIsThere) {
  Fields fields;
  fields.level = 3;
  std::string announced = encode(fields);
  announced[2 + 9] = static_cast<char>(0xC2);
  EXPECT_EQ(rewritten(announced, {}), encode(fields));
  ConnectChanges changes;
  changes.user_name = "meter-7";
  fields.has_user_name = true;
  fields.user_name = "meter-7";
  EXPECT_EQ(rewritten(announced, changes), encode(fields));
}

TEST(ConnectRewrite, WhatNoLengthCanSayIsNotWritten) {
  const std::string bytes = encode({});
  const std::string longest(65'535, 'x'), longer(65'536, 'x');
  ConnectChanges changes;
  changes.user_name = longest;
  EXPECT_NE(rewritten(bytes, changes), "does not fit");
  changes.user_name = longer;
  EXPECT_EQ(rewritten(bytes, changes), "does not fit");
  changes = {};
  changes.client_id = longer;
  EXPECT_EQ(rewritten(bytes, changes), "does not fit");
  changes = {};
  const UserProperty property[] = {{"name", longer}};
  changes.user_properties = property;
  Fields v5;
  v5.level = 5;
  EXPECT_EQ(rewritten(encode(v5), changes), "does not fit");
}

// The remaining length has four digits of seven bits. So many bytes are never parsed here: the packet is only claimed.
TEST(ConnectRewrite, ThePacketMayNotBeLargerThanMqttAllows) {
  MqttConnect connect;
  connect.version = MqttVersion::V5;
  connect.protocol = std::string_view("\0\4MQTT\5", 7);
  connect.client_id = "c";
  const std::size_t head = 7 + 1 + 2 + 3 + 4;  // flags, keep alive, client id, the length of the properties
  // Views of a size that is never read.
  connect.properties = {connect.protocol.data(), kMostOfPacket - head};
  EXPECT_EQ(rewritten_bytes(connect, {}), 1 + 4 + kMostOfPacket);
  ConnectChanges changes;
  changes.client_id = "cc";
  EXPECT_EQ(rewritten_bytes(connect, changes), std::nullopt);
}

}  // namespace
}  // namespace sallyport
