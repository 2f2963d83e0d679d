#include "proxy/config/config_reader.h"

#include <algorithm>

namespace sallyport {

namespace {

// Levenshtein distance, for "did you mean".
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string TableReader::quoted(std::string_view key) const {
  std::string out = "'";
  if (!path_.empty()) out += path_ + ".";
  return out + std::string(key) + "'";
}

const toml::node* TableReader::find(std::string_view key) {
  known_.emplace_back(key);
  return table_.get(key);
}

const toml::node* TableReader::at(std::string_view key) const {
  const toml::node* node = table_.get(key);
  return node != nullptr ? node : &table_;
}

void TableReader::problem(const toml::node* where, std::string message) {
  const toml::source_position begin = where != nullptr ? where->source().begin : toml::source_position{};
  problems_.push_back({begin.line, begin.column, std::move(message)});
}

void TableReader::missing(std::string_view key, std::string_view why) {
  problem(at(key), quoted(key) + " is missing: " + std::string(why));
}

void TableReader::out_of_range(const Setting& setting) {
  problem(at(setting.key), quoted(setting.key) + " must be " + range_of(setting));
}

// The same words in the same order; how they are laid out does not matter.
void TableReader::only_default(const Setting& setting) {
  const toml::node* node = find(setting.key);
  if (node == nullptr) return;
  const toml::table wanted = toml::parse("v = " + std::string(setting.only_value));
  const auto same = [&](const auto& a) {
    using Node = std::remove_cvref_t<decltype(a)>;
    const auto* b = wanted.get("v")->as<Node>();
    return b != nullptr && a == *b;
  };
  const bool at_default = node->visit([&](const auto& a) { return same(a); });
  if (!at_default) {
    problem(node, quoted(setting.key) +
                      " is not supported by this version yet: remove it or leave it at its default, " +
                      std::string(setting.only_value));
  }
}

void TableReader::must_be_there(const Setting& setting) {
  const toml::node* node = table_.get(setting.key);
  const bool empty = node == nullptr || (node->is_string() && node->as_string()->get().empty()) ||
                     (node->is_array() && node->as_array()->empty());
  if (empty) missing(setting.key, setting.needed);
}

bool TableReader::text(std::string_view key, std::string& into) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  if (auto value = node->value_exact<std::string>()) {
    into = std::move(*value);
    return true;
  }
  problem(node, quoted(key) + " must be a string");
  return false;
}

void TableReader::finish() {
  for (const auto& [key, node] : table_) {
    const std::string_view name = key.str();
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string message = "unknown key " + quoted(name);
    const auto nearest = std::min_element(known_.begin(), known_.end(), [&](const auto& a, const auto& b) {
      return distance(name, a) < distance(name, b);
    });
    if (nearest != known_.end() && distance(name, *nearest) <= 1 + nearest->size() / 4) {
      message += " (did you mean '" + *nearest + "'?)";
    }
    problems_.push_back({key.source().begin.line, key.source().begin.column, std::move(message)});
  }
}

}  // namespace sallyport
