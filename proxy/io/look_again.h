// Tells the processor that a loop waits.
#pragma once

namespace sallyport {

inline void look_again() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // as long as a pause on amd64; a yield takes no time at all
#endif
}

}  // namespace sallyport
