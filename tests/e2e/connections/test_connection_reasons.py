"""The reasons that lie in a connection, not in a certificate: what is not MQTT, not TLS, too slow or too much."""

import base64
import socket
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness import packet
from harness.authority import new_key
from harness.broker import free_port
from harness.device import Device, Ended, admitted, plain, read_to_end, refusal
from harness.server import listener
from harness.wait import until

SHORT = {"handshake_timeout": "1s", "connect_timeout": "1s"}


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve(
        [listener(site, **SHORT),
         listener(site, name="narrow", max_connections=2, **SHORT),
         listener(site, name="orphan", **{**SHORT, "upstream": "gone"}),
         listener(site, name="shared", max_sessions_per_device=2)],
        upstreams=[{"name": "broker", "servers": [broker.address]},
                   {"name": "gone", "servers": [f"127.0.0.1:{free_port()}"]}],
        proxy={"shards": 1})
    root.register(running)
    return running


@pytest.fixture(scope="module")
def device(server, root):
    known = root.issue("steady")
    admitted(server.port, known).close()
    server.registered(known)
    return known


NOT_MQTT = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a PINGREQ": packet.pingreq(),
    "a PUBLISH": packet.publish("t", b"x"),
    "TLS inside TLS": b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(64),
    "zeros": b"\0" * 64,
    "an unknown protocol name": packet.connect("x", protocol="MQXX"),
    "an unknown level": packet.connect("x", version=6, protocol="MQTT"),
    "a length field of five bytes": b"\x10\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("what", NOT_MQTT)
def test_not_mqtt(server, device, what):
    """What comes first is not a CONNECT of any MQTT we know."""
    with server.refuses("not_mqtt", serial=device.serial):
        with Device(server.port, device) as talker:
            talker.send(NOT_MQTT[what])
            talker.end()


ANSWERED = {  # what is sent, why it is refused, and the CONNACK
    "level 6": (packet.connect("x", version=6, protocol="MQTT"), "not_mqtt", b"\x20\x02\x00\x01"),
    "level 3": (packet.connect("x", version=3, protocol="MQTT"), "not_mqtt", b"\x20\x02\x00\x01"),
    "too large, 5": (packet.connect("x" * 40_000, version=5, will=("t", b"y" * 40_000)), "bad_connect",
                     b"\x20\x03\x00\x95\x00"),
    "too large, 3.1.1": (packet.connect("x" * 40_000, version=4, will=("t", b"y" * 40_000)), "bad_connect", b""),
}


@pytest.mark.parametrize("what", ANSWERED)
def test_what_mqtt_has_an_answer_for_is_answered(server, device, what):
    """An unknown level: CONNACK 0x01. Too large, of MQTT 5: CONNACK 0x95; 3.1.1 has no code for it."""
    sent, reason, answer = ANSWERED[what]
    with server.refuses(reason, serial=device.serial):
        with Device(server.port, device) as talker:
            talker.send(sent[:16_000])
            told = b""
            with pytest.raises(Ended):
                while True:
                    told += talker.receive()
            assert told == answer


BAD_CONNECTS = {
    "the reserved flag": packet.connect("x", flags=3),
    "a will QoS of 3": packet.connect("x", flags=0x1E),
    "a client id beyond the packet": packet.packet(1, packet.text("MQTT") + b"\x04\x02\0\x3c\xff\xffx"),
    "bytes left over": packet.packet(1, packet.text("MQTT") + b"\x04\x02\0\x3c" + packet.text("x") + b"extra"),
    "a client id that is not UTF-8": packet.connect(b"\xc0\x80"),
    # With its level, which says whether there is an answer; a length alone is waited behind until connect_timeout.
    "more than max_connect_size": b"\x10" + packet.length(1 << 20) + packet.text("MQTT") + b"\x04",
}


@pytest.mark.parametrize("what", BAD_CONNECTS)
def test_bad_connect(server, device, what):
    """A CONNECT that the MQTT texts call malformed, or one that is larger than allowed."""
    with server.refuses("bad_connect", serial=device.serial):
        with Device(server.port, device) as talker:
            talker.send(BAD_CONNECTS[what])
            talker.end()


