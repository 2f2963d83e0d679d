"""Each counter of /metrics beside what the clients saw: hundreds of connections at once, of every outcome. Each client
notes what came of it, in the words of the metrics; at the end every counter must have grown by exactly that."""

import collections
import contextlib
import itertools
import queue
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import packet
from harness.authority import Authority
from harness.device import Device, Ended, client_context, plain, reset
from harness.failing import FailingBroker
from harness.resuming import with_session
from harness.server import listener
from harness.wait import until

AT_ONCE = 24
ROUNDS = 40  # of each outcome: about 700 connections
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5"}
# Counters that no client can foretell, and why.
UNSEEN = {
    "process_cpu_seconds_total": "time",
    "shard_busy_seconds_total": "time",
    "shard_seconds_total": "time",
}
# Where the clients' words are fewer than the labels.
WITHOUT = {"handshakes_total": {"engine", "group"}, "upstream_failures_total": {"server"}, "registrations_total": {"ca"},
           "sessions_ended_total": {"origin", "cause"}}  # the client's end and the broker's race


class Seen:
    """What the clients saw: {(counter, labels): count}."""

    def __init__(self):
        self._lock = threading.Lock()
        self.counts = collections.Counter()

    def note(self, name, count=1, **labels):
        with self._lock:
            self.counts[name, frozenset(labels.items())] += count


@pytest.fixture(scope="module")
def dead():
    with FailingBroker("closes") as broker:
        yield broker


@pytest.fixture(scope="module")
def server(broker, serve, site, root, dead):
    upstreams = [{"name": "broker", "servers": [broker.address]}, {"name": "failing", "servers": [dead.address], "slow_start": "0s"}]
    running = serve([listener(site), listener(site, name="lonely", max_sessions_per_device=1),
                     listener(site, name="twins", clones="alert"),
                     listener(site, name="failing") | {"upstream": "failing"},
                     listener(site, name="open", auth="one-way")], upstreams=upstreams)
    root.register(running)
    return running


