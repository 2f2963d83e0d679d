"""Every device status × every CA status × every way in: what is expected stands in TABLE, what happens is compared.

The states are made first, all of them, on one server (and on a second one, that is restarted then); after that
every row is one connection. CA `again`: deleted with --cascade and registered again. `live`: the session was there
before the statuses changed; of devices that cannot have one (pending, never) it is a connection whose TLS is done
and whose CONNECT comes only now. `first`: the operator registered it before, where the status needs a record.
"""

import contextlib

import pytest

from harness.authority import Authority
from harness.device import Device, Ended, client_context
from harness.server import listener
from harness.unix_http import ask
from harness.wait import until

TABLE = """
device    CA        first     known     ticket1.2 ticket1.3 live      second    restart
active    active    admitted  admitted  resumed   resumed   lives     admitted  admitted
active    inactive  ca-down   ca-down   ca-down   ca-down   cut       ca-down   ca-down
active    deleted   unknown   unknown   unknown   unknown   cut       unknown   unknown
active    again     admitted  admitted  admitted  admitted  cut       admitted  admitted
inactive  active    inactive  inactive  inactive  inactive  cut       inactive  inactive
inactive  inactive  inactive  inactive  inactive  inactive  cut       inactive  inactive
inactive  deleted   unknown   unknown   unknown   unknown   cut       unknown   unknown
inactive  again     admitted  admitted  admitted  admitted  cut       admitted  admitted
pending   active    connack   pending   pending   pending   connack   pending   pending
pending   inactive  ca-down   pending   pending   pending   cut       pending   pending
pending   deleted   unknown   unknown   unknown   unknown   cut       unknown   unknown
pending   again     connack   connack   connack   connack   cut       connack   connack
revoked   active    revoked   revoked   revoked   revoked   cut       revoked   revoked
revoked   inactive  revoked   revoked   revoked   revoked   cut       revoked   revoked
revoked   deleted   revoked   revoked   revoked   revoked   cut       revoked   revoked
revoked   again     revoked   revoked   revoked   revoked   cut       revoked   revoked
deleted   active    admitted  admitted  admitted  admitted  cut       admitted  admitted
deleted   inactive  ca-down   ca-down   ca-down   ca-down   cut       ca-down   ca-down
deleted   deleted   unknown   unknown   unknown   unknown   cut       unknown   unknown
deleted   again     admitted  admitted  admitted  admitted  cut       admitted  admitted
never     active    admitted  admitted  admitted  admitted  admitted  admitted  admitted
never     inactive  ca-down   ca-down   ca-down   ca-down   cut       ca-down   ca-down
never     deleted   unknown   unknown   unknown   unknown   cut       unknown   unknown
never     again     admitted  admitted  admitted  admitted  cut       admitted  admitted
"""

# What a word of the table means: the reason counted and shown, and what the device sees of it.
REFUSALS = {"ca-down": ("ca_inactive", "certificate_unknown"), "unknown": ("ca_unknown", "unknown_ca"),
            "inactive": ("device_inactive", "certificate_unknown"),
            "pending": ("device_pending", "certificate_unknown"),
            "revoked": ("device_revoked", "certificate_revoked"), "connack": ("device_pending", "CONNACK 0x5")}

_lines = [line.split() for line in TABLE.strip().splitlines()]
PATHS = _lines[0][2:]
EXPECTED = {(line[0], line[1], path): word for line in _lines[1:] for path, word in zip(PATHS, line[2:])}
DEVICES = list(dict.fromkeys(line[0] for line in _lines[1:]))
CAS = list(dict.fromkeys(line[1] for line in _lines[1:]))


def test_the_table_is_whole():
    """Nobody forgot a row: every status with every status, every way in."""
    assert len(EXPECTED) == len(DEVICES) * len(CAS) * len(PATHS) == 6 * 4 * 7
    assert set(EXPECTED.values()) == {*REFUSALS, "admitted", "resumed", "lives", "cut"}


