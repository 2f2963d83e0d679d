#include "cache/shared/pg_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "cache/shared/libpq.h"

namespace sallyport {

namespace {

constexpr const char* kNoLibpq = "needs libpq.so.5, which cannot be loaded: install the package libpq5";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool on_this_machine(const std::string& host) {
  if (host.empty() || host.front() == '/' || host.front() == '@' || host == "localhost") return true;
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return ::inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

// libpq quotes what it could not read, up to the whole string, password and all. Its own words, and the names of
// parameters, are letters.
std::string without_quoted(const std::string& text) {
  std::string out;
  std::size_t at = 0;
  for (;;) {
    const std::size_t begin = text.find('"', at);
    if (begin == std::string::npos) return out + text.substr(at);
    const std::size_t end = text.find('"', begin + 1);
    const std::string quoted = text.substr(begin + 1, end == std::string::npos ? end : end - begin - 1);
    const bool word = quoted.size() <= 32 && std::all_of(quoted.begin(), quoted.end(),
                                                         [](char c) { return c == '_' || (c >= 'a' && c <= 'z'); });
    // What is quoted may have quotes: behind one that is no word nothing is certain.
    if (end == std::string::npos || !word) return out + text.substr(at, begin - at) + "…";
    out += text.substr(at, end + 1 - at);
    at = end + 1;
  }
}

// As libpq reads it (X509_STORE_load_locations(3)).
bool holds_certificates(const std::string& file) {
  X509_STORE* store = X509_STORE_new();
  const bool loaded = store != nullptr && X509_STORE_load_file(store, file.c_str()) == 1;
  X509_STORE_free(store);
  ERR_clear_error();
  return loaded;
}

}  // namespace

void PgUrl::Free::operator()(_PQconninfoOption* options) const {
  pq().PQconninfoFree(options);
}

PgUrl::PgUrl(const std::string& url) {
  if (!pq().loaded) {
    why_ = kNoLibpq;
    return;
  }
  char* error = nullptr;
  options_.reset(pq().PQconninfoParse(url.c_str(), &error));
  if (!options_) why_ = error != nullptr ? error : "it cannot be read";
  pq().PQfreemem(error);
}

std::string PgUrl::value(std::string_view keyword) const {
  for (const PQconninfoOption* each = options_.get(); each != nullptr && each->keyword != nullptr; ++each) {
    if (each->keyword == keyword) return each->val != nullptr ? each->val : "";
  }
  return {};
}

// What the string does not say, libpq takes from the environment or from a service's file.
bool PgUrl::all_on_this_machine() const {
  const auto from = [&](const char* keyword, const char* variable) {
    const std::string value = this->value(keyword);
    return value.empty() ? environment(variable) : value;
  };
  if (!from("service", "PGSERVICE").empty()) return false;
  const std::string addresses = from("hostaddr", "PGHOSTADDR");
  const auto all = parts_of(addresses.empty() ? from("host", "PGHOST") : addresses);
  return std::all_of(all.begin(), all.end(), on_this_machine);
}

std::vector<PgPlace> PgUrl::places() const {
  const auto hosts = parts_of(value("host")), addresses = parts_of(value("hostaddr"));
  const auto ports = parts_of(value("port"));
  const auto whole = [](const auto& list) {
    return std::none_of(list.begin(), list.end(), [](const std::string& each) { return each.empty(); });
  };
  if (hosts.size() < 2 || !whole(hosts) || value("target_session_attrs") == "prefer-standby") return {};
  if (addresses.size() > 1 && (addresses.size() != hosts.size() || !whole(addresses))) return {};
  if (ports.size() > 1 && (ports.size() != hosts.size() || !whole(ports))) return {};
  if (addresses.size() == 1 && !addresses.front().empty()) return {};
  std::vector<PgPlace> all;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    all.push_back({hosts[i], addresses.size() > 1 ? addresses[i] : "", ports[ports.size() > 1 ? i : 0]});
  }
  return all;
}

std::string PgUrl::flaw(const std::string& url) {
  if (!url.starts_with("postgresql://") && !url.starts_with("postgres://")) {
    return "must be a connection string such as postgresql://sallyport@db.example/sallyport";
  }
  // libpq would take such a password for a host, a port or a database, and quote it in what it says.
  const std::string_view rest = std::string_view(url).substr(url.find("//") + 2);
  const std::string_view before = rest.substr(0, rest.find('?'));
  const std::size_t at = before.find('@');
  const bool loose =
      before.find_first_of(" \"'") != std::string_view::npos || before.find('@', at + 1) != std::string_view::npos;
  if (at != std::string_view::npos && (loose || before.find('/') < at)) {
    return "what is not a letter or a digit in its user or password must be percent-encoded: '@' is %40, '/' is %2F";
  }
  if (before.find('=') != std::string_view::npos && at == std::string_view::npos) {
    return "must be a connection string such as postgresql://sallyport@db.example/sallyport, without keywords in its "
           "path";
  }
  if (before.find(' ') != std::string_view::npos) return "must have no blank";
  const PgUrl said(url);
  if (!said) return without_quoted(pq_words(said.why_));
  // Known when it connects, and refused then: too late for who writes it.
  const auto one_of = [&](const char* keyword, std::initializer_list<std::string_view> known) {
    const std::string value = said.value(keyword);
    return value.empty() || std::find(known.begin(), known.end(), value) != known.end();
  };
  if (!one_of("sslmode", {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})) {
    return "has an sslmode that there is not: disable, allow, prefer, require, verify-ca or verify-full";
  }
  if (!one_of("target_session_attrs", {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"})) {
    return "has target_session_attrs that there are not: any, read-write, read-only, primary, standby or "
           "prefer-standby";
  }
  for (const std::string& port : parts_of(said.value("port"))) {  // libpq looks at it when it connects
    int number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    const bool good = error == std::errc() && end == port.data() + port.size() && number > 0 && number < 65536;
    if (!port.empty() && !good) return "has a port that is no number from 1 to 65535";
  }
  return {};
}

std::string PgUrl::weakness(const std::string& url) {
  const PgUrl said(url);
  if (!said || said.all_on_this_machine()) return {};
  const std::string mode = said.value("sslmode");
  if (mode.empty() || mode == "verify-full") return {};
  return "sslmode=" + mode + " does not verify whose server this is: whoever stands between can change the registry";
}

std::string PgUrl::unreadable(const std::string& url) {
  const PgUrl said(url);
  if (!said) return {};
  const auto cannot = [](const std::string& file) { return ::access(file.c_str(), R_OK) != 0; };
  for (const char* keyword : {"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile"}) {
    const std::string file = said.value(keyword);
    // Since libpq 16 that is no file, but what the machine trusts.
    if (file.empty() || (file == "system" && pq().PQlibVersion() >= 160000) || !cannot(file)) continue;
    return std::string("names a file with ") + keyword + " that cannot be read: " + file + ": " + std::strerror(errno);
  }
  const std::string root = said.value("sslrootcert");
  if (!root.empty() && root != "system" && !holds_certificates(root)) {
    return "names a file with sslrootcert that holds no certificate: " + root;
  }
  const std::string mode = said.value("sslmode");
  const bool verifies = mode.starts_with("verify-") || (mode.empty() && !said.all_on_this_machine());
  if (!verifies || !root.empty() || !environment("PGSSLROOTCERT").empty()) return {};
  const std::string file = environment("HOME") + "/.postgresql/root.crt";
  if (!cannot(file)) return {};
  return "does not say with sslrootcert= which CAs prove the server, and there is no " + file +
         ": nothing proves it (sslrootcert=/etc/ssl/certs/ca-certificates.crt is the machine's own)";
}

std::string PgUrl::shown(const std::string& url) {
  const PgUrl said(url);
  if (!said) return "postgresql://…";  // what it is nobody knows
  const std::string port = said.value("port");
  return said.value("host") + (port.empty() ? "" : ":" + port) + "/" + said.value("dbname");
}

}  // namespace sallyport
