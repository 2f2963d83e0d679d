#include "admin/cli/table.h"

#include <algorithm>

#include "cache/base/text.h"

namespace sallyport {

namespace {

// Columns a terminal uses for it: one for each UTF-8 sequence.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void pad(std::ostream& out, const std::string& text, std::size_t columns) {
  out << text << std::string(columns > width(text) ? columns - width(text) : 0, ' ');
}

}  // namespace

Table::Table(std::vector<std::string> header) {
  add(std::move(header));
}

void Table::add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = escaped(cell);
  rows_.push_back(std::move(row));
}

void Table::print(std::ostream& out) {
  print_page(out);
}

void Table::print_page(std::ostream& out) {
  if (widths_.empty()) {
    widths_.resize(rows_.front().size());
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], width(row[i]));
    }
  }
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i + 1 == row.size()) {
        out << row[i];
      } else {
        pad(out, row[i], widths_[i] + 2);
      }
    }
    out << '\n';
  }
  out.flush();
  rows_.clear();
}

void print_pairs(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::size_t widest = 0;
  for (const auto& [name, value] : pairs) widest = std::max(widest, width(name));
  for (const auto& [name, value] : pairs) {
    pad(out, name, widest + 2);
    out << escaped(value) << '\n';
  }
}

}  // namespace sallyport
