#include "cache/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace sallyport {

void check_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "sallyport: invariant broken: %s (%s:%d)\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace sallyport
