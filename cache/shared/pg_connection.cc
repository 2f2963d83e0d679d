#include "cache/shared/pg_connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cache/crypto/openssl_ptr.h"
#include "cache/shared/libpq.h"

namespace sallyport {

namespace {

constexpr std::chrono::milliseconds kSlice{50};  // between two looks at who else waits

constexpr std::uint32_t kInt2 = 21, kBytea = 17;  // pg_type.dat: their object ids never change

template <class Integer>
void put(std::string& out, Integer value) {
  for (int shift = static_cast<int>(sizeof(Integer)) * 8 - 8; shift >= 0; shift -= 8) {
    out += static_cast<char>(static_cast<std::uint64_t>(value) >> shift & 0xFF);
  }
}

// An array of one dimension, as array_recv() reads it.
std::string array_of(std::uint32_t type, std::size_t size, bool nulls) {
  std::string out;
  put<std::uint32_t>(out, size == 0 ? 0 : 1);
  put<std::uint32_t>(out, nulls ? 1 : 0);
  put<std::uint32_t>(out, type);
  if (size == 0) return out;
  put<std::uint32_t>(out, static_cast<std::uint32_t>(size));
  put<std::uint32_t>(out, 1);
  return out;
}

constexpr std::chrono::milliseconds kAsked{1000};  // whether an answer is still wanted
constexpr const char* kNoLibpq = "needs libpq.so.5, which cannot be loaded: install the package libpq5";

struct Close {
  void operator()(PGconn* connection) const { pq().PQfinish(connection); }
  void operator()(PQconninfoOption* options) const { pq().PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, Close>;

Options parsed(const std::string& url, std::string* why = nullptr) {
  if (!pq().loaded) {
    if (why != nullptr) *why = kNoLibpq;
    return {};
  }
  char* error = nullptr;
  Options options(pq().PQconninfoParse(url.c_str(), &error));
  if (!options && why != nullptr) *why = error != nullptr ? error : "it cannot be read";
  pq().PQfreemem(error);
  return options;
}

std::string value_of(const Options& options, std::string_view keyword) {
  for (const PQconninfoOption* each = options.get(); each != nullptr && each->keyword != nullptr; ++each) {
    if (each->keyword == keyword) return each->val != nullptr ? each->val : "";
  }
  return {};
}

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

// What the string does not say, libpq takes from the environment or from a service's file.
bool all_on_this_machine(const Options& options) {
  const auto said = [&](const char* keyword, const char* variable) {
    const std::string value = value_of(options, keyword);
    return value.empty() ? environment(variable) : value;
  };
  if (!said("service", "PGSERVICE").empty()) return false;
  const std::string addresses = said("hostaddr", "PGHOSTADDR");
  const auto all = parts_of(addresses.empty() ? said("host", "PGHOST") : addresses);
  return std::all_of(all.begin(), all.end(), on_this_machine);
}

// Empty: libpq sorts it out alone, as the string says.
std::vector<PgPlace> places_of(const Options& options) {
  const auto hosts = parts_of(value_of(options, "host")), addresses = parts_of(value_of(options, "hostaddr"));
  const auto ports = parts_of(value_of(options, "port"));
  const auto whole = [](const auto& list) {
    return std::none_of(list.begin(), list.end(), [](const std::string& each) { return each.empty(); });
  };
  if (hosts.size() < 2 || !whole(hosts) || value_of(options, "target_session_attrs") == "prefer-standby") return {};
  if (addresses.size() > 1 && (addresses.size() != hosts.size() || !whole(addresses))) return {};
  if (ports.size() > 1 && (ports.size() != hosts.size() || !whole(ports))) return {};
  if (addresses.size() == 1 && !addresses.front().empty()) return {};
  std::vector<PgPlace> all;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    all.push_back({hosts[i], addresses.size() > 1 ? addresses[i] : "", ports[ports.size() > 1 ? i : 0]});
  }
  return all;
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

// libpq's words on one line, without its guess at why a server went away.
std::string one_line(const std::string& said) {
  std::string text;
  for (const char c : said) {
    const bool blank = c == '\n' || c == '\t' || c == ' ';
    if (!blank) text += c;
    if (blank && !text.empty() && text.back() != ' ') text += ' ';
  }
  text.resize(std::min(text.find("This probably means"), text.size()));
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace

PgValue PgValue::number(std::uint64_t value) {
  std::string raw;
  put(raw, value);
  return PgValue(std::move(raw));
}

PgValue PgValue::smallints(std::span<const std::uint8_t> values) {
  std::string raw = array_of(kInt2, values.size(), false);
  for (const std::uint8_t value : values) {
    put<std::uint32_t>(raw, 2);
    put<std::uint16_t>(raw, value);
  }
  return PgValue(std::move(raw));
}

PgValue PgValue::texts(std::span<const std::optional<std::string_view>> values) {
  const bool nulls = std::any_of(values.begin(), values.end(), [](const auto& each) { return !each; });
  std::string raw = array_of(kBytea, values.size(), nulls);
  for (const auto& value : values) {
    put<std::uint32_t>(raw, value ? static_cast<std::uint32_t>(value->size()) : 0xFFFFFFFF);
    if (value) raw += *value;
  }
  return PgValue(std::move(raw));
}

PgRows::PgRows(PgRows&& other) noexcept : result_(std::exchange(other.result_, nullptr)) {}
PgRows& PgRows::operator=(PgRows&& other) noexcept {
  std::swap(result_, other.result_);
  return *this;
}
PgRows::~PgRows() {
  pq().PQclear(result_);
}
std::size_t PgRows::size() const {
  return static_cast<std::size_t>(pq().PQntuples(result_));
}
bool PgRows::null(std::size_t row, int column) const {
  return pq().PQgetisnull(result_, static_cast<int>(row), column) != 0;
}
std::string_view PgRows::bytes(std::size_t row, int column) const {
  const auto length = static_cast<std::size_t>(pq().PQgetlength(result_, static_cast<int>(row), column));
  return {pq().PQgetvalue(result_, static_cast<int>(row), column), length};
}
std::int64_t PgRows::number(std::size_t row, int column) const {
  const std::string_view raw = bytes(row, column);
  std::uint64_t value = 0;
  for (const char c : raw) value = value << 8 | static_cast<unsigned char>(c);
  if (raw.size() == 8) return static_cast<std::int64_t>(value);
  if (raw.size() == 4) return static_cast<std::int32_t>(value);
  if (raw.size() == 2) return static_cast<std::int16_t>(value);
  return 0;
}
std::uint64_t PgRows::affected() const {
  return std::strtoull(pq().PQcmdTuples(result_), nullptr, 10);
}

std::string PgConnection::flaw(const std::string& url) {
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
  std::string why;
  const Options options = parsed(url, &why);
  if (!options) return without_quoted(one_line(why));
  for (const std::string& port : parts_of(value_of(options, "port"))) {  // libpq looks at it when it connects
    int number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    const bool good = error == std::errc() && end == port.data() + port.size() && number > 0 && number < 65536;
    if (!port.empty() && !good) return "has a port that is no number from 1 to 65535";
  }
  return {};
}

std::string PgConnection::weakness(const std::string& url) {
  const Options options = parsed(url);
  if (!options || all_on_this_machine(options)) return {};
  const std::string mode = value_of(options, "sslmode");
  if (mode.empty() || mode == "verify-full") return {};
  return "sslmode=" + mode + " does not verify whose server this is: whoever stands between can change the registry";
}

namespace {

// As libpq reads it (X509_STORE_load_locations(3)).
bool holds_certificates(const std::string& file) {
  const std::unique_ptr<X509_STORE, OpensslFree<&X509_STORE_free>> store(X509_STORE_new());
  const bool loaded = store && X509_STORE_load_file(store.get(), file.c_str()) == 1;
  ERR_clear_error();
  return loaded;
}

}  // namespace

std::string PgConnection::unreadable(const std::string& url) {
  const Options options = parsed(url);
  if (!options) return {};
  const auto cannot = [](const std::string& file) { return ::access(file.c_str(), R_OK) != 0; };
  for (const char* keyword : {"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile"}) {
    const std::string file = value_of(options, keyword);
    // Since libpq 16 that is no file, but what the machine trusts.
    if (file.empty() || (file == "system" && pq().PQlibVersion() >= 160000) || !cannot(file)) continue;
    return std::string("names a file with ") + keyword + " that cannot be read: " + file + ": " + std::strerror(errno);
  }
  const std::string root = value_of(options, "sslrootcert");
  if (!root.empty() && root != "system" && !holds_certificates(root)) {
    return "names a file with sslrootcert that holds no certificate: " + root;
  }
  const std::string mode = value_of(options, "sslmode");
  const bool verifies = mode.starts_with("verify-") || (mode.empty() && !all_on_this_machine(options));
  if (!verifies || !root.empty() || !environment("PGSSLROOTCERT").empty()) return {};
  const std::string file = environment("HOME") + "/.postgresql/root.crt";
  if (!cannot(file)) return {};
  return "does not say with sslrootcert= which CAs prove the server, and there is no " + file +
         ": nothing proves it (sslrootcert=/etc/ssl/certs/ca-certificates.crt is the machine's own)";
}

std::string PgConnection::shown(const std::string& url) {
  const Options options = parsed(url);
  if (!options) return "postgresql://…";  // what it is nobody knows
  const std::string port = value_of(options, "port");
  return value_of(options, "host") + (port.empty() ? "" : ":" + port) + "/" + value_of(options, "dbname");
}

Answer<std::unique_ptr<PgConnection>> PgConnection::open(const std::string& url, const std::string& name,
                                                         std::chrono::milliseconds limit, const PgPlace& at) {
  const Clock::time_point until = Clock::now() + limit;
  const Options options = parsed(url);
  if (!options) return Refusal{Refusal::Kind::Invalid, "registry.shared: " + flaw(url)};
  const bool verify = value_of(options, "sslmode").empty() && !all_on_this_machine(options);
  std::vector<PgPlace> places = at.host.empty() ? places_of(options) : std::vector<PgPlace>{at};
  if (places.empty()) places.emplace_back();
  std::string why;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto part = (until - Clock::now()) / static_cast<int>(places.size() - i);
    auto made = open_at(url, name, places[i], verify, Clock::now() + part);
    if (made) return made;
    if (places.size() == 1) return made.error();
    why += (why.empty() ? "" : "; ") + places[i].host + ": " + made.error().what;
  }
  return fail(why);
}

// libpq's asynchronous way knows no limit of its own: connect_timeout is of PQconnectdb() alone.
Answer<std::unique_ptr<PgConnection>> PgConnection::open_at(const std::string& url, const std::string& name,
                                                            const PgPlace& at, bool verify, Clock::time_point until) {
  // Behind the string: what stands later overwrites it, and what is null or empty counts for nothing.
  const char* keywords[] = {"dbname",
                            "fallback_application_name",
                            "sslmode",
                            "tcp_user_timeout",
                            "keepalives_idle",
                            "gssencmode",
                            "host",
                            "hostaddr",
                            "port",
                            nullptr};
  const std::string user_timeout = std::to_string(kAnswer.count());
  const char* values[] = {url.c_str(),
                          name.c_str(),
                          verify ? "verify-full" : nullptr,
                          user_timeout.c_str(),
                          "5",
                          "disable",
                          at.host.c_str(),
                          at.address.c_str(),
                          at.port.c_str(),
                          nullptr};
  std::unique_ptr<PgConnection> made(new PgConnection(pq().PQconnectStartParams(keywords, values, 1)));
  PGconn* connection = made->connection_;
  if (connection == nullptr) return fail("no memory");
  pq().PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (pq().PQstatus(connection) != CONNECTION_BAD && status != PGRES_POLLING_OK) {
    if (!made->wait_for(status == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
      return made->lost("no connection in time");
    }
    status = pq().PQconnectPoll(connection);
    if (status == PGRES_POLLING_FAILED) break;
  }
  if (pq().PQstatus(connection) != CONNECTION_OK) return made->lost(one_line(pq().PQerrorMessage(connection)));
  pq().PQsetnonblocking(connection, 1);
  if (pq().PQenterPipelineMode(connection) != 1) return made->lost("no pipeline mode");
  const auto text = [](const char* value) { return std::string(value != nullptr ? value : ""); };
  made->place_ = {text(pq().PQhost(connection)), text(pq().PQhostaddr(connection)), text(pq().PQport(connection))};
  if (made->place_.host.starts_with('/')) made->place_.address.clear();  // a socket's folder
  made->server_ = made->place_.host + ":" + made->place_.port;
  return made;
}

PgConnection::~PgConnection() {
  pq().PQfinish(connection_);
}

Refusal PgConnection::fail(const std::string& what) {
  return {Refusal::Kind::Unavailable, "PostgreSQL: " + what};
}

Refusal PgConnection::lost(const std::string& what) {
  broken_ = true;
  return fail(what.empty() ? "the connection was lost" : what);
}

int PgConnection::socket() const {
  return pq().PQsocket(connection_);
}

bool PgConnection::wait_for(short events, Clock::time_point until, const Wanted& wanted) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) return false;
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - waits_since_);
    if (patience_ && !patience_(waited)) return impatient_ = true, false;
    if (wanted && !wanted()) return false;
    if (patience_) left = std::min<std::chrono::milliseconds>(left, kSlice);
    if (wanted) left = std::min<std::chrono::milliseconds>(left, kAsked);
    pollfd polled{pq().PQsocket(connection_), events, 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Answer<PgRows> PgConnection::next_rows(Clock::time_point until, const Wanted& wanted) {
  for (;;) {
    const int unsent = pq().PQflush(connection_);
    if (unsent < 0) return lost(one_line(pq().PQerrorMessage(connection_)));
    if (pq().PQisBusy(connection_) == 0) break;
    if (!wait_for(unsent > 0 ? POLLIN | POLLOUT : POLLIN, until, wanted)) {
      return lost(std::exchange(impatient_, false)
                      ? "no answer so far, and what this node does alone does not wait for it"
                      : "no answer in time");
    }
    if (pq().PQconsumeInput(connection_) != 1) return lost(one_line(pq().PQerrorMessage(connection_)));
  }
  return PgRows(pq().PQgetResult(connection_));
}

// libpq's rules for a pipeline: each statement has its results and then a null; after one that failed the others say
// PGRES_PIPELINE_ABORTED; the end is PGRES_PIPELINE_SYNC.
Answer<std::vector<PgRows>> PgConnection::run(std::vector<PgStatement> statements, std::chrono::milliseconds limit) {
  if (broken_) return fail("the connection was lost");
  waits_since_ = Clock::now();
  const Clock::time_point until = waits_since_ + limit;
  for (const PgStatement& statement : statements) {
    std::vector<const char*> values;
    std::vector<int> lengths, formats(statement.values.size(), 1);
    for (const PgValue& value : statement.values) {
      values.push_back(value.raw().data());
      lengths.push_back(static_cast<int>(value.raw().size()));
    }
    if (pq().PQsendQueryParams(connection_, statement.text.c_str(), static_cast<int>(values.size()), nullptr,
                               values.data(), lengths.data(), formats.data(), 1) != 1) {
      return lost(one_line(pq().PQerrorMessage(connection_)));
    }
  }
  if (pq().PQpipelineSync(connection_) != 1) return lost(one_line(pq().PQerrorMessage(connection_)));
  std::vector<PgRows> all;
  std::optional<Refusal> failed;
  for (;;) {
    auto rows = next_rows(until);
    if (!rows) return rows.error();
    const pg_result* result = rows->result_;
    if (result == nullptr) continue;  // between two statements
    const ExecStatusType status = pq().PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) break;
    if (status == PGRES_FATAL_ERROR && !failed) failed = fail(one_line(pq().PQresultErrorMessage(result)));
    if (pq().PQstatus(connection_) == CONNECTION_BAD) return lost(failed ? failed->what : "");
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) all.push_back(std::move(*rows));
  }
  if (failed) return *failed;
  if (all.size() != statements.size()) return lost("an answer is missing");
  return all;
}

Answer<void> PgConnection::copy_out(const std::string& statement, const std::function<bool(std::string_view)>& take,
                                    std::chrono::milliseconds limit) {
  if (broken_) return fail("the connection was lost");
  // COPY has no place in a pipeline.
  if (pq().PQexitPipelineMode(connection_) != 1 || pq().PQsendQuery(connection_, statement.c_str()) != 1) {
    return lost(one_line(pq().PQerrorMessage(connection_)));
  }
  bool wanted = true;
  const Wanted ask = [&] { return wanted = take({}); };
  const auto begun = next_rows(Clock::now() + kCopyBegins, ask);
  if (!begun) return begun.error();
  std::optional<Refusal> failed;
  std::chrono::milliseconds patience = kCopyBegins;
  while (wanted && !failed) {
    char* piece = nullptr;
    const int length = pq().PQgetCopyData(connection_, &piece, 1);
    if (length > 0) {
      wanted = take({piece, static_cast<std::size_t>(length)});
      pq().PQfreemem(piece);
      patience = limit;
    } else if (length == 0) {
      if (!wait_for(POLLIN, Clock::now() + patience, ask)) return lost("no answer in time");
      if (pq().PQconsumeInput(connection_) != 1) return lost(one_line(pq().PQerrorMessage(connection_)));
    } else if (length == -1) {
      break;
    } else {
      failed = lost(one_line(pq().PQerrorMessage(connection_)));
    }
  }
  if (!wanted) return lost("the copy was given up");
  if (failed) return *failed;
  for (;;) {
    auto rest = next_rows(Clock::now() + limit);
    if (!rest) return rest.error();
    if (rest->result_ == nullptr) break;
    if (pq().PQresultStatus(rest->result_) == PGRES_FATAL_ERROR)
      failed = fail(one_line(pq().PQresultErrorMessage(rest->result_)));
  }
  if (failed) return *failed;
  if (pq().PQenterPipelineMode(connection_) != 1) return lost("no pipeline mode");
  return {};
}

bool PgConnection::notified() {
  if (broken_) return false;
  if (pq().PQconsumeInput(connection_) != 1) {
    (void)lost("");
    return false;
  }
  bool any = false;
  while (PGnotify* note = pq().PQnotifies(connection_)) {
    any = true;
    pq().PQfreemem(note);
  }
  return any;
}

}  // namespace sallyport
