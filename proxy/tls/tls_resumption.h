// TLS tickets (README.md): stateless, small, without the certificate, sealed with keys the
// shards share. Installs OpenSSL's callbacks on a context and does what they ask; issues those of our own
// handshakes, and opens those of TLS 1.3. In the product included by tls_context.cc, tls_engine.cc and
// tls12_handshake.cc alone.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proxy/tls/client_hello.h"
#include "proxy/tls/secret256.h"
#include "proxy/tls/ticket.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_callbacks.h"
#include "proxy/tls/tls_session_swap.h"

namespace sallyport {

// Of one TlsContext, shared by all its SSL_CTX; lives as long as any connection made from them.
class Resumption {
 public:
  // `max_age`: for how many seconds after a full handshake it may be resumed. `id_context`: the session id context of
  // its SSL_CTX.
  Resumption(const TicketKeys& keys, std::string listener, std::int64_t max_age, std::string id_context,
             SessionSwap& swap)
      : keys_(keys),
        listener_(std::move(listener)),
        max_age_(max_age),
        id_context_(std::move(id_context)),
        swap_(swap) {}
  Resumption(const Resumption&) = delete;
  Resumption& operator=(const Resumption&) = delete;

  void install(SSL_CTX* context);

  // A ticket for a TLS 1.3 connection with TLS_AES_128_GCM_SHA256 and this resumption secret, as OpenSSL would make it:
  // it may come back to either. Nothing where none is due.
  struct Issued {
    std::uint32_t lifetime = 0;  // seconds
    std::vector<std::uint8_t> ticket;
  };
  std::optional<Issued> issue(const Ticketed& ticketed, std::span<const std::uint8_t> secret, std::int64_t now) const;
  // The same for a TLS 1.2 connection with this cipher suite and extended master secret.
  std::optional<Issued> issue12(const Ticketed& ticketed, std::uint16_t suite, std::span<const std::uint8_t> master,
                                std::int64_t now) const;
  // A TLS 1.3 ticket when it comes back: its resumption secret, and what it says. Nothing where it is not one, not of
  // this listener and mode, or its lifetime has ended, and then `fate` says so; all else that may stand against it is
  // not looked at.
  std::optional<Ticket> open(std::span<const std::uint8_t> ticket, std::int64_t now, Secret256& secret,
                             TicketFate& fate) const;
  // TicketKeys::endings(): asked before a ticket is opened, and again when the handshake that it resumes has finished.
  std::uint64_t endings() const { return keys_.endings(); }
  // Whether its last full handshake was at most `max_age` ago; one that is yet to come was before the clock was set.
  bool young(const Ticket& ticket, std::int64_t now) const;
  // What the ticket of a ClientHello says where it would be honoured, if the device's standing holds: one of a device
  // with a certificate, of this version, listener and mode, alive, and in TLS 1.3 with its binder. Nobody without such
  // a session has one; who has seen one on the wire can send it again in TLS 1.2, which has no binder.
  std::optional<Ticket> devices(const TicketOffer& offer, std::int64_t now) const;

 private:
  struct Said {
    std::string body;  // empty: nothing that would be honoured
    std::int64_t lifetime = 0;
  };
  Said said(const Ticketed& ticketed, std::int64_t now) const;
  std::optional<Issued> sealed(const Said& said, SSL_SESSION* session, std::int64_t now) const;
  std::span<const unsigned char> id_context_bytes() const;
  std::optional<Ticket> said_by(SSL_SESSION* session) const;
  bool is_alive_here(const SSL_SESSION* session, std::int64_t now) const;
  static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                        int encrypt);
  static int generate(SSL* ssl, void* self);
  static int decrypted(SSL* ssl, SSL_SESSION* session, const unsigned char* name, std::size_t length, int status,
                       void* self);
  // Puts `body` into a copy of the connection's session that has no certificate, and that copy in its place.
  bool replace_session(SSL* ssl, const std::string& body, std::int64_t lifetime);

  const TicketKeys& keys_;
  const std::string listener_;
  const std::int64_t max_age_;
  const std::string id_context_;
  const SSL_CIPHER* cipher_ = nullptr;  // TLS_AES_128_GCM_SHA256
  SessionSwap& swap_;
};

}  // namespace sallyport
