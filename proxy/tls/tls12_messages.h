// The messages of our TLS 1.2 handshake (RFC 5246, section 7.4, and RFC 8422, section 5): the server's written, the
// client's read. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "proxy/tls/client_hello.h"
#include "proxy/tls/handshake_message.h"

namespace sallyport {

// What a ServerHello answers of what the client offered: RFC 6066, section 3; RFC 8422, section 5.2; RFC 5077,
// section 3.2. That it has the extended master secret and secure renegotiation it always says.
struct Answered {
  bool server_name = false, point_formats = false, ticket = false;
};
// Section 7.4.1.3; with `suite` and no session id: nothing is resumed by one.
Message server_hello12(std::span<const std::uint8_t, 32> random, std::uint16_t suite, const Answered& answered);
// Section 7.4.2; the leaf first, in DER.
Message certificate12(std::span<const std::vector<std::uint8_t>> chain);
// RFC 8422, section 5.4: ServerECDHParams, which are signed, and the message of them and their signature.
std::vector<std::uint8_t> key_exchange_params(Group group, std::span<const std::uint8_t> share);
Message server_key_exchange(std::span<const std::uint8_t> params, std::uint16_t scheme,
                            std::span<const std::uint8_t> signature);
// Section 7.4.4: of RSA and ECDSA keys, signed by anyone.
Message certificate_request12(std::span<const std::uint16_t> schemes);
Message server_hello_done();
Message finished12(std::span<const std::uint8_t> verify_data);
// RFC 5077, section 3.3; without a ticket there is none after all.
Message new_session_ticket12(std::uint32_t lifetime, std::span<const std::uint8_t> ticket);

// The body of a client's Certificate: its DERs, in the message. Nothing where it is malformed; none is a client without
// certificate.
std::optional<std::vector<std::span<const std::uint8_t>>> read_certificates12(std::span<const std::uint8_t> body);
// The body of a ClientKeyExchange (RFC 8422, section 5.7): its share. Nothing where it is malformed.
std::optional<std::span<const std::uint8_t>> read_key_exchange(std::span<const std::uint8_t> body);

}  // namespace sallyport
