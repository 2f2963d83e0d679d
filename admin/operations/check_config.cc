#include "admin/operations/check_config.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>
#include <set>

#include "admin/operations/descriptors.h"
#include "admin/operations/listener_control.h"
#include "admin/operations/reload.h"
#include "admin/operations/shared_options.h"
#include "cache/crypto/locked_memory.h"
#include "cache/registry/registry_lock.h"
#include "cache/registry/registry_store.h"
#include "cache/registry/sealed.h"
#include "cache/shared/pg_connection.h"
#include "proxy/data_plane.h"
#include "proxy/tls/tls_broker.h"
#include "proxy/tls/tls_context.h"
#include "proxy/tls/tls_files.h"
#include "proxy/tls/tls_self_test.h"

namespace sallyport {

namespace {

namespace fs = std::filesystem;

std::string item(std::string_view table, std::size_t i, std::string_view key) {
  return std::string(table) + "[" + std::to_string(i) + "]." + std::string(key);
}

class Findings {
 public:
  explicit Findings(ConfigReport& report) : report_(report) {}
  void problem(const std::string& key, const std::string& what) { report_.problems.push_back(report_.at(key, what)); }
  void warning(const std::string& key, const std::string& what) { report_.warnings.push_back(report_.at(key, what)); }

 private:
  ConfigReport& report_;
};

// Each file by itself, so that every one that is bad is named; then all of them as one listener.
void check_listener(const ListenerConfig& listener, std::size_t i, Findings& found) {
  const std::int64_t now = std::time(nullptr);
  std::vector<ServerCertificate> loaded;
  for (std::size_t c = 0; c < listener.certificates.size(); ++c) {
    const std::string key = item("listener", i, "certificates[" + std::to_string(c) + "]");
    auto one = load_server_certificate(listener.certificates[c]);
    if (!one) {
      found.problem(key, one.error().what);
      continue;
    }
    if (const auto flaw = date_flaw(one->leaf(), now); !flaw.empty()) {
      found.warning(key, listener.certificates[c].chain + ": the server certificate " + std::string(flaw) +
                             ": a start serves it, and a client that looks at dates refuses it; a reload keeps one "
                             "that is in date and in use");
    }
    if (const auto flaw = purpose_flaw(one->leaf()); !flaw.empty()) {
      found.warning(key, listener.certificates[c].chain + ": the first certificate " + std::string(flaw) +
                             ": a client that looks at purposes refuses it");
    }
    loaded.push_back(std::move(*one));
  }
  if (!loaded.empty() && loaded.size() == listener.certificates.size()) {
    const auto context = TlsContext::create(listener, listener.auth, presented_of(loaded, now), nullptr);
    if (!context) found.problem(item("listener", i, "certificates"), context.error().what);
  }
  if (listener.address.host.empty()) return;
  if (const auto address = DataPlane::resolves(listener.address, true); !address) {
    found.problem(item("listener", i, "address"), address.error().what);
  }
}

void check_servers(const UpstreamConfig& upstream, std::size_t i, Findings& found) {
  for (std::size_t s = 0; s < upstream.servers.size(); ++s) {
    if (const auto address = DataPlane::resolves(upstream.servers[s], false); !address) {
      found.warning(item("upstream", i, "servers[" + std::to_string(s) + "]"),
                    address.error().what + ": no session goes there; Sallyport asks again by itself");
    }
  }
}

void check_sources(const UpstreamConfig& upstream, std::size_t i, Findings& found) {
  for (std::size_t s = 0; s < upstream.source.size(); ++s) {
    if (const auto address = DataPlane::resolves({upstream.source[s], 0, ""}, false); !address) {
      found.problem(item("upstream", i, "source[" + std::to_string(s) + "]"), "source " + address.error().what);
    }
  }
}

void check_broker_tls(const UpstreamConfig& upstream, std::size_t i, Findings& found) {
  if (!upstream.tls.asked()) return;
  const auto tls = BrokerTlsContext::create(upstream.tls);
  if (!tls) return found.problem(item("upstream", i, "tls"), tls.error().what);
  const std::int64_t now = std::time(nullptr);
  for (const Certificate& each : (*tls)->trusted()) {
    if (const auto flaw = date_flaw(each, now); !flaw.empty()) {
      found.warning(item("upstream", i, "tls.ca"), upstream.tls.ca + ": " + each.subject() + " " + std::string(flaw));
    }
  }
  if ((*tls)->shown().empty()) return;
  if (const auto flaw = date_flaw((*tls)->shown().front(), now); !flaw.empty()) {
    found.warning(item("upstream", i, "tls.certificate"), upstream.tls.certificate + ": the certificate " +
                                                              std::string(flaw) +
                                                              ": a broker that looks at dates refuses it");
  }
}

// A limit that a listener cannot hold anybody to.
void check_devices_known(const ListenerConfig& listener, std::size_t i, Findings& found) {
  if (listener.auth == AuthMode::Mutual) return;
  const std::pair<bool, const char*> set[] = {
      {listener.clones != Clones::Allow, "clones"},
      {listener.max_sessions_per_device != 0, "max_sessions_per_device"},
      {listener.max_connects_per_minute_per_device != 0, "max_connects_per_minute_per_device"}};
  for (const auto& [is_set, key] : set) {
    if (!is_set) continue;
    found.warning(item("listener", i, key), std::string("'listener.") + key +
                                                "' has no effect: auth = \"one-way\" asks for no certificate, so no "
                                                "device is known");
  }
}

// What a PROXY header costs beside its bytes, and whom a listener believes.
void check_proxy_protocol(const Config& config, Findings& found) {
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    if (!config.upstreams[i].proxy_protocol_certificate) continue;
    found.warning(item("upstream", i, "proxy_protocol_certificate"),
                  "the PROXY header has more than 500 bytes with a certificate in it: Mosquitto refuses it, and every "
                  "session with it");
  }
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const ListenerConfig& listener = config.listeners[i];
    if (config.upstreams[listener.upstream].proxy_protocol_certificate && listener.resumption &&
        listener.auth == AuthMode::Mutual) {
      found.warning(item("listener", i, "resumption"),
                    "no ticket is honoured: upstream.proxy_protocol_certificate needs the certificate, which a session "
                    "that is resumed does not have; set resumption = false");
    }
    for (std::size_t n = 0; n < listener.proxy_protocol_from.size(); ++n) {
      if (!listener.proxy_protocol_from[n].holds_all()) continue;
      found.warning(item("listener", i, "proxy_protocol_from[" + std::to_string(n) + "]"),
                    listener.proxy_protocol_from[n].text() +
                        " are all addresses: whoever reaches the listener says himself which address he has");
    }
  }
}

