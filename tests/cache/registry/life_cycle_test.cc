// What operators do to CAs and devices, by the rules of the life cycle (cache/registry/README.md): deleting, revoking,
// registering before they come, CRLs; what stays behind; and what the audit log says of it.
#include <openssl/x509v3.h>

#include <algorithm>

#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

TEST_F(LifeCycle, ACaWithActiveDevicesIsDeletedByCascadeOnly) {
  ASSERT_TRUE(enroll(root_));
  const Digest id = root_.certificate.fingerprint();
  const Identity509 device = on_line("device", root_);
  const auto active = registrar_->delete_ca(id, false, by_);
  ASSERT_FALSE(active);
  EXPECT_EQ(active.error().kind, Refusal::Kind::Conflict);
  EXPECT_THAT(active.error().what, HasSubstr("active and has 1 active"));
  ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Inactive, by_));
  EXPECT_FALSE(registrar_->delete_ca(id, false, by_)) << "its device is still active by itself";
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  ASSERT_TRUE(registrar_->delete_ca(id, false, by_));
  EXPECT_EQ(refused(device.certificate), Reason::CaUnknown);
  EXPECT_FALSE(registered(device.certificate));
  EXPECT_EQ(registrar_->stats().devices.inactive, 0U);
}

TEST_F(LifeCycle, ACascadeForgetsItsDevicesAtOnceAndForEver) {
  ASSERT_TRUE(enroll(root_));
  const Digest id = root_.certificate.fingerprint();
  const Identity509 device = on_line("device", root_), revoked = on_line("revoked", root_);
  ASSERT_TRUE(set(revoked.certificate, DeviceStatus::Revoked));
  ASSERT_TRUE(registrar_->delete_ca(id, true, by_));
  EXPECT_EQ(shards_.last_cut().id, id) << "its live sessions end";
  EXPECT_FALSE(registered(device.certificate)) << "not shown, whether its row is gone yet or not";
  EXPECT_EQ(resumed(device.certificate), Reason::NotRegistered);
  EXPECT_EQ(registrar_->devices({})->items.size(), 1U);
  EXPECT_TRUE(eventually([&] { return !in_cache(device.certificate); })) << "purged";
  for (int round = 0; round < 2; ++round) {
    // Revoked devices stay behind: their CA's return does not bring them back, whatever bytes they come with.
    EXPECT_EQ(refused(revoked.certificate), Reason::DeviceRevoked);
    restart();
  }
  ASSERT_TRUE(enroll(root_));
  EXPECT_EQ(refused(revoked.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(rewrite_signature(revoked.certificate)), Reason::DeviceRevoked);
  EXPECT_EQ(registrar_->ca(id)->devices.revoked, 1U);
  EXPECT_EQ(ask(device.certificate).known, false) << "it registers anew";
  EXPECT_TRUE(connects(device.certificate));
  EXPECT_TRUE(eventually([&] { return registered(device.certificate); }));
}

TEST_F(LifeCycle, RevokedWithAFullDiskAndItsCaDeleted) {
  ASSERT_TRUE(enroll(root_));
  const Digest id = root_.certificate.fingerprint();
  const Identity509 revoked = on_line("revoked", root_), device = on_line("device", root_);
  env_.disk_full = true;
  EXPECT_FALSE(set(revoked.certificate, DeviceStatus::Revoked));
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(registrar_->delete_ca(id, true, by_)); }));
  ASSERT_TRUE(enroll(root_));
  EXPECT_TRUE(registered(revoked.certificate)) << "its tombstone stays and is shown";
  EXPECT_TRUE(eventually([&] { return !in_cache(device.certificate); })) << "purged";
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(refused(revoked.certificate), Reason::DeviceRevoked);
    EXPECT_EQ(refused(rewrite_signature(revoked.certificate)), Reason::DeviceRevoked);
    EXPECT_EQ(registrar_->stats().devices.revoked, 1U);
    if (round == 0) restart();
  }
}

TEST_F(LifeCycle, ACaThatComesBackBeforeThePurgeFindsNoOldDevices) {
  ASSERT_TRUE(enroll(root_, false));
  std::vector<Certificate> fleet;
  for (int i = 0; i < 50; ++i) fleet.push_back(make_device("d" + std::to_string(i), root_).certificate);
  ASSERT_TRUE(pre_register(fleet));
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  // At once, before the rows can all be gone: its devices are not registered, and it registers none by itself.
  ASSERT_TRUE(enroll(root_, false));
  for (const Certificate& each : fleet) EXPECT_EQ(refused(each), Reason::NotRegistered);
  const auto again = pre_register({fleet.front()});
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->front().already);
  EXPECT_TRUE(eventually([&] { return !in_cache(fleet.back()); }));
  EXPECT_TRUE(registered(fleet.front())) << "the purge leaves alone what was registered since";
  EXPECT_EQ(refused(fleet.front()), Reason::None);
}

TEST_F(LifeCycle, APurgeIsFinishedAfterARestart) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  close();
  open({}, false);  // without its thread nothing is purged
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  restart();
  EXPECT_FALSE(registered(device.certificate));
  EXPECT_EQ(registrar_->stats().devices.active, 0U);
  EXPECT_TRUE(eventually([&] { return !*store_->device(device.certificate.fingerprint()); }));
}

