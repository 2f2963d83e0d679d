// Whose a connection's TLS is, and over which group its keys were agreed: labels of a metric and words of the log, so
// both lists are closed.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sallyport {

enum class TlsMaker : std::uint8_t { Own, Openssl };
inline constexpr std::array<std::string_view, 2> kTlsMakerNames = {"own", "openssl"};

// None: a TLS 1.2 session that a ticket or an id brought back. Every other handshake exchanges keys.
enum class KeyGroup : std::uint8_t { None, X25519, X25519MlKem768, P256, P384, P521 };
inline constexpr std::array<std::string_view, 6> kKeyGroupNames = {"none",  "x25519", "x25519mlkem768",
                                                                   "p-256", "p-384",  "p-521"};

}  // namespace sallyport
