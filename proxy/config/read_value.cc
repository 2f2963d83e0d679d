// Reads the value of one key, one function for each type a member may have.
#include <algorithm>
#include <charconv>
#include <limits>

#include "cache/base/text.h"
#include "proxy/config/config_reader.h"
#include "proxy/config/host_name.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kLongestDuration = 3660ULL * 86'400'000;

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

// Calls `each` with the texts of a list.
template <class Each>
void each_text(TableReader& reader, const Setting& setting, Each each) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  const toml::array* array = node->as_array();
  if (array == nullptr) return reader.problem(node, reader.quoted(setting.key) + " must be a list of strings");
  for (const toml::node& element : *array) {
    if (auto value = element.value_exact<std::string>()) {
      each(element, std::move(*value));
    } else {
      reader.problem(&element, reader.quoted(setting.key) + " must hold strings only");
    }
  }
}

bool within(const Setting& setting, std::uint64_t value) {
  return value >= setting.least && (setting.most == 0 || value <= setting.most);
}

void read_size(TableReader& reader, const Setting& setting, std::uint64_t& into) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  std::uint64_t bytes = 0;
  if (!value || !scaled(*value, {{"B", 1}, {"KiB", 1U << 10}, {"MiB", 1U << 20}, {"GiB", 1U << 30}}, bytes)) {
    reader.problem(node, reader.quoted(setting.key) + " must be a size such as \"512B\", \"64KiB\" or \"4MiB\"");
  } else if (!within(setting, bytes)) {
    reader.out_of_range(setting);
  } else {
    into = bytes;
  }
}

template <class Integer>
void read_number(TableReader& reader, const Setting& setting, Integer& into) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::int64_t>();
  if (!value) return reader.problem(node, reader.quoted(setting.key) + " must be a whole number");
  if (*value < 0 || static_cast<std::uint64_t>(*value) > std::numeric_limits<Integer>::max() ||
      !within(setting, static_cast<std::uint64_t>(*value))) {
    return reader.out_of_range(setting);
  }
  into = static_cast<Integer>(*value);
}

void read_files(TableReader& reader, const Setting& setting, const toml::table& table,
                std::vector<CertificateFiles>& into) {
  TableReader entry(table, "listener." + std::string(setting.key), reader.problems());
  CertificateFiles files;
  entry.text("chain", files.chain);
  entry.text("key", files.key);
  if (files.chain.empty()) entry.missing("chain", "a PEM file, the server's certificate first");
  if (files.key.empty()) entry.missing("key", "a PEM file with its private key");
  entry.finish();
  into.push_back(std::move(files));
}

}  // namespace

constexpr std::string_view kNoEndpoint = "expected \"host:port\" or \"unix:/path\"";

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
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    return Refusal{Refusal::Kind::Invalid,
                   "write \"host:port\" without \"" + std::string(text.substr(0, scheme + 3)) + "\""};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) {
    return Refusal{Refusal::Kind::Invalid, std::string(kNoEndpoint)};
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

void read_value(TableReader& reader, const Setting& setting, std::string& into) {
  std::string value;
  if (!reader.text(setting.key, value)) return;
  if (!within(setting, value.size())) return reader.out_of_range(setting);
  into = std::move(value);
}

void read_value(TableReader& reader, const Setting& setting, IdentityTemplate& into) {
  std::string value;
  if (!reader.text(setting.key, value)) return;
  if (auto made = IdentityTemplate::parse(value)) {
    into = std::move(*made);
  } else {
    reader.problem(reader.at(setting.key), reader.quoted(setting.key) + ": " + made.error().what);
  }
}

void read_value(TableReader& reader, const Setting& setting, bool& into) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  if (const auto value = node->value_exact<bool>()) {
    into = *value;
  } else {
    reader.problem(node, reader.quoted(setting.key) + " must be true or false");
  }
}

void read_value(TableReader& reader, const Setting& setting, unsigned& into) {
  read_number(reader, setting, into);
}

void read_value(TableReader& reader, const Setting& setting, std::uint64_t& into) {
  if (setting.takes == Takes::Size) return read_size(reader, setting, into);
  read_number(reader, setting, into);
}

void read_value(TableReader& reader, const Setting& setting, std::chrono::milliseconds& into) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  std::uint64_t ms = 0;
  if (!value || !scaled(*value, {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}, ms) ||
      (ms == 0 && !setting.may_be_zero && setting.most == 0) || ms > kLongestDuration) {
    return reader.problem(node, reader.quoted(setting.key) +
                                    " must be a duration in quotes, such as \"250ms\", \"10s\", \"5m\" or \"24h\"" +
                                    (setting.most == 0 ? ", up to ten years" : "") +
                                    (setting.may_be_zero ? ", or \"0s\"" : ""));
  }
  if ((ms != 0 || !setting.may_be_zero) && !within(setting, ms)) return reader.out_of_range(setting);
  into = std::chrono::milliseconds(static_cast<std::int64_t>(ms));
}

