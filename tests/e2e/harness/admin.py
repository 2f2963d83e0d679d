"""A server with an admin address, asked over the network."""

import http.client
import json
import os
import subprocess
from contextlib import closing
from pathlib import Path

from .server import BINARY, Sallyport
from .wait import PATIENCE


class Admin:
    """A server with an admin address; `token(role)` makes tokens, `http(…)` asks over the network."""

    def __init__(self, folder, listeners, broker, admin, **tables):
        admin = {"socket": str(Path(folder) / "admin.sock"), "address": "127.0.0.1:0", **admin}
        self.server = Sallyport(folder, listeners, broker, admin=admin, **tables).start()
        self._ports = {}  # by process: port 0 is another one after a restart

    @property
    def port(self):
        process = self.server.process.pid
        if process not in self._ports:
            address = self.server.lines("ready")[-1].fields["admin_address"]
            self._ports[process] = int(address.rsplit(":", 1)[1])
        return self._ports[process]

    def token(self, role="operator", name=None, *more):
        name = name or f"{role}-{os.urandom(4).hex()}"
        return self.server.cli("token", "create", "--name", name, "--role", role, "--yes", *more).stdout.strip()

    def connection(self, timeout=PATIENCE):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def http(self, method, target, token=None, body=None, authorization=None, raw=None):
        """One request; (status, headers, parsed JSON or text)."""
        headers = {}
        if token is not None or authorization is not None:
            headers["Authorization"] = authorization if authorization is not None else f"Bearer {token}"
        with closing(self.connection()) as connection:
            connection.request(method, target, raw if raw is not None else None if body is None else json.dumps(body),
                               headers)
            return answer_of(connection)

    def cli(self, *arguments, status=0, url=None, token_file=None, **environment):
        """The command line as on another machine: no socket, the address by flags or by the environment."""
        flags = (["--url", url] if url else []) + (["--token-file", str(token_file)] if token_file else [])
        left_out = ("SALLYPORT_SOCKET", "SALLYPORT_URL", "SALLYPORT_TOKEN", "SSL_CERT_FILE")
        env = {key: value for key, value in os.environ.items() if key not in left_out}
        done = subprocess.run([BINARY, *arguments, *flags], capture_output=True, text=True, timeout=120,
                              env={**env, "SALLYPORT_SOCKET": "/dev/null/admin.sock", **environment})
        assert done.returncode == status, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done


def answer_of(connection):
    answer = connection.getresponse()
    kind = answer.getheader("content-type", "")
    # A stream has no end by itself: its first line, a heartbeat at the latest.
    raw = answer.readline() if kind == "application/x-ndjson" else answer.read()
    text = raw.decode(errors="replace")
    if answer.status >= 400:
        assert kind == "application/problem+json", (answer.status, kind, text)
    return answer.status, dict(answer.getheaders()), json.loads(text) if "json" in kind else text
