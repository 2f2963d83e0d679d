"""Servers that change while sessions are there: by an operator, by a reload, by their names."""

import os
import signal

import pytest

from harness.broker import Mosquitto
from harness.device import Device, Ended, admitted
from harness.failing import FailingBroker
from harness.reloading import Reloading
from harness.server import listener
from harness.wait import until


@pytest.fixture
def two(work, request):
    brokers = [Mosquitto(work / request.node.name[-40:] / f"b{i}").start() for i in range(2)]
    yield brokers
    for each in brokers:
        each.kill()


def sessions(server, broker):
    return server.metric("upstream_sessions", server=broker.address)


def test_drain_and_undrain(serve_once, two, site, root):
    one, other = two
    server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [one.address, other.address]}])
    root.register(server)
    device = root.issue("device")
    here = [admitted(server.port, device, client_id=f"h{i}") for i in range(4)]
    assert (sessions(server, one), sessions(server, other)) == (2, 2)
    done = server.cli("upstream", "drain", "broker", one.address, "--yes")
    assert "drained" in done.stdout
    later = [admitted(server.port, device, client_id=f"l{i}") for i in range(4)]
    assert (sessions(server, one), sessions(server, other)) == (2, 6), "those it has go on"
    for each in here:
        each.publish("still", b"here", 1)
    listed = server.cli("upstream", "list").stdout
    assert "drained" in next(line for line in listed.splitlines() if one.address in line)
    assert server.metric("upstream_up", server=one.address) == 0
    # The last one, too: then nobody is let in, and the command says so beforehand.
    done = server.cli("upstream", "drain", "broker", other.address, "--yes", "-o", "json")
    with server.refuses("broker_unavailable"), Device(server.port, device) as refused:
        assert refused.connect("nowhere") == 3
    server.cli("upstream", "undrain", "broker", one.address)
    admitted(server.port, device, client_id="back").close()
    actions = [(each["action"], each["target"]) for each in server.json("audit")][:3]
    assert actions == [("upstream.undrain", f"broker {one.address}"), ("upstream.drain", f"broker {other.address}"),
                       ("upstream.drain", f"broker {one.address}")]
    for each in here + later:
        each.close()
    wrong = server.cli("upstream", "drain", "broker", "127.0.0.1:1", "--yes", status=1).stderr
    assert one.address in wrong and other.address in wrong, "the error names those there are"
    assert "no upstream" in server.cli("upstream", "show", "brokr", status=1).stderr
    status = server.cli("status").stdout
    assert one.address in status and "upstream broker" in status


def test_a_reload_changes_servers_under_sessions(serve_once, two, site, root):
    one, other = two
    server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [one.address]}])
    root.register(server)
    device = root.issue("device")
    reloading = Reloading(server)
    with admitted(server.port, device, client_id="stays") as stays:
        stays.subscribe("stays", 1)
        reloading.edit(f'["{one.address}"]', f'["{other.address}"]')
        lines = reloading.reload()
        assert lines[-1].fields["needs_restart"] == "0", "servers change without a restart"
        stays.publish("stays", b"still here")
        assert stays.message() == ("stays", b"still here")
        with admitted(server.port, device, client_id="new"):
            assert sessions(server, other) == 1
        shown = {each["server"]: (each["state"] == "removed", each["sessions"])
                 for each in server.json("upstream", "show", "broker")["servers"]}
        assert shown == {other.address: (False, 0), one.address: (True, 1)}, "for as long as it has a session"
        # Both, and how they are chosen.
        reloading.edit(f'["{other.address}"]', f'["{one.address}", "{other.address}"]\nbalance = "round-robin"')
        reloading.reload()
        more = [admitted(server.port, device, client_id=f"m{i}") for i in range(4)]
        assert (sessions(server, one), sessions(server, other)) == (1 + 2, 2), "with the one that stays"
        for each in more:
            each.close()
        # A file that makes no sense changes nothing.
        reloading.edit(f'"{other.address}"]', f'"{other.address}", "{other.address}"]')
        assert "twice" in reloading.reload(good=False)[0].fields["why"]
        stays.publish("stays", b"and here")
        assert stays.message() == ("stays", b"and here")


