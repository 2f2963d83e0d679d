"""Bytes both ways: large ones, stalled readers, stalled brokers, brokers that die, ends of every kind."""

import hashlib
import os
import socket
import ssl
import threading
import time

import pytest

from harness import packet
from harness.broker import Mosquitto, ScriptedBroker
from harness.device import Device, Ended, admitted, client_context, how_it_ended, plain
from harness.server import listener
from harness.wait import until

KIB, MIB = 1024, 1024 * 1024
# The first stalled sessions also touch what is shared for ever (the rings' buffer pools); the others tell what one
# session costs.
FIRST, STALLED = 8, 24
# More than the kernel takes for one connection: up to 4 MiB towards one side and 6 MiB from the other, tcp(7).
PUSHED = 12 * MIB


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    return running


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("version", [4, 5])
def test_four_mebibytes_both_ways(server, root, tls, version):
    """QoS 1, three messages with different content; what was sent is what arrives."""
    publisher, subscriber = (Device(server.port, root.issue(f"big {role}"), tls) for role in ("out", "in"))
    with publisher, subscriber:
        assert subscriber.connect(f"big-in-{tls}-{version}", version) == 0
        assert publisher.connect(f"big-out-{tls}-{version}", version) == 0
        subscriber.subscribe("big", 1)
        for number in range(1, 4):
            payload = os.urandom(4 * MIB)
            publisher.publish("big", payload, 1, number)
            topic, came = subscriber.message(60)
            assert topic == "big" and len(came) == len(payload)
            assert hashlib.sha256(came).digest() == hashlib.sha256(payload).digest()


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65535, 65536, 1000003])
def test_every_size_of_packet(server, root, size):
    """Around the sizes of TLS records and of our buffers."""
    with admitted(server.port, root.issue("sizes")) as device:
        device.subscribe("sizes", 1)
        payload = os.urandom(size)
        device.send(packet.publish("sizes", payload, 1, 7))
        seen = {}
        while len(seen) < 2:
            kind, flags, body = device.packet(30)
            seen[kind] = packet.published(flags, body)[1] if kind == packet.PUBLISH else body
        assert seen[packet.PUBLISH] == payload


def test_many_small_packets_in_one_record(server, root):
    """2,000 messages in one write arrive whole and in order."""
    with admitted(server.port, root.issue("many")) as device:
        device.subscribe("many")
        device.send(b"".join(packet.publish("many", b"%d" % number) for number in range(2000)))
        assert [int(device.message(30)[1]) for _ in range(2000)] == list(range(2000))


def test_what_follows_the_connect_at_once_is_not_lost(server, root):
    """CONNECT, SUBSCRIBE and PUBLISH in one record, before any CONNACK."""
    with Device(server.port, root.issue("eager")) as device:
        device.send(packet.connect("eager") + packet.subscribe("eager") + packet.publish("eager", b"first"))
        device.expect(packet.CONNACK)
        device.expect(packet.SUBACK)
        assert device.message() == ("eager", b"first")


def test_a_connect_in_single_bytes(server, root):
    """A TLS record for every byte: slow, but in time."""
    with Device(server.port, root.issue("bytewise")) as device:
        for byte in packet.connect("bytewise"):
            device.send(bytes([byte]))
        assert device.expect(packet.CONNACK)[1][1] == 0


def steady(read, quiet=0.7, timeout=60.0):
    """Waits until `read()` has not changed for `quiet` seconds; returns it."""
    value, since, deadline = read(), time.monotonic(), time.monotonic() + timeout
    while time.monotonic() - since < quiet:
        assert time.monotonic() < deadline, f"still changing: {value}"
        time.sleep(0.05)
        if read() != value:
            value, since = read(), time.monotonic()
    return value


def scripted(serve_once, site, root, flood=b""):
    broker = ScriptedBroker(flood)
    server = serve_once([listener(site)], broker)
    root.register(server)
    return broker, server


