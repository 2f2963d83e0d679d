"""A device that comes back by a ticket."""

import contextlib
import ssl

from .device import Device, client_context, plain, refusal


class with_session:  # noqa: N801 — stands for an SSLContext
    def __init__(self, context, session):
        self.context, self.session = context, session

    def wrap_socket(self, sock, **options):
        return self.context.wrap_socket(sock, session=self.session, **options)


def served(server, identity, tls, port=None):
    """A device registers itself, is heard, comes back by a ticket, and is refused once it is deactivated."""
    port = port or server.port
    context = client_context(identity, tls)
    with Device(port, context=context) as device:
        assert device.connect("first") == 0
        device.subscribe("t")
        device.publish("t", b"x" * 40_000)
        assert device.message()
        session = device.tls.session
        server.registered(identity)
        device.close_notify()
    before = server.metric("handshakes_total", kind="resumed", version=tls)
    with Device(port, context=with_session(context, session)) as device:
        assert device.connect("again") == 0
        assert device.tls.session_reused
        device.ping()
    assert server.metric("handshakes_total", kind="resumed", version=tls) == before + 1
    server.cli("device", "deactivate", identity.id, "--yes")
    assert refusal(port, identity, tls)


class Held:
    """A resumption whose Finished the client keeps back: the server has taken the ticket, and waits."""

    def __init__(self, port, context, session):
        self.sock = plain(port)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost", session=session)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                if said := self._out.read():
                    self.sock.sendall(said)
                came = self.sock.recv(65536)
                assert came, "it ended before its Finished was due"
                self._in.write(came)
        assert self.tls.session_reused

    def go_on(self, said):
        """The Finished, and `said`; what comes back until the end, or a first word."""
        self.tls.write(said)
        with contextlib.suppress(ConnectionError), self.sock:
            self.sock.sendall(self._out.read())
            while came := self.sock.recv(65536):
                self._in.write(came)
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                    return self.tls.read(100)
        return b""
