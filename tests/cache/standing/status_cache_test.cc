// The status cache: slots are whole or not there, through growth, removal and equal names, with one writer
// and many readers; and it stays small.
#include "cache/standing/status_cache.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <atomic>
#include <thread>

#include "cache/base/work_queue.h"

namespace sallyport {
namespace {

Digest digest_of(std::uint64_t n) {
  Digest digest{};
  SHA256(reinterpret_cast<const unsigned char*>(&n), sizeof n, digest.data());
  return digest;
}

DeviceKey key_of(const StatusCache& cache, std::uint64_t n) {
  return cache.key(issuer_serial("issuer", std::to_string(n)), digest_of(n));
}

// A state from which a reader can tell whether it belongs to the device it asked for.
SlotState state_of(std::uint64_t n) {
  return {static_cast<std::uint32_t>(n), static_cast<std::uint8_t>(1 + n % 4), static_cast<std::uint16_t>(n % 2'000)};
}

TEST(StatusCache, FindsWhatWasPutThroughGrowth) {
  StatusCache cache;
  constexpr std::uint64_t kDevices = 200'000;
  for (std::uint64_t n = 0; n < kDevices; ++n) cache.put(key_of(cache, n), state_of(n));
  cache.reclaim();
  EXPECT_EQ(cache.size(), kDevices);
  EXPECT_LE(cache.bytes() / kDevices, 80U) << "bytes a device";
  for (std::uint64_t n = 0; n < kDevices; ++n) {
    const auto found = cache.find(key_of(cache, n));
    ASSERT_TRUE(found) << n;
    EXPECT_EQ(found->chain, state_of(n).chain);
    EXPECT_EQ(found->status, state_of(n).status);
    EXPECT_EQ(found->seen_day, state_of(n).seen_day);
  }
  EXPECT_FALSE(cache.find(key_of(cache, kDevices)));
}

TEST(StatusCache, OneNameMayHaveSeveralFingerprints) {
  StatusCache cache;
  const IssuerSerial name = issuer_serial("issuer", "serial");
  for (std::uint64_t n = 0; n < 5; ++n) cache.put(cache.key(name, digest_of(n)), state_of(n));
  int seen = 0;
  cache.each_of_name(cache.key(name, {}).name, [&](const DeviceKey&, SlotState) { ++seen; });
  EXPECT_EQ(seen, 5);
  EXPECT_FALSE(cache.find(cache.key(name, digest_of(9))));
  cache.remove(cache.key(name, digest_of(2)));
  cache.remove(cache.key(name, digest_of(2)));
  EXPECT_EQ(cache.size(), 4U);
  EXPECT_FALSE(cache.find(cache.key(name, digest_of(2))));
  EXPECT_TRUE(cache.find(cache.key(name, digest_of(3)))) << "a removed slot does not end the search";
  cache.put(cache.key(name, digest_of(2)), state_of(2));
  EXPECT_TRUE(cache.find(cache.key(name, digest_of(2))));
}

TEST(StatusCache, NamesAndSerialsDoNotRunIntoEachOther) {
  EXPECT_NE(issuer_serial("ab", "c"), issuer_serial("a", "bc"));
  EXPECT_NE(issuer_serial("ab", ""), issuer_serial("a", "b"));
}

TEST(StatusCache, TwoProcessesHashDifferently) {
  const StatusCache one, other;
  EXPECT_NE(key_of(one, 1).name, key_of(other, 1).name);
  EXPECT_NE(key_of(one, 1).fingerprint_low, key_of(other, 1).fingerprint_low);
}

TEST(StatusCache, ReadersSeeWholeSlotsWhileTheWriterWrites) {
  StatusCache cache;
  constexpr std::uint64_t kDevices = 60'000;
  std::atomic<std::uint64_t> written{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  std::atomic<std::uint64_t> wrong{0}, looked{0};
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      std::uint64_t n = static_cast<std::uint64_t>(reader);
      while (!stop) {
        const std::uint64_t safe = written.load(std::memory_order_acquire);
        n = n * 6364136223846793005ULL + 1442695040888963407ULL;
        const std::uint64_t ask = n >> 33;
        if (safe == 0) continue;
        const auto found = cache.find(key_of(cache, ask % safe));
        if (!found || found->chain != static_cast<std::uint32_t>(ask % safe)) ++wrong;
        ++looked;
      }
    });
  }
  for (std::uint64_t n = 0; n < kDevices; ++n) {
    cache.put(key_of(cache, n), state_of(n));
    if (n % 3 == 0) cache.put(key_of(cache, n / 2), {static_cast<std::uint32_t>(n / 2), 2, 7});
    written.store(n + 1, std::memory_order_release);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_GT(looked, 0U);
  EXPECT_GT(cache.retired_bytes(), 0U);
  cache.reclaim();
  EXPECT_EQ(cache.retired_bytes(), 0U);
}

constexpr std::uint8_t kActive = 1, kInactive = 2, kPending = 3, kRevoked = 4;

TEST(StatusCache, EveryLossOfADeviceIsOfTheNextEpoch) {
  StatusCache cache;
  const DeviceKey device = key_of(cache, 1), other = key_of(cache, 2);
  const auto epoch_of = [&](const DeviceKey& key) { return cache.find(key)->epoch; };
  cache.put(device, {7, kPending, 3});
  cache.put(other, {7, kActive, 3});
  cache.put(device, {7, kActive, 3});
  cache.raise_epoch();
  EXPECT_EQ(cache.epoch(), 0U) << "nothing was lost";
  for (const std::uint8_t to : {kInactive, kPending, kRevoked}) {
    cache.put(device, {7, kActive, 3});
    EXPECT_EQ(cache.epoch_with(device, {7, to, 3}), cache.epoch() + 1);
    cache.put(device, {7, to, 3});
    const std::uint32_t lost_in = epoch_of(device);
    EXPECT_EQ(lost_in, cache.epoch() + 1) << "seen before the epoch is raised";
    cache.put(device, {7, kActive, 4});
    EXPECT_EQ(epoch_of(device), lost_in) << "gaining it again changes nothing";
    cache.raise_epoch();
    EXPECT_EQ(cache.epoch(), lost_in);
  }
  cache.put(device, {8, kActive, 4});
  EXPECT_EQ(epoch_of(device), 3U) << "another chain, which is no loss of its own";
  EXPECT_EQ(epoch_of(other), 0U);
  cache.remove(device);
  cache.raise_epoch();
  EXPECT_EQ(cache.epoch(), 4U);
  cache.put(device, {7, kActive, 0});
  EXPECT_EQ(epoch_of(device), 4U) << "forgotten and registered anew";
  EXPECT_EQ(cache.find(device)->chain, 7U);
}

// Epochs of several nodes: they rise by commits, here and elsewhere. What is lost here alone is lost in one that is
// ahead.
TEST(StatusCache, SharedEpochsRiseByCommitsAlone) {
  StatusCache cache;
  cache.share_epochs(100);
  const DeviceKey device = key_of(cache, 1), other = key_of(cache, 2);
  for (const DeviceKey& key : {device, other}) cache.put(key, {7, kActive, 3});
  cache.put(device, {7, kInactive, 3});
  cache.raise_epoch();
  EXPECT_EQ(cache.epoch(), 100U) << "nobody has committed it";
  EXPECT_EQ(cache.find(device)->epoch, 101U);
  EXPECT_TRUE(cache.losses().any);
  EXPECT_FALSE(cache.losses().of_chains);
  cache.committed(105);
  EXPECT_EQ(cache.epoch(), 100U) << "what was lost is not in force yet";
  cache.put(other, {7, kRevoked, 3});
  EXPECT_EQ(cache.find(other)->epoch, 105U) << "of that commit";
  cache.losses_written();
  cache.raise_epoch();
  EXPECT_EQ(cache.epoch(), 105U);
  EXPECT_FALSE(cache.losses().any);
  cache.lost_in(device, 104);
  EXPECT_EQ(cache.find(device)->epoch, 104U) << "also where nobody here saw it";
  cache.lost_in(device, 3);
  EXPECT_EQ(cache.find(device)->epoch, 104U);
  cache.forgotten_in(103);
  const DeviceKey late = key_of(cache, 3);
  cache.put(late, {7, kActive, 3});
  EXPECT_EQ(cache.find(late)->epoch, 103U);
  EXPECT_EQ(cache.lose(), 106U);
  EXPECT_TRUE(cache.losses().of_chains);
  cache.restore(late, {7, kActive, 3, 200});
  EXPECT_EQ(cache.find(late)->epoch, 200U) << "of a commit that has not come to its end here";
  cache.committed(50);
  cache.raise_epoch();
  EXPECT_EQ(cache.epoch(), 105U) << "never back";
}

TEST(StatusCache, SlotsKeepTheirEpochsThroughGrowth) {
  StatusCache cache;
  cache.begin(5'000'000);
  for (std::uint64_t n = 0; n < 5'000; ++n) {
    cache.restore(key_of(cache, n), {(1U << 22) - 1, kActive, 1'999, static_cast<std::uint32_t>(n * 1'000)});
  }
  for (std::uint64_t n = 0; n < 5'000; ++n) {
    const auto found = cache.find(key_of(cache, n));
    ASSERT_EQ(found->epoch, n * 1'000);
    ASSERT_EQ(found->chain, (1U << 22) - 1);
    ASSERT_EQ(found->seen_day, 1'999);
    ASSERT_TRUE(found->seen_on(1'999));
    ASSERT_TRUE(SlotState{.seen_day = found->seen_day}.seen_on(1'999 + 2'048 * 3));
    ASSERT_FALSE(found->seen_on(2'000));
  }
  cache.restore(key_of(cache, 1), {1, kActive, 0, 5'000'001});
  EXPECT_EQ(cache.find(key_of(cache, 1))->epoch, 0U) << "of a process none of whose tickets is honoured";
}

// Nothing wraps: who is lost in the last epoch is lost in it for ever, and nobody's ticket of it is honoured.
TEST(StatusCache, TheLastEpochIsNeverLeft) {
  StatusCache cache;
  cache.begin(StatusCache::kLastEpoch - 1);
  const DeviceKey device = key_of(cache, 1);
  for (int round = 0; round < 3; ++round) {
    cache.put(device, {7, kActive, 0});
    cache.put(device, {7, kInactive, 0});
    cache.raise_epoch();
    EXPECT_EQ(cache.epoch(), StatusCache::kLastEpoch);
    EXPECT_EQ(cache.find(device)->epoch, StatusCache::kLastEpoch);
    EXPECT_EQ(cache.find(device)->chain, 7U);
  }
}

// What a shard does beside the registrar: it reads the epoch, then the slot, and the slot says at last what was lost by
// then. A verdict of before a loss never says the epoch behind it.
TEST(StatusCache, NoVerdictOfBeforeALossSaysTheEpochBehindIt) {
  StatusCache cache;
  constexpr std::uint64_t kDevices = 50;
  for (std::uint64_t n = 0; n < kDevices; ++n) cache.put(key_of(cache, n), {1, kActive, 0});
  std::array<std::atomic<std::uint64_t>, kDevices> losses{};  // begun and ended: odd while one is under way
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0}, looked{0};
  std::vector<std::thread> readers;
  for (std::uint64_t reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      for (std::uint64_t n = reader; !stop; n = (n * 7 + 3) % kDevices) {
        const std::uint32_t epoch = cache.epoch();
        const auto then = cache.find(key_of(cache, n));
        const std::uint64_t before = losses[n].load();  // last: a loss of before it may be in what was read
        if (!then || then->status != kActive) continue;
        std::this_thread::yield();
        // A ticket of that verdict comes back, some losses later.
        const std::uint64_t since = losses[n].load();
        const auto now = cache.find(key_of(cache, n));
        const bool honoured = now && now->status == kActive && now->epoch <= epoch;
        const bool surely_lost = since / 2 > (before + 1) / 2;  // one that began and ended in between
        if (honoured && surely_lost) ++wrong;
        ++looked;
      }
    });
  }
  for (std::uint64_t round = 0; round < 20'000 || looked < 1'000; ++round) {
    const std::uint64_t n = round % kDevices;
    ++losses[n];
    if (round % 3 == 0) {
      cache.remove(key_of(cache, n));
    } else {
      cache.put(key_of(cache, n), {1, kInactive, 0});
    }
    if (round % 2 == 0) cache.raise_epoch();
    cache.put(key_of(cache, n), {1, kActive, 0});
    if (round % 2 != 0) cache.raise_epoch();
    ++losses[n];
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
}

TEST(StatusCache, NothingIsFreedWhileAVisitorIsInside) {
  StatusCache cache;
  for (std::uint64_t n = 0; n < 20'000; ++n) cache.put(key_of(cache, n), state_of(n));
  {
    const StatusCache::Visitor visitor(&cache);
    cache.reclaim();
    EXPECT_GT(cache.retired_bytes(), 0U);
  }
  cache.reclaim();
  EXPECT_EQ(cache.retired_bytes(), 0U);
}

TEST(SipHash, HasTheReferencesValues) {
  // The key 00..0f and the input 00..0e: the reference's own test vectors (SipHash paper, appendix A).
  const SipHash hash(0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL);
  std::vector<std::uint8_t> input(15);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(hash.hash64(input), 0xa129ca6149be45e5ULL);
  EXPECT_NE(hash.hash128(input).low, hash.hash64(input));
}

TEST(WorkQueue, KeepsTheOrderOfEveryProducer) {
  WorkQueue<std::pair<int, int>> queue;
  constexpr int kEach = 20'000;
  std::vector<std::thread> producers;
  for (int p = 0; p < 4; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < kEach; ++i) queue.push({p, i});
    });
  }
  std::vector<int> next(4);
  int total = 0;
  while (total < 4 * kEach) {
    for (const auto& [producer, number] : queue.take_all()) {
      EXPECT_EQ(number, next[static_cast<std::size_t>(producer)]++);
      ++total;
    }
  }
  for (std::thread& producer : producers) producer.join();
}

}  // namespace
}  // namespace sallyport
