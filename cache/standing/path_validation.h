// Whether a path that the path builder found is a good one: RFC 5280, section 6, by OpenSSL. Which certificate issued
// which is not asked again: the builder has matched names and checked signatures. All else is OpenSSL's to say: dates,
// basic constraints, key usage, path lengths, name constraints, the purpose of a TLS client, security level 2.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cache/base/reason.h"
#include "cache/x509/certificate.h"

namespace sallyport {

struct Validation {
  int error = 0;  // X509_V_ERR_*; 0: it is good
  int depth = 0;  // of the certificate that stands against it; 0: the leaf
};

// `intermediates` from the leaf upwards. Each signature of the path was checked.
Validation validate(const Certificate& leaf, const std::vector<Certificate>& intermediates, const Certificate& anchor,
                    std::int64_t now);
Reason reason_of(const Validation& validation);
// "certificate has expired"; what `explain` prints.
std::string_view words_of(const Validation& validation);

}  // namespace sallyport
