// A library context of OpenSSL whose lists of decoders and key managers have what device keys and our TLS need and
// nothing else. Parsing a certificate walks all of them, under a lock: most of what an import costs, and a fifth of a
// handshake. Signatures and digests are the default provider's own, so nothing is checked differently. Imports parse
// in it, and every listener's TLS runs in it. Made once, kept for ever.
#pragma once

#include <openssl/types.h>

#include "cache/openssl_ptr.h"

namespace sallyport {

// The same key, held by that context's provider, so that using it there needs no translation; the key itself where
// that cannot be.
KeyPtr lightly_held(KeyPtr key);

// Null where it cannot be made: then OpenSSL's default context is as good, only slower. Any thread.
OSSL_LIB_CTX* light_parsing_context();

}  // namespace sallyport
