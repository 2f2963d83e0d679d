// Nodes of one registry in PostgreSQL: each rule of the protocol by itself, and all of them together in an order that a
// printed seed decides.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

#include "tests/cache/shared/shared_world.h"

namespace sallyport::test {
namespace {

TEST_F(SharedTest, WhatOneNodeChangesIsInForceAtEveryOther) {
  add(2);
  const Identity509 ca = enroll(0, "CA");
  const Identity509 device = make_device("d", ca);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  ASSERT_TRUE(node(1).connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return node(0).ask(device.certificate).known; }))
      << "the row is there before the slot is";
  ASSERT_TRUE(node(0)->set_device_status(device.certificate.fingerprint(), DeviceStatus::Revoked));
  ASSERT_TRUE(eventually([&] { return !node(1).connects(device.certificate); }));
  EXPECT_EQ(node(1).shards().last_cut().why, Reason::DeviceRevoked);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  compare({device.certificate});
}

TEST_F(SharedTest, AChangeIsCheckedAgainstWhatOthersCommitted) {
  add(2);
  const Identity509 ca = enroll(0, "CA");
  ASSERT_TRUE(eventually([&] { return settled(); }));
  Leaf leaf;
  leaf.serial = {0x12, 0x34};
  const Certificate one = make(leaf, &ca).certificate, two = make(leaf, &ca).certificate;
  const Verdict first = node(0).ask(one), second = node(1).ask(two);
  ASSERT_TRUE(first.admitted());
  ASSERT_TRUE(second.admitted());
  ASSERT_TRUE(node(0)->offer({first.leaf_der, *first.identity, *first.path, false}));
  ASSERT_TRUE(node(1)->offer({second.leaf_der, *second.identity, *second.path, false}));
  ASSERT_TRUE(eventually([&] { return settled() && !entries_of(postgres_).empty(); }));
  ASSERT_TRUE(eventually([&] { return node(0)->stats().refused + node(1)->stats().refused == 1; }));
  Node& loser = node(0)->stats().refused == 1 ? node(0) : node(1);
  EXPECT_EQ(loser.shards().last_cut().why, Reason::SerialConflict);
  EXPECT_EQ(node(0)->stats().devices.active, 1U);
  compare({one, two});
}

TEST_F(SharedTest, OperatorsOfTwoNodesRaceAndRevokedIsFinal) {
  add(2);
  const Identity509 ca = enroll(0, "CA");
  const Certificate device = make_device("d", ca).certificate;
  ASSERT_TRUE(eventually([&] { return settled(); }));
  ASSERT_TRUE(node(0).connects(device));
  ASSERT_TRUE(eventually([&] { return settled() && node(1)->device(device.fingerprint()); }));
  std::thread other([&] { (void)node(1)->set_device_status(device.fingerprint(), DeviceStatus::Active); });
  ASSERT_TRUE(node(0)->set_device_status(device.fingerprint(), DeviceStatus::Revoked));
  other.join();
  EXPECT_FALSE(node(1)->set_device_status(device.fingerprint(), DeviceStatus::Active));
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_FALSE(node(1).connects(device));
}

TEST_F(SharedTest, WithoutPostgresqlAChangeIsRefusedAndNothingHappens) {
  add(1);
  const Identity509 ca = enroll(0, "CA");
  const Certificate device = make_device("d", ca).certificate;
  ASSERT_TRUE(node(0).connects(device));
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->device(device.fingerprint()); }));
  postgres_.kill9();
  const auto refused = node(0)->set_device_status(device.fingerprint(), DeviceStatus::Revoked);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Refusal::Kind::Unavailable);
  EXPECT_TRUE(node(0).connects(device));
  EXPECT_FALSE(node(0)->issue_code(60));
  const auto local = node(0)->restrict_device_here(device.fingerprint(), DeviceStatus::Inactive, {});
  ASSERT_TRUE(local) << local.error().what;
  EXPECT_FALSE(node(0).connects(device));
  node(0).close();
  node(0).open(false);
  EXPECT_FALSE(node(0).connects(device)) << "also after a restart, without PostgreSQL";
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_EQ(node(0)->device(device.fingerprint())->status, DeviceStatus::Inactive);
  const auto lines = node(0)->audit(0, INT64_MAX, 100);
  ASSERT_TRUE(lines);
  const auto line = std::find_if(lines->begin(), lines->end(),
                                 [](const AuditRecord& each) { return each.action == "device.deactivate"; });
  ASSERT_NE(line, lines->end());
  EXPECT_EQ(line->before + " " + line->after, "active inactive") << "as it was over there until then";
  EXPECT_THAT(line->by.from, HasSubstr("(--local, 20"));
  compare({device});
}

