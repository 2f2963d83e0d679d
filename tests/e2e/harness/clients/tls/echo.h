// What the clients in C have in common: a connection, and the echo of its bytes by the library's read and write.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kPiece = 16000, kPieces = 19, kLast = 1000 };

static void must(int good, const char* what) {
  if (good) return;
  fprintf(stderr, "%s failed\n", what);
  exit(1);
}

static int connected(const char* port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  must(fd >= 0 && connect(fd, (struct sockaddr*)&to, sizeof to) == 0, "connect");
  return fd;
}

// Of the library: writes all; reads what is there, 0 at a close_notify; ends its half.
typedef struct {
  void (*write)(void* session, const void* bytes, int count);
  int (*read)(void* session, void* bytes, int count);
  void (*end)(void* session);
} Library;

static int echoed(const Library* library, void* session) {
  static unsigned char piece[kPiece], back[kPiece];
  int count = 0;
  for (int number = 0; number < kPieces; ++number) {
    memset(piece, number, sizeof piece);
    library->write(session, piece, sizeof piece);
    int got = 0;
    while (got < kPiece) {
      const int n = library->read(session, back + got, kPiece - got);
      must(n > 0, "read");
      got += n;
    }
    must(memcmp(piece, back, sizeof piece) == 0, "the echo of a piece");
    count += got;
  }
  library->write(session, piece, kLast);
  library->end(session);
  for (int n; (n = library->read(session, back, sizeof back)) > 0;) count += n;
  return count;
}