// A chain that was given out while the disk was full, and a deletion that the disk refused: nothing of that
// deletion may reach the disk with a later batch, or a restart would forget devices, inactive ones as well.
TEST_F(LifeCycle, ADeletionTheDiskRefusedLeavesNoTrace) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = make_device("device", root_);
  env_.disk_full = true;
  ASSERT_TRUE(offer(ask(device.certificate)));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().store_errors > 0; }));
  EXPECT_FALSE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return registered(device.certificate) && in_cache(device.certificate); }));
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(set(device.certificate, DeviceStatus::Inactive)); }));
  restart();
  EXPECT_TRUE(registered(device.certificate));
  EXPECT_EQ(refused(device.certificate), Reason::DeviceInactive);
}

// "In force, NOT durable" invites an operator to say it again once there is room: that must write it.
TEST_F(LifeCycle, CaDeactivatedAgainAfterAFullDisk) {
  ASSERT_TRUE(enroll(root_));
  const Digest id = root_.certificate.fingerprint();
  env_.disk_full = true;
  EXPECT_THAT(registrar_->set_ca_status(id, CaStatus::Inactive, by_).error().what, HasSubstr("NOT durable"));
  EXPECT_FALSE(registrar_->set_ca_status(id, CaStatus::Inactive, by_)) << "there is no room yet";
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(registrar_->set_ca_status(id, CaStatus::Inactive, by_)); }));
  const std::size_t lines = audit().size();
  EXPECT_THAT(audit().front(), HasSubstr(" active > inactive")) << "the only line there is says what it was";
  ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Inactive, by_));
  EXPECT_EQ(audit().size(), lines) << "it is durable now: nothing is left to write";
  restart();
  EXPECT_EQ(registrar_->ca(id)->status, CaStatus::Inactive);
}

TEST_F(LifeCycle, ACrlWritesTheCaThatAFullDiskRefused) {
  const Identity509 sub = make_ca("Sub", &root_);
  const Digest id = sub.certificate.fingerprint();
  ASSERT_TRUE(enroll(root_));
  ASSERT_TRUE(enroll(sub));
  env_.disk_full = true;
  EXPECT_FALSE(registrar_->set_ca_status(id, CaStatus::Inactive, by_));
  env_.disk_full = false;
  const std::string list = crl(root_, {{&sub.certificate}});
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(import(list)); }));
  restart();
  EXPECT_EQ(registrar_->ca(id)->status, CaStatus::Inactive) << "the import was answered as done";
}

TEST_F(LifeCycle, ATrustedCaIsNotDeleted) {
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const auto listed = registrar_->delete_ca(root_.certificate.fingerprint(), true, by_);
  ASSERT_FALSE(listed);
  EXPECT_THAT(listed.error().what, HasSubstr("trusted_cas"));
  ASSERT_TRUE(registrar_->trust({}));
  EXPECT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_)) << "it is named no more";
}

TEST_F(LifeCycle, RevokedIsFinal) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Revoked));
  EXPECT_EQ(shards_.last_cut().why, Reason::DeviceRevoked);
  for (const DeviceStatus status : {DeviceStatus::Active, DeviceStatus::Inactive}) {
    const auto back = set(device.certificate, status);
    ASSERT_FALSE(back);
    EXPECT_EQ(back.error().kind, Refusal::Kind::Conflict);
  }
  const auto forgotten = registrar_->delete_device(device.certificate.fingerprint(), by_);
  ASSERT_FALSE(forgotten) << "it would register again";
  EXPECT_EQ(forgotten.error().kind, Refusal::Kind::Conflict);
  crash();
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(resumed(device.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(rewrite_signature(device.certificate)), Reason::DeviceRevoked);
}

// Each repetition finds the row as it was before, the cache as it is: what is counted is the cache.
TEST_F(LifeCycle, DeviceRevokedAgainAfterAFullDisk) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_), listed = on_line("listed", root_);
  const Identity509 held = make_device("held", root_);
  const std::int64_t now = std::time(nullptr);
  const auto expiring = [&] { return registrar_->devices_expiring(now, now + 800LL * 86400); };
  ASSERT_TRUE(import(crl(root_, {{&held.certificate, CRL_REASON_CERTIFICATE_HOLD}})));
  const std::string list = crl(root_, {{&listed.certificate}, {&held.certificate}}, {.number = 2});
  EXPECT_EQ(expiring(), 2U);
  env_.disk_full = true;
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(set(device.certificate, DeviceStatus::Revoked).error().what, HasSubstr("NOT durable"));
    EXPECT_THAT(import(list).error().what, HasSubstr("NOT durable"));
  }
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(set(device.certificate, DeviceStatus::Revoked)); }));
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(import(list)); }));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(expiring(), 0U);
    EXPECT_EQ(registrar_->stats().devices.active, 0U);
    EXPECT_EQ(registrar_->stats().devices.inactive, 0U);
    EXPECT_EQ(registrar_->stats().devices.revoked, 3U);
    if (round == 0) restart();
  }
  const Digest id = root_.certificate.fingerprint();
  ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Inactive, by_));
  EXPECT_TRUE(registrar_->delete_ca(id, false, by_)) << "no active device is in its way";
  EXPECT_EQ(registrar_->stats().devices.inactive, 0U);
}

