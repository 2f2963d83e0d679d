// What a PEM text holds (RFC 7468), object by object. All of it is read, or it is refused: an object that is damaged,
// cut off or of another kind than asked for is named, and never passed over in silence.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"

namespace sallyport {

enum class PemKind : std::uint8_t { Certificate, Crl };

// The DER of each object of `kind`, in order: at least one, at most `most`. Text between them is no object. Beside
// certificates a key and its parameters may lie, as servers keep them in one file; anything else is refused.
Answer<std::vector<std::string>> pem_objects(std::string_view text, PemKind kind, std::size_t most);

}  // namespace sallyport
