// A store that an earlier version wrote opens, with all that was in it; and what makes names one number counts in every
// spelling of them. stores/make_schema_2.py says what is in the one that is kept.
#include <gmock/gmock.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "cache/registry/restore.h"
#include "cache/x509/canonical_name.h"
#include "tests/cache/registry/registrar_world.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFamilies[] = {"default", "devices",      "certificates", "by_serial", "by_ca", "cas",
                                     "chains",  "server_certs", "tokens",       "audit",     "meta"};

void unpack(const std::string& into) {
  const std::string command = "tar -xzf " SALLYPORT_STORES "/schema_2.tar.gz -C '" + into + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
}

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// RocksDB as it lies there: what no version of the store would write.
class Raw {
 public:
  explicit Raw(const std::string& state) {
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const char* family : kFamilies) descriptors.emplace_back(family, rocksdb::ColumnFamilyOptions());
    rocksdb::DB* opened = nullptr;
    EXPECT_TRUE(rocksdb::DB::Open({}, state + "/registry", descriptors, &families_, &opened).ok());
    db_.reset(opened);
  }
  ~Raw() {
    for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  }
  std::string get(std::size_t family, const std::string& key) {
    std::string value;
    db_->Get({}, families_[family], key, &value);
    return value;
  }
  void put(std::size_t family, const std::string& key, const std::string& value) {
    EXPECT_TRUE(db_->Put({}, families_[family], key, value).ok());
  }
  void remove(std::size_t family, const std::string& key) { EXPECT_TRUE(db_->Delete({}, families_[family], key).ok()); }
  void each(std::size_t family, const std::function<void(const std::string&, const std::string&)>& visit) {
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}, families_[family]));
    for (at->SeekToFirst(); at->Valid(); at->Next()) visit(at->key().ToString(), at->value().ToString());
  }
  static constexpr std::size_t kDevices = 1, kCertificates = 2, kChains = 6, kMeta = 10;

 private:
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  std::unique_ptr<rocksdb::DB> db_;
};

std::string schema_of(const std::string& state) {
  return Raw(state).get(Raw::kMeta, "schema");
}

// Calls back each time the store asks for the room on its disk, which is once in each batch.
class CountingEnv final : public rocksdb::EnvWrapper {
 public:
  explicit CountingEnv(rocksdb::Env& env) : EnvWrapper(&env) {}
  rocksdb::Status GetFreeSpace(const std::string& path, std::uint64_t* bytes) override {
    if (asked) asked(++times);
    return EnvWrapper::GetFreeSpace(path, bytes);
  }
  std::function<void(int)> asked;
  int times = 0;
};

class Migration : public RegistrarTest {
 protected:
  void SetUp() override {
    unpack(dir_.path());
    std::istringstream facts(content(state() + "/facts"));
    for (std::string kind, name, id; facts >> kind >> name;) {
      if (kind == "audit") {
        audited_ = std::stoul(name);
        continue;
      }
      facts >> id;
      ids_[name] = *parse_digest(id);
    }
    ASSERT_EQ(ids_.size(), 16U);
  }
  std::string state() const { return dir_.path() + "/state"; }
  void open_and_listen() {
    auto opened = RegistryStore::open(state(), &env_, OnLoss::Refuse, [&](bool loud, const std::string& what) {
      (loud ? loud_ : said_) += what + "\n";
    });
    ASSERT_TRUE(opened) << opened.error().what;
    opened->reset();
    open();
  }
  Certificate shown(const std::string& name) const {
    return std::move(*Certificate::from_pem(content(state() + "/" + name + ".pem")));
  }
  Certificate registered_as(const std::string& name) const {
    auto certificate = registrar_->device_certificate(ids_.at(name));
    EXPECT_TRUE(certificate) << name;
    return std::move(*certificate);
  }
  DeviceStatus status(const std::string& name) const {
    const auto device = registrar_->device(ids_.at(name));
    EXPECT_TRUE(device) << name;
    return device ? device->status : DeviceStatus::Pending;
  }
  // What a device that shows up is told.
  Reason told(const Certificate& leaf) { return ask(leaf).reason; }
  std::vector<AuditRecord> audit() const {
    auto lines = registrar_->audit(0, INT64_MAX, 1000);
    EXPECT_TRUE(lines);
    return lines ? std::move(*lines) : std::vector<AuditRecord>();
  }

  std::map<std::string, Digest> ids_;
  std::size_t audited_ = 0;
  std::string said_, loud_;
};

