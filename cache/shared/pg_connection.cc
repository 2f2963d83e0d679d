#include "cache/shared/pg_connection.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

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

struct Close {
  void operator()(PGconn* connection) const { pq().PQfinish(connection); }
};

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

Answer<std::unique_ptr<PgConnection>> PgConnection::open(const std::string& url, const std::string& name,
                                                         std::chrono::milliseconds limit, const PgPlace& at) {
  const Clock::time_point until = Clock::now() + limit;
  const PgUrl said(url);
  if (!said) return Refusal{Refusal::Kind::Invalid, "registry.shared: " + PgUrl::flaw(url)};
  const bool verify = said.value("sslmode").empty() && !said.all_on_this_machine();
  std::vector<PgPlace> places = at.host.empty() ? said.places() : std::vector<PgPlace>{at};
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
  if (pq().PQstatus(connection) != CONNECTION_OK) return made->lost(pq_words(pq().PQerrorMessage(connection)));
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
    if (unsent < 0) return lost(pq_words(pq().PQerrorMessage(connection_)));
    if (pq().PQisBusy(connection_) == 0) break;
    if (!wait_for(unsent > 0 ? POLLIN | POLLOUT : POLLIN, until, wanted)) {
      return lost(std::exchange(impatient_, false)
                      ? "no answer so far, and what this node does alone does not wait for it"
                      : "no answer in time");
    }
    if (pq().PQconsumeInput(connection_) != 1) return lost(pq_words(pq().PQerrorMessage(connection_)));
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
      return lost(pq_words(pq().PQerrorMessage(connection_)));
    }
  }
  if (pq().PQpipelineSync(connection_) != 1) return lost(pq_words(pq().PQerrorMessage(connection_)));
  std::vector<PgRows> all;
  std::optional<Refusal> failed;
  for (;;) {
    auto rows = next_rows(until);
    if (!rows) return rows.error();
    const pg_result* result = rows->result_;
    if (result == nullptr) continue;  // between two statements
    const ExecStatusType status = pq().PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) break;
    if (status == PGRES_FATAL_ERROR && !failed) failed = fail(pq_words(pq().PQresultErrorMessage(result)));
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
    return lost(pq_words(pq().PQerrorMessage(connection_)));
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
      if (pq().PQconsumeInput(connection_) != 1) return lost(pq_words(pq().PQerrorMessage(connection_)));
    } else if (length == -1) {
      break;
    } else {
      failed = lost(pq_words(pq().PQerrorMessage(connection_)));
    }
  }
  if (!wanted) return lost("the copy was given up");
  if (failed) return *failed;
  for (;;) {
    auto rest = next_rows(Clock::now() + limit);
    if (!rest) return rest.error();
    if (rest->result_ == nullptr) break;
    if (pq().PQresultStatus(rest->result_) == PGRES_FATAL_ERROR)
      failed = fail(pq_words(pq().PQresultErrorMessage(rest->result_)));
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
