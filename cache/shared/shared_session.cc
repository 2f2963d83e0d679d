#include "cache/shared/shared_session.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cache/base/text.h"
#include "cache/shared/copy_reader.h"
#include "cache/shared/shared_schema.h"

namespace sallyport {

namespace {

constexpr std::size_t kStampBytes = 16;
constexpr std::uint64_t kForgottenAtOnce = 4096;

// The head, and the stamp that the registry has for the revision a node says it is at.
PgStatement head_of(const SharedPosition& from) {
  return {
      "select r.id, r.revision, r.stamp, r.horizon, c.stamp, (extract(epoch from clock_timestamp()) * "
      "1000000)::bigint, "
      "r.schema, r.oldest from sallyport.registry r "
      "left join sallyport.commit c on c.revision = $1::bigint",
      {PgValue::number(from.revision)}};
}

// Devices and audit lines by the batch; all of the rest, which is little: so a device never comes before its chain. A
// commit is never torn: `with ties`.
PgStatement entries_since(const SharedPosition& from) {
  return {
      "(select family, key, value, revision from sallyport.entry where revision > $1::bigint and family in "
      "(1,2,5,6,7)) "
      "union all "
      "(select family, key, value, revision from sallyport.entry where revision > $1::bigint and family in (3,4,8) "
      "order by revision fetch first " +
          std::to_string(SharedSession::kBatch) + " rows with ties)",
      {PgValue::number(from.revision)}};
}

PgStatement written(std::uint64_t revision, std::span<const SharedEntry> entries) {
  std::vector<std::uint8_t> families;
  std::vector<std::optional<std::string_view>> keys, values;
  for (const SharedEntry& entry : entries) {
    families.push_back(static_cast<std::uint8_t>(entry.family));
    keys.emplace_back(entry.key);
    values.push_back(entry.value ? std::optional<std::string_view>(*entry.value) : std::nullopt);
  }
  return {
      "insert into sallyport.entry (family, key, value, revision) "
      "select f, k, v, $4::bigint from unnest($1::smallint[], $2::bytea[], $3::bytea[]) as t(f, k, v) "
      "on conflict (family, key) do update set value = excluded.value, revision = excluded.revision",
      {PgValue::smallints(families), PgValue::texts(keys), PgValue::texts(values), PgValue::number(revision)}};
}

bool known(std::int64_t family) {
  return family >= 1 && family <= kSharedFamilies;
}

std::vector<SharedAsk> asks_of(const PgRows& rows) {
  std::vector<SharedAsk> all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    all.push_back({static_cast<std::uint64_t>(rows.number(i, 0)), std::string(rows.bytes(i, 1))});
  }
  return all;
}

Refusal no_random() {
  return {Refusal::Kind::Unavailable, "the kernel gives no random bytes"};
}

// The id, the revision and the stamp of a registry, as its first columns. What else may stand there was written by
// hand.
bool is_head(const PgRows& registry) {
  return registry.bytes(0, 0).size() == kStampBytes && registry.number(0, 1) >= 0 &&
         registry.number(0, 1) < std::int64_t{1} << 62 && registry.bytes(0, 2).size() == kStampBytes;
}

Refusal strange() {
  return {Refusal::Kind::Unavailable, "PostgreSQL: the registry there holds what this version does not know"};
}

}  // namespace

Answer<std::unique_ptr<SharedSession>> SharedSession::open(const std::string& url, const std::string& node,
                                                           std::chrono::milliseconds limit, const PgPlace& at) {
  auto connection = PgConnection::open(url, "sallyport " + node, limit, at);
  if (!connection) return connection.error();
  if (const auto usable = check_shared_schema(**connection); !usable) return usable.error();
  return std::unique_ptr<SharedSession>(new SharedSession(std::move(*connection), node));
}