def held_by(server, stall):
    """What each of STALLED sessions adds to the process's memory. `stall(count)` makes that many more."""
    stall(FIRST)
    before = server.rss()
    stall(STALLED)
    each = (server.rss() - before) / STALLED
    print(f"{each / KIB:.0f} KiB held a stalled session")
    return each


def drained(device, size):
    digest, count = hashlib.sha256(device.buffer), len(device.buffer)
    while count < size:
        data = device.receive(30)
        digest.update(data)
        count += len(data)
    assert count == size
    return digest.digest()


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_slow_subscribers_hold_little_and_lose_nothing(serve_once, site, root, tls):
    """The broker has 12 MiB for each of 32 devices that read nothing: at most 256 KiB a session is held in the
    process, and when they read at last, every byte is there."""
    message = packet.publish("flood", os.urandom(64 * KIB))
    flood = message * (PUSHED // len(message))
    broker, server = scripted(serve_once, site, root, flood)
    devices = []

    def stall(count):
        for _ in range(count):
            devices.append(admitted(server.port, root.issue("slow"), tls, receive_buffer=4096))
        taken = steady(broker.sent)
        assert taken < len(devices) * len(flood), "nobody stalled: the test would prove nothing"

    try:
        assert held_by(server, stall) <= 256 * KIB
        wanted = hashlib.sha256(flood).digest()
        for device in devices:
            device.tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        assert all(drained(device, len(flood)) == wanted for device in devices)
        for device in devices:
            device.reset()
    finally:
        broker.stop()


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_slow_broker_stops_its_publishers(serve_once, site, root, tls):
    """32 publishers push 12 MiB each at a broker that does not read: bounded memory; then it reads, all arrives."""
    broker, server = scripted(serve_once, site, root)
    blob = packet.publish("push", os.urandom(64 * KIB)) * (PUSHED // (64 * KIB))
    devices, threads, done = [], [], []

    def push(device):
        device.tls.settimeout(60)
        device.send(blob)
        done.append(device)

    def stall(count):
        for _ in range(count):
            devices.append(admitted(server.port, root.issue("pusher"), tls))
            devices[-1].tls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
            threads.append(threading.Thread(target=push, args=(devices[-1],), daemon=True))
            threads[-1].start()
        steady(lambda: server.metric("bytes_total", direction="to_broker"))
        assert not done, f"{len(done)} publishers were not stopped"

    try:
        assert held_by(server, stall) <= 256 * KIB
        broker.hearing.set()
        for thread in threads:
            thread.join(60)
        assert len(done) == len(devices)
        until("all bytes arrived", lambda: broker.read() == len(devices) * len(blob), 30)
        for device in devices:
            device.reset()
    finally:
        broker.stop()


def test_a_stalled_session_does_not_slow_another(server, root):
    """One subscriber reads nothing of a large flood; another one on the same topics is served meanwhile."""
    slow = admitted(server.port, root.issue("stalled"), receive_buffer=4096)
    quick, feeder = admitted(server.port, root.issue("quick")), admitted(server.port, root.issue("feeder"))
    with slow, quick, feeder:
        slow.subscribe("shared")
        quick.subscribe("shared")
        for number in range(40):
            feeder.publish("shared", os.urandom(100 * KIB), 1, number + 1)
            assert len(quick.message(5)[1]) == 100 * KIB
        slow.reset()


def test_the_broker_dies_and_comes_back(serve_once, work, site, root):
    """Sessions of a dead broker end, new ones are told "server unavailable", and all is well when it returns."""
    broker = Mosquitto(work / "mortal").start()
    server = serve_once([listener(site)], broker, upstreams=[
        {"name": "broker", "servers": [broker.address], "health_interval": "200ms"}])
    root.register(server)
    identity = root.issue("survivor")
    device = admitted(server.port, identity)
    until("the upstream is up", lambda: server.metric("upstream_up") == 1, 5)
    broker.kill()
    device.end()
    with server.refuses("broker_unavailable", serial=identity.serial):
        with Device(server.port, identity) as again:
            assert again.connect("again") == 3
    until("the upstream is down", lambda: server.metric("upstream_up") == 0, 5)
    broker.start()

    def back():
        with Device(server.port, identity) as again:
            return again.connect("again") == 0

    until("connections succeed again", back, 5, pause=0.2)
    until("the upstream is up again", lambda: server.metric("upstream_up") == 1, 5)
    assert server.metric("sessions_ended_total", cause="timeout") == 0
    broker.stop()


def test_the_last_words_before_close_notify_arrive(server, root):
    """A device that publishes, disconnects and closes in one go: all it said reaches the broker."""
    with admitted(server.port, root.issue("listener")) as other:
        other.subscribe("last words")
        for tls in ("1.2", "1.3"):
            device = admitted(server.port, root.issue("leaver"), tls)
            device.send(b"".join(packet.publish("last words", b"%d" % n) for n in range(300)) + packet.disconnect())
            device.close_notify()
            device.close()
            assert [int(other.message()[1]) for _ in range(300)] == list(range(300))


def test_the_brokers_last_words_arrive_before_close_notify(server, root):
    """The broker closes after its answer: the client gets the answer, then a close_notify, not a bare end."""
    with Device(server.port, root.issue("twice")) as device:
        assert device.connect("takeover") == 0
        with Device(server.port, root.issue("successor")) as successor:
            assert successor.connect("takeover") == 0
            assert device.end() == "close_notify"


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_an_abrupt_end_is_an_end(server, root, how, tls):
    """A TCP end without close_notify (OpenSSL 3's "unexpected eof") or an RST: the broker learns it at once, so the
    will is published, nothing is left open, and it is not called a TLS error."""
    errors_before = server.rejections().get("tls_error", 0)
    with admitted(server.port, root.issue("heir")) as heir:
        heir.subscribe("will/" + how)
        device = Device(server.port, root.issue("mortal"), tls)
        assert device.connect("mortal", will=("will/" + how, b"gone")) == 0
        if how == "fin":
            device.tls.close()
        else:
            device.reset()
        assert heir.message(5) == ("will/" + how, b"gone")
    until("nothing is left open", lambda: server.metric("sessions_open") == 0)
    assert server.rejections().get("tls_error", 0) == errors_before


def test_a_truncated_record_is_never_forwarded(server, root):
    """The end in the middle of a TLS record: what was whole arrives, the torn rest does not."""
    identity = root.issue("torn")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(identity).wrap_bio(incoming, outgoing, server_hostname="localhost")
    sock = plain(server.port)

    def exchange(step):
        while True:
            try:
                result = step()
                sock.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                data = sock.recv(65536)
                assert data
                incoming.write(data)

    exchange(tls.do_handshake)
    exchange(lambda: tls.write(packet.connect("torn")))
    assert packet.take(bytearray(exchange(lambda: tls.read(100))))[0] == packet.CONNACK
    with admitted(server.port, root.issue("watch")) as watch:
        watch.subscribe("torn")
        tls.write(packet.publish("torn", b"whole"))
        whole = outgoing.read()
        tls.write(packet.publish("torn", b"torn away"))
        sock.sendall(whole + outgoing.read()[:-3])
        assert watch.message() == ("torn", b"whole")
        sock.close()
        watch.ping()


def test_a_flipped_bit_ends_the_session(server, root):
    """A record that fails its check is a tls_error of that session alone; its bytes never reach the broker."""
    device = admitted(server.port, root.issue("flipped"))
    raw = device.tls.detach()
    sock = socket.socket(fileno=raw)
    sock.sendall(b"\x17\x03\x03\x00\x40" + os.urandom(64))
    sock.settimeout(5)
    try:
        while sock.recv(4096):
            pass
    except OSError as error:
        assert how_it_ended(error) == "reset"
    sock.close()
    with pytest.raises((Ended, ValueError, OSError)):
        device.send(b"x")
