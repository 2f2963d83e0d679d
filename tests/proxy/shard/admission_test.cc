// Who may come in and whose turn it is: limits of an address, the order of handshakes, the glance at a ClientHello.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <atomic>
#include <thread>
#include <vector>

#include "proxy/session/session.h"
#include "proxy/shard/address_limits.h"
#include "proxy/shard/device_sessions.h"
#include "proxy/shard/handshake_queue.h"
#include "proxy/shard/rate_table.h"
#include "proxy/shard/refusal_log.h"
#include "proxy/shard/seen_table.h"
#include "proxy/tls/client_hello.h"

namespace sallyport {
namespace {

using Admission = AddressLimits::Admission;
using Rank = HandshakeQueue::Rank;
constexpr std::uint64_t kSecond = 1'000'000;

sockaddr_storage address(const char* text) {
  sockaddr_storage made{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(made);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(made);
  if (::inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
    made.ss_family = AF_INET;
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, text, &v6.sin6_addr), 1) << text;
    made.ss_family = AF_INET6;
  }
  return made;
}

TEST(AddressLimits, ConnectionsAreCountedUntilTheyLeave) {
  AddressLimits limits;
  const auto peer = address("192.0.2.1"), other = address("192.0.2.2");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limits.enter(peer, 3, 0, 0), Admission::Admitted);
  EXPECT_EQ(limits.enter(peer, 3, 0, 0), Admission::TooMany);
  EXPECT_EQ(limits.enter(other, 3, 0, 0), Admission::Admitted);
  limits.leave(peer);
  EXPECT_EQ(limits.enter(peer, 3, 0, 0), Admission::Admitted);
  EXPECT_EQ(limits.enter(peer, 3, 0, 0), Admission::TooMany);
  EXPECT_EQ(limits.enter(peer, 4, 0, 0), Admission::Admitted) << "a raised limit counts at once";
}

TEST(AddressLimits, TheRateAllowsASecondsWorthAndThenThatManyASecond) {
  AddressLimits limits;
  const auto peer = address("192.0.2.1");
  std::uint64_t now = 50 * kSecond;
  int admitted = 0;
  for (int i = 0; i < 100; ++i) admitted += limits.enter(peer, 0, 10, now) == Admission::Admitted ? 1 : 0;
  EXPECT_EQ(admitted, 10);
  EXPECT_EQ(limits.enter(peer, 0, 10, now), Admission::TooFast);
  // Refusals cost no allowance: ten seconds of hammering admit ten a second.
  admitted = 0;
  for (int i = 0; i < 1000; ++i)
    admitted += limits.enter(peer, 0, 10, now += kSecond / 100) == Admission::Admitted ? 1 : 0;
  EXPECT_EQ(admitted, 100);
  EXPECT_EQ(limits.enter(address("192.0.2.9"), 0, 10, now), Admission::Admitted);
}

TEST(DeviceSessions, ACertificateHasSoManyWhateverItsAddresses) {
  DeviceSessions sessions;
  const Digest device{1}, other{2};
  using enum DevicePlace;
  EXPECT_EQ(sessions.enter(device, 2), Taken);
  EXPECT_EQ(sessions.enter(device, 2), Taken);
  for (unsigned i = 0; i < DeviceSessions::kToBeTold; ++i) EXPECT_EQ(sessions.enter(device, 2), ToBeTold);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(sessions.enter(device, 2), Refused) << "nobody waits without a bound";
  EXPECT_EQ(sessions.enter(other, 2), Taken);
  sessions.leave(device, Taken);
  EXPECT_EQ(sessions.enter(device, 2), Taken) << "who waits to be told takes no place";
  EXPECT_EQ(sessions.enter(device, 3), Taken) << "a raised limit counts at once";
  EXPECT_EQ(sessions.enter(device, 0), Taken) << "no limit, and counted all the same";
  for (int i = 0; i < 4; ++i) sessions.leave(device, Taken);
  for (unsigned i = 0; i < DeviceSessions::kToBeTold; ++i) sessions.leave(device, ToBeTold);
  sessions.leave(device, Refused);
  sessions.leave(other, Taken);
  EXPECT_EQ(sessions.devices(), 0U) << "who has none is forgotten";
}

