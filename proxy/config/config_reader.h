// Reads one TOML table strictly: each key is asked for once with its type, and what nobody asked for is
// an unknown key. Every finding goes into one list with its position, so that a person fixes a file in
// one round. Only config.cc includes this; toml++ stays behind it.
#pragma once

#include <toml++/toml.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"

namespace sallyport {

class TableReader {
 public:
  TableReader(const toml::table& table, std::string path, std::vector<ConfigProblem>& problems)
      : table_(table), path_(std::move(path)), problems_(problems) {}

  void text(std::string_view key, std::string& into);
  void flag(std::string_view key, bool& into);
  void texts(std::string_view key, std::vector<std::string>& into);
  void duration(std::string_view key, std::chrono::milliseconds& into);  // "250ms" "10s" "5m" "24h" "30d"
  void size(std::string_view key, std::size_t& into);                    // "512B" "64KiB" "4MiB" "1GiB"
  void endpoint(std::string_view key, Endpoint& into);

  template <class Integer>
  void number(std::string_view key, Integer& into, Integer smallest = 0,
              Integer largest = std::numeric_limits<Integer>::max()) {
    std::int64_t value = 0;
    const auto limit = static_cast<std::uint64_t>(largest);
    const auto top = limit > std::uint64_t{INT64_MAX} ? INT64_MAX : static_cast<std::int64_t>(limit);
    if (integer(key, value, static_cast<std::int64_t>(smallest), top)) into = static_cast<Integer>(value);
  }

  // A word out of a closed list.
  template <class Enum>
  void word(std::string_view key, Enum& into, std::initializer_list<std::pair<std::string_view, Enum>> words) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    std::string expected;
    for (const auto& [name, meaning] : words) {
      if (value && *value == name) {
        into = meaning;
        return;
      }
      expected += (expected.empty() ? "\"" : ", \"") + std::string(name) + "\"";
    }
    problem(node, quoted(key) + " must be one of " + expected);
  }

  // A key of the contract that this version does not carry out yet: only its default may be written, for
  // a security setting that is silently ignored would be worse than a refusal to start.
  void only_default(std::string_view key, const toml::value<std::string>& value) { only(key, value); }
  void only_default(std::string_view key, const toml::value<std::int64_t>& value) { only(key, value); }
  void only_default(std::string_view key, const toml::value<bool>& value) { only(key, value); }

  // Marks `key` as known and returns its node, or null.
  const toml::node* find(std::string_view key);
  const toml::table& table() const { return table_; }
  // Where the table, or the key in it, stands.
  const toml::node* at(std::string_view key) const;
  void problem(const toml::node* where, std::string message);
  void missing(std::string_view key, std::string_view why);
  // Reports every key that nobody asked for.
  void finish();

 private:
  template <class T>
  void only(std::string_view key, const toml::value<T>& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (node->value_exact<T>() != value.get()) unsupported(node, key);
  }
  bool integer(std::string_view key, std::int64_t& into, std::int64_t smallest, std::int64_t largest);
  void unsupported(const toml::node* node, std::string_view key);
  std::string quoted(std::string_view key) const;

  const toml::table& table_;
  std::string path_;  // "listener" for messages; empty at the top
  std::vector<ConfigProblem>& problems_;
  std::vector<std::string> known_;
};

// "host:port", "[v6]:port" or "unix:/path"; what is wrong is returned as a clause.
Answer<Endpoint> parse_endpoint(std::string_view text);

}  // namespace sallyport
