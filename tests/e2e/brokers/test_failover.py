"""Brokers that fail: devices do not notice where another one serves, and are told honestly where none does."""

import contextlib
import json
import signal
import time

import pytest

from harness import packet
from harness.broker import Mosquitto
from harness.device import Device, Ended, admitted
from harness.failing import HOW, FailingBroker
from harness.server import listener
from harness.wait import until

BALANCES = ("least-connections", "round-robin", "client-id")
KINDS = {"closes": "closed", "resets": "closed", "silent": "silent", "refuses": "unavailable", "rubbish": "not_mqtt"}


def state(server, address, upstream="broker"):
    shown = server.json("upstream", "show", upstream)
    return next(each for each in shown["servers"] if each["server"] == address)


@pytest.fixture
def brokers(work, request):
    """Makes Mosquittos that are always ended."""
    running = []

    def make():
        running.append(Mosquitto(work / request.node.name.replace("/", "-")[-40:] / f"b{len(running)}").start())
        return running[-1]

    yield make
    for each in running:
        if each.process is not None:
            each.process.send_signal(signal.SIGCONT)
            each.kill()


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("how", HOW)
def test_a_broker_that_fails_its_connects(serve_once, broker, site, root, how, balance):
    """20 of 20 publishes arrive, by one device and by several; the broker at fault is found, named and left out."""
    with FailingBroker(how) as bad:
        server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [bad.address, broker.address],
                                                          "balance": balance, "connack_timeout": "200ms"}])
        root.register(server)
        topic = f"f/{how}/{balance}"
        device = root.issue("device")
        with admitted(server.port, device, client_id="listens") as listens:
            listens.subscribe(f"{topic}/#", 1)
            for i in range(20):
                with Device(server.port, device) as publishes:
                    version = 5 if i % 2 else 4
                    assert publishes.connect(f"p{i}", version) == 0
                    publishes.publish(f"{topic}/{i}", b"x", 1)
                assert listens.message() == (f"{topic}/{i}", b"x")
            failed = server.metric("upstream_failures_total", server=bad.address, kind=KINDS[how])
            assert failed >= 3 and server.metric("upstream_failovers_total") == failed
            assert failed < 20, "it is left out after the third"
            assert server.metric("upstream_failures_total", server=broker.address) == 0
            assert server.line("upstream-down", server=bad.address).fields["why"] != ""
            assert server.rejections() == {}
            # It is good again: its time passes, and it is used.
            bad.how = "good"

            def used():
                with Device(server.port, device) as again:
                    again.connect("again-%d" % time.monotonic_ns())
                return server.metric("upstream_sessions", server=bad.address) > 0 or \
                    state(server, bad.address)["state"] == "up" and bad.connects > failed + 1
            until("it is used again", used, 90, pause=0.2)


@pytest.mark.parametrize("how", HOW)
def test_no_broker_answers(serve_once, site, root, how):
    """The client is told so, in its own dialect, and a CONNECT is asked of each broker once."""
    with FailingBroker(how) as one, FailingBroker(how) as other:
        server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [one.address, other.address],
                                                          "connack_timeout": "200ms"}])
        root.register(server)
        device = root.issue("device")
        for version, code in ((4, 3), (5, 0x88)):
            with server.refuses("broker_unavailable") as lines, Device(server.port, device) as asks:
                assert asks.connect("nobody", version) == code
                with pytest.raises(Ended) as ended:
                    asks.receive()
                assert ended.value.how == "close_notify"
            assert "answers the CONNECT" in lines[0].fields["what"]
        assert one.connects == other.connects == 2


@pytest.mark.parametrize("balance", BALANCES)
def test_three_brokers_one_of_them_dies_hangs_and_returns(serve_once, brokers, site, root, balance):
    three = [brokers() for _ in range(3)]
    server = serve_once([listener(site)], upstreams=[{
        "name": "broker", "servers": [each.address for each in three], "balance": balance, "health": "mqtt",
        "connack_timeout": "1s", "connect_timeout": "1s", "health_interval": "200ms", "slow_start": "0s"}])
    root.register(server)
    device = root.issue("device")
    until("all are up", lambda: server.metric("upstream_up") == 3)

    def spread(count=30):
        """How many of so many sessions each broker has."""
        sessions = [admitted(server.port, device, client_id=f"s{i}") for i in range(count)]
        found = [int(server.metric("upstream_sessions", server=each.address)) for each in three]
        assert sum(found) == count
        for each in sessions:
            each.close()
        until("they are gone", lambda: server.metric("upstream_sessions") == 0)
        return found

    assert min(spread()) > 2
    first = three[0]
    first.kill()
    assert spread()[0] == 0, "refused connections"
    until("it is seen to be down", lambda: server.metric("upstream_up", server=first.address) == 0)
    first.start()
    until("it is up again", lambda: server.metric("upstream_up", server=first.address) == 1)
    assert min(spread()) > 2
    first.process.send_signal(signal.SIGSTOP)
    assert spread(9)[0] == 0, "it accepts, for its kernel does, and answers nobody"
    until("a check finds that it hangs", lambda: server.metric("upstream_up", server=first.address) == 0)
    first.process.send_signal(signal.SIGCONT)
    until("it is up again", lambda: server.metric("upstream_up", server=first.address) == 1)
    assert min(spread()) > 2
    assert server.rejections() == {}