// Of two lists in one PEM the second was passed over, and the device it revokes came in.
TEST_F(LifeCycle, SeveralCrlsInOneFileAreAllTakenOrNone) {
  const Identity509 other = make_ca("Other");
  ASSERT_TRUE(registrar_->trust({root_.certificate, other.certificate}));
  const Identity509 one = make_device("one", root_), two = make_device("two", other);
  const auto pem = [](const std::string& der) { return pem_of("X509 CRL", der); };
  const auto import_all = [&](const std::string& text) -> Answer<std::vector<CrlOutcome>> {
    const auto parsed = Crl::parse_all(text, std::time(nullptr));
    if (!parsed) return parsed.error();
    return registrar_->import_crls(*parsed, by_);
  };
  const std::string first = pem(crl(root_, {{&one.certificate}}));
  const std::string forged = pem(crl(make_ca("Other"), {{&two.certificate}}));
  const std::string second = pem(crl(other, {{&two.certificate}}));
  EXPECT_THAT(import_all(first + forged).error().what, HasSubstr("CRL 2 of 2, so none was taken"));
  EXPECT_THAT(import_all(first + pem(crl(other, {{&two.certificate}}, {.delta = true}))).error().what,
              HasSubstr("CRL 2 of 2 in it, so none was taken: this is a delta CRL"));
  EXPECT_THAT(import_all(first + second.substr(0, second.size() - 30)).error().what, HasSubstr("damaged"));
  EXPECT_THAT(import_all(first + other.certificate.pem()).error().what, HasSubstr("no CRL but 'CERTIFICATE'"));
  EXPECT_FALSE(Crl::parse(first + second, std::time(nullptr))) << "of one alone";
  EXPECT_EQ(ask(one.certificate).reason, Reason::None) << "nothing of these was taken";
  EXPECT_EQ(ask(two.certificate).reason, Reason::None);
  const auto outcomes = import_all(first + "text between\n" + second);
  ASSERT_TRUE(outcomes) << outcomes.error().what;
  ASSERT_EQ(outcomes->size(), 2U);
  EXPECT_EQ((*outcomes)[0].ca, root_.certificate.fingerprint());
  EXPECT_EQ((*outcomes)[1].ca, other.certificate.fingerprint());
  EXPECT_EQ(ask(one.certificate).reason, Reason::DeviceRevoked);
  EXPECT_EQ(ask(two.certificate).reason, Reason::DeviceRevoked);
}

// A CA's serial stays revoked when its issuer is deleted; both come again with one file.
TEST_F(LifeCycle, ARevokedIntermediateThatIsTrustedWithItsIssuerIsInactive) {
  const Identity509 mid = make_ca("Mid", &root_);
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  ASSERT_TRUE(import(crl(root_, {{&mid.certificate}})));
  ASSERT_TRUE(registrar_->trust({}));
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  ASSERT_TRUE(registrar_->trust({mid.certificate, root_.certificate}));
  EXPECT_EQ(registrar_->ca(mid.certificate.fingerprint())->status, CaStatus::Inactive);
  EXPECT_EQ(registrar_->ca(root_.certificate.fingerprint())->status, CaStatus::Active);
}

TEST_F(LifeCycle, RevokedWithAFullDiskThenHeldByACrl) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  env_.disk_full = true;
  EXPECT_FALSE(set(device.certificate, DeviceStatus::Revoked));
  env_.disk_full = false;
  const std::string list = crl(root_, {{&device.certificate, CRL_REASON_CERTIFICATE_HOLD}});
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(import(list)); }));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
    EXPECT_FALSE(set(device.certificate, DeviceStatus::Active));
    EXPECT_EQ(registrar_->stats().devices.revoked, 1U);
    if (round == 0) restart();
  }
}

TEST_F(LifeCycle, ADeletedDeviceIsForgottenAndComesAnew) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  ASSERT_TRUE(registrar_->delete_device(device.certificate.fingerprint(), by_));
  EXPECT_EQ(shards_.last_cut().why, Reason::NotRegistered);
  EXPECT_FALSE(registered(device.certificate));
  EXPECT_FALSE(in_cache(device.certificate));
  EXPECT_EQ(resumed(device.certificate), Reason::NotRegistered);
  EXPECT_EQ(registrar_->stats().devices.inactive, 0U);
  restart();
  EXPECT_FALSE(registered(device.certificate));
  EXPECT_TRUE(connects(device.certificate));
  EXPECT_TRUE(eventually([&] { return registered(device.certificate); }));
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->status, DeviceStatus::Active);
}

