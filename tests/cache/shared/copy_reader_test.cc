// PostgreSQL's binary COPY, in whatever pieces it comes.
#include "cache/shared/copy_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace sallyport {
namespace {

const std::string kHeader("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
const std::string kTrailer("\377\377", 2);

std::string field(std::string_view text) {
  return std::string("\0\0\0", 3) + static_cast<char>(text.size()) + std::string(text);
}
const std::string kRow = std::string("\0\2", 2) + field("key") + std::string("\377\377\377\377", 4);

std::vector<std::string> read(CopyReader& reader, std::string_view bytes, std::size_t piece, bool* good) {
  std::vector<std::string> rows;
  *good = true;
  while (!bytes.empty() && *good) {
    *good = reader.feed(bytes.substr(0, piece), [&](const CopyReader::Row& row) {
      rows.push_back(std::string(row[0].value_or("null")) + "," + std::string(row[1].value_or("null")));
      return true;
    });
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return rows;
}

TEST(CopyReader, RowsComeWholeInPiecesOfAnySize) {
  const std::string all = kHeader + kRow + kRow + kTrailer;
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    CopyReader reader(2);
    bool good = false;
    EXPECT_THAT(read(reader, all, piece, &good), testing::ElementsAre("key,null", "key,null")) << piece;
    EXPECT_TRUE(good && reader.finished()) << piece;
  }
}

TEST(CopyReader, AStreamThatEndsEarlyIsNotFinished) {
  CopyReader reader(2);
  bool good = false;
  read(reader, kHeader + kRow, 7, &good);
  EXPECT_TRUE(good);
  EXPECT_FALSE(reader.finished());
}

TEST(CopyReader, WhatIsNotThisFormatIsRefused) {
  const std::string flags = kHeader.substr(0, 11) + std::string("\0\1\0\0\0\0\0\0", 8);
  const std::string long_field = std::string("\0\2", 2) + std::string("\x7f\377\377\377", 4);
  for (const std::string& bad : {std::string(19, 'x'), flags, kHeader + std::string("\0\3", 2) + field("a"),
                                 kHeader + long_field, kHeader + kTrailer + "x"}) {
    CopyReader reader(2);
    bool good = true;
    read(reader, bad, 5, &good);
    EXPECT_FALSE(good);
    EXPECT_FALSE(reader.feed(kRow, [](const CopyReader::Row&) { return true; })) << "and stays so";
  }
}

TEST(CopyReader, WhoeverTakesTheRowsCanEndIt) {
  CopyReader reader(2);
  EXPECT_FALSE(reader.feed(kHeader + kRow, [](const CopyReader::Row&) { return false; }));
}

}  // namespace
}  // namespace sallyport
