// The registrar: durable, then in force, then answered; grouped commits; races; a disk that fills up and a
// process that dies; the rules of registering a CA.
#include <cstring>
#include <filesystem>

#include "tests/cache/registry/registrar_world.h"

namespace sallyport::test {
namespace {

TEST_F(RegistrarTest, AFirstConnectionIsStoredPublishedAndKeptOverARestart) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 mid = make_ca("Intermediate", &root_);
  const Identity509 device = make_device("device", root_), below = make_device("below", mid);
  ASSERT_TRUE(offer(ask(device.certificate)));
  ASSERT_TRUE(offer(ask(below.certificate, {mid.certificate})));
  ASSERT_TRUE(eventually([&] { return registered(device.certificate) && registered(below.certificate); }));
  ASSERT_TRUE(eventually([&] { return in_cache(below.certificate); }));
  for (int round = 0; round < 2; ++round) {
    const auto record = registrar_->device(device.certificate.fingerprint());
    ASSERT_TRUE(record);
    EXPECT_EQ(record->cn, "device");
    EXPECT_EQ(record->ca_id, root_.certificate.fingerprint());
    EXPECT_EQ(record->status, DeviceStatus::Active);
    EXPECT_EQ(record->standing, Reason::None);
    EXPECT_EQ(record->registered_by, RegisteredBy::Auto);
    EXPECT_EQ(registrar_->device_certificate(device.certificate.fingerprint())->der(), device.certificate.der());
    EXPECT_TRUE(ask(device.certificate).known);
    EXPECT_TRUE(ask(below.certificate, {mid.certificate}).known);
    EXPECT_EQ(registrar_->ca(root_.certificate.fingerprint())->devices.active, 2U);
    EXPECT_EQ(registrar_->stats().devices.active, 2U);
    close();
    open();
  }
}

TEST_F(RegistrarTest, ADeviceThatComesTwiceIsOneDevice) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 device = make_device("device", root_);
  const Verdict verdict = ask(device.certificate);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(offer(verdict));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  EXPECT_EQ(registrar_->stats().devices.active, 1U);
  EXPECT_TRUE(shards_.cuts().empty());
}

// With a time to gather that never passes: the first is written at once, the next ones when a command comes, which
// does not wait for it and sees them; and the end writes what is left.
TEST_F(RegistrarTest, RegistrationsGatherAndCommandsDoNotWait) {
  open({.gather = std::chrono::hours(1)});
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 first = make_device("first", root_), last = make_device("last", root_);
  ASSERT_TRUE(connects(first.certificate));
  ASSERT_TRUE(eventually([&] { return registered(first.certificate) && registrar_->stats().queued == 0; }));
  std::vector<Identity509> next;
  const std::uint64_t commits = registrar_->stats().commits;
  for (int i = 0; i < 5; ++i) next.push_back(make_device("next" + std::to_string(i), root_));
  for (const Identity509& device : next) ASSERT_TRUE(connects(device.certificate));
  EXPECT_EQ(registrar_->stats().queued, 5U);
  ASSERT_TRUE(registrar_->set_device_status(next.back().certificate.fingerprint(), DeviceStatus::Inactive));
  for (const Identity509& device : next) EXPECT_TRUE(registered(device.certificate));
  EXPECT_EQ(registrar_->stats().commits, commits + 2) << "the five together, and the command";
  ASSERT_TRUE(connects(last.certificate));
  close();
  open();
  EXPECT_TRUE(registered(last.certificate));
}

TEST_F(RegistrarTest, TheLoserOfARaceForASerialIsCut) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 device = make_device("device", root_);
  const Certificate twin = rewrite_signature(device.certificate);
  // Both were admitted before either was stored.
  const Verdict first = ask(device.certificate), second = ask(twin);
  ASSERT_TRUE(first.admitted() && second.admitted());
  ASSERT_TRUE(offer(first));
  ASSERT_TRUE(offer(second));
  ASSERT_TRUE(eventually([&] { return shards_.cuts().size() == 1; }));
  EXPECT_EQ(shards_.cuts()[0].id, twin.fingerprint());
  EXPECT_EQ(shards_.cuts()[0].why, Reason::SerialConflict);
  EXPECT_TRUE(registered(device.certificate));
  EXPECT_FALSE(registered(twin));
  EXPECT_EQ(registrar_->stats().refused, 1U);
}

