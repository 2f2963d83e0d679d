#include "admin/operations/reload.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <set>

#include "cache/base/file.h"
#include "cache/x509/ca_rules.h"
#include "proxy/tls/tls_files.h"

namespace sallyport {

namespace {

constexpr std::size_t kLargestBundle = std::size_t{64} << 20;

bool same(const Endpoint& a, const Endpoint& b) {
  return a.text() == b.text();
}

bool same(const UpstreamConfig& a, const UpstreamConfig& b) {
  return a.name == b.name && a.balance == b.balance && a.source == b.source && a.health_interval == b.health_interval &&
         std::equal(a.servers.begin(), a.servers.end(), b.servers.begin(), b.servers.end(),
                    [](const Endpoint& x, const Endpoint& y) { return same(x, y); });
}

bool same(const std::optional<Endpoint>& a, const std::optional<Endpoint>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}
bool same(const std::optional<CertificateFiles>& a, const std::optional<CertificateFiles>& b) {
  return a.has_value() == b.has_value() && (!a || (a->chain == b->chain && a->key == b->key));
}

// Listeners are found by their name; their order in the file does not matter.
const ListenerConfig* find(const std::vector<ListenerConfig>& listeners, const std::string& name) {
  const auto found = std::find_if(listeners.begin(), listeners.end(),
                                  [&](const ListenerConfig& listener) { return listener.name == name; });
  return found == listeners.end() ? nullptr : &*found;
}

}  // namespace

Answer<std::vector<Certificate>> trusted_cas(const RegistryConfig& registry) {
  namespace fs = std::filesystem;
  std::vector<Certificate> all;
  for (const std::string& named : registry.trusted_cas) {
    std::vector<fs::path> files;
    std::error_code failure;
    if (fs::is_directory(named, failure)) {
      for (const auto& entry : fs::directory_iterator(named, failure)) {
        const fs::path extension = entry.path().extension();
        if (extension == ".pem" || extension == ".crt") files.push_back(entry.path());
      }
      std::sort(files.begin(), files.end());
    } else {
      files.emplace_back(named);
      failure.clear();
    }
    if (failure) return Refusal{Refusal::Kind::Invalid, "registry.trusted_cas: " + named + ": " + failure.message()};
    for (const fs::path& path : files) {
      const auto pem = read_file(path.string(), kLargestBundle);
      if (!pem) return Refusal{Refusal::Kind::Invalid, "registry.trusted_cas: " + pem.error().what};
      auto bundle = Certificate::bundle_from_pem(*pem);
      if (!bundle) {
        return Refusal{Refusal::Kind::Invalid, "registry.trusted_cas: " + path.string() + ": " + bundle.error().what};
      }
      for (Certificate& certificate : *bundle) all.push_back(std::move(certificate));
    }
  }
  return all;
}

std::vector<std::string> needs_restart(const Config& now, const Config& next) {
  std::vector<std::string> keys;
  const auto differs = [&](bool different, const std::string& key) {
    if (different) keys.push_back(key);
  };
  differs(now.state_dir != next.state_dir, "state_dir");
  differs(now.shards != next.shards, "proxy.shards");
  differs(now.registry.queue != next.registry.queue, "registry.queue");
  differs(now.admin.socket != next.admin.socket, "admin.socket");
  differs(!same(now.admin.address, next.admin.address), "admin.address");
  differs(!same(now.admin.tls, next.admin.tls), "admin.certificate, admin.key");
  differs(now.admin.backup_dir != next.admin.backup_dir, "admin.backup_dir");
  differs(!same(now.metrics, next.metrics), "metrics.address");
  const bool upstreams = now.upstreams.size() == next.upstreams.size() &&
                         std::equal(now.upstreams.begin(), now.upstreams.end(), next.upstreams.begin(),
                                    [](const UpstreamConfig& a, const UpstreamConfig& b) { return same(a, b); });
  differs(!upstreams, "upstream");
  for (const ListenerConfig& listener : now.listeners) {
    const ListenerConfig* other = find(next.listeners, listener.name);
    differs(other == nullptr, "listener " + listener.name + " (removed)");
    if (other == nullptr) continue;
    differs(!same(listener.address, other->address), "listener " + listener.name + ": address");
    differs(listener.protocol != other->protocol, "listener " + listener.name + ": protocol");
    differs(upstreams && listener.upstream != other->upstream, "listener " + listener.name + ": upstream");
  }
  for (const ListenerConfig& listener : next.listeners) {
    differs(find(now.listeners, listener.name) == nullptr, "listener " + listener.name + " (added)");
  }
  return keys;
}

void Reload::run() {
  ConfigReport report = load_config(path_);
  for (const ConfigProblem& problem : report.problems) {
    main_log_.error("reload",
                    {{"what", "the file is not used, nothing has changed"}, {"why", to_string(problem, path_)}});
  }
  if (!report.ok()) return;
  const std::vector<std::string> restart = needs_restart(config_, report.config);
  if (const auto applied = apply(report.config); !applied) {
    main_log_.error("reload", {{"what", "nothing has changed"}, {"why", applied.error().what}});
    return;
  }
  for (const std::string& key : restart) {
    main_log_.warn("reload", {{"what", "needs a restart"}, {"key", key}});
  }
  main_log_.info("reload", {{"what", "done"}, {"needs_restart", restart.size()}});
  const auto noted =
      registrar_.record({"SIGHUP", "-"}, "reload", path_, std::to_string(restart.size()) + " keys need a restart");
  if (!noted) main_log_.warn("audit", {{"why", noted.error().what}});
}

// Whether trust() would take them, for nothing may change before that is known.
Answer<void> Reload::can_trust(const std::vector<Certificate>& cas, std::size_t max_cas) const {
  std::set<Digest> ids;
  for (const CaRecord& ca : registrar_.cas()) ids.insert(ca.id);
  for (const Certificate& certificate : cas) {
    if (!ids.insert(certificate.fingerprint()).second) continue;
    if (const auto fit = check_ca(certificate, std::time(nullptr)); !fit) {
      return Refusal{fit.error().kind, "registry.trusted_cas: " + certificate.subject() + ": " + fit.error().what};
    }
    if (ids.size() > max_cas) {
      return Refusal{Refusal::Kind::Conflict,
                     "registry.trusted_cas: more CAs than registry.max_cas = " + std::to_string(max_cas)};
    }
  }
  return {};
}

// All that can fail by what the files say comes first.
Answer<void> Reload::apply(const Config& next) {
  const auto trusted = trusted_cas(next.registry);
  if (!trusted) return trusted.error();
  if (auto fit = can_trust(*trusted, next.registry.max_cas); !fit) return fit;
  std::vector<ListenerConfig> listeners;
  for (const ListenerConfig& now : config_.listeners) {
    const ListenerConfig* other = find(next.listeners, now.name);
    ListenerConfig merged = other != nullptr ? *other : now;
    merged.address = now.address;
    merged.protocol = now.protocol;
    merged.upstream = now.upstream;
    listeners.push_back(std::move(merged));
  }
  if (config_.admin.address && config_.admin.tls) {
    if (auto read = load_server_certificate(*config_.admin.tls, std::time(nullptr)); !read) {
      return Refusal{read.error().kind, "admin.certificate: " + read.error().what};
    }
  }
  if (auto changed = listeners_.reload(listeners, next.registry.key_file); !changed) return changed;
  RegistryConfig registry = next.registry;
  registry.queue = config_.registry.queue;
  auto done =
      registrar_.set_options({registry.auto_register, registry.max_cas, registry.max_devices_per_ca, registry.queue});
  if (!done) return done;
  if (auto added = registrar_.trust(*trusted); !added) return added;
  if (config_.admin.address && config_.admin.tls) {
    if (auto read = network_server_.reload_tls(*config_.admin.tls); !read) return read;
  }
  plane_.set_cut_pace(next.cuts_per_second);
  log_.set(next.log_level, next.log_format);
  config_.drain = next.drain;
  return {};
}

}  // namespace sallyport
