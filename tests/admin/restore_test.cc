// Backups, and what putting one back undoes: what was revoked after it was made stays revoked, unless somebody says
// otherwise and is asked.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "admin/operations/offline_reset.h"
#include "admin/operations/shared_registry.h"
#include "cache/base/file.h"
#include "tests/admin/restore_world.h"

namespace sallyport::test {
namespace {

// One that the backup has, one that was registered after it, under an intermediate of which it knows nothing.
TEST_F(RestoreTest, WhatWasRevokedSinceTheBackupStaysRevoked) {
  const Digest known = on_line(make_device("known", ca_)), other = on_line(make_device("other", ca_));
  ASSERT_TRUE(access_->create("ci", true, 0, {}));
  ASSERT_TRUE(access_->create("kept", true, 0, {}));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  const Digest later = on_line(make_device("later", ca_));
  for (const Digest& id : {known, later}) ASSERT_TRUE(registrar_->set_device_status(id, DeviceStatus::Revoked));
  ASSERT_TRUE(access_->revoke("ci", {}));
  const std::uint64_t revision = registrar_->stats().revision;
  const std::string state = killed();

  const auto restored = restore(copy, state);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_EQ(restored->devices, 2U);
  ASSERT_EQ(restored->some_devices.size(), 2U);
  EXPECT_THAT(restored->some_devices[0] + restored->some_devices[1], HasSubstr("CN known"));
  EXPECT_EQ(restored->tokens, std::vector<std::string>{"ci"});
  EXPECT_EQ(restored->present_revision, revision);
  EXPECT_TRUE(fs::exists(restored->aside + "/CURRENT")) << "what was there is kept";
  EXPECT_FALSE(fs::exists(state + "/restoring"));

  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(status_in(**store, known), DeviceStatus::Revoked);
  EXPECT_EQ(status_in(**store, later), DeviceStatus::Revoked);
  EXPECT_EQ(status_in(**store, other), DeviceStatus::Active);
  EXPECT_EQ(tokens_in(**store), std::vector<std::string>{"kept"});
  EXPECT_GT((*store)->meta()->revision, revision) << "no revision is given out twice";
  bool told = false;
  ASSERT_TRUE((*store)->each_audit(INT64_MAX, [&](const AuditRecord& line) {
    told = line.action == "registry.restore" && line.by.who == "alice";
    EXPECT_THAT(line.after, HasSubstr("devices 2, tokens 1"));
    return false;
  }));
  EXPECT_TRUE(told);
  // It serves: every row can be read, and what was registered since is found under its CA.
  StatusCache cache;
  ChainTable chains;
  Registrar registrar(**store, cache, chains, plane_, RegistrarOptions{}, null_);
  ASSERT_TRUE(registrar.warm());
  EXPECT_EQ(registrar.stats().devices.revoked, 2U);
  EXPECT_EQ(registrar.device(later)->ca_id, ca_.certificate.fingerprint());
  EXPECT_EQ(registrar.device(later)->cn, "later");
}

// Who stole a device's key must not be let in again by a restore; who deleted a CA by mistake gets it back.
TEST_F(RestoreTest, WhatWasDeactivatedSinceStaysInactiveAndWhatWasDeletedIsNamed) {
  const Digest device = on_line(make_device("stolen", ca_)), other = on_line(make_device("other", ca_));
  const Identity509 closed = make_ca("Closed"), lost = make_ca("Lost by mistake");
  for (const Identity509* ca : {&closed, &lost}) {
    ASSERT_TRUE(registered(*ca));
  }
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(registrar_->set_device_status(device, DeviceStatus::Inactive));
  for (const Identity509* ca : {&closed, &lost}) {
    ASSERT_TRUE(registrar_->set_ca_status(ca->certificate.fingerprint(), CaStatus::Inactive));
  }
  ASSERT_TRUE(registrar_->delete_ca(lost.certificate.fingerprint(), false));
  const std::string state = killed();

  const auto restored = restore(copy, state);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_EQ(restored->devices, 0U);
  EXPECT_EQ(restored->inactive, 1U);
  EXPECT_THAT(restored->some_inactive, testing::ElementsAre(HasSubstr("CN stolen")));
  EXPECT_THAT(restored->some_inactive_cas, testing::ElementsAre(HasSubstr("Closed")));
  EXPECT_THAT(restored->some_deleted_cas, testing::ElementsAre(HasSubstr("Lost by mistake")));
  {
    const auto store = RegistryStore::open(state);
    ASSERT_TRUE(store) << store.error().what;
    EXPECT_EQ(status_in(**store, device), DeviceStatus::Inactive);
    EXPECT_EQ(status_in(**store, other), DeviceStatus::Active);
    EXPECT_EQ(ca_in(**store, closed), CaStatus::Inactive);
    EXPECT_EQ(ca_in(**store, lost), CaStatus::Active) << "it is back";
  }
  // Discarded when somebody says so, and is asked.
  fs::remove_all(state);
  ASSERT_TRUE(killed() == state);
  EXPECT_EQ(restore(copy, state, false, false).error().what, "nothing was changed");
  ASSERT_TRUE(restore(copy, state, false, true));
  EXPECT_EQ(status_in(**RegistryStore::open(state), device), DeviceStatus::Active);
}

// A stolen device that came after the backup would register itself once more, as would one whose serial a CRL holds.
TEST_F(RestoreTest, WhatIsInactiveAndCameAfterTheBackupComesAlongInactive) {
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  const Identity509 stolen = make_device("stolen", ca_), held = make_device("held", ca_),
                    fine = make_device("fine", ca_);
  const Digest device = on_line(stolen);
  ASSERT_TRUE(registrar_->set_device_status(device, DeviceStatus::Inactive));
  on_line(fine);
  ASSERT_TRUE(put_on_hold(held.certificate));
  const std::string state = killed();

  const auto restored = restore(copy, state);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_EQ(restored->devices, 0U);
  EXPECT_EQ(restored->inactive, 2U) << "the device and the serial that is on hold";
  EXPECT_THAT(restored->some_inactive, testing::Contains(HasSubstr("CN stolen")));

  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(status_in(**store, device), DeviceStatus::Inactive);
  EXPECT_FALSE(*(*store)->device(fine.certificate.fingerprint())) << "it registers itself again";
  StatusCache cache;
  ChainTable chains;
  Registrar registrar(**store, cache, chains, plane_, RegistrarOptions{}, null_);
  ASSERT_TRUE(registrar.warm());
  EXPECT_EQ(registrar.device(device)->ca_id, ca_.certificate.fingerprint());
  DeviceGate gate(cache, chains, DeviceGate::AskedBy::Others);
  const X509StackPtr none(sk_X509_new_null());
  const auto reason = [&](const Identity509& of) {
    return gate.decide({of.certificate.x509(), none.get()}, *registrar.ca_set(), {}, std::time(nullptr)).reason;
  };
  EXPECT_EQ(reason(stolen), Reason::DeviceInactive);
  EXPECT_EQ(reason(held), Reason::DeviceInactive);
  EXPECT_EQ(reason(fine), Reason::None);
}

// One that leaked and was replaced under its name does not come back; its successor stays.
TEST_F(RestoreTest, ATokenIsItsHashAndNotItsName) {
  const auto leaked = access_->create("grafana", true, 0, {});
  ASSERT_TRUE(leaked && access_->create("gone", true, 0, {}) && access_->create("same", true, 3600, {}));
  const auto lower = access_->create("lower", true, 0, {}), shorter = access_->create("shorter", true, 0, {});
  ASSERT_TRUE(lower && shorter);
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  for (const char* name : {"grafana", "gone"}) ASSERT_TRUE(access_->revoke(name, {}));
  const auto successor = access_->create("grafana", false, 0, {});
  ASSERT_TRUE(successor && access_->create("later", true, 0, {}));
  std::int64_t end = 0;
  const auto tokens = registrar_->tokens();
  for (auto [name, row] : *tokens) {
    if (name == "lower") row.operates = false;
    if (name == "shorter") row.expires_at = end = row.created_at + 60;
    ASSERT_TRUE(registrar_->put_token(name, row, {}));
  }
  const std::string state = killed();

  const auto restored = restore(copy, state);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_EQ(restored->tokens, (std::vector<std::string>{"gone", "grafana"}));
  EXPECT_EQ(restored->narrowed_tokens, (std::vector<std::string>{"lower", "shorter"}));
  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  std::map<std::string, TokenRow> rows;
  ASSERT_TRUE((*store)->each_token([&](std::string_view name, const TokenRow& row) {
    rows.emplace(name, row);
    return true;
  }));
  EXPECT_EQ(tokens_in(**store), (std::vector<std::string>{"grafana", "lower", "same", "shorter"}));
  EXPECT_EQ(rows["grafana"].hash, Sha256::of(successor->token)) << "and not the one that leaked";
  EXPECT_FALSE(rows["grafana"].operates);
  EXPECT_FALSE(rows["lower"].operates);
  EXPECT_EQ(rows["shorter"].expires_at, end);
  EXPECT_TRUE(rows["shorter"].operates && rows["same"].operates);
  fs::remove_all(state);
  ASSERT_TRUE(killed() == state);
  EXPECT_EQ(restore(copy, state, false, false).error().what, "nothing was changed");
}

// Who shows no certificate must not get in by a choice that was taken back, and no revoked device beside him.
TEST_F(RestoreTest, AListenerThatAsksForCertificatesStillDoes) {
  const Digest hosted = Sha256::of("of the backup");
  const auto choose = [&](const char* listener, std::optional<std::uint8_t> auth,
                          std::optional<Digest> certificate = {}) {
    ASSERT_TRUE(registrar_->put_override(listener, {auth, certificate}, "listener.auth", "", "", {}));
  };
  for (const char* listener : {"closed", "reset", "still-open"}) choose(listener, kAuthOneWay);
  choose("closed-and-hosted", kAuthOneWay, hosted);
  choose("hosted", {}, hosted);
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  for (const char* listener : {"closed", "closed-and-hosted", "new-mutual"}) choose(listener, kAuthMutual);
  choose("hosted", kAuthMutual, Sha256::of("came later"));
  choose("reset", {});
  choose("new-one-way", kAuthOneWay);
  const std::string state = killed();

  const auto restored = restore(copy, state);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_THAT(restored->listeners, testing::ElementsAre("closed: mutual", "closed-and-hosted: mutual", "hosted: mutual",
                                                        "new-mutual: mutual", "reset: as the configuration file says"));
  EXPECT_TRUE(restored->undoes());
  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  std::map<std::string, OverrideRow> rows;
  ASSERT_TRUE((*store)->each_override([&](std::string_view listener, const OverrideRow& row) {
    rows.emplace(listener, row);
    return true;
  }));
  EXPECT_EQ(rows.size(), 5U) << "nothing is left of `reset`, and new-one-way was not in the backup";
  EXPECT_EQ(rows["still-open"].auth, kAuthOneWay);
  for (const char* mutual : {"closed", "closed-and-hosted", "hosted", "new-mutual"}) {
    EXPECT_EQ(rows[mutual].auth, kAuthMutual) << mutual;
  }
  EXPECT_EQ(rows["closed-and-hosted"].certificate, hosted);
  EXPECT_EQ(rows["hosted"].certificate, hosted) << "the backup does not have the other's key";
}

// `trusted_cas` registers a CA that is not there; one that is there and inactive it leaves alone.
TEST_F(RestoreTest, ACaStaysAsStrictAsItIsNow) {
  const Identity509 approving = make_ca("Approving"), listed = make_ca("Listed only"), late = make_ca("Late");
  for (const Identity509* ca : {&approving, &listed}) ASSERT_TRUE(registered(*ca));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  for (const Identity509* ca : {&approving, &listed}) {
    const Digest id = ca->certificate.fingerprint();
    ASSERT_TRUE(registrar_->set_ca_status(id, CaStatus::Inactive) && registrar_->delete_ca(id, true));
    ASSERT_TRUE(registered(*ca, ca != &listed, ca == &approving));
  }
  ASSERT_TRUE(registrar_->trust({ca_.certificate, late.certificate}));
  ASSERT_TRUE(registrar_->set_ca_status(late.certificate.fingerprint(), CaStatus::Inactive));
  const std::string state = killed();

  const auto restored = restore(copy, state);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_THAT(restored->some_inactive_cas, testing::ElementsAre(HasSubstr("Late")));
  EXPECT_THAT(restored->some_narrowed_cas,
              testing::UnorderedElementsAre(HasSubstr("Approving"), HasSubstr("Listed only")));
  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  std::map<Digest, CaRow> rows;
  ASSERT_TRUE((*store)->each_ca([&](const Digest& id, const CaRow& row) {
    rows.emplace(id, row);
    return true;
  }));
  EXPECT_TRUE(rows[approving.certificate.fingerprint()].approve);
  EXPECT_FALSE(rows[listed.certificate.fingerprint()].auto_register);
  EXPECT_FALSE(rows[ca_.certificate.fingerprint()].approve || !rows[ca_.certificate.fingerprint()].auto_register);
  StatusCache cache;
  ChainTable chains;
  Registrar registrar(**store, cache, chains, plane_, RegistrarOptions{}, null_);
  ASSERT_TRUE(registrar.warm());
  registrar.start();
  ASSERT_TRUE(registrar.trust({ca_.certificate, late.certificate}));
  registrar.stop();
  EXPECT_EQ(ca_in(**store, late), CaStatus::Inactive) << "as the next start reads trusted_cas";
}

// The registry is put back because its log was damaged: what cannot be read any more is said, not passed over.
TEST_F(RestoreTest, WhatTheDamagedRegistryRevokedLastIsSaidToBeUnknown) {
  const Digest first = on_line(make_device("first", ca_)), last = on_line(make_device("last", ca_));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(registrar_->set_device_status(first, DeviceStatus::Revoked));
  const std::uint64_t readable = registrar_->stats().revision;
  std::map<std::string, std::uintmax_t> sizes;
  for (const auto& file : fs::directory_iterator(dir_.path() + "/state/registry")) {
    if (file.path().extension() == ".log") sizes[file.path().filename().string()] = file.file_size();
  }
  ASSERT_TRUE(registrar_->set_device_status(last, DeviceStatus::Revoked));
  const std::string state = killed();
  for (const auto& [name, bytes] : sizes) {
    const std::string path = state + "/registry/" + name;
    if (fs::file_size(path) > bytes) fs::resize_file(path, bytes + 10);
  }
  const auto refused = restore(copy, state);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("is not known: --accept-loss keeps what can be read"));
  EXPECT_FALSE(fs::exists(state + "/restoring"));
  EXPECT_EQ(restore(copy, state, false, false).error().what, "nothing was changed");
  // By a person who was asked, and by the flag.
  const std::string other = state + "-again";
  fs::copy(state, other, fs::copy_options::recursive);
  ASSERT_TRUE(restore(copy, other, true, false, true));
  const auto restored = restore(copy, state, true, false, false, true);
  ASSERT_TRUE(restored) << restored.error().what;
  EXPECT_TRUE(restored->lost());
  EXPECT_EQ(restored->present_revision, readable);
  EXPECT_EQ(restored->answered_revision, readable + 1);
  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(status_in(**store, first), DeviceStatus::Revoked);
  EXPECT_GT((*store)->meta()->revision, restored->answered_revision) << "no revision is given out twice";
}

// Without its mark nothing says whether the last change can be read.
TEST_F(RestoreTest, ARegistryWithoutItsMarkIsNotTakenForWhole) {
  const Digest device = on_line(make_device("device", ca_));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(registrar_->set_device_status(device, DeviceStatus::Revoked));
  const std::string state = killed();
  fs::remove(state + "/registry.mark");
  const auto refused = restore(copy, state);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("registry.mark, which says what was answered, is gone"));
  const auto restored = restore(copy, state, true, false, false, true);
  ASSERT_TRUE(restored) << restored.error().what;
  const auto store = RegistryStore::open(state);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(status_in(**store, device), DeviceStatus::Revoked) << "what can be read is kept";
}

