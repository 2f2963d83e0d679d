"""bench/load as its users run it: every scenario against a real Sallyport, its JSON held against the metrics."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import packet
from harness.broker import free_port
from harness.device import admitted
from harness.load import LOAD, Pki, Sink, said_by
from harness.server import listener
from harness.wait import until

TLS = ["1.2", "1.3"]
MQTT = {"3.1.1": 4, "5": 5}

pytestmark = pytest.mark.skipif(not os.access(LOAD, os.X_OK), reason=f"there is no load generator at {LOAD}")


def report_of(done, status):
    """The one JSON object on standard output, after its exit status was checked."""
    assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stdout.count("\n") == 1, done.stdout
    report = json.loads(done.stdout)
    assert report["ok"] is (status == 0) and (report["errors"] == {}) is (status == 0), report
    return report


class Growth:
    """How much the metrics of a server have grown since."""

    def __init__(self, server):
        # What the last test registered must not count here: a busy disk may be late.
        until("nothing waits to be registered", lambda: server.json("status")["registration_queue"]["depth"] == 0)
        self.server, self.before = server, server.metrics()

    def of(self, name, **labels):
        wanted = set(labels.items())
        before = sum(value for (key, have), value in self.before.items() if key == name and wanted <= have)
        return self.server.metric(name, **labels) - before

    def becomes(self, expected, name, **labels):
        try:
            until(f"{name}{labels} has grown by {expected}", lambda: self.of(name, **labels) == expected, 5)
        except AssertionError as late:
            queue = self.server.json("status")["registration_queue"]
            raise AssertionError(f"{late}: by {self.of(name, **labels)}; of registrations {queue} wait") from late


@pytest.fixture(scope="module")
def pki(work):
    return Pki(work / "load-pki")


@pytest.fixture(scope="module")
def sink():
    running = Sink()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def server(serve, sink, pki, root):
    """Two shards before the sink; the devices of `load pki` register themselves. The bursts of a storm run where nobody
    else wants the processor: their handshakes may take long."""
    running = serve([listener(pki, handshake_timeout="60s"),
                     listener(Pki(pki.folder, "rsa"), name="rsa", handshake_timeout="60s"),
                     listener(pki, name="six", address="[::1]:0"),
                     listener(pki, name="chosen", cas=[root.id])], sink, proxy={"shards": 2},
                    registry={"trusted_cas": [pki.device_ca]})
    root.register(running)
    return running


@pytest.fixture
def load(server, pki):
    """Runs load against Sallyport; its JSON. It must not complain, and with --quiet it is silent."""
    def run(*arguments, port=None, status=0):
        done = said_by(*arguments, "--connect", f"127.0.0.1:{port or server.port}", "--pki", pki.folder, "--quiet")
        report = report_of(done, status)
        assert done.stderr == ""
        assert report["scenario"] == arguments[0] or arguments[0] == "storm"
        assert report["seconds"] > 0 and report["load_cpu_seconds"] > 0
        assert report["rate"] == pytest.approx(report["units"] / report["seconds"])
        return report
    return run


def is_ordered(latency, count):
    """The histogram holds `count` values whose percentiles come in order."""
    assert latency["count"] == count
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"] <= latency["max"]
    assert 0 < latency["mean"] <= latency["max"]


# --- connections

HANDSHAKE = ("handshake", "--count", 60, "--devices", 8, "--concurrency", 4)
WARM = ("--warm-up", 200)  # long enough that the first devices' registration is in force when the measured ones begin


@pytest.mark.parametrize("mqtt", MQTT)
@pytest.mark.parametrize("tls", TLS)
def test_full_handshakes(server, load, tls, mqtt):
    """Every connection is a full handshake of that version; Sallyport knows the devices and counts the same."""
    grown = Growth(server)
    report = load(*HANDSHAKE, *WARM, "--tls", tls, "--mqtt", mqtt)
    assert (report["unit"], report["units"], report["resumed"]) == ("connection", 60, 0)
    is_ordered(report["latency_us"], 60)
    assert "proxy_cpu_seconds" not in report
    grown.becomes(260, "connections_accepted_total", listener="mqtts")
    grown.becomes(260, "mqtt_connects_total", version=mqtt)
    assert grown.of("handshakes_total", version=tls) == 260
    assert grown.of("handshakes_total", kind="resumed") == 0
    # A device is known once it is registered, however long the disk takes for that.
    known, new = (grown.of("handshakes_total", kind=kind, version=tls) for kind in ("known", "full"))
    assert known + new == 260 and new >= 8
    grown.becomes(8, "registrations_total")
    grown.becomes(0, "sessions_open")
    grown.becomes(0, "rejections_total")


@pytest.mark.parametrize("mode, resumed", [("resumed", 60), ("mixed", 30)])
@pytest.mark.parametrize("tls", TLS)
def test_resumed_handshakes(server, load, tls, mode, resumed):
    """All resume, or half of them, as was asked; both sides of the connections agree on it."""
    grown = Growth(server)
    report = load(*HANDSHAKE, *WARM, "--mode", mode, "--tls", tls)
    assert (report["units"], report["resumed"]) == (60, resumed)
    is_ordered(report["latency_us"], 60)
    grown.becomes(resumed, "handshakes_total", kind="resumed", version=tls)
    # Twice 200 to warm up: the second time every device is registered, and its ticket is good.
    assert grown.of("handshakes_total", version=tls) == 460


@pytest.mark.parametrize("tls", TLS)
def test_first_connections(server, load, tls):
    """Every measured connection is a device nobody knew: as many registrations, nobody known, nothing resumed."""
    grown = Growth(server)
    report = load(*HANDSHAKE, "--mode", "first", "--tls", tls)
    assert (report["units"], report["resumed"]) == (60, 0)
    grown.becomes(60 + 8, "registrations_total")
    grown.becomes(60 + 8, "devices", status="active")
    assert grown.of("handshakes_total", kind="full", version=tls) == 68
    assert grown.of("handshakes_total", kind="known") == grown.of("handshakes_total", kind="resumed") == 0


def test_a_rate_of_connections(load):
    """--rate: connections come when they are due, not as fast as they can."""
    report = load(*HANDSHAKE, "--rate", 100)
    assert report["units"] == 60 and report["seconds"] >= 0.55
    is_ordered(report["latency_us"], 60)


@pytest.mark.parametrize("options", [["--intermediate"], ["--rsa-devices"], ["--group", "P-256"], ["--mqtt5"],
                                     ["--cipher", "TLS_AES_128_GCM_SHA256"]], ids=lambda options: options[0])
def test_what_devices_may_be(server, load, options):
    """Below an intermediate, with RSA keys, of one group or suite, of MQTT 5: all are let in."""
    grown = Growth(server)
    assert load(*HANDSHAKE, *options)["units"] == 60
    grown.becomes(68, "mqtt_connects_total", version="5" if options == ["--mqtt5"] else "3.1.1")


def test_an_rsa_server(server, load):
    """The server's certificate may be RSA: `load pki` made one, and its CA is trusted by default."""
    assert load(*HANDSHAKE, "--tls", "1.2", port=server.ports["rsa"])["units"] == 60
    suite = ("--tls", "1.2", "--cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    assert load(*HANDSHAKE, *suite, port=server.ports["rsa"])["units"] == 60


def test_ipv6(server, pki):
    """[::1]:PORT is an address as well."""
    report = report_of(said_by(*HANDSHAKE, "--connect", f"[::1]:{server.ports['six']}", "--pki", pki.folder), 0)
    assert report["units"] == 60


@pytest.mark.parametrize("mode", ["full", "resumed"])
@pytest.mark.parametrize("tls", TLS)
def test_reconnect(server, load, tls, mode):
    """A fleet comes back at once: all of it, by ticket where asked for; the time from the cut is measured."""
    grown = Growth(server)
    report = load("reconnect", "--connections", 100, "--mode", mode, "--tls", tls)
    resumed = report["resumed"]
    assert (report["unit"], report["units"]) == ("connection", 100)
    assert resumed == (100 if mode == "resumed" else 0)
    is_ordered(report["latency_us"], 100)
    assert grown.of("handshakes_total", version=tls) == (300 if mode == "resumed" else 200)
    assert grown.of("handshakes_total", version=tls, kind="resumed") == resumed
    grown.becomes(100, "registrations_total")
    grown.becomes(0, "sessions_open")


def test_storm(server, load):
    """Those that stand measure round trips while bursts of ten come and go."""
    grown = Growth(server)
    report = load("storm", "--connections", 5, "--rate", 200, "--seconds", 1.5, "--burst", 10, "--every", 0.3)
    assert report["units"] == 300
    is_ordered(report["latency_us"], 300)
    assert report["handshakes"] >= 10 and report["handshakes"] % 10 == 0 and report["handshake_p99_us"] > 0
    assert grown.of("connections_accepted_total") == 5 + 10 + report["handshakes"]


def test_storm_elsewhere(server, load):
    """The bursts may go to another endpoint than those whose round trips are measured."""
    grown = Growth(server)
    report = load("storm", "--connections", 5, "--rate", 100, "--seconds", 0.6, "--burst", 10, "--every", 0.2,
                  "--bursts-to", f"127.0.0.1:{server.ports['rsa']}")
    assert report["handshakes"] >= 10
    assert grown.of("connections_accepted_total", listener="mqtts") == 5
    assert grown.of("connections_accepted_total", listener="rsa") == 10 + report["handshakes"]


def test_storm_says_its_name(load):
    """The JSON names the scenario that was run."""
    assert load("storm", "--connections", 1, "--seconds", 0.3, "--burst", 1)["scenario"] == "storm"


def test_idle(server, load):
    """A silent fleet all of which answers afterwards; the proxy's memory before and after, and for each of them."""
    report = load("idle", "--connections", 100, "--hold", 0.3, "--pid", server.process.pid)
    assert (report["unit"], report["units"], report["answered"]) == ("connection", 100, 100)
    assert report["pss_kib_after"] >= 0.9 * report["pss_kib_before"] > 1000
    each = (report["pss_kib_after"] - report["pss_kib_before"]) / 100
    assert report["pss_kib_per_unit"] == pytest.approx(each, abs=0.01)
    assert each < 100
    assert 0 <= report["proxy_cpu_seconds"] <= report["seconds"] * os.cpu_count()


# --- messages

def to_broker(names, messages, size, qos, version):
    """What reaches the broker of a fleet that publishes: its CONNECTs, two PINGREQs each, the messages."""
    connects = sum(len(packet.connect(name, version)) for name in names)
    one = len(packet.publish("t/load", bytes(size), qos, version=version))
    return connects + 2 * len(names) * len(packet.pingreq()) + messages * one


@pytest.mark.parametrize("mqtt", MQTT)
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("tls", TLS)
def test_messages(server, load, tls, qos, mqtt):
    """At 1,000 a second for half a second: 500, all of them and nothing else reach the broker; QoS 1 is timed."""
    grown = Growth(server)
    report = load("messages", "--connections", 5, "--rate", 1000, "--seconds", 0.5, "--qos", qos, "--size", 300,
                  "--tls", tls, "--mqtt", mqtt)
    assert (report["unit"], report["units"]) == ("message", 500)
    names = [f"talker-{number}" for number in range(5)]
    grown.becomes(to_broker(names, 500, 300, qos, MQTT[mqtt]), "bytes_total", direction="to_broker")
    if qos == 1:
        is_ordered(report["latency_us"], 500)
    else:
        assert "latency_us" not in report


def test_messages_in_bursts(server, load):
    """--burst 25: whole bursts, whole messages, the same rate."""
    grown = Growth(server)
    report = load("messages", "--connections", 2, "--rate", 2000, "--seconds", 0.5, "--qos", 1, "--burst", 25)
    assert report["units"] == 1000
    is_ordered(report["latency_us"], 1000)
    grown.becomes(to_broker(["talker-0", "talker-1"], 1000, 100, 1, 4), "bytes_total", direction="to_broker")


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_as_fast_as_they_go(server, load, qos):
    """No rate: many, and every one of them has gone through when the run ends."""
    grown = Growth(server)
    report = load("messages", "--connections", 3, "--seconds", 0.3, "--qos", qos)
    assert report["units"] > 1000
    names = [f"talker-{number}" for number in range(3)]
    grown.becomes(to_broker(names, report["units"], 100, qos, 4), "bytes_total", direction="to_broker")
    assert qos == 0 or report["latency_us"]["count"] == report["units"]


@pytest.mark.parametrize("held_up_at", [0.5, 1.7])
def test_messages_that_were_held_up_are_sent(sink, held_up_at):
    """A load generator that the machine does not let run for a while sends what became due, and at the rate again."""
    process = subprocess.Popen([LOAD, "messages", "--plain", "--connect", sink.address, "--connections", "10", "--rate",
                                "20000", "--seconds", "2", "--quiet"],
                               stdout=subprocess.PIPE, text=True)
    time.sleep(held_up_at)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.7)
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=120)
    assert json.loads(said)["units"] == pytest.approx(40_000, abs=1)