TEST_F(RegistrarTest, WhatChangedBeforeTheWriteCounts) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 device = make_device("device", root_);
  const Verdict verdict = ask(device.certificate);
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive));
  ASSERT_TRUE(offer(verdict));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().refused == 1; }));
  EXPECT_FALSE(registered(device.certificate));
  EXPECT_EQ(shards_.last_cut().why, Reason::CaInactive);
}

TEST_F(RegistrarTest, AChangeIsDurableThenInForceThenAnswered) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 device = make_device("device", root_);
  ASSERT_TRUE(connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  const Digest id = device.certificate.fingerprint();
  std::atomic<bool> answered{false}, checked{false};
  const int syncs = env_.syncs;
  shards_.when_asked = [&](const Notice& notice) {
    EXPECT_EQ(notice.cuts.size(), 1U);
    EXPECT_GT(env_.syncs, syncs) << "in force before it was synced";
    EXPECT_EQ((*store_->device(id))->status, DeviceStatus::Inactive) << "in force before it was written";
    EXPECT_EQ(ask(device.certificate).reason, Reason::DeviceInactive) << "told before the cache knew";
    std::this_thread::sleep_for(50ms);
    EXPECT_FALSE(answered) << "answered before it was in force";
    checked = true;
  };
  ASSERT_TRUE(registrar_->set_device_status(id, DeviceStatus::Inactive));
  answered = true;
  EXPECT_TRUE(checked);
  shards_.when_asked = nullptr;
  EXPECT_EQ(shards_.last_cut().id, id);
  close();
  open();
  EXPECT_EQ(ask(device.certificate).reason, Reason::DeviceInactive) << "and it survives a restart";
  ASSERT_TRUE(registrar_->set_device_status(id, DeviceStatus::Active));
  EXPECT_TRUE(ask(device.certificate).known);
}

TEST_F(RegistrarTest, ACaTakesTheDevicesOfEveryCaBelowItAlong) {
  open();
  const Identity509 mid = make_ca("Intermediate", &root_);
  ASSERT_TRUE(registrar_->trust({root_.certificate, mid.certificate}));
  const Identity509 device = make_device("device", mid);
  ASSERT_TRUE(connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive));
  std::vector<Digest> cut;
  for (const Cut& each : shards_.cuts()) cut.push_back(each.id);
  EXPECT_THAT(cut, testing::UnorderedElementsAre(root_.certificate.fingerprint(), mid.certificate.fingerprint()));
  EXPECT_EQ(ask(device.certificate).reason, Reason::CaInactive);
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->standing, Reason::CaInactive);
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->status, DeviceStatus::Active);
  close();
  open();
  EXPECT_EQ(ask(device.certificate).reason, Reason::CaInactive) << "after a restart too";
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Active));
  EXPECT_TRUE(ask(device.certificate).known);
}

TEST_F(RegistrarTest, ARenewedCaTakesOverItsDevices) {
  open();
  Leaf leaf;
  leaf.ca = true;
  leaf.key_usage = "";
  const Identity509 renewed = make_again(root_, nullptr, leaf);
  ASSERT_TRUE(registrar_->trust({root_.certificate, renewed.certificate}));
  const Identity509 device = make_device("device", root_);
  ASSERT_TRUE(connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  const Digest owner = registrar_->device(device.certificate.fingerprint())->ca_id;
  const Digest heir =
      owner == root_.certificate.fingerprint() ? renewed.certificate.fingerprint() : root_.certificate.fingerprint();
  ASSERT_TRUE(registrar_->set_ca_status(owner, CaStatus::Inactive));
  ASSERT_TRUE(connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return ask(device.certificate).known; }));
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->ca_id, heir);
  DeviceQuery of_heir, of_owner;
  of_heir.ca = heir;
  of_owner.ca = owner;
  EXPECT_EQ(registrar_->devices(of_heir)->items.size(), 1U);
  EXPECT_EQ(registrar_->devices(of_owner)->items.size(), 0U);
  EXPECT_EQ(registrar_->ca(heir)->devices.active, 1U);
  EXPECT_EQ(registrar_->ca(owner)->devices.active, 0U);
}

