// A registry in PostgreSQL where something was cut short, held up or raced: what was acknowledged holds, and nobody
// knows half of anything.
#include "cache/shared/shared_schema.h"
#include "tests/cache/shared/shared_world.h"

namespace sallyport::test {
namespace {

class SharedLimits : public SharedTest {
 protected:
  std::unique_ptr<PgConnection> operators() const {
    auto opened = PgConnection::open(postgres_.url(), "test");
    EXPECT_TRUE(opened) << opened.error().what;
    return std::move(*opened);
  }
  // All of it or nothing.
  void sql(const std::vector<std::string>& texts) const {
    std::vector<PgStatement> statements{{"begin"}};
    for (const std::string& text : texts) statements.push_back({text});
    statements.push_back({"commit"});
    const auto done = operators()->run(std::move(statements), 60s);
    EXPECT_TRUE(done) << done.error().what;
  }
  std::int64_t number(const std::string& text) const {
    const auto rows = operators()->run({{text}}, 60s);
    EXPECT_TRUE(rows) << rows.error().what;
    return rows ? rows->front().number(0, 0) : -1;
  }
  // A CA and devices of it that both nodes know.
  std::optional<Identity509> ca_;
  std::vector<Certificate> known(std::size_t count) {
    ca_.emplace(enroll(0, "CA"));
    std::vector<Certificate> devices;
    for (std::size_t i = 0; i < count; ++i) {
      devices.push_back(make_device("d" + std::to_string(i), *ca_).certificate);
      EXPECT_TRUE(node(0).connects(devices.back()));
    }
    EXPECT_TRUE(eventually([&] { return settled() && node(nodes_.size() - 1)->stats().devices.active == count; }));
    return devices;
  }
  DeviceStatus status(std::size_t at, const Certificate& device) {
    const auto record = node(at)->device(device.fingerprint());
    EXPECT_TRUE(record) << record.error().what;
    return record ? record->status : DeviceStatus::Active;
  }
};

// A node is ended in the middle of its first snapshot: the part of it is no registry of its own, and no whole one.
TEST_F(SharedLimits, AFirstSnapshotThatIsCutShortIsTakenAgain) {
  add(1);
  const std::vector<Certificate> devices = known(3);
  sql(
      {"insert into sallyport.entry select 8, int8send(g), convert_to(repeat('x', 200), 'UTF8'), 1 from "
       "generate_series(1, 400000) g"});
  Node& late = prepare();
  late.open(false);
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(late->ca(ca_->certificate.fingerprint())); }));
  late.close();
  {
    const auto store = RegistryStore::open(dir_.path() + "/node-1");
    ASSERT_TRUE(store) << store.error().what;
    ASSERT_TRUE((*store)->position()->registry.empty()) << "it was whole already: the test has to be larger";
    StatusCache cache;
    ChainTable chains;
    Shards shards;
    NullLogger log;
    Registrar alone(**store, cache, chains, shards, {}, log);
    EXPECT_FALSE(alone.share({}, log)) << "a part is no registry of its own";
  }
  sql({"delete from sallyport.entry where family = 8 and key <= int8send(400000)"});
  late.open();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  compare(devices);
}

// PostgreSQL stands still, and nobody is told that it does: a turn waits for it, and a local restriction does not.
TEST_F(SharedLimits, ALocalRestrictionDoesNotWaitForPostgresql) {
  add(1);
  const std::vector<Certificate> devices = known(2);
  const auto restrict = [&](const Certificate& device) {
    const auto done = node(0)->restrict_device_here(device.fingerprint(), DeviceStatus::Inactive, {});
    EXPECT_TRUE(done) << done.error().what;
    EXPECT_FALSE(node(0).connects(device));
  };
  postgres_.pause();
  std::thread waits([&] {
    const auto refused = node(0)->set_device_status(devices[1].fingerprint(), DeviceStatus::Revoked);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().what, HasSubstr("does not wait for it")) << "it was not waited for to its end";
  });
  std::this_thread::sleep_for(500ms);  // it waits for its turn by now
  restrict(devices[0]);
  restrict(devices[1]);
  waits.join();
  postgres_.go_on();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_EQ(status(0, devices[0]), DeviceStatus::Inactive);
  compare(devices);
}