// Read committed: each statement sees what was committed when it began, so those behind the lock see all that was
// committed before it was ours. A node that stops in the middle must not stop the others.
Answer<SharedNews> SharedSession::begin(const SharedPosition& from) {
  in_doubt_ = false;
  const auto rows = connection_->run({{"begin"},
                                      {"set local lock_timeout = '3s'"},
                                      {"set local statement_timeout = '10s'"},
                                      {"set local idle_in_transaction_session_timeout = '5s'"},
                                      {"select pg_advisory_xact_lock(" + std::to_string(kSharedLock) + ")"},
                                      head_of(from),
                                      entries_since(from)});
  if (!rows) {
    give_up();
    return broken() ? rows.error() : Refusal{rows.error().kind, rows.error().what + who_holds_writers_up()};
  }
  auto news = read_news(*rows, 5, from);
  if (!news) give_up();
  return news;
}

Answer<bool> SharedSession::may_write() {
  const auto rows = connection_->run(
      {{"begin"}, {"select pg_try_advisory_xact_lock(" + std::to_string(kSharedLock) + ")::int"}, {"rollback"}});
  if (!rows) {
    give_up();
    return rows.error();
  }
  return (*rows)[1].size() == 1 && (*rows)[1].number(0, 0) == 1;
}

// Any role that may connect can take the lock, and keep it: an operator must find out which, and end it.
std::string SharedSession::who_holds_writers_up() {
  const std::string key = std::to_string(kSharedLock);
  const auto rows = connection_->run(
      {{"select coalesce(string_agg(a.usename || ' (' || coalesce(a.application_name, '') || ', pid ' || a.pid || ')', "
        "', '), '') from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and l.granted "
        "and l.objsubid = 1 and l.classid::bigint = (" +
        key + " >> 32) and l.objid::bigint = (" + key +
        " & 4294967295) and l.database = (select oid from pg_database where datname = current_database())"}});
  if (!rows || rows->front().size() != 1 || rows->front().bytes(0, 0).empty()) return {};
  return "; the lock of writers is held by " + escaped(rows->front().bytes(0, 0));
}

Answer<SharedNews> SharedSession::more(const SharedPosition& from) {
  const auto rows = connection_->run({head_of(from), entries_since(from)});
  if (!rows) return rows.error();
  return read_news(*rows, 0, from);
}

Answer<SharedNews> SharedSession::news(const SharedPosition& from) {
  const auto rows = connection_->run(
      {{"begin isolation level repeatable read read only"}, head_of(from), entries_since(from), {"commit"}});
  if (!rows) {
    give_up();
    return rows.error();
  }
  return read_news(*rows, 1, from);
}

Answer<SharedNews> SharedSession::read_news(const std::vector<PgRows>& rows, std::size_t head,
                                            const SharedPosition& from) {
  const PgRows& registry = rows[head];
  const PgRows& entries = rows[head + 1];
  if (registry.size() != 1 || !is_head(registry)) return strange();
  SharedNews news;
  news.now.registry = std::string(registry.bytes(0, 0));
  news.now.revision = static_cast<std::uint64_t>(registry.number(0, 1));
  news.now.stamp = std::string(registry.bytes(0, 2));
  news.now_us = registry.number(0, 5);
  schema_ = registry.number(0, 6);
  if (const auto usable = usable_schema(schema_, registry.number(0, 7)); !usable) return usable.error();
  const auto horizon = static_cast<std::uint64_t>(registry.number(0, 3));
  if (from.registry.empty()) {
    news.follows = SharedNews::Follows::Behind;
  } else if (from.registry != news.now.registry || from.revision > news.now.revision) {
    news.follows = SharedNews::Follows::Elsewhere;
  } else if (from.revision < horizon) {
    news.follows = SharedNews::Follows::Behind;
  } else if (registry.null(0, 4) || registry.bytes(0, 4) != from.stamp) {
    news.follows = SharedNews::Follows::Elsewhere;
  }
  if (news.follows != SharedNews::Follows::Yes) return news;
  std::size_t paged = 0, epochs = SIZE_MAX;
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!known(entries.number(i, 0))) return strange();
    const auto family = static_cast<SharedFamily>(entries.number(i, 0));
    SharedEntry entry{family, std::string(entries.bytes(i, 1)), std::nullopt};
    if (!entries.null(i, 2)) entry.value = std::string(entries.bytes(i, 2));
    if (family == SharedFamily::Meta && entry.key == kSharedEpochs) epochs = i;
    news.entries.push_back(std::move(entry));
    if (family != SharedFamily::Certificate && family != SharedFamily::Device && family != SharedFamily::Audit) {
      continue;
    }
    ++paged;
    last = std::max(last, static_cast<std::uint64_t>(entries.number(i, 3)));
  }
  if (paged < kBatch || last == news.now.revision) return news;
  const auto stamp =
      connection_->run({{"select stamp from sallyport.commit where revision = $1::bigint", {PgValue::number(last)}}});
  if (!stamp) return stamp.error();
  if (stamp->front().size() != 1) return strange();
  news.now.revision = last;
  news.now.stamp = std::string(stamp->front().bytes(0, 0));
  news.more = true;
  // Verdicts of an epoch know all that was lost up to it: it comes behind the devices that were.
  if (epochs != SIZE_MAX && static_cast<std::uint64_t>(entries.number(epochs, 3)) > last) {
    news.entries.erase(news.entries.begin() + static_cast<std::ptrdiff_t>(epochs));
  }
  return news;
}

