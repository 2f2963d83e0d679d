"""Sessions never outlive standing: a change is durable, then in force everywhere, then acknowledged."""

import select
import threading

import pytest

from harness import packet
from harness.authority import Authority
from harness.device import Device, Ended, admitted, refusal
from harness.server import listener
from harness.wait import until


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site), listener(site, name="lenient", cut_sessions=False)], broker)
    root.register(running)
    return running


class Chatter:
    """A session that publishes `word` to its topic as fast as it can until it hears its end."""
    def __init__(self, port, identity, topic):
        self.device = admitted(port, identity)
        self.topic, self.word, self.how = topic, b"before", None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while True:
                self.device.send(packet.publish(self.topic, self.word))
                if select.select([self.device.tls], [], [], 0.001)[0]:
                    self.device.receive()
        except Ended as ended:
            self.how = ended.how

    def join(self):
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("what", ["device", "ca"])
def test_deactivating_cuts_live_sessions_and_no_further_byte_passes(server, work, root, what):
    """After the command has returned nothing the device sends reaches the broker, nothing of the broker's reaches
    the device, and the session is closed. Sessions of others go on."""
    ca = Authority(work / f"cut-{what}", f"CA whose {what} is cut")
    ca_id = ca.register(server)
    talker, listener_device, bystander = ca.issue("talker"), ca.issue("listener"), root.issue("bystander")
    timeouts = server.metric("sessions_ended_total", cause="timeout")
    with admitted(server.port, root.issue("observer")) as observer, admitted(server.port, bystander) as witness:
        observer.subscribe("cut/" + what)
        chatter = Chatter(server.port, talker, "cut/" + what)
        hearing = admitted(server.port, listener_device)
        hearing.subscribe("to-the-cut")
        server.registered(talker)
        server.registered(listener_device)
        assert server.json("device", "show", talker.id)["sessions"] == 1
        observer.message()
        if what == "device":
            server.cli("device", "deactivate", talker.id)
            chatter.word = b"after"
            server.cli("device", "deactivate", listener_device.id)
        else:
            server.cli("ca", "deactivate", ca_id)
            chatter.word = b"after"
        observer.publish("to-the-cut", b"too late")
        assert hearing.end() in ("close_notify", "reset")
        assert not hearing.buffer
        chatter.join()
        assert chatter.how is not None
        observer.publish("cut/" + what, b"END")
        while (word := observer.message()[1]) != b"END":
            assert word == b"before"
        witness.ping()
        assert server.json("device", "show", talker.id)["sessions"] == 0
        assert refusal(server.port, talker) == "certificate_unknown"
    assert server.metric("sessions_ended_total", cause="cut") >= 2
    assert server.metric("sessions_ended_total", cause="timeout") == timeouts


def test_a_cut_session_ends_with_close_notify(server, root):
    """The device is told that the end is meant: close_notify, not a torn connection."""
    for tls in ("1.2", "1.3"):
        identity = root.issue("told " + tls)
        with admitted(server.port, identity, tls) as device:
            server.registered(identity)
            server.cli("device", "deactivate", identity.id)
            assert device.end(1.0) == "close_notify"


def test_all_sessions_of_a_device_are_cut(server, root):
    """Several sessions with one certificate, on whatever shard."""
    identity = root.issue("many-headed")
    sessions = [admitted(server.port, identity, client_id=f"head-{number}") for number in range(8)]
    server.registered(identity)
    until("eight sessions are shown", lambda: server.json("device", "show", identity.id)["sessions"] == 8, 5)
    server.cli("device", "deactivate", identity.id)
    for each in sessions:
        assert each.end(1.0) == "close_notify"


def test_a_listener_may_keep_sessions(server, root):
    """`cut_sessions = false`: the session goes on, the next connection is refused."""
    identity = root.issue("kept")
    with admitted(server.ports["lenient"], identity) as device:
        server.registered(identity)
        server.cli("device", "deactivate", identity.id)
        device.ping()
        assert refusal(server.ports["lenient"], identity) == "certificate_unknown"
        device.ping()