TEST_F(Migration, AStoreOfSchema2OpensWithAllThatWasInIt) {
  open_and_listen();
  for (const char* name : {"active", "active-again", "only-again", "below"}) {
    EXPECT_EQ(status(name), DeviceStatus::Active) << name;
    const Verdict verdict = ask(registered_as(name));
    EXPECT_EQ(verdict.reason, Reason::None) << name;
    EXPECT_TRUE(verdict.known) << name << " is known by the name of its issuer, and not registered again";
  }
  EXPECT_EQ(status("inactive"), DeviceStatus::Inactive);
  EXPECT_EQ(told(registered_as("inactive")), Reason::DeviceInactive);
  for (const char* name : {"revoked", "listed"}) {
    EXPECT_EQ(status(name), DeviceStatus::Revoked) << name;
    EXPECT_EQ(told(registered_as(name)), Reason::DeviceRevoked) << name;
  }
  EXPECT_EQ(registrar_->ca(ids_["fleet"])->status, CaStatus::Active);
  EXPECT_EQ(registrar_->ca(ids_["again"])->status, CaStatus::Active);
  EXPECT_EQ(registrar_->ca(ids_["idle"])->status, CaStatus::Inactive);
  EXPECT_FALSE(registrar_->ca(ids_["gone"]));

  std::vector<std::string> tokens, overrides;
  ASSERT_TRUE(store_->each_token([&](std::string_view name, const TokenRow& row) {
    EXPECT_TRUE(row.operates);
    tokens.emplace_back(name);
    return true;
  }));
  EXPECT_EQ(tokens, std::vector<std::string>{"robot"});
  ASSERT_TRUE(store_->each_override([&](std::string_view name, const OverrideRow& row) {
    EXPECT_TRUE(row.auth && !row.certificate);
    overrides.emplace_back(name);
    return true;
  }));
  EXPECT_EQ(overrides, std::vector<std::string>{"gate"});
  EXPECT_EQ(audit().size(), audited_ + 4) << "the four that a collision restricts";
}

// Of one serial number in two spellings the strictest status holds.
TEST_F(Migration, CollisionsAreRestrictedAuditedAndSaid) {
  open_and_listen();
  EXPECT_EQ(status("inactive-again"), DeviceStatus::Inactive);
  EXPECT_EQ(status("revoked-again"), DeviceStatus::Revoked);
  EXPECT_EQ(status("listed-elsewhere"), DeviceStatus::Revoked) << "the list named it in the other spelling";
  EXPECT_EQ(told(registered_as("revoked-again")), Reason::DeviceRevoked);
  EXPECT_EQ(told(registered_as("listed-elsewhere")), Reason::DeviceRevoked);
  EXPECT_EQ(status("active"), DeviceStatus::Active);
  EXPECT_EQ(status("active-again"), DeviceStatus::Active);
  std::map<std::string, std::string> lines;
  for (const AuditRecord& line : audit()) {
    if (line.by.who == "migration to schema 3") lines[line.target] = line.action + " " + line.before + " " + line.after;
  }
  EXPECT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[to_hex(ids_["revoked-again"])], "device.revoke active revoked");
  EXPECT_EQ(lines[to_hex(ids_["listed-elsewhere"])], "device.revoke active revoked");
  EXPECT_EQ(lines[to_hex(ids_["inactive-again"])], "device.deactivate active inactive");
  EXPECT_THAT(loud_, HasSubstr(to_hex(ids_["revoked"])));
  EXPECT_THAT(said_, HasSubstr("has schema 2 and is brought to schema 3"));
}

// Both were active and stayed so; from now on what takes one of them away takes the other one, too.
TEST_F(Migration, WhatTakesOneSpellingAwayTakesAll) {
  open_and_listen();
  ASSERT_TRUE(registrar_->set_device_status(ids_["active"], DeviceStatus::Inactive));
  EXPECT_EQ(status("active-again"), DeviceStatus::Inactive);
  ASSERT_TRUE(registrar_->set_device_status(ids_["active-again"], DeviceStatus::Active));
  EXPECT_EQ(status("active"), DeviceStatus::Inactive) << "each is let in by itself";
  ASSERT_TRUE(registrar_->set_device_status(ids_["active"], DeviceStatus::Revoked));
  EXPECT_EQ(status("active-again"), DeviceStatus::Revoked);
  EXPECT_EQ(told(registered_as("active-again")), Reason::DeviceRevoked);
  EXPECT_EQ(status("revoked-again"), DeviceStatus::Revoked);
}

