// Packet boundaries in a stream, however it is cut into pieces.
#include "proxy/mqtt/mqtt_frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace sallyport::test {
namespace {

std::string packet(std::size_t length) {
  std::string bytes(1, '\x30');
  std::size_t rest = length;
  do {
    bytes += static_cast<char>((rest & 0x7F) | (rest > 0x7F ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return bytes + std::string(length, 'x');
}

std::span<const std::uint8_t> span_of(const std::string& bytes, std::size_t from, std::size_t n) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()) + from, n};
}

TEST(MqttFraming, KnowsEveryBoundaryAndTheRestOfEveryPacket) {
  std::string stream;
  std::vector<std::size_t> ends{0};
  for (const std::size_t length : std::vector<std::size_t>{0, 1, 127, 128, 16'383, 16'384, 2, 0, 0, 300}) {
    stream += packet(length);
    ends.push_back(stream.size());
  }
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    MqttFraming framing;
    EXPECT_FALSE(framing.any_packet());
    std::size_t at = 0;
    while (at < stream.size()) {
      const bool boundary = std::find(ends.begin(), ends.end(), at) != ends.end();
      ASSERT_EQ(framing.at_boundary(), boundary) << at;
      const std::size_t next = *std::lower_bound(ends.begin(), ends.end(), at);
      ASSERT_EQ(framing.rest_of_packet(span_of(stream, at, stream.size() - at)), boundary ? 0 : next - at) << at;
      const std::size_t n = std::min<std::size_t>(stream.size() - at, 1 + random() % (round % 2 == 0 ? 3 : 5000));
      framing.advance(span_of(stream, at, n));
      at += n;
    }
    EXPECT_TRUE(framing.at_boundary());
    EXPECT_TRUE(framing.any_packet());
  }
}

// Found by the fuzzer: nothing, or a length field's beginning alone, was asked about for ever.
TEST(MqttFraming, ALengthFieldThatIsCutShortHasNoRestYet) {
  MqttFraming framing;
  const std::string begun("\x30\x85\x80", 3);
  framing.advance(span_of(begun, 0, 1));
  EXPECT_EQ(framing.rest_of_packet({}), 0U);
  EXPECT_EQ(framing.rest_of_packet(span_of(begun, 1, 1)), 1U);
  EXPECT_EQ(framing.rest_of_packet(span_of(begun, 1, 2)), 2U);
}

TEST(MqttFraming, AMalformedLengthHasNoBoundaryAnyMore) {
  MqttFraming framing;
  const std::string bad("\x30\xFF\xFF\xFF\xFF\x01", 6);
  framing.advance(span_of(bad, 0, bad.size()));
  framing.advance(span_of(bad, 0, bad.size()));
  EXPECT_FALSE(framing.at_boundary());
  EXPECT_EQ(framing.rest_of_packet(span_of(bad, 0, bad.size())), 0U);
}

// Section 3.14.2: remaining length, reason code, length of the properties, 0x1C and the text, by hand.
TEST(Disconnect, SendsTheClientElsewhere) {
  std::vector<std::uint8_t> out(kMovedBytes + kLongestReference);
  const auto moved = [&](const std::string& where) {
    const std::size_t length = write_moved(MovedBy::Disconnect, where, out);
    return std::string(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length));
  };
  EXPECT_EQ(moved("b:8883"), std::string("\xE0\x0B\x9C\x09\x1C\0\x06", 7) + "b:8883");
  const std::size_t length = write_moved(MovedBy::Connack, "b:8883", out);
  EXPECT_EQ(std::string(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length)),
            std::string("\x20\x0C\0\x9C\x09\x1C\0\x06", 8) + "b:8883");
  for (const std::size_t size : {1U, 122U, 123U, 124U, 125U, 126U, 1024U}) {
    const std::string where(size, 'h'), packet = moved(where);
    EXPECT_EQ(packet.substr(packet.size() - size), where);
    MqttFraming framing;
    framing.advance(span_of(packet, 0, packet.size()));
    EXPECT_TRUE(framing.at_boundary()) << size;
    framing = {};
    framing.advance(span_of(packet, 0, packet.size() - 1));
    EXPECT_FALSE(framing.at_boundary()) << size;
    const std::size_t at = packet.find('\x9C') + 1;
    const auto first = static_cast<unsigned char>(packet[at]);
    const std::size_t properties =
        first < 128 ? first : (first & 0x7F) + 128U * static_cast<unsigned char>(packet[at + 1]);
    EXPECT_EQ(properties, size + 3);
    EXPECT_EQ(packet.size(), at + (first < 128 ? 1 : 2) + properties) << "in the fewest bytes";
  }
}

}  // namespace
}  // namespace sallyport::test
