// Which rank a ClientHello has among those that wait (handshake_queue.h). On its shard's thread.
#pragma once

#include <cstdint>
#include <span>

#include "proxy/shard/handshake_queue.h"
#include "proxy/tls/tls_context.h"
#include "proxy/tls/verifier.h"

namespace sallyport {

// Ticket, where the ClientHello in `bytes` would be resumed: with a ticket of a device's certificate, offered where its
// version is looked for, in TLS 1.3 by who holds its secret, and of a device in good standing, which `standing` is
// asked for. Fresh otherwise: the name of a ticket's key is in every ticket, a one-way listener gives tickets to
// anybody, and the network sees them. Costs some microseconds, less than 10 for what is refused
// (bench/storm_tables.cc).
inline HandshakeQueue::Rank rank_of_hello(std::span<const std::uint8_t> bytes, const TlsContext& tls,
                                          Verifier& standing, std::int64_t now) {
  const TicketOffer offer = offered_ticket(bytes);
  if (offer.first.ticket.empty()) return HandshakeQueue::Rank::Fresh;
  const auto ticket = tls.devices_ticket(offer, now);
  const bool honoured = ticket && standing.resume(*ticket->identity, ticket->chain_id, ticket->epoch).admitted();
  return honoured ? HandshakeQueue::Rank::Ticket : HandshakeQueue::Rank::Fresh;
}

}  // namespace sallyport
