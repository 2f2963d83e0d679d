// What a ClientHello says, read before OpenSSL sees it. Pure; never fails: whatever is not what is looked for is
// OpenSSL's to judge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/tls/record_cipher.h"

namespace sallyport {

// The groups of key exchanges that a plain ClientHello may have a share for: RFC 8446, section 4.2.7; the last is
// draft-ietf-tls-ecdhe-mlkem's, X25519 and ML-KEM-768 (FIPS 203) at once.
enum class Group : std::uint16_t { P256 = 23, X25519 = 29, X25519MlKem768 = 4588 };
inline constexpr std::size_t kX25519ShareBytes = 32, kP256ShareBytes = 65;
inline constexpr std::size_t kMlKemKeyBytes = 1184, kMlKemCiphertextBytes = 1088;  // FIPS 203, table 3

// The one ticket of a pre_shared_key extension: RFC 8446, section 4.2.11.
struct OfferedTicket {
  std::span<const std::uint8_t> ticket;
  std::span<const std::uint8_t> binder;  // 32 bytes: of SHA-256
  std::size_t binders_at = 0;            // where in the message the binders begin: what is before them they bind
};

// The ticket that a ClientHello may be resumed with, where it would be looked for: in TLS 1.3 the first one of
// pre_shared_key (section 4.2.11) of a client that takes psk_dhe_ke, otherwise session_ticket's (RFC 5077,
// section 3.2).
struct TicketOffer {
  TlsVersion version = TlsVersion::V12;
  OfferedTicket first;                    // an empty ticket: none. In TLS 1.3 the binder has any length
  std::span<const std::uint8_t> message;  // the ClientHello
};
// `bytes`: what the client sent so far, from its first TLS record on; the answer points into it. Without a whole
// ClientHello in the first record there is none. It only decides whose turn comes first when many wait; what a ticket
// is worth is decided in the handshake.
TicketOffer offered_ticket(std::span<const std::uint8_t> bytes);

// A ClientHello that asks for what nearly every device asks for: a TLS 1.3 handshake, full or resumed, with
// TLS_AES_128_GCM_SHA256 and a share for X25519 or P-256. The spans point into the message.
struct PlainHello {
  std::span<const std::uint8_t> session_id;         // to be echoed
  Group group = Group::X25519;                      // of the share that is answered
  std::span<const std::uint8_t> share;              // of its size; not checked to be a point or a key
  std::span<const std::uint8_t> signature_schemes;  // two bytes each
  std::optional<std::string_view> server_name;      // not checked to be one
  bool takes_tickets = false;                       // psk_dhe_ke, RFC 8446, section 4.2.9
  std::optional<OfferedTicket> ticket;              // where it takes_tickets

  bool offers(std::uint16_t signature_scheme) const;
};

// Nothing for a message (RFC 8446, section 4.1.2) that is not one, or that asks for more or other: an older version,
// another cipher or group first, several tickets, early data, a cookie, a fragment length, other signatures in
// certificates, or anything that is there twice. Of several shares the one for X25519MLKEM768 is answered, where
// `post_quantum` says that we can, then X25519's, then P-256's.
std::optional<PlainHello> plain_hello(std::span<const std::uint8_t> message, bool post_quantum);
// Whether the content of a key_share extension has a share for this group.
bool has_share_for(Group group, std::span<const std::uint8_t> key_share);

}  // namespace sallyport
