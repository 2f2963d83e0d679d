// A broker with TLS: OpenSSL's own server over memory, one connection after the other. No socket.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <span>
#include <string>

#include "proxy/io/byte_buffer.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {

class OpensslServer {
 public:
  explicit OpensslServer(const Identity509& identity, int version = 0) : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate(context_, identity.certificate.x509());
    SSL_CTX_use_PrivateKey(context_, identity.key.get());
    if (version != 0) SSL_CTX_set_min_proto_version(context_, version);
    if (version != 0) SSL_CTX_set_max_proto_version(context_, version);
    SSL_CTX_set_security_level(context_, 0);
    SSL_CTX_set_session_id_context(context_, reinterpret_cast<const unsigned char*>("b"), 1);
  }
  ~OpensslServer() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  OpensslServer(const OpensslServer&) = delete;
  OpensslServer& operator=(const OpensslServer&) = delete;

  void asks_of(const Certificate& ca) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), ca.x509());
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  void accept() {
    SSL_free(ssl_);
    ssl_ = SSL_new(context_);
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_accept_state(ssl_);
  }
  SSL* ssl() const { return ssl_; }
  // Returns what was said to it.
  std::string hears(std::span<const std::uint8_t> ciphertext) {
    if (!ciphertext.empty()) BIO_write(in_, ciphertext.data(), static_cast<int>(ciphertext.size()));
    std::string said(ciphertext.size() + 17'000, '\0');
    std::size_t n = 0, all = 0;
    ERR_clear_error();
    while (SSL_read_ex(ssl_, said.data() + all, said.size() - all, &n) == 1) all += n;
    ended = SSL_get_error(ssl_, 0) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    said.resize(all);
    return said;
  }
  void says(const std::string& text) {
    std::size_t n = 0;
    ASSERT_EQ(SSL_write_ex(ssl_, text.data(), text.size(), &n), 1);
  }
  void closes() {
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  std::string gives() {
    std::string bytes(BIO_ctrl_pending(out_), '\0');
    if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  bool ended = false;

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
};

}  // namespace sallyport::test