// Every status and every action: what it becomes, and what the next handshake and the next resumption are told.
TEST_F(LifeCycle, EveryActionOnEveryStatus) {
  enum class Action { Activate, Deactivate, Revoke, Delete };
  struct Row {
    DeviceStatus from;
    Action action;
    bool done;
    std::optional<DeviceStatus> to;  // none: forgotten
  };
  using enum DeviceStatus;
  const std::vector<Row> table = {
      {Active, Action::Activate, true, Active},    {Active, Action::Deactivate, true, Inactive},
      {Active, Action::Revoke, true, Revoked},     {Active, Action::Delete, true, {}},
      {Inactive, Action::Activate, true, Active},  {Inactive, Action::Deactivate, true, Inactive},
      {Inactive, Action::Revoke, true, Revoked},   {Inactive, Action::Delete, true, {}},
      {Pending, Action::Activate, true, Active},   {Pending, Action::Deactivate, true, Inactive},
      {Pending, Action::Revoke, true, Revoked},    {Pending, Action::Delete, true, {}},
      {Revoked, Action::Activate, false, Revoked}, {Revoked, Action::Deactivate, false, Revoked},
      {Revoked, Action::Revoke, true, Revoked},    {Revoked, Action::Delete, false, Revoked},
  };
  const Identity509 approving = make_ca("Approving");
  ASSERT_TRUE(enroll(root_));
  ASSERT_TRUE(enroll(approving, true, true));
  std::vector<Identity509> devices;
  for (const Row& row : table) {
    const bool pending = row.from == Pending;
    devices.push_back(make_device("d" + std::to_string(devices.size()), pending ? approving : root_));
    const Certificate& leaf = devices.back().certificate;
    ASSERT_TRUE(offer(ask(leaf)));
    ASSERT_TRUE(eventually([&] { return registered(leaf) && in_cache(leaf); }));
    if (row.from != Active && !pending) {
      ASSERT_TRUE(set(leaf, row.from));
    }
    const Answer<DeviceRecord> answer = row.action == Action::Delete
                                            ? registrar_->delete_device(leaf.fingerprint(), by_)
                                            : set(leaf, row.action == Action::Activate     ? Active
                                                        : row.action == Action::Deactivate ? Inactive
                                                                                           : Revoked);
    EXPECT_EQ(static_cast<bool>(answer), row.done) << devices.size();
  }
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < table.size(); ++i) {
      const Certificate& leaf = devices[i].certificate;
      const auto record = registrar_->device(leaf.fingerprint());
      ASSERT_EQ(static_cast<bool>(record), table[i].to.has_value()) << "row " << i;
      const Reason wanted = table[i].to ? reason_of(*table[i].to) : Reason::None;
      EXPECT_EQ(refused(leaf), wanted) << "row " << i;
      EXPECT_EQ(resumed(leaf), table[i].to ? wanted : Reason::NotRegistered) << "row " << i;
      if (record) {
        EXPECT_EQ(record->status, *table[i].to) << "row " << i;
      }
    }
    restart();
  }
}

TEST_F(LifeCycle, AResumptionNeedsStandingNowThroughTheSameChain) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const std::uint64_t chain = ask(device.certificate).chain_id;
  EXPECT_EQ(resumed(device.certificate, chain), Reason::None);
  EXPECT_EQ(resumed(device.certificate, chain + 1), Reason::BadChain);
  EXPECT_EQ(resumed(make_device("stranger", root_).certificate), Reason::NotRegistered);
  Identity expired = make_identity(device.certificate);
  expired.not_after = std::time(nullptr) - 1;
  EXPECT_EQ(gate_->resume(expired, chain, cache_->epoch(), *registrar_->ca_set(), {}, std::time(nullptr)).reason,
            Reason::Expired);
  Admits others;
  others.cas = {Digest{1}};
  EXPECT_EQ(resumed(device.certificate, chain, cache_->epoch(), others), Reason::CaInactive)
      << "the listener does not admit this CA";
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  EXPECT_EQ(resumed(device.certificate, chain), Reason::DeviceInactive);
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Active));
  EXPECT_EQ(resumed(device.certificate, chain), Reason::None);
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_EQ(resumed(device.certificate, chain), Reason::CaInactive);
}

TEST_F(LifeCycle, APreRegisteredDeviceNeedsNeitherAutoRegisterNorApproval) {
  ASSERT_TRUE(enroll(root_, false, true));
  const Identity509 mid = make_ca("Mid", &root_);
  const Identity509 device = make_device("device", root_), below = make_device("below", mid);
  EXPECT_EQ(refused(device.certificate), Reason::NotRegistered);
  const auto made = pre_register({device.certificate, device.certificate});
  ASSERT_TRUE(made);
  EXPECT_FALSE((*made)[0].already);
  EXPECT_TRUE((*made)[1].already) << "it came twice";
  ASSERT_TRUE(pre_register({below.certificate}, {mid.certificate}));
  const auto record = registrar_->device(device.certificate.fingerprint());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->registered_by, RegisteredBy::Operator);
  EXPECT_EQ(record->status, DeviceStatus::Active);
  EXPECT_EQ(record->last_seen, 0);
  EXPECT_TRUE(ask(device.certificate).known);
  EXPECT_TRUE(ask(below.certificate, {mid.certificate}).known);
  EXPECT_TRUE(pre_register({}));
}

TEST_F(LifeCycle, ACrlRevokesWhatWasSeenAndWhatWasNot) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 seen = on_line("seen", root_), other = on_line("other", root_);
  const Identity509 unseen = make_device("unseen", root_);
  const auto outcome = import(crl(root_, {{&seen.certificate}, {&unseen.certificate}}));
  ASSERT_TRUE(outcome) << outcome.error().what;
  EXPECT_EQ(outcome->revoked, 1U);
  EXPECT_EQ(outcome->unseen, 1U);
  EXPECT_EQ(shards_.last_cut().id, seen.certificate.fingerprint());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(refused(seen.certificate), Reason::DeviceRevoked);
    EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
    EXPECT_EQ(refused(other.certificate), Reason::None);
    crash();
  }
  // Tombstones are of the issuing key: its CA's way out and in again changes nothing.
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  ASSERT_TRUE(enroll(root_));
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(seen.certificate), Reason::DeviceRevoked);
  const auto page = registrar_->devices({.status = DeviceStatus::Revoked});
  ASSERT_EQ(page->items.size(), 2U);
  EXPECT_EQ(std::count_if(page->items.begin(), page->items.end(),
                          [](const DeviceRecord& each) { return each.registered_by == RegisteredBy::Crl; }),
            1);
}