TEST_F(RegistrarTest, RegisteringACaNeedsTheProof) {
  open();
  const auto code = registrar_->issue_code(600);
  ASSERT_TRUE(code);
  EXPECT_GE(code->code.size(), 32U);
  const Identity509 other = make_ca("Other");
  const auto attempt = [&](const Identity509& ca, const Certificate& proof) {
    const auto answer = registrar_->register_ca({ca.certificate, proof, {}, false});
    return answer ? std::string() : answer.error().what;
  };
  EXPECT_THAT(attempt(root_, verification(root_, "guess").certificate), HasSubstr("not a registration code"));
  EXPECT_THAT(attempt(root_, verification(other, code->code).certificate), HasSubstr("not signed by this CA's key"));
  EXPECT_THAT(attempt(root_, root_.certificate), HasSubstr("the CA certificate itself"));
  EXPECT_EQ(attempt(root_, verification(root_, code->code).certificate), "");
  EXPECT_THAT(attempt(root_, verification(root_, code->code).certificate), HasSubstr("registered already"));
  EXPECT_THAT(attempt(other, verification(other, code->code).certificate), HasSubstr("used already"));
  close();
  open();
  EXPECT_THAT(attempt(other, verification(other, code->code).certificate), HasSubstr("used already"))
      << "after a restart";
  const auto brief = registrar_->issue_code(1);
  std::this_thread::sleep_for(2100ms);
  EXPECT_THAT(attempt(other, verification(other, brief->code).certificate), HasSubstr("expired"));
  EXPECT_EQ(registrar_->cas().size(), 1U);
  const Verdict proof_as_device = ask(verification(root_, code->code).certificate);
  EXPECT_EQ(proof_as_device.reason, Reason::NotADevice);
}

TEST_F(RegistrarTest, OnlyCasInDateWithStrongKeysAreRegistered) {
  open({.max_cas = 3});
  Leaf old;
  old.ca = true;
  old.not_before = 1'000'000'000;
  old.not_after = 1'100'000'000;
  const Identity509 expired = make(old, nullptr);
  const Identity509 weak = make_ca("Weak", nullptr, Kind::Rsa1024);
  const Identity509 slow = make({.cn = "Slow", .ca = true, .key_usage = ""}, nullptr, make_rsa(2048, 0));
  const Identity509 leaf = make_device("leaf", root_);
  Leaf v1;
  v1.cn = "Version 1";
  v1.version1 = true;
  const Identity509 ancient = make(v1, nullptr);
  EXPECT_THAT(enroll(expired).error().what, HasSubstr("expired"));
  EXPECT_THAT(enroll(weak).error().what, HasSubstr("RSA-1024"));
  EXPECT_THAT(enroll(leaf).error().what, HasSubstr("not a CA certificate"));
  EXPECT_THAT(enroll(slow).error().what, HasSubstr("exponent of at most 32 bits"));
  EXPECT_TRUE(enroll(ancient));
  EXPECT_TRUE(enroll(make_ca("Ed", nullptr, Kind::Ed25519)));
  EXPECT_TRUE(enroll(root_));
  EXPECT_THAT(enroll(make_ca("One too many")).error().what, HasSubstr("max_cas"));
}

TEST_F(RegistrarTest, TrustAddsWhatIsAbsentAndNeverChangesAStatus) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive));
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  EXPECT_EQ(registrar_->ca(root_.certificate.fingerprint())->status, CaStatus::Inactive);
  EXPECT_FALSE(registrar_->trust({make_device("no CA", root_).certificate}));
}