// What a node is to refuse when it cannot know, it refuses from its first moment, before anybody was asked.
TEST_F(SharedLimits, ANodeThatStartsWithoutPostgresqlRefusesAtOnce) {
  add(1);
  const std::vector<Certificate> devices = known(1);
  postgres_.kill9();
  node(0).close();
  node(0).options_.stale_after = 1h;
  node(0).options_.stale = Stale::RefuseUnknown;
  node(0).open(false);
  EXPECT_TRUE(node(0).connects(devices[0]));
  EXPECT_EQ(node(0).ask(make_device("new", *ca_).certificate).reason, Reason::NotRegistered);
  node(0).close();
  node(0).options_.stale = Stale::RefuseAll;
  node(0).open(false);
  EXPECT_TRUE(node(0)->shared_state()->stale);
  EXPECT_FALSE(node(0).connects(devices[0]));
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return node(0).connects(devices[0]); }));
  EXPECT_FALSE(node(0)->shared_state()->stale);
}

// Connected is not enough: what it cannot read it does not know.
TEST_F(SharedLimits, ANodeThatCannotTakeInWhatOthersChangedIsStale) {
  add(1);
  const std::vector<Certificate> devices = known(1);
  node(0).close();
  node(0).options_.stale_after = 1500ms;
  node(0).options_.stale = Stale::RefuseAll;
  node(0).open();
  ASSERT_TRUE(node(0).connects(devices[0]));
  sql({"insert into sallyport.entry values (4, 'short', 'no row', 1000000)",
       "insert into sallyport.commit (revision, stamp, node, schema) values (1000000, 'sixteen bytes ok', 'x', 2)",
       "update sallyport.registry set revision = 1000000, stamp = 'sixteen bytes ok'"});
  ASSERT_TRUE(eventually([&] { return node(0)->shared_state()->stale; }));
  EXPECT_FALSE(node(0)->shared_state()->connected) << "whoever watches is told";
  EXPECT_NE(node(0)->shared_state()->why.find("device (key 73686f7274)"), std::string::npos);
  EXPECT_FALSE(node(0).connects(devices[0]));
  sql({"delete from sallyport.entry where key = 'short'"});
  ASSERT_TRUE(eventually([&] { return node(0).connects(devices[0]); }));
}

// A row that somebody wrote by hand, as a commit of its own.
struct Row {
  int family;
  const char *key, *value;
};
std::vector<std::string> committed(const Row& row, std::uint64_t revision) {
  const std::string number = std::to_string(revision);
  return {"insert into sallyport.entry values (" + std::to_string(row.family) + ", '" + row.key + "', '" + row.value +
              "', " + number + ")",
          "insert into sallyport.commit (revision, stamp, node, schema) values (" + number +
              ", 'sixteen bytes ok', 'x', 2)",
          "update sallyport.registry set revision = " + number + ", stamp = 'sixteen bytes ok'"};
}

// Taken silently, each would keep a later restriction of its kind out: readers stop at what they cannot read. So
// nothing of such a commit is taken, and the node says which row it is.
TEST_F(SharedLimits, WhatCannotBeReadIsNamedAndNotTakenIn) {
  add(1);
  const std::vector<Certificate> devices = known(1);
  std::uint64_t revision = 1'000'000;
  for (const Row& row : {Row{6, "short", "\\x00"}, Row{5, "override:other", "\\x00"},
                         Row{5, "override:mqtts",
                             "\\x0103"
                             "00000000000000000000000000000000"
                             "00000000000000000000000000000000"},
                         Row{5, "purge:x", ""}, Row{2, "no chain id", "\\x00"}, Row{7, "no digest", "\\x00"},
                         Row{1, "0123456789abcdef0123456789abcdef", "no CA"}}) {
    SCOPED_TRACE(row.key);
    sql(committed(row, revision++));
    ASSERT_TRUE(eventually([&] { return !node(0)->shared_state()->connected; }));
    EXPECT_NE(node(0)->shared_state()->why.find("that this version cannot read"), std::string::npos);
    EXPECT_TRUE(node(0).connects(devices[0]));
    sql({"delete from sallyport.entry where key = '" + std::string(row.key) + "'"});
    ASSERT_TRUE(eventually([&] { return node(0)->shared_state()->connected; }));
  }
}

// The rows of a node's own store have keys, too: none of them is written by another.
TEST_F(SharedLimits, ANodesOwnRowsAreWrittenByNobodyElse) {
  add(1);
  const std::vector<Certificate> devices = known(1);
  std::uint64_t revision = 1'000'000;
  for (const Row& row : {Row{5, "outbox:restriction:zz", "\\x00"}, Row{5, "schema", "\\xff"}, Row{5, "store_id", "x"},
                         Row{5, "shared-position", "x"}, Row{8, "12345678", "\\x00"}}) {
    sql(committed(row, revision++));
  }
  ASSERT_TRUE(eventually([&] { return node(0)->shared_state()->revision == revision - 1; }));
  EXPECT_TRUE(node(0)->shared_state()->connected);
  node(0).close();
  node(0).open();
  EXPECT_TRUE(node(0).connects(devices[0]));
}

