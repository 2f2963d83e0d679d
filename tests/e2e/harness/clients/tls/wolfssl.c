// wolfSSL. Build: cc wolfssl.c -lwolfssl
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "echo.h"

static void say(void* session, const void* bytes, int count) {
  must(wolfSSL_write(session, bytes, count) == count, "wolfSSL_write");
}
static int hear(void* session, void* bytes, int count) {
  const int n = wolfSSL_read(session, bytes, count);
  if (n > 0) return n;
  must(wolfSSL_get_error(session, n) == WOLFSSL_ERROR_ZERO_RETURN, "wolfSSL_read");
  return 0;
}
static void end(void* session) {
  must(wolfSSL_shutdown(session) == WOLFSSL_SHUTDOWN_NOT_DONE, "wolfSSL_shutdown");
}

int main(int argc, char** argv) {
  must(argc == 7, "usage");
  const Library library = {say, hear, end};
  wolfSSL_Init();
  const int is_13 = strcmp(argv[5], "1.3") == 0;
  WOLFSSL_CTX* context = wolfSSL_CTX_new(is_13 ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
  must(wolfSSL_CTX_load_verify_locations(context, argv[2], NULL) == WOLFSSL_SUCCESS, "trust");
  if (strcmp(argv[3], "-") != 0) {
    must(wolfSSL_CTX_use_certificate_chain_file(context, argv[3]) == WOLFSSL_SUCCESS &&
             wolfSSL_CTX_use_PrivateKey_file(context, argv[4], WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS,
         "key");
  }
  WOLFSSL_SESSION* kept = NULL;
  for (int round = 0; round < 2; ++round) {
    WOLFSSL* session = wolfSSL_new(context);
    must(wolfSSL_UseSNI(session, WOLFSSL_SNI_HOST_NAME, "localhost", 9) == WOLFSSL_SUCCESS &&
             wolfSSL_check_domain_name(session, "localhost") == WOLFSSL_SUCCESS &&
             wolfSSL_UseSessionTicket(session) == WOLFSSL_SUCCESS,
         "settings");
    if (kept != NULL) must(wolfSSL_set_session(session, kept) == WOLFSSL_SUCCESS, "session");
    const int fd = connected(argv[1]);
    wolfSSL_set_fd(session, fd);
    const int done = wolfSSL_connect(session);
    char why[WOLFSSL_MAX_ERROR_SZ];
    must(done == WOLFSSL_SUCCESS, wolfSSL_ERR_error_string((unsigned long)wolfSSL_get_error(session, done), why));
    const int resumed = wolfSSL_session_reused(session);
    const char* suite = wolfSSL_get_cipher(session);
    const int count = echoed(&library, session);
    kept = wolfSSL_get1_session(session);
    printf("%s TLSv%s %s %d\n", resumed ? "resumed" : "full", argv[5], suite, count);
    wolfSSL_free(session);
    close(fd);
  }
  return 0;
}