// One CA that cannot be registered: none of the file is. One that is out of date is passed over, for a start must not
// fail by it, and it would let nobody in.
TEST_F(RegistrarTest, TrustedCasAreRegisteredTogetherOrNotAtAll) {
  open({.max_cas = 3});
  Leaf old;
  old.cn = "Old";
  old.ca = true;
  old.not_before = 1'000'000'000;
  old.not_after = 1'100'000'000;
  const Identity509 expired = make(old, nullptr);
  const Identity509 weak = make_ca("Weak", nullptr, Kind::Rsa1024);
  const Identity509 second = make_ca("Second"), third = make_ca("Third"), fourth = make_ca("Fourth");
  const auto registered = [&] { return registrar_->cas().size(); };
  EXPECT_THAT(registrar_->trust({root_.certificate, weak.certificate, second.certificate}).error().what,
              HasSubstr("Weak"));
  EXPECT_EQ(registered(), 0U);
  EXPECT_TRUE(registrar_->trusted().empty());
  EXPECT_THAT(
      registrar_->trust({root_.certificate, second.certificate, third.certificate, fourth.certificate}).error().what,
      HasSubstr("max_cas"));
  EXPECT_EQ(registered(), 0U);
  const std::uint64_t before = registrar_->stats().commits;
  ASSERT_TRUE(registrar_->trust({root_.certificate, expired.certificate, second.certificate, root_.certificate}));
  EXPECT_EQ(registered(), 2U);
  EXPECT_EQ(registrar_->stats().commits, before + 1);
  EXPECT_FALSE(registrar_->ca(expired.certificate.fingerprint()));
  EXPECT_EQ(registrar_->trusted().size(), 3U) << "what the file names";
  EXPECT_EQ(registrar_->audit(0, INT64_MAX, 10)->size(), 2U) << "a line for each";
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  EXPECT_EQ(registered(), 2U);
}

TEST_F(RegistrarTest, ApprovalAndManualRegistrationAreACasChoice) {
  open();
  ASSERT_TRUE(enroll(root_, std::nullopt, true));
  const Identity509 device = make_device("device", root_);
  const Verdict verdict = ask(device.certificate);
  ASSERT_TRUE(verdict.pending);
  ASSERT_TRUE(offer(verdict));
  ASSERT_TRUE(eventually([&] { return ask(device.certificate).reason == Reason::DevicePending; }));
  ASSERT_TRUE(registrar_->set_device_status(device.certificate.fingerprint(), DeviceStatus::Active));
  EXPECT_TRUE(ask(device.certificate).known);
  const Identity509 manual = make_ca("Manual");
  ASSERT_TRUE(enroll(manual, false));
  EXPECT_EQ(ask(make_device("d", manual).certificate).reason, Reason::NotRegistered);
}

TEST_F(RegistrarTest, DevicesPerCaAndTheQueueAreBounded) {
  open({.max_devices_per_ca = 2, .queue = 4});
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  // Of those that come at once, the one too many is cut.
  env_.hangs = true;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(connects(make_device("d" + std::to_string(i), root_).certificate));
  env_.thaw();
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  EXPECT_EQ(registrar_->stats().devices.active, 2U);
  EXPECT_EQ(registrar_->stats().refused, 1U);
  EXPECT_EQ(shards_.last_cut().why, Reason::NotRegistered);
  // Who comes later is not even let in, until there is room again.
  const Certificate later = make_device("later", root_).certificate;
  EXPECT_EQ(ask(later).reason, Reason::NotRegistered);
  ASSERT_TRUE(registrar_->set_options({.max_devices_per_ca = 3}));
  EXPECT_TRUE(connects(later));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().devices.active == 3; }));
  EXPECT_EQ(ask(make_device("last", root_).certificate).reason, Reason::NotRegistered);
  close();
  open({.max_devices_per_ca = 3, .queue = 4});
  EXPECT_EQ(ask(make_device("last", root_).certificate).reason, Reason::NotRegistered) << "after a restart, too";
  EXPECT_TRUE(ask(later).known);
  env_.disk_full = true;
  const Verdict verdict = ask(make_device("later", make_ca("x")).certificate);
  EXPECT_EQ(verdict.reason, Reason::CaUnknown);
}

