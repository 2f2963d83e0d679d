"""Stopping well: drain, the drain's limit, and a second signal."""

import signal
import socket
import time

import pytest

from harness import packet
from harness.device import Device, Ended, admitted, plain
from harness.server import listener
from harness.wait import until


def started(serve_once, broker, site, root, drain):
    server = serve_once([listener(site, connect_timeout="30s")], broker, proxy={"drain": drain})
    root.register(server)
    return server


def draining(server):
    server.signal(signal.SIGTERM)
    until("it drains", lambda: server.probe("readyz") == 503)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_without_sessions_it_ends_at_once(serve_once, broker, site, root, which):
    """Exit 0 and a last line, long before the drain's limit."""
    server = started(serve_once, broker, site, root, "1h")
    server.signal(which)
    assert server.wait() == 0
    server.line("stopped")


def test_live_sessions_go_on_while_it_drains(serve_once, broker, site, root):
    """Messages still pass, new connections are not accepted, readiness says so, liveness not; when the last session
    leaves, the process ends with 0."""
    server = started(serve_once, broker, site, root, "1h")
    with admitted(server.port, root.issue("patient")) as device:
        device.subscribe("drain")
        draining(server)
        assert server.probe("livez") == 200
        for number in range(5):
            device.publish("drain", b"%d" % number)
            assert device.message() == ("drain", b"%d" % number)

        def turned_away():
            try:
                with plain(server.port, timeout=2) as sock:
                    return sock.recv(1) == b""
            except (ConnectionError, socket.timeout):
                return True

        until("new connections are turned away", turned_away, 5)
        device.ping()
        device.send(packet.disconnect())
        device.close_notify()
        assert server.wait(5) == 0


def test_at_the_drains_limit_sessions_are_closed(serve_once, broker, site, root):
    """Who is still there gets a close_notify; exit 0."""
    server = started(serve_once, broker, site, root, "3s")
    devices = [admitted(server.port, root.issue(f"stayer {tls}"), tls) for tls in ("1.2", "1.3")]
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    for device in devices:
        device.ping()
    for device in devices:
        assert device.end(5) == "close_notify"
    assert time.monotonic() - began > 2.9, "before the limit"
    assert server.wait(5) == 0


def test_shutting_down_is_a_reason(serve_once, broker, site, root):
    """A device that has not sent its CONNECT when the end comes is refused as shutting_down."""
    server = started(serve_once, broker, site, root, "1s")
    identity = root.issue("undecided")
    with admitted(server.port, root.issue("keeps it open")), Device(server.port, identity) as undecided:
        until("both are inside", lambda: server.metric("handshakes_total") == 2)
        server.signal(signal.SIGTERM)
        undecided.end(5)
        assert server.wait(5) == 0
    lines = server.lines("rejected", reason="shutting_down")
    assert [line.fields["serial"] for line in lines] == [identity.serial]


def test_a_second_signal_ends_at_once(serve_once, broker, site, root):
    """An operator in a hurry."""
    server = started(serve_once, broker, site, root, "1h")
    with admitted(server.port, root.issue("cut short")) as device:
        draining(server)
        device.ping()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        with pytest.raises(Ended):
            while True:
                device.receive(2)


@pytest.mark.parametrize("apart", [0, 0.001, 0.02])
def test_two_signals_in_quick_succession(serve_once, broker, site, root, apart):
    """Whatever the process is doing when the second one comes, it ends by itself and with 0: a signal must never
    take its default action in some thread."""
    server = started(serve_once, broker, site, root, "60s")
    for _ in range(3):
        with admitted(server.port, root.issue("hurried")):
            server.signal(signal.SIGTERM)
            time.sleep(apart)
            server.signal(signal.SIGTERM)
            time.sleep(apart)
            try:
                server.signal(signal.SIGINT)
            except ProcessLookupError:
                pass
            assert server.wait(5) == 0
        server.start()


def test_registrations_in_the_queue_are_written_before_the_end(serve_once, broker, site, root):
    """A device served in the last moment is in the registry after the restart, whose start has no log to replay."""
    server = started(serve_once, broker, site, root, "5s")
    fleet = [root.issue(f"last minute {number}") for number in range(20)]
    sessions = [admitted(server.port, identity) for identity in fleet]
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGTERM)
    for each in sessions:
        each.close()
    assert server.wait(10) == 0
    left = {each.name: each.stat().st_size for each in (server.folder / "state" / "registry").glob("*.log")}
    assert left and not any(left.values()), f"the next start has this to replay: {left}"
    server.start()
    assert set(server.devices()) == {identity.id for identity in fleet}


def test_closing_is_paced_over_the_drain(serve_once, broker, site, root):
    """One after the other, not all at the end: MQTT 5 clients are told 0x8B, or where to go with 0x9C."""
    for reference in ("", "mqtt-b.example:8883"):
        server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [broker.address],
                                                          "server_reference": reference}],
                            proxy={"drain": "8s", "shards": 1})
        root.register(server)
        devices = [Device(server.port, root.issue(f"paced {number} {bool(reference)}")) for number in range(4)]
        for number, device in enumerate(devices):
            assert device.connect(f"paced {number}", 5) == 0
        began, ends = time.monotonic(), []
        server.signal(signal.SIGTERM)
        for device in devices:
            body = device.expect(packet.DISCONNECT, 30)[1]
            text = packet.text(reference)
            assert body == (b"\x9c" + bytes([1 + len(text)]) + b"\x1c" + text if reference else b"\x8b")
            assert device.end() == "close_notify"
            ends.append(time.monotonic() - began)
        # At 2, 4, 6 and 8 seconds, in the order in which they came; never earlier.
        assert all(ended > 1.9 * (number + 1) for number, ended in enumerate(ends)), ends
        assert server.wait() == 0


def test_a_balancer_gets_time_to_notice(serve_once, broker, site, root):
    """/readyz fails at once and accepting goes on for drain_delay; `sallyport drain` is the same as SIGTERM, and asking
    twice is no second signal."""
    server = serve_once([listener(site)], broker, proxy={"drain": "2s", "drain_delay": "4s"})
    root.register(server)
    began = time.monotonic()
    assert "draining 0 sessions" in server.cli("drain", "--yes").stdout
    until("it is not ready", lambda: server.probe("readyz") == 503)
    assert server.probe("livez") == 200
    assert server.json("status")["state"] == "draining"
    server.cli("drain", "--yes")
    while time.monotonic() - began < 3:
        with admitted(server.port, root.issue("late")) as device:
            device.ping()
    assert server.wait(30) == 0
    assert time.monotonic() - began > 3.9
    assert [line.fields["delay_ms"] for line in server.lines("draining")] == ["4000"]
    assert len(server.lines("listeners-closed")) == 1
