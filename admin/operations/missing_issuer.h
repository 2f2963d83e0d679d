// What is missing where a certificate leads to no registered CA (ca_unknown): whose signature the chain ends with, and
// what is registered that comes nearest to it. Any thread.
#pragma once

#include <string>
#include <vector>

#include "cache/registry/registrar.h"
#include "cache/x509/certificate.h"

namespace sallyport {

// `chain` is what the device sends, its own certificate first, in any order behind that. A sentence; empty where the
// chain does lead to a registered CA.
std::string missing_issuer(const std::vector<Certificate>& chain, const std::vector<CaRecord>& cas);

}  // namespace sallyport
