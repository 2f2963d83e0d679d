// The keys of tickets: how long each lives, that its slot is wiped when it ends, and what a clock that is set does.
#include "proxy/tls/ticket_keys.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace sallyport {
namespace {

constexpr std::int64_t kHour = 3600, kDay = 24 * kHour, kStart = 1'000'000;

std::size_t held(const TicketKeys& keys) {
  std::size_t count = 0;
  for (std::size_t slot = 0; slot < TicketKeys::kSlots; ++slot) count += keys.wiped(slot) ? 0 : 1;
  return count;
}

// Both clocks go on alike.
void rotate(TicketKeys& keys, std::int64_t now) {
  keys.rotate(now, now - kStart);
}

TEST(TicketKeys, RotateHourlyAndEndWithTheirLastTicket) {
  TicketKeys keys(kStart);
  const auto first = keys.newest(kStart);
  ASSERT_TRUE(first);
  rotate(keys, kStart + 3599);
  EXPECT_EQ(keys.newest(kStart + 3599)->name, first->name);
  rotate(keys, kStart + 3600);
  EXPECT_NE(keys.newest(kStart + 3600)->name, first->name);
  EXPECT_TRUE(keys.find(first->name, kStart + kDay + kHour - 1)) << "its last ticket is a day old";
  EXPECT_FALSE(keys.find(first->name, kStart + kDay + kHour));
  EXPECT_FALSE(keys.newest(kStart + kDay + 2 * kHour)) << "nobody rotates";
}

TEST(TicketKeys, LiveAsLongAsTheLongestTickets) {
  TicketKeys keys(kStart);
  const auto first = keys.newest(kStart);
  keys.serve_tickets_of(7 * kDay);
  for (std::int64_t now = kStart; now < kStart + 7 * kDay + kHour; now += 600) {
    rotate(keys, now);
    ASSERT_TRUE(keys.find(first->name, now)) << (now - kStart) / kHour;
  }
  EXPECT_EQ(held(keys), 169U);
  rotate(keys, kStart + 7 * kDay + kHour);
  EXPECT_FALSE(keys.find(first->name, kStart + 7 * kDay + kHour));
  keys.serve_tickets_of(2 * kHour);
  rotate(keys, kStart + 7 * kDay + kHour);
  EXPECT_EQ(held(keys), 3U) << "a shorter life is in force at once";
  keys.serve_tickets_of(100 * kDay);
  EXPECT_FALSE(keys.newest(kStart + 14 * kDay + 3 * kHour)) << "RFC 8446, section 4.6.1";
}

TicketKey key_of(std::uint8_t digit, std::int64_t made_at) {
  TicketKey key;
  key.name.fill(digit);
  key.cipher.fill(digit);
  key.mac.fill(digit);
  key.made_at = made_at;
  return key;
}

TEST(TicketKeys, ThoseOfAllNodesAreInPlaceOfItsOwn) {
  TicketKeys keys(kStart);
  const auto own = keys.newest(kStart);
  const TicketKey first = key_of(1, kStart - kHour), second = key_of(2, kStart + 10);
  EXPECT_TRUE(keys.share(std::vector{first}, kStart)) << "its own opens nothing any more";
  EXPECT_FALSE(keys.find(own->name, kStart));
  EXPECT_EQ(keys.newest(kStart)->name, first.name);
  const auto endings = keys.endings();
  EXPECT_FALSE(keys.share(std::vector{second, first}, kStart));
  EXPECT_EQ(keys.endings(), endings) << "what is being opened goes on";
  EXPECT_TRUE(keys.find(second.name, kStart));
  EXPECT_EQ(keys.newest(kStart + 9)->name, first.name) << "all are to have it before it is used";
  EXPECT_EQ(keys.newest(kStart + 10)->name, second.name);
  EXPECT_TRUE(keys.share(std::vector{second}, kStart)) << "one was dropped";
  EXPECT_GT(keys.endings(), endings);
  EXPECT_FALSE(keys.find(first.name, kStart));
  EXPECT_EQ(keys.newest(kStart)->name, second.name) << "where there is no other, it is used at once";
}

TEST(TicketKeys, OneOfItsOwnIsMadeWhenNoneComes) {
  TicketKeys keys(kStart);
  const TicketKey shared = key_of(1, kStart);
  keys.share(std::vector{shared}, kStart);
  rotate(keys, kStart + kHour + TicketKeys::kOverdue - 1);
  EXPECT_EQ(keys.newest(kStart + kHour)->name, shared.name) << "another node makes it";
  rotate(keys, kStart + kHour + TicketKeys::kOverdue);
  EXPECT_NE(keys.newest(kStart + kHour + TicketKeys::kOverdue)->name, shared.name);
  EXPECT_TRUE(keys.find(shared.name, kStart + 2 * kHour));
  keys.share({}, kStart + 2 * kHour);
  EXPECT_FALSE(keys.find(shared.name, kStart + 2 * kHour));
  EXPECT_TRUE(keys.newest(kStart + 2 * kHour)) << "there is always one";
  keys.part();
  const auto last = keys.newest(kStart + 2 * kHour);
  rotate(keys, kStart + 3 * kHour);
  EXPECT_NE(keys.newest(kStart + 3 * kHour)->name, last->name);
}

TEST(TicketKeys, ASlotIsWipedWhenItsKeyEnds) {
  TicketKeys keys(kStart);
  for (std::int64_t hour = 0; hour <= 24; ++hour) rotate(keys, kStart + hour * kHour);
  EXPECT_EQ(held(keys), 25U);
  EXPECT_FALSE(keys.wiped(1));
  rotate(keys, kStart + 25 * kHour - 1);
  EXPECT_FALSE(keys.wiped(1));
  rotate(keys, kStart + 25 * kHour);
  EXPECT_TRUE(keys.wiped(1)) << "not when its slot is needed again, 150 hours later";
  EXPECT_EQ(held(keys), 25U);
  for (std::int64_t hour = 26; hour < 1'000; ++hour) rotate(keys, kStart + hour * kHour);
  EXPECT_EQ(held(keys), 25U) << "all around the ring";
}

TEST(TicketKeys, DroppedAtOnce) {
  TicketKeys keys(kStart);
  std::vector<TicketKey> before;
  for (std::int64_t hour = 0; hour < 5; ++hour) {
    rotate(keys, kStart + hour * kHour);
    before.push_back(*keys.newest(kStart + hour * kHour));
  }
  const std::int64_t now = kStart + 4 * kHour;
  keys.drop(now);
  EXPECT_EQ(held(keys), 1U);
  for (const TicketKey& key : before) EXPECT_FALSE(keys.find(key.name, now));
  const auto fresh = keys.newest(now);
  ASSERT_TRUE(fresh);
  EXPECT_TRUE(keys.find(fresh->name, now));
  const std::array<std::uint8_t, 16> nothing{};
  EXPECT_FALSE(keys.find(nothing, now)) << "a slot that was wiped is no key";
}

TEST(TicketKeys, AClockThatIsSetBackEndsThemAll) {
  TicketKeys keys(kStart);
  rotate(keys, kStart);
  const auto first = keys.newest(kStart);
  keys.rotate(kStart + 100 - 60, 100);  // slewed, or a thread that looks late
  EXPECT_TRUE(keys.find(first->name, kStart + 40));
  keys.rotate(kStart + 200 - 61, 200);
  EXPECT_FALSE(keys.find(first->name, kStart + 139)) << "its age cannot be told";
  EXPECT_EQ(held(keys), 1U);
  const auto second = keys.newest(kStart + 139);
  ASSERT_TRUE(second);
  for (std::int64_t by = 10; by <= 60; by += 10) keys.rotate(kStart + 139 + by, 200 + 2 * by);
  EXPECT_TRUE(keys.find(second->name, kStart + 199)) << "60 s in all";
  keys.rotate(kStart + 139 + 70, 200 + 140);
  EXPECT_FALSE(keys.find(second->name, kStart + 209)) << "by little and little";
  const auto third = keys.newest(kStart + 209);
  keys.rotate(kStart + 500, 345);
  EXPECT_TRUE(keys.find(third->name, kStart + 500)) << "forward ends only what is too old then";
}

TEST(TicketKeys, OfAnotherProcessGoOnForTheRestOfTheirLives) {
  TicketKeys before(kStart);
  for (std::int64_t hour = 0; hour < 10; ++hour) rotate(before, kStart + hour * kHour);
  const std::int64_t stopped = kStart + 9 * kHour, started = kStart + 20 * kHour + kHour / 2;
  const std::vector<TicketKey> kept = before.alive(stopped);
  ASSERT_EQ(kept.size(), 10U);
  TicketKeys after(started);
  const auto own = after.newest(started);
  after.adopt(kept, started);
  EXPECT_FALSE(after.find(own->name, started));
  EXPECT_EQ(held(after), 11U);
  for (const TicketKey& key : kept) {
    const auto found = after.find(key.name, started);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->cipher, key.cipher);
    EXPECT_EQ(found->mac, key.mac);
    EXPECT_EQ(found->made_at, key.made_at);
    EXPECT_NE(after.newest(started)->name, key.name) << "nothing is sealed with it any more";
  }
  rotate(after, kStart + 25 * kHour);
  EXPECT_FALSE(after.find(kept.back().name, kStart + 25 * kHour)) << "the oldest";
  TicketKeys late(kStart + 30 * kHour);
  late.adopt(kept, kStart + 30 * kHour);
  EXPECT_EQ(held(late), 5U) << "those of the last 25 hours, and its own";
  TicketKeys early(kStart);
  early.adopt(kept, kStart);
  EXPECT_EQ(held(early), 2U) << "none of the future";
}

TEST(TicketKeys, ShardsFindThemWhileTheyChange) {
  TicketKeys keys(kStart);
  std::atomic<std::int64_t> now{kStart};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> found{0}, wrong{0};
  std::vector<std::thread> shards;
  for (int shard = 0; shard < 3; ++shard) {
    shards.emplace_back([&] {
      while (!stop) {
        const auto key = keys.newest(now);
        if (!key) continue;
        const auto again = keys.find(key->name, now);
        if (!again) continue;  // dropped meanwhile
        ++found;
        if (again->cipher != key->cipher || again->mac != key->mac || again->made_at != key->made_at) ++wrong;
      }
    });
  }
  for (int round = 0; round < 3'000 || found < 1'000; ++round) {
    now += kHour;
    rotate(keys, now);
    if (round % 50 == 0) keys.drop(now);
    if (round % 70 == 0) keys.serve_tickets_of(round % 140 == 0 ? 7 * kDay : kDay);
  }
  stop = true;
  for (std::thread& shard : shards) shard.join();
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace sallyport
