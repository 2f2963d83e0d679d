// TLS to a broker on another machine: we are the client, by OpenSSL alone. A BrokerTlsContext is an upstream's: whom it
// trusts, what it shows, and the sessions that may be resumed. A BrokerTls is one connection, with no socket in it:
// ciphertext goes in and plaintext comes out, and the other way; what is to be sent gathers in output().
//
// A context is shared by the shards: immutable but for its sessions, which have a lock that is held for a copy. A
// connection holds what it needs of it, so a context may go before its connections. A BrokerTls is its shard's alone.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "proxy/config/config.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/tls/key_use.h"
#include "proxy/tls/tls_records.h"

struct ssl_session_st;  // OpenSSL's SSL_SESSION

namespace sallyport {

class BrokerTlsContext {
 public:
  // Reads and checks the files. A refusal names the file and what is wrong with it.
  static Answer<std::unique_ptr<BrokerTlsContext>> create(const BrokerTlsConfig& config);
  ~BrokerTlsContext();
  BrokerTlsContext(const BrokerTlsContext&) = delete;
  BrokerTlsContext& operator=(const BrokerTlsContext&) = delete;

  // The certificates that may be out of date: those it trusts, and our own.
  const std::vector<Certificate>& trusted() const { return trusted_; }
  const std::vector<Certificate>& shown() const { return shown_; }

 private:
  friend class BrokerTls;
  class Sessions;
  BrokerTlsContext(SSL_CTX* context, std::string server_name);

  SSL_CTX* const context_;  // a reference; owns the Sessions
  const std::string server_name_;
  std::vector<Certificate> trusted_, shown_;
};

// Of each upstream that has TLS, by its name.
using BrokerTlsContexts = std::map<std::string, std::unique_ptr<BrokerTlsContext>>;
Answer<BrokerTlsContexts> prepare_broker_tls(const std::vector<UpstreamConfig>& upstreams);

class BrokerTls {
 public:
  // To `server`, whose host is the name that its certificate must have, unless the configuration says another.
  BrokerTls(const BrokerTlsContext& context, const Endpoint& server);
  ~BrokerTls();
  BrokerTls(const BrokerTls&) = delete;
  BrokerTls& operator=(const BrokerTls&) = delete;

  // Takes all of `ciphertext`, goes on with the handshake, and appends the plaintext there is to `plain`. The first
  // call begins, with nothing. Done: the handshake is over, and goes on being so. WantInput: it needs more. Closed: the
  // broker's close_notify. Failed: error().
  Step take(std::span<const std::uint8_t> ciphertext, ByteBuffer& plain);
  // After Done. False: it has failed.
  bool write(std::span<const std::uint8_t> plain);
  void close();  // appends our close_notify, once
  ByteBuffer& output() { return output_; }
  const ByteBuffer& output() const { return output_; }

  bool established() const { return established_; }
  bool resumed() const;
  bool has_spent_key() const;                    // a key of TLS 1.2: key_use.h. The connection has to end
  const Error& error() const { return error_; }  // detail: an X509_V_ERR_*, or 0

 private:
  Step fail();
  void name_server(const BrokerTlsContext& context, const Endpoint& server);
  static BIO* make_bio(BrokerTls* of);
  static int bio_read(BIO* bio, char* into, int size);
  static int bio_write(BIO* bio, const char* from, int size);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static int keep_session(SSL* ssl, ssl_session_st* session);
  friend class BrokerTlsContext;

  SSL* ssl_ = nullptr;
  std::string server_;  // as the configuration writes it: whose sessions these are
  std::span<const std::uint8_t> lent_;
  ByteBuffer output_;
  KeyUses key_uses_;
  bool established_ = false, closed_ = false;
  Error error_{};
};

}  // namespace sallyport
