#include "proxy/config/config.h"

#include <algorithm>
#include <set>

#include "cache/base/file.h"
#include "proxy/config/config_reader.h"

namespace sallyport {

namespace {

using Problems = std::vector<ConfigProblem>;

// Calls `read` with each table of an array of tables (`[[name]]`).
template <class Read>
void each_table(TableReader& top, std::string_view name, Read read) {
  const toml::node* node = top.find(name);
  if (node == nullptr) return;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    top.problem(node, "write each one as [[" + std::string(name) + "]]");
    return;
  }
  for (const toml::node& element : *array) {
    if (const toml::table* table = element.as_table()) {
      read(*table);
    } else {
      top.problem(&element, "write each one as [[" + std::string(name) + "]]");
    }
  }
}

template <class Read>
void one_table(TableReader& top, std::string_view name, Read read) {
  const toml::node* node = top.find(name);
  if (node == nullptr) return;
  if (const toml::table* table = node->as_table()) {
    read(*table);
  } else {
    top.problem(node, "'" + std::string(name) + "' must be a table: write [" + std::string(name) + "]");
  }
}

void read_certificates(TableReader& reader, ListenerConfig& listener, Problems& problems) {
  const toml::node* node = reader.find("certificates");
  const toml::array* array = node != nullptr ? node->as_array() : nullptr;
  if (array == nullptr || array->empty()) {
    reader.problem(reader.at("certificates"),
                   "'listener.certificates' needs at least one { chain = \"FILE\", key = \"FILE\" }");
    return;
  }
  for (const toml::node& element : *array) {
    const toml::table* table = element.as_table();
    if (table == nullptr) {
      reader.problem(&element, "'listener.certificates' holds { chain = \"FILE\", key = \"FILE\" } only");
      continue;
    }
    TableReader entry(*table, "listener.certificates", problems);
    CertificateFiles files;
    entry.text("chain", files.chain);
    entry.text("key", files.key);
    if (files.chain.empty()) entry.missing("chain", "a PEM file, the server's certificate first");
    if (files.key.empty()) entry.missing("key", "a PEM file with its private key");
    entry.finish();
    listener.certificates.push_back(std::move(files));
  }
}

void read_ca_ids(TableReader& reader, ListenerConfig& listener) {
  std::vector<std::string> ids;
  reader.texts("cas", ids);
  for (const std::string& id : ids) {
    std::vector<std::uint8_t> bytes;
    Digest digest{};
    if (!parse_hex(id, bytes) || bytes.size() != digest.size()) {
      reader.problem(reader.at("cas"), "'listener.cas' takes CA ids of 64 hex digits, as `ca list` shows them");
      continue;
    }
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    listener.cas.push_back(digest);
  }
}

// Keys whose work lands with later issues; see TableReader::only_default.
void refuse_later_listener_keys(TableReader& reader) {
  reader.only_default("client_id", toml::value<std::string>(""));
}

// The listener's `upstream` by name is resolved once all are known; until then the name waits here.
struct Named {
  ListenerConfig listener;
  std::string upstream;
  const toml::table* table = nullptr;
};

Named read_listener(const toml::table& table, Problems& problems) {
  TableReader reader(table, "listener", problems);
  Named named;
  named.table = &table;
  ListenerConfig& listener = named.listener;
  reader.text("name", listener.name);
  reader.endpoint("address", listener.address);
  reader.word("auth", listener.auth, {{"mutual", AuthMode::Mutual}, {"one-way", AuthMode::OneWay}});
  reader.word("protocol", listener.protocol, {{"mqtt", Protocol::Mqtt}, {"tcp", Protocol::Tcp}});
  reader.text("upstream", named.upstream);
  read_certificates(reader, listener, problems);
  reader.word("tls_min", listener.tls_min, {{"1.2", TlsMin::V12}, {"1.3", TlsMin::V13}});
  reader.flag("resumption", listener.resumption);
  read_ca_ids(reader, listener);
  reader.duration("handshake_timeout", listener.handshake_timeout);
  reader.duration("connect_timeout", listener.connect_timeout);
  reader.size("max_connect_size", listener.max_connect_bytes);
  reader.number("max_connections", listener.max_connections);
  reader.number<std::uint64_t>("max_connections_per_ip", listener.max_connections_per_ip);
  reader.number<std::uint64_t>("max_new_per_second_per_ip", listener.max_new_per_second_per_ip, 0, 1'000'000);
  reader.number<std::uint32_t>("max_handshakes_per_shard", listener.max_handshakes_per_shard, 1, 65536);
  reader.flag("cut_sessions", listener.cut_sessions);
  refuse_later_listener_keys(reader);
  if (listener.name.empty()) reader.missing("name", "logs, metrics and commands call the listener by it");
  if (listener.address.host.empty() && table.get("address") == nullptr) {
    reader.missing("address", "where to listen, for example \"0.0.0.0:8883\"");
  }
  if (!listener.address.unix_path.empty()) {
    reader.problem(reader.at("address"), "'listener.address' must be \"host:port\": devices come over TCP");
  }
  if (named.upstream.empty()) reader.missing("upstream", "the name of an [[upstream]]");
  if (listener.max_connect_bytes < 64 || listener.max_connect_bytes > 16U << 20) {
    reader.problem(reader.at("max_connect_size"), "'listener.max_connect_size' must be between 64B and 16MiB");
  }
  reader.finish();
  return named;
}

UpstreamConfig read_upstream(const toml::table& table, Problems& problems) {
  TableReader reader(table, "upstream", problems);
  UpstreamConfig upstream;
  reader.text("name", upstream.name);
  std::vector<std::string> servers;
  reader.texts("servers", servers);
  for (const std::string& server : servers) {
    auto endpoint = parse_endpoint(server);
    if (!endpoint) {
      reader.problem(reader.at("servers"), "'upstream.servers' \"" + server + "\": " + endpoint.error().what);
    } else if (endpoint->unix_path.empty() && endpoint->port == 0) {
      reader.problem(reader.at("servers"), "'upstream.servers' \"" + server + "\": port 0 cannot be connected to");
    } else {
      upstream.servers.push_back(*endpoint);
    }
  }
  if (servers.empty()) reader.missing("servers", "at least one \"host:port\" or \"unix:/path\" of a broker");
  reader.word("balance", upstream.balance,
              {{"least-connections", Balance::LeastConnections},
               {"round-robin", Balance::RoundRobin},
               {"client-id", Balance::ClientId}});
  reader.texts("source", upstream.source);
  reader.duration("health_interval", upstream.health_interval);
  reader.only_default("username", toml::value<std::string>(""));
  reader.only_default("client_id", toml::value<std::string>(""));
  reader.only_default("proxy_protocol", toml::value<bool>(false));
  if (upstream.name.empty()) reader.missing("name", "listeners refer to the upstream by it");
  reader.finish();
  return upstream;
}

void read_proxy(const toml::table& table, Config& config, Problems& problems) {
  TableReader reader(table, "proxy", problems);
  reader.number<unsigned>("shards", config.shards, 0, 1024);
  reader.duration("drain", config.drain);
  reader.number<std::uint64_t>("cuts_per_second", config.cuts_per_second, 1, 1'000'000);
  reader.finish();
}

void read_registry(const toml::table& table, Config& config, Problems& problems) {
  TableReader reader(table, "registry", problems);
  reader.flag("auto_register", config.registry.auto_register);
  reader.texts("trusted_cas", config.registry.trusted_cas);
  reader.number<std::size_t>("max_cas", config.registry.max_cas, 1, 100'000);
  reader.number("max_devices_per_ca", config.registry.max_devices_per_ca);
  reader.number<std::size_t>("queue", config.registry.queue, 1, std::size_t{1} << 24);
  reader.text("key_file", config.registry.key_file);
  reader.finish();
}

// "127.0.0.0/8", "::1" or "localhost".
bool is_loopback(const std::string& host) {
  const bool number = host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || host == "::1" || (number && host.substr(0, 4) == "127.");
}

void read_admin_address(TableReader& reader, const std::string& address, AdminConfig& admin) {
  auto endpoint = parse_endpoint(address);
  if (!endpoint || !endpoint->unix_path.empty()) {
    reader.problem(reader.at("address"), "'admin.address' must be \"host:port\"");
    return;
  }
  admin.address = *endpoint;
  if (!admin.tls && !is_loopback(endpoint->host)) {
    reader.problem(reader.at("address"),
                   "'admin.address' is not loopback: tokens would travel in clear; set 'certificate' and 'key'");
  }
}

void read_admin(const toml::table& table, Config& config, Problems& problems) {
  TableReader reader(table, "admin", problems);
  AdminConfig& admin = config.admin;
  reader.text("socket", admin.socket);
  if (admin.socket.empty() || admin.socket.size() > 107) {
    reader.problem(reader.at("socket"), "'admin.socket' takes a path of 1 to 107 bytes");
  }
  std::string address;
  CertificateFiles tls;
  reader.text("address", address);
  reader.text("certificate", tls.chain);
  reader.text("key", tls.key);
  reader.text("backup_dir", admin.backup_dir);
  if (tls.chain.empty() != tls.key.empty()) {
    reader.problem(reader.at(tls.chain.empty() ? "key" : "certificate"),
                   "'admin.certificate' and 'admin.key' go together: chain and private key");
  }
  if (!tls.chain.empty()) admin.tls = tls;
  if (!address.empty()) read_admin_address(reader, address, admin);
  reader.finish();
}

void read_metrics(const toml::table& table, Config& config, Problems& problems) {
  TableReader reader(table, "metrics", problems);
  reader.endpoint("address", config.metrics);
  if (!config.metrics.unix_path.empty()) {
    reader.problem(reader.at("address"), "'metrics.address' must be \"host:port\"");
  }
  reader.finish();
}

void read_log(const toml::table& table, Config& config, Problems& problems) {
  TableReader reader(table, "log", problems);
  reader.word("level", config.log_level,
              {{"debug", Level::Debug}, {"info", Level::Info}, {"warn", Level::Warn}, {"error", Level::Error}});
  reader.word("format", config.log_format, {{"text", LogFormat::Text}, {"json", LogFormat::Json}});
  reader.finish();
}

// What only shows once all tables are read: names and addresses used twice, upstreams that do not exist.
void join(std::vector<Named>& listeners, const std::vector<const toml::table*>& upstream_tables, Config& config,
          Problems& problems) {
  std::set<std::string> upstream_names, listener_names, addresses;
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    TableReader reader(*upstream_tables[i], "upstream", problems);
    const std::string& name = config.upstreams[i].name;
    if (!name.empty() && !upstream_names.insert(name).second) {
      reader.problem(reader.at("name"), "two upstreams are called '" + name + "'");
    }
  }
  for (Named& named : listeners) {
    TableReader reader(*named.table, "listener", problems);
    ListenerConfig& listener = named.listener;
    if (!listener.name.empty() && !listener_names.insert(listener.name).second) {
      reader.problem(reader.at("name"), "two listeners are called '" + listener.name + "'");
    }
    if (listener.address.port != 0 && !addresses.insert(listener.address.text()).second) {
      reader.problem(reader.at("address"), "two listeners have the address " + listener.address.text());
    }
    const auto found = std::find_if(config.upstreams.begin(), config.upstreams.end(),
                                    [&](const UpstreamConfig& upstream) { return upstream.name == named.upstream; });
    if (!named.upstream.empty() && found == config.upstreams.end()) {
      reader.problem(reader.at("upstream"), "there is no [[upstream]] called '" + named.upstream + "'");
    } else if (found != config.upstreams.end()) {
      listener.upstream = static_cast<std::size_t>(found - config.upstreams.begin());
      if (found->balance == Balance::ClientId && listener.protocol == Protocol::Tcp) {
        reader.problem(reader.at("protocol"),
                       "balance = \"client-id\" reads the CONNECT, which protocol = \"tcp\" does not have");
      }
    }
    config.listeners.push_back(std::move(listener));
  }
}

void read_all(const toml::table& root, ConfigReport& report) {
  Problems& problems = report.problems;
  Config& config = report.config;
  TableReader top(root, "", problems);
  top.text("state_dir", config.state_dir);
  if (config.state_dir.empty()) top.problem(top.at("state_dir"), "'state_dir' must name a folder");
  std::vector<Named> listeners;
  std::vector<const toml::table*> upstream_tables;
  one_table(top, "proxy", [&](const toml::table& table) { read_proxy(table, config, problems); });
  each_table(top, "listener", [&](const toml::table& table) { listeners.push_back(read_listener(table, problems)); });
  each_table(top, "upstream", [&](const toml::table& table) {
    config.upstreams.push_back(read_upstream(table, problems));
    upstream_tables.push_back(&table);
  });
  one_table(top, "registry", [&](const toml::table& table) { read_registry(table, config, problems); });
  one_table(top, "admin", [&](const toml::table& table) { read_admin(table, config, problems); });
  one_table(top, "metrics", [&](const toml::table& table) { read_metrics(table, config, problems); });
  one_table(top, "log", [&](const toml::table& table) { read_log(table, config, problems); });
  if (listeners.empty()) top.problem(&root, "there is no [[listener]]: nothing to serve");
  top.finish();
  join(listeners, upstream_tables, config, problems);
}

}  // namespace

std::string Endpoint::text() const {
  if (!unix_path.empty()) return "unix:" + unix_path;
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

ConfigReport parse_config(std::string_view text, std::string_view file_name) {
  ConfigReport report;
  try {
    const toml::table root = toml::parse(text, std::string(file_name));
    read_all(root, report);
  } catch (const toml::parse_error& error) {
    const toml::source_position begin = error.source().begin;
    report.problems.push_back({begin.line, begin.column, std::string(error.description())});
  }
  std::stable_sort(report.problems.begin(), report.problems.end(), [](const auto& a, const auto& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  return report;
}

ConfigReport load_config(const std::string& path) {
  constexpr std::size_t kLargest = 1024 * 1024;
  const auto text = read_file(path, kLargest);
  if (text) return parse_config(*text, path);
  ConfigReport report;
  report.problems.push_back({0, 0, text.error().what.substr(path.size() + 2)});
  return report;
}

std::string to_string(const ConfigProblem& problem, std::string_view file_name) {
  return std::string(file_name) + ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column) + ": " +
         problem.message;
}

}  // namespace sallyport
