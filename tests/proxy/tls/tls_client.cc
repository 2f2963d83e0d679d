#include "tests/proxy/tls/tls_client.h"

#include <openssl/err.h>

namespace sallyport::test {

TlsClient::TlsClient(const Options& options) : context_(SSL_CTX_new(TLS_client_method())) {
  if (!options.groups.empty()) SSL_CTX_set1_groups_list(context_, options.groups.c_str());
  if (!options.ciphers.empty()) SSL_CTX_set_cipher_list(context_, options.ciphers.c_str());
  if (options.version != 0) {
    SSL_CTX_set_min_proto_version(context_, options.version);
    SSL_CTX_set_max_proto_version(context_, options.version);
  }
  if (!options.tickets) SSL_CTX_set_options(context_, SSL_OP_NO_TICKET);
  if (!options.signature_algorithms.empty()) SSL_CTX_set1_sigalgs_list(context_, options.signature_algorithms.c_str());
  if (options.trust != nullptr) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), options.trust->x509());
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  }
  // Not in the context: its end would make the sessions in it unfit for resumption.
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_security_level(context_, 0);  // the server's rules are under test, not the client's
  ssl_ = SSL_new(context_);
  if (options.device != nullptr) {
    SSL_use_certificate(ssl_, options.device->certificate.x509());
    SSL_use_PrivateKey(ssl_, options.device->key.get());
    for (const Certificate* above : options.intermediates) SSL_add1_chain_cert(ssl_, above->x509());
  }
  SSL_set_mode(ssl_, SSL_MODE_NO_AUTO_CHAIN);
  if (!options.server_name.empty()) SSL_set_tlsext_host_name(ssl_, options.server_name.c_str());
  in_ = BIO_new(BIO_s_mem());
  out_ = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in_, -1);
  SSL_set_bio(ssl_, in_, out_);
  SSL_set_connect_state(ssl_);
  SSL_set_app_data(ssl_, this);
  SSL_set_info_callback(ssl_, [](const SSL* ssl, int where, int what) {
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT) {
      static_cast<TlsClient*>(SSL_get_app_data(ssl))->alert_ = what & 0xFF;
    }
  });
}

TlsClient::~TlsClient() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

void TlsClient::take(std::span<const std::uint8_t> ciphertext) {
  BIO_write(in_, ciphertext.data(), static_cast<int>(ciphertext.size()));
}

std::vector<std::uint8_t> TlsClient::give() {
  std::vector<std::uint8_t> bytes(BIO_ctrl_pending(out_));
  if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

void TlsClient::note(int outcome) {
  const int kind = SSL_get_error(ssl_, outcome);
  if (kind == SSL_ERROR_ZERO_RETURN) closed_ = true;
  if (kind == SSL_ERROR_SSL) error_ = ERR_GET_REASON(ERR_peek_last_error());
  ERR_clear_error();
}

bool TlsClient::handshake() {
  ERR_clear_error();
  const int outcome = SSL_do_handshake(ssl_);
  if (outcome != 1) note(outcome);
  return outcome == 1;
}

void TlsClient::send(std::span<const std::uint8_t> plain) {
  std::size_t written = 0;
  ERR_clear_error();
  if (!plain.empty() && SSL_write_ex(ssl_, plain.data(), plain.size(), &written) != 1) note(0);
}

std::string TlsClient::receive() {
  std::string all;
  char chunk[4096];
  std::size_t n = 0;
  ERR_clear_error();
  while (SSL_read_ex(ssl_, chunk, sizeof chunk, &n) == 1) all.append(chunk, n);
  note(0);
  return all;
}

void TlsClient::close() {
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

}  // namespace sallyport::test
