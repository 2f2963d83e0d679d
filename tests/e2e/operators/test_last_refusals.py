"""The last refusals: by issuer, over a restart, and beside the device that they are about; and when a device was here."""

import calendar
import time
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.device import admitted, refusal
from harness.server import listener
from harness.wait import until


@pytest.fixture(scope="module")
def strangers(work):
    return [Authority(work / f"unknown-{n}", f"Unknown, number {n}") for n in range(2)]


def refused(server, identity, name="mqtts"):
    before = server.rejections()
    assert refusal(server.ports[name], identity)
    until("it is counted", lambda: server.rejections() != before)


def kept(server):
    return Path(server.folder) / "state" / "last-rejections"


def started(serve_once, broker, site, root):
    server = serve_once([listener(site), listener(site, name="second")], broker)
    root.register(server)
    return server


def test_by_issuer(serve_once, broker, site, root, strangers):
    """As the certificate names it, whether it is registered or not, and however the name is spaced."""
    server = started(serve_once, broker, site, root)
    first, second = (each.issue("of a stranger") for each in strangers)
    for identity in (first, second):
        refused(server, identity)
    revoked = root.issue("revoked")
    admitted(server.port, revoked).close()
    server.registered(revoked)
    server.cli("device", "revoke", revoked.id, "--yes")
    refused(server, revoked)
    listed = server.json("rejections")
    issuers = {each["issuer"]: each["fingerprint"] for each in listed}
    assert len(issuers) == 3 and set(issuers.values()) == {first.id, second.id, revoked.id}
    for issuer, fingerprint in issuers.items():
        for spelled in (issuer, issuer.replace("=", " = "), issuer.split(", ")[-1]):
            assert [each["fingerprint"] for each in server.json("rejections", "--issuer", spelled)] == [fingerprint]
    for wrong in ("CN=nobody", *(issuer[:-1] for issuer in issuers), *(issuer.split("CN = ")[-1] for issuer in issuers)):
        assert server.json("rejections", "--issuer", wrong) == [], wrong
    assert "ISSUER" in server.cli("rejections").stdout.splitlines()[0]


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_known_device_too(serve_once, broker, site, root, tls):
    """Of a known device nothing is parsed: its issuer is found in the bytes."""
    server = started(serve_once, broker, site, root)
    identity = root.issue("known " + tls)
    admitted(server.port, identity).close()
    server.registered(identity)
    server.cli("device", "deactivate", identity.id, "--yes")
    assert refusal(server.port, identity, tls)
    (one,) = until("it is listed", lambda: server.json("rejections"))
    assert one["reason"] == "device_inactive" and "CN = Fleet root" in one["issuer"], one


def test_they_come_back_after_a_restart(serve_once, broker, site, root, strangers):
    """With their times and counts; what comes then is added. `device show` has the last refusal of before, too."""
    server = started(serve_once, broker, site, root)
    identity, stranger = root.issue("deactivated"), strangers[0].issue("comes again")
    admitted(server.port, identity).close()
    server.registered(identity)
    server.cli("device", "deactivate", identity.id, "--yes")
    for _ in range(3):
        refused(server, stranger)
    refused(server, identity)
    before = server.json("rejections")
    server.stop()
    assert kept(server).stat().st_mode & 0o777 == 0o600
    server.start()
    assert server.json("rejections") == before
    shown = server.json("device", "show", identity.id)
    assert shown["last_refusal"]["reason"] == "device_inactive"
    refused(server, stranger)
    again = next(each for each in server.json("rejections") if each["fingerprint"] == stranger.id)
    assert again["count"] == 4 and again["first"] == next(
        each["first"] for each in before if each["fingerprint"] == stranger.id)
    assert not list(kept(server).parent.glob("last-rejections.new"))


def test_a_damaged_file_is_said_and_dropped(serve_once, broker, site, root, strangers):
    server = started(serve_once, broker, site, root)
    refused(server, strangers[0].issue("forgotten"))
    server.stop()
    text = kept(server).read_bytes()
    kept(server).write_bytes(text[:50] + b"X" + text[51:])
    server.start()
    assert server.line("last-rejections").level == "warning"
    assert server.json("rejections") == [] and not kept(server).exists()


def test_nothing_is_written_where_nobody_was_refused(serve_once, broker, site, root):
    server = started(serve_once, broker, site, root)
    admitted(server.port, root.issue("well")).close()
    server.stop()
    assert not kept(server).exists()


def test_when_a_device_was_here(serve_once, broker, site, root):
    """To the second while the process runs; the registry keeps the day."""
    server = started(serve_once, broker, site, root)
    identity = root.issue("here")
    begun = int(time.time())
    admitted(server.port, identity).close()
    server.registered(identity)
    until("it has left", lambda: server.metric("sessions_open") == 0)
    shown = server.json("device", "show", identity.id)
    at = calendar.timegm(time.strptime(shown["last_seen"], "%Y-%m-%dT%H:%M:%SZ"))
    assert begun <= at <= time.time() + 1 and shown["last_seen_to"] == "second", shown
    (listed,) = server.json("device", "list", "--serial", identity.serial)
    assert listed["last_seen"] == shown["last_seen"]
    server.stop()
    server.start()
    shown = server.json("device", "show", identity.id)
    assert shown["last_seen_to"] == "day" and shown["last_seen"].endswith("T00:00:00Z"), shown
    assert shown["last_seen"][:10] in (time.strftime("%Y-%m-%d", time.gmtime(begun)), time.strftime("%Y-%m-%d", time.gmtime()))
