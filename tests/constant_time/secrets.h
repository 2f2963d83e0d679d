// Secrets as valgrind's memcheck can follow them (Adam Langley's ctgrind): a secret is marked undefined, and whatever
// branches on it, or takes it for an address, is an error that memcheck counts. What is public by its nature, though a
// secret went into it, is marked defined again where it is made: the verdict of a comparison, a signature, a public
// key.
#pragma once

#include <valgrind/memcheck.h>

#include <cstddef>

namespace sallyport::test {

inline void hide(void* secret, std::size_t bytes) {
  VALGRIND_MAKE_MEM_UNDEFINED(secret, bytes);
}
inline void reveal(void* known, std::size_t bytes) {
  VALGRIND_MAKE_MEM_DEFINED(known, bytes);
}
template <class Bytes>
void hide(Bytes& secret) {
  hide(secret.data(), secret.size());
}
template <class Bytes>
void reveal(Bytes& known) {
  reveal(known.data(), known.size());
}

// Where time or addresses depended on a secret, until now.
inline unsigned leaks() {
  return VALGRIND_COUNT_ERRORS;
}

// While one exists, every hash of SHA-256 that OpenSSL gives to us is a secret, and so is all that is made of it: MACs,
// binders, verify_data and traffic keys. So are private random bytes.
struct HashesAreSecret {
  HashesAreSecret();
  ~HashesAreSecret();
  HashesAreSecret(const HashesAreSecret&) = delete;
  HashesAreSecret& operator=(const HashesAreSecret&) = delete;
};

}  // namespace sallyport::test