TEST(DeviceSessions, NoTwoShardsPassTheLimitTogether) {
  DeviceSessions sessions;
  std::atomic<int> inside{0}, most{0}, taken{0};
  std::vector<std::thread> shards;
  for (int i = 0; i < 4; ++i) {
    shards.emplace_back([&] {
      for (int n = 0; n < 20'000; ++n) {
        const Digest device{static_cast<std::uint8_t>(n % 2)};
        const DevicePlace place = sessions.enter(device, 1);
        if (place == DevicePlace::Taken && n % 2 == 0) {
          const int now = ++inside;
          if (now > most) most = now;
          ++taken;
          --inside;
        }
        sessions.leave(device, place);
      }
    });
  }
  for (std::thread& shard : shards) shard.join();
  EXPECT_EQ(most, 1);
  EXPECT_GT(taken, 0);
  EXPECT_EQ(sessions.devices(), 0U);
}

TEST(DeviceSessions, OneCertificateInTwoPlacesIsAClone) {
  DeviceSessions sessions;
  const Digest device{1}, other{2};
  const auto here = address("192.0.2.1"), there = address("192.0.2.2");
  for (int i = 0; i < 5; ++i) sessions.enter(device, 0);
  sessions.enter(other, 0);
  DeviceUse first, same, elsewhere, renamed, refused, others;
  EXPECT_FALSE(sessions.use(device, here, "a", false, first));
  EXPECT_FALSE(sessions.use(device, here, "a", true, same)) << "its last connection is not yet known to be dead";
  EXPECT_FALSE(sessions.use(other, there, "b", true, others));
  EXPECT_FALSE(sessions.cloned(device));
  EXPECT_TRUE(sessions.use(device, there, "a", true, refused));
  EXPECT_EQ(refused.order, 0U);
  EXPECT_FALSE(sessions.cloned(device)) << "who was refused is no second place";
  EXPECT_TRUE(sessions.use(device, there, "a", false, elsewhere));
  EXPECT_TRUE(sessions.cloned(device));
  EXPECT_TRUE(sessions.use(device, here, "z", false, renamed));
  EXPECT_LT(first.order, elsewhere.order);
  EXPECT_LT(elsewhere.order, renamed.order);
  EXPECT_FALSE(first.same(elsewhere));
  EXPECT_FALSE(first.same(renamed));
  sessions.unuse(device, first);
  sessions.unuse(device, same);
  EXPECT_TRUE(sessions.cloned(device)) << "two of the newer ones are left";
  sessions.unuse(device, elsewhere);
  EXPECT_FALSE(sessions.cloned(device));
  DeviceUse again;
  EXPECT_TRUE(sessions.use(device, there, "a", true, again)) << "the one that is left differs, wherever it is kept";
  EXPECT_FALSE(sessions.use(device, here, "z", true, again));
  sessions.unuse(device, again);
  sessions.unuse(device, renamed);
  EXPECT_FALSE(sessions.use(device, there, "a", true, again));
  sessions.unuse(device, again);
  sessions.unuse(other, others);
  for (int i = 0; i < 5; ++i) sessions.leave(device, DevicePlace::Taken);
  sessions.leave(other, DevicePlace::Taken);
  EXPECT_EQ(sessions.devices(), 0U);
}

TEST(DeviceSessions, AnIpv6SiteIsOnePlace) {
  DeviceSessions sessions;
  const Digest device{1};
  for (int i = 0; i < 3; ++i) sessions.enter(device, 0);
  DeviceUse use;
  EXPECT_FALSE(sessions.use(device, address("2001:db8:1:2::1"), "a", true, use));
  EXPECT_FALSE(sessions.use(device, address("2001:db8:1:2:ffff::7"), "a", true, use));
  EXPECT_TRUE(sessions.use(device, address("2001:db8:1:3::1"), "a", true, use));
}

TEST(RateTable, AllowsAPeriodsWorthAndThenThatManyAPeriod) {
  RateTable table;
  constexpr std::uint64_t kMinute = 60 * kSecond;
  std::uint64_t now = 1'000 * kSecond;
  int admitted = 0;
  for (int i = 0; i < 100; ++i) admitted += table.take(4711, 6, kMinute, now) ? 1 : 0;
  EXPECT_EQ(admitted, 6);
  EXPECT_TRUE(table.take(4712, 6, kMinute, now)) << "each by itself";
  admitted = 0;
  for (int i = 0; i < 60 * 100; ++i) admitted += table.take(4711, 6, kMinute, now += kSecond / 10) ? 1 : 0;
  EXPECT_EQ(admitted, 60) << "ten minutes of hammering admit six a minute: refusals spend nothing";
  now += kMinute;
  admitted = 0;
  for (int i = 0; i < 100; ++i) admitted += table.take(4711, 6, kMinute, now) ? 1 : 0;
  EXPECT_EQ(admitted, 6);
}

