"""A new version in place of the one that runs: `serve --take-over` gets its listening sockets, and it drains. A client
that connects all the time never fails."""

import array
import os
import socket
import subprocess
import threading
import time

from harness import packet
from harness.device import Device, Ended, admitted, client_context, refusal
from harness.server import listener
from harness.wait import until


def started(serve_once, broker, site, root, drain="3s", **proxy):
    server = serve_once([listener(site), listener(site, name="second")], broker, proxy={"drain": drain, **proxy})
    root.register(server)
    return server


def upgrade(server):
    """Starts the new process; returns the old one, which drains, and forgets it."""
    old = server.process
    server.start(arguments=("--take-over",))
    return old


def listening_on(port):
    """The kernel's numbers of the sockets that listen there: proc(5), /proc/net/tcp."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port}


class Restless:
    """Connects, says CONNECT and PINGREQ, leaves, and begins again."""

    def __init__(self, port, identity, tls):
        self.attempts, self.failures = 0, []
        self._port, self._identity, self._tls = port, identity, tls
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stopped.set()
        self._thread.join()

    def _run(self):
        context = client_context(self._identity, self._tls)
        while not self._stopped.is_set():
            self.attempts += 1
            try:
                with Device(self._port, context=context, timeout=30) as device:
                    code = device.connect(f"restless {self._port} {self._tls} {self.attempts}")
                    if code != 0:
                        self.failures.append(f"attempt {self.attempts}: CONNACK {code}")
                        continue
                    device.ping()
                    device.send(packet.disconnect())
            except (Ended, OSError, AssertionError) as error:
                self.failures.append(f"attempt {self.attempts}: {error!r}")


def test_no_attempt_fails_while_the_binary_is_replaced(serve_once, broker, site, root):
    """Three times in a row, with four clients that never rest on two listeners. The sockets stay the same ones: what
    waits in the queue of one that is closed would be reset."""
    server = started(serve_once, broker, site, root)
    ports = dict(server.ports)
    sockets = {port: listening_on(port) for port in ports.values()}
    assert all(sockets.values())
    clients = [Restless(port, root.issue(f"restless {port} {tls}"), tls) for port in ports.values()
               for tls in ("1.2", "1.3")]
    try:
        for _ in range(3):
            before = [each.attempts for each in clients]
            old = upgrade(server)
            assert server.ports == ports
            until("all have come back", lambda: all(each.attempts > had + 60
                                                    for each, had in zip(clients, before)), 60)
            assert old.wait(60) == 0
            assert {port: listening_on(port) for port in ports.values()} == sockets
    finally:
        for each in clients:
            each.stop()
    assert not [failure for each in clients for failure in each.failures], [each.failures[:3] for each in clients]
    assert server.metric("connections_accepted_total") > 0


def test_the_old_one_drains(serve_once, broker, site, root):
    """Its sessions go on, are closed one after the other over proxy.drain with DISCONNECT 0x8B, and it ends with 0. What
    is new is the new one's alone: its sessions are all that it lists."""
    server = started(serve_once, broker, site, root, drain="6s", shards=1)
    devices = [Device(server.port, root.issue(f"old {number}")) for number in range(3)]
    for number, device in enumerate(devices):
        assert device.connect(f"old {number}", 5) == 0
    old = upgrade(server)
    began = time.monotonic()
    until("the old one accepts nobody any more", lambda: server.lines("draining"))
    devices[-1].ping()
    assert server.json("session", "list") == []
    with admitted(server.port, root.issue("new")) as device:
        device.ping()
        assert len(server.json("session", "list")) == 1
        ends = []
        for each in devices:
            assert each.expect(packet.DISCONNECT, 30)[1] == b"\x8b"
            assert each.end() == "close_notify"
            ends.append(time.monotonic() - began)
        assert old.wait(60) == 0
        device.ping()
    # One shard: at 2, 4 and 6 s, counted from before `began`.
    assert ends[-1] - ends[0] > 2


def test_a_change_that_cuts_ends_what_is_left_of_the_old_one(serve_once, broker, site, root):
    """When `device deactivate` has answered no session of the device is left, in either process."""
    server = started(serve_once, broker, site, root, drain="60s")
    identity = root.issue("to be cut")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        old = upgrade(server)
        device.ping()
        server.cli("device", "deactivate", identity.id, "--yes")
        assert old.wait(5) == 0
        device.end(5)


def test_devices_and_their_standing_are_the_same_afterwards(serve_once, broker, site, root):
    """The new one reads what the old one wrote to the last moment."""
    server = started(serve_once, broker, site, root)
    lost = root.issue("lost")
    fleet = [root.issue(f"late {number}") for number in range(10)]
    with admitted(server.port, lost):
        server.registered(lost)
    server.cli("device", "deactivate", lost.id, "--yes")
    sessions = [admitted(server.port, each) for each in fleet]
    old = upgrade(server)
    assert set(server.devices()) == {each.id for each in [lost, *fleet]}
    assert server.devices()[lost.id]["status"] == "inactive"
    for each in sessions:
        each.close()
    assert old.wait(60) == 0


def test_with_nobody_to_take_over_from_it_is_an_ordinary_start(serve_once, broker, site, root):
    server = started(serve_once, broker, site, root)
    server.stop()
    server.start(arguments=("--take-over",))
    with admitted(server.port, root.issue("ordinary")) as device:
        device.ping()


