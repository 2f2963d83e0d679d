// The certificates of a load: two authorities, a server's certificates with either kind of key, and device
// certificates made on the fly. For tests alone: the keys lie in the folder as they are.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace load {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Free<&EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Free<&X509_free>>;

struct Credential {
  X509Ptr certificate;
  KeyPtr key;
};

// Makes every file that DevicePki and the proxies under load read: server-ca.pem, server-ec.pem (chain),
// server-ec.key, server-rsa.pem, server-rsa.key, device-ca.pem, device-ca.key, device-intermediate.pem,
// device-intermediate.key, and server-{ec,rsa}-bundle.pem: chain and key in one file, as HAProxy wants them.
void write_pki(const std::string& folder);

class DevicePki {
 public:
  // Reads the device CAs of such a folder. With `intermediate` devices are issued by the one below the root.
  DevicePki(const std::string& folder, bool intermediate, bool rsa_devices);
  // A device of its own key; the same name gives another serial each time.
  Credential make(const std::string& name) const;
  const X509* intermediate() const { return intermediate_ ? issuer_.certificate.get() : nullptr; }

 private:
  Credential issuer_;
  bool intermediate_, rsa_;
};

}  // namespace load
