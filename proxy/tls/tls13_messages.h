// The messages of our TLS 1.3 handshake, RFC 8446, section 4: the server's written, the client's read. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "proxy/tls/client_hello.h"
#include "proxy/tls/handshake_message.h"
#include "proxy/tls/record_layer.h"

namespace sallyport {

// Section 4.1.3: TLS_AES_128_GCM_SHA256, with a random of its own. `resumes`: the client's first ticket is honoured.
// Empty where there is no randomness.
Message server_hello(std::span<const std::uint8_t> session_id, Group group, std::span<const std::uint8_t> share,
                     bool resumes);
// Section 4.3.1. `named`: the client's server_name is acknowledged (RFC 6066, section 3).
Message encrypted_extensions(bool named);
// Section 4.3.2: signature_algorithms alone.
Message certificate_request(std::span<const std::uint16_t> schemes);
// Section 4.4.2, of the server; the leaf first, in DER.
Message certificate(std::span<const std::vector<std::uint8_t>> chain);
Message certificate_verify(std::uint16_t scheme, std::span<const std::uint8_t> signature);
Message finished(std::span<const std::uint8_t> mac);
// Section 4.6.1, without extensions.
Message new_session_ticket(std::uint32_t lifetime, std::uint32_t age_add, std::span<const std::uint8_t> nonce,
                           std::span<const std::uint8_t> ticket);

// The body of a client's Certificate (section 4.4.2). Nothing where it is malformed; an empty list is a client without
// certificate.
struct ClientCertificates {
  std::vector<std::span<const std::uint8_t>> ders;  // of the message
  // A certificate_request_context, or an extension, where none was asked for (section 4.2); reason 0: neither.
  TlsFailure fault;
};
std::optional<ClientCertificates> read_certificates(std::span<const std::uint8_t> body);

}  // namespace sallyport
