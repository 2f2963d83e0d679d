#include "proxy/config/config.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "cache/base/file.h"
#include "cache/base/text.h"
#include "proxy/config/config_reader.h"
#include "proxy/config/host_name.h"

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

// "127.0.0.0/8", "::1" or "localhost".
bool is_loopback(const std::string& host) {
  const bool number = host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || host == "::1" || (number && host.substr(0, 4) == "127.");
}

void check_admin(TableReader& reader, const AdminConfig& admin) {
  if (admin.certificate.empty() != admin.key.empty()) {
    reader.problem(reader.at(admin.certificate.empty() ? "key" : "certificate"),
                   "'admin.certificate' and 'admin.key' go together: chain and private key");
  }
  if (admin.address && !admin.tls() && !is_loopback(admin.address->host)) {
    reader.problem(reader.at("address"),
                   "'admin.address' is not loopback: tokens would travel in clear; set 'certificate' and 'key'");
  }
}

void check_ticket_keys(const toml::table& proxy, const Config& config, std::vector<ConfigProblem>& problems) {
  if (!config.keep_ticket_keys || !config.registry.key_file.empty()) return;
  TableReader reader(proxy, "proxy", problems);
  reader.problem(reader.at("keep_ticket_keys"),
                 "'proxy.keep_ticket_keys' needs 'registry.key_file': ticket keys are not kept unencrypted");
}

using Tables = std::vector<const toml::table*>;

bool is_mqtt_text(std::string_view text) {
  while (!text.empty() && text[0] != '\0' && utf8_sequence(text) != 0) text.remove_prefix(utf8_sequence(text));
  return text.empty();
}

// Templates say who a device is: there must be one, and a CONNECT to say it in.
void check_identity(TableReader& reader, const ListenerConfig& listener, const UpstreamConfig* upstream) {
  using enum IdentityTemplate::Field;
  if (listener.client_id.uses(ClientId)) {
    reader.problem(reader.at("client_id"),
                   "'listener.client_id' is what the client id must equal: {client_id} in it "
                   "says nothing");
  }
  const auto no_connect = [&](const std::string& what) {
    if (listener.protocol == Protocol::Tcp) {
      reader.problem(reader.at("protocol"), what + " the CONNECT, which protocol = \"tcp\" does not have");
    } else if (listener.auth == AuthMode::OneWay) {
      reader.problem(reader.at("auth"), what +
                                            " the CONNECT by the device's certificate, which auth = \"one-way\" "
                                            "does not ask for");
    }
  };
  if (!listener.client_id.empty()) no_connect("'listener.client_id' checks");
  if (upstream != nullptr && upstream->tells_identity()) {
    no_connect("upstream '" + upstream->name + "' (username, client_id, user_properties) writes");
  }
}

void check_tls(TableReader& reader, const UpstreamConfig& upstream) {
  if (!upstream.tls.asked()) return;
  if (upstream.proxy_protocol) {
    reader.problem(reader.at("proxy_protocol"),
                   "'upstream.proxy_protocol' goes before TLS, in clear, and who is on the way may change it: tell the "
                   "broker by 'username', 'client_id' or 'user_properties'");
  }
  for (const Endpoint& server : upstream.servers) {
    if (!upstream.tls.server_name.empty() || is_ip_address(server.host) || is_dns_name(server.host)) continue;
    reader.problem(reader.at("tls"), "'upstream.tls.server_name' is missing: " + server.text() +
                                         " has no host that the broker's certificate could name");
  }
}

