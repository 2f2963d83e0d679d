"""PROXY headers on both sides: from balancers, whose word on the client's address is believed, and to brokers, which
learn from it who the device is. A real HAProxy sends and receives; other bytes are written and read by the harness."""

import socket
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from harness import packet, proxy_header
from harness.authority import der
from harness.device import Device, Ended, admitted, client_context, how_it_ended, plain, read_to_end, reset
from harness.haproxy import HAProxy
from harness.proxy_header import CERT_CONN, CERT_SESS, CIPHER, CLIENT_CERT, CLIENT_SSL, CN, LOCAL, VERSION, v1, v2
from harness.server import Sallyport, listener
from harness.wait import until

FROM_HERE = {"proxy_protocol_from": ["127.0.0.0/30"]}  # 127.0.0.1 is a balancer's, 127.0.0.9 is not
CLIENT = "203.0.113.9"


@pytest.fixture(scope="module")
def receiver():
    running = proxy_header.Receiver()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(broker, receiver, serve, site, root):
    running = serve(
        [listener(site),
         listener(site, name="balanced", handshake_timeout="2s", **FROM_HERE),
         listener(site, name="few", max_connections_per_ip=2, max_new_per_second_per_ip=50, **FROM_HERE),
         listener(site, name="told", upstream="told"),
         listener(site, name="told-one-way", upstream="told", auth="one-way"),
         listener(site, name="told-tcp", upstream="told", protocol="tcp"),
         listener(site, name="chained", upstream="told", **FROM_HERE),
         listener(site, name="shown", upstream="shown")],
        upstreams=[{"name": "broker", "servers": [broker.address]},
                   {"name": "told", "servers": [receiver.address], "proxy_protocol": True},
                   {"name": "shown", "servers": [receiver.address], "proxy_protocol": True,
                    "proxy_protocol_certificate": True}],
        log={"level": "debug"},
        proxy={"shards": 1})  # the last refusal of an address is then the last one of all
    root.register(running)
    return running


@pytest.fixture(scope="module")
def device(root):
    return root.issue("meter 4711")


