// Whether cryptography is OpenSSL's alone, here and now: only what its public API gives, from the providers that its
// configuration names (config(5), provider(7)), so that a FIPS provider or an HSM's does all of it. Then none of
// light_* is used, nor libsodium, GMP, libipsec-mb, the direct calls of sha2.h, or what openssl_insides.h lists. The
// process has one answer (`[proxy] tls_engine`). While a listener's TLS works on a thread, the answer of that listener
// stands there in its place (`tls_engine` of the listener). Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace sallyport {

bool openssl_alone();
void keep_to_openssl(bool alone);  // the process's answer, for whatever begins from now on

// Until its end `alone` is this thread's answer. They nest.
class OpensslAlone {
 public:
  explicit OpensslAlone(bool alone);
  ~OpensslAlone();
  OpensslAlone(const OpensslAlone&) = delete;
  OpensslAlone& operator=(const OpensslAlone&) = delete;

 private:
  const std::uint8_t before_;
};

// Whether OpenSSL's configuration is in force, with all providers that it asks for: found out by the first call in a
// process, which is to be at its start, for OpenSSL reads it once. Any thread.
void note_openssl_configuration();
// What stands against it: that the configuration was not in force then, or what openssl_providers_lack(). A sentence;
// empty: nothing. Leaves OpenSSL's error queue empty.
std::string openssl_alone_lacks();
// What the default context's providers lack of what is asked of them outside a handshake: hashes, HMAC, and the cipher
// of tickets. Likewise. Nothing of ours loads a provider there: it has what its configuration gives it.
std::string openssl_providers_lack();
// The names of the default context's active providers, with commas between them.
std::string openssl_providers();

}  // namespace sallyport
