// A device's certificate as nearly all are, read without OpenSSL's parser, which makes an object of each field of it:
// X.509 v3 (RFC 5280, section 4.1) in DER, with a key on P-256. Only the frame is looked at, and what an Identity
// holds; extensions other than the alternative names are passed over. Who trusts what is read here must know these very
// bytes from elsewhere, as the gate does of a registered device, by their SHA-256: whether they are a good certificate
// is OpenSSL's to say. Any thread; no state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "cache/x509/certificate.h"
#include "cache/x509/identity.h"

namespace sallyport {

using P256Point = std::array<std::uint8_t, 65>;  // uncompressed: SEC 1, section 2.3.3; not yet known to be on the curve

struct PlainLeaf {
  Bytes der;  // borrowed
  Identity identity;
  P256Point point{};
};

// All of `der`. Nothing where it is anything else: then OpenSSL may read it. What is read is what OpenSSL reads.
std::optional<PlainLeaf> read_plain_leaf(Bytes der);

}  // namespace sallyport
