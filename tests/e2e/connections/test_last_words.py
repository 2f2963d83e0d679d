"""What a client said before it ended reaches the broker, however it ended: most small devices publish, send DISCONNECT
and close TCP without a close_notify."""

import fcntl
import socket
import struct
import termios

import pytest

from harness import packet
from harness.broker import SlowBroker
from harness.device import Device, admitted
from harness.server import listener
from harness.wait import until

MESSAGES = 900


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    return running


def said(topic, qos=0):
    return b"".join(packet.publish(topic, b"%d" % n, qos, n + 1) for n in range(MESSAGES))


def all_taken(device):
    """Whether Sallyport's kernel has everything that the device sent: ioctl SIOCOUTQ, tcp(7)."""
    return struct.unpack("i", fcntl.ioctl(device.tls.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0] == 0


def heard(watch, topic):
    """The numbers that come on `topic`, all of them and in order, or this fails."""
    for number in range(MESSAGES):
        assert watch.message(30) == (topic, b"%d" % number)


def has_will(server, root, watch, topic):
    """Whether a Will was published by the time the session was over at the broker."""
    until("the session is over", lambda: server.metric("sessions_open") == 1)
    with admitted(server.port, root.issue("marker")) as marker:
        marker.publish(topic, b"marker", 1)
    first = watch.message()[1]
    return first != b"marker" and watch.message()[1] == b"marker"


@pytest.fixture
def watch(server, root, request):
    """A device that subscribed to the test's topics."""
    until("nothing else is open", lambda: server.metric("sessions_open") == 0)
    with admitted(server.port, root.issue("watch")) as device:
        device.subscribe("last/#")
        yield device


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("flight", ["after the CONNACK", "all at once"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_disconnect_and_a_bare_end(server, root, watch, tls, flight, qos):
    """900 messages, DISCONNECT, close: no close_notify, and what the broker answers meets a closed socket. All 900
    arrive, in order, and the Will is not published. Also where the client is gone before the broker was reached."""
    will = ("last/will", b"gone")
    with Device(server.port, root.issue("leaver"), tls) as device:
        if flight == "all at once":
            device.send(packet.connect("leaver", will=will) + said("last/words", qos) + packet.disconnect())
        else:
            assert device.connect("leaver", will=will) == 0
            device.send(said("last/words", qos) + packet.disconnect())
        until("all is with Sallyport", lambda: all_taken(device))
    heard(watch, "last/words")
    assert not has_will(server, root, watch, "last/will")


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("end", ["bare end", "reset", "broken record", "close_notify"])
@pytest.mark.parametrize("qos", [0, 1])
def test_an_end_without_a_disconnect(server, root, watch, tls, end, qos):
    """900 messages arrive, whatever ends the connection behind them; then the Will is published."""
    with Device(server.port, root.issue("mortal"), tls) as device:
        assert device.connect("mortal", will=("last/will", b"gone")) == 0
        device.send(said("last/words", qos))
        until("all is with Sallyport", lambda: all_taken(device))
        if end == "reset":
            device.reset()
        elif end == "broken record":
            with socket.socket(fileno=device.tls.detach()) as sock:
                sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
        elif end == "close_notify":
            device.tls.setblocking(False)
            try:
                device.tls.unwrap()
            except OSError:
                pass  # ours is sent, and nobody waits for the other side's
    heard(watch, "last/words")
    assert watch.message() == ("last/will", b"gone")


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("protocol", ["mqtt", "tcp"])
@pytest.mark.parametrize("acknowledges", [False, True])
def test_a_slow_broker_gets_all_of_it(serve_once, site, root, tls, protocol, acknowledges):
    """1,040,002 bytes from a client that is gone before the broker reads any of them; a broker that answers what it
    reads finds nobody to answer, and loses nothing by it. In MQTT what was said tells what end it was; a stream of
    bytes that was cut off is passed on as one."""
    broker = SlowBroker(mqtt=protocol == "mqtt", acknowledges=acknowledges)
    # No ticket: the client's kernel would answer its close with a reset, and drop what it has not sent yet.
    server = serve_once([listener(site, protocol=protocol, resumption=False)], broker)
    root.register(server)
    try:
        opening = packet.connect("slow")
        message = packet.publish("slow", bytes(1040 - 9))
        assert len(message) == 1040
        said = message * 1000 + packet.disconnect()
        with Device(server.port, root.issue("slow"), tls) as device:
            device.send(opening)
            if protocol == "mqtt":
                device.expect(packet.CONNACK)
            device.tls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
            device.send(said)
            until("all is with Sallyport", lambda: all_taken(device))
        broker.hearing.set()
        until("the broker saw the end", lambda: broker.end)
        assert len(broker.came) == len(opening) + len(said) and bytes(broker.came) == opening + said
        assert broker.end == ("end" if protocol == "mqtt" else "reset")
    finally:
        broker.stop()
