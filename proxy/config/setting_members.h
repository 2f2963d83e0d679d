// That no member of a configuration's struct is without a row: how many members a struct has, and how many rows have
// one. For the files with the tables of rows alone.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <span>

#include "proxy/config/setting_row.h"

namespace sallyport {

// What counts is how many initialisers an aggregate takes.
struct Anything {
  template <class T>
  operator T() const {  // NOLINT(google-explicit-constructor)
    std::abort();       // nobody calls it: clang asks for a body
  }
};
template <class Owner, class... Members>
constexpr std::size_t members() {
  if constexpr (requires { Owner{Members{}..., Anything{}}; }) {
    return members<Owner, Members..., Anything>();
  } else {
    return sizeof...(Members);
  }
}
template <class Owner>
constexpr std::size_t with_member(std::span<const Row<Owner>> rows) {
  std::size_t count = 0;
  for (const Row<Owner>& each : rows) count += each.has_member ? 1 : 0;
  return count;
}

}  // namespace sallyport
