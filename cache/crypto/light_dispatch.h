// Tables of a provider's functions (provider(7)), read and changed: the light context takes OpenSSL's algorithms and
// puts functions of its own in some places.
#pragma once

#include <openssl/core.h>

#include <initializer_list>
#include <vector>

namespace sallyport {

// `into` stays as it is where the table has no such function.
template <class Function>
void find_function(const OSSL_DISPATCH* table, int id, Function*& into) {
  for (; table != nullptr && table->function_id != 0; ++table) {
    if (table->function_id == id) into = reinterpret_cast<Function*>(table->function);
  }
}

// The table with those of its functions replaced that are named; what it lacks is not added.
inline std::vector<OSSL_DISPATCH> with_functions(const OSSL_DISPATCH* table,
                                                 std::initializer_list<OSSL_DISPATCH> replaced) {
  std::vector<OSSL_DISPATCH> made;
  for (; table->function_id != 0; ++table) {
    made.push_back(*table);
    for (const OSSL_DISPATCH& each : replaced) {
      if (each.function_id == table->function_id) made.back() = each;
    }
  }
  made.push_back({0, nullptr});
  return made;
}

}  // namespace sallyport
