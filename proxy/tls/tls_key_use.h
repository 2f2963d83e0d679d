// The limit of key_use.h for connections whose records are OpenSSL's, which leaves it to its user: the server's that
// TlsRecords has not taken over, and those to brokers. On the thread of the connection.
#pragma once

#include <openssl/types.h>

#include <cstddef>

#include "proxy/tls/key_use.h"

namespace sallyport {

// From here on, the handshake being over, what `ssl` reads and writes with AES-GCM counts in `uses`, which outlives it.
// With another cipher nothing counts. Takes the place of its message callback.
void count_key_use(SSL* ssl, KeyUses& uses);
// The same for who has a message callback of its own: whether the records of `ssl` are AES-GCM's, and, with what
// SSL_set_msg_callback(3) says, a record's header of either direction; nothing else counts.
bool wears_keys(const SSL* ssl);
void count_record(int written, int type, const void* bytes, std::size_t length, KeyUses& uses);

// Whether the connection has to end, now or soon: TLS 1.2 has no other key.
bool has_spent_key(const SSL* ssl, const KeyUses& uses);
// Before a record is written. In TLS 1.3 it is the next key's where the last one is spent: RFC 8446, section 4.6.3.
void renew_spent_key(SSL* ssl, KeyUses& uses);

}  // namespace sallyport
