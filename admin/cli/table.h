// Rows and columns for a person. Values are escaped: a name in a certificate cannot steer the terminal.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace sallyport {

class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void add(std::vector<std::string> row);
  void print(std::ostream& out);
  // Prints what has been added since, as wide as the columns were at first: the first page of a long list shows before
  // the last one has come.
  void print_page(std::ostream& out);

 private:
  std::vector<std::vector<std::string>> rows_;  // the first is the header
  std::vector<std::size_t> widths_;
};

// "name  value" lines, for one object.
void print_pairs(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& pairs);

}  // namespace sallyport