TEST_F(RestoreTest, WhatACutShortRestoreLeftIsNotRemoved) {
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  const std::string state = killed();
  fs::create_directories(state + "/restoring/registry");
  std::ofstream(state + "/restoring/registry/CURRENT") << "the one that was here";
  EXPECT_THAT(restore(copy, state).error().what, HasSubstr("is left of a restore that was cut short"));
  EXPECT_TRUE(fs::exists(state + "/restoring/registry/CURRENT"));
}

// The last step that can fail, made to fail: the registry that was there is there again.
TEST_F(RestoreTest, WhatFailsLateChangesNothing) {
  const Digest device = on_line(make_device("device", ca_));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(registrar_->set_device_status(device, DeviceStatus::Revoked));
  const std::string state = killed();
  fs::remove(state + "/registry.mark");
  fs::create_directories(state + "/registry.mark/in-the-way");
  EXPECT_FALSE(restore(copy, state, false, true));
  EXPECT_FALSE(fs::exists(state + "/restoring"));
  const auto store = RegistryStore::open_to_read(state + "/registry");
  ASSERT_TRUE(store);
  EXPECT_EQ(status_in(**store, device), DeviceStatus::Revoked);
}

TEST_F(RestoreTest, DiscardingRevocationsIsAskedFor) {
  const Digest device = on_line(make_device("device", ca_));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(registrar_->set_device_status(device, DeviceStatus::Revoked));
  const std::string state = killed();
  EXPECT_EQ(restore(copy, state, false, false).error().what, "nothing was changed");
  EXPECT_EQ(status_in(**RegistryStore::open(state), device), DeviceStatus::Revoked);
  ASSERT_TRUE(restore(copy, state, false, true));
  EXPECT_EQ(status_in(**RegistryStore::open(state), device), DeviceStatus::Active);
}

