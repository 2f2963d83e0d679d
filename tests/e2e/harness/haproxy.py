"""A real HAProxy: before Sallyport, which sends it PROXY headers, or behind it, which takes them."""

import os
import subprocess
from pathlib import Path

from .broker import free_port
from .wait import until

HAPROXY = "/usr/sbin/haproxy"

_COMMON = """\
global
    maxconn 200
    stats socket {folder}/haproxy.sock mode 600
    log stdout format raw local0
defaults
    mode tcp
    log global
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


class HAProxy:
    """`bind` and `server` are added to the lines of the same name."""

    def __init__(self, folder, to_port, *, bind="", server="", lines=()):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log_file = self.folder / "haproxy.log"
        self.config = self.folder / "haproxy.cfg"
        self.config.write_text(_COMMON.format(folder=self.folder) + f"""
frontend in
    bind 127.0.0.1:{self.port} {bind}
    log-format "ended src=%ci:%cp dst=%fi:%fp bytes=%U"
    {chr(10).join(lines)}
    default_backend out
backend out
    server one 127.0.0.1:{to_port} {server}
""")
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([HAPROXY, "-db", "-f", str(self.config)], stdout=log, stderr=log,
                                            start_new_session=True)
        until("haproxy is there", lambda: self._alive() and os.path.exists(self.folder / "haproxy.sock"))
        return self

    def _alive(self):
        assert self.process.poll() is None, self.log()
        return True

    def log(self):
        return self.log_file.read_text(errors="replace")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
