"""Strangers who take every place on the network's HTTP servers: whoever has come to ask something is answered."""

import contextlib
import http.client
import selectors
import socket
import threading

import pytest

from harness.admin import Admin
from harness.server import listener
from harness.wait import PATIENCE

PLACES = 256  # HttpLimits::connections


class Crowd:
    """More connections than there are places. Each sends `request` and reads nothing; one that is closed comes back."""

    def __init__(self, port, request, address="127.0.0.1"):
        self.port, self.request, self.address = port, request, address
        self.stop = threading.Event()
        self.made = 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def one(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.settimeout(5)
        sock.bind((self.address, 0))
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", self.port))
            sock.setblocking(False)
            sock.send(self.request)
        self.made += 1
        return sock

    def run(self):
        with selectors.DefaultSelector() as ends:
            crowd = set()
            while not self.stop.is_set():
                while len(crowd) < PLACES + 44 and not self.stop.is_set():
                    sock = self.one()
                    crowd.add(sock)
                    ends.register(sock, selectors.EVENT_READ)
                for key, _ in ends.select(0.05):
                    sock = key.fileobj
                    with contextlib.suppress(OSError):
                        # What is there to read is left there: a reset or an end shows as an error, or as nothing.
                        if sock.recv(1, socket.MSG_PEEK) and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 \
                                and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1:
                            continue
                    ends.unregister(sock)
                    sock.close()
                    crowd.discard(sock)
            for sock in crowd:
                sock.close()

    def __enter__(self):
        self.thread.start()
        while self.made < PLACES + 44:
            self.stop.wait(0.05)
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)


@pytest.fixture(scope="module")
def admin(work, broker, site):
    running = Admin(work / "crowd", [listener(site)], broker, {})
    yield running
    running.server.stop()


def asked(port, target, token=None):
    """The status of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def head(line, *fields):
    return "\r\n".join([line, "Host: 127.0.0.1", *fields, "", ""]).encode()


@pytest.mark.parametrize("what", ["answers that nobody reads", "a body byte by byte", "half a head"])
def test_an_operator_is_answered_beside_a_crowd(admin, what):
    """A stranger's requests whose answers are not read, a viewer's body of which one byte comes, heads that do not end."""
    operator, viewer = admin.token("operator"), admin.token("viewer")
    request = {
        "answers that nobody reads": head("GET /v1/openapi.json HTTP/1.1") * 90,
        "a body byte by byte": head("POST /v1/explain HTTP/1.1", f"Authorization: Bearer {viewer}",
                                    "Content-Length: 1000") + b"{",
        "half a head": b"GET /v1/openapi.json HTT",
    }[what]
    with Crowd(admin.port, request) as crowd:
        for _ in range(20):
            assert asked(admin.port, "/v1/tokens", operator) == 200
        assert admin.server.json("token", "list"), "nor is anybody kept from the socket"
    assert crowd.made > PLACES


def test_metrics_are_read_beside_a_crowd(admin):
    """Prometheus' page, and the probes of a balancer: nobody shows a token there, so it is the crowd's address that has
    too many places."""
    port = int(admin.server.metrics_address.rsplit(":", 1)[1])
    with Crowd(port, head("GET /metrics HTTP/1.1") * 90, "127.0.0.2"):
        for _ in range(10):
            assert asked(port, "/livez") == 200 and asked(port, "/metrics") == 200
