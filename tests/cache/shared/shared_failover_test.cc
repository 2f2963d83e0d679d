// A PostgreSQL that is not what it was: another one took over, it is read-only, it has a standby now.
#include "tests/cache/shared/shared_world.h"

namespace sallyport::test {
namespace {

class SharedFailover : public SharedTest {
 protected:
  static void set(const Postgres& postgres, const std::string& setting) {
    const auto opened = PgConnection::open(postgres.url(), "test");
    ASSERT_TRUE(opened) << opened.error().what;
    const auto altered = (*opened)->run({{"alter system set " + setting}});
    ASSERT_TRUE(altered) << altered.error().what;
    ASSERT_TRUE((*opened)->run({{"select pg_reload_conf()"}}));
  }
};

// It hung, another one took over, and it goes on as if nothing had happened: the connection for turns is still open,
// and a commit there would be taken, and lost.
TEST_F(SharedFailover, APrimaryThatComesBackIsWrittenByNobody) {
  add(1);
  const Identity509 ca = enroll(0, "CA");
  const Certificate device = make_device("d", ca).certificate;
  ASSERT_TRUE(eventually([&] { return settled(); }));
  ASSERT_TRUE(node(0).connects(device));
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->device(device.fingerprint()); }));
  postgres_.stop();
  Postgres other(Postgres::CopyOf{postgres_});
  postgres_.start();
  Node& both = prepare("postgresql://postgres@" + postgres_.place() + "," + other.place() + "/postgres");
  both.open();
  ASSERT_TRUE(eventually([&] { return settled(); }));
  postgres_.pause();
  other.start();
  ASSERT_TRUE(eventually([&] {
    const auto state = both->shared_state();
    return state->connected && state->server == other.place();
  }));
  postgres_.go_on();
  ASSERT_TRUE(eventually(
      [&] { return static_cast<bool>(both->set_device_status(device.fingerprint(), DeviceStatus::Revoked)); }));
  EXPECT_EQ(entries_of(both.store()), entries_of(other));
  EXPECT_NE(entries_of(postgres_), entries_of(other));
}

// What others changed it tells all the same.
TEST_F(SharedFailover, OneThatIsReadOnlyIsFollowed) {
  add(1);
  const Identity509 ca = enroll(0, "CA");
  const Certificate device = make_device("d", ca).certificate;
  ASSERT_TRUE(node(0).connects(device));
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->device(device.fingerprint()); }));
  set(postgres_, "default_transaction_read_only = on");
  ASSERT_TRUE(eventually([&] { return node(0)->shared_state()->why.find("read-only") != std::string::npos; }));
  const auto refused = node(0)->set_device_status(device.fingerprint(), DeviceStatus::Inactive);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("read-only"));
  const auto local = node(0)->restrict_device_here(device.fingerprint(), DeviceStatus::Inactive, {});
  ASSERT_TRUE(local) << local.error().what;
  EXPECT_FALSE(node(0).connects(device));
  const Certificate late = make_device("late", ca).certificate;
  ASSERT_TRUE(node(0).connects(late));
  const auto until = std::chrono::steady_clock::now() + 2500ms;  // two heartbeats
  while (std::chrono::steady_clock::now() < until) {
    ASSERT_TRUE(node(0)->shared_state()->connected);
    std::this_thread::sleep_for(10ms);
  }
  set(postgres_, "default_transaction_read_only = off");
  ASSERT_TRUE(eventually([&] { return settled() && node(0)->device(late.fingerprint()); }));
  EXPECT_TRUE(eventually([&] { return node(0)->shared_state()->why.empty(); }));
  EXPECT_EQ(node(0)->device(device.fingerprint())->status, DeviceStatus::Inactive);
  compare({device, late});
}

TEST_F(SharedFailover, AStandbyThatComesLaterIsNoticed) {
  add(1);
  ASSERT_EQ(node(0)->shared_state()->synchronous, false);
  set(postgres_, "synchronous_standby_names = '*'");
  EXPECT_TRUE(eventually([&] { return node(0)->shared_state()->synchronous == true; }));
  set(postgres_, "synchronous_standby_names = ''");
  EXPECT_TRUE(eventually([&] { return node(0)->shared_state()->synchronous == false; }));
}

}  // namespace
}  // namespace sallyport::test