def test_a_session_before_its_connect_is_cut_too(server, root):
    """TLS done, CONNECT not yet sent: the standing is looked up again before the first byte goes to the broker."""
    identity = root.issue("hesitant")
    admitted(server.port, identity).close()
    server.registered(identity)
    with Device(server.port, identity) as device:
        device.tls.settimeout(0.2)
        until("the handshake is over on both sides", lambda: server.metric("sessions_open", listener="mqtts") >= 1)
        server.cli("device", "deactivate", identity.id)
        try:
            device.send(packet.connect("hesitant"))
            assert device.packet(2)[0] != packet.CONNACK or device.buffer
        except Ended as ended:
            assert ended.how != "silent"
        else:
            device.end(2)


def test_reactivation_brings_back_exactly_those_who_were_active(server, work):
    """A CA's way down and up again changes no device's own status."""
    ca = Authority(work / "updown", "Up and down")
    ca_id = ca.register(server)
    good, bad = ca.issue("good"), ca.issue("bad")
    for identity in (good, bad):
        admitted(server.port, identity).close()
        server.registered(identity)
    server.cli("device", "deactivate", bad.id)
    server.cli("ca", "deactivate", ca_id)
    assert {each["status"] for each in server.json("ca", "list", "--status", "inactive")} == {"inactive"}
    server.cli("ca", "activate", ca_id)
    admitted(server.port, good).close()
    with server.refuses("device_inactive", serial=bad.serial):
        refusal(server.port, bad)
    shown = server.json("ca", "show", ca_id)
    assert shown["devices"] == {"active": 1, "inactive": 1, "pending": 0, "revoked": 0}


def test_by_serial_and_ca(server, root):
    """Changing commands take --serial SN --ca ID in place of the id; colons and lower case are fine."""
    identity = root.issue("by serial")
    admitted(server.port, identity).close()
    server.registered(identity)
    spelled = ":".join(identity.serial.lower()[at:at + 2] for at in range(0, len(identity.serial), 2))
    server.cli("device", "deactivate", "--serial", spelled, "--ca", root.id)
    assert server.json("device", "show", identity.id)["status"] == "inactive"
    assert list(server.devices("--serial", identity.serial)) == [identity.id]
    assert server.json("device", "show", identity.id[:10])["id"] == identity.id


def test_a_restart_keeps_everything(serve_once, broker, work, site, root):
    """CAs, devices, their status, and the choices made at registration: all there before the listener opens."""
    server = serve_once([listener(site)], broker)
    approving = Authority(work / "approve-kept", "Approving, kept")
    sleeping = Authority(work / "sleep-kept", "Sleeping, kept")
    root.register(server)
    approving.register(server, "--approve")
    sleeping_id = sleeping.register(server)
    active, inactive = root.issue("stays active"), root.issue("stays inactive")
    for identity in (active, inactive):
        admitted(server.port, identity).close()
        server.registered(identity)
    server.cli("device", "deactivate", inactive.id)
    server.cli("ca", "deactivate", sleeping_id)
    code = server.cli("ca", "code").stdout.strip()
    devices, cas = server.devices(), server.json("ca", "list")
    server.stop()
    server.start()
    assert server.json("ca", "list") == cas
    now = server.devices()
    for each in (*devices.values(), *now.values()):
        each.pop("last_seen"), each.pop("last_seen_to"), each.pop("sessions")
    assert now == devices
    with server.refuses("device_inactive", serial=inactive.serial):
        refusal(server.port, inactive)
    with server.refuses("ca_inactive"):
        refusal(server.port, sleeping.issue("of the sleeping"))
    admitted(server.port, active).close()
    assert server.metric("handshakes_total", kind="known") == 1
    late = Authority(work / "late", "Registered with a code of the last run")
    proof = late.verification(code)
    server.cli("ca", "register", late.identity.chain_file, proof.chain_file)
