// What the disk refused to take, and is in force all the same: it is written as soon as the disk takes it, before
// anything else is, and whoever asks again meanwhile is told so.
#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

class Owed : public LifeCycle {
 protected:
  bool token_stored(const std::string& wanted) const {
    bool found = false;
    EXPECT_TRUE(store_->each_token([&](std::string_view name, const TokenRow&) {
      found = found || name == wanted;
      return true;
    }));
    return found;
  }
};

TEST_F(Owed, EveryRestrictionIsWrittenByItselfOnceTheDiskIsBack) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 other = make_ca("Other");
  ASSERT_TRUE(enroll(other));
  const Identity509 revoked = on_line("revoked", root_), held = on_line("held", root_);
  const Identity509 listed = on_line("listed", root_), unseen = make_device("unseen", root_);
  TokenRow token;
  token.hash = Digest{1};
  ASSERT_TRUE(registrar_->put_token("ci", token, by_));
  env_.disk_full = true;
  EXPECT_THAT(set(revoked.certificate, DeviceStatus::Revoked).error().what, HasSubstr("in force, NOT durable yet"));
  EXPECT_THAT(set(held.certificate, DeviceStatus::Inactive).error().what, HasSubstr("in force, NOT durable yet"));
  const Digest ca = other.certificate.fingerprint();
  EXPECT_THAT(registrar_->set_ca_status(ca, CaStatus::Inactive, by_).error().what, HasSubstr("NOT durable yet"));
  EXPECT_THAT(registrar_->remove_token("ci", false, by_).error().what, HasSubstr("NOT durable yet"));
  EXPECT_THAT(import(crl(root_, {{&listed.certificate}, {&unseen.certificate}})).error().what,
              HasSubstr("NOT durable yet"));
  EXPECT_EQ(stored(revoked.certificate), DeviceStatus::Active) << "the disk took nothing";
  EXPECT_TRUE(token_stored("ci"));
  env_.disk_full = false;
  // Nobody asks again.
  ASSERT_TRUE(eventually([&] { return stored(listed.certificate) == DeviceStatus::Revoked; }));
  ASSERT_TRUE(eventually([&] { return lines_of("crl.import") == 1; })) << "it follows the last part of its list";
  EXPECT_EQ(stored(revoked.certificate), DeviceStatus::Revoked);
  EXPECT_EQ(stored(held.certificate), DeviceStatus::Inactive);
  EXPECT_FALSE(token_stored("ci"));
  crash();
  EXPECT_EQ(refused(revoked.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(held.certificate), Reason::DeviceInactive);
  EXPECT_EQ(refused(listed.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(registrar_->ca(ca)->status, CaStatus::Inactive);
  for (const char* action : {"device.revoke", "device.deactivate", "ca.deactivate", "token.revoke", "crl.import"}) {
    EXPECT_GE(lines_of(action), 1U) << action;
  }
}

TEST_F(Owed, WhatIsAskedAgainMeanwhileIsNotWrittenTwice) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const Digest ca = root_.certificate.fingerprint();
  ASSERT_TRUE(registrar_->put_token("ci", {}, by_));
  const std::string list = crl(root_, {{nullptr, -1, 4711}});
  env_.disk_full = true;
  for (int round = 0; round < 3; ++round) {
    EXPECT_THAT(set(device.certificate, DeviceStatus::Revoked).error().what, HasSubstr("NOT durable yet"));
    EXPECT_THAT(registrar_->set_ca_status(ca, CaStatus::Inactive, by_).error().what, HasSubstr("NOT durable yet"));
    EXPECT_THAT(registrar_->remove_token("ci", round > 0, by_).error().what, HasSubstr("NOT durable yet"));
    EXPECT_THAT(import(list).error().what, HasSubstr("NOT durable yet"));
  }
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return stored(device.certificate) == DeviceStatus::Revoked; }));
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(set(device.certificate, DeviceStatus::Revoked)); }));
  EXPECT_TRUE(registrar_->set_ca_status(ca, CaStatus::Inactive, by_));
  EXPECT_TRUE(registrar_->remove_token("ci", true, by_));
  EXPECT_EQ(lines_of("device.revoke"), 1U);
  EXPECT_EQ(lines_of("ca.deactivate"), 1U);
}

// A list is imported in parts. None of them waits for the disk to take the one before it.
TEST_F(Owed, AListIsInForceWhollyWhereTheDiskTakesNothingOfIt) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 last = make_device("last", root_);
  std::vector<Entry> entries;
  for (long serial = 1; serial <= 9000; ++serial) entries.push_back({nullptr, -1, serial});
  entries.push_back({&last.certificate});
  env_.disk_full = true;
  const auto refusal = import(crl(root_, entries));
  ASSERT_FALSE(refusal);
  EXPECT_THAT(refusal.error().what, HasSubstr("in force, NOT durable yet"));
  EXPECT_EQ(registrar_->stats().devices.revoked, 9001U);
  EXPECT_EQ(refused(last.certificate), Reason::DeviceRevoked);
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(import(crl(root_, entries))); }));
  restart();
  EXPECT_EQ(registrar_->stats().devices.revoked, 9001U);
  EXPECT_EQ(refused(last.certificate), Reason::DeviceRevoked);
}

// What is filled from rows that do not know of a restriction must not be written over it.
TEST_F(Owed, NothingOvertakesIt) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_), other = on_line("other", root_);
  ASSERT_TRUE(set(other.certificate, DeviceStatus::Inactive));
  env_.disk_full = true;
  EXPECT_FALSE(set(device.certificate, DeviceStatus::Revoked));
  registrar_->seen(device.certificate.fingerprint());
  ASSERT_TRUE(offer(ask(make_device("new", root_).certificate)));
  EXPECT_FALSE(set(other.certificate, DeviceStatus::Active)) << "letting somebody in needs the disk";
  EXPECT_FALSE(registrar_->delete_device(other.certificate.fingerprint(), by_));
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return stored(device.certificate) == DeviceStatus::Revoked; }));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  restart();
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(other.certificate), Reason::DeviceInactive);
}

TEST_F(Owed, AStopWritesItWhereTheDiskIsBack) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  env_.disk_full = true;
  EXPECT_FALSE(set(device.certificate, DeviceStatus::Revoked));
  env_.disk_full = false;
  restart();
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
}

}  // namespace
}  // namespace sallyport::test
