// What a ticket of one node is worth at another: nothing, where its device, or its chain, has lost its standing since,
// wherever that was and whatever its standing is now; and whether anybody saw it. Keys of tickets, and what happens to
// them where PostgreSQL is away or has another history. Registries of the schema before.
#include "cache/shared/shared_schema.h"
#include "tests/cache/shared/shared_world.h"

namespace sallyport::test {
namespace {

class SharedEpochs : public SharedTest {
 protected:
  struct Ticket {
    Certificate leaf;
    std::uint64_t chain = 0;
    std::uint32_t epoch = 0;
  };
  Ticket ticket(std::size_t at, const Certificate& leaf) {
    const Verdict verdict = node(at).ask(leaf);
    EXPECT_TRUE(verdict.admitted()) << to_string(verdict.reason);
    return {leaf, verdict.known ? verdict.chain_id : 0, verdict.epoch};
  }
  bool good(std::size_t at, const Ticket& ticket) { return node(at).resume(ticket.leaf, ticket.chain, ticket.epoch); }
  bool known(std::size_t at, const Certificate& leaf) {
    return static_cast<bool>(node(at)->device(leaf.fingerprint()));
  }
  // Two devices of one CA that every node knows.
  void fleet() {
    enroll(0, ca);
    for (const Certificate* each : {&device, &other}) {
      EXPECT_TRUE(node(0).connects(*each));
      EXPECT_TRUE(eventually([&] { return known(0, *each); }));
    }
    EXPECT_TRUE(eventually([&] { return settled(); }));
  }
  const Identity509 ca = make_ca("CA");
  const Certificate device = make_device("device", ca).certificate, other = make_device("other", ca).certificate;

  void set(std::size_t at, const Certificate& leaf, DeviceStatus status) {
    const auto done = node(at)->set_device_status(leaf.fingerprint(), status);
    ASSERT_TRUE(done) << done.error().what;
  }
  void lose_and_regain(std::size_t at, const Certificate& leaf) {
    set(at, leaf, DeviceStatus::Inactive);
    set(at, leaf, DeviceStatus::Active);
  }
  Answer<std::vector<PgRows>> sql(const std::vector<std::string>& texts) {
    auto opened = PgConnection::open(postgres_.url(), "test");
    EXPECT_TRUE(opened) << opened.error().what;
    std::vector<PgStatement> statements;
    for (const std::string& text : texts) statements.push_back({text});
    return (*opened)->run(std::move(statements));
  }
  Answer<bool> make_key(std::size_t at, char name, std::int64_t every = 3600, std::int64_t keep = 7200) {
    return node(at)->rotate_ticket_keys({every, keep, [&](std::int64_t made_at) -> Answer<TicketKeyRow> {
                                           TicketKeyRow row;
                                           row.name.fill(static_cast<std::uint8_t>(name));
                                           row.made_at = made_at;
                                           row.sealed = "sealed";
                                           return row;
                                         }});
  }
  std::string keys(std::size_t at) {
    std::string names;
    const auto rows = node(at)->ticket_keys();
    EXPECT_TRUE(rows);
    for (const TicketKeyRow& row : *rows) names += static_cast<char>(row.name[0]);
    return names;
  }
};

TEST_F(SharedEpochs, ATicketIsGoodAtEveryNode) {
  add(2);
  fleet();
  const Ticket first = ticket(0, device), second = ticket(1, device);
  EXPECT_TRUE(good(1, first));
  EXPECT_TRUE(good(0, second));
  compare({device, other});
}

TEST_F(SharedEpochs, ALossAtOneNodeEndsTheTicketsOfAll) {
  add(2);
  fleet();
  const Ticket first = ticket(0, device), second = ticket(1, device), others = ticket(1, other);
  lose_and_regain(0, device);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  for (const std::size_t at : {0U, 1U}) {
    EXPECT_FALSE(good(at, first)) << at;
    EXPECT_FALSE(good(at, second)) << at;
    EXPECT_TRUE(good(at, others)) << at;
    EXPECT_TRUE(good(at, ticket(1 - at, device))) << at;
  }
  compare({device, other});
}

// A node that was down sees it active, as it was: the row says that it was lost between.
TEST_F(SharedEpochs, ALossThatANodeNeverSawEndsTickets) {
  add(2);
  fleet();
  const Ticket before = ticket(1, device), others = ticket(1, other);
  node(1).close();
  lose_and_regain(0, device);
  const Ticket since = ticket(0, device);
  node(1).open();
  EXPECT_EQ(node(1)->shared_state()->snapshots, 0U) << "by the news alone";
  EXPECT_FALSE(good(1, before));
  EXPECT_TRUE(good(1, others));
  EXPECT_TRUE(good(1, since));
  node(1).close();  // and what it has on its disk says it, too
  node(1).open();
  EXPECT_FALSE(good(1, before));
  EXPECT_TRUE(good(1, since));
}

TEST_F(SharedEpochs, ANewNodeKnowsTheLossesOfBefore) {
  add(1);
  fleet();
  const Ticket before = ticket(0, device), others = ticket(0, other);
  lose_and_regain(0, device);
  add(1);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_FALSE(good(1, before));
  EXPECT_TRUE(good(1, others));
  EXPECT_TRUE(good(1, ticket(0, device)));
  compare({device, other});
}

TEST_F(SharedEpochs, ACaThatWasOffMeanwhileEndsTickets) {
  add(2);
  fleet();
  const Ticket before = ticket(1, device);
  node(1).close();
  ASSERT_TRUE(node(0)->set_ca_status(ca.certificate.fingerprint(), CaStatus::Inactive));
  ASSERT_TRUE(node(0)->set_ca_status(ca.certificate.fingerprint(), CaStatus::Active));
  node(1).open();
  EXPECT_FALSE(good(0, before));
  EXPECT_FALSE(good(1, before));
  EXPECT_TRUE(good(1, ticket(0, device)));
}

TEST_F(SharedEpochs, ADeviceThatWasForgottenMeanwhileProvesItselfAgain) {
  add(2);
  fleet();
  const Ticket before = ticket(1, device);
  node(1).close();
  ASSERT_TRUE(node(0)->delete_device(device.fingerprint()));
  ASSERT_TRUE(node(0).connects(device));
  ASSERT_TRUE(eventually([&] { return known(0, device); }));
  node(1).open();
  EXPECT_FALSE(good(0, before));
  EXPECT_FALSE(good(1, before));
  EXPECT_TRUE(good(1, ticket(0, device)));
}

// It is of a node that knows of losses which this one has not heard of.
TEST_F(SharedEpochs, ANodeThatIsBehindHonoursNoTicketOfOneThatIsAhead) {
  add(2);
  fleet();
  const Ticket of_before = ticket(0, device);
  node(1).close();
  lose_and_regain(0, other);
  const Ticket ahead = ticket(0, device);
  postgres_.kill9();
  node(1).open(false);
  EXPECT_TRUE(good(1, of_before));
  EXPECT_FALSE(good(1, ahead));
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_TRUE(good(1, ahead));
}

// Restricted at one node alone, while another goes on giving it tickets: all of them end when that is written.
TEST_F(SharedEpochs, ALocalRestrictionEndsTicketsThatOthersGaveMeanwhile) {
  add(2);
  fleet();
  postgres_.kill9();
  ASSERT_TRUE(node(1)->restrict_device_here(device.fingerprint(), DeviceStatus::Inactive, {}));
  const Ticket meanwhile = ticket(0, device);
  EXPECT_FALSE(good(1, meanwhile));
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled() && !node(0).ask(device).admitted(); }));
  set(0, device, DeviceStatus::Active);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_FALSE(good(0, meanwhile));
  EXPECT_FALSE(good(1, meanwhile));
  for (const std::size_t at : {0U, 1U}) EXPECT_TRUE(good(at, ticket(1 - at, device))) << at;
  compare({device, other});
}

