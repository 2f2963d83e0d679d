// Tickets and losses of standing, through the real registrar: whatever took a device's standing away, no ticket of an
// epoch before is worth anything, also when the device is in good standing again; and nobody else loses a ticket.
#include <gtest/gtest.h>

#include <random>

#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

class Epochs : public LifeCycle {
 protected:
  // A ticket of a full handshake: what it says of standing.
  struct Ticket {
    Certificate leaf;
    std::vector<Certificate> sent;
    std::uint64_t chain = 0;
    std::uint32_t epoch = 0;
  };
  Ticket ticket_of(const Certificate& leaf, const std::vector<Certificate>& sent = {}) {
    const Verdict verdict = ask(leaf, sent);
    EXPECT_TRUE(verdict.admitted()) << to_string(verdict.reason);
    return {leaf, sent, verdict.known ? verdict.chain_id : 0, verdict.epoch};
  }
  bool good(const Ticket& ticket) { return resumed(ticket.leaf, ticket.chain, ticket.epoch) == Reason::None; }
  void comes(const Certificate& leaf, const std::vector<Certificate>& sent = {}) {
    const Verdict verdict = ask(leaf, sent);
    ASSERT_TRUE(verdict.admitted()) << to_string(verdict.reason);
    if (verdict.known) return;
    ASSERT_TRUE(offer(verdict));
    ASSERT_TRUE(eventually([&] { return ask(leaf, sent).known; }));
  }
  void set_ca(const Identity509& ca, CaStatus status) {
    ASSERT_TRUE(registrar_->set_ca_status(ca.certificate.fingerprint(), status, by_));
  }
  void planned_restart() {
    registrar_->stop();
    const auto last = registrar_->epochs_at_stop();
    ASSERT_TRUE(last);
    close();
    open({}, true, *last);
  }
  // What is lost is lost for the tickets of before, and what is issued now is good.
  void expect_lost(const Ticket& before, const Ticket& others) {
    EXPECT_TRUE(ask(before.leaf, before.sent).admitted());
    EXPECT_FALSE(good(before));
    EXPECT_TRUE(good(others)) << "another device's";
    EXPECT_TRUE(good(ticket_of(before.leaf, before.sent)));
  }
};

TEST_F(Epochs, DeactivatingADeviceEndsItsTicketsForGood) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_), other = on_line("other", root_);
  const Ticket before = ticket_of(device.certificate), others = ticket_of(other.certificate);
  EXPECT_TRUE(good(before));
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  EXPECT_FALSE(good(before));
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Active));
  expect_lost(before, others);
}

TEST_F(Epochs, ForgettingADeviceEndsItsTicketsForGood) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = make_device("device", root_), other = on_line("other", root_);
  const Ticket first = ticket_of(device.certificate);  // of a device that was not registered yet
  EXPECT_EQ(first.chain, 0U);
  comes(device.certificate);
  EXPECT_TRUE(good(first));
  const Ticket before = ticket_of(device.certificate), others = ticket_of(other.certificate);
  ASSERT_TRUE(registrar_->delete_device(device.certificate.fingerprint(), by_));
  comes(device.certificate);
  expect_lost(before, others);
  EXPECT_FALSE(good(first));
}

TEST_F(Epochs, AHoldEndsTicketsForGood) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_), other = on_line("other", root_);
  const Ticket before = ticket_of(device.certificate), others = ticket_of(other.certificate);
  ASSERT_TRUE(import(crl(root_, {{&device.certificate, CRL_REASON_CERTIFICATE_HOLD}})));
  EXPECT_FALSE(good(before));
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Active));
  expect_lost(before, others);
}

TEST_F(Epochs, ACaTakesTheTicketsOfItsDevicesAlong) {
  const Identity509 elsewhere = make_ca("Elsewhere");
  ASSERT_TRUE(enroll(root_));
  ASSERT_TRUE(enroll(elsewhere));
  const Identity509 mid = make_ca("Mid", &root_);
  const Identity509 device = on_line("device", root_), other = on_line("other", elsewhere);
  const Identity509 below = make_device("below", mid);
  const Ticket first = ticket_of(below.certificate, {mid.certificate});
  comes(below.certificate, {mid.certificate});
  EXPECT_TRUE(good(first));
  const Ticket before = ticket_of(device.certificate), others = ticket_of(other.certificate);
  const Ticket of_below = ticket_of(below.certificate, {mid.certificate});
  set_ca(root_, CaStatus::Inactive);
  EXPECT_FALSE(good(before));
  set_ca(root_, CaStatus::Active);
  expect_lost(before, others);
  expect_lost(of_below, others);
  EXPECT_FALSE(good(first));
}

// Its CA is renewed after it lost its standing: what was lost through the old chain stays lost in the new one.
TEST_F(Epochs, ADeviceThatMovesToAnotherChainTakesItsLossesAlong) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = make_device("device", root_);
  const Ticket first = ticket_of(device.certificate);
  EXPECT_EQ(first.chain, 0U) << "that names no chain";
  comes(device.certificate);
  EXPECT_TRUE(good(first));
  set_ca(root_, CaStatus::Inactive);
  const Identity509 renewed = make_again(root_, nullptr, {.cn = "Root", .ca = true, .key_usage = ""});
  ASSERT_TRUE(enroll(renewed));
  comes(device.certificate);
  EXPECT_FALSE(good(first));
  EXPECT_TRUE(good(ticket_of(device.certificate)));
}

