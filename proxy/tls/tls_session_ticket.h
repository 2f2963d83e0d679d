// A session sealed as OpenSSL seals its stateless tickets (RFC 5077, section 4: key name, IV, AES-256-CBC, HMAC), so
// that either opens what the other sealed. Included by the tls_*.cc files alone.
#pragma once

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "proxy/tls/ticket_keys.h"

namespace sallyport {

// AES-256-CBC, fetched once: an implicit fetch in every handshake costs a lock and a search.
EVP_CIPHER* ticket_cipher();

using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;

// Bytes that must not stay in memory. What a vector outgrows is not wiped: their room is reserved first.
struct Wiped : std::vector<std::uint8_t> {
  using vector::vector;
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  Wiped(Wiped&&) = default;
  ~Wiped() { OPENSSL_cleanse(data(), size()); }
};

// DER of an SSL_SESSION without its element [3], the peer's certificate. Empty where it is not such a DER.
// SSL_SESSION_ASN1 in OpenSSL's ssl/ssl_asn1.c.
Wiped without_certificate(std::span<const std::uint8_t> der);

// Any thread. Empty where OpenSSL fails.
std::vector<std::uint8_t> sealed_session(const SSL_SESSION* session, const TicketKey& key);
// Null for what none of the keys that are alive sealed; without the peer's certificate. Leaves OpenSSL's error queue
// empty.
SessionPtr opened_session(std::span<const std::uint8_t> ticket, const TicketKeys& keys, std::int64_t now);

}  // namespace sallyport
