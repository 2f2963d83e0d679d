// A glance at a ClientHello before OpenSSL sees it: the name of the ticket key it offers, if it offers a ticket. It
// only decides whose turn comes first when many wait; what a ticket is worth is decided in the handshake. Never
// fails: whatever is not the beginning of a ClientHello offers none.
#pragma once

#include <cstdint>
#include <span>

namespace sallyport {

// The first 16 bytes of the first ticket: of pre_shared_key (RFC 8446, section 4.2.11), or of session_ticket
// (RFC 5077, section 3.2; its recommended structure begins with the key's name). Empty: none. `bytes`: what the
// client sent so far, from its first TLS record on; the answer points into it.
std::span<const std::uint8_t> offered_ticket_key(std::span<const std::uint8_t> bytes);

}  // namespace sallyport
