"""bench/load, the load generator: run, as a sink, and the certificates it makes."""

import subprocess
from pathlib import Path

from .server import BINARY
from .wait import PATIENCE, patient

LOAD = Path(BINARY).parent / "bench" / "load"


def said_by(*arguments, timeout=30):
    """Runs load; its exit status and what it said."""
    return subprocess.run([LOAD, *map(str, arguments)], capture_output=True, text=True, timeout=patient(timeout))


class Sink:
    """`load sink` on a port of its own choice."""

    def __init__(self, listen="127.0.0.1:0", expects="nothing"):
        self.process = subprocess.Popen([LOAD, "sink", "--listen", listen, "--expects", expects],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.address = line.split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return status


class Pki:
    """A folder of `load pki`; also a listener's certificate, as harness.server.listener takes it."""

    def __init__(self, folder, key="ec"):
        if not Path(folder).exists():
            done = said_by("pki", "--out", folder)
            assert done.returncode == 0, done.stderr
        self.folder = Path(folder)
        self.chain_file, self.key_file = str(folder / f"server-{key}.pem"), str(folder / f"server-{key}.key")

    @property
    def device_ca(self):
        return str(self.folder / "device-ca.pem")
