// Which nodes there are: each tells twice a second that it lives, and how far it is.
#include "cache/shared/shared_session.h"

namespace sallyport {

// `applied_at` is when it had all that there was: between two changes that is now.
Answer<bool> SharedSession::heartbeat(std::uint64_t revision, const std::string& instance, const std::string& version) {
  const auto rows = connection_->run(
      {{"insert into sallyport.node as n (name, instance, revision, version) "
        "values (convert_from($1::bytea, 'UTF8'), $2::bytea, $3::bigint, convert_from($4::bytea, 'UTF8')) "
        "on conflict (name) do update set instance = excluded.instance, revision = excluded.revision, "
        "version = excluded.version, seen_at = clock_timestamp(), applied_at = case when excluded.revision >= "
        "(select revision from sallyport.registry) then clock_timestamp() else n.applied_at end "
        "where n.instance = excluded.instance or n.seen_at < clock_timestamp() - interval '5 seconds'",
        {PgValue::bytes(node_), PgValue::bytes(instance), PgValue::number(revision), PgValue::bytes(version)}}});
  if (!rows) return rows.error();
  return rows->front().affected() == 1;
}

Answer<SharedNodes> SharedSession::nodes() {
  const auto rows = connection_->run(
      {{"select r.revision, convert_to(n.name, 'UTF8'), n.revision, "
        "(extract(epoch from clock_timestamp() - n.seen_at) * 1000)::bigint, "
        "(extract(epoch from clock_timestamp() - n.applied_at) * 1000)::bigint, convert_to(n.version, 'UTF8') "
        "from sallyport.registry r left join sallyport.node n on n.seen_at > clock_timestamp() - interval '" +
        std::to_string(kNodeForgotten.count()) +
        " hours' and n.seen_at < clock_timestamp() + interval '1 hour' and isfinite(n.applied_at) and n.revision >= "
        "0 "
        "order by n.name"}});
  if (!rows) return rows.error();
  const PgRows& found = rows->front();
  SharedNodes all;
  for (std::size_t i = 0; i < found.size(); ++i) {
    all.revision = static_cast<std::uint64_t>(found.number(i, 0));
    if (found.null(i, 1)) continue;
    all.nodes.push_back({std::string(found.bytes(i, 1)), static_cast<std::uint64_t>(found.number(i, 2)),
                         found.number(i, 3), found.number(i, 4), std::string(found.bytes(i, 5))});
  }
  return all;
}

Answer<std::string> SharedSession::rights_lacking() {
  const auto rows = connection_->run(
      {{"select convert_to(coalesce(string_agg(p.does || ' ' || t.tablename, ', ' order by t.tablename, p.does), ''), "
        "'UTF8') from pg_tables t, (values ('select'), ('insert'), ('update'), ('delete')) p(does) where t.schemaname "
        "= "
        "'sallyport' and not has_table_privilege('sallyport.' || quote_ident(t.tablename), p.does)"}});
  if (!rows) return rows.error();
  if (rows->front().size() != 1) return Refusal{Refusal::Kind::Unavailable, "it does not say what the role may do"};
  return std::string(rows->front().bytes(0, 0));
}

Answer<void> SharedSession::step_aside(const std::string& instance) {
  const auto rows = connection_->run(
      {{"update sallyport.node n set name = n.name || convert_from($3::bytea, 'UTF8') || encode(substring(n.instance "
        "from 1 for 2), 'hex') where n.name = convert_from($1::bytea, 'UTF8') and n.instance <> $2::bytea and "
        "n.seen_at < "
        "clock_timestamp() - interval '5 seconds' and not exists (select from sallyport.node o where o.name = n.name "
        "|| "
        "convert_from($3::bytea, 'UTF8') || encode(substring(n.instance from 1 for 2), 'hex'))",
        {PgValue::bytes(node_), PgValue::bytes(instance), PgValue::bytes(std::string_view(&kBeside, 1))}}});
  return rows ? Answer<void>() : Answer<void>(rows.error());
}

Answer<void> SharedSession::leave(const std::string& node, const std::string& instance) {
  const auto rows = connection_->run(
      {{"delete from sallyport.node where name = convert_from($1::bytea, 'UTF8') and instance = $2::bytea",
        {PgValue::bytes(node), PgValue::bytes(instance)}}});
  return rows ? Answer<void>() : Answer<void>(rows.error());
}

// One that lives tells that it does twice a second; it comes back with its next heartbeat.
Answer<bool> SharedSession::forget_node(const std::string& name) {
  const auto rows =
      connection_->run({{"delete from sallyport.node where name = convert_from($1::bytea, 'UTF8') and "
                         "seen_at < clock_timestamp() - interval '10 seconds'",
                         {PgValue::bytes(name)}}});
  if (!rows) return rows.error();
  return rows->front().affected() == 1;
}

}  // namespace sallyport
