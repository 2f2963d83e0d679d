#include "cache/shared/pg_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace sallyport {

namespace {

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

struct Close {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, Close>;

Options parsed(const std::string& url, std::string* why = nullptr) {
  char* error = nullptr;
  Options options(PQconninfoParse(url.c_str(), &error));
  if (!options && why != nullptr) *why = error != nullptr ? error : "it cannot be read";
  PQfreemem(error);
  return options;
}

std::string value_of(const Options& options, std::string_view keyword) {
  for (const PQconninfoOption* each = options.get(); each != nullptr && each->keyword != nullptr; ++each) {
    if (each->keyword == keyword) return each->val != nullptr ? each->val : "";
  }
  return {};
}

bool on_this_machine(std::string_view host) {
  return host.empty() || host.front() == '/' || host == "localhost" || host == "::1" || host.starts_with("127.");
}

bool all_on_this_machine(const Options& options) {
  std::string hosts = value_of(options, "host");
  const std::string addresses = value_of(options, "hostaddr");
  if (!addresses.empty()) hosts = addresses;
  std::string_view left = hosts;
  for (;;) {
    const std::size_t comma = left.find(',');
    if (!on_this_machine(left.substr(0, comma))) return false;
    if (comma == std::string_view::npos) return true;
    left.remove_prefix(comma + 1);
  }
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
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
  PQclear(result_);
}
std::size_t PgRows::size() const {
  return static_cast<std::size_t>(PQntuples(result_));
}
bool PgRows::null(std::size_t row, int column) const {
  return PQgetisnull(result_, static_cast<int>(row), column) != 0;
}
std::string_view PgRows::bytes(std::size_t row, int column) const {
  const auto length = static_cast<std::size_t>(PQgetlength(result_, static_cast<int>(row), column));
  return {PQgetvalue(result_, static_cast<int>(row), column), length};
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
  return std::strtoull(PQcmdTuples(result_), nullptr, 10);
}

std::string PgConnection::flaw(const std::string& url) {
  if (!url.starts_with("postgresql://") && !url.starts_with("postgres://")) {
    return "must be a connection string such as postgresql://sallyport@db.example/sallyport";
  }
  std::string why;
  const Options options = parsed(url, &why);
  return options ? "" : one_line(why);
}

std::string PgConnection::weakness(const std::string& url) {
  const Options options = parsed(url);
  if (!options || all_on_this_machine(options)) return {};
  const std::string mode = value_of(options, "sslmode");
  if (mode.empty() || mode == "verify-full") return {};
  return "sslmode=" + mode + " does not verify whose server this is: whoever stands between can change the registry";
}

std::string PgConnection::shown(const std::string& url) {
  const Options options = parsed(url);
  if (!options) return "postgresql://…";
  const std::string port = value_of(options, "port");
  return value_of(options, "host") + (port.empty() ? "" : ":" + port) + "/" + value_of(options, "dbname");
}

Answer<std::unique_ptr<PgConnection>> PgConnection::open(const std::string& url, const std::string& name,
                                                         std::chrono::milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  const Options options = parsed(url);
  if (!options) return Refusal{Refusal::Kind::Invalid, "registry.shared: " + flaw(url)};
  const bool verify = value_of(options, "sslmode").empty() && !all_on_this_machine(options);
  // Behind the string: what stands first is overwritten by it.
  const char* keywords[] = {
      "dbname", "fallback_application_name", "sslmode", "tcp_user_timeout", "keepalives_idle", "gssencmode", nullptr};
  const std::string user_timeout = std::to_string(kAnswer.count());
  const char* values[] = {url.c_str(), name.c_str(), verify ? "verify-full" : nullptr, user_timeout.c_str(), "5",
                          "disable",   nullptr};
  std::unique_ptr<PgConnection> made(new PgConnection(PQconnectStartParams(keywords, values, 1)));
  PGconn* connection = made->connection_;
  if (connection == nullptr) return Refusal{Refusal::Kind::Unavailable, "PostgreSQL: no memory"};
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (PQstatus(connection) != CONNECTION_BAD && status != PGRES_POLLING_OK) {
    pollfd polled{PQsocket(connection), static_cast<short>(status == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0 || ::poll(&polled, 1, static_cast<int>(left.count())) == 0) {
      return made->lost("no connection within " + std::to_string(limit.count() / 1000) + " s");
    }
    status = PQconnectPoll(connection);
    if (status == PGRES_POLLING_FAILED) break;
  }
  if (PQstatus(connection) != CONNECTION_OK) return made->lost(one_line(PQerrorMessage(connection)));
  PQsetnonblocking(connection, 1);
  if (PQenterPipelineMode(connection) != 1) return made->lost("no pipeline mode");
  const char* host = PQhost(connection);
  const char* port = PQport(connection);
  made->server_ = std::string(host != nullptr ? host : "") + ":" + (port != nullptr ? port : "");
  return made;
}

PgConnection::~PgConnection() {
  PQfinish(connection_);
}

Refusal PgConnection::fail(const std::string& what) {
  return {Refusal::Kind::Unavailable, "PostgreSQL: " + what};
}

Refusal PgConnection::lost(const std::string& what) {
  broken_ = true;
  return fail(what.empty() ? "the connection was lost" : what);
}

int PgConnection::socket() const {
  return PQsocket(connection_);
}

bool PgConnection::wait(Clock::time_point until, bool write_too) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  pollfd polled{PQsocket(connection_), static_cast<short>(write_too ? POLLIN | POLLOUT : POLLIN), 0};
  return left.count() > 0 && ::poll(&polled, 1, static_cast<int>(left.count())) > 0;
}

Answer<PgRows> PgConnection::next_rows(Clock::time_point until) {
  for (;;) {
    const int unsent = PQflush(connection_);
    if (unsent < 0) return lost(one_line(PQerrorMessage(connection_)));
    if (PQisBusy(connection_) == 0) break;
    if (!wait(until, unsent > 0)) return lost("no answer in time");
    if (PQconsumeInput(connection_) != 1) return lost(one_line(PQerrorMessage(connection_)));
  }
  return PgRows(PQgetResult(connection_));
}

// libpq's rules for a pipeline: each statement has its results and then a null; after one that failed the others say
// PGRES_PIPELINE_ABORTED; the end is PGRES_PIPELINE_SYNC.
Answer<std::vector<PgRows>> PgConnection::run(std::vector<PgStatement> statements, std::chrono::milliseconds limit) {
  if (broken_) return fail("the connection was lost");
  const Clock::time_point until = Clock::now() + limit;
  for (const PgStatement& statement : statements) {
    std::vector<const char*> values;
    std::vector<int> lengths, formats(statement.values.size(), 1);
    for (const PgValue& value : statement.values) {
      values.push_back(value.raw().data());
      lengths.push_back(static_cast<int>(value.raw().size()));
    }
    if (PQsendQueryParams(connection_, statement.text.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                          lengths.data(), formats.data(), 1) != 1) {
      return lost(one_line(PQerrorMessage(connection_)));
    }
  }
  if (PQpipelineSync(connection_) != 1) return lost(one_line(PQerrorMessage(connection_)));
  std::vector<PgRows> all;
  std::optional<Refusal> failed;
  for (;;) {
    auto rows = next_rows(until);
    if (!rows) return rows.error();
    const pg_result* result = rows->result_;
    if (result == nullptr) continue;  // between two statements
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) break;
    if (status == PGRES_FATAL_ERROR && !failed) failed = fail(one_line(PQresultErrorMessage(result)));
    if (PQstatus(connection_) == CONNECTION_BAD) return lost(failed ? failed->what : "");
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
  if (PQexitPipelineMode(connection_) != 1 || PQsendQuery(connection_, statement.c_str()) != 1) {
    return lost(one_line(PQerrorMessage(connection_)));
  }
  const auto begun = next_rows(Clock::now() + limit);
  if (!begun) return begun.error();
  std::optional<Refusal> failed;
  bool wanted = true;
  while (wanted && !failed) {
    char* piece = nullptr;
    const int length = PQgetCopyData(connection_, &piece, 1);
    if (length > 0) {
      wanted = take({piece, static_cast<std::size_t>(length)});
      PQfreemem(piece);
    } else if (length == 0) {
      if (!wait(Clock::now() + limit, false)) return lost("no answer in time");
      if (PQconsumeInput(connection_) != 1) return lost(one_line(PQerrorMessage(connection_)));
    } else if (length == -1) {
      break;
    } else {
      failed = lost(one_line(PQerrorMessage(connection_)));
    }
  }
  if (!wanted) return lost("the copy was given up");
  if (failed) return *failed;
  for (;;) {
    auto rest = next_rows(Clock::now() + limit);
    if (!rest) return rest.error();
    if (rest->result_ == nullptr) break;
    if (PQresultStatus(rest->result_) == PGRES_FATAL_ERROR)
      failed = fail(one_line(PQresultErrorMessage(rest->result_)));
  }
  if (failed) return *failed;
  if (PQenterPipelineMode(connection_) != 1) return lost("no pipeline mode");
  return {};
}

bool PgConnection::notified() {
  if (broken_) return false;
  if (PQconsumeInput(connection_) != 1) {
    (void)lost("");
    return false;
  }
  bool any = false;
  while (PGnotify* note = PQnotifies(connection_)) {
    any = true;
    PQfreemem(note);
  }
  return any;
}

}  // namespace sallyport