class Entry:
    """One cell of the table: a device of its own, brought into its status by `prepare`, tried by `observe`."""

    def __init__(self, server, authority, device, ca, path):
        self.server, self.device, self.ca, self.path = server, device, ca, path
        self.identity = authority.issue(f"{device} {ca} {path}")
        self.tls = "1.2" if path == "ticket1.2" else "1.3"
        self.listener = "second" if path == "second" else "mqtts"
        self.context = client_context(self.identity, self.tls)
        self.session = None  # the TLS session of a ticket
        self.live = None

    def api(self, method, target, body=None, expected=(200, 201)):
        status, _, answer = ask(self.server.socket, method, target, body)
        assert status in expected, (method, target, status, answer)
        return status, answer

    def record(self):
        status, answer = self.api("GET", "/v1/devices/" + self.identity.id, expected=(200, 404))
        return answer if status == 200 else None

    def is_registered(self, status):
        return until(f"{self.identity.cn} is {status}",
                     lambda: (found := self.record()) and found["status"] == status and found, 10, 0.005)

    def open(self):
        return Device(self.server.ports[self.listener], context=self.context)

    # Bringing it into its status
    def prepare(self):
        if self.path == "first":
            if self.device not in ("pending", "never"):
                self.api("POST", "/v1/devices", {"certificate": open(self.identity.chain_file).read()})
        elif self.path == "live":
            before = self.server.metric("handshakes_total")
            self.live = self.open()
            # A client of TLS 1.3 is done before the server has looked at its certificate.
            until("it is let in", lambda: self.server.metric("handshakes_total") > before)
            if self.device == "pending":
                self.become_pending(self.open())
            elif self.device != "never":
                assert self.live.connect(self.client_id()) == 0
                self.is_registered("active")
        else:
            self.visit()
        if self.device in ("inactive", "revoked"):
            action = {"inactive": "deactivate", "revoked": "revoke"}[self.device]
            self.api("POST", f"/v1/devices/{self.identity.id}/{action}")
        elif self.device == "deleted":
            self.api("DELETE", "/v1/devices/" + self.identity.id)

    def client_id(self):
        return self.identity.cn.replace(" ", "-")

    def become_pending(self, visitor):
        assert visitor.connect(self.client_id()) == 5
        self.is_registered("pending")
        return visitor

    def visit(self):
        """Connects to the first listener once, keeps the TLS session, and ends it in order."""
        visitor = Device(self.server.ports["mqtts"], context=self.context)
        if self.device == "pending":
            self.become_pending(visitor)
        elif self.device != "never":
            assert visitor.connect(self.client_id()) == 0
            self.is_registered("active")
        elif self.path == "ticket1.3":
            visitor.tls.settimeout(0.02)  # nothing but the ticket comes, and reading takes it in
            until("the ticket came", lambda: self.reads_nothing(visitor) and visitor.tls.session.has_ticket)
        self.session = visitor.tls.session
        with contextlib.suppress(Ended, OSError):
            visitor.close_notify()
        visitor.close()

    @staticmethod
    def reads_nothing(visitor):
        with contextlib.suppress(TimeoutError):
            raise AssertionError(f"{visitor.tls.recv(1)!r} came before the CONNECT")
        return True

    # Trying it
    def observe(self, expected):
        """The table's word for what happens; checks what is counted and shown with it."""
        before = self.server.rejections(self.listener)
        refusal = REFUSALS.get(expected, ("", ""))
        seen = self.try_live(expected) if self.path == "live" else self.try_connecting(refusal[1])
        if seen == refusal[1] != "":
            self.counted_and_shown(refusal[0], before)
            seen = expected
        elif seen in ("admitted", "resumed"):
            self.is_registered("active")
        if seen in ("admitted", "resumed", "lives"):
            assert self.server.rejections(self.listener) == before
        return seen

    def try_live(self, expected):
        with self.live as device:
            if expected == "cut":
                how = device.end(5)
                return "cut" if how == "close_notify" else how
            if self.device not in ("pending", "never"):
                device.ping()
                return "lives"
            return self.try_mqtt(device)

    def try_connecting(self, ending):
        if self.path.startswith("ticket"):
            assert self.session.has_ticket, "without a ticket this row would prove nothing"
            context = Resuming(self.context, self.session)
        else:
            context = self.context
        try:
            with Device(self.server.ports[self.listener], context=context) as device:
                # In TLS 1.3 the alert comes when the client's handshake is over; nothing is sent into it, so that
                # no RST can overtake it.
                if ending and not ending.startswith("CONNACK"):
                    return device.end(5)
                return self.try_mqtt(device)
        except Ended as ended:
            return ended.how

    def try_mqtt(self, device):
        code = device.connect(self.client_id())
        if code != 0:
            device.end(5)
            return f"CONNACK {code:#x}"
        device.ping()
        return "resumed" if device.tls.session_reused else "admitted"

    def counted_and_shown(self, reason, before):
        def grown():
            return {key: value - before.get(key, 0) for key, value in self.server.rejections(self.listener).items()
                    if value != before.get(key, 0)}

        until(f"{reason} is counted", grown, 5, 0.005)
        assert grown() == {reason: 1}
        shown = [each for each in self.server.json("rejections", "--serial", self.identity.serial)
                 if (each["fingerprint"], each["reason"], each["listener"]) == (self.identity.id, reason, self.listener)]
        assert len(shown) == 1, shown
        assert self.identity.cn in shown[0]["subject"] and shown[0]["peer"].startswith("127.0.0.1")


