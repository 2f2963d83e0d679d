"""A line in the log for each session that begins and for each that ends, with the same names in text and JSON."""

import pytest

from harness import packet
from harness.device import Device, admitted, plain, refusal, reset
from harness.resuming import served
from harness.server import listener
from harness.wait import until

WHO = ("session", "listener", "peer", "subject", "cn", "serial", "fingerprint", "tls", "kind", "engine", "group", "mqtt",
       "client_id", "upstream", "server")


def both(server, of, **fields):
    """The lines of the begin and of the end of one session."""
    ended, = until("its end is in the log", lambda: of("ended", **fields))
    began, = of("began", session=ended["session"])
    assert {key: began[key] for key in WHO} == {key: ended[key] for key in WHO}
    return began, ended


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_session_is_told_from_its_begin_to_its_end(serve_once, broker, site, root, log_format):
    server = serve_once([listener(site), listener(site, name="open", auth="one-way")], broker, log={"format": log_format})
    root.register(server)

    def of(event, **fields):
        return [line.fields for line in server.lines(event, **fields)]

    identity = root.issue("told")
    with Device(server.port, identity) as device:
        device.connect("first")
        peer = "%s:%d" % device.tls.getsockname()
        device.subscribe("told", 0)
        device.publish("told", b"x" * 1000)
        assert device.message()[1] == b"x" * 1000
        began, = until("its begin is in the log", lambda: of("began", client_id="first"))
        listed, = server.json("session", "list", "--device", identity.id)
        assert of("ended", client_id="first") == []
    assert began["session"] == listed["id"]
    assert (began["fingerprint"], began["cn"], began["serial"]) == (identity.id, "told", identity.serial)
    assert (began["peer"], began["listener"], began["kind"]) == (peer, "mqtts", "new")
    assert (began["tls"], began["mqtt"], began["upstream"]) == ("1.3", "3.1.1", "broker")
    assert began["server"] == broker.address

    _, ended = both(server, of, client_id="first")
    up = len(packet.connect("first")) + len(packet.subscribe("told")) + len(packet.publish("told", b"x" * 1000))
    down = 4 + 5 + len(packet.publish("told", b"x" * 1000))  # CONNACK, SUBACK, the message
    assert (int(ended["bytes_to_broker"]), int(ended["bytes_to_client"])) == (up, down)
    assert int(ended["lasted_ms"]) >= 0
    assert (ended["origin"], ended["reason"]) == ("client", "none")
    assert server.metric("sessions_ended_total", origin="client", cause=ended["cause"]) >= 1
    assert server.metric("bytes_total", direction="to_broker") == int(ended["bytes_to_broker"])
    assert server.metric("bytes_total", direction="to_client") == int(ended["bytes_to_client"])

    server.registered(identity)
    admitted(server.port, identity, client_id="again").close()
    assert both(server, of, client_id="again")[0]["kind"] == "known"
    with Device(server.ports["open"], None) as device:
        assert device.connect("nobody") == 0
    anonymous, _ = both(server, of, client_id="nobody")
    assert (anonymous["kind"], anonymous["fingerprint"], anonymous["listener"]) == ("full", "", "open")
    assert server.metric("sessions_ended_total") == 3 == len(of("began")) == len(of("ended"))


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_resumed_one_says_so(serve_once, broker, site, root, tls):
    server = serve_once([listener(site)], broker)
    root.register(server)
    identity = root.issue("comes back by " + tls)
    served(server, identity, tls)
    lines = server.exactly(2, "began", fingerprint=identity.id)
    assert [line.fields["kind"] for line in lines] == ["new", "resumed"]
    assert {line.fields["tls"] for line in lines} == {tls}


def test_a_cut_says_why(serve_once, broker, site, root):
    server = serve_once([listener(site)], broker)
    root.register(server)
    identity = root.issue("cut")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        server.cli("device", "deactivate", identity.id, "--yes")
        device.end()
    ended = server.line("ended", fingerprint=identity.id).fields
    assert (ended["reason"], ended["cause"]) == ("device_inactive", "cut"), ended
    server.line("began", session=ended["session"])


def test_what_was_never_served_has_neither_line(serve_once, broker, site, root, shop):
    """A refusal has its own line; a health check has one at debug, and none at info."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    assert refusal(server.port, shop.issue("a stranger"))
    reset(plain(server.port))
    plain(server.port).close()
    until("they are counted", lambda: server.metric("connections_silent_total") == 2)
    server.line("rejected", reason="ca_unknown")
    server.cli("log", "level", "debug")
    plain(server.port).close()
    server.line("silent")
    assert len(server.lines("silent")) == 1
    assert server.lines("began") == server.lines("ended") == []
