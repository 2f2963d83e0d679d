// What the readers of X.509 have in common. Used by the files of this room alone.
#pragma once

#include <openssl/asn1.h>

#include <cstdint>
#include <string>

#include "cache/base/result.h"

namespace sallyport {

// What OpenSSL left in its queue is dropped.
Refusal no(std::string what);

// Unix seconds; false for a date that is missing or that no one can read.
bool unix_time(const ASN1_TIME* time, std::int64_t& out);

}  // namespace sallyport