@pytest.mark.parametrize("connections", [1, 20])
@pytest.mark.parametrize("tls", TLS)
def test_roundtrip(server, load, tls, connections):
    """Each PUBACK is timed from when its publish was due; the proxy's CPU time is that of its process."""
    grown = Growth(server)
    report = load("roundtrip", "--connections", connections, "--rate", 400, "--seconds", 0.5, "--tls", tls,
                  "--pid", server.process.pid)
    assert (report["unit"], report["units"]) == ("round trip", 200)
    is_ordered(report["latency_us"], 200)
    assert 0 < report["proxy_cpu_seconds"] < 10
    assert report["proxy_cpu_us_per_unit"] == pytest.approx(report["proxy_cpu_seconds"] * 1e6 / 200)
    acks = 200 * len(packet.puback(1)) + connections * (4 + len(packet.pingresp()))
    grown.becomes(acks, "bytes_total", direction="to_client")


@pytest.mark.parametrize("direction, label", [("up", "to_broker"), ("down", "to_client")])
@pytest.mark.parametrize("tls", TLS)
def test_bulk(server, load, tls, direction, label):
    """Five megabytes each way: as many units, and Sallyport forwarded that many bytes."""
    grown = Growth(server)
    report = load("bulk", "--connections", 2, "--megabytes", 5, "--direction", direction, "--tls", tls)
    assert (report["unit"], report["units"]) == ("megabyte", 5)
    until("all is counted", lambda: 5e6 <= grown.of("bytes_total", direction=label) < 5.2e6, 5)
    other = {"to_broker": "to_client", "to_client": "to_broker"}[label]
    assert grown.of("bytes_total", direction=other) < 1000