TEST_F(RegistrarTest, AFullDiskLosesNothingAndStopsNoRestriction) {
  open({.queue = 8});
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 known = make_device("known", root_);
  ASSERT_TRUE(connects(known.certificate));
  ASSERT_TRUE(eventually([&] { return in_cache(known.certificate); }));
  env_.disk_full = true;
  std::vector<Identity509> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(make_device("waits " + std::to_string(i), root_));
    EXPECT_TRUE(connects(waiting.back().certificate));
  }
  ASSERT_TRUE(eventually([&] { return registrar_->stats().store_errors > 0; }));
  for (const Identity509& device : waiting)
    EXPECT_FALSE(in_cache(device.certificate)) << "published without being durable";
  EXPECT_FALSE(offer(ask(make_device("one too many", root_).certificate))) << "the queue is full";
  const auto cut = registrar_->set_device_status(known.certificate.fingerprint(), DeviceStatus::Inactive);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().kind, Refusal::Kind::Unavailable);
  EXPECT_THAT(cut.error().what, HasSubstr("in force, NOT durable"));
  EXPECT_EQ(ask(known.certificate).reason, Reason::DeviceInactive);
  EXPECT_EQ(shards_.last_cut().id, known.certificate.fingerprint());
  const auto back = registrar_->set_device_status(known.certificate.fingerprint(), DeviceStatus::Active);
  EXPECT_FALSE(back) << "letting somebody in needs the disk";
  EXPECT_EQ(ask(known.certificate).reason, Reason::DeviceInactive);
  const auto ca_cut = registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive);
  EXPECT_FALSE(ca_cut);
  EXPECT_EQ(ask(waiting[0].certificate).reason, Reason::CaInactive);
  env_.disk_full = false;
  ASSERT_TRUE(eventually(
      [&] { return static_cast<bool>(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Active)); }));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
}

TEST_F(RegistrarTest, WhatWaitedForTheDiskIsWrittenWhenItIsBack) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  env_.disk_full = true;
  const Identity509 device = make_device("patient", root_);
  ASSERT_TRUE(connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().store_errors > 0; }));
  EXPECT_FALSE(registered(device.certificate));
  env_.disk_full = false;
  EXPECT_TRUE(eventually([&] { return registered(device.certificate) && in_cache(device.certificate); }));
  close();
  open();
  EXPECT_TRUE(ask(device.certificate).known);
}

// Four shards offer while the process dies at some moment: whatever the cache had shown, and whatever an
// operator was answered, is there after the restart, and the store opens.
TEST_F(RegistrarTest, ACrashLosesNothingThatWasShownOrAnswered) {
  std::vector<Identity509> devices;
  for (int i = 0; i < 200; ++i) devices.push_back(make_device("d" + std::to_string(i), root_));
  for (int round = 0; round < 3; ++round) {
    open();
    ASSERT_TRUE(registrar_->trust({root_.certificate}));
    std::vector<std::thread> shards;
    for (std::size_t shard = 0; shard < 4; ++shard) {
      shards.emplace_back([&, shard] {
        for (std::size_t i = shard; i < devices.size(); i += 4) {
          const Verdict verdict = ask(devices[i].certificate);
          if (verdict.admitted() && !verdict.known) offer(verdict);
          if (i % 16 == shard) std::this_thread::sleep_for(1ms);
        }
      });
    }
    std::this_thread::sleep_for(3ms * (round + 1));
    std::vector<Digest> deactivated;
    for (const Identity509& device : devices) {
      if (deactivated.size() < 3 && in_cache(device.certificate) &&
          registrar_->set_device_status(device.certificate.fingerprint(), DeviceStatus::Inactive)) {
        deactivated.push_back(device.certificate.fingerprint());
      }
    }
    std::vector<Digest> shown;
    for (const Identity509& device : devices) {
      if (in_cache(device.certificate)) shown.push_back(device.certificate.fingerprint());
    }
    env_.crashed = true;
    for (std::thread& thread : shards) thread.join();
    close();
    env_.crashed = false;
    open();
    for (const Digest& id : shown) EXPECT_TRUE(registrar_->device(id)) << "shown by the cache, lost by the crash";
    for (const Digest& id : deactivated) EXPECT_EQ(registrar_->device(id)->status, DeviceStatus::Inactive);
    close();
  }
}

