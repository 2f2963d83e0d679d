"""Peers that are gone without a word, silent for ever, or do not read: each is given up in time, and takes little."""

import ctypes
import os
import re
import resource
import socket
import struct
import subprocess

import pytest

from harness import packet
from harness.device import Device, admitted
from harness.server import listener
from harness.wait import stays, until

KIB = 1024
# proxy/shard/socket_options.h: of one session, as the kernel counts them, by who does not read; and what a packet may
# be beyond a limit.
KERNEL_BYTES = {"device": 2 * (128 + 128 + 64) * KIB, "broker": 2 * (128 + 128 + 64 + 1024) * KIB}
OF_A_PACKET = 128 * KIB


class Peer:
    """A broker of bytes: what it accepts is the test's to read, to write, or to leave."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listening.settimeout(60)
        self.address = "127.0.0.1:%d" % self.port

    @property
    def port(self):
        return self.listening.getsockname()[1]

    def accept(self):
        """The next connection that says something: probes say nothing."""
        while True:
            sock = self.listening.accept()[0]
            sock.settimeout(60)
            if sock.recv(1, socket.MSG_PEEK):
                return sock
            sock.close()


@pytest.fixture(scope="module")
def peer():
    return Peer()


@pytest.fixture(scope="module")
def server(serve, broker, peer, site, root):
    upstreams = [{"name": "broker", "servers": [broker.address]}, {"name": "peer", "servers": [peer.address]}]
    running = serve([listener(site),
                     listener(site, name="bytes", protocol="tcp") | {"upstream": "peer"},
                     listener(site, name="watched", keepalive="1s", user_timeout="1s"),
                     listener(site, name="watched-bytes", protocol="tcp", keepalive="1s", user_timeout="1s") |
                     {"upstream": "peer"},
                     listener(site, name="idle", idle_timeout="1s"),
                     listener(site, name="idle-bytes", protocol="tcp", idle_timeout="1s") | {"upstream": "peer"}],
                    upstreams=upstreams, log={"level": "debug"})
    root.register(running)
    return running


def goes_deaf(sock):
    """From now on its kernel drops whatever comes (socket(7), SO_ATTACH_FILTER): no acknowledgement, no reset."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # bpf: return 0 bytes
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(program)))


def sockets(port, *options):
    """What `ss` says of the established connections of Sallyport's side with this port on either side: one line each."""
    said = subprocess.run(["ss", "-tnOH", *options, "state", "established", f"( sport = :{port} or dport = :{port} )"],
                          capture_output=True, text=True, check=True).stdout
    return said.splitlines()


def ended(server, name):
    return [line.fields for line in server.lines("ended", listener=name)]


def test_the_defaults_find_a_dead_peer_in_two_minutes(server, peer, root):
    """Both sides have a keepalive timer that is at most a minute away."""
    with admitted(server.port, root.issue("watched by default")), Device(server.ports["bytes"], root.issue("b")) as device:
        device.send(b"x")
        with peer.accept():
            for port in (server.port, server.ports["bytes"], peer.port):
                until("its timer is seen", lambda: [line for line in sockets(port, "-o")
                                                    if re.search(r"timer:\(keepalive,(\d+sec|1min)", line)])


def test_a_dead_device_is_given_up(server, root):
    """It vanished: not a packet comes back. Its session ends by keepalive and user_timeout; a silent one goes on."""
    port, living = server.ports["watched"], root.issue("silent and well")
    with admitted(port, living) as silent, admitted(port, root.issue("dead")) as dead:
        goes_deaf(dead.tls)
        until("its session has ended", lambda: server.metric("sessions_open", listener="watched") == 1)
        until("and is logged", lambda: ended(server, "watched"))
        assert ended(server, "watched")[-1]["cause"] == "timeout", ended(server, "watched")
        stays("who answers the probes stays", lambda: server.metric("sessions_open", listener="watched") == 1, 3)
        silent.ping()


def test_a_dead_broker_is_given_up(server, peer, root):
    """The same towards the broker: the device is let go, and may connect again."""
    with Device(server.ports["watched-bytes"], root.issue("of a dead broker")) as device:
        device.send(b"x")
        with peer.accept() as broken:
            goes_deaf(broken)
            device.end(30)
            until("it is logged", lambda: ended(server, "watched-bytes"))
            last = ended(server, "watched-bytes")[-1]
            assert (last["origin"], last["cause"]) == ("broker", "timeout"), last


