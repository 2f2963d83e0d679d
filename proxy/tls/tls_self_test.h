// Whether our TLS and the OpenSSL that runs understand each other: whole connections in memory, between a client of
// OpenSSL's and TlsEngine, of each kind that relies on OpenSSL's insides (cache/crypto/openssl_insides.h). `serve` asks
// once, before the first listener, and gives those insides up where something does not hold.
#pragma once

#include <string_view>

namespace sallyport {

// What does not hold; empty where all of it does. Takes some 60 ms. Leaves OpenSSL's error queue empty.
std::string_view tls_self_test();

// Asks for it where the insides are relied on, and gives them up where it fails.
void settle_openssl_insides();

}  // namespace sallyport
