// A server's private key: once in memory, however many listeners, certificates, contexts and reloads use it, and there
// in memory that is locked and wiped (cache/crypto/locked_memory.h). Handles share it and are copied; with the last one
// of a key it is gone, but for the contexts that hold a reference of their own. Two copies there are only where both
// engines serve with it, for each has its own provider: tls_engine = "auto" the light context's, "openssl" the default
// context's. A key that a provider does not give out, such as an HSM's, stays with it. Any thread.
#pragma once

#include <map>
#include <string>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

class ServerKey {
 public:
  ServerKey() = default;
  // `key` is of OpenSSL's default context. Where its public key is known already and it can sign what that verifies,
  // the one that is here is taken, and this one dropped. Null where it cannot sign.
  explicit ServerKey(KeyPtr key);
  ServerKey(const ServerKey& other);
  ServerKey(ServerKey&& other) noexcept;
  ServerKey& operator=(ServerKey other) noexcept;
  ~ServerKey();

  explicit operator bool() const { return one_ != nullptr; }
  // A reference to it, in the form for TLS that is OpenSSL's alone, or not. Null where OpenSSL has no memory.
  KeyPtr form(bool openssl_alone) const;

 private:
  struct One;
  One* one_ = nullptr;
};

}  // namespace sallyport
