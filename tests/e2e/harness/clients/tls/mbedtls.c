// mbedTLS 2.28, which has no TLS 1.3 for us, or 3.6. Build: cc mbedtls.c -lmbedtls -lmbedx509 -lmbedcrypto
#define MBEDTLS_ALLOW_PRIVATE_ACCESS  // 3.6: a session's secret
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>

#include "echo.h"

static void say(void* session, const void* bytes, int count) {
  for (int n; count > 0; count -= n, bytes = (const char*)bytes + n) {
    n = mbedtls_ssl_write(session, bytes, (size_t)count);  // a record at a time
    must(n > 0, "mbedtls_ssl_write");
  }
}
static int hear(void* session, void* bytes, int count) {
  const int n = mbedtls_ssl_read(session, bytes, (size_t)count);
  must(n >= 0 || n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, "mbedtls_ssl_read");
  return n > 0 ? n : 0;
}
static void end(void* session) {
  must(mbedtls_ssl_close_notify(session) == 0, "mbedtls_ssl_close_notify");
}

int main(int argc, char** argv) {
  must(argc == 7 && strcmp(argv[5], "1.2") == 0, "usage");
  const Library library = {say, hear, end};
  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;
  mbedtls_ssl_config config;
  mbedtls_x509_crt trusted, chain;
  mbedtls_pk_context key;
  mbedtls_entropy_init(&entropy);
  mbedtls_ctr_drbg_init(&random);
  mbedtls_ssl_config_init(&config);
  mbedtls_x509_crt_init(&trusted);
  mbedtls_x509_crt_init(&chain);
  mbedtls_pk_init(&key);
  must(mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0) == 0, "random");
  must(mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                   MBEDTLS_SSL_PRESET_DEFAULT) == 0,
       "defaults");
  must(mbedtls_x509_crt_parse_file(&trusted, argv[2]) == 0, "trust");
  mbedtls_ssl_conf_ca_chain(&config, &trusted, NULL);
  mbedtls_ssl_conf_max_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
  mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
  if (strcmp(argv[3], "-") != 0) {
#if MBEDTLS_VERSION_MAJOR >= 3
    const int read = mbedtls_pk_parse_keyfile(&key, argv[4], NULL, mbedtls_ctr_drbg_random, &random);
#else
    const int read = mbedtls_pk_parse_keyfile(&key, argv[4], NULL);
#endif
    must(mbedtls_x509_crt_parse_file(&chain, argv[3]) == 0 && read == 0 &&
             mbedtls_ssl_conf_own_cert(&config, &chain, &key) == 0,
         "key");
  }
  // Its own list begins with ChaCha20, and what begins so is OpenSSL's.
  static const int kAesFirst[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                  MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 0};
  if (atoi(argv[6]) == 0) mbedtls_ssl_conf_ciphersuites(&config, kAesFirst);
  // RFC 6066, section 4: 1 to 4 are 512 to 4096 bytes.
  int code = MBEDTLS_SSL_MAX_FRAG_LEN_NONE;
  for (int fragment = atoi(argv[6]); fragment >= 512 && fragment <= 4096; fragment /= 2) ++code;
  must(mbedtls_ssl_conf_max_frag_len(&config, (unsigned char)code) == 0, "fragment");
  mbedtls_ssl_session kept;
  mbedtls_ssl_session_init(&kept);
  for (int round = 0; round < 2; ++round) {
    mbedtls_ssl_context session;
    mbedtls_ssl_init(&session);
    must(mbedtls_ssl_setup(&session, &config) == 0 && mbedtls_ssl_set_hostname(&session, "localhost") == 0, "settings");
    if (round > 0) must(mbedtls_ssl_set_session(&session, &kept) == 0, "session");
    mbedtls_net_context net = {connected(argv[1])};
    mbedtls_ssl_set_bio(&session, &net, mbedtls_net_send, mbedtls_net_recv, NULL);
    const int done = mbedtls_ssl_handshake(&session);
    if (done != 0) fprintf(stderr, "-0x%04x: ", (unsigned)-done);
    must(done == 0, "mbedtls_ssl_handshake");
    // It does not say whether it resumed: a server that does keeps the session's master secret.
    mbedtls_ssl_session now;
    mbedtls_ssl_session_init(&now);
    must(mbedtls_ssl_get_session(&session, &now) == 0, "mbedtls_ssl_get_session");
    const int resumed = round > 0 && memcmp(now.master, kept.master, sizeof now.master) == 0;
    const int count = echoed(&library, &session);
    printf("%s TLSv1.2 %s %d\n", resumed ? "resumed" : "full", mbedtls_ssl_get_ciphersuite(&session), count);
    mbedtls_ssl_session_free(&kept);
    kept = now;
    mbedtls_ssl_free(&session);
    mbedtls_net_free(&net);
  }
  return 0;
}