# --- other ways to run it

@pytest.mark.parametrize("command", [
    ["handshake", "--count", 50, "--devices", 4, "--concurrency", 4],
    ["messages", "--connections", 5, "--rate", 500, "--seconds", 0.3, "--qos", 1],
    ["bulk", "--connections", 2, "--megabytes", 3],
    ["bulk", "--connections", 2, "--megabytes", 3, "--direction", "down"],
    ["roundtrip", "--connections", 2, "--rate", 200, "--seconds", 0.3],
    ["storm", "--connections", 2, "--rate", 200, "--seconds", 0.5, "--burst", 5, "--every", 0.2],
    ["idle", "--connections", 20, "--hold", 0.2], ["reconnect", "--connections", 50]],
    ids=lambda command: "-".join(map(str, command[::len(command) - 1])))
def test_plain_to_the_sink(sink, command):
    """--plain needs neither a proxy nor a PKI: the floor of every scenario."""
    report = report_of(said_by(*command, "--plain", "--connect", sink.address, "--quiet"), 0)
    assert report["units"] > 0 and report.get("resumed", 0) == 0


@pytest.mark.parametrize("expects, said, let_in", [
    ("proxy", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", True),
    ("proxy", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), True),
    ("proxy", b"", False), ("proxy", b"PROXX TCP4 127.0.0.1", False), ("proxy", b"\r\n\r\n\0\r\nQUIT\r", False),
    ("user-name", b"", False), ("nothing", b"", True)])