Answer<void> SharedSession::put(std::uint64_t revision, std::span<const SharedEntry> entries) {
  const auto rows = connection_->run({written(revision, entries)});
  if (rows) return {};
  give_up();
  return rows.error();
}

Answer<void> SharedSession::hand_out_by_snapshot(std::uint64_t revision) {
  const auto rows =
      connection_->run({{"update sallyport.registry set horizon = $1::bigint", {PgValue::number(revision)}}});
  if (rows) return {};
  give_up();
  return rows.error();
}

Answer<SharedPosition> SharedSession::commit(const SharedPosition& from, std::uint64_t revision,
                                             std::span<const SharedEntry> entries) {
  std::array<unsigned char, kStampBytes> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return no_random();
  SharedPosition now{from.registry, revision, std::string(random.begin(), random.end())};
  in_doubt_ = true;
  const auto rows = connection_->run(
      {written(revision, entries),
       {schema_ == 1 ? "insert into sallyport.commit (revision, stamp, node) "
                       "values ($1::bigint, $2::bytea, convert_from($3::bytea, 'UTF8'))"
                     : "insert into sallyport.commit (revision, stamp, node, schema) "
                       "values ($1::bigint, $2::bytea, convert_from($3::bytea, 'UTF8'), 2)",
        {PgValue::number(revision), PgValue::bytes(now.stamp), PgValue::bytes(node_)}},
       // Where the revision does not rise, no row changes, and the division by none of them ends the transaction.
       {"with moved as (update sallyport.registry set revision = $1::bigint, stamp = $2::bytea where revision < "
        "$1::bigint "
        "returning 1) select 1 / count(*) from moved",
        {PgValue::number(revision), PgValue::bytes(now.stamp)}},
       {"select pg_notify('sallyport', '')"},
       {"commit"}});
  if (rows) {
    in_doubt_ = false;
    return now;
  }
  in_doubt_ = connection_->broken();  // else PostgreSQL said itself that it did not take it
  give_up();
  return rows.error();
}

void SharedSession::give_up() {
  if (!connection_->broken()) (void)connection_->run({{"rollback"}});
}

Answer<SharedPosition> SharedSession::position() {
  const auto rows = connection_->run({{"select id, revision, stamp from sallyport.registry"}});
  if (!rows) return rows.error();
  const PgRows& registry = rows->front();
  if (registry.size() != 1 || !is_head(registry)) return strange();
  return SharedPosition{std::string(registry.bytes(0, 0)), static_cast<std::uint64_t>(registry.number(0, 1)),
                        std::string(registry.bytes(0, 2))};
}