// The rows of its devices may not be purged yet, and are registered anew.
TEST_F(Epochs, ACaThatIsDeletedAndComesBackBringsNoTicketBack) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = make_device("device", root_);
  const Ticket first = ticket_of(device.certificate);
  comes(device.certificate);
  const Ticket before = ticket_of(device.certificate);
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  ASSERT_TRUE(enroll(root_));
  comes(device.certificate);
  EXPECT_FALSE(good(first));
  EXPECT_FALSE(good(before));
  EXPECT_TRUE(good(ticket_of(device.certificate)));
}

TEST_F(Epochs, AListedIntermediateEndsTheTicketsThroughIt) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 mid = make_ca("Mid", &root_), other = on_line("other", root_);
  const Identity509 below = make_device("below", mid);
  comes(below.certificate, {mid.certificate});
  const Ticket before = ticket_of(below.certificate, {mid.certificate}), others = ticket_of(other.certificate);
  ASSERT_TRUE(import(crl(root_, {{&mid.certificate, CRL_REASON_CERTIFICATE_HOLD}})));
  EXPECT_FALSE(good(before));
  // The hold ends: its entry is deleted.
  const auto held = registrar_->devices({.serial = mid.certificate.serial()});
  ASSERT_TRUE(held);
  ASSERT_EQ(held->items.size(), 1U);
  ASSERT_TRUE(registrar_->delete_device(held->items.front().id, by_));
  registrar_->look_at_dates(std::time(nullptr));
  comes(below.certificate, {mid.certificate});
  expect_lost(before, others);
}

TEST_F(Epochs, WhatADateClosedBringsNoTicketBack) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const Ticket before = ticket_of(device.certificate);
  const std::int64_t now = std::time(nullptr);
  registrar_->look_at_dates(now + 50LL * 365 * 86400);
  registrar_->look_at_dates(now);
  EXPECT_FALSE(good(before));
  EXPECT_TRUE(good(ticket_of(device.certificate)));
}

// Ticket keys may outlive a planned stop, so losses have to.
TEST_F(Epochs, LossesAreRememberedOverAPlannedRestart) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 a = on_line("a", root_), b = on_line("b", root_), c = on_line("c", root_);
  const Ticket of_a = ticket_of(a.certificate), of_b = ticket_of(b.certificate), of_c = ticket_of(c.certificate);
  ASSERT_TRUE(set(a.certificate, DeviceStatus::Inactive));
  ASSERT_TRUE(set(a.certificate, DeviceStatus::Active));
  ASSERT_TRUE(registrar_->delete_device(b.certificate.fingerprint(), by_));
  comes(b.certificate);
  const Ticket new_a = ticket_of(a.certificate), new_b = ticket_of(b.certificate);
  for (int round = 0; round < 2; ++round) {
    planned_restart();
    EXPECT_FALSE(good(of_a)) << round;
    EXPECT_FALSE(good(of_b)) << round;
    EXPECT_TRUE(good(of_c)) << round;
    EXPECT_TRUE(good(new_a)) << round;
    EXPECT_TRUE(good(new_b)) << round;
    EXPECT_TRUE(good(ticket_of(c.certificate))) << round;
  }
  ASSERT_TRUE(set(c.certificate, DeviceStatus::Inactive));
  planned_restart();
  ASSERT_TRUE(set(c.certificate, DeviceStatus::Active));
  EXPECT_FALSE(good(of_c)) << "lost before the stop, gained after it";
}

TEST_F(Epochs, ADeviceThatWasForgottenBeforeAPlannedRestart) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const Ticket before = ticket_of(device.certificate);
  ASSERT_TRUE(registrar_->delete_device(device.certificate.fingerprint(), by_));
  planned_restart();
  comes(device.certificate);
  EXPECT_FALSE(good(before));
  EXPECT_TRUE(good(ticket_of(device.certificate)));
}

TEST_F(Epochs, AChainThatWasLostBeforeAPlannedRestart) {
  const Identity509 elsewhere = make_ca("Elsewhere");
  ASSERT_TRUE(enroll(root_));
  ASSERT_TRUE(enroll(elsewhere));
  const Identity509 device = on_line("device", root_), other = on_line("other", elsewhere);
  const Ticket before = ticket_of(device.certificate), others_before = ticket_of(other.certificate);
  set_ca(root_, CaStatus::Inactive);
  set_ca(root_, CaStatus::Active);
  const Ticket since = ticket_of(device.certificate), others = ticket_of(other.certificate);
  planned_restart();
  EXPECT_FALSE(good(before));
  EXPECT_FALSE(good(others_before)) << "which chain was lost is not kept: all of them count as lost";
  EXPECT_TRUE(good(since));
  EXPECT_TRUE(good(others));
  set_ca(root_, CaStatus::Inactive);
  planned_restart();
  set_ca(root_, CaStatus::Active);
  EXPECT_FALSE(good(since)) << "lost before the stop, gained after it";
}

