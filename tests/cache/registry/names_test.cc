// One name in several spellings is one name, everywhere: RFC 5280, section 7.1. What it lets in and what it takes away
// are tried together, because a match that is looser must not let anything back in.
#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

class Names : public LifeCycle {
 protected:
  void SetUp() override {
    LifeCycle::SetUp();
    ASSERT_TRUE(enroll(fleet_));
  }
  static Identity509 numbered(const std::string& cn, const Identity509& ca, std::uint8_t serial) {
    Leaf leaf;
    leaf.cn = cn;
    leaf.serial = {serial};
    return make(leaf, &ca);
  }
  static Identity509 below(const std::string& cn, const Identity509& ca) { return make_ca(cn, &ca); }

  Identity509 fleet_ = make_ca("Fleet Root");
  Identity509 again_ = respell(fleet_);  // not registered, where a test does not say so
};

TEST_F(Names, ADeviceMaySpellItsCaAnotherWay) {
  ASSERT_NE(fleet_.certificate.subject(), again_.certificate.subject());
  const Identity509 device = on_line("meter", again_);
  const Verdict known = ask(device.certificate);
  EXPECT_TRUE(known.admitted());
  EXPECT_TRUE(known.known);
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->ca_id, fleet_.certificate.fingerprint());
  restart();
  EXPECT_TRUE(ask(device.certificate).known);
  EXPECT_EQ(refused(make_device("stranger", make_ca("Fleet  Roots")).certificate), Reason::CaUnknown);
  EXPECT_EQ(refused(make_device("forged", make_ca("FLEET ROOT")).certificate), Reason::BadSignature);
}

TEST_F(Names, CertificatesBetweenMayToo) {
  const Identity509 middle = below("Line 7", again_), respelled = respell(middle);
  const Identity509 device = make_device("meter", respelled);
  EXPECT_EQ(ask(device.certificate, {middle.certificate}).reason, Reason::None);
  EXPECT_EQ(ask(device.certificate).reason, Reason::CaUnknown);
}

TEST_F(Names, ARegisteredCaStandsUnderItsIssuerInAnySpelling) {
  const Identity509 middle = below("Line 7", again_);
  ASSERT_TRUE(enroll(middle));
  const Identity509 device = on_line("meter", middle);
  ASSERT_TRUE(registrar_->set_ca_status(fleet_.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_EQ(refused(device.certificate), Reason::CaInactive);
}

TEST_F(Names, ASerialNumberIsTakenInEverySpelling) {
  const Identity509 first = numbered("first", fleet_, 7), second = numbered("second", again_, 7);
  ASSERT_TRUE(connects(first.certificate));
  ASSERT_TRUE(eventually([&] { return registered(first.certificate) && in_cache(first.certificate); }));
  EXPECT_EQ(refused(second.certificate), Reason::SerialConflict);
  ASSERT_TRUE(set(first.certificate, DeviceStatus::Revoked));
  EXPECT_EQ(refused(second.certificate), Reason::DeviceRevoked);
  // Also when its CA is gone, and comes back under the other spelling.
  ASSERT_TRUE(registrar_->delete_ca(fleet_.certificate.fingerprint(), true, by_));
  ASSERT_TRUE(enroll(again_));
  EXPECT_EQ(refused(second.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(first.certificate), Reason::DeviceRevoked);
  restart();
  EXPECT_EQ(refused(second.certificate), Reason::DeviceRevoked);
}

TEST_F(Names, OfTwoAtOnceOneIsTaken) {
  close();
  open({}, false);
  const Identity509 first = numbered("first", fleet_, 7), second = numbered("second", again_, 7);
  ASSERT_TRUE(connects(first.certificate));
  ASSERT_TRUE(connects(second.certificate)) << "in time: nobody has written the first one";
  registrar_->start();
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  EXPECT_NE(registered(first.certificate), registered(second.certificate));
}

TEST_F(Names, AListRevokesInEverySpelling) {
  const Identity509 shown = on_line("shown", fleet_), respelled = on_line("respelled", again_);
  const Identity509 unseen = numbered("unseen", fleet_, 9), unseen_again = numbered("unseen", again_, 9);
  const auto outcome = import(crl(again_, {{&shown.certificate}, {&respelled.certificate}, {&unseen.certificate}}));
  ASSERT_TRUE(outcome) << outcome.error().what;
  EXPECT_EQ(outcome->revoked, 2U);
  EXPECT_EQ(outcome->unseen, 1U);
  for (const Identity509* each : {&shown, &respelled, &unseen, &unseen_again}) {
    EXPECT_EQ(refused(each->certificate), Reason::DeviceRevoked);
  }
  // The same list in its issuer's own spelling finds all of it known.
  const auto known = import(crl(fleet_, {{&shown.certificate}, {&respelled.certificate}, {&unseen.certificate}}));
  ASSERT_TRUE(known) << known.error().what;
  EXPECT_EQ(known->known, 3U);
}

TEST_F(Names, AListedIntermediateEndsInEverySpelling) {
  const Identity509 middle = below("Line 7", again_);
  const Identity509 device = make_device("meter", middle);
  ASSERT_TRUE(import(crl(fleet_, {{&middle.certificate}})));
  EXPECT_EQ(ask(device.certificate, {middle.certificate}).reason, Reason::CaInactive);
  EXPECT_FALSE(enroll(middle)) << "its issuer revoked it";
}

// Two certificates with one name, however it is spelt, and one key are one CA: one that is active suffices.
TEST_F(Names, RespelledIsRenewed) {
  ASSERT_TRUE(enroll(again_));
  const Identity509 device = on_line("meter", fleet_);
  ASSERT_TRUE(registrar_->set_ca_status(fleet_.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_EQ(refused(device.certificate), Reason::None);
  const auto twins = [&] {
    return registrar_->ca_set()->alive_twins(fleet_.certificate.fingerprint(), std::time(nullptr));
  };
  EXPECT_EQ(twins(), std::vector{again_.certificate.fingerprint()}) << "who deactivates it is told";
  ASSERT_TRUE(registrar_->set_ca_status(again_.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_EQ(refused(device.certificate), Reason::CaInactive);
  EXPECT_TRUE(twins().empty());
}

}  // namespace
}  // namespace sallyport::test
