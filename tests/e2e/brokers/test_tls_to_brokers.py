"""TLS to brokers on other machines: verified, resumed, and nothing of a device for a broker that is not proven."""

import contextlib
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness import packet
from harness.authority import Authority, days, now
from harness.broker import Mosquitto
from harness.device import Device, Ended, admitted
from harness.reloading import Reloading
from harness.server import BINARY, listener
from harness.tls_broker import TlsBroker, WebServer, mosquitto_lines
from harness.wait import until


@pytest.fixture(scope="module")
def brokers_ca(work):
    return Authority(work / "brokers", "CA of the brokers")


def certificate(authority, *, dns="broker.test", ip=None, **options):
    """Of a broker."""
    names = [x509.DNSName(dns)] if dns else []
    names += [x509.IPAddress(ipaddress.ip_address(ip))] if ip else []
    return authority.issue("broker", eku=[ExtendedKeyUsageOID.SERVER_AUTH],
                           extra=[x509.SubjectAlternativeName(names)], **options)


@pytest.fixture
def mosquitto(request, tmp_path):
    """Makes Mosquittos of these lines that are always ended."""
    running = []

    def make(*lines):
        running.append(Mosquitto(tmp_path / f"m{len(running)}", *lines).start())
        return running[-1]

    yield make
    for each in running:
        each.kill() if each.process is not None else None


def upstream(*addresses, ca, server_name="broker.test", shows=None, **settings):
    tls = {"ca": ca.identity.chain_file}
    if server_name:
        tls["server_name"] = server_name
    if shows is not None:
        tls.update(certificate=shows.chain_file, key=shows.key_file)
    return [{"name": "broker", "servers": list(addresses), "tls": tls, "slow_start": "0s", **settings}]


def connecting_to(port):
    """Connections to this port of loopback that wait for an answer: SYN_SENT in proc(5)'s net/tcp."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "02" and row[2].endswith(":%04X" % port) for row in rows)


def down_why(server):
    return [line.fields["why"] for line in server.lines("upstream-down")]


@pytest.mark.parametrize("health", ("tcp", "mqtt"))
def test_messages_both_ways(serve_once, mosquitto, brokers_ca, site, root, health):
    """A Mosquitto that asks for our certificate. Small and large, QoS 1, MQTT 3.1.1 and 5."""
    ours = brokers_ca.issue("sallyport", eku=[ExtendedKeyUsageOID.CLIENT_AUTH])
    broker = mosquitto(*mosquitto_lines(certificate(brokers_ca), brokers_ca))
    server = serve_once([listener(site)], upstreams=upstream(broker.address, ca=brokers_ca, shows=ours, health=health,
                                                             health_interval="100ms"))
    root.register(server)
    until("it is up", lambda: server.metric("upstream_up") == 1)
    one, other = root.issue("one"), root.issue("other")
    with admitted(server.port, one, client_id="one") as a, Device(server.port, other) as b:
        assert b.connect("other", 5) == 0
        a.subscribe("to/one", 1)
        b.subscribe("to/other", 1)
        for i, size in enumerate((1, 100, 16384, 100_000, 2_000_000), 1):
            payload = os.urandom(size)
            a.publish("to/other", payload, 1, i)
            assert b.message(30) == ("to/other", payload)
            b.publish("to/one", payload, 1, i)
            assert a.message(30) == ("to/one", payload)
        assert server.metric("upstream_sessions") == 2
    assert server.metric("upstream_failures_total") == 0 and server.rejections() == {}
    assert server.lines("upstream-down") == []


def test_an_address_is_a_name(serve_once, mosquitto, brokers_ca, site, root):
    """Without server_name the certificate must name the server's own address."""
    broker = mosquitto(*mosquitto_lines(certificate(brokers_ca, ip="127.0.0.1")))
    server = serve_once([listener(site)], upstreams=upstream(broker.address, ca=brokers_ca, server_name=None))
    root.register(server)
    with admitted(server.port, root.issue("device")) as device:
        device.ping()


