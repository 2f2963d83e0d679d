// What is missing where a certificate leads to no registered CA (ca_unknown): whose signature the chain ends with, and
// what is registered that comes nearest to it. Any thread.
#pragma once

#include <string>
#include <vector>

#include "cache/registry/registrar.h"
#include "cache/x509/certificate.h"

namespace sallyport {

struct MissingIssuer {
  std::string what;  // a sentence; empty where the chain does lead to a registered CA
  // Name and key id of its issuer fit a CA that is known, and the signature does not: registering a CA is no remedy.
  bool forged = false;
};

// `chain` is what the device sends, its own certificate first, in any order behind that.
MissingIssuer missing_issuer(const std::vector<Certificate>& chain, const std::vector<CaRecord>& cas);

}  // namespace sallyport
