// TLS13-KDF (provider-kdf(7), EVP_KDF-TLS13_KDF(7)) for the light context: the key schedule of RFC 8446, section 7.1,
// over OpenSSL's SHA-256 and SHA-384. A handshake asks it nineteen times, and OpenSSL 3.0's own spends more than nine
// tenths of each on copying parameters and on looking up the digest and HMAC again. The whole of what libssl asks of
// it is here and nothing else: the modes EXTRACT_ONLY and EXPAND_ONLY with every parameter in the derivation's call.
#pragma once

#include <openssl/core.h>

namespace sallyport {

// For a provider's table of OSSL_OP_KDF. Any thread. Fails, as a KDF does, for an unknown mode or digest, for a label
// or context longer than the wire has room for, and for an output longer than one digest.
OSSL_ALGORITHM tls13_kdf();

}  // namespace sallyport
