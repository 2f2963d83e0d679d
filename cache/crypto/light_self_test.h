// Whether the light context does what OpenSSL's default context does, tried where they could differ: what of it is
// ours, and what of OpenSSL's it calls from its tables. A few milliseconds. light_parsing.cc asks once.
#pragma once

#include <openssl/types.h>

#include <string_view>

namespace sallyport {

// What does not hold; empty where all of it does. Leaves OpenSSL's error queue empty.
std::string_view light_self_test(OSSL_LIB_CTX* light);

}  // namespace sallyport
