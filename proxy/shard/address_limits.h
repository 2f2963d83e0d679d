// How many connections each client address has at a listener, and how many new ones it made lately: what
// max_connections_per_ip and max_new_per_second_per_ip are held against, before TLS. One belongs to each listener
// and is shared by the shards, for one address reaches all of them. Any thread: an address belongs to one of many
// stripes, each under a lock of its own that is held for a look-up. An IPv6 client is its /64 (RFC 6177: what one
// site is given at least), or it would have 2^64 addresses to come from.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "cache/crypto/siphash.h"

namespace sallyport {

// Whose address it is, as bytes: an IPv4 address, or the /64 of an IPv6 one; the last byte tells the families apart.
std::array<std::uint8_t, 9> client_network(const sockaddr_storage& peer);
SipHash secret_hash();

class AddressLimits {
 public:
  enum class Admission : std::uint8_t { Admitted, TooMany, TooFast };

  AddressLimits();
  AddressLimits(const AddressLimits&) = delete;
  AddressLimits& operator=(const AddressLimits&) = delete;

  // Limits of 0 are none. An admitted connection counts until leave(), a refused one counts for nothing: who is
  // refused does not push the day of admission away. The rate allows one second's worth at once.
  Admission enter(const sockaddr_storage& peer, std::uint64_t connections_max, std::uint64_t per_second_max,
                  std::uint64_t now_us);
  void leave(const sockaddr_storage& peer);
  std::size_t addresses() const;  // that it remembers

 private:
  struct Entry {
    std::uint64_t connections = 0;
    std::uint64_t spent_until_us = 0;  // the rate's allowance is whole again then
  };
  struct Stripe {
    mutable std::mutex mutex;
    std::unordered_map<std::uint64_t, Entry> entries;  // by the address's hash: 64 bits under a secret
    std::size_t sweep_at = kSweepFrom;
  };
  static constexpr std::size_t kStripes = 64, kSweepFrom = 256;
  std::uint64_t key_of(const sockaddr_storage& peer) const;
  static void sweep(Stripe& stripe, std::uint64_t now_us);

  const SipHash hash_;  // nobody outside can make two addresses meet
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace sallyport
