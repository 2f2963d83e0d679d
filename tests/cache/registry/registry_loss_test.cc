// What was answered as durable is there after a start, or there is no start: logs with a damaged byte, a torn end, or
// gone; tables that are damaged; marks that are gone, torn, or of another registry. A killed process is a copy of its
// folder, made while it runs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "cache/registry/registry_store.h"
#include "cache/registry/revision_mark.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::uint64_t kChanges = 40;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class RegistryLoss : public testing::Test {
 protected:
  // Takes tokens away one by one, each answered: `kChanges` revisions, all of them in the log.
  static void live(const std::string& state) {
    const auto store = RegistryStore::open(state);
    ASSERT_TRUE(store) << store.error().what;
    revoke(**store, 1, kChanges);
    fs::copy(state, state + ".killed", fs::copy_options::recursive);
  }
  static void revoke(RegistryStore& store, std::uint64_t first, std::uint64_t last,
                     Durable durable = Durable::Answered) {
    for (std::uint64_t revision = first; revision <= last; ++revision) {
      RegistryStore::Batch batch;
      store.put_token(batch, "revoked-" + std::to_string(revision), {});
      store.put_meta(batch, {revision, 1});
      ASSERT_TRUE(store.commit(batch, durable));
    }
  }
  void SetUp() override {
    live(dir_.path() + "/state");
    state_ = dir_.path() + "/state.killed";
  }
  fs::path log() const {
    fs::path found;
    std::uintmax_t largest = 0;
    for (const auto& file : fs::directory_iterator(state_ + "/registry")) {
      if (file.path().extension() != ".log" || file.file_size() < largest) continue;
      found = file.path();
      largest = file.file_size();
    }
    return found;
  }
  fs::path mark() const { return state_ + "/registry.mark"; }
  void flip(const fs::path& path, std::size_t at) const {
    std::string bytes = bytes_of(path);
    ASSERT_LT(at, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    write_bytes(path, bytes);
  }
  std::string refusal(const std::string& state) const {
    const auto store = RegistryStore::open(state);
    return store ? "it opened" : store.error().what;
  }
  std::string refusal() const { return refusal(state_); }
  static std::uint64_t tokens(const RegistryStore& store) {
    std::uint64_t count = 0;
    EXPECT_TRUE(store.each_token([&](std::string_view, const TokenRow&) { return ++count > 0; }));
    return count;
  }
  // Everything in the folder but what RocksDB says about itself.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& file : fs::directory_iterator(state_ + "/registry")) {
      const std::string name = file.path().filename().string();
      if (name.rfind("LOG", 0) != 0 && name.rfind("OPTIONS", 0) != 0 && file.path().extension() != ".dbtmp") {
        names.insert(name + " " + std::to_string(file.file_size()));
      }
    }
    return names;
  }

  TempDir dir_;
  std::string state_;
};

TEST_F(RegistryLoss, AKilledProcessLosesNothing) {
  const auto store = RegistryStore::open(state_);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(tokens(**store), kChanges);
  EXPECT_EQ((*store)->meta()->revision, kChanges);
  EXPECT_FALSE((*store)->loss());
  EXPECT_FALSE((*store)->tail_dropped());
}

TEST_F(RegistryLoss, ADamagedByteOfTheLogRefusesTheStartWhereverItIs) {
  const std::string whole = bytes_of(log());
  for (std::size_t at = 0; at < whole.size(); at += whole.size() / 25 + 1) {
    write_bytes(log(), whole);
    flip(log(), at);
    const std::string why = refusal();
    EXPECT_THAT(why, HasSubstr("has lost changes: revision 40 was answered as durable")) << "byte " << at;
    EXPECT_THAT(why, HasSubstr(log().string())) << "byte " << at;
    EXPECT_THAT(why, HasSubstr("serve --accept-loss")) << "byte " << at;
  }
  // None of these starts has changed anything: with its byte mended, the log is as good as it was.
  write_bytes(log(), whole);
  const auto store = RegistryStore::open(state_);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(tokens(**store), kChanges);
}