TEST(RateTable, IsOfFixedSizeAndForgetsWhoIsFarthestFromTheLimit) {
  RateTable table;
  constexpr std::uint64_t kMinute = 60 * kSecond;
  const std::uint64_t now = 1'000 * kSecond;
  const auto in_one_set = [](std::uint64_t n) { return n * RateTable::kStripes * RateTable::kSets; };
  for (int i = 0; i < 10; ++i) table.take(in_one_set(1), 10, kMinute, now);
  for (std::uint64_t n = 2; n < 1'000; ++n) EXPECT_TRUE(table.take(in_one_set(n), 10, kMinute, now));
  EXPECT_FALSE(table.take(in_one_set(1), 10, kMinute, now)) << "a thousand strangers do not free who hammers";
  // Of 8,192 that are active at once next to nobody is forgotten, and nobody is refused too early.
  RateTable busy;
  std::uint64_t state = 1, refused = 0, too_early = 0;
  std::vector<std::uint64_t> keys;
  for (int i = 0; i < 8'192; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    keys.push_back(state ^ state >> 29);
  }
  for (int round = 0; round < 3; ++round) {
    for (const std::uint64_t key : keys) {
      const bool taken = busy.take(key, 2, kMinute, now);
      if (round < 2 && !taken) ++too_early;
      if (round == 2 && !taken) ++refused;
    }
  }
  EXPECT_EQ(too_early, 0U);
  EXPECT_GT(refused, 8'192U - 100);
}

// A flood of one reason leaves a hundred lines and then ten a second; every other one is counted, and of the other
// reasons and listeners nothing is lost.
TEST(SeenTable, KnowsTheSecondAndForgetsTheOldest) {
  SeenTable table;
  EXPECT_EQ(table.last(7), 0);
  table.saw(7, 1000);
  EXPECT_EQ(table.last(7), 1000);
  EXPECT_EQ(table.last(7 + SeenTable::kStripes * SeenTable::kSets), 0) << "another one of its set";
  table.saw(7, 1005);
  EXPECT_EQ(table.last(7), 1005);
  table.saw(0, 5);
  EXPECT_EQ(table.last(0), 5) << "a device whose hash is 0";
  // Eight more of the same set: the one that was not seen for longest goes, and each other stays.
  const std::uint64_t step = SeenTable::kStripes * SeenTable::kSets;
  for (std::uint64_t i = 1; i <= SeenTable::kWays; ++i) table.saw(7 + i * step, static_cast<std::int64_t>(2000 + i));
  EXPECT_EQ(table.last(7), 0);
  for (std::uint64_t i = 1; i <= SeenTable::kWays; ++i) {
    EXPECT_EQ(table.last(7 + i * step), static_cast<std::int64_t>(2000 + i));
  }
}

TEST(RefusalLog, AFloodIsSampledAndWhatWasLeftOutIsCounted) {
  RefusalLog log(2);
  std::uint64_t now = 77 * kSecond, written = 0, left_out = 0;
  for (int i = 0; i < 500; ++i) written += log.wants(1, Reason::CaUnknown, now) ? 1 : 0;
  EXPECT_EQ(written, RefusalLog::kAtOnce);
  EXPECT_TRUE(log.wants(1, Reason::TlsError, now));
  EXPECT_TRUE(log.wants(0, Reason::CaUnknown, now));
  auto taken = log.take_left_out();
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].listener, 1U);
  EXPECT_EQ(taken[0].reason, Reason::CaUnknown);
  EXPECT_EQ(taken[0].count, 500 - RefusalLog::kAtOnce);
  EXPECT_TRUE(log.take_left_out().empty());
  written = 0;
  for (int i = 0; i < 10'000; ++i) written += log.wants(1, Reason::CaUnknown, now += kSecond / 1000) ? 1 : 0;
  EXPECT_EQ(written, 10 * RefusalLog::kPerSecond);
  for (const auto& kind : log.take_left_out()) left_out += kind.count;
  EXPECT_EQ(left_out + written, 10'000U);
  now += 10 * kSecond;
  EXPECT_TRUE(log.wants(1, Reason::CaUnknown, now));
  EXPECT_TRUE(log.take_left_out().empty());
}

TEST(AddressLimits, AnIpv6ClientIsItsNetworkAndAMappedAddressIsIpv4) {
  AddressLimits limits;
  EXPECT_EQ(limits.enter(address("2001:db8:1:2::1"), 1, 0, 0), Admission::Admitted);
  EXPECT_EQ(limits.enter(address("2001:db8:1:2:ffff::7"), 1, 0, 0), Admission::TooMany);
  EXPECT_EQ(limits.enter(address("2001:db8:1:3::1"), 1, 0, 0), Admission::Admitted);
  EXPECT_EQ(limits.enter(address("192.0.2.1"), 1, 0, 0), Admission::Admitted);
  EXPECT_EQ(limits.enter(address("::ffff:192.0.2.1"), 1, 0, 0), Admission::TooMany);
}

TEST(AddressLimits, WhoLeftIsForgotten) {
  AddressLimits limits;
  std::uint64_t now = kSecond;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    sockaddr_storage peer{};
    peer.ss_family = AF_INET;
    reinterpret_cast<sockaddr_in&>(peer).sin_addr.s_addr = htonl(0x0A000000U + i);
    ASSERT_EQ(limits.enter(peer, 1, 1, now), Admission::Admitted);
    limits.leave(peer);
    now += kSecond / 1000;
  }
  EXPECT_LT(limits.addresses(), 64U * 2 * 256) << "who came in the last second, and what no sweep has met yet";
}

TEST(AddressLimits, ShardsShareThem) {
  AddressLimits limits;
  const auto peer = address("192.0.2.1");
  std::atomic<int> admitted{0};
  std::vector<std::thread> shards;
  for (int shard = 0; shard < 4; ++shard) {
    shards.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) admitted += limits.enter(peer, 100, 0, 0) == Admission::Admitted ? 1 : 0;
    });
  }
  for (std::thread& shard : shards) shard.join();
  EXPECT_EQ(admitted, 100);
}

