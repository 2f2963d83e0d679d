// The server side of one listener's TLS: certificates (several, chosen by SNI and key type), versions,
// ciphers, groups, bounds. Immutable after creation; shared by every shard. Engines made from it may outlive
// it: everything their handshakes need belongs to the SSL_CTX they hold. README.md has the bounds.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "cache/x509/certificate.h"
#include "proxy/config/config.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/ticket.h"
#include "proxy/tls/tls_files.h"

namespace sallyport {

class Resumption;
class SessionSwap;
class TicketKeys;
struct HandshakeServer;

class TlsContext {
 public:
  // Reads and checks every certificate file of the listener: order of the chain, key match, key strength. A refusal
  // names the file and the remedy. Their dates are the caller's to look at.
  // `tickets` outlives it and its engines; null: nothing is ever resumed.
  static Answer<std::unique_ptr<TlsContext>> create(const ListenerConfig& listener,
                                                    const TicketKeys* tickets = nullptr);
  // The same with certificates that were loaded already, and in a mode that may differ from the file's.
  static Answer<std::unique_ptr<TlsContext>> create(const ListenerConfig& listener, AuthMode auth,
                                                    std::vector<ServerCertificate> certificates,
                                                    const TicketKeys* tickets);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  const std::vector<Certificate>& leaves() const;  // the certificates it can present, default first
  SSL_CTX* default_context() const;                // for TlsEngine; SNI moves a handshake to another one
  bool openssl_alone() const;                      // nothing of its TLS may be ours: cache/crypto/openssl_alone.h
  // For TlsEngine; these live as long as its reference to default_context().
  SessionSwap& session_swap() const;
  const HandshakeServer* handshake_server() const;  // null: every handshake is OpenSSL's
  const Resumption* resumption() const;             // null: no tickets
  // What the ticket says that a ClientHello is most likely resumed with: Resumption::devices().
  std::optional<Ticket> devices_ticket(const TicketOffer& offer, std::int64_t now) const;

 private:
  class Impl;
  TlsContext(SSL_CTX* context, Impl* impl) : context_(context), impl_(impl) {}
  SSL_CTX* context_;  // a reference; owns the Impl
  Impl* const impl_;
};

}  // namespace sallyport