def test_a_sink_leaves_who_does_not_say_what_it_expects(expects, said, let_in):
    """So that a row of the comparison is about a proxy that does tell. In pieces, too."""
    own = Sink(expects=expects)
    try:
        for piece in (1, 1000):
            with socket.create_connection(("127.0.0.1", own.port), 20) as client:
                everything = said + packet.connect("told")
                try:
                    for at in range(0, len(everything), piece):
                        client.sendall(everything[at:at + piece])
                    answer = client.recv(100)
                except ConnectionError:
                    answer = b""
                assert (answer == b"\x20\x02\0\0") is let_in
        with socket.create_connection(("127.0.0.1", own.port), 20) as client:
            named = b"\x10\x13\0\4MQTT\4\x82\0\x3c" + packet.text("told") + packet.text("u")
            client.sendall((b"" if expects != "proxy" else b"PROXY UNKNOWN\r\n") + named)
            assert client.recv(100) == b"\x20\x02\0\0"
    finally:
        assert own.stop() == 0


def test_json_to_a_file_and_progress_to_standard_error(sink, work):
    """--json FILE takes the object, standard output stays empty; without --quiet a line a second says how it goes."""
    file = work / "load.json"
    done = said_by("messages", "--plain", "--connect", sink.address, "--connections", 2, "--rate", 100,
                   "--seconds", 1.3, "--json", file)
    assert (done.returncode, done.stdout) == (0, "")
    report = json.loads(file.read_text())
    assert report["ok"] is True and report["units"] == 130
    assert re.search(r"^publishing: \d+ of 130, \d+/s, 0 errors$", done.stderr, re.M), done.stderr


