#include "proxy/config/config_reader.h"

#include <algorithm>
#include <charconv>

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

struct Unit {
  std::string_view suffix;
  std::uint64_t factor;
};

// A whole number followed by one of `units`; false for anything else, overflow included.
bool scaled(std::string_view text, std::initializer_list<Unit> units, std::uint64_t& out) {
  std::uint64_t count = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (failure != std::errc() || end == text.data()) return false;
  const std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& unit : units) {
    if (suffix != unit.suffix) continue;
    if (count > std::uint64_t{INT64_MAX} / unit.factor) return false;
    out = count * unit.factor;
    return true;
  }
  return false;
}

}  // namespace

Answer<Endpoint> parse_endpoint(std::string_view text) {
  Endpoint endpoint;
  if (text.substr(0, 5) == "unix:") {
    endpoint.unix_path = text.substr(5);
    // sun_path takes 108 bytes with its terminator: unix(7).
    if (endpoint.unix_path.empty() || endpoint.unix_path.size() > 107) {
      return Refusal{Refusal::Kind::Invalid, "a unix socket path takes 1 to 107 bytes"};
    }
    return endpoint;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) {
    return Refusal{Refusal::Kind::Invalid, "expected \"host:port\" or \"unix:/path\""};
  }
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return Refusal{Refusal::Kind::Invalid, "an IPv6 address goes in brackets: \"[::1]:8883\""};
  }
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  if (failure != std::errc() || end != digits.data() + digits.size() || host.empty()) {
    return Refusal{Refusal::Kind::Invalid, "the port must be a number from 0 to 65535"};
  }
  endpoint.host = host;
  return endpoint;
}

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
  problem(&table_, quoted(key) + " is missing: " + std::string(why));
}

void TableReader::unsupported(const toml::node* node, std::string_view key) {
  problem(node, quoted(key) + " is not supported by this version yet: remove it or leave it at its default");
}

void TableReader::text(std::string_view key, std::string& into) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  if (auto value = node->value_exact<std::string>()) {
    into = std::move(*value);
  } else {
    problem(node, quoted(key) + " must be a string");
  }
}

void TableReader::flag(std::string_view key, bool& into) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  if (const auto value = node->value_exact<bool>()) {
    into = *value;
  } else {
    problem(node, quoted(key) + " must be true or false");
  }
}

void TableReader::texts(std::string_view key, std::vector<std::string>& into) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    problem(node, quoted(key) + " must be a list of strings");
    return;
  }
  std::vector<std::string> values;
  for (const toml::node& element : *array) {
    if (auto value = element.value_exact<std::string>()) {
      values.push_back(std::move(*value));
    } else {
      problem(&element, quoted(key) + " must hold strings only");
    }
  }
  into = std::move(values);
}

bool TableReader::integer(std::string_view key, std::int64_t& into, std::int64_t smallest, std::int64_t largest) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const auto value = node->value_exact<std::int64_t>();
  if (!value) {
    problem(node, quoted(key) + " must be a whole number");
    return false;
  }
  if (*value < smallest || *value > largest) {
    problem(node, quoted(key) + " must be between " + std::to_string(smallest) + " and " + std::to_string(largest));
    return false;
  }
  into = *value;
  return true;
}

void TableReader::duration(std::string_view key, std::chrono::milliseconds& into) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  std::uint64_t ms = 0;
  constexpr std::uint64_t kYear = 366ULL * 86'400'000;
  if (!value || !scaled(*value, {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}, ms) ||
      ms == 0 || ms > kYear) {
    problem(node, quoted(key) + " must be a duration such as \"250ms\", \"10s\", \"5m\" or \"24h\", up to a year");
    return;
  }
  into = std::chrono::milliseconds(static_cast<std::int64_t>(ms));
}

void TableReader::size(std::string_view key, std::size_t& into) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  std::uint64_t bytes = 0;
  if (!value || !scaled(*value, {{"B", 1}, {"KiB", 1U << 10}, {"MiB", 1U << 20}, {"GiB", 1U << 30}}, bytes)) {
    problem(node, quoted(key) + " must be a size such as \"512B\", \"64KiB\" or \"4MiB\"");
    return;
  }
  into = bytes;
}

void TableReader::endpoint(std::string_view key, Endpoint& into) {
  std::string written;
  text(key, written);
  if (written.empty()) return;
  if (auto parsed = parse_endpoint(written)) {
    into = *parsed;
  } else {
    problem(at(key), quoted(key) + " \"" + written + "\": " + parsed.error().what);
  }
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
