// What the status cache and the registry look devices up by: SHA-256 of (issuer name, serial number), cut
// to 128 bits. The same in every process, so it can be stored; the cache hashes it again under a secret.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sallyport {

using IssuerSerial = std::array<std::uint8_t, 16>;

// `issuer_der`: the issuer name's DER; `serial`: as Certificate::serial().
IssuerSerial issuer_serial(std::string_view issuer_der, std::string_view serial);

}  // namespace sallyport
