// How the light context reads an EC public key: from the SubjectPublicKeyInfo of P-256 with an uncompressed point
// (RFC 5480, section 2), 91 bytes of which 26 are always the same, a copy of one prepared key is given the point.
// OpenSSL 3.0 sets the curve up anew for each key instead, which costs more than all else of a certificate. Every
// other curve and form is read by OpenSSL's own decoder; that a point is on the curve is OpenSSL's check for both.
#pragma once

#include <openssl/core.h>
#include <openssl/types.h>

namespace sallyport {

// For a provider's table of OSSL_OP_DECODER: `decoder` with its decoding replaced; `decoder` itself where the key
// manager lacks a function that is needed. `whole` is the provider both are of, `core` what initialised ours
// (provider-base(7)). Once, before the table is used; then any thread.
OSSL_ALGORITHM ec_decoder(const OSSL_ALGORITHM& decoder, const OSSL_ALGORITHM& key_manager, const OSSL_PROVIDER* whole,
                          const OSSL_DISPATCH* core);

}  // namespace sallyport
