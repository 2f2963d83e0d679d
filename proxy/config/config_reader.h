// Reads one TOML table strictly, by the rows of the table of settings: what no row names is an unknown key. Every
// finding goes into one list with its position, so that a person fixes a file in one round. config_reader.cc has
// the table, read_value.cc the kinds of values. toml++ stays behind it.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/setting_row.h"

namespace sallyport {

class TableReader {
 public:
  TableReader(const toml::table& table, std::string path, std::vector<ConfigProblem>& problems)
      : table_(table), path_(std::move(path)), problems_(problems) {}

  // Every key of the table into `owner`. What is missing, of another type or out of its range is reported; so is a
  // key that is not carried out yet where it is not at its default, for a setting that is silently ignored would be
  // worse than a refusal to start; so is every key that no row has.
  template <class Owner>
  void read(std::span<const Row<Owner>> rows, Owner& owner) {
    for (const Row<Owner>& row : rows) {
      if (!row.has_member) {
        only_default(row);
      } else {
        row.read(*this, row, owner);
        if (!row.needed.empty()) must_be_there(row);
      }
    }
    finish();
  }

  bool text(std::string_view key, std::string& into);  // false: it is absent or no text
  // Marks `key` as known and returns its node, or null.
  const toml::node* find(std::string_view key);
  // Where the table, or the key in it, stands.
  const toml::node* at(std::string_view key) const;
  void problem(const toml::node* where, std::string message);
  void missing(std::string_view key, std::string_view why);
  void out_of_range(const Setting& setting);
  // Reports every key that nobody asked for.
  void finish();
  std::vector<ConfigProblem>& problems() { return problems_; }
  std::string quoted(std::string_view key) const;

 private:
  void only_default(const Setting& setting);
  void must_be_there(const Setting& setting);

  const toml::table& table_;
  std::string path_;  // "listener" for messages; empty at the top
  std::vector<ConfigProblem>& problems_;
  std::vector<std::string> known_;
};

// "host:port", "[v6]:port" or "unix:/path"; what is wrong is returned as a clause.
Answer<Endpoint> parse_endpoint(std::string_view text);

}  // namespace sallyport