def test_help_names_every_scenario():
    """--help of the whole and of each subcommand; the keys have defaults to be seen."""
    page = said_by("--help")
    assert page.returncode == 0
    for name in ("pki", "sink", "handshake", "reconnect", "messages", "roundtrip", "bulk", "storm", "idle"):
        assert re.search(rf"^  {name} ", page.stdout, re.M), name
        own = said_by(name, "--help")
        assert own.returncode == 0 and "--" in own.stdout


def test_pki_keys_are_private(pki):
    """`load pki` makes keys nobody else may read."""
    keys = [*pki.folder.glob("*.key"), *pki.folder.glob("*-bundle.pem")]
    assert len(keys) >= 4 and all(each.stat().st_mode & 0o077 == 0 for each in keys)


@pytest.fixture(scope="module")
def before_mosquitto(serve, broker, pki, root):
    """A Sallyport whose broker is Mosquitto."""
    running = serve([listener(pki)], broker, registry={"trusted_cas": [pki.device_ca]})
    root.register(running)
    return running


@pytest.mark.parametrize("qos", [0, 1])
def test_mosquitto_gets_every_message(before_mosquitto, load, root, qos):
    """A subscriber of a real broker sees as many messages as load says it sent."""
    with admitted(before_mosquitto.port, root.issue("counter")) as counter:
        counter.subscribe("t/load")
        report = load("messages", "--connections", 5, "--rate", 500, "--seconds", 0.4, "--qos", qos, "--size", 50,
                      port=before_mosquitto.port)
        assert report["units"] == 200
        for _ in range(200):
            topic, payload = counter.message()
            assert (topic, len(payload)) == ("t/load", 50)
        counter.ping()  # and no more of them
        assert not counter.buffer


@pytest.mark.parametrize("mqtt", MQTT)
def test_mosquitto_connections(before_mosquitto, load, mqtt):
    """Handshakes, a reconnecting fleet and round trips against a real broker, in both versions of MQTT."""
    port = before_mosquitto.port
    assert load(*HANDSHAKE, "--mqtt", mqtt, port=port)["units"] == 60
    assert load("reconnect", "--connections", 50, "--mode", "resumed", "--mqtt", mqtt, port=port)["units"] == 50
    trips = load("roundtrip", "--connections", 4, "--rate", 200, "--seconds", 0.4, "--mqtt", mqtt, port=port)
    is_ordered(trips["latency_us"], 80)


# --- what goes wrong is said

SMALL = ("handshake", "--count", 5, "--devices", 2, "--concurrency", 2, "--quiet")


def test_nobody_listens(pki):
    """A wrong port: exit 1, ok false, and the errors say why."""
    report = report_of(said_by(*SMALL, "--pki", pki.folder, "--connect", f"127.0.0.1:{free_port()}"), 1)
    assert report["units"] == 0 and report["errors"] == {"Connection refused": 7}


