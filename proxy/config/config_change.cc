// What a reload changes at once and what takes a restart, row by row of the table of settings.
#include <algorithm>

#include "proxy/config/setting_row.h"

namespace sallyport {

namespace {

// Listeners are found by their name; their order in the file does not matter.
const ListenerConfig* find(const std::vector<ListenerConfig>& listeners, const std::string& name) {
  const auto found = std::find_if(listeners.begin(), listeners.end(),
                                  [&](const ListenerConfig& listener) { return listener.name == name; });
  return found == listeners.end() ? nullptr : &*found;
}

template <class Owner>
void name_changes(std::span<const Row<Owner>> rows, const Owner& now, const Owner& next, const std::string& prefix,
                  std::vector<std::string>& keys) {
  for (const Row<Owner>& row : rows) {
    if (row.applies == Applies::AfterRestart && !row.same(now, next)) keys.push_back(prefix + std::string(row.key));
  }
}

template <class Owner>
void take(std::span<const Row<Owner>> rows, const Owner& next, Owner& now) {
  for (const Row<Owner>& row : rows) {
    if (row.applies == Applies::AtOnce) row.keep(next, now);
  }
}

bool same(const UpstreamConfig& a, const UpstreamConfig& b) {
  const auto rows = upstream_rows();
  return std::all_of(rows.begin(), rows.end(), [&](const Row<UpstreamConfig>& row) { return row.same(a, b); });
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
  if (!std::equal(now.upstreams.begin(), now.upstreams.end(), next.upstreams.begin(), next.upstreams.end(), same)) {
    keys.emplace_back("upstream");
  }
  for (const ListenerConfig& listener : now.listeners) {
    if (const ListenerConfig* other = find(next.listeners, listener.name)) {
      name_changes(listener_rows(), listener, *other, "listener " + listener.name + ": ", keys);
    } else {
      keys.push_back("listener " + listener.name + " (removed)");
    }
  }
  for (const ListenerConfig& listener : next.listeners) {
    if (find(now.listeners, listener.name) == nullptr) keys.push_back("listener " + listener.name + " (added)");
  }
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
  return changed;
}

}  // namespace sallyport