def test_timeouts_change_with_a_reload(serve_once, two, site, root):
    """Those of an upstream are a session's settings, too."""
    one, other = two
    one.process.send_signal(signal.SIGSTOP)
    try:
        server = serve_once([listener(site)], upstreams=[{
            "name": "broker", "servers": [one.address, other.address], "balance": "round-robin",
            "connack_timeout": "10m"}])
        root.register(server)
        reloading = Reloading(server)
        reloading.edit('"10m"', '"300ms"')
        reloading.reload()
        device = root.issue("device")
        for i in range(2):  # in turns
            admitted(server.port, device, client_id=f"d{i}").close()
        assert server.metric("upstream_failures_total", server=one.address, kind="silent") == 1
    finally:
        one.process.send_signal(signal.SIGCONT)


def hosts_file(folder, text):
    file = folder / "hosts"
    write_hosts(file, text)
    return file, {"LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_HOSTS": str(file)}


def write_hosts(file, text):
    before = os.stat(file).st_mtime if file.exists() else 0
    file.write_text(f"127.0.0.1 localhost\n{text}\n")
    later = max(os.stat(file).st_mtime, before) + 10  # libnss_wrapper tells whole seconds apart
    os.utime(file, (later, later))


def test_names_are_asked_for_again(serve_once, work, site, root, tmp_path):
    """A name that leads elsewhere: new sessions follow it, those that are there go on. Of several addresses each is
    used."""
    here = Mosquitto(tmp_path / "here").start()
    there = Mosquitto(tmp_path / "there", f"listener {here.port} 127.0.0.2").start()
    try:
        file, environment = hosts_file(tmp_path, "127.0.0.1 broker.test")
        name = f"broker.test:{here.port}"
        server = serve_once([listener(site)], environment=environment,
                            upstreams=[{"name": "broker", "servers": [name], "resolve_interval": "1s"}])
        root.register(server)
        device = root.issue("device")

        def addresses():
            return {each["address"] for each in server.json("upstream", "show", "broker")["servers"][0]["addresses"]}

        assert addresses() == {f"127.0.0.1:{here.port}"}
        with admitted(server.port, device, client_id="stays") as stays:
            stays.subscribe("moved", 1)
            write_hosts(file, "127.0.0.2 broker.test")
            until("its new address is known", lambda: addresses() == {f"127.0.0.2:{here.port}"}, 30)
            with admitted(server.port, device, client_id="moves") as moves:
                moves.publish("moved", b"over there")
                stays.publish("moved", b"over here")
                assert stays.message() == ("moved", b"over here"), "another broker, which heard the first"
            write_hosts(file, "127.0.0.1 broker.test\n127.0.0.2 broker.test")
            until("both are known", lambda: len(addresses()) == 2, 30)
            many = [admitted(server.port, device, client_id=f"m{i}") for i in range(6)]
            spread = [each["sessions"] for each in
                      server.json("upstream", "show", "broker")["servers"][0]["addresses"]]
            assert min(spread) >= 3, spread
            for each in many:
                each.close()
            # A name server that fails takes nothing away.
            write_hosts(file, "")
            until("it is asked in vain",
                  lambda: server.json("upstream", "show", "broker")["servers"][0]["name_error"], 30)
            admitted(server.port, device, client_id="known").close()
    finally:
        here.kill()
        there.kill()


def test_one_device_takes_no_broker_from_the_others(serve_once, two, site, root):
    """A CONNECT over which every broker closes (here: each is deaf to one that is too large for it) ejects none."""
    with FailingBroker("closes") as one, FailingBroker("closes") as other:
        server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [one.address, other.address]}])
        root.register(server)
        device = root.issue("attacker")
        for i in range(12):
            with Device(server.port, device) as attacker:
                assert attacker.connect(f"a{i}") == 3
                with pytest.raises(Ended):
                    attacker.receive()
        assert not server.lines("upstream-down")
        assert server.metric("upstream_up") == 2
        # Of different devices it says something.
        for i in range(4):
            with Device(server.port, root.issue(f"other-{i}")) as victim:
                victim.connect(f"v{i}")
        until("both are left out", lambda: server.metric("upstream_up") == 0)
