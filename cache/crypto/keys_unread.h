// OpenSSL before 3.2 reads a session with the certificate in it, and of that certificate the key: it looks through all
// decoders of all providers, twice where a ticket is used and renewed, which was a third of a resumption, for a key
// that nobody asks for. What it reads is read in the thread's default library context. Between begin() and end() that
// is one without any algorithm (OSSL_LIB_CTX_set0_default(3), OSSL_PROVIDER-null(7)): the certificate is read, and its
// key is not. Whoever needs an algorithm meanwhile has to name a context (SSL_CTX_new_ex()), or gets none: nothing is
// weaker for it, and what fails, fails closed. Any thread; each has its own.
#pragma once

#include <openssl/types.h>

namespace sallyport {

class KeysUnread {
 public:
  // Ends what begin() has begun, if anything, also where OpenSSL went another way than expected.
  KeysUnread() = default;
  ~KeysUnread() { end(); }
  KeysUnread(const KeysUnread&) = delete;
  KeysUnread& operator=(const KeysUnread&) = delete;

  // Nothing where the library that runs gains nothing by it, where this thread has begun already, and where the
  // tickets' algorithms, from whatever provider, do not go on in such a context: that is tried once.
  static void begin();
  static void end();
  static bool begun();
};

// OpenSSL's default context by its name: what works in it works in it between begin() and end() as well.
OSSL_LIB_CTX* named_default_context();

}  // namespace sallyport