def test_a_malformed_connect_registers_nobody(server, root):
    """Registration needs a well-formed CONNECT."""
    stranger = root.issue("malformed")
    with server.refuses("bad_connect"):
        with Device(server.port, stranger) as talker:
            talker.send(packet.connect("x", flags=3))
            talker.end()
    assert stranger.id not in server.devices()


@pytest.mark.parametrize("garbage", [b"hello, is this the mail server?\r\n", bytes(1024), b"\x80\x2e\x01\x03\x01" * 20,
                                     b"\x16\x03\x01\xff\xff" + b"\x01" * 100, packet.connect("plain")])
def test_tls_error(server, garbage):
    """Not TLS, among it a plain MQTT CONNECT."""
    with server.refuses("tls_error"):
        sock = plain(server.port)
        sock.sendall(garbage)
        read_to_end(sock)


def test_an_old_tls_version_is_a_tls_error(server):
    """A ClientHello of TLS 1.1 gets the protocol_version alert."""
    hello = b"\x03\x02" + bytes(range(32)) + b"\0" + b"\0\x04\xc0\x09\xc0\x13" + b"\x01\0"
    record = b"\x01" + len(hello).to_bytes(3, "big") + hello
    with server.refuses("tls_error"):
        sock = plain(server.port)
        sock.sendall(b"\x16\x03\x01" + len(record).to_bytes(2, "big") + record)
        assert read_to_end(sock)[:1] + b"\x02\x46" == b"\x15\x02\x46"


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)])
def test_handshake_timeout(server, sent):
    """Silence from the start, and half a ClientHello followed by silence."""
    with server.refuses("handshake_timeout"):
        sock = plain(server.port)
        sock.sendall(sent)
        read_to_end(sock)


@pytest.mark.parametrize("sent", [b"", packet.connect("x" * 100)[:50]])
def test_connect_timeout(server, device, sent):
    """TLS done, but no CONNECT, or half of one. Nobody is registered by that."""
    with server.refuses("connect_timeout", serial=device.serial):
        with Device(server.port, device) as talker:
            if sent:
                talker.send(sent)
            talker.end()


def test_a_dripping_connect_does_not_extend_its_time(server, device):
    """The limit is for the whole CONNECT, not for each byte of it."""
    with server.refuses("connect_timeout"):
        with Device(server.port, device) as talker:
            try:
                for byte in packet.connect("x" * 200):
                    talker.send(bytes([byte]))
                    try:
                        talker.receive(0.1)
                    except Ended as ended:
                        if ended.how != "silent":
                            raise
            except Ended:
                return
            pytest.fail("the whole CONNECT was waited for")


def test_too_many_connections(server, root):
    """The third of two is refused before TLS, and a place that was left can be taken again."""
    port = server.ports["narrow"]
    first, second = admitted(port, root.issue("one")), admitted(port, root.issue("two"))
    with server.refuses("too_many_connections", listener_name="narrow"):
        assert refusal(port, root.issue("three")) in ("truncated", "reset")
    first.ping()
    second.close_notify()
    until("a place is free", lambda: server.metric("sessions_open", listener="narrow") == 1)
    third = admitted(port, root.issue("four"))
    first.ping()
    for each in (first, third):
        each.close()


@pytest.mark.parametrize("version, code", [(3, 0x03), (4, 0x03), (5, 0x88)])
def test_broker_unavailable(server, device, version, code):
    """A broker that is down: the client gets a CONNACK in its own dialect, and no hang."""
    with server.refuses("broker_unavailable", listener_name="orphan", serial=device.serial):
        with Device(server.ports["orphan"], device) as talker:
            assert talker.connect("x", version) == code
            talker.end()


def test_a_device_registers_although_the_broker_is_down(server, root):
    """Registration follows the CONNECT, not the broker's answer."""
    newcomer = root.issue("early bird")
    with Device(server.ports["orphan"], newcomer) as talker:
        assert talker.connect("x") == 0x03
    server.registered(newcomer)


