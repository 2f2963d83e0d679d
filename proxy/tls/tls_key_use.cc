#include "proxy/tls/tls_key_use.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <cstdint>

#include "cache/crypto/openssl_ptr.h"
#include "proxy/tls/record_layer.h"

namespace sallyport {

namespace {

void on_record(int written, int, int type, const void* bytes, std::size_t length, SSL*, void* of) {
  count_record(written, type, bytes, length, *static_cast<KeyUses*>(of));
}

}  // namespace

bool wears_keys(const SSL* ssl) {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  const int kind = cipher == nullptr ? NID_undef : SSL_CIPHER_get_cipher_nid(cipher);
  return kind == NID_aes_128_gcm || kind == NID_aes_256_gcm;
}

void count_record(int written, int type, const void* bytes, std::size_t length, KeyUses& uses) {
  if (type != SSL3_RT_HEADER || length < RecordCipher::kHeaderBytes) return;
  const std::size_t record_bytes = record_length({static_cast<const std::uint8_t*>(bytes), length});
  (written != 0 ? uses.written : uses.read).add(record_bytes);
}

void count_key_use(SSL* ssl, KeyUses& uses) {
  SSL_set_msg_callback(ssl, wears_keys(ssl) ? &on_record : nullptr);
  SSL_set_msg_callback_arg(ssl, &uses);
}

bool has_spent_key(const SSL* ssl, const KeyUses& uses) {
  return SSL_version(ssl) < TLS1_3_VERSION && uses.spent();
}

void renew_spent_key(SSL* ssl, KeyUses& uses) {
  if (!uses.written.spent() || SSL_version(ssl) < TLS1_3_VERSION) return;
  // It is sent before the next record. Where OpenSSL is about to send one already, that is the one.
  if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) uses.written.renew();
  clear_errors();
}

}  // namespace sallyport
