"""Whatever comes from outside is refused in time, with a counted reason, within bounds, and disturbs nobody.

One witness session sends a message every 100 ms through all of it and must miss none; at the end the log has no
line that is not ours.
"""

import os
import re
import threading
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from harness import packet
from harness.authority import Authority, new_key
from harness.device import Device, Ended, admitted, plain, refusal, reset
from harness.server import listener
from harness.wait import until
from harness.witness import Witness

KIB = 1024
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|warn|error) \w[\w-]*"
                  r"( \w+=(\"(\\.|[^\"\\])*\"|[^\s\"]*))*$")


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    short = {"handshake_timeout": "2s", "connect_timeout": "2s"}
    running = serve([listener(site, **short),
                     listener(site, name="crowd", max_handshakes_per_shard=65536, handshake_timeout="6s"),
                     listener(site, name="collecting", connect_timeout="30s")], broker)
    root.register(running)
    return running


@pytest.fixture(scope="module", autouse=True)
def witness(server, root):
    """Lives through every test of this file."""
    seeing = Witness(server.port, root.issue("witness"))
    yield seeing
    seeing.verdict()
    assert seeing.sent > 100
    print(f"witness: {seeing.sent} messages, the slowest took {seeing.longest * 1000:.0f} ms")
    bad = [line for line in server.log().splitlines() if not LINE.match(line)]
    assert not bad, bad[:5]


def drained(sock, timeout=10.0):
    """Reads to the end of a plain socket."""
    sock.settimeout(timeout)
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    sock.close()


def highest(read, seconds):
    """The largest value of `read()` seen for a while."""
    deadline, most = time.monotonic() + seconds, read()
    while time.monotonic() < deadline:
        most = max(most, read())
        time.sleep(0.02)
    return most


def test_garbage_of_every_length(server):
    """200 peers with random bytes: each is refused, as tls_error or, where too short to tell, by the timeout."""
    before = sum(server.rejections("mqtts").values())
    socks = []
    for number in range(200):
        sock = plain(server.port)
        sock.sendall(os.urandom(1 + number * 7))
        socks.append(sock)
    for sock in socks:
        drained(sock)
    until("all are counted", lambda: sum(server.rejections("mqtts").values()) - before == 200, 5)
    assert set(server.rejections("mqtts")) <= {"tls_error", "handshake_timeout"}


def test_half_a_hello_and_silence(server):
    """It ends with the handshake's timeout, no earlier."""
    with server.refuses("handshake_timeout", 20):
        began = time.monotonic()
        socks = [plain(server.port) for _ in range(20)]
        for sock in socks:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(50))
        for sock in socks:
            drained(sock)
        assert time.monotonic() - began > 1.5, "earlier than the handshake's timeout"