void check_trusted_cas(const RegistryConfig& registry, Findings& found) {
  std::set<Digest> ids;
  for (std::size_t i = 0; i < registry.trusted_cas.size(); ++i) {
    const std::string key = "registry.trusted_cas[" + std::to_string(i) + "]";
    RegistryConfig one = registry;
    one.trusted_cas = {registry.trusted_cas[i]};
    const auto cas = trusted_cas(one);
    const auto passed_over = cas ? check_trusted(*cas) : Answer<std::vector<std::string>>(cas.error());
    if (!passed_over) {
      found.problem(key, passed_over.error().what);
      continue;
    }
    for (const std::string& line : *passed_over) found.warning(key, line);
    for (const Certificate& ca : *cas) ids.insert(ca.fingerprint());
  }
  if (ids.size() > registry.max_cas) {
    found.problem("registry.trusted_cas",
                  "registry.trusted_cas: more CAs than registry.max_cas = " + std::to_string(registry.max_cas));
  }
}

// serve makes the folder where it is not there.
std::string why_unusable(const fs::path& folder) {
  std::error_code ignored;
  fs::path at = fs::absolute(folder, ignored);
  const bool there = fs::exists(at, ignored);
  while (!fs::exists(at, ignored) && at.has_relative_path()) at = at.parent_path();
  if (!fs::is_directory(at, ignored)) return at.string() + " is not a folder";
  if (::access(at.c_str(), W_OK | X_OK) == 0) return {};
  return at.string() + (there ? " cannot be written to: " : ", in which it is to be made, cannot be written to: ") +
         std::strerror(errno);
}