// What only shows once all tables are read: names and addresses used twice, upstreams that do not exist.
void join(const Tables& listener_tables, const Tables& upstream_tables, Config& config, Problems& problems) {
  std::set<std::string> upstream_names, listener_names, addresses;
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    TableReader reader(*upstream_tables[i], "upstream", problems);
    if (!is_mqtt_text(config.upstreams[i].server_reference)) {
      reader.problem(reader.at("server_reference"), "'upstream.server_reference' must be UTF-8 without U+0000");
    }
    const std::string& name = config.upstreams[i].name;
    if (!name.empty() && !upstream_names.insert(name).second) {
      reader.problem(reader.at("name"), "two upstreams are called '" + name + "'");
    }
    std::set<std::string> servers;
    for (const Endpoint& server : config.upstreams[i].servers) {
      if (servers.insert(server.text()).second) continue;
      reader.problem(reader.at("servers"), "upstream '" + name + "' has the server " + server.text() + " twice");
    }
    if (servers.size() > UpstreamConfig::kMostServers) {
      reader.problem(reader.at("servers"), "upstream '" + name + "' has more than " +
                                               std::to_string(UpstreamConfig::kMostServers) + " servers");
    }
    check_tls(reader, config.upstreams[i]);
    if (config.upstreams[i].proxy_protocol_certificate && !config.upstreams[i].proxy_protocol) {
      reader.problem(reader.at("proxy_protocol_certificate"),
                     "'upstream.proxy_protocol_certificate' adds to the PROXY header: set 'proxy_protocol' as well");
    }
  }
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    TableReader reader(*listener_tables[i], "listener", problems);
    ListenerConfig& listener = config.listeners[i];
    if (!listener.name.empty() && !listener_names.insert(listener.name).second) {
      reader.problem(reader.at("name"), "two listeners are called '" + listener.name + "'");
    }
    if (listener.address.port != 0 && !addresses.insert(listener.address.text()).second) {
      reader.problem(reader.at("address"), "two listeners have the address " + listener.address.text());
    }
    const auto found =
        std::find_if(config.upstreams.begin(), config.upstreams.end(),
                     [&](const UpstreamConfig& upstream) { return upstream.name == listener.upstream_name; });
    if (!listener.upstream_name.empty() && found == config.upstreams.end()) {
      reader.problem(reader.at("upstream"), "there is no [[upstream]] called '" + listener.upstream_name + "'");
    } else if (found != config.upstreams.end()) {
      listener.upstream = static_cast<std::size_t>(found - config.upstreams.begin());
      if (found->balance == Balance::ClientId && listener.protocol == Protocol::Tcp) {
        reader.problem(reader.at("protocol"),
                       "balance = \"client-id\" reads the CONNECT, which protocol = \"tcp\" does not have");
      }
    }
    check_identity(reader, listener, found == config.upstreams.end() ? nullptr : &*found);
  }
}

void read_all(const toml::table& root, ConfigReport& report) {
  Problems& problems = report.problems;
  Config& config = report.config;
  TableReader top(root, "", problems);
  if (root.empty()) top.problem(&root, "the file says nothing: `sallyport config --default` prints one to begin with");
  Tables listeners, upstreams;
  const auto fill = [&](std::string_view name, auto rows, auto& owner) {
    one_table(top, name,
              [&](const toml::table& table) { TableReader(table, std::string(name), problems).read(rows, owner); });
  };
  const toml::table* proxy = nullptr;
  one_table(top, "proxy", [&](const toml::table& table) {
    TableReader(table, "proxy", problems).read(proxy_rows(), config);
    proxy = &table;
  });
  each_table(top, "listener", [&](const toml::table& table) {
    ListenerConfig& listener = config.listeners.emplace_back();
    listener.tls_engine = config.tls_engine;  // until it says something else
    TableReader(table, "listener", problems).read(listener_rows(), listener);
    listeners.push_back(&table);
  });
  each_table(top, "upstream", [&](const toml::table& table) {
    TableReader(table, "upstream", problems).read(upstream_rows(), config.upstreams.emplace_back());
    upstreams.push_back(&table);
  });
  fill("registry", registry_rows(), config.registry);
  if (proxy != nullptr) check_ticket_keys(*proxy, config, problems);
  one_table(top, "admin", [&](const toml::table& table) {
    TableReader reader(table, "admin", problems);
    reader.read(admin_rows(), config.admin);
    check_admin(reader, config.admin);
  });
  fill("metrics", metrics_rows(), config);
  fill("log", log_rows(), config);
  top.read(top_rows(), config);
  join(listeners, upstreams, config, problems);
}

