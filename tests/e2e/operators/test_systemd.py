"""Under systemd: what the process says to $NOTIFY_SOCKET, the watchdog, and a new version on SIGUSR2. systemd is played by
a socket of the test's own; what the unit file says is looked at by tests/units.sh."""

import ctypes
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from harness.device import admitted
from harness.server import listener
from harness.wait import until

PTRACE_INTERRUPT, PTRACE_SEIZE, PTRACE_DETACH = 0x4207, 0x4206, 17  # ptrace(2)


class Systemd:
    def __init__(self, name):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self._socket.setblocking(False)
        self.said = []

    def heard(self):
        """All it was told so far, a dictionary each."""
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return self.said
            self.said.append(dict(line.split("=", 1) for line in text.split("\n")))

    def hears(self, key, after=0):
        return until(f"{key} is said", lambda: next((each for each in self.heard()[after:] if key in each), None))

    def fed(self):
        return sum("WATCHDOG" in each for each in self.heard())


@pytest.fixture(params=["path", "abstract"])
def systemd(work, request):
    return _named(work, request.param)


def _named(work, kind):
    name = f"@sally-{os.getpid()}-{time.monotonic_ns()}" if kind == "abstract" else \
        f"{work}/n{time.monotonic_ns() % 10**9}"
    made = Systemd(name)
    made.environment = {"NOTIFY_SOCKET": name}
    return made


def test_ready_when_it_serves_and_stopping_when_it_drains(serve_once, broker, site, root, systemd):
    """READY comes when devices are served, STOPPING with the time that a drain may take. Without $WATCHDOG_USEC no
    watchdog is fed."""
    server = serve_once([listener(site)], broker, environment=systemd.environment)
    root.register(server)
    assert systemd.hears("READY") == {"READY": "1", "STATUS": "serving"}
    assert admitted(server.port, root.issue("meter-1"))
    server.signal(signal.SIGTERM)
    stopping = systemd.hears("STOPPING")
    assert stopping["STATUS"] == "draining"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 31_000_000, "the drain of 1 s, and 30 s for the registry"
    server.wait()
    assert systemd.fed() == 0


def test_a_reload_is_bracketed(serve_once, broker, site, systemd):
    """systemd waits for READY behind a RELOADING whose time is not before the request: Type=notify-reload."""
    server = serve_once([listener(site)], broker, environment=systemd.environment)
    systemd.hears("READY")
    asked, before = time.monotonic_ns() // 1000, len(systemd.heard())
    server.signal(signal.SIGHUP)
    reloading = systemd.hears("RELOADING", before)
    assert asked <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    systemd.hears("READY", systemd.heard().index(reloading) + 1)
    server.line("reload", what="done")


def shard_threads(pid):
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()
            if (task / "comm").read_text().startswith("shard-")]


def test_a_stuck_shard_stops_the_feeding(serve_once, broker, site, work):
    """One thread of the process is stopped, by ptrace(2): the others go on, the watchdog is not fed, the log says which
    shard it is. When it goes on, so does the feeding."""
    systemd = _named(work, "path")
    server = serve_once([listener(site)], broker, proxy={"shards": 2},
                        environment={**systemd.environment, "WATCHDOG_USEC": "30000000"})
    until("the watchdog is fed", lambda: systemd.fed() >= 2)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    thread = shard_threads(server.process.pid)[1]
    if libc.ptrace(PTRACE_SEIZE, thread, None, None) != 0:
        pytest.skip(f"a thread cannot be stopped here: {os.strerror(ctypes.get_errno())}")
    try:
        assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
        os.waitpid(thread, 0x40000000)  # __WALL
        line = server.line("shard-stuck")
        assert line.fields["shard"] in ("0", "1") and line.level == "error", line.text
        fed = systemd.fed()
        time.sleep(2.5)
        assert systemd.fed() == fed
    finally:
        libc.ptrace(PTRACE_DETACH, thread, None, None)
    until("the watchdog is fed again", lambda: systemd.fed() > fed)
    server.line("shard-turns-again")


def test_a_new_version_by_usr2(serve_once, broker, site, root, systemd):
    """SIGUSR2 starts the program anew, which takes the listeners over. systemd is told whom to watch, and never that the
    service stops. The old process drains and ends with 0. The address of the metrics is free for the new one: it has
    inherited none of the old one's sockets."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    server = serve_once([listener(site)], broker, environment=systemd.environment, metrics={"address": metrics})
    root.register(server)
    systemd.hears("READY")
    old, port = server.process, server.port
    server.signal(signal.SIGUSR2)
    main = int(systemd.hears("MAINPID")["MAINPID"])
    assert main != old.pid and Path(f"/proc/{main}/cmdline").read_bytes().split(b"\0")[-2] == b"--take-over"
    assert old.wait(60) == 0
    try:
        assert admitted(port, root.issue("meter-2"))
        assert all("STOPPING" not in each for each in systemd.heard())
    finally:
        server.process = None
        os.kill(main, signal.SIGTERM)
        until("the new process has ended", lambda: not Path(f"/proc/{main}").exists() or
              re.search(r"^State:\s+Z", Path(f"/proc/{main}/status").read_text(), re.M))


def test_the_watchdog_is_fed_while_a_successor_gets_ready(serve_once, broker, site, work):
    """A successor may have millions of devices to read, which takes longer than a watchdog waits. One that ends before it
    serves makes the old process drain: then systemd hears so."""
    systemd = _named(work, "path")
    server = serve_once([listener(site)], broker, environment={**systemd.environment, "WATCHDOG_USEC": "30000000"})
    systemd.hears("READY")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.connect(server.socket + ".takeover")
        successor.settimeout(30)
        successor.send(b"take over")
        assert successor.recv(512).startswith(b"sockets ")
        successor.send(b"go")
        while successor.recv(512) != b"all":
            pass
        fed = systemd.fed()
        until("the watchdog is fed", lambda: systemd.fed() >= fed + 2)
    assert systemd.hears("STOPPING")["STATUS"] == "draining"
    assert server.wait() == 1


def test_a_successor_that_cannot_start_changes_nothing(serve_once, broker, site, root):
    """The configuration has become wrong: the new process says so and ends, the old one serves on."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    good = Path(server.config).read_text()
    Path(server.config).write_text(good + "\n[proxi]\n")
    server.signal(signal.SIGUSR2)
    until("it says what is wrong", lambda: "proxi" in server.errors())
    assert admitted(server.port, root.issue("meter-3"))
    Path(server.config).write_text(good)
