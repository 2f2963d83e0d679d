// Rows and columns for a person. Values are escaped: a name in a certificate cannot steer the terminal. On a terminal
// the columns fit its width, and a status has a colour; elsewhere nothing is cut.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "admin/cli/say.h"

namespace sallyport {

struct TableLook {
  std::size_t columns = 0;  // of the terminal; 0: as wide as it gets
  bool colours = false;
  static TableLook of_output() { return {terminal_columns(), may_colour()}; }
};

class Table {
 public:
  explicit Table(std::vector<std::string> header, TableLook look = TableLook::of_output());
  // Cells of this column are ids: shown are as many digits, twelve at least, as tell those of a page apart.
  void ids(std::size_t column) { id_columns_.push_back(column); }
  void add(std::vector<std::string> row);
  void print(std::ostream& out);
  // Prints what has been added since, as wide as the columns were at first: the first page of a long list shows before
  // the last one has come.
  void print_page(std::ostream& out);

 private:
  void shorten_ids();
  void fit();

  const TableLook look_;
  std::vector<std::size_t> id_columns_;
  std::vector<std::vector<std::string>> rows_;  // the first is the header
  std::vector<std::size_t> widths_;
  bool header_printed_ = false;
};

// "name  value" lines, for one object.
void print_pairs(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& pairs);

}  // namespace sallyport
