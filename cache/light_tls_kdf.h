// The key schedules of TLS for the light context, over OpenSSL's SHA-256 and SHA-384: TLS13-KDF (EVP_KDF-TLS13_KDF(7);
// RFC 8446, section 7.1) and TLS1-PRF (EVP_KDF-TLS1_PRF(7); RFC 5246, section 5). A handshake asks nineteen times, or
// four, and OpenSSL 3.0's own spend most of each on copying parameters and contexts and on looking up the digest and
// HMAC again. The whole of what libssl asks for is here and nothing else: every parameter comes in the derivation's
// call, and TLS13-KDF has the modes EXTRACT_ONLY and EXPAND_ONLY.
#pragma once

#include <openssl/core.h>

namespace sallyport {

// For a provider's table of OSSL_OP_KDF. Any thread. Both fail, as a KDF does, for another digest, a missing secret
// and one longer than a block of the digest; TLS13-KDF for an unknown mode, for a label or context longer than the
// wire has room for, and for an output longer than one digest.
OSSL_ALGORITHM tls13_kdf();
OSSL_ALGORITHM tls1_prf();

}  // namespace sallyport
