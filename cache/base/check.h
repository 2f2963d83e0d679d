// CHECK: an invariant of the program itself, always on; a failed one ends the process, because a proxy
// that no longer knows its own state must not go on deciding who gets in. Never use it on anything that
// the outside can cause. DCHECK: the costly ones, in debug and sanitizer builds only.
#pragma once

namespace sallyport {

[[noreturn]] void check_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace sallyport

#define CHECK(condition)                                         \
  do {                                                           \
    if (!(condition)) [[unlikely]]                               \
      ::sallyport::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)

#ifdef SALLYPORT_DCHECK
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition)    \
  do {                       \
    (void)sizeof(condition); \
  } while (false)
#endif
