"""What the RFCs forbid a client: it hears the alert that they name, and the operator reads what it did."""

import contextlib
import socket
import struct

import pytest

from harness.authority import der as der_of
from harness.server import listener

ALERT, HANDSHAKE = 21, 22
ILLEGAL_PARAMETER, UNEXPECTED_MESSAGE, UNSUPPORTED_CERTIFICATE = 47, 10, 43
EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")  # RFC 5480, section 2.1.1


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    return running


def vector(content, length_bytes):
    return len(content).to_bytes(length_bytes, "big") + content


def numbers(*values):
    return b"".join(struct.pack(">H", value) for value in values)


def message(kind, body):
    return bytes([kind]) + vector(body, 3)


def record(kind, content):
    return bytes([kind, 3, 3]) + vector(content, 2)


def hello(suite, *more):
    """A TLS 1.2 ClientHello: our own handshake answers AES-128, OpenSSL's AES-256."""
    extensions = [
        (10, vector(numbers(29, 23), 2)),
        (13, vector(numbers(0x0403, 0x0804), 2)),
        (23, b""),
        (0xFF01, b"\0"),
        *more,
    ]
    listed = b"".join(numbers(kind) + vector(content, 2) for kind, content in extensions)
    return message(1, b"\3\3" + bytes(32) + b"\0" + vector(numbers(suite), 2) + b"\1\0" + vector(listed, 2))


class Peer:
    """Says what it is told to, and hears records."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def say(self, kind, content):
        self.socket.sendall(record(kind, content))

    def hear(self):
        def take(n):
            taken = b""
            while len(taken) < n:
                more = self.socket.recv(n - len(taken))
                assert more, "it is over"
                taken += more
            return taken

        kind, _, _, high, low = take(5)
        return kind, take(high << 8 | low)

    def hear_flight(self):
        """Up to the ServerHelloDone."""
        while True:
            kind, content = self.hear()
            assert kind == HANDSHAKE
            if content[0] == 14:
                return


@contextlib.contextmanager
def peer(port):
    made = Peer(port)
    try:
        yield made
    finally:
        made.socket.close()


OWN, OPENSSL = 0xC02B, 0xC02C


@pytest.mark.parametrize("suite", [OWN, OPENSSL])
def test_an_extension_comes_once(server, suite):
    """Whatever its type: RFC 5246, section 7.4.1.4, and RFC 8446, section 4.2."""
    with server.refuses("tls_error", what="an extension is twice in the ClientHello"), peer(server.port) as client:
        client.say(HANDSHAKE, hello(suite, (0x3A3A, b"\1"), (0x3A3A, b"")))
        assert client.hear() == (ALERT, bytes([2, ILLEGAL_PARAMETER]))


@pytest.mark.parametrize("suite", [OWN, OPENSSL])
def test_points_are_uncompressed(server, suite):
    """A client that takes no others than compressed ones is refused: RFC 8422, section 5.1.2."""
    with server.refuses("tls_error", what="the client takes no uncompressed points"), peer(server.port) as client:
        client.say(HANDSHAKE, hello(suite, (11, b"\1\1")))
        assert client.hear() == (ALERT, bytes([2, ILLEGAL_PARAMETER]))


@pytest.mark.parametrize("suite", [OWN, OPENSSL])
def test_a_key_of_an_unknown_algorithm(server, root, suite):
    """Both the device and the operator are told that it is the key."""
    der = der_of(root.issue(f"unknown key {suite}").certificate).replace(EC_PUBLIC_KEY, EC_PUBLIC_KEY[:-1] + b"\x77")
    what = "the key of the client's certificate is of an algorithm that is unknown here"
    with server.refuses("tls_error", what=what), peer(server.port) as client:
        client.say(HANDSHAKE, hello(suite))
        client.hear_flight()
        client.say(HANDSHAKE, message(11, vector(vector(der, 3), 3)))
        assert client.hear() == (ALERT, bytes([2, UNSUPPORTED_CERTIFICATE]))


@pytest.mark.parametrize("suite", [OWN, OPENSSL])
def test_an_empty_alert(server, suite):
    """It is none: RFC 8446, section 5.4, and RFC 5246, section 6.2.1."""
    with server.refuses("tls_error"), peer(server.port) as client:
        client.say(HANDSHAKE, hello(suite))
        client.hear_flight()
        client.say(ALERT, b"")
        assert client.hear() == (ALERT, bytes([2, UNEXPECTED_MESSAGE]))
