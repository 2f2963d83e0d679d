// The server side of one listener's TLS: certificates (several, chosen by SNI and key type), versions,
// ciphers, groups, bounds. Immutable after creation; shared by every shard; OpenSSL's own reference
// counts keep it alive for the engines made from it. DESIGN.md section 4, "Bounds in OpenSSL".
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <vector>

#include "cache/certificate.h"
#include "cache/result.h"
#include "proxy/config.h"
#include "proxy/tls_callbacks.h"

namespace sallyport {

class TlsContext {
 public:
  // Reads and checks every certificate file of the listener: order of the chain, key match, dates (expired:
  // refused; soon: the caller warns), key strength. A refusal names the file and the remedy.
  static Answer<std::unique_ptr<TlsContext>> create(const ListenerConfig& listener);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  const std::vector<Certificate>& leaves() const;  // the certificates it can present, default first
  SSL_CTX* default_context() const;                // for TlsEngine; SNI moves a handshake to another one

 private:
  TlsContext();
  class Impl;
  std::unique_ptr<TlsCallbacks::Chooser> chooser_;  // OpenSSL's servername callback borrows it
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport
