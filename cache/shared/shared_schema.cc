#include "cache/shared/shared_schema.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "cache/shared/shared_session.h"

namespace sallyport {

namespace {

// One schema after the other: what brings the one before to it. `oldest`: the oldest program that can go on working
// with it, which is how nodes are upgraded one by one.
struct Step {
  int oldest;
  std::vector<std::string> statements;
};

// `value` is null where an entry was deleted; `horizon`: deletes up to it are forgotten. The key of an entry is the one
// that it has in the nodes' stores.
const std::vector<Step>& steps() {
  static const std::vector<Step> all = {
      {1,
       {"create schema sallyport",
        "create table sallyport.registry (one boolean primary key default true check (one), id bytea not null, "
        "schema integer not null, oldest integer not null, revision bigint not null, stamp bytea not null, "
        "horizon bigint not null default 0, next_chain bigint not null default 1, "
        "made_at timestamptz not null default clock_timestamp())",
        "create table sallyport.entry (family smallint not null, key bytea not null, value bytea, "
        "revision bigint not null, primary key (family, key))",
        "create index entry_revision on sallyport.entry (revision)",
        "create table sallyport.commit (revision bigint primary key, stamp bytea not null, node text not null, "
        "at timestamptz not null default clock_timestamp())",
        "create table sallyport.node (name text primary key, instance bytea not null, revision bigint not null, "
        "version text not null, started_at timestamptz not null default clock_timestamp(), "
        "seen_at timestamptz not null default clock_timestamp(), "
        "applied_at timestamptz not null default clock_timestamp())"}},
      // Nodes have epochs in common, and with them keys of TLS tickets. A program of schema 1 writes rows without them:
      // `schema`, which it does not know and must name, keeps its commits out from here on.
      {2,
       {"alter table sallyport.commit add column schema smallint not null default 1",
        "alter table sallyport.commit alter column schema drop default",
        "with next as (update sallyport.registry set revision = revision + 1, "
        "stamp = decode(md5(random()::text || clock_timestamp()::text), 'hex') returning revision, stamp) "
        "insert into sallyport.commit (revision, stamp, node, schema) select revision, stamp, 'migrate', 2 from next",
        // Above every epoch of a process alone.
        "insert into sallyport.entry (family, key, value, revision) select 5, 'epochs'::bytea, "
        "decode('001000000000000000000000', 'hex'), revision from sallyport.registry",
        // What nodes ask each other; of a moment alone, so that it needs neither a log nor a revision.
        "create unlogged table sallyport.ask (id bigint generated always as identity primary key, node text not null, "
        "request bytea not null, asked_by text not null, at timestamptz not null default clock_timestamp())",
        "create index ask_node on sallyport.ask (node)",
        "create unlogged table sallyport.answer (ask bigint primary key references sallyport.ask on delete cascade, "
        "reply bytea not null)",
        // To those who may read and write the rest.
        "do $do$ declare each text; begin for each in select distinct grantee from "
        "information_schema.role_table_grants where table_schema = 'sallyport' and table_name = 'entry' and "
        "privilege_type = 'INSERT' and grantee <> current_user loop execute format('grant select, insert, update, "
        "delete on sallyport.ask, sallyport.answer to %I', each); end loop; end $do$",
        "select pg_notify('sallyport', '')"}}};
  return all;
}

std::string random_bytes() {
  std::array<unsigned char, 16> bytes{};
  return RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1 ? std::string(bytes.begin(), bytes.end()) : "";
}

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

Answer<bool> is_there(PgConnection& connection) {
  const auto rows = connection.run({{"select 1 where to_regclass('sallyport.registry') is not null"}});
  if (!rows) return rows.error();
  return rows->front().size() == 1;
}

Refusal not_there() {
  return {Refusal::Kind::NotFound, "there is no registry in this database: make one with `sallyport registry init`"};
}

Answer<void> carry_out(PgConnection& connection, std::vector<PgStatement> statements) {
  statements.insert(statements.begin(), {"begin"});
  statements.push_back({"commit"});
  const auto done = connection.run(std::move(statements), std::chrono::minutes(10));
  if (done) return {};
  if (!connection.broken()) (void)connection.run({{"rollback"}});
  return done.error();
}

}  // namespace

Answer<void> init_shared_registry(PgConnection& connection, const std::string& grant_to) {
  const auto there = is_there(connection);
  if (!there) return there.error();
  if (*there)
    return Refusal{Refusal::Kind::Conflict,
                   "there is a registry in this database already. The role of nodes gets its rights by: "
                   "grant usage on schema sallyport to ROLE; grant select, insert, update, delete on all "
                   "tables in schema sallyport to ROLE"};
  const std::string id = random_bytes(), stamp = random_bytes();
  if (id.empty() || stamp.empty()) return Refusal{Refusal::Kind::Unavailable, "the kernel gives no random bytes"};
  std::vector<PgStatement> statements;
  for (const Step& step : steps()) {
    for (const std::string& text : step.statements) statements.push_back({text});
    if (&step != &steps().front()) continue;
    statements.push_back({"insert into sallyport.registry (id, schema, oldest, revision, stamp) values ($1::bytea, " +
                              std::to_string(steps().size()) + ", " + std::to_string(steps().back().oldest) +
                              ", 0, $2::bytea)",
                          {PgValue::bytes(id), PgValue::bytes(stamp)}});
    statements.push_back({"insert into sallyport.commit (revision, stamp, node) values (0, $1::bytea, 'init')",
                          {PgValue::bytes(stamp)}});
  }
  if (!grant_to.empty()) {
    statements.push_back({"grant usage on schema sallyport to " + quoted(grant_to)});
    statements.push_back(
        {"grant select, insert, update, delete on all tables in schema sallyport to " + quoted(grant_to)});
  }
  return carry_out(connection, std::move(statements));
}

Answer<std::pair<int, int>> migrate_shared_registry(PgConnection& connection) {
  const auto status = shared_status(connection);
  if (!status) return status.error();
  const int newest = static_cast<int>(steps().size());
  if (status->schema >= newest) return std::pair(status->schema, status->schema);
  std::vector<PgStatement> statements = {{"select pg_advisory_xact_lock(" + std::to_string(kSharedLock) + ")"}};
  for (int at = status->schema; at < newest; ++at) {
    for (const std::string& text : steps()[static_cast<std::size_t>(at)].statements) statements.push_back({text});
  }
  statements.push_back({"update sallyport.registry set schema = " + std::to_string(newest) + ", oldest = " +
                        std::to_string(steps().back().oldest) + " where schema = " + std::to_string(status->schema)});
  if (const auto done = carry_out(connection, std::move(statements)); !done) return done.error();
  return std::pair(status->schema, newest);
}

Answer<SharedStatus> shared_status(PgConnection& connection) {
  const auto there = is_there(connection);
  if (!there) return there.error();
  if (!*there) return not_there();
  const auto rows = connection.run(
      {{"select convert_to(encode(id, 'hex'), 'UTF8'), schema, oldest, revision, horizon from sallyport.registry"},
       {"select count(*), count(*) filter (where family = 4), count(*) filter (where family = 1) from sallyport.entry "
        "where value is not null and key <> 'epochs'::bytea"},
       {"select (pg_is_in_recovery() or current_setting('transaction_read_only') = 'on')::int, "
        "(current_setting('synchronous_standby_names') <> '')::int"}},
      std::chrono::minutes(1));
  if (!rows) return rows.error();
  const PgRows& head = (*rows)[0];
  if (head.size() != 1) return not_there();
  SharedStatus status;
  status.id = std::string(head.bytes(0, 0));
  status.schema = static_cast<int>(head.number(0, 1));
  status.oldest = static_cast<int>(head.number(0, 2));
  status.revision = static_cast<std::uint64_t>(head.number(0, 3));
  status.horizon = static_cast<std::uint64_t>(head.number(0, 4));
  status.entries = static_cast<std::uint64_t>((*rows)[1].number(0, 0));
  status.devices = static_cast<std::uint64_t>((*rows)[1].number(0, 1));
  status.cas = static_cast<std::uint64_t>((*rows)[1].number(0, 2));
  status.server = connection.server();
  status.standby = (*rows)[2].number(0, 0) != 0;
  status.synchronous = (*rows)[2].number(0, 1) != 0;
  return status;
}

Answer<void> check_shared_schema(PgConnection& connection) {
  const auto there = is_there(connection);
  if (!there) return there.error();
  if (!*there) return not_there();
  const auto rows = connection.run({{"select schema, oldest from sallyport.registry"}});
  if (!rows) return rows.error();
  if (rows->front().size() != 1) return not_there();
  const std::int64_t schema = rows->front().number(0, 0), oldest = rows->front().number(0, 1);
  return usable_schema(schema, oldest);
}

Answer<void> usable_schema(std::int64_t schema, std::int64_t oldest) {
  if (schema < SharedSession::kOldestSchema) {
    return Refusal{Refusal::Kind::Conflict, "the registry in PostgreSQL has schema " + std::to_string(schema) +
                                                ", this version needs " + std::to_string(SharedSession::kOldestSchema) +
                                                ": run `sallyport registry migrate`"};
  }
  if (oldest > SharedSession::kSchema) {
    return Refusal{Refusal::Kind::Conflict, "the registry in PostgreSQL has schema " + std::to_string(schema) +
                                                ", which this version does not know: upgrade Sallyport"};
  }
  return {};
}

}  // namespace sallyport
