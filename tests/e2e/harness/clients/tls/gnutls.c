// GnuTLS. Build: cc gnutls.c -lgnutls
#include <gnutls/gnutls.h>

#include "echo.h"

static void say(void* session, const void* bytes, int count) {
  for (int n; count > 0; count -= n, bytes = (const char*)bytes + n) {
    n = (int)gnutls_record_send(session, bytes, (size_t)count);
    must(n > 0, "gnutls_record_send");
  }
}
static int hear(void* session, void* bytes, int count) {
  ssize_t n;
  do n = gnutls_record_recv(session, bytes, (size_t)count);
  while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
  must(n >= 0, gnutls_strerror((int)n));  // GNUTLS_E_PREMATURE_TERMINATION without a close_notify
  return (int)n;
}
static void end(void* session) {
  must(gnutls_bye(session, GNUTLS_SHUT_WR) == 0, "gnutls_bye");
}

int main(int argc, char** argv) {
  must(argc == 7, "usage");
  const Library library = {say, hear, end};
  gnutls_certificate_credentials_t credentials;
  gnutls_certificate_allocate_credentials(&credentials);
  must(gnutls_certificate_set_x509_trust_file(credentials, argv[2], GNUTLS_X509_FMT_PEM) > 0, "trust");
  if (strcmp(argv[3], "-") != 0) {
    must(gnutls_certificate_set_x509_key_file(credentials, argv[3], argv[4], GNUTLS_X509_FMT_PEM) == 0, "key");
  }
  char priority[64];
  snprintf(priority, sizeof priority, "NORMAL:-VERS-ALL:+VERS-TLS%s", argv[5]);
  gnutls_datum_t kept = {NULL, 0};
  for (int round = 0; round < 2; ++round) {
    gnutls_session_t session;
    gnutls_init(&session, GNUTLS_CLIENT);
    must(gnutls_priority_set_direct(session, priority, NULL) == 0, "priority");
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_server_name_set(session, GNUTLS_NAME_DNS, "localhost", 9);
    gnutls_session_set_verify_cert(session, "localhost", 0);
    if (kept.size > 0) must(gnutls_session_set_data(session, kept.data, kept.size) == 0, "session");
    const int fd = connected(argv[1]);
    gnutls_transport_set_int(session, fd);
    int done;
    do done = gnutls_handshake(session);
    while (done < 0 && gnutls_error_is_fatal(done) == 0);
    must(done == 0, gnutls_strerror(done));
    const int resumed = gnutls_session_is_resumed(session);
    const int count = echoed(&library, session);
    gnutls_free(kept.data);
    must(gnutls_session_get_data2(session, &kept) == 0, "gnutls_session_get_data2");
    char* suite = gnutls_session_get_desc(session);
    printf("%s TLSv%s %s %d\n", resumed ? "resumed" : "full", argv[5], suite, count);
    gnutls_free(suite);
    gnutls_deinit(session);
    close(fd);
  }
  return 0;
}