// Lost by one node alone, as by a date: nobody is told, and its own next tickets are worth something again soon.
TEST_F(SharedEpochs, WhatIsLostHereAloneIsSaidToTheOthers) {
  add(2);
  fleet();
  const Ticket before = ticket(0, device);
  postgres_.kill9();
  ASSERT_TRUE(node(1)->deactivate_ca_here(ca.certificate.fingerprint(), {}));
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled() && !node(0).ask(device).admitted(); }));
  ASSERT_TRUE(node(0)->set_ca_status(ca.certificate.fingerprint(), CaStatus::Active));
  ASSERT_TRUE(eventually([&] {
    return settled() && node(1).ask(device).admitted() && good(1, ticket(1, device)) && good(0, ticket(1, device));
  }));
  EXPECT_FALSE(good(0, before));
  EXPECT_FALSE(good(1, before));
}

TEST_F(SharedEpochs, OneNodeMakesTheNextKeyAndAllHaveIt) {
  add(2);
  EXPECT_EQ(keys(0), "");
  ASSERT_EQ(*make_key(0, 'a'), true);
  ASSERT_EQ(*make_key(1, 'b'), false) << "there is one that is young";
  ASSERT_TRUE(eventually([&] { return keys(1) == "a"; }));
  ASSERT_EQ(*make_key(1, 'b', -60), true);
  const auto rows = node(1)->ticket_keys();
  EXPECT_GT(rows->front().made_at, rows->back().made_at + 5) << "it is there before it is used";
  EXPECT_EQ(keys(1), "ba");
  ASSERT_EQ(*make_key(0, 'c', -60, -60), true);
  ASSERT_TRUE(eventually([&] { return keys(1) == "c" && keys(0) == "c"; })) << "what is too old goes";
}