class Resuming:
    """An SSLContext whose connections offer a session."""

    def __init__(self, context, session):
        self.context, self.session = context, session

    def wrap_socket(self, sock, **options):
        return self.context.wrap_socket(sock, session=self.session, **options)


def made(server, folder, paths):
    """All cells of the columns `paths`, each device and each CA in its status: {(device, CA, path): Entry}."""
    authorities = {}
    for ca in CAS:
        for flags in ((), ("--approve",)):
            authority = Authority(folder / f"{ca}{len(flags)}", f"CA {ca} {' '.join(flags)}")
            authority.register(server, *flags)
            authorities[ca, flags] = authority
    cells = {}
    for device, ca, path in EXPECTED:
        if path in paths:
            flags = ("--approve",) if device == "pending" else ()
            cells[device, ca, path] = Entry(server, authorities[ca, flags], device, ca, path)
            cells[device, ca, path].prepare()
    for (ca, flags), authority in authorities.items():
        if ca == "inactive":
            server.cli("ca", "deactivate", authority.id, "--yes")
        elif ca in ("deleted", "again"):
            server.cli("ca", "delete", authority.id, "--cascade", "--yes")
        if ca == "again":
            authority.register(server, *flags)
    return cells


@pytest.fixture(scope="module")
def cells(broker, serve, site, work):
    patient = {"connect_timeout": "120s"}
    standing = serve([listener(site, **patient), listener(site, name="second", **patient)], broker)
    found = made(standing, work / "table", [path for path in PATHS if path != "restart"])
    restarted = serve([listener(site, **patient)], broker)
    found |= made(restarted, work / "restart-table", ["restart"])
    restarted.stop()
    restarted.start()
    yield found
    for cell in found.values():
        if cell.live is not None:
            cell.live.close()


@pytest.mark.parametrize("device, ca, path", [pytest.param(*cell, id="-".join(cell)) for cell in EXPECTED])
def test_status(cells, device, ca, path):
    """One cell of TABLE: the outcome, its reason in the metric and in `rejections`, and what the device sees."""
    expected = EXPECTED[device, ca, path]
    assert cells[device, ca, path].observe(expected) == expected