TEST_F(RegistryLoss, ALogThatIsShorterOrGoneRefusesTheStart) {
  const fs::path path = log();
  const std::string whole = bytes_of(path);
  for (const std::size_t length : {whole.size() - 1, whole.size() / 2, std::size_t{1}, std::size_t{0}}) {
    write_bytes(path, whole.substr(0, length));
    EXPECT_THAT(refusal(), HasSubstr("has lost changes: revision 40 was answered")) << length << " bytes";
  }
  fs::remove(path);
  EXPECT_THAT(refusal(), HasSubstr("has lost changes: revision 40 was answered"));
  EXPECT_THAT(refusal(), HasSubstr("has lost changes: revision 40 was answered")) << "the first refusal hid the second";
}

TEST_F(RegistryLoss, ARegistryThatIsGoneIsNotBegunAnew) {
  fs::remove_all(state_ + "/registry");
  EXPECT_THAT(refusal(), HasSubstr("has lost changes: revision 40 was answered"));
  EXPECT_FALSE(fs::exists(state_ + "/registry"));
}

// A crash of the machine may tear the last write; whoever waited for it had no answer.
TEST_F(RegistryLoss, ATornEndThatNobodyWasToldOfIsDropped) {
  const std::string alive = dir_.path() + "/alive";
  {
    const auto store = RegistryStore::open(alive);
    ASSERT_TRUE(store);
    revoke(**store, 1, 5);
    fs::copy(alive, alive + ".before", fs::copy_options::recursive);
    revoke(**store, 6, 6);
    fs::copy(alive, alive + ".killed", fs::copy_options::recursive);
  }
  state_ = alive + ".torn";
  fs::copy_file(alive + ".before/registry.mark", alive + ".killed/registry.mark", fs::copy_options::overwrite_existing);
  fs::copy(alive + ".killed", state_, fs::copy_options::recursive);
  const std::string whole = bytes_of(log());
  for (const std::size_t missing : {1U, 20U}) {
    fs::remove_all(state_);
    fs::copy(alive + ".killed", state_, fs::copy_options::recursive);
    write_bytes(log(), whole.substr(0, whole.size() - missing));
    const auto store = RegistryStore::open(state_);
    ASSERT_TRUE(store) << store.error().what;
    EXPECT_TRUE((*store)->tail_dropped());
    EXPECT_EQ(tokens(**store), 5U);
    EXPECT_FALSE((*store)->loss());
  }
}

TEST_F(RegistryLoss, WhatIsAcceptedIsWrittenDownAndNeverGivenOutAgain) {
  const std::string whole = bytes_of(log());
  flip(log(), whole.size() / 2);
  {
    auto store = RegistryStore::open(state_, nullptr, OnLoss::Accept);
    ASSERT_TRUE(store) << store.error().what;
    ASSERT_TRUE((*store)->loss());
    EXPECT_EQ((*store)->loss()->answered, kChanges);
    EXPECT_LT((*store)->loss()->found, kChanges);
    EXPECT_GT((*store)->loss()->found, 0U);
    EXPECT_GE(tokens(**store), (*store)->loss()->found);  // what can be read behind the damage is kept, too
    EXPECT_GT((*store)->meta()->revision, kChanges);
    std::vector<AuditRecord> lines;
    ASSERT_TRUE((*store)->each_audit(INT64_MAX, [&](const AuditRecord& line) {
      lines.push_back(line);
      return true;
    }));
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0].action, "registry.accept-loss");
    EXPECT_EQ(lines[0].before, "revision 40");
    EXPECT_EQ(lines[0].after, "revision " + std::to_string((*store)->loss()->found));
  }
  const auto again = RegistryStore::open(state_);
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_FALSE((*again)->loss());
}

TEST_F(RegistryLoss, AMarkThatIsGoneDamagedOrOfAnotherRegistryRefusesTheStart) {
  const std::string whole = bytes_of(mark());
  fs::remove(mark());
  EXPECT_THAT(refusal(), HasSubstr("registry.mark is gone"));
  write_bytes(mark(), std::string(whole.size(), 'x'));
  EXPECT_THAT(refusal(), HasSubstr("registry.mark is damaged"));
  write_bytes(mark(), "");
  EXPECT_THAT(refusal(), HasSubstr("registry.mark is damaged"));
  live(dir_.path() + "/other");
  fs::copy_file(dir_.path() + "/other/registry.mark", mark(), fs::copy_options::overwrite_existing);
  EXPECT_THAT(refusal(), HasSubstr("is of another registry"));
  const auto store = RegistryStore::open(state_, nullptr, OnLoss::Accept);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(tokens(**store), kChanges);
}

