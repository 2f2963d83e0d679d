"""OpenSSL, by Python's ssl, whichever version that has."""

import socket
import ssl
import sys

PORT, CA, CHAIN, KEY, VERSION, FRAGMENT = sys.argv[1:]
PIECE, PIECES, LAST = 16000, 19, 1000


class Connection:
    """An SSLObject, which goes on reading after it has said close_notify; an SSLSocket does not."""

    def __init__(self, context, session):
        self.socket = socket.create_connection(("127.0.0.1", int(PORT)))
        self.came, self.goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.goes, server_hostname="localhost", session=session)
        self.do(self.tls.do_handshake)

    def flush(self):
        if data := self.goes.read():
            self.socket.sendall(data)

    def do(self, step, *arguments):
        while True:
            try:
                done = step(*arguments)
                self.flush()
                return done
            except ssl.SSLWantReadError:
                self.flush()
                got = self.socket.recv(65536)
                self.came.write(got) if got else self.came.write_eof()

    def end_half(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()
        self.socket.shutdown(socket.SHUT_WR)

    def rest(self):
        """Until the server's close_notify; without one an SSLEOFError."""
        while True:
            try:
                yield self.do(self.tls.read, 65536)
            except ssl.SSLZeroReturnError:
                return

    def read(self, count):
        got = b""
        while len(got) < count and (part := self.do(self.tls.read, count - len(got))):
            got += part
        return got


context = ssl.create_default_context(cafile=CA)
context.minimum_version = context.maximum_version = ssl.TLSVersion["TLSv" + VERSION.replace(".", "_")]
context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13: the tests' CA names no key of its own
if CHAIN != "-":
    context.load_cert_chain(CHAIN, KEY)
session = None
for _ in range(2):
    connection = Connection(context, session)
    count = 0
    for number in range(PIECES):
        piece = bytes([number]) * PIECE
        connection.do(connection.tls.write, piece)
        assert connection.read(PIECE) == piece
        count += PIECE
    connection.do(connection.tls.write, b"x" * LAST)
    session = connection.tls.session
    connection.end_half()
    count += sum(len(part) for part in connection.rest())
    print("resumed" if connection.tls.session_reused else "full", connection.tls.version(), connection.tls.cipher()[0], count,
          flush=True)
