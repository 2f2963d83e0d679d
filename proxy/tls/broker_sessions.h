// The last TLS session with each server of an upstream, to be resumed. What is kept is a copy of the connection's, and
// what is given a copy of that: OpenSSL marks the session of a connection that broke as not to be resumed, and no two
// threads may have one of them. Any thread; the lock is held for a copy.
//
// Who resumes shows no certificate. So a session, and every session that was resumed from it, ends with the first
// certificate of the chain that proved the server, and kLongestS after that proof (RFC 8446, section 4.6.1: at most 7
// days). One that a server does not take is forgotten: it would be offered again and again.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

class BrokerSessions {
 public:
  static constexpr std::int64_t kLongestS = 24 * 3600;

  using SessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<&SSL_SESSION_free>>;
  // How the server was proven, in the full handshake that it began with. Unix seconds.
  struct Proof {
    std::int64_t made_at = 0;
    std::int64_t good_until = 0;  // the last second of the first certificate of its chain that ends
  };
  struct Kept {
    SessionPtr session;  // null: there is none
    Proof proof;
    std::uint64_t number = 0;  // of this session alone; never 0
  };

  void keep(const std::string& server, SSL_SESSION* session, const Proof& proof);
  Kept last(const std::string& server, std::int64_t now);
  void forget(const std::string& server, std::uint64_t number);  // unless there is a newer one

  // Of a connection whose chain was verified just now. What OpenSSL cannot read has ended.
  static Proof proof_of(const SSL* ssl, std::int64_t now);

 private:
  std::mutex mutex_;
  std::map<std::string, Kept> by_server_;
  std::uint64_t kept_ = 0;
};

}  // namespace sallyport
