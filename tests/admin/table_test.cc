// Tables for a person: ids as short as tells them apart, columns that fit a terminal, colours only where they may be.
#include "admin/cli/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace sallyport {
namespace {

const std::string kOne(64, 'a');
const std::string kTwo = std::string(15, 'a') + std::string(49, 'b');

std::string printed(Table& table) {
  std::ostringstream out;
  table.print_page(out);
  return out.str();
}

TEST(Table, IdsAreAsShortAsTellsThemApart) {
  Table table({"ID", "CN"}, {});
  table.ids(0);
  table.add({std::string(64, 'c'), "c"});
  EXPECT_EQ(printed(table), "ID            CN\n" + std::string(12, 'c') + "  c\n");
  table.add({kOne, "one"});
  table.add({kTwo, "two"});
  table.add({kTwo, "two again"});
  EXPECT_EQ(printed(table), std::string(16, 'a') + "  one\n" + std::string(15, 'a') + "b  two\n" +
                                std::string(15, 'a') + "b  two again\n");
  table.add({"-", "none"});
  EXPECT_EQ(printed(table), "-             none\n");
}

TEST(Table, WithoutATerminalNothingIsCut) {
  Table table({"A", "B"}, {});
  table.add({std::string(500, 'x'), "active"});
  const std::string text = printed(table);
  EXPECT_NE(text.find(std::string(500, 'x') + "  active\n"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Table, FitsTheTerminalAndKeepsIdsWhole) {
  Table table({"ID", "SUBJECT", "WHAT"}, {.columns = 60});
  table.ids(0);
  table.add({kOne, std::string(100, 's'), "ä" + std::string(80, 'w')});
  std::istringstream lines(printed(table));
  std::string header, row;
  ASSERT_TRUE(std::getline(lines, header) && std::getline(lines, row));
  const auto columns = std::count_if(row.begin(), row.end(), [](char c) { return (c & 0xC0) != 0x80; });
  EXPECT_EQ(columns, 60) << row;
  EXPECT_EQ(row.substr(0, 14), std::string(12, 'a') + "  ");
  EXPECT_NE(row.find("s…  ä"), std::string::npos) << row;
}

TEST(Table, ATerminalTooNarrowGetsWhatThereIs) {
  Table table({"ID", "CN"}, {.columns = 5});
  table.ids(0);
  table.add({kOne, "a name"});
  EXPECT_NE(printed(table).find(std::string(12, 'a') + "  a name"), std::string::npos);
}

TEST(Table, AStatusHasAColourAndItsColumnTheSameWidth) {
  Table plain({"STATUS", "CN"}, {}), coloured({"STATUS", "CN"}, {.colours = true});
  for (Table* each : {&plain, &coloured}) {
    each->add({"revoked", "active"});
    each->add({"pending", "x"});
  }
  const std::string text = printed(coloured);
  EXPECT_NE(text.find(std::string(kRed) + "revoked" + std::string(kPlain) + "  " + std::string(kGreen) + "active"),
            std::string::npos);
  std::string without = text;
  for (const std::string_view code : {kRed, kGreen, kYellow, kBold, kPlain}) {
    for (std::size_t at; (at = without.find(code)) != std::string::npos;) without.erase(at, code.size());
  }
  EXPECT_EQ(without, printed(plain));
}

TEST(Table, ANameCannotSteerATerminal) {
  Table table({"CN"}, {.columns = 80, .colours = true});
  table.add({"\x1b[31mred"});
  EXPECT_NE(printed(table).find("\\x1b[31mred"), std::string::npos);
}

}  // namespace
}  // namespace sallyport