TEST_F(RegistrarTest, ListsFilterAndPage) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  std::vector<Identity509> devices;
  for (int i = 0; i < 25; ++i) {
    Leaf leaf;
    leaf.cn = (i % 2 == 0 ? "meter-" : "pump-") + std::to_string(i);
    leaf.serial = {0x10, static_cast<std::uint8_t>(i + 1)};
    devices.push_back(make(leaf, &root_));
    ASSERT_TRUE(connects(devices.back().certificate));
  }
  ASSERT_TRUE(eventually([&] { return registrar_->stats().devices.active == 25; }));
  DeviceQuery query;
  query.limit = 10;
  std::set<Digest> seen;
  int pages = 0;
  do {
    const auto page = registrar_->devices(query);
    ASSERT_TRUE(page);
    for (const DeviceRecord& device : page->items) EXPECT_TRUE(seen.insert(device.id).second);
    query.page_token = page->next_page_token;
    ++pages;
  } while (!query.page_token.empty());
  EXPECT_EQ(seen.size(), 25U);
  EXPECT_EQ(pages, 3);
  const auto count = [&](auto change) {
    DeviceQuery filtered;
    change(filtered);
    return registrar_->devices(filtered)->items.size();
  };
  EXPECT_EQ(count([](DeviceQuery& q) { q.cn_glob = "meter-*"; }), 13U);
  EXPECT_EQ(count([](DeviceQuery& q) { q.serial = std::string("\x10\x03", 2); }), 1U);
  EXPECT_EQ(count([&](DeviceQuery& q) { q.ca = root_.certificate.fingerprint(); }), 25U);
  EXPECT_EQ(count([&](DeviceQuery& q) { q.ca = devices[0].certificate.fingerprint(); }), 0U);
  EXPECT_EQ(count([](DeviceQuery& q) { q.status = DeviceStatus::Inactive; }), 0U);
  EXPECT_EQ(count([](DeviceQuery& q) { q.expires_before = std::time(nullptr); }), 0U);
  EXPECT_EQ(count([](DeviceQuery& q) { q.expires_before = std::time(nullptr) + 400L * 86400; }), 25U);
  EXPECT_FALSE(registrar_->devices({.page_token = "nonsense"}));
  const std::string id = to_hex(devices[3].certificate.fingerprint());
  EXPECT_EQ(registrar_->devices_by_prefix(id.substr(0, 9), 5),
            (std::vector<Digest>{devices[3].certificate.fingerprint()}));
}

TEST_F(RegistrarTest, LastSeenIsADayAndIsNotWorthASync) {
  open();
  ASSERT_TRUE(registrar_->trust({root_.certificate}));
  const Identity509 device = make_device("device", root_);
  ASSERT_TRUE(connects(device.certificate));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  const int syncs = env_.syncs;
  for (int i = 0; i < 100; ++i) registrar_->seen(device.certificate.fingerprint());
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(env_.syncs, syncs);
  EXPECT_EQ(registrar_->device(device.certificate.fingerprint())->last_seen, std::time(nullptr) / 86400 * 86400);
}

std::uintmax_t log_bytes(const std::string& state_dir) {
  std::uintmax_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(state_dir + "/registry")) {
    if (file.path().extension() == ".log") bytes += file.file_size();
  }
  return bytes;
}

std::string stored_cn(const RegistryStore& store, const Digest& id) {
  const auto text = store.device_text(id);
  return text && *text ? (*text)->cn : "";
}

// Of a store that has one device, with this environment.
Answer<std::unique_ptr<RegistryStore>> store_of_one(const std::string& dir, rocksdb::Env* env) {
  auto store = RegistryStore::open(dir, env);
  if (!store) return store;
  RegistryStore::Batch batch;
  DeviceText text;
  text.cn = "meter";
  (*store)->put_device_text(batch, Digest{1}, Digest{2}, text);
  if (const auto done = (*store)->commit(batch, Durable::Answered); !done) return done.error();
  return store;
}

TEST(RegistryStore, HasNothingToReplayAfterAFlush) {
  TempDir dir;
  {
    const auto store = store_of_one(dir.path(), nullptr);
    ASSERT_TRUE(store);
    EXPECT_GT(log_bytes(dir.path()), 0U);
    ASSERT_TRUE((*store)->flush());
    EXPECT_EQ(log_bytes(dir.path()), 0U);
    ASSERT_TRUE((*store)->flush());  // with nothing to do
  }
  const auto again = RegistryStore::open(dir.path());
  ASSERT_TRUE(again);
  EXPECT_EQ(stored_cn(**again, Digest{1}), "meter");
}

