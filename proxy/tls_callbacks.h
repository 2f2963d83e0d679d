// What OpenSSL calls back into: the custom BIO of an engine and the verify callback. Included by
// tls_context.cc and tls_engine.cc alone.
#pragma once

#include <openssl/types.h>

#include <vector>

namespace sallyport {

class ServerNames;

struct TlsCallbacks {
  struct Chooser {
    const ServerNames* names = nullptr;
    std::vector<SSL_CTX*> contexts;
  };

  // Makes handshakes from `context` ask the engine's Verifier (mutual) or ask for no certificate.
  static void install(SSL_CTX* context, bool mutual);
  // A BIO that reads what was lent to the engine and appends to its output. Null when out of memory.
  static BIO* make_bio(void* engine);

  static int bio_read(BIO* bio, char* into, int size);
  static int bio_write(BIO* bio, const char* from, int size);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static int verify(X509_STORE_CTX* store_context, void* unused);
};

}  // namespace sallyport