def test_tls_inside_tls(server, root):
    """A second ClientHello where the CONNECT belongs."""
    with server.refuses("not_mqtt"):
        with Device(server.port, root.issue("nested")) as device:
            device.send(b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03" + os.urandom(120))
            device.end()


def test_an_endless_connect(server, root):
    """A length beyond the limit is refused by its header; one within the limit that never ends, by the timeout."""
    identity = root.issue("endless")
    with server.refuses("bad_connect"):
        with Device(server.port, identity) as device:
            with pytest.raises(Ended):
                device.send(b"\x10\xff\xff\xff\x7f" + packet.text("MQTT") + b"\x04\x02\0\x3c")
                for _ in range(10000):
                    device.send(bytes(16 * KIB))
    with server.refuses("connect_timeout"):
        with Device(server.port, identity) as device:
            start = packet.text("MQTT") + b"\x04\x02\0\x3c" + packet.text("x" * 1000)
            device.send(b"\x10" + packet.length(60000) + start)
            device.end(5)


@pytest.mark.parametrize("sent, bound", [(16 * KIB, 64 * KIB), (60 * KIB, 64 * KIB + 60 * KIB)])
def test_what_an_unfinished_connect_holds(server, root, sent, bound):
    """300 devices stop just before the end of a CONNECT: a usual one is held in 64 KiB a connection, all included;
    one near max_connect_size in that and its own bytes. Freed when they go."""
    body = packet.text("MQTT") + b"\x04\x06\0\x3c" + packet.text("holder") + packet.text("t")
    connect = packet.packet(1, body + packet.text("p" * (sent - len(body))))
    port, identity = server.ports["collecting"], root.issue("holder")
    for _ in range(8):  # the rings' buffer pools are shared and stay: not what a connection holds
        with admitted(port, identity) as device:
            device.publish("warm", bytes(8192 * KIB), 1)
    before = server.rss()
    devices = []
    for _ in range(300):
        devices.append(Device(port, identity))
        devices[-1].send(connect[:-1])
    until("all are inside", lambda: server.metric("sessions_open", listener="collecting") == 300)
    grown = (highest(server.rss, 0.5) - before) / len(devices)
    print(f"{grown / KIB:.1f} KiB a connection with {len(connect) / KIB:.0f} KiB of CONNECT sent")
    for device in devices:
        device.reset()
    until("all are gone", lambda: server.metric("sessions_open", listener="collecting") == 0)
    assert grown <= bound, f"{grown / KIB:.1f} KiB a connection"


def test_ten_thousand_idle_connections(server, root):
    """As many as the open-file limit allows are held, at most 64 KiB each; the rest is refused at once, those held by
    the handshake's timeout; all are counted."""
    port, before = server.ports["crowd"], server.rss()
    socks, most_open = [], 0
    for number in range(10000):
        socks.append(plain(port, source=f"127.0.0.{2 + number % 16}", timeout=20))
        if number % 2000 == 1999:
            most_open = max(most_open, server.metric("sessions_open", listener="crowd"))
    grown = server.rss() - before
    most_open = max(most_open, server.metric("sessions_open", listener="crowd"))
    print(f"{most_open:.0f} held, {grown / most_open / KIB:.1f} KiB each")
    assert most_open > 2000
    assert grown <= most_open * 64 * KIB
    until("each was refused", lambda: sum(server.rejections("crowd").values()) == 10000, 30, pause=0.2)
    assert set(server.rejections("crowd")) <= {"handshake_timeout", "too_many_connections"}, server.rejections("crowd")
    for sock in socks:
        reset(sock)
    until("none is left", lambda: server.metric("sessions_open", listener="crowd") == 0)
    admitted(server.port, root.issue("after the crowd")).close()


def test_silent_peers_do_not_keep_devices_out(server, root):
    """3,000 silent connections, more than the silent may be: the oldest give way, and a device gets in meanwhile."""
    before = sum(server.rejections("mqtts").values())
    socks = [plain(server.port, source=f"127.0.1.{2 + number % 16}", timeout=20) for number in range(3000)]
    admitted(server.port, root.issue("in the crowd")).close()
    until("each was refused", lambda: sum(server.rejections("mqtts").values()) - before >= 3000, 15, pause=0.2)
    for sock in socks:
        reset(sock)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_certificate_of_100_kilobytes(server, root, tls):
    """Beyond the bound for what a client may send: refused before it is looked at."""
    big = root.issue("big", extra=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), os.urandom(100000))])
    with server.refuses("tls_error"):
        assert refusal(server.port, big, tls) != "silent"


@pytest.mark.parametrize("kind, reason", [("p384", "tls_error"), ("ed25519", "bad_chain")])
def test_a_chain_of_50(server, root, work, kind, reason):
    """Large ones break the bound in bytes, small ones the bound of eight; no path is searched in either."""
    key = new_key(kind)
    tower = []
    for floor in range(49):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"T{floor}")])
        tower.append(Authority(work / f"tower-{kind}", name, parent=tower[-1] if tower else None, key=key))
    device = tower[-1].issue("on top", key=key, sent=[each.certificate for each in reversed(tower)])
    with server.refuses(reason):
        assert refusal(server.port, device) != "silent"


FORGED = "x\n2026-01-01T00:00:00.000Z info rejected listener=forged"  # a CN has 64 characters at most
NAMES = {"newline": FORGED, "carriage return": "x\r" + FORGED[2:], "NUL": "admin\0.example.com",
         "escape": "\x1b[2J\x1b[31mred", "bidi": "\u202eevil", "quotes": 'x" reason="none', "long": "y" * 60}