// As serve would bring them back.
void check_shared(const RegistryConfig& registry, Findings& found) {
  const std::string node = shared_options(registry).node;
  const bool matters = !registry.shared.empty() || !registry.node.empty();  // else the host may have any name
  const bool good =
      !matters || (!node.empty() && node.size() <= 64 && std::all_of(node.begin(), node.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
      }));
  if (!good) {
    found.problem("registry.node", "'registry.node': a name has 1 to 64 letters, digits, '-', '_' or '.'");
  }
  if (registry.shared.empty()) {
    if (registry.stale != WhenStale::Serve || registry.stale_after.count() != 0) {
      found.problem("registry.stale", "'registry.stale' and 'registry.stale_after' need 'registry.shared'");
    }
    return;
  }
  if (const std::string flaw = PgUrl::flaw(registry.shared); !flaw.empty()) {
    found.problem("registry.shared", "'registry.shared' " + flaw);
  } else if (const std::string weak = PgUrl::weakness(registry.shared); !weak.empty()) {
    found.warning("registry.shared", "'registry.shared': " + weak);
  }
  if (const std::string file = PgUrl::unreadable(registry.shared); !file.empty()) {
    found.problem("registry.shared", "'registry.shared' " + file);
  }
  if (registry.key_file.empty()) {
    found.warning(
        "registry.key_file",
        "'registry.key_file' is not set: nodes of the shared registry share no ticket keys, and a device resumes "
        "at the node alone that gave it its ticket");
  }
  if (registry.stale != WhenStale::Serve && registry.stale_after.count() == 0) {
    found.problem("registry.stale", "'registry.stale' needs 'registry.stale_after', which is 0s: never");
  }
  if (registry.stale == WhenStale::Serve && registry.stale_after.count() != 0) {
    found.warning("registry.stale_after",
                  "'registry.stale_after' has no effect: 'registry.stale' is \"serve\", so nobody is refused then");
  }
}

void check_overrides(const Config& config, const RegistryStore& store, Findings& found) {
  std::map<Digest, ServerCertRow> hosted;
  const auto certificates = store.each_server_cert([&](const Digest& id, const ServerCertRow& row) {
    hosted[id] = row;
    return true;
  });
  const auto read = store.each_override([&](std::string_view name, const OverrideRow& row) {
    const auto listener = std::find_if(config.listeners.begin(), config.listeners.end(),
                                       [&](const ListenerConfig& each) { return each.name == name; });
    const std::string what =
        "at run time, " + ListenerControl::text_of(row) + " was chosen for listener " + std::string(name);
    if (listener == config.listeners.end()) {
      found.warning("listener", what + ", which the file does not have: it has no effect; `listener reset` drops it");
      return true;
    }
    const std::string key = item("listener", static_cast<std::size_t>(listener - config.listeners.begin()), "name");
    const bool one_way = row.auth && static_cast<AuthMode>(*row.auth) == AuthMode::OneWay;
    if (one_way && (!listener->client_id.empty() || config.upstreams[listener->upstream].tells_identity())) {
      found.problem(key, what + ", and its templates need a certificate: `listener reset " + std::string(name) +
                             " --state-dir " + config.state_dir + "` takes it back");
      return true;
    }
    found.warning(key, what + ", in place of what the file says: `listener reset` takes it back");
    if (!row.certificate) return true;
    const auto chosen = hosted.find(*row.certificate);
    if (chosen == hosted.end()) {
      found.warning(key,
                    "no hosted server certificate has the id " + to_hex(*row.certificate) + ": the file's are served");
      return true;
    }
    const auto sealing = SealingKey::load(config.registry.key_file);
    const auto opened = sealing ? open_server_certificate(*sealing, *row.certificate, chosen->second)
                                : Answer<ServerCertificate>(sealing.error());
    if (!opened) found.warning(key, opened.error().what + ": the file's certificates are served in its place");
    return true;
  });
  if (!certificates) found.problem("state_dir", certificates.error().what);
  if (!read) found.problem("state_dir", read.error().what);
}

