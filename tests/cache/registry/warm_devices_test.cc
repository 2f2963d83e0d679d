// The start's reading of all devices by several threads: each device once, nothing left out, and a registry that is
// damaged refused.
#include "cache/registry/warm_devices.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "cache/crypto/sha2.h"
#include "tests/cache/test_pki.h"

namespace sallyport {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNow = 1'800'000'000;
constexpr std::uint64_t kDevices = 5'000;
enum Chain : std::uint64_t { kChain = 1, kOtherChain = 2, kForgotten = 3, kOfCrl = 4 };

Digest id_of(std::uint64_t device) {
  Sha256 hash;
  hash.add(std::string_view(reinterpret_cast<const char*>(&device), sizeof device));
  return hash.of_all();
}

IssuerSerial name_of(std::uint64_t device) {
  return issuer_serial("issuer", std::to_string(device));
}

DeviceRow row_of(std::uint64_t device) {
  DeviceRow row;
  row.status = static_cast<DeviceStatus>(1 + device % 4);
  row.chain = device % 3 == 0 ? kOtherChain : kChain;
  row.seen_day = static_cast<std::uint16_t>(device % 2'000);
  row.not_after = kNow + static_cast<std::int64_t>(device % 10) * 86400;
  row.name = name_of(device);
  return row;
}

struct WarmDevices : ::testing::Test {
  WarmDevices() {
    open();
    for (const Chain id : {kChain, kOtherChain, kForgotten, kOfCrl}) {
      ChainRecord record;
      record.cas = {id_of(id)};
      chains.add(id, record);
    }
    chains.forget(kForgotten, 0);
  }

  void open() {
    store.reset();
    auto opened = RegistryStore::open(folder.path() + "/state");
    ASSERT_TRUE(opened) << opened.error().what;
    store = std::move(*opened);
  }
  void write(const Digest& id, const DeviceRow& row) { store->put_device(batch, id, row); }
  void write_all() {
    for (std::uint64_t device = 0; device < kDevices; ++device) write(id_of(device), row_of(device));
  }
  Answer<DeviceTally> warm(unsigned threads) {
    EXPECT_TRUE(store->commit(batch, Durable::Answered));
    return warm_devices(*store, chains, cache, kNow, threads);
  }
  std::optional<SlotState> find(std::uint64_t device) const {
    return cache.find(cache.key(name_of(device), id_of(device)));
  }

  test::TempDir folder;
  std::unique_ptr<RegistryStore> store;
  RegistryStore::Batch batch;
  ChainTable chains;
  StatusCache cache;
};

struct WarmDevicesByThreads : WarmDevices, ::testing::WithParamInterface<unsigned> {};

TEST_P(WarmDevicesByThreads, EachIsInTheCacheAndCountedOnce) {
  write_all();
  const auto tally = warm(GetParam());
  ASSERT_TRUE(tally) << tally.error().what;
  EXPECT_EQ(cache.size(), kDevices);
  DeviceTally expected;
  for (std::uint64_t device = 0; device < kDevices; ++device) {
    const DeviceRow row = row_of(device);
    const auto state = find(device);
    ASSERT_TRUE(state) << device;
    EXPECT_EQ(state->status, static_cast<std::uint8_t>(row.status));
    EXPECT_EQ(state->chain, row.chain);
    EXPECT_EQ(state->seen_day, row.seen_day);
    ++expected.by_chain[row.chain].by_status[static_cast<std::size_t>(row.status)];
    if (row.status != DeviceStatus::Revoked) ++expected.by_last_day[row.not_after / 86400];
  }
  EXPECT_EQ(tally->by_last_day, expected.by_last_day);
  ASSERT_EQ(tally->by_chain.size(), 2U);
  for (const auto& [chain, counts] : expected.by_chain) {
    EXPECT_EQ(tally->by_chain.at(chain).by_status, counts.by_status) << chain;
    EXPECT_EQ(tally->by_chain.at(chain).held_unseen, 0U) << chain;
  }
}

TEST_P(WarmDevicesByThreads, ARowThatCannotBeReadIsARefusal) {
  write_all();
  DeviceRow damaged = row_of(77);
  damaged.status = static_cast<DeviceStatus>(0);
  write(id_of(77), damaged);
  const auto tally = warm(GetParam());
  ASSERT_FALSE(tally);
  EXPECT_EQ(tally.error().kind, Refusal::Kind::Unavailable);
  EXPECT_EQ(tally.error().what, "the registry holds a device that cannot be read: restore a backup");
}

INSTANTIATE_TEST_SUITE_P(Threads, WarmDevicesByThreads, ::testing::Values(1U, 2U, 8U));

TEST_F(WarmDevices, AnEmptyRegistryIsNoDevices) {
  const auto tally = warm(2);
  ASSERT_TRUE(tally);
  EXPECT_TRUE(tally->by_chain.empty());
  EXPECT_EQ(cache.size(), 0U);
}

TEST_F(WarmDevices, OfAForgottenChainOnlyRevokedOnesInTheirDatesAreKept) {
  DeviceRow row = row_of(0);
  row.chain = kForgotten;
  row.not_after = kNow;
  row.status = DeviceStatus::Active;
  write(id_of(1), row);
  row.status = DeviceStatus::Revoked;
  row.name = name_of(2);
  write(id_of(2), row);
  row.not_after = kNow - 1;
  row.name = name_of(3);
  write(id_of(3), row);
  const auto tally = warm(2);
  ASSERT_TRUE(tally);
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_TRUE(find(2));
  EXPECT_EQ(tally->by_chain.at(kForgotten).by_status, (std::array<std::uint64_t, 5>{0, 0, 0, 0, 1}));
}

TEST_F(WarmDevices, SerialsOnHoldThatNobodyHasShownAreCountedApart) {
  DeviceRow row = row_of(0);
  row.chain = kOfCrl;
  row.registered_by = RegisteredBy::Crl;
  row.not_after = INT64_MAX;
  row.status = DeviceStatus::Inactive;
  write(id_of(1), row);
  row.status = DeviceStatus::Revoked;
  write(id_of(2), row);
  const auto tally = warm(2);
  ASSERT_TRUE(tally);
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(tally->by_chain.at(kOfCrl).held_unseen, 1U) << "a revoked one is on hold no more";
  EXPECT_TRUE(tally->by_last_day.empty()) << "nobody knows when they expire";
}

// Who can have certificates signed could have them begin alike.
TEST_F(WarmDevices, IdsThatBeginAlikeDoNotMakeTheCacheLarger) {
  for (std::uint64_t device = 0; device < kDevices; ++device) {
    Digest id = id_of(device);
    id[0] = 0;
    write(id, row_of(device));
  }
  const std::size_t empty = cache.bytes();
  ASSERT_TRUE(warm(2));
  EXPECT_EQ(cache.size(), kDevices);
  EXPECT_LE((cache.bytes() - empty) / kDevices, 80U) << "bytes a device";
  EXPECT_EQ(cache.retired_bytes(), 0U) << "what it outgrew is given back";
}

// One byte of the files changes: a checksum finds it, and no device is silently left out.
TEST_F(WarmDevices, ADamagedFileIsARefusal) {
  write_all();
  ASSERT_TRUE(store->commit(batch, Durable::Answered));
  open();  // what the log held is in a table now
  open();
  store.reset();
  bool damaged = false;
  for (const auto& entry : fs::directory_iterator(folder.path() + "/state/registry")) {
    if (entry.path().extension() != ".sst" || entry.file_size() < kDevices * 40) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(entry.file_size() / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get());
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 1));
    damaged = true;
  }
  ASSERT_TRUE(damaged);
  open();
  const auto tally = warm_devices(*store, chains, cache, kNow, 2);
  ASSERT_FALSE(tally);
  EXPECT_EQ(tally.error().kind, Refusal::Kind::Unavailable);
  EXPECT_NE(tally.error().what.find("the registry cannot be read: Corruption"), std::string::npos)
      << tally.error().what;
}

}  // namespace
}  // namespace sallyport