TEST_F(SharedEpochs, KeysThatAreDroppedAreDroppedEverywhere) {
  add(2);
  ASSERT_EQ(*make_key(0, 'a'), true);
  ASSERT_TRUE(eventually([&] { return keys(1) == "a"; }));
  ASSERT_TRUE(node(1)->drop_ticket_keys({}));
  EXPECT_EQ(keys(1), "");
  ASSERT_TRUE(eventually([&] { return keys(0).empty(); }));
}

// Dropped where PostgreSQL is away: here at once, also after a restart, and everywhere as soon as it answers.
TEST_F(SharedEpochs, KeysThatAreDroppedStayDroppedWhilePostgresqlIsAway) {
  add(2);
  ASSERT_EQ(*make_key(0, 'a'), true);
  ASSERT_TRUE(eventually([&] { return keys(1) == "a"; }));
  postgres_.kill9();
  const auto refused = node(1)->drop_ticket_keys({"op", "-"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("done on this node"));
  EXPECT_EQ(keys(1), "");
  EXPECT_EQ(keys(0), "a");
  node(1).close();
  node(1).open(false);
  EXPECT_EQ(keys(1), "");
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled() && keys(0).empty(); }));
  const auto lines = node(0)->audit(0, INT64_MAX, 10);
  ASSERT_TRUE(lines);
  EXPECT_EQ(lines->front().action, "ticket-keys.rotate");
  EXPECT_EQ(lines->front().by.who, "op");
  ASSERT_EQ(*make_key(1, 'b'), true);
  EXPECT_EQ(keys(1), "b");
}

// The history that gave the tickets is gone, and with it losses that nobody remembers.
TEST_F(SharedEpochs, AnotherHistoryEndsTicketsAndTheirKeys) {
  add(2);
  fleet();
  ASSERT_EQ(*make_key(0, 'a'), true);
  ASSERT_TRUE(eventually([&] { return settled() && keys(1) == "a"; }));
  postgres_.stop();
  const std::string backup = postgres_.data() + ".backup";
  ASSERT_EQ(std::system(("cp -a " + postgres_.data() + " " + backup).c_str()), 0);
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  for (int i = 0; i < 3; ++i) lose_and_regain(0, other);
  const Ticket before = ticket(0, device);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  postgres_.stop();
  ASSERT_EQ(std::system(("rm -rf " + postgres_.data() + " && cp -a " + backup + " " + postgres_.data()).c_str()), 0);
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->shared_state()->snapshots > 0; }));
  ASSERT_TRUE(eventually([&] { return keys(0).empty() && keys(1).empty(); }));
  lose_and_regain(1, device);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  for (const std::size_t at : {0U, 1U}) {
    EXPECT_FALSE(good(at, before)) << at;
    ASSERT_TRUE(eventually([&] { return good(at, ticket(1 - at, device)); })) << at;
  }
}

// Nodes of this version serve a registry that is not migrated yet, each with epochs of its own; the migration reaches
// them while they run. What a program of the schema before would write is refused by the tables from then on.
TEST_F(SharedEpochs, ARegistryOfTheSchemaBeforeIsServedAndMigrated) {
  ASSERT_TRUE(sql({"alter table sallyport.commit drop column schema", "drop table sallyport.answer, sallyport.ask",
                   "delete from sallyport.entry where key = 'epochs'::bytea",
                   "update sallyport.registry set schema = 1, oldest = 1"}));
  add(2);
  EXPECT_FALSE(node(0)->shares_epochs());
  EXPECT_FALSE(make_key(0, 'a'));
  fleet();
  lose_and_regain(0, device);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_EQ(
      std::string(entries_of(postgres_).at(
                      {SharedFamily::Device, std::string(reinterpret_cast<const char*>(device.fingerprint().data()),
                                                         device.fingerprint().size())}))
          .substr(2, 2),
      std::string(2, '\0'))
      << "as nodes of the version before write it";
  auto opened = PgConnection::open(postgres_.url(), "test");
  const auto migrated = migrate_shared_registry(**opened);
  ASSERT_TRUE(migrated) << migrated.error().what;
  EXPECT_EQ(*migrated, std::pair(1, 2));
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->shares_epochs() && node(1)->shares_epochs(); }));
  const Ticket before = ticket(1, device), others = ticket(1, other);
  EXPECT_TRUE(good(0, before));
  lose_and_regain(0, device);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_FALSE(good(0, before));
  EXPECT_FALSE(good(1, before));
  EXPECT_TRUE(good(0, others));
  EXPECT_EQ(*make_key(0, 'a'), true);
  EXPECT_FALSE(
      sql({"insert into sallyport.commit (revision, stamp, node) values (1000000, '\\x00'::bytea, 'of schema 1')"}));
}

}  // namespace
}  // namespace sallyport::test
