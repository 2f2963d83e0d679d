// A session sealed as OpenSSL seals its stateless tickets (RFC 5077, section 4: key name, IV, AES-256-CBC, HMAC), so
// that OpenSSL opens it when it comes back. Included by the tls_*.cc files alone.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <vector>

#include "proxy/ticket_keys.h"

namespace sallyport {

// AES-256-CBC, fetched once: an implicit fetch in every handshake costs a lock and a search.
EVP_CIPHER* ticket_cipher();

// Empty where OpenSSL fails. Any thread.
std::vector<std::uint8_t> sealed_session(const SSL_SESSION* session, const TicketKey& key);

}  // namespace sallyport
