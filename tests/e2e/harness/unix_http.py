"""HTTP over the admin socket: what `curl --unix-socket` does, so that the API is seen without our own client."""

import http.client
import json
import socket
from contextlib import closing


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method, target, body=None):
    """One request; (status, content type, parsed JSON or text)."""
    connection = UnixConnection(path)
    try:
        connection.request(method, target, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text, kind = answer.read().decode(), answer.getheader("content-type", "")
        return answer.status, kind, json.loads(text) if "json" in kind else text
    finally:
        connection.close()


def got(server, target):
    """What the API answers on the admin socket."""
    with closing(UnixConnection(server.socket, 30)) as connection:
        connection.request("GET", target)
        return json.loads(connection.getresponse().read())