def conversation(server, *words):
    """Speaks to the takeover socket as a new process would; returns the socket, and what came back."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(30)
    sock.connect(server.socket + ".takeover")
    answers = []
    for word in words:
        sock.send(word)
        answers.append(sock.recv(512))
    return sock, answers


def test_who_asks_in_other_words_gets_nothing(serve_once, broker, site, root):
    """Neither do other users; whoever says nothing holds nothing up for long."""
    server = started(serve_once, broker, site, root)
    path = server.socket + ".takeover"
    assert os.stat(path).st_mode & 0o777 == 0o600
    for word in (b"", b"\0", b"go", b"take over and more", b"x" * 4096):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(30)
            sock.connect(path)
            if word:
                sock.send(word)
            assert sock.recv(512) == b""
    sock, answers = conversation(server, b"take over")
    folder = os.stat(server.folder / "state")
    assert answers == [b"sockets %d %d:%d" % (len(server.json("status")["shards"]), folder.st_dev, folder.st_ino)]
    sock.close()  # it has thought better of it
    if os.geteuid() == 0:
        os.chmod(path, 0o666)
        for folder in (server.folder, server.folder.parent, server.folder.parent.parent):
            os.chmod(folder, 0o755)
        stranger = subprocess.run(
            ["/usr/bin/python3", "-c", "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
             "s.connect(sys.argv[1])\ntry:\n  s.send(b'take over')\n  sys.exit(len(s.recv(512)))\n"
             "except (ConnectionResetError, BrokenPipeError):\n  pass", path],
            user=65534, cwd="/", capture_output=True, timeout=60)
        assert stranger.returncode == 0, stranger.stderr
        assert server.line("takeover-refused", by_uid="65534")
    with admitted(server.port, root.issue("undisturbed")) as device:
        device.ping()
    until("all are logged", lambda: len(server.lines("takeover-refused")) >= 6)


def given(server):
    """Asks for the listening sockets, as a new process would; returns the socket, and what came: names and descriptors."""
    sock, _ = conversation(server, b"take over")
    sock.send(b"go")
    names, taken = [], []
    while True:
        word, control, _, _ = sock.recvmsg(512, socket.CMSG_LEN(4))
        if word == b"all":
            return sock, names, taken
        names.append(word.decode())
        taken += [array.array("i", each[2])[0] for each in control]


def test_a_new_one_that_ends_before_it_serves(serve_once, broker, site, root):
    """The old one, which has given its registry up, drains and ends with 1: what started it starts it again."""
    server = started(serve_once, broker, site, root, drain="2s")
    with admitted(server.port, root.issue("served to the end")) as device:
        sock, names, taken = given(server)
        shards = len(names) // 2
        assert sorted(names) == sorted(["mqtts", "second"] * shards) and len(taken) == len(names)
        device.ping()
        with admitted(server.port, root.issue("let in meanwhile")) as meanwhile:
            meanwhile.ping()
        for each in taken:
            os.close(each)
        sock.close()
        device.end(10)
    assert server.wait(30) == 1
    assert [line.fields["why"] for line in server.lines("takeover-failed")] == \
        ["the new process has ended before it served"]
    server.start()
    assert len(server.devices()) >= 1


def test_a_cut_of_one_that_does_not_serve_yet(serve_once, broker, site, root):
    """The new one cuts somebody while it warms up: the old one, where he may be, ends all its sessions at once."""
    server = started(serve_once, broker, site, root, drain="60s")
    with admitted(server.port, root.issue("to be cut")) as device:
        sock, _, taken = given(server)
        device.ping()
        sock.send(b"end")
        assert server.wait(10) == 0
        device.end(10)
    for each in taken:
        os.close(each)
    sock.close()


def test_fewer_shards_are_refused_by_name(serve_once, broker, site, root):
    """A socket that nobody takes over would refuse who waits in its queue. The one that runs goes on."""
    server = started(serve_once, broker, site, root, shards=2)
    text = open(server.config).read()
    with open(server.config, "w") as file:
        file.write(text.replace("shards = 2", "shards = 1"))
    done = server.cli("serve", "--config", server.config, "--take-over", status=1)
    assert "has 2 shards, and this one would have 1" in done.stderr
    with open(server.config, "w") as file:
        file.write(text)
    with admitted(server.port, root.issue("goes on")) as device:
        device.ping()
    assert server.line("takeover-refused")


def test_another_registry_is_refused_by_name(serve_once, broker, site, root):
    """It would know nobody who is revoked. The one that runs goes on, and so does what was revoked there."""
    server = started(serve_once, broker, site, root)
    revoked = root.issue("revoked")
    admitted(server.port, revoked).close()
    server.registered(revoked)
    server.cli("device", "revoke", revoked.id, "--yes")
    text = open(server.config).read()
    with open(server.config, "w") as file:
        file.write(text.replace(str(server.folder / "state"), str(server.folder / "elsewhere")))
    done = server.cli("serve", "--config", server.config, "--take-over", status=1)
    assert "has another state_dir than" in done.stderr
    with open(server.config, "w") as file:
        file.write(text)
    with server.refuses("device_revoked"):
        assert refusal(server.port, revoked) == "certificate_revoked"
