// What a reload changes at once and what takes a restart, row by row of the table of settings.
#include <algorithm>

#include "proxy/config/setting_row.h"

namespace sallyport {

namespace {

// Found by their name; their order in the file does not matter.
template <class Table>
const Table* find(const std::vector<Table>& tables, const std::string& name) {
  const auto found = std::find_if(tables.begin(), tables.end(), [&](const Table& table) { return table.name == name; });
  return found == tables.end() ? nullptr : &*found;
}

template <class Owner>
void name_changes(std::span<const Row<Owner>> rows, const Owner& now, const Owner& next, const std::string& prefix,
                  std::vector<std::string>& keys) {
  for (const Row<Owner>& row : rows) {
    if (row.applies == Applies::AfterRestart && !row.same(now, next)) keys.push_back(prefix + std::string(row.key));
  }
}

template <class Table>
void name_tables(std::span<const Row<Table>> rows, const std::string& kind, const std::vector<Table>& now,
                 const std::vector<Table>& next, std::vector<std::string>& keys) {
  for (const Table& table : now) {
    if (const Table* other = find(next, table.name)) {
      name_changes(rows, table, *other, kind + " " + table.name + ": ", keys);
    } else {
      keys.push_back(kind + " " + table.name + " (removed)");
    }
  }
  for (const Table& table : next) {
    if (find(now, table.name) == nullptr) keys.push_back(kind + " " + table.name + " (added)");
  }
}

template <class Owner>
void take(std::span<const Row<Owner>> rows, const Owner& next, Owner& now) {
  for (const Row<Owner>& row : rows) {
    if (row.applies == Applies::AtOnce) row.keep(next, now);
  }
}

}  // namespace

std::vector<std::string> needs_restart(const Config& now, const Config& next) {
  std::vector<std::string> keys;
  name_changes(top_rows(), now, next, "", keys);
  name_changes(proxy_rows(), now, next, "proxy.", keys);
  name_changes(registry_rows(), now.registry, next.registry, "registry.", keys);
  name_changes(admin_rows(), now.admin, next.admin, "admin.", keys);
  name_changes(metrics_rows(), now, next, "metrics.", keys);
  name_changes(log_rows(), now, next, "log.", keys);
  name_tables(upstream_rows(), "upstream", now.upstreams, next.upstreams, keys);
  name_tables(listener_rows(), "listener", now.listeners, next.listeners, keys);
  return keys;
}

Config changed_at_once(const Config& now, const Config& next) {
  Config changed = now;
  take(top_rows(), next, changed);
  take(proxy_rows(), next, changed);
  take(registry_rows(), next.registry, changed.registry);
  take(admin_rows(), next.admin, changed.admin);
  take(metrics_rows(), next, changed);
  take(log_rows(), next, changed);
  for (ListenerConfig& listener : changed.listeners) {
    if (const ListenerConfig* other = find(next.listeners, listener.name)) take(listener_rows(), *other, listener);
  }
  for (UpstreamConfig& upstream : changed.upstreams) {
    if (const UpstreamConfig* other = find(next.upstreams, upstream.name)) take(upstream_rows(), *other, upstream);
  }
  return changed;
}

}  // namespace sallyport
