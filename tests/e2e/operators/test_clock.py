"""A wall clock that is wrong, and is set while Sallyport serves: what is closed by a date opens by one, and nothing
gains time: no session, no token, no code."""

import time

from harness import packet
from harness.admin import Admin
from harness.authority import Authority, days, now
from harness.clock import Clock
from harness.device import Device, Ended, admitted, refusal
from harness.server import listener
from harness.wait import until

DAY = 86_400
YEAR = 365 * DAY


def lets_in(server, identity):
    try:
        admitted(server.port, identity).close()
        return True
    except (Ended, AssertionError):  # within a second of the step it may get as far as the CONNACK
        return False


def v5(server, identity):
    device = Device(server.port, identity)
    assert device.connect(identity.cn, version=5) == 0
    return device


def test_what_is_closed_by_time_opens_by_time(serve_once, broker, site, work, tmp_path):
    """Started three days in the past and then corrected: devices, those under intermediates that they send themselves
    among them, known and new; and a CA of trusted_cas whose time had not come."""
    root = Authority(work / "clock-root", "Clock root")
    middle = Authority(work / "clock-middle", "Clock middle", parent=root)
    named = Authority(work / "clock-named", "Named by the file")
    known, fresh = (middle.issue(cn, sent=[middle.certificate]) for cn in ("known", "fresh"))
    clock = Clock(tmp_path)
    server = serve_once([listener(site)], broker, environment=clock.environment)
    root.register(server)
    with admitted(server.port, known):
        server.registered(known)
    server.stop()
    with open(server.config, "a") as file:
        file.write(f'\n[registry]\ntrusted_cas = ["{named.identity.chain_file}"]\n')
    clock.set(-3 * DAY)
    server.start()
    assert {each["kind"] for each in server.json("status")["warnings"]} >= {"server-certificate", "trusted-ca"}
    assert server.metric("warnings", kind="trusted-ca") == 1
    of_named = named.issue("of the named")
    for identity, reason in ((known, "not_yet_valid"), (fresh, "not_yet_valid"), (of_named, "ca_unknown")):
        with server.refuses(reason):
            refusal(server.port, identity)
    clock.set(0)
    for identity in (known, fresh, of_named):
        until(f"{identity.cn} is let in", lambda: lets_in(server, identity))
    assert abs(int(server.line("clock-set").fields["by_seconds"]) - 3 * DAY) <= 5
    until("no warning is left", lambda: server.json("status")["warnings"] == [])
    assert server.metric("warnings") == 0
    # And again: each of them has a chain in the registry now, and it is alive.
    clock.set(-3 * DAY)
    until("the step back has been seen", lambda: len(server.lines("clock-set")) == 2)
    with server.refuses("not_yet_valid"):
        refusal(server.port, fresh)
    clock.set(0)
    for identity in (known, fresh, of_named):
        until(f"{identity.cn} is let in again", lambda: lets_in(server, identity))


def test_a_step_forward_ends_what_has_ended(serve_once, broker, site, root, tmp_path):
    """By years: live sessions are cut at once and new ones refused. Once the clock is right, devices are let in."""
    clock = Clock(tmp_path)
    server = serve_once([listener(site)], broker, environment=clock.environment)
    root.register(server)
    ends, stays = root.issue("two years", not_after=now() + days(700)), root.issue("nine", not_after=now() + days(3285))
    with v5(server, ends) as device, v5(server, stays) as other:
        server.registered(ends)
        clock.set(3 * YEAR)
        kind, _, body = device.packet()
        assert (kind, body) == (packet.DISCONNECT, b"\x98")
        other.ping()
    until("its end is logged", lambda: server.lines("ended", reason="expired", serial=ends.serial))
    with server.refuses("expired"):
        refusal(server.port, ends)
    clock.set(0)
    until("it is let in again", lambda: lets_in(server, ends))


def test_what_a_step_has_ended_does_not_come_back(broker, site, work, tmp_path):
    """A token and a registration code that ended by a step forward are refused after the step back, and after a kill and
    a start; new ones are good."""
    clock = Clock(tmp_path)
    admin = Admin(work / "clock-admin", [listener(site)], broker, {}, environment=clock.environment)
    try:
        server = admin.server
        token = admin.token("viewer", "short", "--ttl", "1h")
        code = server.cli("ca", "code").stdout.strip()
        assert admin.http("GET", "/v1/status", token)[0] == 200
        clock.set(2 * DAY)
        until("the token has ended", lambda: admin.http("GET", "/v1/status", token)[0] == 401)
        until("the step has been seen", lambda: len(server.lines("clock-set")) == 1)
        clock.set(0)
        until("the step back has been seen", lambda: len(server.lines("clock-set")) == 2)
        assert admin.http("GET", "/v1/status", token)[0] == 401
        assert [each["action"] for each in server.json("audit")][:1] == ["token.revoke"]
        server.kill9()
        server.start()
        assert admin.http("GET", "/v1/status", token)[0] == 401
        assert admin.http("GET", "/v1/status", admin.token("viewer", "fresh", "--ttl", "1h"))[0] == 200
        late = Authority(work / "clock-late", "Too late")
        said = server.cli("ca", "register", late.identity.chain_file, late.verification(code).chain_file, status=1)
        assert "is not a registration code" in said.stderr, "its end was written, and what has ended is cleared away"
        late.register(server)
    finally:
        admin.server.stop()


def test_a_step_back_gives_no_time(serve_once, broker, site, root, tmp_path):
    """By years: live sessions go on, new ones are refused, and a certificate's end comes when it would have come."""
    clock = Clock(tmp_path)
    server = serve_once([listener(site)], broker, environment=clock.environment)
    root.register(server)
    stays = v5(server, root.issue("ends later"))
    for seconds in (8, 30, 120):  # on a busy machine, more of them
        soon = root.issue(f"ends in {seconds}", not_after=now() + days(seconds / DAY))
        try:
            ends = v5(server, soon)
            break
        except Ended:
            continue
    with stays, ends:
        server.registered(soon)  # what is still to be written is judged by the clock once more
        clock.set(-2 * YEAR)
        until("the step has been seen", lambda: server.lines("clock-set"))
        with server.refuses("not_yet_valid"):
            refusal(server.port, root.issue("new"))
        until("its end has come", lambda: server.lines("ended", reason="expired", serial=soon.serial), seconds + 20)
        # Of two clocks that are read in whole seconds one may be one ahead of the other.
        assert now() >= soon.certificate.not_valid_after, "not before it would have come"
        stays.ping()


def test_a_start_before_1980(serve_once, broker, site, root, tmp_path):
    """Nothing is valid yet, its own certificate neither: it starts, warns, refuses every device, and serves once the
    clock is right."""
    clock = Clock(tmp_path, 9 * YEAR - int(time.time()))
    server = serve_once([listener(site)], broker, environment=clock.environment,
                        registry={"trusted_cas": [root.identity.chain_file]})
    warned = {each["kind"]: each["what"] for each in server.json("status")["warnings"]}
    assert set(warned) == {"clock", "server-certificate", "trusted-ca"}
    assert "when this program was built" in warned["clock"]
    assert "is not valid yet" in warned["server-certificate"]
    assert server.cli("status").stdout.count("warning") == 3
    identity = root.issue("patient")
    with server.refuses("ca_unknown"):
        refusal(server.port, identity)
    clock.set(0)
    until("it is let in", lambda: lets_in(server, identity))
    until("no warning is left", lambda: server.json("status")["warnings"] == [])
