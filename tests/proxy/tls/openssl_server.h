// A broker with TLS: OpenSSL's own server over memory, one connection after the other. No socket.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

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
  // A ClientHello that offers a session gets an alert, as from a server that has lost its keys and is strict about it.
  void refuses_resumption() { SSL_CTX_set_client_hello_cb(context_, &OpensslServer::on_client_hello, nullptr); }
  void takes_resumption() { SSL_CTX_set_client_hello_cb(context_, nullptr, nullptr); }
  void keeps_sessions(bool keeps) {
    SSL_CTX_set_session_cache_mode(context_, keeps ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
    keeps ? SSL_CTX_clear_options(context_, SSL_OP_NO_TICKET) : SSL_CTX_set_options(context_, SSL_OP_NO_TICKET);
  }
  // From the next connection on its tickets are large and its records small: a ticket comes in several.
  void has_large_tickets(bool large) {
    SSL_CTX_set_session_ticket_cb(context_, large ? &OpensslServer::on_ticket : nullptr, nullptr, nullptr);
    SSL_CTX_set_max_send_fragment(context_, large ? 512 : 16'384);
  }
  // TLS 1.3: one more ticket, record by record.
  std::vector<std::string> gives_ticket() {
    EXPECT_EQ(SSL_new_session_ticket(ssl_), 1);
    EXPECT_EQ(SSL_do_handshake(ssl_), 1);
    return records_of(gives());
  }
  // TLS 1.3: a KeyUpdate that wants one in return. TLS 1.2: a HelloRequest.
  void asks() {
    if (SSL_version(ssl_) >= TLS1_3_VERSION) {
      EXPECT_EQ(SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED), 1);
    } else {
      EXPECT_EQ(SSL_renegotiate(ssl_), 1);
    }
    SSL_do_handshake(ssl_);
  }
  static std::vector<std::string> records_of(const std::string& bytes) {
    std::vector<std::string> all;
    for (std::size_t at = 0; at + 5 <= bytes.size();) {
      const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[at + i]); };
      all.push_back(bytes.substr(at, 5 + static_cast<std::size_t>(byte(3) << 8 | byte(4))));
      at += all.back().size();
    }
    return all;
  }
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
  static int on_client_hello(SSL* ssl, int* alert, void*) {
    const unsigned char* bytes = nullptr;
    std::size_t size = 0;
    const bool offers = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &bytes, &size) == 1 ||
                        (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &bytes, &size) == 1 && size > 0);
    *alert = SSL_AD_HANDSHAKE_FAILURE;
    return offers ? SSL_CLIENT_HELLO_ERROR : SSL_CLIENT_HELLO_SUCCESS;
  }
  static int on_ticket(SSL* ssl, void*) {
    const std::string filling(1200, 'x');
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), filling.data(), filling.size());
  }

  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
};

}  // namespace sallyport::test
