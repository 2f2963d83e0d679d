// A library context of OpenSSL whose list of decoders has what device keys need and nothing else. Parsing a
// certificate builds a chain over every decoder there is, under a lock: most of what an import costs. Signatures
// and digests are the default provider's own, so nothing is checked differently. Made once, kept for ever.
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