TEST_F(Migration, WhatWasRevokedComesBackInNoSpelling) {
  open_and_listen();
  EXPECT_EQ(told(shown("unseen")), Reason::DeviceRevoked);
  EXPECT_EQ(told(shown("unseen-again")), Reason::DeviceRevoked);
  EXPECT_EQ(told(shown("held-and-revoked")), Reason::DeviceRevoked);
  EXPECT_EQ(told(shown("held")), Reason::DeviceInactive);
  EXPECT_EQ(told(shown("revoked-respelled")), Reason::DeviceRevoked);
  EXPECT_EQ(told(shown("listed-respelled")), Reason::DeviceRevoked);
  EXPECT_EQ(told(shown("good-respelled")), Reason::None);
}

// Their CAs are gone from the registry. Of "gone" a revoked device tells the name, of "nameless" nothing does.
TEST_F(Migration, TombstonesOfDeletedCasCount) {
  open_and_listen();
  for (const std::string& name : std::vector<std::string>{"gone", "nameless"}) {
    for (const std::string& spelling : {name, name + "-again"}) {
      const Certificate ca = shown(spelling);
      ASSERT_TRUE(registrar_->trust({ca}));
      EXPECT_EQ(told(shown(name + "-listed")), Reason::DeviceRevoked) << name;
      EXPECT_EQ(told(shown(name + "-listed-again")), Reason::DeviceRevoked) << name;
      ASSERT_TRUE(registrar_->trust({}));
      ASSERT_TRUE(registrar_->delete_ca(ca.fingerprint(), true, {}));
    }
  }
  ASSERT_TRUE(registrar_->trust({shown("gone-again")}));
  EXPECT_EQ(told(shown("gone-revoked-again")), Reason::DeviceRevoked);
  EXPECT_THAT(loud_, HasSubstr("1 serial numbers that lists of deleted CAs named"));
}

TEST_F(Migration, IsDoneOnce) {
  open_and_listen();
  close();
  EXPECT_EQ(schema_of(state()), "3");
  said_ = loud_ = "";
  open_and_listen();
  EXPECT_EQ(said_ + loud_, "");
  EXPECT_EQ(audit().size(), audited_ + 4);
}

// More rows than one batch holds: the same certificate under ids and numbers of its own.
class LongMigration : public Migration {
 protected:
  static constexpr std::uint32_t kDevices = 10'000;

  void SetUp() override {
    Migration::SetUp();
    Raw raw(state());
    const std::string id(ids_["active"].begin(), ids_["active"].end());
    std::string row = raw.get(Raw::kDevices, id), text = raw.get(Raw::kCertificates, id);
    ASSERT_EQ(row.size(), 64U);
    ASSERT_EQ(text.substr(0, 6), std::string("\2\0\0\0\x10\1", 6)) << "the serial number comes first";
    for (std::uint32_t n = 0; n < kDevices; ++n) {
      const std::string number = {static_cast<char>(n >> 8), static_cast<char>(n)};
      raw.put(Raw::kDevices, id_of(n), row);
      raw.put(Raw::kCertificates, id_of(n), std::string("\2\0\0\0", 4) + number + text.substr(6));
    }
  }
  static std::string id_of(std::uint32_t n) {
    std::string id(32, static_cast<char>(n));
    id[1] = static_cast<char>(n >> 8);
    return id;
  }
  // Of the rows that were added, those whose names are as they are compared.
  std::uint32_t migrated() {
    Raw raw(state());
    const auto certificate = Certificate::from_pem(content(state() + "/unseen.pem"));
    std::uint32_t count = 0;
    for (std::uint32_t n = 0; n < kDevices; ++n) {
      const IssuerSerial name =
          issuer_serial(certificate->issuer_name(), {raw.get(Raw::kCertificates, id_of(n)).data() + 4, 2});
      count += raw.get(Raw::kDevices, id_of(n)).find(std::string(name.begin(), name.end())) != std::string::npos;
    }
    return count;
  }
};

TEST_F(LongMigration, AFullDiskRefusesAndTheNextStartGoesOn) {
  CountingEnv env(env_);
  env.asked = [&](int times) { env_.free_bytes = times < 4 ? 1ULL << 40 : 1 << 20; };
  const auto refused = RegistryStore::open(state(), &env);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("was not brought to schema 3"));
  EXPECT_THAT(refused.error().what, HasSubstr("needs 128 MiB free"));
  EXPECT_THAT(refused.error().what, HasSubstr("next start goes on"));
  EXPECT_EQ(schema_of(state()), "on its way to 3") << "no version may take half of it for the whole";
  const std::uint32_t done = migrated();
  EXPECT_GT(done, 0U);
  EXPECT_LT(done, kDevices);
  env_.free_bytes = 1ULL << 40;
  open_and_listen();
  close();
  EXPECT_EQ(migrated(), kDevices);
  EXPECT_EQ(schema_of(state()), "3");
}

