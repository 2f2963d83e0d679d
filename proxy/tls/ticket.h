// What a TLS ticket of ours carries (README.md): who the device is and where the ticket may be used, never
// its certificate. Standing is not in it: that is looked up when it comes back. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/x509/identity.h"

namespace sallyport {

struct Ticket {
  std::string listener;
  bool mutual = false;
  std::uint64_t chain_id = 0;        // 0: the device was not registered yet
  std::optional<Identity> identity;  // of a mutual listener's device
};

inline constexpr std::size_t kTicketLimit = 2048;

// Empty where it would be larger than the limit: such a ticket is never honoured.
std::string encode_ticket(const Ticket& ticket);
// Nothing for what is not exactly one of ours.
std::optional<Ticket> decode_ticket(std::string_view bytes);

}  // namespace sallyport
