#include "proxy/shard/address_limits.h"

#include <netinet/in.h>
#include <sys/random.h>

#include <algorithm>

#include "cache/base/check.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kSecondUs = 1'000'000;

}  // namespace

SipHash secret_hash() {
  std::array<std::uint64_t, 2> key{};
  CHECK(::getrandom(key.data(), sizeof key, 0) == sizeof key);
  return {key[0], key[1]};
}

AddressLimits::AddressLimits() : hash_(secret_hash()) {}

std::array<std::uint8_t, 9> client_network(const sockaddr_storage& peer) {
  std::array<std::uint8_t, 9> address{};
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    std::memcpy(address.data(), &v4.sin_addr, 4);
    address[8] = 4;
  } else if (peer.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(peer);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      std::memcpy(address.data(), &v6.sin6_addr.s6_addr[12], 4);
      address[8] = 4;
    } else {
      std::memcpy(address.data(), &v6.sin6_addr, 8);
      address[8] = 6;
    }
  }
  return address;
}

std::uint64_t AddressLimits::key_of(const sockaddr_storage& peer) const {
  return hash_.hash64(client_network(peer));
}

AddressLimits::Admission AddressLimits::enter(const sockaddr_storage& peer, std::uint64_t connections_max,
                                              std::uint64_t per_second_max, std::uint64_t now_us) {
  const std::uint64_t key = key_of(peer);
  Stripe& stripe = stripes_[key % kStripes];
  const std::lock_guard lock(stripe.mutex);
  if (stripe.entries.size() >= stripe.sweep_at) sweep(stripe, now_us);
  Entry& entry = stripe.entries[key];
  if (connections_max != 0 && entry.connections >= connections_max) return Admission::TooMany;
  if (per_second_max != 0) {
    const std::uint64_t spent_until = std::max(entry.spent_until_us, now_us) + kSecondUs / per_second_max;
    if (spent_until > now_us + kSecondUs) return Admission::TooFast;
    entry.spent_until_us = spent_until;
  }
  ++entry.connections;
  return Admission::Admitted;
}

void AddressLimits::leave(const sockaddr_storage& peer) {
  const std::uint64_t key = key_of(peer);
  Stripe& stripe = stripes_[key % kStripes];
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.entries.find(key);
  CHECK(found != stripe.entries.end() && found->second.connections > 0);
  // Kept for its rate: the next sweep takes it.
  --found->second.connections;
}

// Who has no connection and its whole allowance is forgotten. At most as often as entries have doubled.
void AddressLimits::sweep(Stripe& stripe, std::uint64_t now_us) {
  std::erase_if(stripe.entries, [now_us](const auto& item) {
    return item.second.connections == 0 && item.second.spent_until_us <= now_us;
  });
  stripe.sweep_at = std::max(kSweepFrom, stripe.entries.size() * 2);
}

std::size_t AddressLimits::addresses() const {
  std::size_t all = 0;
  for (const Stripe& stripe : stripes_) {
    const std::lock_guard lock(stripe.mutex);
    all += stripe.entries.size();
  }
  return all;
}

}  // namespace sallyport