TEST_F(LifeCycle, TwoCasOfOneNameHaveTheirOwnTombstones) {
  const Identity509 a = make_ca("Same name"), b = make_ca("Same name");
  ASSERT_TRUE(enroll(a));
  ASSERT_TRUE(enroll(b));
  Leaf leaf;
  leaf.serial = {7};
  const Identity509 of_a = make(leaf, &a), of_b = make(leaf, &b);
  ASSERT_TRUE(import(crl(a, {{&of_a.certificate}})));
  EXPECT_EQ(refused(of_a.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(of_b.certificate), Reason::None);
  ASSERT_TRUE(import(crl(b, {{&of_b.certificate}})));
  EXPECT_EQ(refused(of_b.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(of_a.certificate), Reason::DeviceRevoked) << "one must not take the other's place";
}

TEST_F(LifeCycle, AHoldIsNotFinal) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 seen = on_line("seen", root_), unseen = make_device("unseen", root_);
  const auto outcome = import(crl(
      root_, {{&seen.certificate, CRL_REASON_CERTIFICATE_HOLD}, {&unseen.certificate, CRL_REASON_CERTIFICATE_HOLD}}));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->held, 1U);
  EXPECT_EQ(refused(seen.certificate), Reason::DeviceInactive);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceInactive);
  ASSERT_TRUE(set(seen.certificate, DeviceStatus::Active));
  EXPECT_EQ(refused(seen.certificate), Reason::None);
  const auto held = registrar_->devices({.status = DeviceStatus::Inactive});
  ASSERT_EQ(held->items.size(), 1U);
  EXPECT_FALSE(registrar_->set_device_status(held->items[0].id, DeviceStatus::Active, by_));
  ASSERT_TRUE(registrar_->delete_device(held->items[0].id, by_));
  EXPECT_EQ(refused(unseen.certificate), Reason::None);
  // A later list makes it final.
  ASSERT_TRUE(import(crl(root_, {{&seen.certificate}, {&unseen.certificate}}, {.number = 2})));
  EXPECT_EQ(refused(seen.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
}

// Serials nobody has shown are in force without a row where the disk was full: the same list again writes them.
TEST_F(LifeCycle, CrlAgainAfterAFullDisk) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 seen = on_line("seen", root_), unseen = make_device("unseen", root_);
  const Identity509 held = make_device("held", root_);
  const std::string list =
      crl(root_, {{&seen.certificate}, {&unseen.certificate}, {&held.certificate, CRL_REASON_CERTIFICATE_HOLD}});
  env_.disk_full = true;
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(import(list).error().what, HasSubstr("NOT durable"));
    EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
    EXPECT_EQ(refused(held.certificate), Reason::DeviceInactive);
  }
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(import(list)); }));
  EXPECT_EQ(import(list)->known, 3U);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(refused(seen.certificate), Reason::DeviceRevoked);
    EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
    EXPECT_EQ(refused(held.certificate), Reason::DeviceInactive);
    EXPECT_EQ(registrar_->stats().devices.active, 0U);
    EXPECT_EQ(registrar_->stats().devices.inactive, 1U);
    EXPECT_EQ(registrar_->stats().devices.revoked, 2U);
    if (round == 0) restart();
  }
}

TEST_F(LifeCycle, AnUnseenSerialRevokedWithAFullDiskThenHeld) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 seen = on_line("seen", root_), unseen = make_device("unseen", root_);
  env_.disk_full = true;
  EXPECT_FALSE(import(crl(root_, {{&seen.certificate}, {&unseen.certificate}})));
  env_.disk_full = false;
  const std::string list = crl(root_, {{&unseen.certificate, CRL_REASON_CERTIFICATE_HOLD}}, {.number = 2});
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(import(list)); }));
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
  restart();
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
}

TEST_F(LifeCycle, CrlsThatMustNotCountAreRefused) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_), stranger = make_ca("Root");
  const std::vector<Entry> entries = {{&device.certificate}};
  EXPECT_THAT(import(crl(stranger, entries)).error().what, HasSubstr("signature does not fit"));
  EXPECT_THAT(import(crl(make_ca("Nobody"), entries)).error().what, HasSubstr("no registered CA"));
  EXPECT_THAT(import(crl(root_, entries, {.delta = true})).error().what, HasSubstr("delta"));
  EXPECT_THAT(import(crl(root_, entries, {.indirect = true})).error().what, HasSubstr("indirect"));
  EXPECT_THAT(import(crl(root_, entries, {.unknown_critical = true})).error().what, HasSubstr("not understood"));
  EXPECT_THAT(import(crl(root_, entries, {.age = -7200})).error().what, HasSubstr("future"));
  EXPECT_THAT(import("nonsense").error().what, HasSubstr("not a CRL"));
  EXPECT_EQ(refused(device.certificate), Reason::None);
  ASSERT_TRUE(import(crl(root_, {}, {.number = 300})));
  const auto replay = import(crl(root_, entries, {.number = 299}));
  ASSERT_FALSE(replay);
  EXPECT_EQ(replay.error().kind, Refusal::Kind::Conflict);
  restart();
  EXPECT_FALSE(import(crl(root_, entries, {.number = 299}))) << "remembered over a restart";
  EXPECT_EQ(refused(device.certificate), Reason::None);
  EXPECT_TRUE(import(crl(root_, entries, {.number = 300}))) << "the same list again completes an import cut short";
}