// What a client says of itself proves nothing, and beside another field it may complete it to somebody else's: "pump"
// with "2-main" is "pump-2" with "main". No value but {san_uri} has a '/'.
void check_claims(const Config& config, Findings& found) {
  using enum IdentityTemplate::Field;
  for (const ListenerConfig& listener : config.listeners) {
    if (!listener.client_id.empty()) continue;
    const UpstreamConfig& upstream = config.upstreams[listener.upstream];
    const bool apart =
        upstream.client_id.text().find("/{client_id}") != std::string::npos && !upstream.client_id.uses(SanUri);
    const std::pair<const IdentityTemplate*, const char*> uses[] = {{&upstream.username, "username"},
                                                                    {&upstream.client_id, "client_id"}};
    for (const auto& [made, key] : uses) {
      if (!made->uses(ClientId) || (made == &upstream.client_id && apart)) continue;
      found.warning(item("upstream", listener.upstream, key),
                    "{client_id} is what a device of listener " + listener.name +
                        " says of itself, and may make it look like another: set 'client_id' there, or leave it out");
    }
  }
}

// Two CAs may issue the same CN: the broker would then take one device for the other.
void check_identities(const Config& config, std::size_t cas, Findings& found) {
  const auto confuses = [](const IdentityTemplate& made) { return !made.empty() && !made.tells_cas_apart(); };
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const ListenerConfig& listener = config.listeners[i];
    const UpstreamConfig& upstream = config.upstreams[listener.upstream];
    const std::size_t feed = listener.cas.empty() ? cas : listener.cas.size();
    if (feed < 2) continue;
    const std::pair<const IdentityTemplate*, std::string> uses[] = {
        {&listener.client_id, item("listener", i, "client_id")},
        {&upstream.username, item("upstream", listener.upstream, "username")},
        {&upstream.client_id, item("upstream", listener.upstream, "client_id")}};
    for (const auto& [made, key] : uses) {
      if (!confuses(*made)) continue;
      found.warning(key, "devices of " + std::to_string(feed) + " CAs come through listener " + listener.name +
                             ", and \"" + made->text() +
                             "\" may be the same for two of them: name one CA in its 'cas', or put {ca_id} into the "
                             "template");
    }
  }
}

// How many CAs there will be: those that are registered, and those that the file brings.
std::size_t count_cas(const Config& config, const RegistryStore* store) {
  std::set<Digest> ids;
  if (const auto trusted = trusted_cas(config.registry)) {
    for (const Certificate& ca : *trusted) ids.insert(ca.fingerprint());
  }
  if (store != nullptr) {
    (void)store->each_ca([&](const Digest& id, const CaRow&) { return ids.insert(id), true; });
  }
  return ids.size();
}

void check_state_dir(const Config& config, Findings& found) {
  const fs::path folder = fs::path(config.state_dir) / "registry";
  if (const std::string why = why_unusable(config.state_dir); !why.empty()) {
    return found.problem("state_dir", "'state_dir': " + why);
  }
  std::error_code ignored;
  check_claims(config, found);
  if (!fs::exists(folder / "CURRENT", ignored)) {
    // Nothing is there yet, or what is there has lost it.
    if (const auto opens = RegistryStore::would_open(config.state_dir); !opens) {
      return found.problem("state_dir", "'state_dir': " + opens.error().what);
    }
    return check_identities(config, count_cas(config, nullptr), found);
  }
  if (RegistryLock::taken(folder.string())) {
    found.warning("state_dir",
                  "'state_dir': " + config.state_dir +
                      " is in use by another process, a server that runs: reload it (SIGHUP), for a second "
                      "one does not start beside it");
  } else if (const auto opens = RegistryStore::would_open(config.state_dir); !opens) {
    return found.problem("state_dir", "'state_dir': " + opens.error().what);
  }
  const auto store = RegistryStore::open_to_read(folder.string());
  if (!store) return found.problem("state_dir", "'state_dir': " + store.error().what);
  const bool shared = !config.registry.shared.empty();
  if (const auto fits = (*store)->fits(shared); !fits) {
    found.problem(shared ? "registry.shared" : "state_dir", fits.error().what);
  }
  check_overrides(config, **store, found);
  check_identities(config, count_cas(config, store->get()), found);
}

