"""How sessions end that lost their standing: DISCONNECT at a packet boundary, the Will, expiry, and the pace."""

import datetime
import time

import pytest

from harness import packet
from harness.authority import Authority, now
from harness.device import Device, Ended, admitted
from harness.server import listener
from harness.wait import until


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site), listener(site, name="lenient", cut_sessions=False)], broker)
    root.register(running)
    return running


def v5(server, identity, client_id, **options):
    device = Device(server.port, identity)
    assert device.connect(client_id, version=5, **options) == 0
    server.registered(identity)
    return device


def test_an_mqtt_5_client_is_told(server, root):
    """DISCONNECT 0x98 (administrative action), then close_notify."""
    identity = root.issue("told by packet")
    with v5(server, identity, "told") as device:
        server.cli("device", "deactivate", identity.id)
        kind, _, body = device.packet(2)
        assert (kind, body) == (packet.DISCONNECT, b"\x98")
        assert device.end(2) == "close_notify"


def test_the_disconnect_comes_at_a_packet_boundary(server, root):
    """Under a stream of messages every packet before the DISCONNECT is whole."""
    identity, talker = root.issue("listener of much"), root.issue("talker")
    with v5(server, identity, "much") as device, admitted(server.port, talker) as source:
        device.subscribe("much/#")
        stop = time.monotonic() + 1.0
        sent = 0
        while time.monotonic() < stop:
            source.publish("much/x", b"x" * (1 + sent * 37 % 5000))
            sent += 1
            if sent == 300:
                break
        server.cli("device", "revoke", identity.id, "--yes")
        last = None
        try:
            while True:
                last = device.packet(2)  # whole packets, or nothing
        except Ended:
            pass
        assert not device.buffer, "the stream ended inside a packet"
        assert last[0] in (packet.DISCONNECT, packet.PUBLISH)


def test_the_broker_sees_an_abnormal_end(server, root):
    """The Will is published: a cut is no orderly DISCONNECT."""
    watcher, identity = root.issue("watcher"), root.issue("with a will")
    with admitted(server.port, watcher) as watching:
        watching.subscribe("wills/#")
        with v5(server, identity, "willing", will=("wills/w", b"gone")) as device:
            server.cli("device", "deactivate", identity.id)
            assert watching.message(3) == ("wills/w", b"gone")
            device.end(2)


def let_in_while_it_lasts(issue, connect):
    """A session, made by `connect`, of a device that `issue(end)` made, whose end is seconds away; on a busy machine,
    more of them. Also the device and its end."""
    for seconds in (3, 12, 48):
        end = now() + datetime.timedelta(seconds=seconds)
        identity = issue(end)
        try:
            return connect(identity), identity, end
        except Ended:
            assert now() >= end, "refused before its end"
    raise AssertionError("no device could connect within 48 seconds")


def test_a_session_ends_with_its_certificate(server, root):
    """Live sessions are cut when notAfter passes, and not before, without any operator."""
    device, identity, end = let_in_while_it_lasts(lambda end: root.issue("ends soon", not_after=end),
                                                  lambda identity: v5(server, identity, "soon"))
    with device:
        kind, _, body = device.packet()
        assert (kind, body) == (packet.DISCONNECT, b"\x98")
        assert now() >= end - datetime.timedelta(seconds=1), "a certificate's end has whole seconds"
    until("the end is logged", lambda: server.lines("ended", reason="expired", serial=identity.serial))


def test_a_session_ends_with_its_ca(server, work):
    """So they are when the CA's own certificate ends."""
    def issue(end):
        ca = Authority(work / f"mayfly-{end:%H%M%S}", "Mayfly", not_after=end + datetime.timedelta(seconds=1))
        ca.register(server)
        return ca.issue("of the mayfly", not_after=end + datetime.timedelta(days=1))

    device, identity, _ = let_in_while_it_lasts(issue, lambda identity: v5(server, identity, "mayfly"))
    with device:
        assert device.packet()[0] == packet.DISCONNECT
    until("the end is logged", lambda: server.lines("ended", reason="expired", serial=identity.serial))


def test_a_lenient_listener_cuts_nothing(server, root):
    """`cut_sessions = false`: neither a deactivation nor the certificate's end touches a live session."""
    device, identity, end = let_in_while_it_lasts(lambda end: root.issue("stays", not_after=end),
                                                  lambda identity: admitted(server.ports["lenient"], identity))
    with device:
        server.registered(identity)
        server.cli("device", "deactivate", identity.id)
        device.ping()
        until("its certificate has ended", lambda: now() > end)
        time.sleep(1.2)
        device.ping()


@pytest.mark.parametrize("version", [4, 5])
def test_a_deleted_device_is_cut(server, root, version):
    """Deleting forgets the device and ends its sessions; it may come again."""
    identity = root.issue(f"deleted {version}")
    with Device(server.port, identity) as device:
        assert device.connect("del", version=version) == 0
        server.registered(identity)
        server.cli("device", "delete", identity.id)
        device.end(2)
    admitted(server.port, identity).close()
    server.registered(identity)


def test_a_renewed_ca_keeps_its_fleet_on_line(server, work):
    """The same key in a new certificate: when the old one goes, live sessions stay and devices come back."""
    old = Authority(work / "renewed-old", "Renewed")
    new = Authority(work / "renewed-new", "Renewed", key=old.key)
    old_id = old.register(server)
    identity = old.issue("of the renewed")
    with v5(server, identity, "renewed") as device:
        new.register(server)
        server.cli("ca", "deactivate", old_id)
        device.ping()
        with admitted(server.port, identity, client_id="second"):
            pass
        device.ping()


def test_closing_is_paced_and_being_in_force_is_not(serve_once, broker, site, work):
    """300 sessions at 20 a second a shard: none passes a byte after the answer, `status` counts them down."""
    server = serve_once([listener(site)], broker, proxy={"cuts_per_second": 20, "drain": "1s"})
    ca = Authority(work / "fleet", "Paced fleet")
    ca_id = ca.register(server)
    identities = [ca.issue(f"paced {n}") for n in range(10)]
    devices = [admitted(server.port, identities[n % 10], client_id=f"p{n}") for n in range(300)]
    try:
        shown = server.json("ca", "show", ca_id)
        assert (shown["sessions"], shown["devices_online"]) == (300, 10)
        said = server.cli("ca", "deactivate", ca_id).stderr
        assert "cuts 300 live sessions of 10 devices" in said
        assert "10 devices are active" in said
        assert server.json("status")["sessions_closing"] > 100
        for device in devices:
            try:
                device.send(packet.pingreq())
            except Ended:
                continue
        waiting = 0
        for device in devices[-40:]:
            try:
                device.packet(0.02)
            except Ended as ended:
                waiting += ended.how == "silent"
            else:
                raise AssertionError("a byte came from the broker after the cut was answered")
        assert waiting > 0, "all were closed at once"
        with server.refuses("ca_inactive"):
            with pytest.raises(Ended):
                Device(server.port, identities[0]).receive(3)
        until("all are closed", lambda: server.json("status")["sessions_closing"] == 0, 20)
    finally:
        for device in devices:
            device.close()
