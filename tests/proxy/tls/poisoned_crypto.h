// How often what poisoned_crypto.cc stands in front of was called.
#pragma once

#include <atomic>

namespace sallyport::test {

extern std::atomic<int> poisoned_calls;  // where cryptography is to be OpenSSL's alone
extern std::atomic<int> allowed_calls;   // anywhere else
extern std::atomic<int> mac_calls;       // EVP_MAC_init(3): who authenticates by OpenSSL's public API

}  // namespace sallyport::test