// A head that no commit wrote, and a horizon ahead of all: said, bounded, and over when it is mended.
TEST_F(SharedLimits, AHeadThatIsNoneIsRefused) {
  add(1);
  const std::vector<Certificate> devices = known(2);
  sql({"update sallyport.registry set revision = 9223372036854775807"});
  ASSERT_TRUE(eventually([&] { return !node(0)->shared_state()->connected; }));
  EXPECT_FALSE(node(0)->set_device_status(devices[0].fingerprint(), DeviceStatus::Revoked))
      << "written, no node would read it";
}

// Somebody who waits for no lock wrote a later revision: nodes that have it would never read this commit.
TEST_F(SharedLimits, ACommitThatDoesNotMoveTheHeadIsNone) {
  add(1);
  known(1);
  auto session = SharedSession::open(postgres_.url(), "by hand");
  ASSERT_TRUE(session) << session.error().what;
  const auto from = (*session)->position();
  ASSERT_TRUE(from);
  ASSERT_TRUE((*session)->begin(*from));
  sql({"update sallyport.registry set revision = revision + 1000"});
  const std::uint64_t next = from->revision + 1;
  EXPECT_FALSE((*session)->commit(*from, next, {}));
  EXPECT_EQ(number("select count(*) from sallyport.commit where revision = " + std::to_string(next)), 0);
}

// Whoever may connect can take it. It is not waited for without end, and said whose it is.
TEST_F(SharedLimits, WhoHoldsTheLockOfWritersIsNamed) {
  add(1);
  const std::vector<Certificate> devices = known(1);
  auto somebody = PgConnection::open(postgres_.url(), "a long report");
  ASSERT_TRUE(somebody) << somebody.error().what;
  ASSERT_TRUE((*somebody)->run({{"select pg_advisory_lock(" + std::to_string(kSharedLock) + ")"}}));
  const auto refused = node(0)->set_device_status(devices[0].fingerprint(), DeviceStatus::Revoked);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("the lock of writers is held by postgres (a long report, pid "));
  EXPECT_TRUE(node(0)->shared_state()->connected);
  EXPECT_THAT(node(0)->shared_state()->why, HasSubstr("a long report")) << "and whoever looks sees it";
  somebody->reset();
  EXPECT_TRUE(eventually([&] { return node(0)->shared_state()->why.empty(); })) << "also where nobody asks again";
  EXPECT_TRUE(
      eventually([&] { return bool{node(0)->set_device_status(devices[0].fingerprint(), DeviceStatus::Revoked)}; }));
}

TEST_F(SharedLimits, SnapshotsThatDoNotHelpAreNotTakenWithoutAPause) {
  add(1);
  const std::vector<Certificate> devices = known(1);
  const std::uint64_t before = node(0)->shared_state()->snapshots;
  sql({"update sallyport.registry set horizon = revision + 1000"});
  ASSERT_TRUE(eventually([&] { return node(0)->shared_state()->snapshots >= before + 2; }));
  const auto began = std::chrono::steady_clock::now();
  const std::uint64_t from = node(0)->shared_state()->snapshots;
  ASSERT_TRUE(eventually([&] { return node(0)->shared_state()->snapshots >= from + 2; }));
  EXPECT_GE(std::chrono::steady_clock::now() - began, 1s);
}

// Two operators, neither of whom could know of the other: the stricter word holds, everywhere and for good.
TEST_F(SharedLimits, ADeviceRevokedHereAndDeletedThereStaysRevoked) {
  add(2);
  const std::vector<Certificate> devices = known(3);
  postgres_.kill9();
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(node(0)->restrict_device_here(devices[i].fingerprint(), DeviceStatus::Revoked, {"me", "here"}));
  }
  node(0).close();
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(node(1)->delete_device(devices[0].fingerprint(), {})); }));
  // The other one goes with its CA, which comes back later.
  const Digest ca = ca_->certificate.fingerprint();
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(node(1)->set_ca_status(ca, CaStatus::Inactive, {})); }));
  ASSERT_TRUE(node(1)->delete_ca(ca, true, {}));
  ASSERT_TRUE(eventually([&] { return !node(1)->device(devices[1].fingerprint()); }));
  node(0).open();
  EXPECT_FALSE(node(0).connects(devices[1]));
  const auto code = node(1)->issue_code(600);
  ASSERT_TRUE(code);
  Leaf leaf;
  leaf.cn = code->code;
  leaf.version1 = true;
  ASSERT_TRUE(node(1)->register_ca({ca_->certificate, make(leaf, &*ca_).certificate, {}, false}));
  ASSERT_TRUE(eventually([&] { return settled(); }));
  for (std::size_t at = 0; at < 2; ++at) {
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(status(at, devices[i]), DeviceStatus::Revoked) << "node " << at << ", device " << i;
      EXPECT_FALSE(node(at).ask(devices[i]).admitted()) << "node " << at << ", device " << i;
    }
  }
  ASSERT_TRUE(node(1).connects(devices[2]));
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->device(devices[2].fingerprint()); }));
  compare({devices[0], devices[1], devices[2]});
}

