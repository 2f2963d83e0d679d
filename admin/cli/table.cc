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

// At most so many columns, and that it was cut shows.
std::string cut_to(const std::string& text, std::size_t columns) {
  if (width(text) <= columns) return text;
  std::string kept;
  std::size_t used = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 && ++used == columns) break;
    kept += c;
  }
  return kept + "…";
}

// What is well, what wants a look and what is refused.
std::string_view colour_of(const std::string& cell) {
  const auto is_one_of = [&](std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), cell) != words.end();
  };
  if (is_one_of({"revoked", "inactive", "expired", "down", "removed"})) return kRed;
  if (is_one_of({"pending", "ejected", "drained", "unresolved"})) return kYellow;
  return is_one_of({"active", "up"}) ? kGreen : std::string_view();
}

constexpr std::size_t kShortestId = 12, kNarrowest = 8, kBetween = 2;

}  // namespace

Table::Table(std::vector<std::string> header, TableLook look) : look_(look) {
  add(std::move(header));
}

void Table::add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = escaped(cell);
  rows_.push_back(std::move(row));
}

void Table::print(std::ostream& out) {
  print_page(out);
}

void Table::shorten_ids() {
  const std::size_t from = header_printed_ ? 0 : 1;
  for (const std::size_t column : id_columns_) {
    std::vector<std::string> all;
    for (std::size_t i = from; i < rows_.size(); ++i) all.push_back(rows_[i][column]);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    std::size_t digits = kShortestId;
    for (std::size_t i = 1; i < all.size(); ++i) {  // sorted: the nearest stand side by side
      const auto differ = std::mismatch(all[i - 1].begin(), all[i - 1].end(), all[i].begin(), all[i].end()).first;
      digits = std::max(digits, static_cast<std::size_t>(differ - all[i - 1].begin()) + 1);
    }
    for (std::size_t i = from; i < rows_.size(); ++i) rows_[i][column] = rows_[i][column].substr(0, digits);
  }
}

// The widest column gives way, but for ids, which are there to be copied.
void Table::fit() {
  if (look_.columns == 0) return;
  std::size_t total = kBetween * (widths_.size() - 1);
  for (const std::size_t each : widths_) total += each;
  while (total > look_.columns) {
    std::size_t* widest = nullptr;
    for (std::size_t i = 0; i < widths_.size(); ++i) {
      const bool id = std::find(id_columns_.begin(), id_columns_.end(), i) != id_columns_.end();
      if (id || widths_[i] <= kNarrowest) continue;
      if (widest == nullptr || widths_[i] > *widest) widest = &widths_[i];
    }
    if (widest == nullptr) return;  // it cannot fit
    --*widest;
    --total;
  }
}

void Table::print_page(std::ostream& out) {
  shorten_ids();
  if (widths_.empty()) {
    widths_.resize(rows_.front().size());
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], width(row[i]));
    }
    fit();
  }
  for (const auto& row : rows_) {
    const bool header = !header_printed_;
    header_printed_ = true;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      const bool id = std::find(id_columns_.begin(), id_columns_.end(), i) != id_columns_.end();
      const std::string cell = look_.columns == 0 || id ? row[i] : cut_to(row[i], widths_[i]);
      const std::string_view colour = !look_.colours ? std::string_view() : header ? kBold : colour_of(row[i]);
      out << colour << cell << (colour.empty() ? std::string_view() : kPlain);
      const std::size_t used = width(cell);
      if (!last) out << std::string((widths_[i] > used ? widths_[i] - used : 0) + kBetween, ' ');
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