// The older one is so long that it is written in two parts; the newer one comes between them, and is finished first.
TEST_F(LifeCycle, OfTwoCrlsAtOnceTheNewerIsRemembered) {
  constexpr std::size_t kPart = 4096;
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const std::string older = crl(root_, std::vector<Entry>(kPart + 1, {&device.certificate}), {.number = 299});
  const std::string newer = crl(root_, {}, {.number = 300});
  std::thread beside;
  shards_.when_asked = [&](const Notice&) {
    if (beside.joinable()) return;
    beside = std::thread([&] { EXPECT_TRUE(import(newer)); });
    std::this_thread::sleep_for(100ms);  // this is the registrar's thread: the newer one waits for it
  };
  EXPECT_TRUE(import(older));
  ASSERT_TRUE(beside.joinable());
  beside.join();
  shards_.when_asked = nullptr;
  EXPECT_FALSE(import(older)) << "it would be a replay now";
  EXPECT_EQ(registrar_->stats().devices.active, 0U) << "named over and over, counted once";
  EXPECT_EQ(registrar_->stats().devices.revoked, 1U);
}

TEST_F(LifeCycle, ARevokedIntermediateEndsEveryChainThroughIt) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 mid = make_ca("Mid", &root_), sub = make_ca("Sub", &root_);
  const Identity509 device = make_device("below", mid), fresh = make_device("fresh", mid);
  ASSERT_TRUE(offer(ask(device.certificate, {mid.certificate})));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  ASSERT_TRUE(enroll(sub));
  const Verdict before = ask(device.certificate, {mid.certificate});
  ASSERT_TRUE(before.known);
  const auto outcome = import(crl(root_, {{&mid.certificate}, {&sub.certificate}}));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->cas, 1U);
  EXPECT_EQ(registrar_->ca(sub.certificate.fingerprint())->status, CaStatus::Inactive);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(ask(device.certificate, {mid.certificate}).reason, Reason::CaInactive);
    EXPECT_EQ(ask(fresh.certificate, {mid.certificate}).reason, Reason::CaInactive);
    if (round == 0) {
      EXPECT_EQ(gate_->recheck(before, *registrar_->ca_set(), std::time(nullptr)), Reason::CaInactive)
          << "a live session's second look";
      restart();
    }
  }
}

// Whoever came through it while only its clients knew it is not let past its status.
TEST_F(LifeCycle, AnIntermediateRegisteredLaterHasItsSay) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 mid = make_ca("Mid", &root_);
  const Identity509 device = make_device("below", mid), fresh = make_device("fresh", mid);
  const Identity509 racer = make_device("racer", mid);
  const Digest id = mid.certificate.fingerprint();
  const auto known = [&] { return ask(device.certificate, {mid.certificate}); };
  const auto recheck = [&](const Verdict& verdict) {
    return gate_->recheck(verdict, *registrar_->ca_set(), std::time(nullptr));
  };
  const Verdict first = known(), raced = ask(racer.certificate, {mid.certificate});
  ASSERT_TRUE(offer(first));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  ASSERT_TRUE(enroll(mid));
  const Verdict live = known();
  EXPECT_TRUE(live.known) << "nothing changes for who is there already";
  EXPECT_TRUE(shards_.cuts().empty());

  ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Inactive, by_));
  EXPECT_EQ(ask(fresh.certificate, {mid.certificate}).reason, Reason::CaInactive);
  EXPECT_EQ(known().reason, Reason::CaInactive);
  EXPECT_EQ(resumed(device.certificate), Reason::CaInactive);
  EXPECT_EQ(recheck(live), Reason::CaInactive);
  EXPECT_EQ(recheck(first), Reason::CaInactive) << "admitted before it was stored";
  EXPECT_EQ(recheck(raced), Reason::CaInactive) << "not stored yet";
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->standing, Reason::CaInactive);
  EXPECT_EQ(shards_.last_cut().id, root_.certificate.fingerprint()) << "the session's owner";
  EXPECT_TRUE(shards_.last_cut().look_again) << "not everybody below it";
  ASSERT_TRUE(offer(raced));
  ASSERT_TRUE(eventually([&] { return shards_.last_cut().scope == Cut::Scope::Device; }));
  EXPECT_FALSE(registered(racer.certificate));

  ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Active, by_));
  EXPECT_TRUE(known().known);
  EXPECT_EQ(recheck(live), Reason::None);
  ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Inactive, by_));
  restart();
  EXPECT_EQ(known().reason, Reason::CaInactive) << "after a restart";
  ASSERT_TRUE(registrar_->delete_ca(id, false, by_));
  EXPECT_TRUE(known().known) << "what its clients send is again all that is known of it";
}

TEST_F(LifeCycle, ARenewedCasLiveSessionsStay) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const Verdict live = ask(device.certificate);
  const Identity509 renewed = make_again(root_, nullptr, {.cn = "Root", .ca = true});
  ASSERT_TRUE(enroll(renewed));
  const std::size_t cuts = shards_.cuts().size();
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_EQ(shards_.cuts().size(), cuts) << "the key lives on in another certificate";
  EXPECT_EQ(gate_->recheck(live, *registrar_->ca_set(), std::time(nullptr)), Reason::None);
  ASSERT_TRUE(registrar_->set_ca_status(renewed.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_GT(shards_.cuts().size(), cuts);
  EXPECT_EQ(gate_->recheck(live, *registrar_->ca_set(), std::time(nullptr)), Reason::CaInactive);
}

// What a date closed opens by one, in either direction, though nobody changed anything: whoever sends an intermediate
// hangs on its chain's window.
TEST_F(LifeCycle, WhatADateClosedOpensByOne) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 mid = make_ca("Mid", &root_);
  const Identity509 device = make_device("below", mid);
  const Verdict first = ask(device.certificate, {mid.certificate});
  ASSERT_TRUE(offer(first));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  const std::int64_t now = std::time(nullptr), years = 50LL * 365 * 86400;
  const auto recheck = [&] { return gate_->recheck(first, *registrar_->ca_set(), now); };
  ASSERT_TRUE(ask(device.certificate, {mid.certificate}).known);
  for (const std::int64_t wrong : {now - years, now + years}) {
    registrar_->look_at_dates(wrong);
    const int notices = shards_.notices;
    registrar_->look_at_dates(wrong + 1);
    EXPECT_EQ(shards_.notices, notices) << "no date lies between the two";
    EXPECT_FALSE(ask(device.certificate, {mid.certificate}).known) << "closed, at a wrong time";
    registrar_->look_at_dates(now);
    EXPECT_TRUE(ask(device.certificate, {mid.certificate}).known);
    EXPECT_EQ(recheck(), Reason::None);
  }
}