def test_nothing_of_the_reason_reaches_the_peer(server, device):
    """Beyond alert and code nothing is said: no bytes before the end of a refused connection."""
    with server.refuses("not_mqtt"):
        with Device(server.port, device) as talker:
            talker.send(b"\0" * 16)
            talker.tls.settimeout(5)
            try:
                assert talker.tls.recv(100) == b""
            except OSError as error:
                assert not isinstance(error, socket.timeout)


def test_too_many_sessions(server, root):
    """The third session of one certificate is told so; a place that was left can be taken again, however it was left."""
    port, greedy, modest = server.ports["shared"], root.issue("greedy"), root.issue("modest")
    first, second = admitted(port, greedy, client_id="1"), admitted(port, greedy, client_id="2")
    for version, code in ((4, 0x03), (5, 0x97)):
        with server.refuses("too_many_sessions", listener_name="shared", serial=greedy.serial, claimed="0"):
            with Device(port, greedy) as third:
                assert third.connect("3", version) == code
                assert third.end() == "close_notify"
    with admitted(port, modest, client_id="4"), admitted(server.port, greedy, client_id="5"):
        pass  # other devices and other listeners have places of their own

    def again():
        device = Device(port, greedy)
        if device.connect(f"again {time.monotonic()}") == 0:
            return device
        device.close()
        return None

    def cut(_):
        for each in server.json("session", "list", "--device", greedy.id):
            server.cli("session", "cut", each["id"], "--yes")
    held = [first, second]
    for end in (Device.close, Device.reset, Device.close_notify, cut):
        end(held[0])
        held[0] = until("its place is free", again)
        held.pop().close()
        held.append(until("and the one of a closed socket", again))


def test_a_certificate_without_its_key(server, root, work):
    """Whoever sends somebody else's certificate is refused, and shown as one who claims it: nobody blocks the victim."""
    victim = root.issue("victim")
    admitted(server.port, victim).close()
    server.registered(victim)
    thief = Stolen(victim, work)
    for tls in ("1.2", "1.3"):
        with server.refuses("tls_error", fingerprint=victim.id, claimed="1"):
            assert refusal(server.port, thief, tls) == "decrypt_error"
    mine, = server.json("rejections", "--serial", victim.serial)
    assert (mine["claimed"], mine["reason"], mine["count"], mine["claimed_count"]) == (True, "tls_error", 2, 2)
    assert server.metric("rejections_claimed_total", listener="mqtts", reason="tls_error") == 2
    table = server.cli("rejections", "--serial", victim.serial).stdout.splitlines()
    assert "CLAIMED" in table[0] and " yes " in table[1]
    with server.refuses("not_mqtt", fingerprint=victim.id, claimed="0"):  # what it does itself is proven
        with Device(server.port, victim) as device:
            device.send(packet.pingreq())
            device.end()
    mine, others = server.json("rejections", "--serial", victim.serial)
    assert (mine["claimed"], mine["reason"], mine["count"], mine["claimed_count"]) == (False, "not_mqtt", 1, 0)
    assert (others["claimed"], others["reason"], others["count"], others["claimed_count"]) == (True, "tls_error", 2, 2)
    assert server.json("rejections", "--serial", victim.serial, "--reason", "not_mqtt") == [mine]
    assert server.json("rejections", "--serial", victim.serial, "--listener", "nowhere") == []
    assert "no reason 'rain'" in server.cli("rejections", "--reason", "rain", status=1).stderr


class Stolen:
    """A certificate with a key file that passes for its own until something is signed with it: RFC 5915."""

    def __init__(self, victim, work):
        def tlv(tag, body):
            return bytes([tag, len(body)]) + body
        secret = new_key().private_numbers().private_value.to_bytes(32, "big")
        point = victim.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        key = tlv(0x30, b"\x02\x01\x01" + tlv(4, secret) + tlv(0xA0, bytes.fromhex("06082a8648ce3d030107")) +
                  tlv(0xA1, tlv(3, b"\0" + point)))
        self.chain_file = victim.chain_file
        self.key_file = str(work / "stolen.key")
        body = base64.encodebytes(key).decode()
        with open(self.key_file, "w") as file:
            file.write(f"-----BEGIN EC PRIVATE KEY-----\n{body}-----END EC PRIVATE KEY-----\n")