// Whoever takes a backup for a state_dir is told what it is, before anything in it has changed.
TEST_F(RestoreTest, ABackupStaysAsItIs) {
  const std::string copy = dir_.path() + "/backup", other = dir_.path() + "/other";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(make_backup(*store_, other));
  for (const OnLoss on_loss : {OnLoss::Refuse, OnLoss::Accept}) {
    const auto opened = RegistryStore::open(copy, nullptr, on_loss);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().what, HasSubstr("is a backup, and stays as it is: `sallyport restore " + copy));
  }
  EXPECT_THAT(RegistryStore::would_open(copy).error().what, HasSubstr("is a backup"));
  EXPECT_THAT(restore(other, copy, true, true).error().what, HasSubstr("is a backup itself"));
  EXPECT_THAT(import_into_shared("postgresql://localhost/none", copy, [](std::uint64_t) {}).error().what,
              HasSubstr("is a backup"));
  EXPECT_THAT(reset_offline(copy, "mqtts", {}).error().what, HasSubstr("is a backup"));
  EXPECT_TRUE(restore(copy, dir_.path() + "/fresh"));
}

TEST_F(RestoreTest, ARegistryInUseIsNotReplaced) {
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  // fcntl(2) locks are a process's: a child holds it as another sallyport would.
  const std::string state = killed();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open((state + "/registry/LOCK").c_str(), O_RDWR | O_CREAT, 0600);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    const char done = ::fcntl(fd, F_SETLK, &lock) == 0 ? 'y' : 'n';
    (void)!::write(ready[1], &done, 1);
    ::pause();
    ::_exit(0);
  }
  char held = 0;
  ASSERT_EQ(::read(ready[0], &held, 1), 1);
  EXPECT_EQ(held, 'y');
  EXPECT_THAT(restore(copy, state).error().what, HasSubstr("is in use: stop sallyport first"));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_TRUE(restore(copy, state));
}