TEST(RegistryStore, LosesNothingWhereItCannotBeFlushed) {
  TempDir dir;
  FaultEnv env;
  {
    const auto store = store_of_one(dir.path(), &env);
    ASSERT_TRUE(store);
    env.no_tables = true;
    const auto flushed = (*store)->flush();
    ASSERT_FALSE(flushed);
    EXPECT_THAT(flushed.error().what, HasSubstr("stays to be replayed"));
    EXPECT_THAT(flushed.error().what, HasSubstr("No space left"));
  }
  env.no_tables = false;
  const auto again = RegistryStore::open(dir.path(), &env);
  ASSERT_TRUE(again);
  EXPECT_EQ(stored_cn(**again, Digest{1}), "meter");
}

// What RocksDB does with a disk that is really full is an assertion of its own: it is not to find out.
TEST(RegistryStore, RefusesBeforeTheDiskIsFull) {
  TempDir dir;
  FaultEnv env;
  const auto store = store_of_one(dir.path(), &env);
  ASSERT_TRUE(store);
  const std::uintmax_t logged = log_bytes(dir.path());
  env.free_bytes = (128 << 20) - 1;
  RegistryStore::Batch batch;
  (*store)->put_meta(batch, {});
  const auto refused = (*store)->commit(batch, Durable::Answered);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("needs 128 MiB free and has 127"));
  EXPECT_FALSE((*store)->flush());
  EXPECT_EQ(log_bytes(dir.path()), logged);
  env.free_bytes = 128 << 20;
  EXPECT_TRUE((*store)->commit(batch, Durable::Answered));
}

TEST(RegistryStore, SaysWhyItCannotBeOpened) {
  TempDir dir;
  const auto first = RegistryStore::open(dir.path() + "/a");
  ASSERT_TRUE(first);
  const auto second = RegistryStore::open(dir.path() + "/a");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("in use by another process"));
  const std::string file = dir.write("file", "x");
  EXPECT_THAT(RegistryStore::open(file + "/b").error().what, HasSubstr("cannot be created"));
}

// Operators ask the gate and read records while others are registered: under AddressSanitizer this found segments
// that were freed while a thread that answers no notice was reading them.
TEST_F(RegistrarTest, AReaderOnTheAdminSideKeepsWhatItReads) {
  open();
  ASSERT_TRUE(enroll(root_));
  const Identity509 seen = make_device("seen", root_);
  ASSERT_TRUE(connects(seen.certificate));
  ASSERT_TRUE(eventually([&] { return registered(seen.certificate) && in_cache(seen.certificate); }));
  const Verdict seed = ask(make_device("seed", root_).certificate);
  ASSERT_TRUE(seed.admitted());
  const auto numbered = [&](std::uint32_t n) {
    Identity identity = *seed.identity;
    std::memcpy(identity.fingerprint.data(), &n, sizeof n);
    std::memcpy(identity.issuer_serial.data(), &n, sizeof n);
    identity.serial = std::to_string(n);
    return identity;
  };
  constexpr std::uint32_t kRounds = 60, kEach = 1000;
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  readers.emplace_back([&] {
    const auto cas = registrar_->ca_set();
    for (std::uint32_t n = 0; !stop; ++n)
      gate_->resume(numbered(n % (kRounds * kEach)), 0, cache_->epoch(), *cas, {}, std::time(nullptr));
  });
  readers.emplace_back([&] {
    while (!stop) EXPECT_EQ(registrar_->device(seen.certificate.fingerprint())->status, DeviceStatus::Active);
  });
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    std::vector<Registration> batch;
    for (std::uint32_t n = round * kEach; n < (round + 1) * kEach; ++n) {
      batch.push_back({seed.leaf_der, numbered(n), *seed.path, false, RegisteredBy::Operator});
    }
    EXPECT_TRUE(registrar_->register_devices(std::move(batch)));
  }
  stop = true;
  for (std::thread& each : readers) each.join();
  EXPECT_EQ(registrar_->stats().devices.active, kRounds * kEach + 1);
}

}  // namespace
}  // namespace sallyport::test