Answer<SharedPosition> SharedSession::snapshot(const std::function<bool(SharedEntry&&)>& take,
                                               const std::function<bool()>& wanted) {
  const auto head = connection_->run({{"begin isolation level repeatable read read only"},
                                      {"select id, revision, stamp from sallyport.registry"},
                                      {"set local statement_timeout = 0"}});  // a role may have one that is too short
  if (!head) {
    give_up();
    return head.error();
  }
  if ((*head)[1].size() != 1 || !is_head((*head)[1])) return strange();
  const PgRows& registry = (*head)[1];
  const SharedPosition position{std::string(registry.bytes(0, 0)), static_cast<std::uint64_t>(registry.number(0, 1)),
                                std::string(registry.bytes(0, 2))};
  CopyReader reader(3);
  bool good = true, goes_on = true;
  const auto row = [&](const CopyReader::Row& fields) {
    good = fields[0] && fields[0]->size() == 2 && fields[1] && fields[2];
    const auto family = good ? static_cast<unsigned char>((*fields[0])[1]) : 0;
    good = good && known(family);
    if (!good) return false;
    goes_on = take({static_cast<SharedFamily>(family), std::string(*fields[1]), std::string(*fields[2])});
    return goes_on;
  };
  const auto copied = connection_->copy_out(
      "copy (select family, key, value from sallyport.entry where value is not null order by family, key) "
      "to stdout (format binary)",
      [&](std::string_view piece) {
        if (piece.empty()) return goes_on = !wanted || wanted();
        return reader.feed(piece, row);
      });
  if (!goes_on) return Refusal{Refusal::Kind::Unavailable, "the snapshot was given up"};
  if (!good) return strange();
  if (!copied) return copied.error();
  if (!reader.finished()) return strange();
  if (const auto done = connection_->run({{"commit"}}); !done) return done.error();
  return position;
}

Answer<std::uint64_t> SharedSession::reserve_chains(std::uint64_t count) {
  const auto rows = connection_->run(
      {{"update sallyport.registry set next_chain = next_chain + $1::bigint returning next_chain - $1::bigint",
        {PgValue::number(count)}}});
  if (!rows) return rows.error();
  if (rows->front().size() != 1) return strange();
  return static_cast<std::uint64_t>(rows->front().number(0, 0));
}

Answer<std::uint64_t> SharedSession::ask(const std::string& node, const std::string& request) {
  const auto rows = connection_->run(
      {{"insert into sallyport.ask (node, request, asked_by) values (convert_from($1::bytea, 'UTF8'), $2::bytea, "
        "convert_from($3::bytea, 'UTF8')) returning id",
        {PgValue::bytes(node), PgValue::bytes(request), PgValue::bytes(node_)}},
       {"select pg_notify('sallyport', '')"}});
  if (!rows) return rows.error();
  if (rows->front().size() != 1) return strange();
  return static_cast<std::uint64_t>(rows->front().number(0, 0));
}

Answer<std::vector<SharedAsk>> SharedSession::asked_of_me() {
  const auto rows = connection_->run(
      {{"select a.id, a.request from sallyport.ask a where a.node = convert_from($1::bytea, 'UTF8') and a.at > "
        "clock_timestamp() - interval '" +
            std::to_string(kAskLives.count()) + " seconds' and length(a.request) <= " + std::to_string(kMostAsk) +
            " and not exists (select from sallyport.answer r where r.ask = a.id) order by a.id limit " +
            std::to_string(kAsksAtOnce),
        {PgValue::bytes(node_)}}});
  if (!rows) return rows.error();
  return asks_of(rows->front());
}

Answer<void> SharedSession::answer(std::uint64_t ask, const std::string& reply) {
  const auto rows = connection_->run(
      {{"insert into sallyport.answer (ask, reply) select id, $2::bytea from sallyport.ask where id = $1::bigint "
        "for key share on conflict do nothing",
        {PgValue::number(ask), PgValue::bytes(reply)}},
       {"select pg_notify('sallyport', '')"}});
  return rows ? Answer<void>() : Answer<void>(rows.error());
}