TEST_F(SharedTest, DevicesThatCameMeanwhileSurviveARestartAndAreRegistered) {
  add(2);
  const Identity509 ca = enroll(0, "CA");
  ASSERT_TRUE(eventually([&] { return settled(); }));
  postgres_.kill9();
  std::vector<Certificate> devices;
  for (int i = 0; i < 20; ++i) {
    devices.push_back(make_device("d" + std::to_string(i), ca).certificate);
    ASSERT_TRUE(node(0).connects(devices.back()));
    ASSERT_TRUE(node(0).connects(devices.back())) << "it comes again, and waits once";
  }
  ASSERT_TRUE(eventually([&] { return node(0)->stats().queued == 20; }));
  std::size_t kept = 0;
  ASSERT_TRUE(eventually([&] {
    kept = 0;
    (void)node(0).store().each_outbox("device:", [&](std::string_view, std::string_view) { return ++kept, true; });
    return kept == 20;
  }));
  node(0).close();
  node(0).open(false);
  EXPECT_EQ(node(0)->stats().queued, 20U);
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled() && node(1)->stats().devices.active == 20; }));
  compare(devices);
}

TEST_F(SharedTest, ASecondNodeTakesASnapshot) {
  add(1);
  const Identity509 ca = enroll(0, "CA");
  std::vector<Certificate> devices;
  for (int i = 0; i < 50; ++i) {
    devices.push_back(make_device("d" + std::to_string(i), ca).certificate);
    ASSERT_TRUE(node(0).connects(devices.back()));
  }
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->stats().devices.active == 50; }));
  ASSERT_TRUE(node(0)->set_device_status(devices[7].fingerprint(), DeviceStatus::Revoked));
  add(1);
  ASSERT_TRUE(eventually([&] { return settled(); }));
  EXPECT_EQ(node(1)->shared_state()->snapshots, 1U);
  EXPECT_FALSE(node(1).connects(devices[7]));
  EXPECT_TRUE(node(1).ask(devices[8]).known);
  compare(devices);
}

// The rows of two histories, with other chains under the same ids.
TEST_F(SharedTest, AnotherHistoryIsTakenInAndRestrictionsAreKept) {
  add(2);
  const Identity509 first = enroll(0, "First");
  const Certificate old = make_device("old", first).certificate;
  ASSERT_TRUE(node(0).connects(old));
  ASSERT_TRUE(eventually([&] { return settled() && node(1)->device(old.fingerprint()); }));
  postgres_.stop();
  const std::string backup = postgres_.data() + ".backup";
  std::filesystem::copy(postgres_.data(), backup, std::filesystem::copy_options::recursive);
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  const Identity509 second = enroll(0, "Second");
  const Certificate young = make_device("young", second).certificate, lost = make_device("lost", first).certificate;
  ASSERT_TRUE(node(0).connects(young));
  ASSERT_TRUE(node(0).connects(lost));
  ASSERT_TRUE(eventually([&] { return settled() && node(1)->stats().devices.active == 3; }));
  ASSERT_TRUE(node(0)->set_device_status(old.fingerprint(), DeviceStatus::Revoked));
  ASSERT_TRUE(node(0)->set_device_status(lost.fingerprint(), DeviceStatus::Inactive));
  ASSERT_TRUE(eventually([&] { return settled(); }));
  postgres_.stop();
  const std::string bring_back = "rm -rf " + postgres_.data() + " && cp -a " + backup + " " + postgres_.data();
  ASSERT_EQ(std::system(("chown -R --reference=" + postgres_.data() + " " + backup + " && " + bring_back +
                         " && chmod 700 " + postgres_.data())
                            .c_str()),
            0);
  postgres_.start();
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->shared_state()->snapshots > 0; }));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_FALSE(node(i).connects(old)) << i;
    EXPECT_FALSE(node(i).connects(lost)) << i;
    EXPECT_FALSE(node(i).connects(young)) << "its CA is not registered over there: " << i;
    EXPECT_EQ(node(i)->device(old.fingerprint())->status, DeviceStatus::Revoked) << i;
    EXPECT_EQ(node(i)->device(lost.fingerprint())->status, DeviceStatus::Inactive) << i;
  }
  const Identity509 third = enroll(1, "Third");  // its chain gets an id that the second one's had
  const Certificate fresh = make_device("fresh", third).certificate;
  ASSERT_TRUE(eventually([&] { return settled(); }));
  ASSERT_TRUE(node(0).connects(fresh));
  ASSERT_TRUE(eventually([&] { return settled() && node(1).ask(fresh).known; }));
  compare({old, lost, fresh});
}

