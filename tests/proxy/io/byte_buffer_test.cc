// Bytes on their way: their order, and the memory given back.
#include "proxy/io/byte_buffer.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport {
namespace {

TEST(ByteBuffer, KeepsTheOrderAndGivesItsMemoryBack) {
  ByteBuffer buffer;
  std::string expected, taken;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26));
    buffer.append({reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()});
    expected += piece;
    const std::size_t n = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(i % 61));
    taken.append(reinterpret_cast<const char*>(buffer.data()), n);
    buffer.consume(n);
  }
  taken.append(reinterpret_cast<const char*>(buffer.data()), buffer.size());
  EXPECT_EQ(taken, expected);
  EXPECT_LE(buffer.capacity(), std::max<std::size_t>(2 * buffer.size(), buffer.size() + 64 * 1024));
  buffer.consume(buffer.size());
  EXPECT_EQ(buffer.capacity(), 0U);
}

TEST(ByteBuffer, AMostlySentPieceGivesMostOfItsMemoryBack) {
  ByteBuffer buffer;
  std::string piece(132 * 1024, 'x');
  piece.back() = 'y';
  buffer.append({reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()});
  EXPECT_EQ(buffer.capacity(), 192 * 1024U);
  buffer.trim();
  EXPECT_EQ(buffer.capacity(), 192 * 1024U) << "most of it is in use";
  buffer.consume(120 * 1024);
  buffer.trim();
  EXPECT_EQ(buffer.capacity(), 16 * 1024U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(buffer.data()), buffer.size()), piece.substr(120 * 1024));
}

}  // namespace
}  // namespace sallyport