TEST_F(RestoreTest, WhereTheRegistryCannotBeReadNothingIsUndoneInSilence) {
  const Digest device = on_line(make_device("device", ca_));
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  ASSERT_TRUE(registrar_->set_device_status(device, DeviceStatus::Revoked));
  const std::string state = killed();
  std::ofstream(state + "/registry/CURRENT") << "MANIFEST-000000\n";
  EXPECT_THAT(restore(copy, state).error().what, HasSubstr("--discard-revocations restores without"));
  EXPECT_FALSE(restore(copy, state, false, false));
  ASSERT_TRUE(restore(copy, state, false, true));
  EXPECT_EQ(status_in(**RegistryStore::open(state), device), DeviceStatus::Active);
}

TEST_F(RestoreTest, BackupsAreVerifiedAndRestoredIntoNothing) {
  const std::string copy = dir_.path() + "/backup";
  EXPECT_EQ(ask("POST", "/v1/backup", Json{{"dir", copy}}.dump()).status, 201U);
  EXPECT_EQ(ask("POST", "/v1/backup", Json{{"dir", copy}}.dump()).status, 409U) << "never over another";
  ASSERT_TRUE(verify_backup(copy));
  const std::string target = dir_.path() + "/restored";
  ASSERT_TRUE(restore(copy, target));
  const auto meta = RegistryStore::inspect(target + "/registry");
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->revision, registrar_->stats().revision + 1) << "restoring is a change";
  const std::string other = dir_.path() + "/other-things";
  std::filesystem::create_directories(other);
  dir_.write("other-things/letter", "x");
  const std::string why = restore(copy, other).error().what;
  EXPECT_THAT(why, HasSubstr("holds no registry"));
  EXPECT_THAT(why, HasSubstr("what was revoked or deactivated after the backup is valid again there"));
  // Over the network only into admin.backup_dir.
  const auto token = access_->create("ci", true, 0, {});
  EXPECT_EQ(ask("POST", "/v1/backup", Json{{"dir", dir_.path() + "/other"}}.dump(), token->token).status, 403U);
  EXPECT_EQ(ask("POST", "/v1/backup", Json{{"name", "x"}}.dump(), token->token).status, 409U);
  for (const char* name : {"../x", "a/b", ".hidden", ""}) {
    EXPECT_EQ(ask("POST", "/v1/backup", Json{{"name", name}}.dump(), token->token).status, 400U) << name;
  }
}