TEST_F(SharedTest, NothingOfAnotherRegistryIsThrownAway) {
  const std::string folder = dir_.path() + "/own";
  {
    const auto store = RegistryStore::open(folder);
    RegistryStore::Batch batch;
    (*store)->put_ca(batch, Digest{1}, {});
    ASSERT_TRUE((*store)->commit(batch, Durable::Synced));
  }
  const auto store = RegistryStore::open(folder);
  StatusCache cache;
  ChainTable chains;
  Shards shards;
  NullLogger log;
  Registrar registrar(**store, cache, chains, shards, {}, log);
  const auto refused =
      registrar.share({postgres_.url(), "own", "test", std::chrono::milliseconds(0), Stale::Serve}, log);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("holds a registry of its own"));
}

// Random changes at random nodes, with faults between, by one printed seed: at the end every node's RocksDB and cache
// are compared with PostgreSQL, and every restriction that was acknowledged with what each node admits.
class Random : public SharedTest {
 protected:
  void run(std::uint64_t seed, int steps) {
    SCOPED_TRACE("SALLYPORT_SHARED_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    std::vector<Identity509> cas;
    std::vector<Certificate> devices;
    std::set<Digest> revoked;
    for (int i = 0; i < 2; ++i)
      cas.push_back(enroll(below(nodes_.size()), "CA " + std::to_string(seed) + "." + std::to_string(i)));
    ASSERT_TRUE(eventually([&] { return settled(); }));
    bool up = true;
    for (int step = 0; step < steps; ++step) {
      Node& at = node(below(nodes_.size()));
      const std::size_t what = below(100);
      const auto some = [&]() -> const Certificate& { return devices[below(devices.size())]; };
      if (what < 45 || devices.empty()) {
        devices.push_back(make_device("d" + std::to_string(devices.size()), cas[below(cas.size())]).certificate);
        (void)at.connects(devices.back());
      } else if (what < 55) {
        (void)at.connects(some());
      } else if (what < 75) {
        const Certificate& device = some();
        const bool for_good = below(2) == 0;
        const DeviceStatus status = for_good ? DeviceStatus::Revoked : DeviceStatus::Inactive;
        const auto done = up ? at->set_device_status(device.fingerprint(), status)
                             : at->restrict_device_here(device.fingerprint(), status, {});
        if (done && for_good) {
          revoked.insert(device.fingerprint());
          ASSERT_FALSE(at.connects(device)) << "acknowledged, and admitted where it was";
        }
      } else if (what < 82) {
        (void)at->set_device_status(some().fingerprint(), DeviceStatus::Active);
      } else if (what < 87) {
        (void)at->delete_device(some().fingerprint());
      } else if (what < 91) {
        (void)at->set_ca_status(cas[below(cas.size())].certificate.fingerprint(),
                                below(2) == 0 ? CaStatus::Active : CaStatus::Inactive);
      } else if (what < 94) {
        at.close();
        at.open(up);
      } else if (what < 97) {
        if (up) {
          postgres_.kill9();
        } else {
          postgres_.start();
        }
        up = !up;
      } else if (up) {
        postgres_.pause();
        std::this_thread::sleep_for(std::chrono::milliseconds(below(300)));
        postgres_.go_on();
      }
    }
    if (!up) postgres_.start();
    ASSERT_TRUE(eventually([&] { return settled(); }));
    for (const Certificate& device : devices) {
      if (revoked.count(device.fingerprint()) == 0) continue;
      for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const auto record = node(i)->device(device.fingerprint());
        ASSERT_TRUE(record) << "a revoked device is forgotten at node " << i;
        ASSERT_EQ(record->status, DeviceStatus::Revoked) << "node " << i;
        ASSERT_FALSE(node(i).ask(device).admitted()) << "node " << i;
      }
    }
    std::vector<Certificate> all = std::move(devices_before_);
    all.insert(all.end(), devices.begin(), devices.end());
    compare(all);
    devices_before_ = std::move(all);
  }
  std::vector<Certificate> devices_before_;
};

TEST_F(Random, ChangesAtRandomNodesWithFaultsBetween) {
  add(3);
  const char* chosen = std::getenv("SALLYPORT_SHARED_SEED");
  const char* runs = std::getenv("SALLYPORT_SHARED_RUNS");
  const std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  const std::uint64_t count = runs != nullptr ? std::strtoull(runs, nullptr, 10) : chosen != nullptr ? 1 : 3;
  for (std::uint64_t seed = first; seed < first + count && !HasFatalFailure(); ++seed) run(seed, 60);
}

}  // namespace
}  // namespace sallyport::test