@pytest.mark.parametrize("what", NAMES)
def test_names_that_would_forge(server, root, work, what):
    """Refused or admitted, what a certificate says never forges a line, a field, a table or a terminal."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[what])])
    stranger = Authority(work / "namer", "Unregistered namer")
    with server.refuses("ca_unknown") as lines:
        refusal(server.port, stranger.issue(subject=name))
    assert not set(lines[0].text) & {chr(code) for code in (*range(32), 127, 0x202E)}
    known = root.issue(subject=name)
    try:
        admitted(server.port, known).close()
    except (Ended, AssertionError):
        return
    server.registered(known)
    for text in (server.cli("device", "list").stdout, server.cli("device", "show", known.id).stdout):
        assert not set(text) & {chr(code) for code in (*range(10), *range(11, 32), 127, 0x202E)}
        assert not any(line.startswith("2026-01-01T") for line in text.splitlines())


def test_a_strangers_subject_of_15_kb(server, work):
    """A hundred of them, each another certificate: lines stay short, say that they were cut, and are few.

    It was copied whole: 52 KB of memory for each remembered refusal, and a line of 57 KB in the log.
    """
    stranger = Authority(work / "talker", "Unregistered talker")
    attribute = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "\x01\u2067\u061c" + "w" * 58)
    key, count = new_key(), 100
    before = server.rejections("mqtts").get("ca_unknown", 0)
    lines_before, more_before = len(server.lines("rejected", reason="ca_unknown")), len(server.lines("rejected-more"))
    for number in range(count):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"talker {number}")] + [attribute] * 180)
        assert refusal(server.port, stranger.issue(subject=name, key=key)) == "unknown_ca"
    assert server.rejections("mqtts")["ca_unknown"] - before == count, "the counter has every one"

    def said():
        lines = server.lines("rejected", reason="ca_unknown")[lines_before:]
        more = [line for line in server.lines("rejected-more")[more_before:] if line.fields["reason"] == "ca_unknown"]
        return lines, sum(int(line.fields["count"]) for line in more)
    until("what was left out is said", lambda: len(said()[0]) + said()[1] == count)
    for line in said()[0]:
        assert len(line.text) < 2000, f"a line of {len(line.text)} bytes"
        assert line.fields["subject"].endswith("…"), line.text
        assert not set(line.text) & {"\x01", "\u2067", "\u061c"}
    shown = [each for each in server.json("rejections") if each["subject"].startswith("CN = talker ")]
    assert len(shown) == count, "rejections has every one"
    assert all(len(each["subject"].encode()) <= 256 and each["subject"].endswith("…") for each in shown)
    for text in (server.cli("rejections").stdout, server.cli("rejections", "-o", "json").stdout):
        assert "talker 99" in text and not set(text) & {"\x01", "\u2067", "\u061c"}


def test_a_flood_is_sampled(server):
    """A thousand of one kind at once: the log has the first of them and the count of the others, the counter has all."""
    count, before = 1000, server.rejections("crowd").get("tls_error", 0)
    for _ in range(count):
        with plain(server.ports["crowd"]) as sock:
            sock.sendall(b"neither TLS nor anything else")
            drained(sock)

    def lines():
        return len(server.lines("rejected", listener="crowd", reason="tls_error"))

    def left_out():
        return sum(int(line.fields["count"]) for line in server.lines("rejected-more", listener="crowd", reason="tls_error"))
    until("each is counted", lambda: server.rejections("crowd")["tls_error"] - before == count)
    until("and none is lost", lambda: lines() + left_out() == count + before)
    assert left_out() > 0, lines()


def test_a_client_id_of_60_kb(server, root):
    """What a device calls itself is shown with its beginning, and reaches the broker whole."""
    name = "\u202e" + "c" * 60000
    with Device(server.port, root.issue("long id")) as device:
        assert device.connect(name) == 0
        found = until("it is listed", lambda: [each["client_id"] for each in server.json("session", "list")
                                               if each["client_id"].startswith("\u202e")])
        assert len(found[0]) < 300 and found[0].endswith("c…")
        assert "\u202e" not in server.cli("session", "list").stdout + server.cli("session", "list", "-o", "json").stdout


def test_a_storm_of_half_open_handshakes(server, root):
    """300 peers break off right after their ClientHello, from eight threads; nothing is left behind."""
    def hit():
        for _ in range(40):
            sock = plain(server.port)
            sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x01\xfc\x03")
            reset(sock)
    threads = [threading.Thread(target=hit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until("only the witness is left", lambda: server.metric("sessions_open", listener="mqtts") == 1)
    admitted(server.port, root.issue("after the storm")).close()