TEST_F(LongMigration, CutShortItIsNeverHalf) {
  for (int batch = 2; batch <= 5; ++batch) {
    CountingEnv env(env_);
    env.asked = [&](int times) { env_.crashed = times >= batch; };  // from here on nothing reaches the disk
    { const auto lost = RegistryStore::open(state(), &env); }
    env_.crashed = false;
    const std::string schema = schema_of(state());
    EXPECT_TRUE(schema == "2" || schema == "on its way to 3") << schema;
  }
  open_and_listen();
  EXPECT_EQ(told(shown("unseen-again")), Reason::DeviceRevoked);
  EXPECT_EQ(status("revoked-again"), DeviceStatus::Revoked);
  EXPECT_EQ(audit().size(), audited_ + 4);
  close();
  EXPECT_EQ(migrated(), kDevices);
}

// Chains had no issuing key then: it is their nearest intermediate's, or their CA's.
TEST_F(Migration, AStoreOfSchema1OpensToo) {
  {
    Raw raw(state());
    std::size_t cut = 0;
    raw.each(Raw::kChains, [&](const std::string& key, const std::string& row) {
      if (row.back() != 0) return;  // of a list, or forgotten: schema 1 had neither
      raw.put(Raw::kChains, key, row.substr(0, row.size() - 33));
      ++cut;
    });
    ASSERT_EQ(cut, 3U) << "of the two CAs, and of the one that was sent";
    raw.put(Raw::kMeta, "schema", "1");
  }
  open_and_listen();
  for (const char* name : {"active", "active-again", "only-again", "below"}) {
    EXPECT_TRUE(ask(registered_as(name)).known) << name;
  }
  EXPECT_EQ(status("revoked-again"), DeviceStatus::Revoked);
  EXPECT_EQ(status("listed-elsewhere"), DeviceStatus::Revoked) << "a list of this issuing key named it";
  EXPECT_EQ(told(shown("revoked-respelled")), Reason::DeviceRevoked);
  EXPECT_EQ(told(shown("unseen-again")), Reason::DeviceRevoked);
}

TEST_F(Migration, ADeviceWithoutItsCertificateIsDamage) {
  {
    Raw raw(state());
    raw.remove(Raw::kCertificates, std::string(ids_["active"].begin(), ids_["active"].end()));
  }
  const auto refused = RegistryStore::open(state());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("device without its certificate"));
}

// A restore that keeps what was revoked since: rows of the old registry come into one of this version.
TEST_F(Migration, RowsThatComeAlongAreMigratedToo) {
  const auto present = RegistryStore::open_to_read(state() + "/registry");
  ASSERT_TRUE(present) << present.error().what;
  EXPECT_TRUE(RegistryStore::inspect(state() + "/registry"));
  const auto restored = RegistryStore::open(dir_.path() + "/new");
  ASSERT_TRUE(restored);
  // Its CAs were there when the backup was made.
  RegistryStore::Batch batch;
  ASSERT_TRUE((*present)->each_ca([&](const Digest& id, const CaRow& row) {
    (*restored)->put_ca(batch, id, row);
    return true;
  }));
  ASSERT_TRUE((*restored)->commit(batch, Durable::Answered));
  const auto since = restricted_since(**restored, **present);
  ASSERT_TRUE(since);
  const auto kept = keep_restricted(**restored, **present, *since);
  ASSERT_TRUE(kept) << kept.error().what;
  const Certificate respelled = shown("revoked-respelled"), unseen = shown("unseen-again");
  const auto row = (*restored)->device(ids_["revoked"]);
  ASSERT_TRUE(row && *row);
  EXPECT_EQ((*row)->name, issuer_serial(respelled.issuer_name(), respelled.serial()));
  std::size_t tombstones = 0;
  ASSERT_TRUE((*restored)->each_device("", "", [&](const Digest&, const DeviceRow& each) {
    tombstones += each.name == issuer_serial(unseen.issuer_name(), unseen.serial()) ? 1 : 0;
    return true;
  }));
  EXPECT_EQ(tombstones, 2U) << "one of each spelling";
}

TEST(MigrationOfNothing, ANewStoreHasTheSchemaAtOnce) {
  TempDir dir;
  std::string said;
  ASSERT_TRUE(RegistryStore::open(dir.path() + "/state", nullptr, OnLoss::Refuse,
                                  [&](bool, const std::string& what) { said += what; }));
  EXPECT_EQ(said, "");
  EXPECT_EQ(schema_of(dir.path() + "/state"), "3");
}

}  // namespace
}  // namespace sallyport::test