def test_a_hung_broker_is_let_back_by_an_answer_alone(serve_once, brokers, site, root):
    """Its kernel goes on accepting, so a check by TCP says nothing: once it is left out, no device waits for it."""
    one, other = brokers(), brokers()
    server = serve_once([listener(site)], upstreams=[{
        "name": "broker", "servers": [one.address, other.address], "balance": "round-robin",
        "connack_timeout": "300ms", "health_interval": "100ms", "slow_start": "0s"}])
    root.register(server)
    device = root.issue("device")
    until("both are up", lambda: server.metric("upstream_up") == 2)
    one.process.send_signal(signal.SIGSTOP)

    def silent():
        return server.metric("upstream_failures_total", server=one.address, kind="silent")

    for i in range(20):
        admitted(server.port, device, client_id=f"a{i}").close()
        if state(server, one.address)["state"] == "ejected":
            break
    failed = silent()
    # "down": on a busy machine a check by TCP may be late, too.
    assert state(server, one.address)["state"] in ("ejected", "down") and failed >= 3
    time.sleep(2.5)  # its back-off of a second passes, and many checks with it
    for i in range(6):
        admitted(server.port, device, client_id=f"b{i}").close()
    assert silent() == failed and server.metric("upstream_up", server=one.address) == 0
    one.process.send_signal(signal.SIGCONT)
    until("it answers a check, and is used", lambda: server.metric("upstream_up", server=one.address) == 1)
    assert server.rejections() == {}


def test_devices_whose_connects_are_refused_take_no_broker_from_the_others(serve_once, brokers, site, root):
    """Client ids that a broker does not like, sent by more devices than one: it closes on them, or says that it is
    unavailable, and serves all the others. It stays in use."""
    two = brokers(), brokers()
    server = serve_once([listener(site)], upstreams=[{
        "name": "broker", "servers": [each.address for each in two], "balance": "round-robin"}])
    root.register(server)
    good, bad = root.issue("good"), [root.issue(f"bad-{i}") for i in range(4)]
    until("both are up", lambda: server.metric("upstream_up") == 2)
    for _ in range(2):
        admitted(server.port, good).close()
    for i in range(24):
        with Device(server.port, bad[i % 4]) as each:
            each.send(packet.connect(b"a\nb"))
            with contextlib.suppress(Ended, AssertionError):
                each.expect(packet.CONNACK)
    assert server.metric("upstream_failures_total") >= 12, "each of them has met both"
    assert not server.lines("upstream-down")
    assert server.metric("upstream_up") == 2
    for _ in range(4):
        admitted(server.port, good).close()


def test_a_device_returns_to_its_broker(serve_once, brokers, site, root):
    three = [brokers() for _ in range(3)]
    server = serve_once([listener(site)], upstreams=[
        {"name": "broker", "servers": [each.address for each in three], "balance": "client-id"}])
    root.register(server)
    device = root.issue("device")

    def broker_of(client_id):
        with admitted(server.port, device, client_id=client_id):
            return [each.address for each in three
                    if server.metric("upstream_sessions", server=each.address) == 1]

    for i in range(5):
        first = broker_of(f"device-{i}")
        until("it is gone", lambda: server.metric("upstream_sessions") == 0)
        assert len(first) == 1 and broker_of(f"device-{i}") == first
        until("it is gone", lambda: server.metric("upstream_sessions") == 0)