@pytest.mark.parametrize("tls", TLS)
def test_devices_that_are_refused(server, pki, tls):
    """Their CA is not admitted here: each refusal is an error with the alert's name, as Sallyport counted it."""
    grown = Growth(server)
    report = report_of(said_by(*SMALL, "--pki", pki.folder, "--tls", tls,
                               "--connect", f"127.0.0.1:{server.ports['chosen']}"), 1)
    assert report["units"] == 0 and report["errors"] == {"tlsv1 alert unknown ca": 7}
    grown.becomes(7, "rejections_total", listener="chosen")


@pytest.mark.parametrize("tls", TLS)
def test_a_server_that_is_not_trusted(server, pki, root, tls):
    """The proxy's certificate is checked: a load test against the wrong machine is no load test."""
    grown = Growth(server)
    report = report_of(said_by(*SMALL, "--pki", pki.folder, "--trust", root.identity.chain_file, "--tls", tls,
                               "--connect", f"127.0.0.1:{server.port}"), 1)
    assert report["units"] == 0 and report["errors"] == {"certificate verify failed": 7}
    grown.becomes(7, "rejections_total", reason="tls_error")


@pytest.mark.parametrize("mqtt", MQTT)
def test_no_broker(serve_once, pki, mqtt):
    """The broker is down: the CONNACKs that say so are errors."""
    class Nobody:
        address = f"127.0.0.1:{free_port()}"
    server = serve_once([listener(pki)], Nobody, registry={"trusted_cas": [pki.device_ca]})
    report = report_of(said_by(*SMALL, "--pki", pki.folder, "--mqtt", mqtt,
                               "--connect", f"127.0.0.1:{server.port}"), 1)
    assert report["errors"] == {"refused by a CONNACK": 7}
    until("counted", lambda: server.rejections() == {"broker_unavailable": 7})


@contextlib.contextmanager
def after(condition, action):
    """Does `action` in a thread once `condition()` holds."""
    def run():
        until("the moment has come", condition, 20)
        action()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("answers, command", [
    (4 * (4 + 2), ["messages", "--rate", 200, "--seconds", 2]), (4 * 4, ["idle", "--hold", 1])],
    ids=["messages", "idle"])
def test_the_proxy_dies_during_the_run(serve_once, sink, pki, answers, command):
    """Connections that break are errors of the run, which ends in its time and says so."""
    server = serve_once([listener(pki)], sink, registry={"trusted_cas": [pki.device_ca]})
    with after(lambda: server.metric("bytes_total", direction="to_client") >= answers, server.kill9):
        done = said_by(*command, "--connections", 4, "--connect", f"127.0.0.1:{server.port}", "--pki", pki.folder,
                       "--quiet", "--limit", 20)
    report = report_of(done, 1)
    assert sum(report["errors"].values()) >= 4


@pytest.mark.parametrize("command", [
    pytest.param(["roundtrip", "--rate", 200, "--seconds", 2]),
    pytest.param(["messages", "--qos", 1, "--rate", 200, "--seconds", 2])],
    ids=["roundtrip", "messages"])