// A turn that another node holds for too long breaks no connection: what waits is written by itself when it is over.
TEST_F(SharedLimits, WhatWaitedForATurnIsWrittenWithoutANewConnection) {
  add(2);
  const std::vector<Certificate> devices = known(1);
  const auto holder = operators();
  ASSERT_TRUE(holder->run({{"begin"}, {"select pg_advisory_xact_lock(" + std::to_string(kSharedLock) + ")"}}));
  const Certificate late = make_device("late", *ca_).certificate;
  ASSERT_TRUE(node(0).connects(late));
  ASSERT_TRUE(node(0)->restrict_device_here(devices[0].fingerprint(), DeviceStatus::Revoked, {}));
  EXPECT_FALSE(node(0).connects(devices[0]));
  ASSERT_TRUE(eventually([&] {
    bool waits = false;
    (void)node(0).store().each_outbox("device:", [&](std::string_view, std::string_view) { return waits = true; });
    return waits;
  }));
  ASSERT_TRUE(holder->run({{"rollback"}}));
  ASSERT_TRUE(eventually([&] { return settled() && node(1)->device(late.fingerprint()); }));
  EXPECT_EQ(status(1, devices[0]), DeviceStatus::Revoked);
  compare({devices[0], late});
}

TEST_F(SharedLimits, OldDeletesAndOldAuditLinesAreForgottenInParts) {
  const auto session = SharedSession::open(postgres_.url(), "test");
  ASSERT_TRUE(session);
  sql(
      {"insert into sallyport.commit (revision, stamp, node, schema, at) select g, 'sixteen bytes ok', 'x', 2, "
       "clock_timestamp() - case when g <= 9000 then "
       "interval '8 days' else interval '0' end from generate_series(2, 9500) g"});
  sql(
      {"insert into sallyport.entry select 4, int8send(g), case when g % 2 = 0 then null else 'row'::bytea end, g from "
       "generate_series(2, 9500) g"});
  sql({"update sallyport.registry set revision = 9500, stamp = 'sixteen bytes ok'"});
  int parts = 1;
  for (;; ++parts) {
    const auto done = (*session)->forget_deletes(std::chrono::hours(7 * 24));
    ASSERT_TRUE(done) << done.error().what;
    if (*done || parts > 9) break;
  }
  EXPECT_EQ(parts, 3);
  EXPECT_EQ(number("select horizon from sallyport.registry"), 9000);
  EXPECT_EQ(number("select count(*) from sallyport.entry where value is null"), 250);
  EXPECT_EQ(number("select count(*) from sallyport.entry where value is not null"), 4750);
  EXPECT_EQ(number("select min(revision) from sallyport.commit"), 9000) << "a node at the horizon can still follow";
  sql({"insert into sallyport.entry select 8, int8send(g), 'line', 9500 from generate_series(1, 5000) g"});
  const auto first = (*session)->forget_audit(4901);
  ASSERT_TRUE(first && !*first);
  const auto second = (*session)->forget_audit(4901);
  ASSERT_TRUE(second && *second);
  EXPECT_EQ(number("select count(*) from sallyport.entry where family = 8"), 100);
}

// PostgreSQL sorts millions of rows before the first one comes. A node that ends meanwhile does not wait for it.
TEST_F(SharedLimits, ACopyBeginsLateAndCanBeGivenUp) {
  const std::string late = "copy (select 'row' from pg_sleep(2.5)) to stdout";
  std::string said;
  int asked = 0;
  const auto done = operators()->copy_out(
      late, [&](std::string_view piece) { return said += piece, asked += piece.empty() ? 1 : 0, true; }, 100ms);
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(said, "row\n");
  EXPECT_GE(asked, 2);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_FALSE(
      operators()->copy_out("copy (select 'row' from pg_sleep(60)) to stdout", [](std::string_view) { return false; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
}

}  // namespace
}  // namespace sallyport::test
