"""The first packet: Sallyport answers every CONNECT of the table as a Mosquitto beside it does, whole and byte by byte,
or as the standard says where the table names the clause. A table row is asked four times: of the broker and of
Sallyport, in one piece and in many."""

import pytest

from harness import packet
from harness.connects import LET_IN, REFUSED, TABLE, v5
from harness.device import Device, Ended, how_it_ended, plain
from harness.server import listener


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site), listener(site, name="small", max_connect_size="1KiB")], broker)
    root.register(running)
    return running


class Direct:
    """The broker's port, as a Device."""

    def __init__(self, port):
        self.sock = plain(port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Ended(how_it_ended(error)) from error

    def receive(self):
        try:
            data = self.sock.recv(4096)
        except OSError as error:
            raise Ended(how_it_ended(error)) from error
        if not data:
            raise Ended("end")
        return data


def answer(asked, raw, in_pieces):
    """What came back until the connection ended; or LET_IN, and the CONNACK without the id that it assigned."""
    came = b""
    try:
        with asked as peer:
            try:
                for piece in [raw[i:i + 1] for i in range(len(raw))] if in_pieces else [raw]:
                    peer.send(piece)
            except Ended as ended:
                assert ended.how != "silent"  # refused before all was sent: the answer is there to be read
            while True:
                came += peer.receive()
                if came[0] == packet.CONNACK << 4 and len(came) > 3 and came[3] == 0:
                    return LET_IN, came[2:4]
    except Ended as ended:
        assert ended.how != "silent", f"still open; came {came.hex()}"
        return REFUSED, came


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
def test_every_connect_is_answered_as_mosquitto_does(server, broker, root, pieces):
    assert len(TABLE) >= 50 and len({name for name, _, _ in TABLE}) == len(TABLE)
    identity, wrong, refused_by_us = root.issue("table"), [], 0
    before = sum(server.rejections().values())
    for number, (name, raw, differs) in enumerate(TABLE):
        def own(way):  # a session that was kept would answer for another
            return raw.replace(b"\0\3dev", b"\0\3%c%c%c" % (way, 97 + number // 26, 97 + number % 26))
        theirs = answer(Direct(broker.port), own(b"B" if pieces else b"b"), pieces)
        ours = answer(Device(server.port, identity), own(b"S" if pieces else b"s"), pieces)
        if differs is not None:
            if theirs[0] not in differs[0]:
                wrong.append(f"{name}: Mosquitto {theirs}, the table says {differs[0]}")
            theirs = (REFUSED, differs[1])
        if ours != theirs:
            wrong.append(f"{name}: expected {theirs}, Sallyport {ours}")
        refused_by_us += ours[0] == REFUSED
    assert not wrong, "\n".join(wrong)
    assert sum(server.rejections().values()) - before == refused_by_us
    assert set(server.rejections()) <= {"not_mqtt", "bad_connect", "broker_unavailable"}


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
def test_what_is_too_large_is_told_so_in_mqtt_5(server, root, pieces):
    """Above max_connect_size: CONNACK 0x95 (3.2.2.2 in MQTT 5). 3.1.1 has no word for it, and the connection ends."""
    with server.refuses("bad_connect", 2, listener_name="small"):
        large = v5(client_id=b"x" * 2000)
        ours = answer(Device(server.ports["small"], root.issue("large")), large, pieces)
        assert ours == (REFUSED, b"\x20\x03\0\x95\0")
        assert answer(Device(server.ports["small"], root.issue("large 4")), packet.connect("x" * 2000), pieces)[1] == b""
