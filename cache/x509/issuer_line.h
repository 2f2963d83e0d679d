// The issuer's name in a certificate that nobody parses for anything else, because it is refused: of the DER alone, a
// few microseconds where a whole certificate takes a hundred. Any thread.
#pragma once

#include <string>

#include "cache/x509/certificate.h"

namespace sallyport {

std::string issuer_line(Bytes der);  // as short_line() has it; empty: it cannot be found

}  // namespace sallyport