class Behind(Device):
    """A device behind a balancer, which says `header` first."""

    def __init__(self, port, identity, header, pieces=1, **options):
        self.context = client_context(identity)
        self.buffer = bytearray()
        self.version = 4
        sock = plain(port, **options)
        for at in range(0, len(header), max(1, len(header) // pieces)):
            sock.sendall(header[at:at + max(1, len(header) // pieces)])
            time.sleep(0.002 if pieces > 1 else 0)
        try:
            self.tls = self.context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
        except OSError as error:
            sock.close()
            raise Ended(how_it_ended(error)) from error


def sessions_of(server, name):
    return [each for each in server.json("session", "list") if each["listener"] == name]


# From balancers
@pytest.mark.parametrize("header, peer", [
    (v1(CLIENT), f"{CLIENT}:40000"),
    (v2(CLIENT), f"{CLIENT}:40000"),
    (v1("2001:db8::9", "::1"), "[2001:db8::9]:40000"),
    (v2("2001:db8::9", "::1", fields=b"\x02\0\4host\xee\0\0"), "[2001:db8::9]:40000"),
], ids=range(4))
@pytest.mark.parametrize("pieces", [1, 1000])
def test_a_balancers_word_is_taken(server, device, header, peer, pieces):
    """Whole or byte by byte: the session list has the client's address, and the balancer's beside it."""
    with Behind(server.ports["balanced"], device, header, pieces) as behind:
        assert behind.connect("behind") == 0
        behind.subscribe("t")
        behind.publish("t", b"passes")
        assert behind.message() == ("t", b"passes")
        session, = sessions_of(server, "balanced")
        assert session["peer"] == peer
        assert session["via"].startswith("127.0.0.1:")
        assert peer in server.cli("session", "list").stdout
    until("it is gone", lambda: not sessions_of(server, "balanced"))


def test_a_refusal_names_the_client(server, shop):
    """A certificate of an unknown CA behind a balancer: log line and `rejections` have the client's address."""
    stranger = shop.issue("stranger")
    with pytest.raises(Ended), Behind(server.ports["balanced"], stranger, v2(CLIENT)) as behind:
        behind.receive()
    line = server.line("rejected", listener="balanced", reason="ca_unknown")
    assert line.fields["peer"] == f"{CLIENT}:40000" and line.fields["via"].startswith("127.0.0.1:")
    seen, = [each for each in server.json("rejections", "--peer", CLIENT) if each["fingerprint"] == stranger.id]
    assert seen["via"].startswith("127.0.0.1:") and seen["what"]


def test_who_is_no_balancer_connects_as_ever(server, device):
    with admitted(server.ports["balanced"], device, source="127.0.0.9"):
        session, = sessions_of(server, "balanced")
        assert session["peer"].startswith("127.0.0.9:") and session["via"] is None


@pytest.mark.parametrize("port, source, header, what", [
    ("balanced", "127.0.0.9", v2(CLIENT), "proxy_protocol_from does not name"),
    ("balanced", "127.0.0.9", v1(CLIENT), "proxy_protocol_from does not name"),
    ("mqtts", "127.0.0.1", v2(CLIENT), "proxy_protocol_from does not name"),
    ("mqtts", "127.0.0.1", v1(CLIENT), "proxy_protocol_from does not name"),
    ("balanced", "127.0.0.1", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "no PROXY header"),
    ("balanced", "127.0.0.1", b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
    ("balanced", "127.0.0.1", b"PROXY TCP4 1 2 3 4\r\n", "cannot be read"),
    ("balanced", "127.0.0.1", v2(CLIENT, fields=b"\x03\0\x04\1\2\3\4"), "checksum"),
    ("balanced", "127.0.0.1", v2(CLIENT, fields=b"\x04\x20\0" + bytes(8192)), "4 KiB"),
], ids=range(9))
def test_a_header_too_many_or_too_few(server, port, source, header, what):
    """Each is refused by name, before TLS: nothing that begins like an alert is answered."""
    with server.refuses("bad_proxy_header", listener_name=port) as lines:
        sock = plain(server.ports[port], source)
        sock.sendall(header)
        assert read_to_end(sock)[:1] != b"\x15"
    assert what in lines[0].fields["what"], lines[0].text
    seen = next(each for each in server.json("rejections", "--peer", source) if each["reason"] == "bad_proxy_header")
    assert seen["listener"] == port and what in seen["what"]


def test_half_a_header(server):
    """Silence in the middle of it ends by the handshake's timeout, its end there by name."""
    with server.refuses("handshake_timeout", listener_name="balanced"):
        sock = plain(server.ports["balanced"])
        sock.sendall(v2(CLIENT)[:20])
        read_to_end(sock)
    with server.refuses("bad_proxy_header", listener_name="balanced") as lines:
        sock = plain(server.ports["balanced"])
        sock.sendall(v2(CLIENT)[:20])
        sock.shutdown(socket.SHUT_WR)
        read_to_end(sock)
    assert "within its PROXY header" in lines[0].fields["what"]


def test_limits_are_the_clients(server, device):
    """max_connections_per_ip = 2 holds for each client behind one balancer, and not for the balancer; who leaves makes
    room for his own address."""
    port = server.ports["few"]
    others = [Behind(port, device, v2(f"198.51.100.{n}")) for n in range(6)]
    mine = [Behind(port, device, v2(CLIENT)) for _ in range(2)]
    before = server.rejections("few").get("too_many_connections", 0)
    with pytest.raises(Ended):
        Behind(port, device, v2(CLIENT))
    until("it is counted", lambda: server.rejections("few").get("too_many_connections", 0) == before + 1)
    line = server.line("rejected", listener="few", reason="too_many_connections")
    assert line.fields["peer"].startswith(CLIENT) and line.fields["what"] == "max_connections_per_ip"
    mine.pop().close()
    until("its place is free", lambda: len(sessions_of(server, "few")) == 7)
    mine.append(Behind(port, device, v2(CLIENT)))
    for each in others + mine:
        each.close()
    until("all are gone", lambda: not sessions_of(server, "few"))
    with Behind(port, device, LOCAL) as first, Behind(port, device, b"PROXY UNKNOWN\r\n"):
        assert first.connect("local") == 0  # the balancer's own address stands, and counts
        with pytest.raises(Ended):
            Behind(port, device, LOCAL)
    until("all are gone", lambda: not sessions_of(server, "few"))


# Health checks and scanners
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_who_says_nothing_is_not_refused(server, how):
    before = server.metric("connections_silent_total", listener="mqtts")
    rejected = sum(server.rejections("mqtts").values())
    for _ in range(5):
        sock = plain(server.port)
        sock.close() if how == "closes" else reset(sock)
    until("they are counted", lambda: server.metric("connections_silent_total", listener="mqtts") == before + 5)
    assert sum(server.rejections("mqtts").values()) == rejected
    line = server.line("silent", listener="mqtts")
    assert line.level == "debug" and line.fields["peer"].startswith("127.0.0.1:")


@pytest.mark.parametrize("header", [b"", LOCAL, b"PROXY UNKNOWN\r\n", v2(CLIENT)])
def test_a_balancers_health_check_is_not_refused(server, header):
    before = server.metric("connections_silent_total", listener="balanced")
    rejected = sum(server.rejections("balanced").values())
    sock = plain(server.ports["balanced"])
    sock.sendall(header)
    sock.close()
    until("it is counted", lambda: server.metric("connections_silent_total", listener="balanced") == before + 1)
    assert sum(server.rejections("balanced").values()) == rejected


@pytest.mark.parametrize("sent, what", [
    (packet.connect("x"), "plain MQTT"),
    (packet.connect("x", version=5), "plain MQTT"),
    (packet.connect("x", version=3), "plain MQTT"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP"),
], ids=range(4))
@pytest.mark.parametrize("pieces", [1, 100])
def test_what_is_not_tls_is_named(server, sent, what, pieces):
    with server.refuses("tls_error") as lines:
        sock = plain(server.port)
        for byte in [sent] if pieces == 1 else [sent[n:n + 1] for n in range(12)]:
            sock.sendall(byte)
            time.sleep(0.002 if pieces > 1 else 0)
        read_to_end(sock)
    assert lines[0].fields["what"].startswith(what), lines[0].text
    seen = [each for each in server.json("rejections", "--peer", "127.0.0.1") if each["reason"] == "tls_error"]
    assert any(each["what"].startswith(what) for each in seen)


# To brokers
def resumed_connection(port, identity, tls):
    """A device's second connection, by the ticket of its first one."""
    context = client_context(identity, tls)
    first = Device(port, context=context)
    assert first.connect("first") == 0
    session = first.tls.session
    first.close()
    sock = plain(port)
    again = Device.__new__(Device)
    again.buffer, again.version = bytearray(), 4
    again.tls = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False, session=session)
    assert again.tls.session_reused
    return again


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("port", ["told", "told-tcp"])
def test_a_broker_is_told_who_comes(server, receiver, device, port, tls):
    """In one piece with the CONNECT, at most 500 bytes: addresses, TLS, and the CN that was proven."""
    number = len(receiver.first)
    with Device(server.ports[port], device, tls, source="127.0.0.5") as told:
        here = told.tls.getsockname()
        assert told.connect("liar") == 0
        header = receiver.header(number)
        assert header.client == here and header.destination == ("127.0.0.1", server.ports[port])
        assert header.length <= 500 and header.rest == packet.connect("liar")
        assert (header.flags, header.verify) == (CLIENT_SSL | CERT_CONN | CERT_SESS, 0)
        assert header.text(CN) == "meter 4711" and header.text(VERSION) == f"TLSv{tls}"
        assert header.text(CIPHER) == told.tls.cipher()[0]
        assert set(header.tls) == {CN, VERSION, CIPHER}
        assert {each["server"] for each in sessions_of(server, port)} == {receiver.address}
    explained = server.cli("explain", device.chain_file, "--listener", port).stdout
    assert "the common name in the broker's PROXY header: meter 4711" in " ".join(explained.split())


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_resumed_session_shows_no_certificate_now(server, receiver, device, tls):
    number = len(receiver.first) + 1
    with resumed_connection(server.ports["told"], device, tls) as again:
        assert again.connect("again") == 0
        header = receiver.header(number)
        assert (header.flags, header.verify) == (CLIENT_SSL | CERT_SESS, 0)
        assert header.text(CN) == "meter 4711"


def test_without_a_certificate_nothing_is_verified(server, receiver):
    number = len(receiver.first)
    with Device(server.ports["told-one-way"]) as anyone:
        assert anyone.connect("anyone") == 0
        header = receiver.header(number)
        assert header.flags == CLIENT_SSL and header.verify != 0
        assert set(header.tls) == {VERSION, CIPHER}


def test_the_client_behind_a_balancer_is_passed_on(server, receiver, device):
    number = len(receiver.first)
    with Behind(server.ports["chained"], device, v2(CLIENT, "198.51.100.2")) as behind:
        assert behind.connect("behind") == 0
        header = receiver.header(number)
        assert header.client == (CLIENT, 40000) and header.destination == ("198.51.100.2", 8883)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_the_whole_certificate(server, receiver, device, tls):
    """Also of a device that is known, and of one that comes back with a ticket: it is not honoured there."""
    context = client_context(device, tls)
    for _ in range(2):
        number = len(receiver.first)
        with Device(server.ports["shown"], context=context) as shown:
            assert shown.connect("shown") == 0
            header = receiver.header(number)
            assert header.tls[CLIENT_CERT] == der(device.certificate)
            assert header.flags == CLIENT_SSL | CERT_CONN | CERT_SESS
            assert header.rest == packet.connect("shown")


@pytest.mark.parametrize("cn", ["a/b", "a+", "#", "line\nbreak", None, ["two", "names"]])
def test_a_name_that_is_not_safe(server, receiver, root, cn):
    """CONNACK 5 instead of a broker that takes it for somebody else's; where no header is sent it does not matter."""
    names = cn if isinstance(cn, list) else [] if cn is None else [cn]
    unsafe = root.issue(subject=x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")] +
                                          [x509.NameAttribute(NameOID.COMMON_NAME, each) for each in names]))
    number = len(receiver.first)
    with server.refuses("bad_identity", listener_name="told"), Device(server.ports["told"], unsafe) as device:
        assert device.connect("x") == 5
    assert len(receiver.first) == number
    explained = server.cli("explain", unsafe.chain_file, "--listener", "told", status=1).stdout
    assert "bad_identity" in explained and "the common name in the broker's PROXY header" in explained
    admitted(server.port, unsafe).close()


def test_probes_do_not_confuse_the_broker(server, receiver):
    """A probe is a LOCAL header and an orderly end."""
    assert receiver.probes and all(each == (LOCAL, b"") for each in receiver.probes), receiver.probes


# HAProxy
@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_before_us(server, work, device, sends):
    """Real headers of both versions, with a checksum too: our session has the client's own address."""
    before_us = HAProxy(work / f"before-{len(sends)}", server.ports["balanced"], server=sends,
                        lines=["unique-id-format %ci"]).start()
    try:
        with admitted(before_us.port, device, source="127.0.0.77") as behind:
            behind.ping()
            session, = sessions_of(server, "balanced")
            assert session["peer"] == "127.0.0.77:%d" % behind.tls.getsockname()[1]
            assert session["via"].startswith("127.0.0.1:")
    finally:
        before_us.stop()
    until("it is gone", lambda: not sessions_of(server, "balanced"))


def test_haproxys_health_checks(server, work):
    """With and without a header they are silent connections, and refusals never."""
    rejected = sum(server.rejections("balanced").values())
    before = server.metric("connections_silent_total", listener="balanced")
    checking = [HAProxy(work / f"checks-{n}", server.ports["balanced"], server=f"check inter 100ms {how}").start()
                for n, how in enumerate(["", "send-proxy-v2 check-send-proxy", "send-proxy check-send-proxy"])]
    try:
        until("checks came",
              lambda: server.metric("connections_silent_total", listener="balanced") >= before + 15, 20)
        for each in checking:
            assert "DOWN" not in each.log(), each.log()
    finally:
        for each in checking:
            each.stop()
    assert sum(server.rejections("balanced").values()) == rejected


def test_haproxy_behind_us(broker, serve, site, root, work, device):
    """HAProxy takes our header, says whose connection it was, and passes the CONNECT on to Mosquitto."""
    behind_us = HAProxy(work / "behind", broker.port, bind="accept-proxy").start()
    try:
        running = serve([listener(site)], upstreams=[{"name": "broker", "servers": [behind_us.address],
                                                      "proxy_protocol": True, "health_interval": "100ms"}])
        root.register(running)
        with admitted(running.port, device, source="127.0.0.78") as through:
            through.subscribe("t")
            through.publish("t", b"x" * 100_000)
            assert through.message() == ("t", b"x" * 100_000)
            mine = "127.0.0.78:%d" % through.tls.getsockname()[1]
        until("haproxy names the client", lambda: f"src={mine} dst=127.0.0.1:{running.port}" in behind_us.log())
        assert "BADREQ" not in behind_us.log() and "Received something" not in behind_us.log(), behind_us.log()
    finally:
        behind_us.stop()


def test_check_says_what_does_not_go_together(server, site, broker, work):
    """A certificate without a header is refused; one with it, and a listener that believes everybody, are warned of."""
    base = {"name": "broker", "servers": [broker.address]}
    wrong = Sallyport(work / "wrong-pp", [listener(site, proxy_protocol_from=["10.0.0.1/8"])],
                      upstreams=[{**base, "proxy_protocol_certificate": True}])
    done = wrong.cli("check", "--config", wrong.config, status=2)
    assert "'upstream.proxy_protocol_certificate' adds to the PROXY header" in done.stderr
    assert 'write "10.0.0.0/8"' in done.stderr
    loose = Sallyport(work / "loose-pp", [listener(site, proxy_protocol_from=["0.0.0.0/0"])],
                      upstreams=[{**base, "proxy_protocol": True, "proxy_protocol_certificate": True}])
    said = loose.cli("check", "--config", loose.config)
    text = said.stdout + said.stderr
    assert "Mosquitto refuses it" in text and "no ticket is honoured" in text and "all addresses" in text