WRONG = {
    "another CA": "unable to get local issuer certificate",
    "another name": "hostname mismatch",
    "another address": "IP address mismatch",
    "expired": "certificate has expired",
    "a client's": "unsuitable certificate purpose",
    "a device's": "no subjectAltName",
    "no TLS": "ends the handshake",
    "rubbish": "wrong version number",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_broker_that_is_not_proven(serve_once, mosquitto, brokers_ca, site, root, work, wrong):
    """It gets nothing, the device is told that there is no broker, and the log says why; with a good one beside it the
    device notices nothing."""
    good = mosquitto(*mosquitto_lines(certificate(brokers_ca)))
    options = {}
    if wrong == "another CA":
        shows = certificate(Authority(work / "strangers", "A stranger's CA"))
    elif wrong == "another name":
        shows = certificate(brokers_ca, dns="other.test")
    elif wrong == "another address":
        shows, options["server_name"] = certificate(brokers_ca, dns="localhost", ip="127.0.0.2"), None
    elif wrong == "expired":
        shows = certificate(brokers_ca, not_before=now() - days(9), not_after=now() - days(1))
    elif wrong == "a client's":
        shows = brokers_ca.issue("broker", eku=[ExtendedKeyUsageOID.CLIENT_AUTH], dns=["broker.test"])
    elif wrong == "a device's":
        shows = brokers_ca.issue("broker.test")  # a CA that issues to devices writes what they like into their CN
    else:
        shows = None
    web = WebServer() if wrong == "rubbish" else None
    if wrong == "no TLS":
        bad = mosquitto().address
    elif web:
        bad = web.address
    else:
        bad = mosquitto(*mosquitto_lines(shows)).address
    server = serve_once([listener(site)], upstreams=upstream(bad, ca=brokers_ca, **options))
    root.register(server)
    device = root.issue("device")
    for version, code in ((4, 3), (5, 0x88)):
        with server.refuses("broker_unavailable"), Device(server.port, device) as asks:
            assert asks.connect("nobody", version) == code
            with pytest.raises(Ended) as ended:
                asks.receive()
            assert ended.value.how == "close_notify"
    assert server.metric("upstream_failures_total", kind="tls") >= 2
    assert server.metric("upstream_failures_total") == server.metric("upstream_failures_total", kind="tls")
    why = down_why(server)
    assert len(why) == 1 and why[0].startswith("tls: ") and WRONG[wrong].lower() in why[0].lower(), why
    if wrong == "another address":
        return
    both = serve_once([listener(site)], upstreams=upstream(bad, good.address, ca=brokers_ca, balance="round-robin"))
    root.register(both)
    with admitted(both.port, device, client_id="listens") as listens:
        listens.subscribe("x", 1)
        for i in range(10):
            with admitted(both.port, device, client_id=f"p{i}") as publishes:
                publishes.publish("x", b"%d" % i, 1)
            assert listens.message() == ("x", b"%d" % i)
    assert both.rejections() == {}
    if web:
        web.stop()


def test_a_broker_that_does_not_take_our_certificate(serve_once, mosquitto, brokers_ca, site, root):
    """With TLS 1.3 that comes after the handshake: it is the broker's TLS all the same, and no CONNECT's fault."""
    broker = mosquitto(*mosquitto_lines(certificate(brokers_ca), brokers_ca))
    server = serve_once([listener(site)], upstreams=upstream(broker.address, ca=brokers_ca))
    root.register(server)
    with server.refuses("broker_unavailable"), Device(server.port, root.issue("device")) as device:
        assert device.connect("x") == 3
    assert server.metric("upstream_failures_total", kind="tls") == 1
    assert any("certificate required" in why for why in down_why(server)), down_why(server)
    # Its checks find it as well, however far they go, and never find it good in between.
    for health in ("tcp", "mqtt"):
        asked = serve_once([listener(site)], upstreams=upstream(broker.address, ca=brokers_ca, health=health,
                                                                health_interval="50ms"))
        root.register(asked)
        until("it is down", lambda: down_why(asked) != [])
        assert "certificate required" in down_why(asked)[0]
        for _ in range(5):
            with Device(asked.port, root.issue("device")) as device:
                assert device.connect("x") == 3
        assert len(down_why(asked)) == 1 and asked.lines("upstream-up") == []
        asked.stop()


def test_a_broker_that_refuses_to_resume(serve_once, brokers_ca, site, root):
    """A session that it does not take is offered once: it is asked again without, and no device notices."""
    with TlsBroker(certificate(brokers_ca), version=ssl.TLSVersion.TLSv1_3, refuses_resumption=True) as broker:
        server = serve_once([listener(site)], proxy={"shards": 1}, upstreams=upstream(
            f"127.0.0.1:{broker.port}", ca=brokers_ca, health_interval="100ms"))
        root.register(server)
        device = root.issue("device")
        for _ in range(4):
            with admitted(server.port, device) as session:
                session.ping()
        assert broker.refused >= 1
        assert server.metric("upstream_failures_total") == 0 and down_why(server) == []


def test_a_reload_while_it_connects(serve_once, mosquitto, brokers_ca, site, root):
    """Another server without TLS takes the place of one with it, to which a connection is being made: the CONNECT goes
    to the new one, and the old one hears nothing in clear."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    full.settimeout(15)
    old = "127.0.0.1:%d" % full.getsockname()[1]
    fills = socket.create_connection(full.getsockname())
    server = serve_once([listener(site)], proxy={"shards": 1}, upstreams=upstream(
        old, ca=brokers_ca, health_interval="1h", connect_timeout="20s"), ready=200)
    root.register(server)
    plain = mosquitto()
    reloading = Reloading(server)
    with Device(server.port, root.issue("device"), timeout=20) as device:
        device.send(packet.connect("device"))
        until("the check and the session wait for the old one", lambda: connecting_to(full.getsockname()[1]) == 2)
        tls = next(line for line in Path(server.config).read_text().splitlines() if line.startswith("tls"))
        reloading.edit(tls, "")
        reloading.edit(old, plain.address)
        reloading.reload()
        accepted = [full.accept()[0] for _ in range(3)]
        assert device.expect(packet.CONNACK)
        device.ping()
        for each in accepted[1:]:
            each.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(100) == b""
    for each in (fills, full, *accepted):
        each.close()


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
def test_resumption(serve_once, brokers_ca, site, root, version):
    """The second connection resumes the first; after a reload the next one begins anew."""
    with TlsBroker(certificate(brokers_ca), version=version) as broker:
        server = serve_once([listener(site)], proxy={"shards": 1}, upstreams=upstream(
            f"127.0.0.1:{broker.port}", ca=brokers_ca, health_interval="1h"))
        root.register(server)
        device = root.issue("device")

        def connects():
            with admitted(server.port, device) as session:
                session.ping()

        for _ in range(4):
            connects()
        assert broker.reused[1:] == [True] * 3
        with admitted(server.port, device) as stays:
            stays.ping()
            Reloading(server).reload()
            stays.ping()
        connects()
        connects()
        assert broker.reused[4:] == [True, False, True]


def test_a_reload_reads_the_files_again(serve_once, mosquitto, brokers_ca, site, root, work, tmp_path):
    """A CA that was wrong and is right; a file that is bad changes nothing."""
    stranger = Authority(work / "wrong", "A wrong CA")
    trusted = tmp_path / "ca.crt"
    shutil.copy(stranger.identity.chain_file, trusted)
    broker = mosquitto(*mosquitto_lines(certificate(brokers_ca)))
    upstreams = upstream(broker.address, ca=brokers_ca)
    upstreams[0]["tls"]["ca"] = str(trusted)
    server = serve_once([listener(site)], upstreams=upstreams)
    root.register(server)
    device = root.issue("device")
    reloading = Reloading(server)
    with server.refuses("broker_unavailable"), Device(server.port, device) as asks:
        assert asks.connect("x") == 3
    shutil.copy(brokers_ca.identity.chain_file, trusted)
    reloading.reload()
    with admitted(server.port, device, client_id="y") as stays:
        stays.ping()
        trusted.write_text("nothing\n")
        lines = reloading.reload(good=False)
        assert str(trusted) in lines[-1].fields["why"]
        with admitted(server.port, device, client_id="z") as other:
            other.ping()
        shutil.copy(stranger.identity.chain_file, trusted)
        reloading.reload()
        stays.ping()
        with server.refuses("broker_unavailable"), Device(server.port, device) as asks:
            assert asks.connect("x") == 3


def test_a_broker_dies_and_returns(serve_once, mosquitto, brokers_ca, site, root):
    broker = mosquitto(*mosquitto_lines(certificate(brokers_ca)))
    server = serve_once([listener(site)], upstreams=upstream(broker.address, ca=brokers_ca, health_interval="100ms"))
    root.register(server)
    device = root.issue("device")
    with admitted(server.port, device) as session:
        session.ping()
        broker.kill()
        session.end()
    with server.refuses("broker_unavailable"), Device(server.port, device) as asks:
        assert asks.connect("x") == 3
    broker.start()
    until("it is up", lambda: server.metric("upstream_up") == 1)
    with admitted(server.port, device) as session:
        session.ping()


def test_last_words(serve_once, mosquitto, brokers_ca, site, root):
    """What a device said before it closed its socket reaches the broker, and its Will is published."""
    broker = mosquitto(*mosquitto_lines(certificate(brokers_ca)))
    server = serve_once([listener(site)], upstreams=upstream(broker.address, ca=brokers_ca))
    root.register(server)
    device = root.issue("device")
    with admitted(server.port, device, client_id="listens") as listens:
        listens.subscribe("#", 0)
        for round_ in range(5):
            with Device(server.port, device) as leaves:
                assert leaves.connect("leaves", will=("will", b"gone")) == 0
                for i in range(200):
                    leaves.publish("said", b"%d" % i)
            assert [listens.message() for _ in range(200)] == [("said", b"%d" % i) for i in range(200)], round_
            assert listens.message() == ("will", b"gone")


def test_bytes_and_their_end(serve_once, brokers_ca, site, root):
    """protocol = "tcp": an orderly end is one on the other side, and a stream that was cut off does not look whole."""
    with TlsBroker(certificate(brokers_ca), echo=True) as broker:
        server = serve_once([listener(site, protocol="tcp")],
                            upstreams=upstream(f"127.0.0.1:{broker.port}", ca=brokers_ca, health_interval="1h"))
        root.register(server)
        device = root.issue("device")
        with Device(server.port, device) as talks:
            sent = os.urandom(300_000)
            got = b""
            for at in range(0, len(sent), 30_000):
                talks.send(sent[at:at + 30_000])
                while len(got) < min(len(sent), at + 30_000):
                    got += talks.receive()
            assert got == sent
            before = len(broker.ends)
            talks.close_notify()
            until("its end arrives", lambda: broker.ends[before:] == ["close_notify"])
        with Device(server.port, device) as resets:
            resets.send(b"x")
            resets.receive()
            before = len(broker.ends)
            resets.reset()
            until("its end arrives", lambda: broker.ends[before:] == ["truncated"])
    with TlsBroker(certificate(brokers_ca), echo=True, cuts_off=True) as broker:
        server = serve_once([listener(site, protocol="tcp")],
                            upstreams=upstream(f"127.0.0.1:{broker.port}", ca=brokers_ca, health_interval="1h"))
        root.register(server)
        with Device(server.port, device) as talks:
            talks.send(b"x")
            assert talks.end() != "close_notify"


def test_check_names_the_place(brokers_ca, site, tmp_path):
    other = brokers_ca.issue("other")
    cases = {
        'tls = { ca = "/nowhere.crt" }': "/nowhere.crt",
        f'tls = {{ ca = "{other.key_file}" }}': other.key_file,
        f'tls = {{ ca = "{brokers_ca.identity.chain_file}", certificate = "{other.chain_file}", '
        f'key = "{site.key_file}" }}': "does not belong to the first certificate",
        'tls = { server_name = "x" }': "'upstream.tls.ca' is missing",
        'tls = { ca = "x", server_name = "https://broker.test" }': "is a host name or an address",
        'tls = { ca = "x", key = "y" }': "go together",
        'tls = { ca = "x", keys = "y" }': "did you mean 'key'?",
        'proxy_protocol = true\ntls = { ca = "x" }': "in clear",
    }
    file = tmp_path / "sallyport.toml"
    for line, said in cases.items():
        file.write_text(f'state_dir = "{tmp_path}/state"\n[[listener]]\nname = "m"\naddress = "127.0.0.1:0"\n'
                        f'upstream = "b"\ncertificates = [{{ chain = "{site.chain_file}", key = "{site.key_file}" }}]\n'
                        f'[admin]\nsocket = "{tmp_path}/a.sock"\n'
                        f'[[upstream]]\nname = "b"\nservers = ["127.0.0.1:1"]\n{line}\n')
        done = subprocess.run([BINARY, "check", "--config", str(file)], capture_output=True, text=True)
        assert done.returncode == 2, (line, done.stdout, done.stderr)
        places = [each for each in (done.stdout + done.stderr).splitlines() if said in each]
        assert places and places[0].startswith((f"{file}:11:", f"{file}:12:")), (line, done.stdout, done.stderr)