// Then a restart undoes it, and the tickets must not come back with it.
TEST_F(Epochs, WhatIsNotOnTheDiskKeepsNoTickets) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  env_.disk_full = true;
  EXPECT_FALSE(set(device.certificate, DeviceStatus::Inactive));
  registrar_->stop();
  EXPECT_FALSE(registrar_->epochs_at_stop());
  env_.disk_full = false;
}

// Nobody resumes in the last epoch, from which no loss could be told any more.
TEST_F(Epochs, TheLastEpochIsHonouredByNobody) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  close();
  open({}, true, {StatusCache::kLastEpoch - 1, 0});
  const Ticket before = ticket_of(device.certificate);
  EXPECT_TRUE(good(before));
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Active));
  EXPECT_FALSE(good(before));
  EXPECT_EQ(cache_->epoch(), StatusCache::kLastEpoch);
  EXPECT_FALSE(good(ticket_of(device.certificate)));
  registrar_->stop();
  EXPECT_FALSE(registrar_->epochs_at_stop());
  close();
  open();
  EXPECT_TRUE(good(ticket_of(device.certificate))) << "new keys, new epochs";
}

// A verdict was given, then the standing was lost, then its ticket is issued.
TEST_F(Epochs, AVerdictNeverSaysALaterEpochThanItsOwn) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const Ticket verdict = ticket_of(device.certificate);
  EXPECT_EQ(verdict.epoch, cache_->epoch());
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  EXPECT_LT(verdict.epoch, cache_->epoch());
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Active));
  EXPECT_FALSE(good(verdict));
}

// Any order of all of it, against a model that knows each ticket's losses.
TEST_F(Epochs, NoTicketOutlivesALossInAnyOrder) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const Identity509 cas[] = {make_ca("One"), make_ca("Two")};
  for (const Identity509& ca : cas) ASSERT_TRUE(enroll(ca));
  struct Device {
    Identity509 its;
    std::size_t ca;
    bool active = true;
    std::uint64_t losses = 0;
  };
  std::vector<Device> devices;
  for (std::size_t i = 0; i < 6; ++i) {
    devices.push_back({make_device("d" + std::to_string(i), cas[i % 2]), i % 2});
    comes(devices.back().its.certificate);
  }
  bool alive[] = {true, true};
  std::uint64_t lost_by_ca[] = {0, 0};
  struct Issued {
    Ticket ticket;
    std::size_t device;
    std::uint64_t losses, by_its_ca, by_any_ca;
  };
  std::vector<Issued> issued;
  const auto stands = [&](const Device& device) { return device.active && alive[device.ca]; };
  const auto what = [&](std::size_t n) {
    switch (n) {
      case 0: return "deactivate";
      case 1: return "activate";
      case 2: return "forget";
      case 3: return "deactivate a CA";
      case 4: return "activate a CA";
      case 5: return "restart";
      default: return "issue";
    }
  };
  std::string story;
  for (int step = 0; step < 150; ++step) {
    const std::size_t action = below(9), i = below(devices.size()), ca = below(2);
    Device& device = devices[i];
    const Certificate& leaf = device.its.certificate;
    story += std::string(what(action)) + " " + std::to_string(i) + "/" + std::to_string(ca) + "; ";
    SCOPED_TRACE(story);
    if (action == 0 && device.active) {
      ASSERT_TRUE(set(leaf, DeviceStatus::Inactive));
      device.active = false;
      ++device.losses;
    } else if (action == 1) {
      ASSERT_TRUE(set(leaf, DeviceStatus::Active));
      device.active = true;
    } else if (action == 2 && stands(device)) {
      ASSERT_TRUE(registrar_->delete_device(leaf.fingerprint(), by_));
      comes(leaf);
      ++device.losses;
    } else if (action == 3 && alive[ca]) {
      set_ca(cas[ca], CaStatus::Inactive);
      alive[ca] = false;
      ++lost_by_ca[ca];
    } else if (action == 4) {
      set_ca(cas[ca], CaStatus::Active);
      alive[ca] = true;
    } else if (action == 5 && below(4) == 0) {
      planned_restart();
    } else if (action > 5 && stands(device)) {
      issued.push_back({ticket_of(leaf), i, device.losses, lost_by_ca[device.ca], lost_by_ca[0] + lost_by_ca[1]});
    }
    for (const Issued& each : issued) {
      const Device& its = devices[each.device];
      const bool lost = each.losses != its.losses || each.by_its_ca != lost_by_ca[its.ca];
      if (lost || !stands(its)) {
        ASSERT_FALSE(good(each.ticket)) << each.device;
      }
      // A restart does not know which CA lost its standing: only then may more be declined than was lost.
      const bool nothing_lost = !lost && each.by_any_ca == lost_by_ca[0] + lost_by_ca[1];
      if (nothing_lost && stands(its)) {
        ASSERT_TRUE(good(each.ticket)) << each.device;
      }
    }
  }
}

}  // namespace
}  // namespace sallyport::test