def test_a_dead_device_that_is_sent_to_is_given_up(server, peer, root):
    """Data on its way, and nothing acknowledged."""
    with Device(server.ports["watched-bytes"], root.issue("dead with data")) as device:
        device.send(b"x")
        with peer.accept() as broken:
            before = len(ended(server, "watched-bytes"))
            goes_deaf(device.tls)
            broken.sendall(b"y" * 1000)
            until("it is given up", lambda: len(ended(server, "watched-bytes")) > before)
            assert ended(server, "watched-bytes")[-1]["cause"] == "timeout"


def test_an_idle_mqtt_client_with_keep_alive_0_ends(server, broker, root):
    """The broker waits for ever for such a client; idle_timeout does not. Its Will is published: nobody disconnected."""
    with admitted(server.port, root.issue("heir"), client_id="heir") as heir:
        heir.subscribe("idle/will")
        with Device(server.ports["idle"], root.issue("idler")) as idler:
            idler.send(packet.connect("idler", keep_alive=0, will=("idle/will", b"gone")))
            idler.expect(packet.CONNACK)
            assert idler.end(30) == "close_notify"
        assert heir.message(30) == ("idle/will", b"gone")
    last = until("it is logged", lambda: ended(server, "idle"))[-1]
    assert (last["origin"], last["cause"]) == ("proxy", "timeout"), last


def test_bytes_keep_an_idle_session(server, peer, root):
    """A byte either way begins the time anew, twice as long as it is; then silence ends it, by a reset at the broker."""
    with Device(server.ports["idle-bytes"], root.issue("ticking")) as device:
        device.send(b"x")
        with peer.accept() as other:
            assert other.recv(1) == b"x"
            for _ in range(8):
                device.send(b"x")
                assert other.recv(1) == b"x"
                stays("it lives", lambda: server.metric("sessions_open", listener="idle-bytes") == 1, 0.25)
                other.sendall(b"y")
                assert device.receive() == b"y"
            assert device.end(30) == "close_notify"
            with pytest.raises(ConnectionResetError):
                other.recv(1)


def kernel_bytes(port):
    """Of each connection of Sallyport's with this port: what is queued in the kernel, overhead included (sock_diag(7))."""
    found = []
    for line in sockets(port, "-m", "-p"):
        if '"sallyport"' not in line:
            continue
        memory = {key: int(value) for key, value in re.findall(r"([a-z]+)(\d+)", line.split("skmem:(")[1].split(")")[0])}
        found.append(memory["r"] + memory["w"])
    return found


@pytest.mark.parametrize("reads", ["device", "broker"])
def test_who_does_not_read_pins_little(server, peer, root, reads):
    """A side that takes nothing, and one that sends without end: 3.9 MB were held in the kernel for one session."""
    port = server.ports["bytes"]
    before = server.rss()
    with Device(port, root.issue(f"{reads} does not read")) as device:
        device.send(b"x")
        with peer.accept() as other:
            writer = other if reads == "device" else device.tls
            writer.settimeout(1)
            sent, chunk, most = 0, b"z" * (64 * KIB), 0
            try:
                while sent < 64 * KIB * KIB:
                    sent += writer.send(chunk)
                    if sent % (2 * KIB * KIB) < 64 * KIB:
                        most = max(most, sum(kernel_bytes(port)) + sum(kernel_bytes(peer.port)))
            except (TimeoutError, socket.timeout):
                pass
            assert sent < 64 * KIB * KIB, "nobody took all that"
            held = sum(kernel_bytes(port)) + sum(kernel_bytes(peer.port))
            print(f"{reads} does not read: {sent // KIB} KiB were sent, the kernel holds {held // KIB} KiB of the session")
            assert held > 0
            assert max(most, held) <= KERNEL_BYTES[reads] + OF_A_PACKET
            assert server.rss() - before < 2 * KIB * KIB


def test_out_of_descriptors_no_broker_is_down(server, root):
    """The last descriptor goes to the device, none is left for the way to the broker: the device is told to come back,
    and the broker is not taken for down."""
    pid = server.process.pid
    identity = root.issue("one too many")
    admitted(server.port, identity).close()
    until("it is gone", lambda: server.metric("sessions_open", listener="mqtts") == 0)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def refused():
        """One number is left, if none became free since it was looked for."""
        used = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
        free = min(number for number in range(max(used) + 2) if number not in used)
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (free + 1, hard))
            with Device(server.port, identity) as device:
                return device.connect("one too many") == 3
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    until("a device has the last descriptor", refused)
    until("it is logged", lambda: server.lines("rejected", reason="broker_unavailable"))
    assert "no socket for the way" in server.line("rejected", reason="broker_unavailable").fields["what"]
    assert not server.lines("upstream-down"), "the broker was never asked"
    admitted(server.port, identity).close()
