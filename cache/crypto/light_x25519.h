// How the light context makes X25519 keys (RFC 7748, section 5), one for each full handshake. OpenSSL 3.0 multiplies
// the base point with portable code of ten 26-bit limbs, 43 us a key; libsodium takes 16 on the Edwards form of the
// curve, and RFC 7748, section 4.1, says what point that is on the Montgomery form. Only the public key goes that last
// way, so GMP may do it, in a time that depends on it. The shared secret stays OpenSSL's, whose assembler is the
// fastest there is here.
#pragma once

#include <openssl/core.h>
#include <openssl/types.h>

#include <array>
#include <cstdint>

namespace sallyport {

using X25519Bytes = std::array<std::uint8_t, 32>;  // as RFC 7748, section 5, encodes scalars and coordinates

// X25519(private_key, 9). False where libsodium cannot be used or all of it is zero. Any thread; constant time in the
// private key.
bool x25519_public(const X25519Bytes& private_key, X25519Bytes& public_key);

// For a provider's table of OSSL_OP_KEYMGMT: `key_manager` with its making of keys replaced; `key_manager` itself where
// it lacks a function that is needed, or where the key of RFC 7748, section 6.1, comes out wrong. Once, before the
// table is used; then any thread.
OSSL_ALGORITHM x25519_key_manager(const OSSL_ALGORITHM& key_manager);

}  // namespace sallyport
