// Bytes on their way: their order, and the memory given back.
#include "proxy/io/byte_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "proxy/io/receive_memory.h"

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

// proxy/io/README.md: where in its page a buffer begins.
TEST(ReceiveMemory, BeginsInTheMiddleOfAPage) {
  for (const std::size_t bytes : {1UL, 4096UL, 100'000UL}) {
    const ReceiveMemory memory(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 4096, 2048U);
    std::memset(memory.data(), 1, bytes);
  }
}

TEST(ByteBuffer, OneThatHoldsNothingIsOneNullPointer) {
  EXPECT_EQ(sizeof(ByteBuffer), sizeof(void*));
  ByteBuffer buffer, other;
  EXPECT_EQ(buffer.size(), 0U);
  EXPECT_TRUE(buffer.empty() && buffer.bytes().empty() && buffer.prepare(0).empty());
  buffer.commit(0);
  buffer.consume(0);
  buffer.keep_first(0);
  buffer.trim();
  EXPECT_EQ(buffer.capacity(), 0U);
  EXPECT_GE(buffer.prepare(960).size(), 960U);
  EXPECT_EQ(buffer.capacity(), 1024U) << "its header is counted";
  EXPECT_EQ(buffer.prepare(961).size(), 2048U - 64);
  buffer.commit(3);
  other.swap(buffer);
  EXPECT_EQ(buffer.capacity(), 0U);
  EXPECT_EQ(other.size(), 3U);
  other.keep_first(0);
  EXPECT_EQ(other.capacity(), 0U) << "what holds nothing keeps no memory";
}

}  // namespace
}  // namespace sallyport