class Fleet:
    def __init__(self, server, root, folder, seen):
        self.server, self.root, self.seen = server, root, seen
        self.strangers = Authority(folder / "strangers", "Strangers of the load")
        self.numbers = itertools.count()
        # A device is one connection's at a time, and has one client id: it is no clone, and its broker takes it for one.
        self.known = queue.SimpleQueue()
        for number in range(AT_ONCE):
            self.known.put(self.registered(f"known {number}"))
        self.revoked, self.inactive = self.registered("revoked"), self.registered("inactive")
        server.cli("device", "revoke", self.revoked.id, "--yes")
        server.cli("device", "deactivate", self.inactive.id, "--yes")
        self.stranger = self.strangers.issue("stranger")
        self.new = [root.issue(f"new {n}") for n in range(ROUNDS)]
        self.alone = [self.registered(f"alone {n}") for n in range(4)]
        self.tickets = queue.SimpleQueue()
        for number in range(8):
            self.tickets.put(self.ticket(("1.2", "1.3")[number % 2], self.registered(f"with a ticket {number}")))

    def registered(self, name):
        identity = self.root.issue(name)
        with Device(self.server.port, identity) as device:
            assert device.connect(name) == 0
        self.server.registered(identity)
        return identity

    def ticket(self, tls, identity):
        """A context and a session of a known device, which it comes back with again and again."""
        context = client_context(identity, tls)
        with Device(self.server.port, context=context) as device:
            assert device.connect("for a ticket") == 0
            device.ping()
            return tls, context, device.tls.session, "resumes " + identity.serial

    def accepted(self, name="mqtts"):
        self.seen.note("connections_accepted_total", listener=name)

    def shaken(self, tls, kind, name="mqtts"):
        self.seen.note("handshakes_total", listener=name, version=tls, kind=kind)
        if (tls, kind) != ("1.2", "resumed"):  # there the ticket that was shown goes on
            self.seen.note("tickets_total", result="issued")

    @contextlib.contextmanager
    def a_known_one(self):
        identity = self.known.get()
        try:
            yield identity
        finally:
            self.known.put(identity)

    def refused(self, reason, name="mqtts", claimed=False):
        self.seen.note("rejections_total", listener=name, reason=reason)
        if claimed:
            self.seen.note("rejections_claimed_total", listener=name, reason=reason)

    def talk(self, device, client_id, version=4, at="mqtts"):
        """CONNECT, a ping, an orderly end; how many bytes went each way."""
        hello = packet.connect(client_id, version)
        device.version = version
        device.send(hello)
        answer = device.expect(packet.CONNACK)[1]
        assert answer[1] == 0
        self.seen.note("mqtt_connects_total", version=VERSIONS[version])
        device.ping()
        device.send(packet.disconnect())
        device.end()
        self.seen.note("sessions_ended_total", listener=at)
        self.seen.note("bytes_total", len(hello) + len(packet.pingreq()) + len(packet.disconnect()), direction="to_broker")
        self.seen.note("bytes_total", 2 + len(answer) + len(packet.pingresp()), direction="to_client")

    # Each of these is one connection, or two where it takes two.
    def known_device(self, tls, version):
        self.accepted()
        with self.a_known_one() as identity, Device(self.server.port, identity, tls) as device:
            self.shaken(tls, "known")
            self.talk(device, identity.serial, version)

    def new_device(self, identity):
        self.accepted()
        with Device(self.server.port, identity) as device:
            self.shaken("1.3", "full")
            self.seen.note("registrations_total")
            self.seen.note("registrations_offered_total")
            self.talk(device, identity.serial)

    def resumed(self):
        ticket = tls, context, session, client_id = self.tickets.get()
        self.accepted()
        with Device(self.server.port, context=with_session(context, session)) as device:
            assert device.tls.session_reused
            self.shaken(tls, "resumed")
            self.seen.note("tickets_total", result="resumed")
            self.talk(device, client_id)
        self.tickets.put(ticket)

    def without_a_certificate(self):
        self.accepted("open")
        with Device(self.server.ports["open"], None) as device:
            self.shaken("1.3", "full", "open")
            self.talk(device, f"nobody {next(self.numbers)}", 4, "open")

    def certificate_refused(self, identity, reason, alert):
        self.accepted()
        try:
            with Device(self.server.port, identity) as device:
                how = device.end()
        except Ended as ended:
            how = ended.how
        assert how == alert, (reason, how)
        self.refused(reason, claimed=identity is not None)

    def no_tls(self):
        self.accepted()
        with plain(self.server.port) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while sock.recv(4096):
                pass
        self.refused("tls_error")

    def no_byte(self):
        self.accepted()
        self.seen.note("connections_silent_total", listener="mqtts")
        sock = plain(self.server.port)
        random.choice((reset, socket.socket.close))(sock)

    def no_mqtt(self, said, reason):
        self.accepted()
        with self.a_known_one() as identity, Device(self.server.port, identity) as device:
            self.shaken("1.3", "known")
            device.send(said)
            device.end()
        self.refused(reason)

    def two_of_one(self, identity, name):
        """Where one session is allowed the second is refused; where clones are told it is let in, and counted."""
        self.accepted(name)
        with Device(self.server.ports[name], identity) as first:
            self.shaken("1.3", "known", name)
            assert first.connect("first") == 0
            self.seen.note("mqtt_connects_total", version="3.1.1")
            self.accepted(name)
            with Device(self.server.ports[name], identity) as second:
                self.shaken("1.3", "known", name)
                self.seen.note("mqtt_connects_total", version="3.1.1")
                if name == "lonely":
                    assert second.connect("second") == 3
                    self.refused("too_many_sessions", name)
                    second.end()
                    sessions = 1
                else:
                    assert second.connect("second") == 0
                    self.seen.note("clones_total", listener=name)
                    sessions = 2
        self.seen.note("sessions_ended_total", sessions, listener=name)
        for client_id in ("first", "second")[:sessions]:
            self.seen.note("bytes_total", len(packet.connect(client_id)), direction="to_broker")
            self.seen.note("bytes_total", 4, direction="to_client")

    def broker_fails(self):
        self.accepted("failing")
        with self.a_known_one() as identity, Device(self.server.ports["failing"], identity) as device:
            self.shaken("1.3", "known", "failing")
            assert device.connect(identity.serial) == 3
            self.seen.note("mqtt_connects_total", version="3.1.1")
            self.seen.note("upstream_failures_total", upstream="failing", kind="closed")
            device.end()
        self.refused("broker_unavailable", "failing")

    def everything(self):
        for number in range(ROUNDS):
            yield self.known_device, "1.2", 3
            yield self.known_device, "1.3", 4
            yield self.known_device, "1.3", 5
            yield self.new_device, self.new[number]
            yield (self.resumed,)
            yield (self.without_a_certificate,)
            yield self.certificate_refused, self.stranger, "ca_unknown", "unknown_ca"
            yield self.certificate_refused, self.revoked, "device_revoked", "certificate_revoked"
            yield self.certificate_refused, self.inactive, "device_inactive", "certificate_unknown"
            yield self.certificate_refused, None, "no_certificate", "certificate_required"
            yield (self.no_tls,)
            yield (self.no_byte,)
            yield self.no_mqtt, b"\x20\x02\0\0", "not_mqtt"
            yield self.no_mqtt, packet.connect("x", protocol="MQTX"), "not_mqtt"
            yield (self.broker_fails,)
            if number < len(self.alone):
                yield self.two_of_one, self.alone[number], "lonely"
                yield self.two_of_one, self.alone[number], "twins"


