// OpenSSL before 3.2 reads a session with the certificate in it, and of that certificate the key: it looks through all
// decoders of all providers, twice where a ticket is used and renewed, which was nearly half of a resumption, for a key
// that nobody asks for. What it reads is read in the thread's default library context. Between begin() and end() that
// is one without any algorithm (OSSL_LIB_CTX_set0_default(3), OSSL_PROVIDER-null(7)): the certificate is read, and its
// key is not. Whoever needs an algorithm meanwhile has to name a context (SSL_CTX_new_ex()), or gets none: nothing is
// weaker for it, and what fails, fails closed. Objects made or freed meanwhile have no ex_data callbacks of the default
// context (CRYPTO_new_ex_data(3)): here X509 and SSL_SESSION have none. Any thread; each has its own.
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
  // tickets' algorithms, from whatever provider, do not go on in such a context: that is tried once, with tickets of
  // several sizes.
  static void begin();
  static void end();
  static bool begun();
  // Whether begin() does anything: false as well where there is nothing to gain. Best asked at the start.
  static bool possible();
  // begin() does nothing from now on, on any thread: a ticket could not be opened after it, although the trial went
  // well. What needs the default context now and then, as when its hardware is gone, is found out so.
  static void give_up();
  static bool given_up();
};

// Whether tickets are opened with the default context's algorithms while `none` is the thread's default context: a
// provider's may ask the thread's for others of theirs, and for some sizes alone.
bool tickets_open_without_algorithms(OSSL_LIB_CTX* none);

// OpenSSL's default context by its name: what works in it works in it between begin() and end() as well.
OSSL_LIB_CTX* named_default_context();

}  // namespace sallyport
