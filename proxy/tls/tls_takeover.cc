// Where OpenSSL has made the handshake and its records are AES-GCM's: they become ours.
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "cache/crypto/openssl_insides.h"
#include "proxy/tls/tls12_key_schedule.h"
#include "proxy/tls/tls_engine.h"

namespace sallyport {

namespace {

// RFC 8446, appendix B.4, and RFC 5289, section 3.2; 0: not AES-GCM.
std::size_t key_bytes_of(const SSL_CIPHER* cipher) {
  switch (cipher == nullptr ? 0 : SSL_CIPHER_get_protocol_id(cipher)) {
    case 0x1301:             // TLS_AES_128_GCM_SHA256
    case 0xC02B:             // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    case 0xC02F: return 16;  // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    case 0x1302:             // TLS_AES_256_GCM_SHA384
    case 0xC02C:             // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    case 0xC030: return 32;  // TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    default: return 0;
  }
}

// The keys of a TLS 1.2 connection that OpenSSL has finished the handshake of. The server's Finished is one record, the
// first under its key; a client may send its own in several.
bool keys_of_tls12(const SSL* ssl, std::uint64_t sealed_by_client, RecordKey& client, RecordKey& server) {
  const std::size_t key_bytes = key_bytes_of(SSL_get_current_cipher(ssl));
  if (key_bytes == 0) return false;
  Tls12Agreement agreed;
  agreed.hash = kdf_hash(key_bytes == 16 ? "SHA2-256" : "SHA2-384");
  const std::size_t secret =
      SSL_SESSION_get_master_key(SSL_get_session(ssl), agreed.master.data(), agreed.master.size());
  SSL_get_client_random(ssl, agreed.client_random.data(), agreed.client_random.size());
  SSL_get_server_random(ssl, agreed.server_random.data(), agreed.server_random.size());
  // OpenSSL began with an explicit nonce at random and does not say which; ours begin at another.
  if (secret != agreed.master.size() || !derive_record_keys(agreed, key_bytes, client, server) ||
      RAND_bytes(server.iv.data() + RecordKey::kSaltBytes, RecordCipher::kExplicitBytes) != 1) {
    return false;
  }
  client.sequence = sealed_by_client;
  server.sequence = 1;
  return true;
}

// How many records there are in `bytes`, whole and of application data each: what a server writes when it has the
// client's Finished, its tickets. Nothing where there is anything else.
std::optional<std::uint64_t> application_records(std::span<const std::uint8_t> bytes) {
  std::uint64_t count = 0;
  while (!bytes.empty()) {
    if (bytes.size() < RecordCipher::kHeaderBytes || bytes[0] != SSL3_RT_APPLICATION_DATA) return std::nullopt;
    const std::size_t whole = RecordCipher::kHeaderBytes + (std::size_t{bytes[3]} << 8 | bytes[4]);
    if (bytes.size() < whole) return std::nullopt;
    bytes = bytes.subspan(whole);
    ++count;
  }
  return count;
}

}  // namespace

// The handshake has finished, and OpenSSL has read no byte beyond it, for it does not read ahead: from here on it is
// only records. `output_before` is what was in the output before the client's Finished was read. Each record since then
// has used a sequence number of the server's key, which must never be used again.
bool TlsEngine::take_over(std::size_t output_before) {
  if (alone_ || !openssl_insides_hold() || SSL_has_pending(ssl_) != 0) return false;
  const SSL_SESSION* session = SSL_get_session(ssl_);
  if (session == nullptr || SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED) {
    return false;
  }
  bool taken = false;
  if (SSL_version(ssl_) == TLS1_3_VERSION) {
    const auto written = application_records(output_.bytes().subspan(output_before));
    taken = written && records_.begin(key_bytes_of(SSL_get_current_cipher(ssl_)), *written);
  } else {
    RecordKey client, server;
    taken = keys_of_tls12(ssl_, sealed_by_client_, client, server) && records_.begin(client, server);
  }
  if (taken) settle();
  return taken;
}

}  // namespace sallyport
