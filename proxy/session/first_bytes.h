// What a peer sends where a ClientHello belongs: recognised so that a refusal names it, instead of saying that TLS
// failed. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "cache/base/reason.h"

namespace sallyport {

struct FirstBytes {
  bool undecided = false;        // it may become something that has a name; a few bytes more decide
  Reason reason = Reason::None;  // of what has a name; None: TLS may judge it
  std::string_view what;         // static
};

FirstBytes look_at_first_bytes(std::span<const std::uint8_t> bytes);

}  // namespace sallyport