def grown(server, before):
    """{(counter, labels): by how much}, of the counters alone."""
    page = server.metrics()
    return {key: value - before.get(key, 0) for key, value in page.items() if key[0].endswith("_total")}


def folded(counts):
    """Over the labels that no client knows of; nothing that is 0."""
    sums = collections.Counter()
    for (name, labels), count in counts.items():
        short = name.removeprefix("sallyport_")
        if short not in UNSEEN:
            kept = {key: value for key, value in labels if key not in WITHOUT.get(short, ())}
            sums[short, frozenset(kept.items())] += count
    return {key: count for key, count in sums.items() if count}


def test_every_counter_is_what_the_clients_saw(server, root, work):
    seen = Seen()
    fleet = Fleet(server, root, work / "under-load", seen)
    until("nobody is there", lambda: server.metric("sessions_open") == 0)
    before = server.metrics()
    seen.counts.clear()
    tasks = list(fleet.everything())
    random.Random(21).shuffle(tasks)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(*task) for task in tasks]:
            done.result()
    until("everybody has left", lambda: server.metric("sessions_open") == 0)
    until("what registers itself is written", lambda: server.metric("registration_queue_depth") == 0)
    assert len(tasks) > 500

    counted, saw = folded(grown(server, before)), folded(seen.counts)
    differ = {(name, *sorted(labels)): (counted.get((name, labels), 0), saw.get((name, labels), 0))
              for name, labels in counted.keys() | saw.keys()
              if counted.get((name, labels), 0) != saw.get((name, labels), 0)}
    assert not differ, f"counter: (counted, seen) {differ}"
    # And what the clients do not see: where many came, nobody was lost, and nothing was left open.
    page = server.metrics()
    assert {name for name, _ in page if name.endswith("_total")} >= {name for name, _ in saw}
    assert server.metric("upstream_sessions") == 0
    assert server.metric("handshake_seconds_count") - sum(
        value for (name, _), value in before.items() if name == "handshake_seconds_count") == sum(
        count for (name, _), count in saw.items() if name == "handshakes_total")
