// The configuration as it runs: every row of the table of settings with the value that is in force, where it comes
// from, and what waits for a restart.
#include <algorithm>
#include <array>
#include <string_view>

#include "proxy/config/setting_row.h"

namespace sallyport {

namespace {

struct Place {
  std::string table;  // "proxy"; "listener[0]" of several; empty at the top
  std::string of;
};

std::string place_of(const Place& place, std::string_view key) {
  return (place.table.empty() ? "" : place.table + ".") + std::string(key);
}

// `later`: the same table as it was read last; null: it is not in that file any more, and goes on as it was.
template <class Owner>
void add_rows(std::vector<KeyInForce>& all, std::span<const Row<Owner>> rows, const Owner& begun, const Owner* later,
              const Place& at_begin, const Place& at_last, const ReadConfig& first, const ReadConfig& last) {
  for (const Row<Owner>& row : rows) {
    KeyInForce key;
    key.setting = &row;
    key.name = (row.table.empty() ? "" : std::string(row.table) + ".") + std::string(row.key);
    key.of = at_begin.of;
    if (row.write == nullptr) {
      key.value = key.fallback = row.only_value;
      key.written = first.written.count(place_of(at_begin, row.key)) != 0;
      all.push_back(std::move(key));
      continue;
    }
    const bool at_once = row.applies == Applies::AtOnce && later != nullptr;
    const auto shown = [&](const Owner& owner) {
      return row.is_url ? without_passwords(row.write(row, owner)) : row.write(row, owner);
    };
    key.value = shown(at_once ? *later : begun);
    if (row.needed.empty()) key.fallback = shown(Owner{});
    if (!at_once && later != nullptr && !row.same(begun, *later)) key.waits = shown(*later);
    key.written = at_once ? last.written.count(place_of(at_last, row.key)) != 0
                          : first.written.count(place_of(at_begin, row.key)) != 0;
    all.push_back(std::move(key));
  }
}

template <class Table>
void add_tables(std::vector<KeyInForce>& all, std::span<const Row<Table>> rows, const std::string& kind,
                const std::vector<Table>& begun, const std::vector<Table>& later, const ReadConfig& first,
                const ReadConfig& last) {
  for (std::size_t i = 0; i < begun.size(); ++i) {
    const auto found =
        std::find_if(later.begin(), later.end(), [&](const Table& each) { return each.name == begun[i].name; });
    const Table* same = found == later.end() ? nullptr : &*found;
    const auto at_last = static_cast<std::size_t>(found - later.begin());
    add_rows(all, rows, begun[i], same, {kind + "[" + std::to_string(i) + "]", begun[i].name},
             {kind + "[" + std::to_string(at_last) + "]", begun[i].name}, first, last);
  }
}

}  // namespace

// As libpq takes it apart: a user's part ends with the first `@` before a `/`, parameters follow the first `?` behind
// it.
std::string without_passwords(const std::string& url) {
  static constexpr std::array<std::string_view, 14> kHarmless = {"application_name",
                                                                 "channel_binding",
                                                                 "connect_timeout",
                                                                 "dbname",
                                                                 "host",
                                                                 "hostaddr",
                                                                 "options",
                                                                 "port",
                                                                 "sslcert",
                                                                 "sslkey",
                                                                 "sslmode",
                                                                 "sslrootcert",
                                                                 "target_session_attrs",
                                                                 "user"};
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos) return url;
  const std::size_t begin = scheme + 3;
  const std::size_t end = std::min(url.find_first_of("@/", begin), url.size());
  std::string shown = url.substr(0, begin);
  std::size_t at = begin;
  if (end < url.size() && url[end] == '@') {
    const std::size_t colon = std::min(url.find(':', begin), end);
    shown += url.substr(begin, colon - begin) + (colon < end ? ":…" : "");
    at = end;
  }
  const std::size_t query = std::min(url.find('?', at), url.size());
  shown += url.substr(at, query - at);
  for (std::size_t from = query; from < url.size();) {
    const std::size_t next = std::min(url.find('&', from + 1), url.size());
    const std::string_view parameter = std::string_view(url).substr(from, next - from);
    const std::size_t equals = std::min(parameter.find('='), parameter.size());
    const bool harmless =
        std::find(kHarmless.begin(), kHarmless.end(), parameter.substr(1, equals - 1)) != kHarmless.end();
    shown += harmless || equals == parameter.size() ? std::string(parameter)
                                                    : std::string(parameter.substr(0, equals)) + "=…";
    from = next;
  }
  // What is written in a file ends with its quotation mark.
  if (url.back() == '"' && shown.back() != '"') shown += '"';
  return shown;
}

ReadConfig read_config_of(const ConfigReport& report) {
  ReadConfig read{report.config, {}};
  for (const auto& [key, place] : report.places) read.written.insert(key);
  return read;
}

std::vector<KeyInForce> keys_in_force(const ReadConfig& begun, const ReadConfig& read) {
  std::vector<KeyInForce> all;
  const Config& first = begun.config;
  const Config& last = read.config;
  const auto one = [&](auto rows, const auto& owner, const auto& later, const char* table) {
    add_rows(all, rows, owner, &later, {table, ""}, {table, ""}, begun, read);
  };
  one(top_rows(), first, last, "");
  one(proxy_rows(), first, last, "proxy");
  add_tables(all, listener_rows(), "listener", first.listeners, last.listeners, begun, read);
  add_tables(all, upstream_rows(), "upstream", first.upstreams, last.upstreams, begun, read);
  one(registry_rows(), first.registry, last.registry, "registry");
  one(admin_rows(), first.admin, last.admin, "admin");
  one(metrics_rows(), first, last, "metrics");
  one(log_rows(), first, last, "log");
  return all;
}

}  // namespace sallyport