def test_a_broker_dies_with_unanswered_publishes(command):
    """What a lost connection still owed is lost: the run ends in its time, with the JSON, not at --limit."""
    own = Sink()
    process = subprocess.Popen([LOAD, *map(str, command), "--plain", "--connect", own.address, "--connections", "4",
                                "--quiet", "--limit", "4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until("it has sent something", lambda: bytes_to(own.port) > 4000)
        own.process.send_signal(signal.SIGSTOP)
        until("publishes wait", lambda: waiting_at(own.port) > 0)
        own.process.kill()
        said, complained = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "given up" not in complained
        assert json.loads(said)["errors"]
    finally:
        process.kill()
        process.wait()
        own.process.kill()
        own.process.wait()
        own.process.stdout.close()


def bytes_to(port):
    """What clients have sent to this port so far, by ss."""
    page = subprocess.run(["ss", "-tniH", "dst", f"127.0.0.1:{port}"], capture_output=True, text=True).stdout
    return sum(map(int, re.findall(r"bytes_sent:(\d+)", page)))


def waiting_at(port):
    """What waits unread in this port's sockets, by ss."""
    page = subprocess.run(["ss", "-tnH", "src", f"127.0.0.1:{port}"], capture_output=True, text=True).stdout
    return sum(int(line.split()[1]) for line in page.splitlines())


def test_the_limit_of_time():
    """An endpoint that never answers: --limit ends the run with status 1 and a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        done = said_by(*SMALL, "--plain", "--connect", f"127.0.0.1:{deaf.getsockname()[1]}", "--limit", 0.5)
    assert done.returncode == 1 and "--limit" in done.stderr and "given up" in done.stderr


@pytest.mark.parametrize("arguments, word", [
    (["nonsense"], "nonsense"), ([], "subcommand"), ([*SMALL, "--tls", "1.1"], "1.1"),
    ([*SMALL, "--mode", "half"], "half"), ([*SMALL, "--mqtt", "4"], "--mqtt"), ([*SMALL, "--bogus"], "--bogus"),
    (["messages", "--qos", "2"], "--qos"), (["messages", "--seconds", "0"], "--seconds"),
    (["bulk", "--direction", "sideways"], "sideways"), ([*SMALL, "--pid", "abc"], "--pid"), (["pki"], "--out"),
    ([*SMALL, "--connect", "localhost"], "--pki is needed"),
    ([*SMALL, "--plain", "--connect", "localhost:1"], "localhost:1"),
    (["sink", "--listen", "nowhere"], "nowhere"), (["pki", "--out", "/proc/load"], "/proc/load")],
    ids=lambda value: "-".join(map(str, value)).replace("/", "_") if isinstance(value, list) else None)
def test_wrong_usage(arguments, word):
    """Never status 0, nothing on standard output, and a sentence that names what is wrong."""
    done = said_by(*arguments, timeout=5)
    assert done.returncode > 0 and done.stdout == ""
    assert word in done.stderr, done.stderr


@pytest.mark.parametrize("folder", ["absent", "empty", "a file"])
def test_a_bad_pki(folder, work):
    """No folder, an empty one, a file: a sentence that names it."""
    path = work / f"bad pki {folder}"
    if folder == "empty":
        path.mkdir()
    elif folder == "a file":
        path.write_text("")
    done = said_by(*SMALL, "--pki", path)
    assert done.returncode > 0 and done.stdout == "" and str(path) in done.stderr


def test_a_result_file_that_cannot_be_written(sink):
    """--json into nowhere is an error, after all that work."""
    done = said_by(*SMALL, "--plain", "--connect", sink.address, "--json", "/dev/null/x.json")
    assert done.returncode == 1 and "/dev/null/x.json" in done.stderr


def test_a_taken_port(sink):
    """A second sink on the same port says so."""
    done = said_by("sink", "--listen", sink.address, timeout=5)
    assert done.returncode == 1 and sink.address in done.stderr and "in use" in done.stderr


@pytest.mark.parametrize("scenario", [
    name
    for name in ("messages", "roundtrip", "bulk", "storm")])
def test_no_connections_at_all(sink, scenario):
    """--connections 0 is wrong usage, not a crash."""
    done = said_by(scenario, "--plain", "--connect", sink.address, "--connections", 0, "--quiet", "--limit", 3)
    assert done.returncode > 0 and "--connections" in done.stderr


def test_a_negative_count(sink):
    """--count -5 is wrong usage."""
    done = said_by("handshake", "--plain", "--connect", sink.address, "--count=-5", "--quiet", "--limit", 1)
    assert done.returncode > 0 and "--count" in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:1x", "127.0.0.1:", "127.0.0.1"])
def test_a_port_that_is_none(address):
    """No such port: said at once, not dialled modulo 65536."""
    done = said_by(*SMALL, "--plain", "--connect", address)
    assert done.returncode == 1 and done.stdout == "" and f"{address} is not an address" in done.stderr


def test_a_pid_that_is_nobody(sink):
    """A wrong --pid must not become a proxy that costs nothing."""
    done = said_by(*SMALL, "--plain", "--connect", sink.address, "--pid", 4194399)
    assert done.returncode > 0 and "--pid" in done.stderr
