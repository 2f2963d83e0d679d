// A distinguished name in the form in which two are compared (RFC 5280, section 7.1): strings of every type as UTF-8,
// in lower case, without white space at their ends and with one space for several; what is no such string as it is.
// Two names are the same exactly when these bytes are, and the bytes are those that OpenSSL compares, X509_NAME_cmp(3).
// Everything that matches names matches these: bytes that were sent match too much or too little. Any thread.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sallyport {

// All of `der`, an X.501 Name that anybody may have sent. Nothing where OpenSSL does not read it as one. Work and
// memory are bounded by its length.
std::optional<std::string> canonical_name(std::span<const std::uint8_t> der);
// One that OpenSSL has read.
std::string canonical_name_of(const X509_NAME* name);

}  // namespace sallyport
