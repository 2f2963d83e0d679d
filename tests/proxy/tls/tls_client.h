// A real OpenSSL client over memory: what the engine and the simulation shake hands with. No socket.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {

class TlsClient {
 public:
  struct Options {
    const Identity509* device = nullptr;            // no certificate is sent without one
    std::vector<const Certificate*> intermediates;  // sent behind it
    const Certificate* trust = nullptr;             // null: the server's certificate is not checked
    int version = 0;                                // TLS1_2_VERSION, TLS1_3_VERSION; 0: both
    std::string groups;                             // empty: OpenSSL's own list
    std::string ciphers;                            // of TLS 1.2; empty: OpenSSL's own list
    std::string server_name;
    std::string signature_algorithms;  // to choose between an RSA and an ECDSA server
    bool tickets = true;
  };
  explicit TlsClient(const Options& options);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  void take(std::span<const std::uint8_t> ciphertext);  // from the server
  std::vector<std::uint8_t> give();                     // to the server
  bool handshake();                                     // true once finished
  void send(std::span<const std::uint8_t> plain);
  std::string receive();                   // all plaintext there is
  void close();                            // close_notify
  int alert() const { return alert_; }     // the description the server sent, or -1
  bool closed() const { return closed_; }  // the server's close_notify arrived
  int error() const { return error_; }     // the last fatal reason, 0
  SSL* ssl() const { return ssl_; }

 private:
  void note(int outcome);
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
  int alert_ = -1;
  int error_ = 0;
  bool closed_ = false;
};

}  // namespace sallyport::test
