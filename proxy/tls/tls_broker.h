// TLS to a broker on another machine: we are the client, by OpenSSL alone. A BrokerTlsContext is an upstream's: whom it
// trusts, what it shows, and the sessions that may be resumed. A BrokerTls is one connection, with no socket in it:
// ciphertext goes in and plaintext comes out, and the other way; what is to be sent gathers in output().
//
// A context is shared by the shards: immutable but for its sessions (broker_sessions.h). A connection holds what it
// needs of it, so a context may go before its connections. A BrokerTls is its shard's alone.
#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "proxy/config/config.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/tls/broker_sessions.h"
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

  std::uint32_t number() const { return number_; }  // of this context alone; never 0
  // The certificates that may be out of date: those it trusts, and our own.
  const std::vector<Certificate>& trusted() const { return trusted_; }
  const std::vector<Certificate>& shown() const { return shown_; }

 private:
  friend class BrokerTls;
  BrokerTlsContext(SSL_CTX* context, std::string server_name);

  SSL_CTX* const context_;  // a reference; owns the BrokerSessions
  const std::uint32_t number_;
  const std::string server_name_;
  std::vector<Certificate> trusted_, shown_;
};

// Of each upstream that has TLS, by its name.
using BrokerTlsContexts = std::map<std::string, std::unique_ptr<BrokerTlsContext>>;
Answer<BrokerTlsContexts> prepare_broker_tls(const std::vector<UpstreamConfig>& upstreams);

class BrokerTls {
 public:
  // What TLS itself answers (to a KeyUpdate, to a HelloRequest) while the broker takes nothing, in bytes; and how many
  // messages of TLS itself may come in one take(). Nobody else has its turn while they are answered.
  static constexpr std::size_t kMostAnswers = 16 * 1024;
  static constexpr unsigned kMostAsides = 100;

  // Whether it may resume the last session with that server.
  enum class Resumes : bool { No, Yes };

  // To `server`, whose host is the name that its certificate must have, unless the configuration says another. `now` in
  // Unix seconds: which sessions are too old.
  BrokerTls(const BrokerTlsContext& context, const Endpoint& server, Resumes resumes = Resumes::Yes,
            std::int64_t now = std::time(nullptr));
  // A session that it offered is forgotten where no handshake came of it.
  ~BrokerTls();
  BrokerTls(const BrokerTls&) = delete;
  BrokerTls& operator=(const BrokerTls&) = delete;

  // Takes all of `ciphertext`, goes on with the handshake, and appends the plaintext there is to `plain`. The first
  // call begins, with nothing. Done: the handshake is over, and goes on being so. WantInput: it needs more. Closed: the
  // broker's close_notify. Failed: error(), and so for ever.
  Step take(std::span<const std::uint8_t> ciphertext, ByteBuffer& plain);
  // Done: all of it is in output(). WantInput: nothing is, for a message of the broker's TLS has come in part, and its
  // rest goes first: again after the next take(). Failed: error(); before the handshake is over, too.
  Step write(std::span<const std::uint8_t> plain);
  // Appends our close_notify, once. False: not now, as with write(). True: it is said, or nothing can be said any more.
  bool close();
  ByteBuffer& output() { return output_; }
  const ByteBuffer& output() const { return output_; }

  bool established() const { return established_; }
  bool resumed() const;
  bool has_spent_key() const;  // a key of TLS 1.2: key_use.h. The connection has to end
  bool failed() const { return failed_; }
  bool heard() const { return heard_; }  // plaintext has come
  // The broker has taken our certificate, or our having none, where it asked. With TLS 1.3 it says so after the
  // handshake alone: by whatever it says then (RFC 8446, section 4.4.2.4).
  bool accepted() const;
  bool offered() const { return offered_.number != 0; }  // a session
  void forget();                                         // what it offered is not offered again
  const Error& error() const { return error_; }          // detail: an X509_V_ERR_*, or 0

 private:
  Step read_all(ByteBuffer& plain);
  Step fail();
  Step fail(const Error& why);
  bool name_server(const std::string& host);
  void count_aside(std::uint8_t message);
  static BIO* make_bio(BrokerTls* of);
  static int bio_read(BIO* bio, char* into, int size);
  static int bio_write(BIO* bio, const char* from, int size);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static int keep_session(SSL* ssl, ssl_session_st* session);
  static int on_verified(int good, X509_STORE_CTX* context);
  static void on_message(int sent, int version, int type, const void* bytes, std::size_t size, SSL* ssl, void*);
  friend class BrokerTlsContext;

  struct Offered {
    BrokerSessions::Proof proof;
    std::uint64_t number = 0;  // 0: none
  };

  SSL* ssl_ = nullptr;
  std::string server_;  // as the configuration writes it: whose sessions these are
  const std::int64_t now_;
  Offered offered_;
  std::span<const std::uint8_t> lent_;
  ByteBuffer output_;
  KeyUses key_uses_;
  bool wears_keys_ = false;  // its records count there
  std::size_t answers_ = 0;  // bytes of output_ that TLS itself answered; 0 when output_ was empty
  unsigned asides_ = 0;      // messages of TLS itself, in this take()
  bool established_ = false, closed_ = false, failed_ = false;
  bool answering_ = false;  // what is written now TLS itself says
  bool flooded_ = false;    // more came than is answered
  bool heard_ = false;
  bool asked_ = false;    // for our certificate
  bool spoke_ = false;    // anything at all after the handshake
  bool unnamed_ = false;  // its certificate names no host
  Error error_{Origin::Proxy, Reason::InternalError, 0, "out of memory"};
};

}  // namespace sallyport
