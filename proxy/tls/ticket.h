// What a TLS ticket of ours carries (README.md): who the device is, when it has proven that, and where the ticket may
// be used; never its certificate. Standing is not in it: that is looked up when it comes back. Pure.
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
  std::string server_name;            // what the client asked for (RFC 6066, section 3), in lower case; empty: nothing
  std::int64_t authenticated_at = 0;  // Unix seconds: the last full handshake, of which this ticket is, or of which the
                                      // one is that was resumed
  std::uint32_t epoch = 0;            // Verdict::epoch: a loss of standing since makes it worthless
  std::uint64_t chain_id = 0;         // 0: the device was not registered yet
  std::optional<Identity> identity;   // of a mutual listener's device
};

// What became of the ticket that a client offered.
enum class TicketFate : std::uint8_t {
  None,        // it offered none
  Resumed,     // the handshake stands on it
  UnknownKey,  // no key opens it: too old, issued before the keys were dropped or lost, or not one of ours
  TooOld,      // its lifetime, or `resumption_max_age` since its last full handshake, has passed
  OtherName,   // of another listener, mode or server name
  NoStanding,  // its device is not in good standing, or lost it since
};

inline constexpr std::size_t kTicketLimit = 2048;

// Empty where it would be larger than the limit: such a ticket is never honoured.
std::string encode_ticket(const Ticket& ticket);
// Nothing for what is not exactly one of ours.
std::optional<Ticket> decode_ticket(std::string_view bytes);

}  // namespace sallyport