void check_limits(const Config& config, Findings& found) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const Descriptors shared = Descriptors::of(files.rlim_max, config, DataPlane::shards_of(config));
  std::string without_ring;
  const auto room = DataPlane::room_for(config, files.rlim_max, shared.reserved, &without_ring);
  if (!room) return found.problem("", room.error().what);
  if (!without_ring.empty()) {
    found.warning("proxy.io", without_ring + ": epoll will be in its place: more CPU, and fewer connections at once");
  }
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const std::uint64_t wanted = config.listeners[i].max_connections;
    if (wanted <= room->connections_max) continue;
    found.warning(item("listener", i, "max_connections"),
                  "the limit of open files, " + std::to_string(files.rlim_max) + ", allows " +
                      std::to_string(room->connections_max) +
                      " connections in all: raise it (ulimit -n, LimitNOFILE=)");
  }
}

// Who asks for OpenSSL alone.
std::string engine_key(const Config& config) {
  for (std::size_t i = 0; config.tls_engine != TlsMadeBy::Openssl && i < config.listeners.size(); ++i) {
    if (config.listeners[i].tls_engine == TlsMadeBy::Openssl) return item("listener", i, "tls_engine");
  }
  return "proxy.tls_engine";
}

}  // namespace

void check_files(ConfigReport& report) {
  const Config config = report.config;  // the findings are added to the report meanwhile
  Findings found(report);
  if (const auto can = check_tls_engines(config); !can) {
    found.problem(engine_key(config), can.error().what);
    return report.sort();  // nothing of what follows could be looked at
  }
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    check_listener(config.listeners[i], i, found);
    if (config.tls_engine == TlsMadeBy::Openssl && config.listeners[i].tls_engine == TlsMadeBy::Auto) {
      found.warning(item("listener", i, "tls_engine"),
                    "'listener.tls_engine' = \"auto\" wins over 'proxy.tls_engine' = \"openssl\": this listener's TLS "
                    "may be Sallyport's own; leave the key out to follow");
    }
  }
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) check_sources(config.upstreams[i], i, found);
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) check_broker_tls(config.upstreams[i], i, found);
  for (std::size_t i = 0; i < config.listeners.size(); ++i) check_devices_known(config.listeners[i], i, found);
  check_proxy_protocol(config, found);
  check_trusted_cas(config.registry, found);
  check_shared(config.registry, found);
  if (!config.registry.key_file.empty()) {
    // One that is not there may come; one that is no key, or everybody's, was put there by mistake.
    const bool there = ::access(config.registry.key_file.c_str(), R_OK) == 0;
    if (const auto key = SealingKey::load(config.registry.key_file); !key && there) {
      found.problem("registry.key_file", "registry.key_file: " + key.error().what);
    } else if (!key) {
      found.warning("registry.key_file",
                    "registry.key_file: " + key.error().what + ": no hosted certificate can be used" +
                        (config.keep_ticket_keys ? ", and no ticket key is kept over a restart" : ""));
    }
  }
  if (const auto tls = config.admin.tls()) {
    if (const auto loaded = load_server_certificate(*tls); !loaded) {
      found.problem("admin.certificate", "admin.certificate: " + loaded.error().what);
    } else if (const auto flaw = date_flaw(loaded->leaf(), std::time(nullptr)); !flaw.empty()) {
      found.warning("admin.certificate", "admin.certificate: the server certificate " + std::string(flaw));
    }
  }
  report.sort();
}

void check_surroundings(ConfigReport& report) {
  const Config config = report.config;
  Findings found(report);
  std::error_code ignored;
  if (fs::exists(config.admin.socket, ignored) && !fs::is_socket(config.admin.socket, ignored)) {
    found.problem("admin.socket", "'admin.socket': " + config.admin.socket + " is there and is no socket");
  }
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) check_servers(config.upstreams[i], i, found);
  check_state_dir(config, found);
  check_limits(config, found);
  // The keys of the listeners were read; a limit that a service has may be another one.
  if (const KeyMemory::State keys = KeyMemory::state(); keys.installed) {
    if (const std::string flaw = key_memory_flaw(keys); !flaw.empty()) found.warning("", flaw);
  }
  report.sort();
}

}  // namespace sallyport