// A CA of the configuration whose time has not come is registered when it has.
TEST_F(LifeCycle, ATrustedCaWhoseTimeComesIsRegistered) {
  const std::int64_t now = std::time(nullptr), day = 86400;
  Leaf options{.cn = "Not yet", .ca = true};
  options.not_before = now + 2 * day;
  const Identity509 early = make(options, nullptr);
  ASSERT_TRUE(registrar_->trust({early.certificate, root_.certificate}));
  EXPECT_EQ(registrar_->cas().size(), 1U);
  ASSERT_EQ(registrar_->passed_over().size(), 1U);
  registrar_->look_at_dates(now + day);
  EXPECT_EQ(registrar_->passed_over().size(), 1U);
  registrar_->look_at_dates(now + 3 * day);
  EXPECT_TRUE(registrar_->passed_over().empty());
  EXPECT_EQ(registrar_->cas().size(), 2U);
  EXPECT_EQ(registrar_->trusted().size(), 2U);
}

TEST_F(LifeCycle, EveryChangeHasItsLineInTheSameBatch) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const std::string id = to_hex(device.certificate.fingerprint()).substr(0, 8);
  const std::string ca = to_hex(root_.certificate.fingerprint()).substr(0, 8);
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Revoked));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive, by_));
  ASSERT_TRUE(registrar_->put_token("ci", {Digest{1}, true, 1, 0}, by_));
  ASSERT_TRUE(registrar_->remove_token("ci", false, by_));
  ASSERT_TRUE(import(crl(root_, {})));
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  crash();
  const auto lines = audit();
  EXPECT_THAT(lines, testing::IsSupersetOf({
                         "alice device.deactivate " + id + " active > inactive",
                         "alice device.revoke " + id + " inactive > revoked",
                         "alice ca.deactivate " + ca + " active > inactive",
                         std::string("alice token.create ci  > operator"),
                         std::string("alice token.revoke ci valid > "),
                         "alice ca.delete-cascade " + ca + " inactive, 0 active devices > ",
                     }));
  EXPECT_THAT(lines.front(), HasSubstr("ca.delete")) << "the last first";
  const auto all = registrar_->audit(0, INT64_MAX, 1000);
  for (std::size_t i = 1; i < all->size(); ++i) EXPECT_LT((*all)[i].at_us, (*all)[i - 1].at_us);
  EXPECT_EQ(registrar_->audit(0, (*all)[2].at_us, 2)->front().at_us, (*all)[3].at_us) << "pages go on below";
}

// Lines that are old go, but for the newest ten thousand; codes go a day after their end.
TEST_F(LifeCycle, WhatOnlyGrowsIsCut) {
  close();
  const std::int64_t now_us = std::time(nullptr) * 1'000'000LL, year_us = 365LL * 86400 * 1'000'000;
  {
    const auto store = RegistryStore::open(dir_.path() + "/state", &env_);
    ASSERT_TRUE(store);
    RegistryStore::Batch batch;
    for (int i = 0; i < 12'000; ++i) {
      (*store)->put_audit(batch, {now_us - 2 * year_us + i, 1, by_, "old", std::to_string(i), "", ""});
    }
    for (int i = 0; i < 100; ++i) (*store)->put_audit(batch, {now_us - year_us + i, 1, by_, "new", "", "", ""});
    (*store)->put_code(batch, {Digest{1}, std::time(nullptr) - 2 * 86400, true});
    (*store)->put_code(batch, {Digest{2}, std::time(nullptr) - 3600, true});
    ASSERT_TRUE((*store)->commit(batch, Durable::Answered));
  }
  open({.audit_keep = std::chrono::hours(24 * 400)});
  const auto lines = [&](const std::string& action) {
    std::size_t count = 0;
    EXPECT_TRUE(
        store_->each_audit(INT64_MAX, [&](const AuditRecord& line) { return count += line.action == action, true; }));
    return count;
  };
  ASSERT_TRUE(eventually([&] { return lines("old") == 9'900; })) << lines("old");
  EXPECT_EQ(lines("new"), 100U);
  std::vector<Digest> codes;
  EXPECT_TRUE(store_->each_code([&](const CodeRow& code) { return codes.push_back(code.hash), true; }));
  EXPECT_EQ(codes, std::vector<Digest>{Digest{2}});
}

TEST_F(LifeCycle, ManyRegisteredAtOnceHaveNoLineEach) {
  ASSERT_TRUE(enroll(root_));
  const std::size_t before = audit().size();
  ASSERT_TRUE(pre_register({make_device("a", root_).certificate, make_device("b", root_).certificate}));
  EXPECT_EQ(audit().size(), before);
  ASSERT_TRUE(pre_register({make_device("c", root_).certificate}));
  EXPECT_EQ(audit().size(), before + 1);
}

TEST_F(LifeCycle, AnAuditLineOfWhatDidNotHappenIsNotWritten) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  const std::size_t before = audit().size();
  env_.disk_full = true;
  EXPECT_FALSE(set(device.certificate, DeviceStatus::Active));
  env_.disk_full = false;
  EXPECT_FALSE(registrar_->delete_ca(root_.certificate.fingerprint(), false, by_));
  EXPECT_EQ(audit().size(), before);
  // RocksDB takes a moment to believe that there is room again; what it refuses meanwhile leaves no line either.
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(set(device.certificate, DeviceStatus::Active)); }));
  EXPECT_EQ(audit().size(), before + 1) << "and it does not turn up with the next one";
}

