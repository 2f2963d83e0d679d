// A library context of OpenSSL that offers what certificates and our TLS need and nothing else: what is not in it
// cannot be negotiated, and parsing a certificate walks all there is, under a lock, which was most of what an import
// cost and a fifth of a handshake. Digests, signatures, ciphers and key exchanges are the default provider's own. Ours
// are how a P-256 public key is read (light_ec_decoder.h) and the key schedules of TLS (light_tls_kdf.h). Imports parse
// in it, and every listener's TLS runs in it. Made once, kept for ever; best before anything else uses OpenSSL.
#pragma once

#include <openssl/types.h>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

// A copy of a private key, held by the provider of `context` (null: OpenSSL's default context), so that using it there
// needs no translation. Null where that cannot be. While it is made, and when, is for whoever asks (locked_memory.h).
KeyPtr held_in(OSSL_LIB_CTX* context, const EVP_PKEY* key);

// Null where it cannot be made or may not be used (openssl_insides.h, openssl_alone.h): then OpenSSL's default context
// is as good, only slower. Any thread.
OSSL_LIB_CTX* light_parsing_context();

}  // namespace sallyport