def test_a_broker_that_comes_back_is_spared(serve_once, brokers, site, root):
    """Who comes in its slow start gets in, one after the other."""
    one = brokers()
    server = serve_once([listener(site)], one, upstreams=[{
        "name": "broker", "servers": [one.address], "health_interval": "200ms", "slow_start": "5s"}])
    root.register(server)
    device = root.issue("device")
    admitted(server.port, device).close()
    one.kill()
    until("it is down", lambda: server.metric("upstream_up") == 0)
    one.start()
    until("it is up", lambda: server.metric("upstream_up") == 1)
    assert server.json("upstream", "show", "broker")["servers"][0]["addresses"][0]["slow_start"]
    waiting = [Device(server.port, device) for _ in range(40)]
    for i, each in enumerate(waiting):
        each.send(packet.connect(f"w{i}"))
    for each in waiting:
        assert each.expect(packet.CONNACK)[1] == b"\0\0"
        each.close()
    assert server.metric("upstream_slow_started_total") > 0
    assert server.rejections() == {}


def test_unix_sockets(serve_once, work, site, root, tmp_path):
    path = work / "broker.sock"
    local = Mosquitto(tmp_path / "local", f"listener 0 {path}").start()
    try:
        server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [f"unix:{path}"],
                                                          "health": "mqtt", "health_interval": "200ms"}])
        root.register(server)
        with admitted(server.port, root.issue("device")) as device:
            device.subscribe("u", 1)
            device.publish("u", b"over a unix socket")
            assert device.message() == ("u", b"over a unix socket")
        until("it is up", lambda: server.metric("upstream_up", server=f"unix:{path}") == 1)
        shown = server.json("upstream", "show", "broker")["servers"][0]
        assert shown["addresses"][0]["address"] == f"unix:{path}"
        local.kill()
        until("it is down", lambda: server.metric("upstream_up") == 0)
    finally:
        local.kill()


@pytest.mark.parametrize("how", HOW)
def test_readiness_ends_where_the_only_broker_answers_nobody(serve_once, site, root, how):
    """It takes connections, so it is devices who find out; then it is asked with a CONNECT, and back when it answers."""
    with FailingBroker(how) as broker:
        server = serve_once([listener(site)], proxy={"ready_when": "any-upstream"}, upstreams=[{
            "name": "broker", "servers": [broker.address], "connack_timeout": "200ms", "health_interval": "100ms"}])
        root.register(server)
        assert server.probe("readyz") == 200
        devices = [root.issue(f"asks {i}") for i in range(4)]

        def ended():
            for each in devices:
                with Device(server.port, each) as device:
                    device.connect("asks")
            return server.probe("readyz") == 503

        until("it is not ready", ended, 60)
        broker.how = "good"
        until("it is ready again", lambda: server.probe("readyz") == 200, 90)


def test_ready_when(serve_once, brokers, site):
    one, other = brokers(), brokers()
    upstreams = [{"name": "one", "servers": [one.address], "health_interval": "100ms"},
                 {"name": "other", "servers": [other.address], "health_interval": "100ms"}]
    listeners = [listener(site, upstream="one"), listener(site, name="second", upstream="other")]
    always = serve_once(listeners, upstreams=upstreams)
    any_up = serve_once(listeners, upstreams=upstreams, proxy={"ready_when": "any-upstream"})
    all_up = serve_once(listeners, upstreams=upstreams, proxy={"ready_when": "all-upstreams"})
    all_servers = (always, any_up, all_up)

    def ready():
        return tuple(each.probe("readyz") for each in all_servers)

    until("all are ready", lambda: ready() == (200, 200, 200))
    one.kill()
    until("one asks for all", lambda: ready() == (200, 200, 503))
    other.kill()
    until("one asks for any", lambda: ready() == (200, 503, 503))
    # What /readyz says, `status` and `doctor` say, too, with the why.
    for each, is_ready in ((always, True), (any_up, False), (all_up, False)):
        why = each.json("status")["not_ready"]
        shown = each.cli("status").stdout
        found = json.loads(each.cli("doctor", "--config", each.config, "-o", "json", status=None).stdout)
        (about,) = [finding for finding in found if finding["about"] == "server"]
        if is_ready:
            assert why is None and "not ready" not in shown and about["grade"] == "ok", (shown, about)
            continue
        assert "no server is up of upstream" in why and f"not ready: {why}" in shown, (why, shown)
        assert about["grade"] == "warning" and why in about["what"], about
    # And why the brokers are down, also after a start in which they were.
    always.stop()
    always.start()
    until("the start has asked", lambda: state(always, one.address, "one")["last_failure"])
    why = state(always, one.address, "one")["last_failure"]
    assert "Connection refused (errno 111)" in why["why"] and why["at"].endswith("Z"), why
    assert "Connection refused (errno 111)" in always.cli("upstream", "show", "one").stdout
    one.start()
    until("one is enough for it", lambda: ready() == (200, 200, 503))