void note_places(const toml::node& node, const std::string& name, ConfigReport& report) {
  if (!name.empty()) report.places.emplace(name, std::pair(node.source().begin.line, node.source().begin.column));
  if (const toml::table* table = node.as_table()) {
    for (const auto& [key, value] : *table) {
      note_places(value, (name.empty() ? "" : name + ".") + std::string(key.str()), report);
    }
  } else if (const toml::array* array = node.as_array()) {
    for (std::size_t i = 0; i < array->size(); ++i)
      note_places((*array)[i], name + "[" + std::to_string(i) + "]", report);
  }
}

}  // namespace

ConfigProblem ConfigReport::at(std::string key, std::string message) const {
  for (;;) {
    if (const auto found = places.find(key); found != places.end()) {
      return {found->second.first, found->second.second, std::move(message)};
    }
    const std::size_t end = key.find_last_of(".[");
    if (end == std::string::npos) return {0, 0, std::move(message)};
    key.resize(end);
  }
}

void ConfigReport::sort() {
  for (std::vector<ConfigProblem>* list : {&problems, &warnings}) {
    std::stable_sort(list->begin(), list->end(), [](const auto& a, const auto& b) {
      return std::pair(a.line, a.column) < std::pair(b.line, b.column);
    });
  }
}

std::optional<CertificateFiles> AdminConfig::tls() const {
  if (certificate.empty() || key.empty()) return std::nullopt;
  return CertificateFiles{certificate, key};
}

std::string Endpoint::text() const {
  if (!unix_path.empty()) return "unix:" + unix_path;
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string why_not_told(const ListenerConfig& listener, const UpstreamConfig& upstream, AuthMode auth) {
  const bool asks = !listener.client_id.empty();
  if (!asks && !upstream.tells_identity()) return "";
  if (listener.protocol == Protocol::Tcp) {
    return "protocol \"tcp\" has no CONNECT to write the identity into; a listener's protocol changes with a restart";
  }
  if (auth == AuthMode::Mutual) return "";
  return "auth one-way asks for no certificate, and " +
         (asks ? "listener.client_id" : "upstream '" + upstream.name + "'") +
         " takes the identity from it: leave the listener mutual (`sallyport listener reset` takes a mode back that "
         "was "
         "chosen at run time), or lead it to another upstream";
}

ConfigReport parse_config(std::string_view text, std::string_view file_name) {
  ConfigReport report;
  try {
    const toml::table root = toml::parse(text, std::string(file_name));
    read_all(root, report);
    note_places(root, "", report);
  } catch (const toml::parse_error& error) {
    const toml::source_position begin = error.source().begin;
    std::string message(error.description());
    // What a value without quotes is taken for.
    for (const std::string_view taken_for :
         {"determine value type", "parsing time", "parsing date", "parsing floating"}) {
      if (message.find(taken_for) != std::string::npos) message += "; a text goes in double quotes";
    }
    report.problems.push_back({begin.line, begin.column, std::move(message)});
  }
  report.sort();
  return report;
}

ConfigReport load_config(const std::string& path) {
  constexpr std::size_t kLargest = 1024 * 1024;
  const auto text = read_file(path, kLargest);
  if (text) return parse_config(*text, path);
  ConfigReport report;
  std::string message = text.error().what.substr(path.size() + 2);
  const int why = ::access(path.c_str(), R_OK) == 0 ? 0 : errno;
  if (why == ENOENT) message += ": name one that is there with --config, or begin with `sallyport config --default`";
  if (why == EACCES) message += ": run it as the user that it serves as, or let this one read the file";
  report.problems.push_back({0, 0, std::move(message)});
  report.unread = true;
  return report;
}

std::string to_string(const ConfigProblem& problem, std::string_view file_name) {
  std::string at(file_name);
  if (problem.line > 0) at += ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column);
  return at + ": " + problem.message;
}

}  // namespace sallyport
