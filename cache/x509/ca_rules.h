// Which certificates may be registered as CAs, and what proves that an operator holds a CA's key
// (cache/registry/README.md, "Rules of the life cycle"). Pure.
#pragma once

#include <cstdint>

#include "cache/base/result.h"
#include "cache/x509/certificate.h"

namespace sallyport {

// CA:TRUE or a v1 self-signed root, in date, RSA of 2048 to 8192 bits with a short exponent, or EC P-256/384/521 or
// Ed25519.
Answer<void> check_ca(const Certificate& ca, std::int64_t now);
bool in_date(const Certificate& certificate, std::int64_t now);
// A valid signature by the CA's key, X.509 v1 accepted. The code in its CN is the registrar's to check.
Answer<void> check_verification(const Certificate& ca, const Certificate& verification);

}  // namespace sallyport