TEST_F(RestoreTest, ADamagedBackupIsNotRestored) {
  const std::string copy = dir_.path() + "/backup";
  ASSERT_TRUE(make_backup(*store_, copy));
  const std::string manifest = copy + "/manifest.json";
  const auto text = read_file(manifest, 1 << 20);
  ASSERT_TRUE(text);
  const Json whole = Json::parse(*text);
  const auto refuses = [&](Json changed, const char* why) {
    dir_.write("backup/manifest.json", changed.dump());
    const auto verified = verify_backup(copy);
    ASSERT_FALSE(verified);
    EXPECT_THAT(verified.error().what, HasSubstr(why));
    EXPECT_FALSE(restore(copy, dir_.path() + "/restored"));
    EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/restored")) << "nothing is left behind";
  };
  Json changed = whole;
  changed["files"][0]["sha256"] = std::string(64, '0');
  refuses(changed, "was changed");
  changed = whole;
  changed["files"][0]["name"] = "../../etc/passwd";
  refuses(changed, "its manifest names");
  changed = whole;
  changed["files"].erase(0);
  refuses(changed, "not in its manifest");
  changed = whole;
  changed["files"].push_back({{"name", "missing"}, {"bytes", 1}, {"sha256", ""}});
  refuses(changed, "missing");
  refuses(Json::array(), "not a manifest");
}

}  // namespace
}  // namespace sallyport::test