Answer<std::vector<SharedAsk>> SharedSession::answers(std::span<const std::uint64_t> asks) {
  std::vector<PgStatement> statements;
  for (const std::uint64_t ask : asks) {
    statements.push_back({"select ask, reply from sallyport.answer where ask = $1::bigint and length(reply) <= " +
                              std::to_string(kMostAnswer),
                          {PgValue::number(ask)}});
  }
  const auto rows = connection_->run(std::move(statements));
  if (!rows) return rows.error();
  std::vector<SharedAsk> all;
  for (const PgRows& each : *rows) {
    for (SharedAsk& found : asks_of(each)) all.push_back(std::move(found));
  }
  return all;
}

Answer<void> SharedSession::end_asks(std::span<const std::uint64_t> asks) {
  std::vector<PgStatement> statements;
  for (const std::uint64_t ask : asks) {
    statements.push_back({"delete from sallyport.ask where id = $1::bigint", {PgValue::number(ask)}});
  }
  statements.push_back({"delete from sallyport.ask where at < clock_timestamp() - interval '" +
                        std::to_string(6 * kAskLives.count()) + " seconds' or at > clock_timestamp() + interval '" +
                        std::to_string(6 * kAskLives.count()) + " seconds'"});
  const auto rows = connection_->run(std::move(statements));
  return rows ? Answer<void>() : Answer<void>(rows.error());
}

// By the commits, the oldest first, each found by its index: the whole of an index is looked through by nobody while
// writers wait. What is deleted up to the horizon is gone already.
Answer<bool> SharedSession::forget_deletes(std::chrono::seconds keep) {
  const std::string commits = std::to_string(kForgottenAtOnce);
  const auto rows = connection_->run(
      {{"begin"},
       {"set local lock_timeout = '3s'"},
       {"set local statement_timeout = '3s'"},
       {"select pg_advisory_xact_lock(" + std::to_string(kSharedLock) + ")"},
       {"select horizon from sallyport.registry"},
       {"with oldest as (select revision, at from sallyport.commit where revision > (select horizon from "
        "sallyport.registry) order by revision limit " +
        commits +
        ") update sallyport.registry set horizon = greatest(horizon, coalesce((select max(revision) from oldest where "
        "at < clock_timestamp() - interval '" +
        std::to_string(keep.count()) + " seconds'), 0)) returning horizon"},
       {"delete from sallyport.entry where value is null and revision <= (select horizon from sallyport.registry) and "
        "revision > (select coalesce(min(revision), 0) from sallyport.commit)"},
       {"delete from sallyport.commit where revision < (select horizon from sallyport.registry)"},
       {"commit"}});
  if (!rows) {
    give_up();
    return rows.error();
  }
  if ((*rows)[4].size() != 1 || (*rows)[5].size() != 1) return strange();
  return (*rows)[7].affected() + 1 < kForgottenAtOnce;
}

// Without a revision: a row that is gone is missed by nobody, since every node forgets its own.
Answer<bool> SharedSession::forget_audit(std::int64_t at_us) {
  std::string before;
  for (int shift = 56; shift >= 0; shift -= 8) {
    before += static_cast<char>(static_cast<std::uint64_t>(at_us) >> shift & 0xFF);
  }
  const auto rows = connection_->run(
      {{"delete from sallyport.entry where family = 8 and key in (select key from sallyport.entry where family = 8 and "
        "key < $1::bytea order by key limit " +
            std::to_string(kForgottenAtOnce) + ")",
        {PgValue::bytes(before)}}});
  if (!rows) return rows.error();
  return rows->front().affected() < kForgottenAtOnce;
}

Answer<void> SharedSession::listen() {
  const auto rows = connection_->run({{"listen sallyport"}});
  return rows ? Answer<void>() : rows.error();
}

Answer<bool> SharedSession::has_synchronous_standby() {
  const auto rows =
      connection_->run({{"select 1 where current_setting('synchronous_standby_names') <> '' and "
                         "current_setting('synchronous_commit') in ('on', 'remote_write', 'remote_apply')"}});
  if (!rows) return rows.error();
  return rows->front().size() == 1;
}

}  // namespace sallyport