void read_value(TableReader& reader, const Setting& setting, std::optional<Endpoint>& into) {
  std::string value;
  if (!reader.text(setting.key, value) || value.empty()) return;
  auto parsed = parse_endpoint(value);
  if (parsed && parsed->unix_path.empty()) {
    into = *parsed;
  } else if (parsed) {
    reader.problem(reader.at(setting.key), reader.quoted(setting.key) + " must be \"host:port\"");
  } else {
    reader.problem(reader.at(setting.key),
                   reader.quoted(setting.key) + " \"" + value +
                       "\": " + (parsed.error().what == kNoEndpoint ? "expected \"host:port\"" : parsed.error().what));
  }
}

void read_value(TableReader& reader, const Setting& setting, Endpoint& into) {
  std::optional<Endpoint> read;
  read_value(reader, setting, read);
  if (read) into = *read;
}

void read_value(TableReader& reader, const Setting& setting, std::vector<Endpoint>& into) {
  each_text(reader, setting, [&](const toml::node& node, const std::string& value) {
    auto endpoint = parse_endpoint(value);
    const std::string which = reader.quoted(setting.key) + " \"" + value + "\": ";
    if (!endpoint) {
      reader.problem(&node, which + endpoint.error().what);
    } else if (endpoint->unix_path.empty() && endpoint->port == 0) {
      reader.problem(&node, which + "port 0 cannot be connected to");
    } else {
      into.push_back(*endpoint);
    }
  });
}

void read_value(TableReader& reader, const Setting& setting, std::vector<std::string>& into) {
  each_text(reader, setting, [&](const toml::node&, std::string value) { into.push_back(std::move(value)); });
}

void read_value(TableReader& reader, const Setting& setting, std::vector<Digest>& into) {
  each_text(reader, setting, [&](const toml::node& node, const std::string& value) {
    std::vector<std::uint8_t> bytes;
    Digest digest{};
    if (!parse_hex(value, bytes) || bytes.size() != digest.size()) {
      return reader.problem(&node,
                            reader.quoted(setting.key) + " takes CA ids of 64 hex digits, as `ca list` shows them");
    }
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    into.push_back(digest);
  });
}

void read_value(TableReader& reader, const Setting& setting, std::vector<Network>& into) {
  each_text(reader, setting, [&](const toml::node& node, const std::string& value) {
    auto network = Network::parse(value);
    if (network) return into.push_back(*network);
    reader.problem(&node, reader.quoted(setting.key) + " \"" + value + "\": " + network.error().what);
  });
}

void read_value(TableReader& reader, const Setting& setting, std::vector<CertificateFiles>& into) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  const std::string holds = reader.quoted(setting.key) + " holds { chain = \"FILE\", key = \"FILE\" } only";
  const toml::array* array = node->as_array();
  if (array == nullptr) return reader.problem(node, holds);
  for (const toml::node& element : *array) {
    if (const toml::table* table = element.as_table()) {
      read_files(reader, setting, *table, into);
    } else {
      reader.problem(&element, holds);
    }
  }
}

void read_value(TableReader& reader, const Setting& setting, BrokerTlsConfig& into) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return;
  const toml::table* table = node->as_table();
  if (table == nullptr) {
    return reader.problem(
        node, reader.quoted(setting.key) +
                  " holds { ca = \"FILE\", certificate = \"FILE\", key = \"FILE\", server_name = \"NAME\" } only");
  }
  TableReader entry(*table, "upstream." + std::string(setting.key), reader.problems());
  entry.text("ca", into.ca);
  entry.text("certificate", into.certificate);
  entry.text("key", into.key);
  entry.text("server_name", into.server_name);
  const std::string& name = into.server_name;
  if (!name.empty() && !is_ip_address(name) && !is_dns_name(name)) {
    entry.problem(entry.at("server_name"),
                  "'upstream.tls.server_name' is a host name or an address, as it stands in the broker's certificate: "
                  "letters, digits, '-' and dots, 253 characters at most; no URL, port, brackets or '*'");
  }
  if (!table->empty() && into.ca.empty()) entry.missing("ca", "a PEM file with the CAs of the broker's certificate");
  if (into.certificate.empty() != into.key.empty()) {
    entry.problem(
        entry.at(into.key.empty() ? "certificate" : "key"),
        "'upstream.tls.certificate' and 'upstream.tls.key' go together: what the broker is shown, and its key");
  }
  entry.finish();
}

bool read_word(TableReader& reader, const Setting& setting, std::size_t& index) {
  const toml::node* node = reader.find(setting.key);
  if (node == nullptr) return false;
  const auto value = node->value_exact<std::string>();
  const auto found = value ? std::find(setting.words.begin(), setting.words.end(), *value) : setting.words.end();
  if (found == setting.words.end()) {
    reader.problem(node, reader.quoted(setting.key) + " must be " + range_of(setting));
    return false;
  }
  index = static_cast<std::size_t>(found - setting.words.begin());
  return true;
}

}  // namespace sallyport
