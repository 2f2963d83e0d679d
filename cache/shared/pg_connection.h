// One connection to PostgreSQL: Statements go out in pipelines, so that a transaction costs one
// round trip; every wait has a limit, after which the connection is broken and never used again. Used by one thread
// at a time. What comes back is bounded by what was asked for.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "cache/shared/pg_url.h"

struct pg_conn;
struct pg_result;

namespace sallyport {

// A parameter of a statement, in PostgreSQL's binary format. Statements cast it: `$1::bigint`.
class PgValue {
 public:
  static PgValue bytes(std::string_view value) { return PgValue(std::string(value)); }
  static PgValue number(std::uint64_t value);
  static PgValue smallints(std::span<const std::uint8_t> values);
  static PgValue texts(std::span<const std::optional<std::string_view>> values);  // bytea[]; none: null
  const std::string& raw() const { return raw_; }

 private:
  explicit PgValue(std::string raw) : raw_(std::move(raw)) {}
  std::string raw_;
};

struct PgStatement {
  std::string text;
  std::vector<PgValue> values = {};
};

// The rows of one statement, in binary format.
class PgRows {
 public:
  explicit PgRows(pg_result* result) : result_(result) {}
  PgRows(PgRows&& other) noexcept;
  PgRows& operator=(PgRows&& other) noexcept;
  ~PgRows();
  std::size_t size() const;
  bool null(std::size_t row, int column) const;
  std::string_view bytes(std::size_t row, int column) const;
  // Of a smallint, an integer or a bigint. 0 where it is null, or of another length.
  std::int64_t number(std::size_t row, int column) const;
  std::uint64_t affected() const;  // rows that the statement changed

 private:
  friend class PgConnection;
  pg_result* result_;
};

class PgConnection {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kConnect{5000}, kAnswer{4000};
  static constexpr std::chrono::minutes kCopyBegins{15};  // it sorts all of it first

  // The servers of the string one after the other, each with its part of the limit: one that does not answer at all
  // leaves time for the others. `at`: that one alone, and no name is resolved, which has no limit.
  static Answer<std::unique_ptr<PgConnection>> open(const std::string& url, const std::string& name,
                                                    std::chrono::milliseconds limit = kConnect, const PgPlace& at = {});
  ~PgConnection();
  PgConnection(const PgConnection&) = delete;
  PgConnection& operator=(const PgConnection&) = delete;

  // All of them in one round trip, each with its rows. The first that fails is the refusal, and those behind it have
  // not run; what ran before stays, unless a transaction is open.
  Answer<std::vector<PgRows>> run(std::vector<PgStatement> statements, std::chrono::milliseconds limit = kAnswer);
  // A COPY … TO STDOUT: each piece as it comes, until `take` returns false. `limit` is of each piece but the first,
  // which may take kCopyBegins. Every second without any, `take` gets an empty one, and says whether it is still
  // wanted.
  Answer<void> copy_out(const std::string& statement, const std::function<bool(std::string_view)>& take,
                        std::chrono::milliseconds limit = kAnswer);
  bool broken() const { return broken_; }
  // Asked now and then while run() waits, with how long it has waited: false, and it waits no longer, as if its limit
  // were over. For a thread that has more to do.
  void set_patience(std::function<bool(std::chrono::milliseconds)> goes_on) { patience_ = std::move(goes_on); }
  int socket() const;
  // Takes what has come in; true: a NOTIFY was among it.
  bool notified();
  const std::string& server() const { return server_; }
  const PgPlace& place() const { return place_; }

 private:
  explicit PgConnection(pg_conn* connection) : connection_(connection) {}
  static Answer<std::unique_ptr<PgConnection>> open_at(const std::string& url, const std::string& name,
                                                       const PgPlace& at, bool verify, Clock::time_point until);
  static Refusal fail(const std::string& what);
  Refusal lost(const std::string& what);
  using Wanted = std::function<bool()>;  // asked every second of a wait, which it may end
  bool wait_for(short events, Clock::time_point until, const Wanted& wanted = {});
  Answer<PgRows> next_rows(Clock::time_point until, const Wanted& wanted = {});

  pg_conn* connection_;
  bool broken_ = false;
  std::function<bool(std::chrono::milliseconds)> patience_;
  Clock::time_point waits_since_{};
  bool impatient_ = false;  // patience_ ended the last wait
  std::string server_;
  PgPlace place_;
};

}  // namespace sallyport
