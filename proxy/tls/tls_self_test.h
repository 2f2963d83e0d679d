// Whether our TLS and the OpenSSL that runs understand each other: whole connections in memory, between a client of
// OpenSSL's and TlsEngine, of each kind that relies on OpenSSL's insides (cache/crypto/openssl_insides.h). `serve` asks
// once, before the first listener, and gives those insides up where something does not hold. Beside it: whether what
// `tls_engine` asks for can be had.
#pragma once

#include <string_view>

#include "cache/base/result.h"
#include "proxy/config/config.h"

namespace sallyport {

// What does not hold; empty where all of it does. Takes some 60 ms. Leaves OpenSSL's error queue empty.
std::string_view tls_self_test();

// Whether the process or a listener of it has this tls_engine.
bool any_listener_by(TlsMadeBy by, const Config& config);
// Whether OpenSSL's providers have what they are asked for; where tls_engine = "openssl" stands anywhere, whether their
// configuration is in force, too.
Answer<void> check_tls_engines(const Config& config);
// Where anything of "auto" is to be served: the self-test, once in a process. Where it fails the insides are given up.
// The main thread, before a listener of this configuration is made.
void settle_tls_engines(const Config& config);

}  // namespace sallyport