TEST_F(RegistryLoss, ATornMarkLeavesTheOneBefore) {
  const std::string whole = bytes_of(mark());
  for (const std::size_t slot : {std::size_t{0}, std::size_t{4096}}) {
    write_bytes(mark(), whole);
    flip(mark(), slot + 20);
    const auto store = RegistryStore::open(state_);
    ASSERT_TRUE(store) << store.error().what;
    EXPECT_EQ(tokens(**store), kChanges);
  }
}

TEST_F(RegistryLoss, ADamagedTableIsNamedForWhatItIs) {
  std::vector<fs::path> tables;
  {
    const auto store = RegistryStore::open(state_);
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->flush());
  }
  for (const auto& file : fs::directory_iterator(state_ + "/registry")) {
    if (file.path().extension() == ".sst") tables.push_back(file.path());
  }
  ASSERT_FALSE(tables.empty());
  for (const fs::path& table : tables) {
    const std::string whole = bytes_of(table);
    flip(table, 10);
    const auto store = RegistryStore::open(state_);
    if (!store) {
      EXPECT_THAT(store.error().what, HasSubstr("is damaged: restore a backup"));
      EXPECT_THAT(store.error().what, HasSubstr(table.filename().string()));
    } else {
      const auto read = (*store)->each_token([](std::string_view, const TokenRow&) { return true; });
      EXPECT_FALSE(read);
    }
    write_bytes(table, whole);
  }
}

// Written before there were marks: it has no id and no mark. A start makes both; a damaged log is not believed.
TEST_F(RegistryLoss, ARegistryOfBeforeTheMarksGetsOne) {
  {
    std::vector<std::string> names;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, state_ + "/registry", &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) families[i].name = names[i];
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, state_ + "/registry", families, &handles, &db).ok());
    const std::unique_ptr<rocksdb::DB> closing(db);
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      if (handle->GetName() == "meta") {
        ASSERT_TRUE(db->Delete({}, handle, "store_id").ok());
        for (int i = 0; i < 20; ++i) ASSERT_TRUE(db->Put({}, handle, "code:" + std::to_string(i), "").ok());
        for (int i = 0; i < 20; ++i) ASSERT_TRUE(db->Delete({}, handle, "code:" + std::to_string(i)).ok());
      }
    }
    for (rocksdb::ColumnFamilyHandle* handle : handles) ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
  }
  fs::remove(mark());
  const std::string whole = bytes_of(log());
  flip(log(), whole.size() / 2);
  EXPECT_THAT(refusal(), HasSubstr("nothing says which changes were answered"));
  write_bytes(log(), whole);
  const auto store = RegistryStore::open(state_);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ(tokens(**store), kChanges);
  const auto read = RevisionMark::read(mark().string());
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->revision, kChanges);
}

TEST(RevisionMark, IsRaisedAndNeverLowered) {
  TempDir dir;
  const std::string path = dir.path() + "/mark";
  ASSERT_TRUE(RevisionMark::read(path));
  EXPECT_FALSE(*RevisionMark::read(path));
  auto mark = RevisionMark::make(path, {StoreId{7}, 3});
  ASSERT_TRUE(mark);
  for (const std::uint64_t revision : {4U, 9U, 5U, 9U}) ASSERT_TRUE(mark->raise(revision, revision % 2 == 0));
  EXPECT_EQ((*RevisionMark::read(path))->revision, 9U);
  EXPECT_EQ((*RevisionMark::read(path))->store, StoreId{7});
  auto again = RevisionMark::open(path, **RevisionMark::read(path));
  ASSERT_TRUE(again);
  ASSERT_TRUE(again->raise(10, true));
  EXPECT_EQ((*RevisionMark::read(path))->revision, 10U);
  EXPECT_EQ(bytes_of(path).substr(0, 16), "sallyport-mark-1");
}

}  // namespace
}  // namespace sallyport::test