TEST(HandshakeQueue, IsInOrderWhileItIsShort) {
  HandshakeQueue queue;
  std::vector<Session> sessions(3);
  queue.push(sessions[0], Rank::Fresh);
  queue.push(sessions[1], Rank::Ticket);
  queue.push(sessions[2], Rank::Underway);
  for (Session& session : sessions) EXPECT_EQ(&queue.pop(), &session);
  EXPECT_TRUE(queue.empty());
}

TEST(HandshakeQueue, PrefersTicketsThenWhatIsUnderwayWhenItIsLong) {
  HandshakeQueue queue;
  std::vector<Session> fresh(40), underway(40), tickets(40);
  for (Session& session : fresh) queue.push(session, Rank::Fresh);
  for (Session& session : underway) queue.push(session, Rank::Underway);
  for (Session& session : tickets) queue.push(session, Rank::Ticket);
  const auto is_of = [](std::vector<Session>& all, Session& one) {
    return &one >= all.data() && &one < all.data() + all.size();
  };
  int of_tickets = 0, of_fresh = 0;
  for (int i = 0; i < 40; ++i) {
    Session& next = queue.pop();
    of_tickets += is_of(tickets, next) ? 1 : 0;
    of_fresh += is_of(fresh, next) ? 1 : 0;
    EXPECT_FALSE(is_of(underway, next)) << "the oldest, every fourth time, are those who came first";
  }
  EXPECT_EQ(of_tickets, 30);
  EXPECT_EQ(of_fresh, 10);
  std::size_t rest = 0;
  for (; !queue.empty(); ++rest) queue.pop();
  EXPECT_EQ(rest, 80U) << "nobody is lost";
}

TEST(ClientHello, WhatIsNoneOffersNoTicket) {
  EXPECT_TRUE(offered_ticket({}).first.ticket.empty());
  const std::uint8_t http[] = "GET / HTTP/1.1\r\n\r\n";
  EXPECT_TRUE(offered_ticket(http).first.ticket.empty());
  const std::vector<std::uint8_t> ones(4096, 0x16);
  EXPECT_TRUE(offered_ticket(ones).first.ticket.empty());
}

}  // namespace
}  // namespace sallyport