TEST_F(LifeCycle, HowDevicesOfACaJoinCanBeChanged) {
  ASSERT_TRUE(enroll(root_));
  const Digest id = root_.certificate.fingerprint();
  const Identity509 known = on_line("known", root_);
  const Certificate stranger = make_device("stranger", root_).certificate;
  ASSERT_TRUE(registrar_->set_ca_joining(id, false, {}));
  EXPECT_EQ(ask(stranger).reason, Reason::NotRegistered);
  EXPECT_EQ(refused(known.certificate), Reason::None) << "who is registered stays";
  restart();
  EXPECT_EQ(ask(stranger).reason, Reason::NotRegistered) << "it is on disk";
  ASSERT_TRUE(registrar_->set_ca_joining(id, true, true));
  EXPECT_TRUE(ask(stranger).pending);
  env_.disk_full = true;
  EXPECT_FALSE(registrar_->set_ca_joining(id, {}, false));
  EXPECT_TRUE(ask(stranger).pending) << "what is not durable has not happened";
  env_.disk_full = false;
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(registrar_->set_ca_joining(id, {}, false)); }));
  EXPECT_TRUE(ask(stranger).admitted());
  EXPECT_FALSE(registrar_->set_ca_joining(known.certificate.fingerprint(), {}, false)) << "no CA";
  const auto lines = audit();
  EXPECT_THAT(lines.front(), HasSubstr("ca.joining"));
  EXPECT_THAT(lines.front(), HasSubstr("auto_register on, approve on > auto_register on, approve off"));
}

TEST_F(LifeCycle, TwoOperatorsAtOnceLeaveOneTruth) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  std::vector<std::thread> operators;
  for (int i = 0; i < 4; ++i) {
    operators.emplace_back([&, i] {
      for (int n = 0; n < 50; ++n) {
        (void)set(device.certificate, (n + i) % 2 == 0 ? DeviceStatus::Active : DeviceStatus::Inactive);
      }
    });
  }
  for (std::thread& each : operators) each.join();
  const auto record = registrar_->device(device.certificate.fingerprint());
  ASSERT_TRUE(record);
  const Reason shown = record->status == DeviceStatus::Active ? Reason::None : Reason::DeviceInactive;
  EXPECT_EQ(refused(device.certificate), shown);
  const DeviceCounts counts = registrar_->stats().devices;
  EXPECT_EQ(counts.active + counts.inactive, 1U);
  EXPECT_EQ(counts.active, shown == Reason::None ? 1U : 0U);
  restart();
  EXPECT_EQ(refused(device.certificate), shown) << "memory and disk agree";
}

TEST_F(LifeCycle, DeletingACaRacesFirstConnections) {
  ASSERT_TRUE(enroll(root_));
  std::vector<Identity509> devices;
  for (int i = 0; i < 200; ++i) devices.push_back(make_device("r" + std::to_string(i), root_));
  std::thread connecting([&] {
    for (const Identity509& each : devices) (void)connects(each.certificate);
  });
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  connecting.join();
  EXPECT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  EXPECT_TRUE(eventually([&] { return registrar_->devices({})->items.empty() && cache_->size() == 0; }));
  EXPECT_EQ(registrar_->stats().devices.active, 0U);
  restart();
  EXPECT_TRUE(registrar_->devices({})->items.empty());
}

TEST_F(LifeCycle, WhatExpiresSoonIsCountedByTheDay) {
  ASSERT_TRUE(enroll(root_));
  const std::int64_t now = std::time(nullptr);
  Leaf soon;
  soon.not_after = now + 3 * 86400;
  const Identity509 device = make(soon, &root_);
  ASSERT_TRUE(pre_register({device.certificate, make_device("later", root_).certificate}));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(registrar_->devices_expiring(now, now + 30 * 86400), 1U);
    EXPECT_EQ(registrar_->devices_expiring(now, now + 400 * 86400), 2U);
    restart();
  }
  ASSERT_TRUE(registrar_->delete_device(device.certificate.fingerprint(), by_));
  EXPECT_EQ(registrar_->devices_expiring(now, now + 30 * 86400), 0U);
}

TEST_F(LifeCycle, ABackupHoldsWhatTheRegistryHeld) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_);
  const std::string copy = dir_.path() + "/copy";
  ASSERT_TRUE(store_->checkpoint(copy));
  const auto meta = RegistryStore::inspect(copy);
  ASSERT_TRUE(meta) << meta.error().what;
  EXPECT_EQ(meta->revision, registrar_->stats().revision);
  EXPECT_FALSE(store_->checkpoint(copy)) << "never over another";
  EXPECT_FALSE(RegistryStore::inspect(dir_.path() + "/nothing"));
}

}  // namespace
}  // namespace sallyport::test
