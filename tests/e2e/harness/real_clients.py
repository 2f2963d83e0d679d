"""Devices of other TLS libraries (clients/tls/README.md), and the echo that stands behind the listener they connect to."""

import shutil
import socket
import subprocess
import threading
from collections import namedtuple
from pathlib import Path

from .wait import PATIENCE

_FOLDER = Path(__file__).parent / "clients" / "tls"
Client = namedtuple("Client", "name versions build run slow", defaults=([], [], False))
Met = namedtuple("Met", "resumed version suite count")
BYTES = 16000 * 19 + 1000

# `build` and `run` are commands: {source} and {program} are where they are, {work} is a folder of their own.
_C = ["cc", "-O1", "-o", "{program}", "{source}.c"]
CLIENTS = {each.name: each for each in (
    Client("openssl", ("1.2", "1.3"), run=["/usr/bin/python3", "{source}.py"]),
    Client("gnutls", ("1.2", "1.3"), [*_C, "-lgnutls"], ["{program}"]),
    Client("wolfssl", ("1.2", "1.3"), [*_C, "-lwolfssl"], ["{program}"]),
    Client("mbedtls", ("1.2",), [*_C, "-lmbedtls", "-lmbedx509", "-lmbedcrypto"], ["{program}"]),
    Client("node", ("1.2", "1.3"), run=["node", "{source}.js"]),
    Client("go", ("1.2", "1.3"), ["go", "build", "-o", "{program}", "{source}.go"], ["{program}"], slow=True),
    Client("java", ("1.2", "1.3"), ["javac", "-d", "{work}", "{source}.java"], ["java", "-cp", "{work}", "Client"], slow=True),
)}
_SOURCES = {"openssl": "client", "node": "client", "go": "client", "java": "Client"}


class Program:
    """A client that is ready to run. `prefix`: what to run it by, such as a chroot."""

    def __init__(self, client, work, prefix=()):
        self.client, self.prefix = client, list(prefix)
        self.work = Path(work) / client.name
        self.work.mkdir(parents=True, exist_ok=True)
        source = _FOLDER / _SOURCES.get(client.name, client.name)
        if prefix:  # what it reads is where it sees it, too
            for file in source.parent.glob(source.name + ".*"):
                shutil.copy(file, self.work)
            source = self.work / source.name
        self.words = {"source": str(source), "program": str(self.work / "program"), "work": str(self.work)}
        if client.build:
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.work), "GO111MODULE": "off",
                           "GOCACHE": str(self.work / "cache")}
            done = subprocess.run(self._filled(client.build), capture_output=True, text=True, check=False, env=environment,
                                  timeout=10 * PATIENCE)
            assert done.returncode == 0, done.stderr

    def _filled(self, command):
        return [word.format(**self.words) for word in command]

    def run(self, port, ca_file, identity, version, fragment=0):
        """[Met, Met]: a connection, and one that resumes it. `identity`: None for none."""
        certificate = ["-", "-"] if identity is None else [identity.chain_file, identity.key_file]
        done = subprocess.run([*self.prefix, *self._filled(self.client.run), str(port), ca_file, *certificate, version,
                               str(fragment)], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, f"{self.client.name}: {done.returncode}: {done.stdout}{done.stderr}"
        met = []
        for line in done.stdout.splitlines():
            how, of, rest = line.split(" ", 2)
            suite, count = rest.rsplit(" ", 1)
            met.append(Met({"full": False, "resumed": True}[how], of.removeprefix("TLSv"), suite, int(count)))
        return met


class Echo:
    """Sends back what it gets, also what is on its way when the other side has ended its half. `ends_after`: so many
    bytes, and then it ends by itself."""

    def __init__(self, ends_after=0):
        self._ends_after = ends_after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            count = 0
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
                    count += len(data)
                    if count == self._ends_after:
                        return
            except OSError:
                pass

    def stop(self):
        self._listening.close()
