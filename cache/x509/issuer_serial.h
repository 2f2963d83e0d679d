// What the status cache and the registry look devices up by: SHA-256 of (issuer name, serial number), cut
// to 128 bits. The same in every process, so it can be stored; the cache hashes it again under a secret.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sallyport {

using IssuerSerial = std::array<std::uint8_t, 16>;

// `issuer_name`: as names are compared (canonical_name.h), so that a serial number is one number in every spelling of
// its issuer; `serial`: as Certificate::serial().
IssuerSerial issuer_serial(std::string_view issuer_name, std::string_view serial);
// Of a serial number that a deleted CA's list named, where the CA's name went with it: registries before schema 3 kept
// only a hash of its bytes. It counts for whoever has that number of that key, in every spelling.
IssuerSerial nameless_serial(const std::array<std::uint8_t, 32>& issuing_key, std::string_view serial);

}  // namespace sallyport
