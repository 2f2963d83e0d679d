"""Operating a running server: sessions, explain, rejections, reload, backup and restore."""

import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness import packet
from harness.authority import Authority, days, now
from harness.admin import Admin
from harness.broker import free_port
from harness.device import Device, Ended, admitted, plain, refusal
from harness.reloading import Reloading
from harness.server import BINARY, listener
from harness.unix_http import ask
from harness.wait import stays, until
from harness.witness import Witness


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    """`mqtts` admits all, `chosen` the fleet's root alone, `open` asks for nothing."""
    running = serve([listener(site), listener(site, name="chosen", cas=[root.id]),
                     listener(site, name="open", auth="one-way")], broker)
    root.register(running)
    return running


def known(server, identity):
    """Connects once and goes, so that the device is registered."""
    admitted(server.port, identity).close()
    return server.registered(identity)


def sessions(server, *filters):
    return server.json("session", "list", *filters)


# --- sessions

def test_session_list_and_its_filters(server, root, work):
    """Every live session with device, peer, client id and versions; --device and --ca take ids, prefixes, serials."""
    other_ca = Authority(work / "sessions", "Another CA of sessions")
    other_ca.register(server)
    ours, others = root.issue("ours"), other_ca.issue("others")
    with admitted(server.port, ours, "1.2", client_id="one"), admitted(server.port, others, client_id="two"), \
            Device(server.ports["open"]) as nobody:
        assert nobody.connect("three", version=5) == 0
        server.registered(ours), server.registered(others)
        until("three are shown", lambda: len([each for each in sessions(server) if each["state"]]) == 3)
        by_client = {each["client_id"]: each for each in sessions(server)}
        assert set(by_client) == {"one", "two", "three"}
        one, two, three = by_client["one"], by_client["two"], by_client["three"]
        assert one["device_id"] == ours.id and one["ca_id"] == root.id and one["cn"] == "ours"
        assert two["device_id"] == others.id and two["ca_id"] == other_ca.id
        assert three["device_id"] is None and three["ca_id"] is None and three["listener"] == "open"
        assert (one["listener"], one["resumed"]) == ("mqtts", False)
        assert "1.2" in one["tls_version"] and "1.3" in two["tls_version"]
        assert "3.1.1" in one["mqtt_version"] and "5" in three["mqtt_version"]
        assert re.fullmatch(r"127\.0\.0\.1:\d+", one["peer"]) and re.fullmatch("[0-9a-f]{16}", one["id"])
        for reference in (ours.id, ours.id[:10], ours.serial):
            assert sessions(server, "--device", reference) == [one]
        for reference in (other_ca.id, other_ca.id[:8], other_ca.identity.serial):
            assert sessions(server, "--ca", reference) == [two]
        assert sessions(server, "--device", ours.id, "--ca", other_ca.id) == []
        assert server.cli("session", "list", "--device", "ab" * 32, status=1).stderr
        table = server.cli("session", "list").stdout
        assert all(each in table for each in (one["id"], "two", "three", ours.id[:12]))
        pages, token = [], ""
        while True:
            page = ask(server.socket, "GET", f"/v1/sessions?limit=1&page_token={token}")[2]
            pages += page["items"]
            token = page["next_page_token"]
            if not token:
                break
        assert sorted(each["id"] for each in pages) == sorted(each["id"] for each in by_client.values())
    until("none is shown", lambda: not sessions(server))


def test_session_cut(server, root):
    """One session ends, orderly, an MQTT 5 one with DISCONNECT 0x98 first; the device's other session goes on and it
    may connect again. What is not there is an error."""
    identity = root.issue("cut by hand")
    with Device(server.port, identity) as first, admitted(server.port, identity, client_id="stays") as second:
        assert first.connect("goes", version=5) == 0
        server.registered(identity)
        until("both are shown", lambda: len(sessions(server, "--device", identity.id)) == 2)
        goes = next(each for each in sessions(server, "--device", identity.id) if each["client_id"] == "goes")
        assert server.cli("session", "cut", goes["id"], "--yes").stdout == f"{goes['id']} cut\n"
        assert first.expect(packet.DISCONNECT)[1][:1] == b"\x98"
        assert first.end(2.0) == "close_notify"
        second.ping()
        assert [each["client_id"] for each in sessions(server, "--device", identity.id)] == ["stays"]
        admitted(server.port, identity, client_id="again").close()
        assert "no live session" in server.cli("session", "cut", goes["id"], "--yes", status=1).stderr
    for bad in ("0", "ffffffffffffffff"):
        assert ask(server.socket, "DELETE", f"/v1/sessions/{bad}")[0] == 404
    for bad in ("xyz", "-1", "0x10", "1" * 40):
        assert ask(server.socket, "DELETE", f"/v1/sessions/{bad}")[0] == 400, bad


# --- explain

def explained(server, identity, *options, status):
    """`explain -o json` of a chain; the exit status must be `status`."""
    done = server.cli("explain", identity.chain_file, *options, "-o", "json", status=status)
    return json.loads(done.stdout)


def test_explain_says_what_a_connection_gets(server, root, work):
    """For every standing: exit 0 or 1, and the same reason that the connection is then refused with."""
    folder = work / "explain"
    ca, sleeping = Authority(folder / "a", "Explained"), Authority(folder / "b", "Explained, inactive")
    approving, closed = Authority(folder / "c", "Explained, approving"), Authority(folder / "d", "Explained, closed")
    ca.register(server), approving.register(server, "--approve"), closed.register(server, "--no-auto-register")
    server.cli("ca", "deactivate", sleeping.register(server), "--yes")
    inactive, revoked = ca.issue("inactive"), ca.issue("revoked")
    for identity, action in ((inactive, "deactivate"), (revoked, "revoke")):
        known(server, identity)
        server.cli("device", action, identity.id, "--yes")
    cases = {"ca_unknown": Authority(folder / "e", "Unknown").issue(), "ca_inactive": sleeping.issue(),
             "device_inactive": inactive, "device_revoked": revoked, "not_registered": closed.issue(),
             "expired": ca.issue("expired", not_before=now() - days(9), not_after=now() - days(1)),
             "not_yet_valid": ca.issue("future", not_before=now() + days(1)), "not_a_device": ca.identity,
             "bad_signature": ca.issue("forged", signer=root.key)}
    for reason, identity in cases.items():
        shown = explained(server, identity, status=1)
        assert (shown["admitted"], shown["reason"]) == (False, reason), shown
        assert shown["id"] == identity.id and shown["serial"] == identity.serial and len(shown["steps"]) >= 2
        text = server.cli("explain", identity.chain_file, status=1).stdout.splitlines()
        assert text[-2:] == [f"refused: {reason}", f"to do: {shown['what_to_do']}"] and shown["what_to_do"]
        assert len(text) == len(shown["steps"]) + 2
        with server.refuses(reason):
            refusal(server.port, identity)
    pending = explained(server, approving.issue(), status=1)
    assert pending["reason"] == "device_pending"
    fresh = ca.issue("fresh")
    shown = explained(server, fresh, status=0)
    assert shown["admitted"] is True and shown["reason"] is None
    assert server.cli("explain", fresh.chain_file).stdout.splitlines()[-1] == "admitted"
    server.cli("device", "show", fresh.id, status=1)  # explaining registers nobody
    assert fresh.serial not in [each["serial"] for each in server.json("rejections")]
    known(server, fresh)
    assert len(explained(server, fresh, status=0)["steps"]) >= 2


def test_explain_says_which_issuer_is_missing(server, root, work):
    """An intermediate that is neither sent nor registered, a CA of the same name with another key, one under another
    name, a root that nobody registered: what was looked for, and what stands nearest."""
    folder = work / "missing"
    ca = Authority(folder / "ca", "Has intermediates")
    ca.register(server)
    between = Authority(folder / "between", "Fleet Sub CA", parent=ca)
    twin = Authority(folder / "twin", "Has intermediates")
    renamed = Authority(folder / "renamed", "Has another name", key=ca.key)
    stranger = Authority(folder / "stranger", "Nobody's root")

    def missing(identity, reason="ca_unknown"):
        shown = explained(server, identity, status=1)
        assert shown["reason"] == reason
        return [each["found"] for each in shown["steps"] if each["what"] == "what is missing"][0]

    unsent = missing(between.issue("unsent"))
    assert "CN = Fleet Sub CA is neither registered nor sent" in unsent and "registered CAs has that name" in unsent
    assert explained(server, between.issue("sent", sent=[between.certificate]), status=0)["admitted"]
    assert f"same name has another key ({ca.id[:12]}" in missing(twin.issue("of the twin"), "bad_signature")
    assert "CN = Has another name is neither registered nor sent" in missing(renamed.issue("of the renamed"))
    assert "signed itself and is not registered" in missing(stranger.issue("s", sent=[stranger.certificate]))


def test_explain_tells_a_changed_certificate_from_another_key(server, root, tmp_path):
    """One bit of the signature, or of what was signed: the CA is there and its key is the right one, so that nobody is
    told to register another."""
    ca = Authority(tmp_path / "ca", "Signs what is changed")
    ca.register(server)
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    der = ca.issue("meter-2", extra=[key_id]).certificate.public_bytes(serialization.Encoding.DER)
    for at in (len(der) - 1, der.index(b"meter-2") + 3):
        changed = bytearray(der)
        changed[at] ^= 1
        path = tmp_path / f"{at}.der"
        path.write_bytes(changed)
        shown = json.loads(server.cli("explain", str(path), "-o", "json", status=1).stdout)
        assert shown["reason"] == "bad_signature"
        last = shown["steps"][-1]["found"]
        assert "its signature does not fit" in last and "changed, or forged" in last and ca.id[:12] in last, last
        assert "another key" not in last and "forged" in shown["what_to_do"] and "no CA" in shown["what_to_do"], shown


def test_explain_and_a_warning_where_cas_leaves_a_ca_out(serve_once, broker, site, root, work):
    """A CA that is registered and not named by the listener is not told to be registered. An id in `cas` that no CA has
    lets nobody in: that is a warning, until the CA is registered."""
    later = Authority(work / "cas-later", "Registered later")
    server = serve_once([listener(site, cas=[later.id])], broker)
    root.register(server)
    shown = explained(server, root.issue(), "--listener", "mqtts", status=1)
    assert shown["reason"] == "ca_unknown"
    assert "registered" in shown["steps"][-1]["found"] and "cas does not name it" in shown["steps"][-1]["found"], shown
    assert "listener.cas" in shown["what_to_do"] and "ca register" not in shown["what_to_do"], shown

    def warned():
        return [each for each in server.json("status")["warnings"] if each["kind"] == "listener-cas"]

    until("it is a warning", warned)
    assert later.id in warned()[0]["about"] and "mqtts" in warned()[0]["about"] and "not registered" in warned()[0]["what"]
    assert "not registered" in server.cli("status").stdout
    later.register(server)
    until("it is over", lambda: not warned())
    known(server, later.issue())


def test_explain_for_a_listener_and_a_moment(server, root, work):
    """--listener: as that one would decide, its `cas` included. --at: as it will be then. Bad arguments exit 1."""
    other = Authority(work / "explain-other", "Not on chosen")
    other.register(server)
    ours, others = root.issue("ours", not_after=now() + days(10)), other.issue("others")
    assert explained(server, others, "--listener", "mqtts", status=0)["admitted"]
    refused = explained(server, others, "--listener", "chosen", status=1)
    with server.refuses(refused["reason"], listener_name="chosen"):
        refusal(server.ports["chosen"], others)
    assert explained(server, ours, "--listener", "chosen", status=0)["admitted"]
    stranger = Authority(work / "explain-stranger", "Stranger").issue()
    assert explained(server, stranger, "--listener", "open", status=0)["admitted"]

    def moment(offset):
        return (now() + offset).strftime("%Y-%m-%dT%H:%M:%SZ")

    still_good = moment(days(9))
    assert explained(server, ours, "--at", still_good, status=0)["at"] == still_good
    assert explained(server, ours, "--at", moment(days(11)), status=1)["reason"] == "expired"
    assert explained(server, ours, "--at", moment(days(-2)), status=1)["reason"] == "not_yet_valid"
    assert "no listener" in server.cli("explain", ours.chain_file, "--listener", "nobody", status=1).stderr
    assert "at must be" in server.cli("explain", ours.chain_file, "--at", "tomorrow", status=1).stderr
    assert server.cli("explain", "/nonexistent.crt", status=1).stderr
    assert server.cli("explain", ours.key_file, status=1).stderr


# --- rejections

def test_rejections(server, root, work):
    """One line a certificate with count, first and last time; filters by serial, address and time."""
    unknown = Authority(work / "rejected", "Never registered")
    one, two = unknown.issue("rejected one"), unknown.issue("rejected two")
    for _ in range(3):
        refusal(server.port, one, source="127.0.0.2")
    refusal(server.port, two, source="127.0.0.3")
    refusal(server.port, source="127.0.0.3")
    until("counted", lambda: server.json("rejections", "--serial", one.serial)[:1] and
          server.json("rejections", "--serial", one.serial)[0]["count"] == 3)
    spelled = ":".join(one.serial.lower()[at:at + 2] for at in range(0, len(one.serial), 2))
    found = server.json("rejections", "--serial", spelled)
    assert len(found) == 1
    assert {key: found[0][key] for key in ("reason", "listener", "serial", "fingerprint", "count")} == \
        {"reason": "ca_unknown", "listener": "mqtts", "serial": one.serial, "fingerprint": one.id, "count": 3}
    assert "rejected one" in found[0]["subject"] and found[0]["peer"].startswith("127.0.0.2:")
    assert found[0]["first"] <= found[0]["last"]
    by_peer = server.json("rejections", "--peer", "127.0.0.3")
    assert {(each["reason"], each["serial"]) for each in by_peer} == \
        {("ca_unknown", two.serial), ("no_certificate", "")}
    assert server.json("rejections", "--peer", "127.0.0.2", "--serial", two.serial) == []
    assert server.json("rejections", "--peer", "127.0.0.9") == []
    assert one.serial in server.cli("rejections", "--last", "1h").stdout
    assert one.serial in [each["serial"] for each in server.json("rejections", "--last", "1h")]
    until("a second has passed",
          lambda: one.serial not in [each["serial"] for each in server.json("rejections", "--last", "1s")], 4)
    before = len(server.json("rejections"))
    refusal(server.port, one, source="127.0.0.4")
    until("it is counted on", lambda: server.json("rejections", "--serial", one.serial)[0]["count"] == 4)
    assert server.json("rejections", "--serial", one.serial)[0]["peer"].startswith("127.0.0.4:")
    assert len(server.json("rejections")) == before
    server.cli("rejections", "--last", "soon", status=2)
    server.cli("rejections", "--serial", "xyz", status=1)


# --- reload

@pytest.fixture
def reloading(serve_once, broker, site, root):
    """Starts one with this listener table's settings."""
    def start(more=None, **settings):
        server = serve_once([listener(site, **settings)], broker, **(more or {}))
        root.register(server)
        return server, Reloading(server)
    return start


def test_reload_log_level(reloading, root):
    """error: refusals are no longer logged; info: they are again. All without a restart."""
    server, file = reloading({"log": {"level": "info"}})
    file.edit('level = "info"', 'level = "error"')
    file.reload(logged=False)
    lines = len(server.lines("rejected"))
    assert refusal(server.port) == "certificate_required"
    until("it is counted", lambda: server.rejections().get("no_certificate") == 1)
    file.edit('level = "error"', 'level = "info"')
    file.reload()
    assert len(server.lines("rejected")) == lines
    with server.refuses("no_certificate"):
        refusal(server.port)


def test_reload_cut_sessions(reloading, root):
    """From false to true: a session that begins after the reload is cut with its device; a good one goes on. Back to
    false: it is kept again."""
    server, file = reloading(cut_sessions=False)
    witness = Witness(server.port, root.issue("witness"))
    for value, ends in (("true", True), ("false", False)):
        file.edit(f"cut_sessions = {str(not ends).lower()}", f"cut_sessions = {value}")
        assert file.reload()[-1].fields["needs_restart"] == "0"
        identity = root.issue(f"cut_sessions {value}")
        with admitted(server.port, identity) as device:
            server.registered(identity)
            server.cli("device", "deactivate", identity.id, "--yes")
            if ends:
                assert device.end(2.0) == "close_notify"
            else:
                device.ping()
    witness.verdict()


def test_reload_cut_sessions_counts_for_open_sessions(reloading, root):
    """cut_sessions becomes true: a device that loses its standing from then on is disconnected at once, also where its
    session was open before the reload."""
    server, file = reloading(cut_sessions=False)
    identity = root.issue("open before")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        file.edit("cut_sessions = false", "cut_sessions = true")
        file.reload()
        server.cli("device", "deactivate", identity.id, "--yes")
        assert device.end(2.0) == "close_notify"


def test_a_reload_with_a_ca_that_cannot_be_trusted_changes_nothing(reloading, root, work):
    """An expired CA in trusted_cas: neither it nor the other changes of that file take effect."""
    old = Authority(work / "reload-old", "Too old to trust", not_before=now() - days(9), not_after=now() - days(1))
    server, file = reloading({"registry": {"trusted_cas": []}}, cut_sessions=True)
    file.edit("cut_sessions = true", "cut_sessions = false")
    file.edit("trusted_cas = []", f'trusted_cas = ["{old.identity.chain_file}"]')
    file.reload(good=False)
    until("it is said", lambda: server.lines("reload"))
    assert any("expired" in line.text for line in server.lines("reload"))
    identity = root.issue("still cut")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        server.cli("device", "deactivate", identity.id, "--yes")
        assert device.end(2.0) == "close_notify"


def test_reload_cas(reloading, root, work):
    """A listener that admits fewer CAs: from the reload on a device of another is refused, with a ticket, too; one that
    was connected is cut, and one that still belongs goes on."""
    server, file = reloading(cas=[])
    other = Authority(work / "reload-cas", "Other of the reload")
    other.register(server)
    ours, others = root.issue("ours"), other.issue("others")
    known(server, ours)
    with admitted(server.port, others, "1.2") as device:
        ticket, context = device.tls.session, device.context
    server.registered(others)
    with admitted(server.port, others, client_id="goes") as goes, admitted(server.port, ours, client_id="stays") as stays_on:
        file.edit("cas = []", f'cas = ["{root.id}"]')
        file.reload()
        assert goes.end() == "close_notify"
        stays_on.ping()
    assert refusal(server.port, others) in ("unknown_ca", "certificate_unknown")
    sock = plain(server.port)
    with pytest.raises(OSError) as refused:
        with context.wrap_socket(sock, server_hostname="localhost", session=ticket) as tls:
            tls.sendall(packet.connect("resumed"))
            assert tls.recv(10) == b"", "a ticket got in where the certificate does not"
            raise OSError("ended")
    assert "CERTIFICATE" in str(refused.value).upper() or "UNKNOWN_CA" in str(refused.value).upper() \
        or "ended" in str(refused.value), refused.value
    sock.close()
    file.edit(f'cas = ["{root.id}"]', "cas = []")
    file.reload()
    admitted(server.port, others).close()


def test_reload_trusted_cas(reloading, work):
    """A CA that is added to trusted_cas is registered by the reload; a folder with a broken file changes nothing."""
    folder = work / f"trusted-{os.urandom(3).hex()}"
    folder.mkdir()
    server, file = reloading({"registry": {"trusted_cas": [str(folder)]}})
    one, two = Authority(folder / "x", "Trusted one"), Authority(folder / "y", "Trusted two")
    shutil.copy(one.identity.chain_file, folder / "one.pem")
    file.reload()
    shown = server.json("ca", "show", one.id)
    assert shown["status"] == "active" and shown["from_config"] is True
    admitted(server.port, one.issue("of a trusted CA")).close()
    shutil.copy(two.identity.chain_file, folder / "two.crt")
    (folder / "three.pem").write_text("-----BEGIN CERTIFICATE-----\nbroken\n")
    refused = file.reload(good=False)
    assert refused[0].level == "error" and refused[0].fields["what"] == "nothing has changed"
    assert "three.pem" in refused[0].fields["why"]
    server.cli("ca", "show", two.id, status=1)
    server.cli("ca", "deactivate", one.id, "--yes")
    (folder / "three.pem").unlink()
    file.reload()
    assert server.json("ca", "show", two.id)["status"] == "active"
    assert server.json("ca", "show", one.id)["status"] == "inactive"  # the file never changes who is there already


def test_a_ca_that_leaves_trusted_cas_is_named(reloading, work):
    """Taking a CA out of the file takes it from nobody: the reload says that it is still registered, and what to do."""
    folder = work / f"leaving-{os.urandom(3).hex()}"
    folder.mkdir()
    one, two = Authority(folder / "x", "Leaving"), Authority(folder / "y", "Staying")
    bundle = folder / "cas.pem"
    bundle.write_text(open(one.identity.chain_file).read() + open(two.identity.chain_file).read())
    server, file = reloading({"registry": {"trusted_cas": [str(bundle)]}})
    bundle.write_text(open(two.identity.chain_file).read())
    said = [line for line in file.reload() if line.level == "warning"]
    assert [line.fields["ca"] for line in said] == [one.id]
    assert "still registered" in said[0].fields["what"] and "Leaving" in said[0].fields["subject"]
    assert said[0].fields["do"] == f"sallyport ca deactivate {one.id}"
    admitted(server.port, one.issue("left behind")).close()
    assert not [line for line in file.reload() if line.level == "warning"], "once"


def test_reload_cuts_per_second(reloading, work):
    """At 1 a second 24 cut sessions are in force at once but close slowly; the reload to 1000 closes the rest."""
    server, file = reloading({"proxy": {"cuts_per_second": 1000, "drain": "1s"}})
    ca = Authority(work / f"paced-{os.urandom(3).hex()}", "Paced")
    ca.register(server)
    file.edit("cuts_per_second = 1000", "cuts_per_second = 1")
    file.reload()
    with ExitStack() as stack:
        for number in range(60):
            stack.enter_context(admitted(server.port, ca.issue(f"paced {number}")))
        until("all are open", lambda: server.metric("sessions_open", listener="mqtts") == 60)
        server.cli("ca", "deactivate", ca.id, "--yes")
        assert server.json("status")["sessions_closing"] >= 40
        stays("closing is paced", lambda: server.json("status")["sessions_closing"] > 0, 1.0)
        file.edit("cuts_per_second = 1\n", "cuts_per_second = 1000\n")
        left, began = server.json("status")["sessions_closing"], time.monotonic()
        file.reload()
        until("the rest is closed", lambda: server.json("status")["sessions_closing"] == 0 and
              server.metric("sessions_open", listener="mqtts") == 0, 5)
        assert time.monotonic() - began < left / 2, "at the old pace, one a second on each of two shards, or slower"


def test_reload_names_what_needs_a_restart(reloading, root, site):
    """A new address, protocol, upstream or listener: each named in the log; the old ones serve on, the rest is done."""
    server, file = reloading(cut_sessions=False)
    text = Path(server.config).read_text()
    address = f"127.0.0.1:{free_port()}"
    file.edit('address = "127.0.0.1:0"', f'address = "{address}"')
    file.edit("cut_sessions = false", "cut_sessions = true")
    file.edit(f'"{server.folder}/state"', f'"{server.folder}/elsewhere"')
    Path(server.config).write_text(
        Path(server.config).read_text() +
        f'[[listener]]\nname = "added"\naddress = "127.0.0.1:0"\nupstream = "broker"\n'
        f'certificates = [{{ chain = "{site.chain_file}", key = "{site.key_file}" }}]\n')
    lines = file.reload()
    named = {line.fields["key"] for line in lines if line.level == "warning"}
    assert named == {"listener mqtts: address", "state_dir", "listener added (added)"}, named
    assert lines[-1].fields["what"] == "done" and lines[-1].fields["needs_restart"] == "3"
    identity = root.issue("after the reload")
    known(server, identity)
    with pytest.raises(OSError):
        plain(int(address.rsplit(":", 1)[1])).close()
    with admitted(server.port, identity) as device:
        server.cli("device", "deactivate", identity.id, "--yes")
        assert device.end(2.0) == "close_notify"
    assert not (server.folder / "elsewhere").exists()
    Path(server.config).write_text(text)
    assert {line.level for line in file.reload()} == {"info"}


def test_a_bad_file_changes_nothing(reloading, root):
    """Syntax errors, unknown keys, missing certificate files: every finding is in the log, and not even the good
    changes of the same file are taken. The process goes on, its sessions, too."""
    server, file = reloading(cut_sessions=False)
    good = Path(server.config).read_text()
    with admitted(server.port, root.issue("goes on")) as device:
        for spoil, words in ((lambda text: text + "[broken\n", "sallyport.toml:"),
                             (lambda text: text + "\n[proxi]\nx = 1\n", "proxi"),
                             (lambda text: text.replace('name = "mqtts"', 'nam = "mqtts"'), "nam"),
                             (lambda text: text.replace('"127.0.0.1:0"', '"nowhere"', 1), "address"),
                             (lambda text: re.sub(r'chain = "[^"]*"', 'chain = "/nonexistent.crt"', text),
                              "/nonexistent.crt"),
                             (lambda text: "", "sallyport.toml"),
                             (lambda text: "[registry]\nauto_register = false\n", "there is no [[listener]]"),
                             (lambda text: "\0\xff" * 1000, "sallyport.toml")):
            Path(server.config).write_text(spoil(good.replace("cut_sessions = false", "cut_sessions = true")))
            lines = file.reload(good=False)
            assert {line.level for line in lines} == {"error"}, [line.text for line in lines]
            assert words in " ".join(line.text for line in lines), [line.text for line in lines]
            assert "nothing has changed" in lines[0].text
        os.unlink(server.config)
        assert "nothing has changed" in file.reload(good=False)[0].text
        device.ping()
    # Whoever does not read the log sees it, too, until it is over.
    until("it is a warning", lambda: server.metric("warnings", kind="reload") == 1)
    assert server.metric("reload_success") == 0
    shown = server.json("status")
    assert "cannot be read" in shown["reload"]["refused"]
    assert "the one before is" in [each["what"] for each in shown["warnings"] if each["kind"] == "reload"][0]
    assert "refused" in [line for line in server.cli("status").stdout.splitlines() if line.startswith("configuration")][0]
    identity = root.issue("kept by the old file")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        server.cli("device", "deactivate", identity.id, "--yes")
        device.ping()
    Path(server.config).write_text(good)
    assert file.reload()[-1].fields["what"] == "done"
    assert server.metric("reload_success") == 1 and server.metric("warnings", kind="reload") == 0
    assert server.json("status")["reload"]["refused"] is None


# --- backup and restore

def restore(source, target, status=0):
    done = subprocess.run([BINARY, "restore", str(source), "--state-dir", str(target), "--yes"], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == status, done
    return done


def listed(devices):
    """What a backup must keep of the device list."""
    return {key: {name: value for name, value in each.items() if name not in ("last_seen", "last_seen_to", "sessions")}
            for key, each in devices.items()}


def test_backup_while_devices_connect_and_restore(serve_once, broker, site, root, work, tmp_path):
    """Nobody waits for a backup, and what is restored has every CA, device, status, token and audit line that was
    there when it began; a revoked device stays out, a known one is known."""
    server = serve_once([listener(site)], broker)
    sleeping = Authority(tmp_path / "sleeping", "Sleeping in the backup")
    root.register(server)
    server.cli("ca", "deactivate", sleeping.register(server), "--yes")
    active, inactive, revoked = (root.issue(each) for each in ("active", "inactive", "revoked"))
    for identity in (active, inactive, revoked):
        known(server, identity)
    server.cli("device", "deactivate", inactive.id, "--yes")
    server.cli("device", "revoke", revoked.id, "--yes")
    server.cli("token", "create", "--name", "kept", "--role", "viewer", "--yes")
    before, cas_before = listed(server.devices()), server.json("ca", "list")
    audit_before, connected, stop, failures = server.json("audit"), [], threading.Event(), []

    def connect_on():
        while not stop.is_set():
            try:
                identity = root.issue(f"during {len(connected)}")
                admitted(server.port, identity).close()
                connected.append(identity.id)
            except (AssertionError, Ended, OSError) as failure:
                failures.append(failure)
                return

    thread = threading.Thread(target=connect_on)
    thread.start()
    until("devices connect", lambda: len(connected) > 10)
    target, count = tmp_path / "backup", len(connected)
    done = server.cli("backup", str(target), "--yes")
    assert "verified" in done.stdout and str(target) in done.stdout
    refused = server.cli("backup", str(target), "--yes", status=1)
    line = server.line("backup")
    assert line.level == "error" and "is not empty" in line.fields["why"] and line.fields["why"] in refused.stderr, line
    until("and connect on", lambda: failures or len(connected) > count + 10)
    stop.set()
    thread.join(20)
    assert not failures
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    manifest = json.loads((target / "manifest.json").read_text())
    assert sorted(each["name"] for each in manifest["files"]) == sorted(os.listdir(target / "registry"))
    until("all are registered", lambda: set(connected) <= set(server.devices()))
    after = listed(server.devices())
    server.kill9()

    fresh = tmp_path / "new" / "state"
    assert "verified" in restore(target, fresh).stdout
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    Path(server.config).write_text(
        Path(server.config).read_text().replace(str(server.folder / "state"), str(fresh)))
    server.start()
    restored = listed(server.devices())
    assert {key: restored.get(key) for key in before} == before
    assert all(after.get(key) == each for key, each in restored.items())
    for each in (*cas_before, *(cas_now := server.json("ca", "list"))):
        each.pop("devices")
    assert cas_now == cas_before
    assert [each["name"] for each in server.json("token", "list")] == ["kept"]
    assert all(each in server.json("audit") for each in audit_before)
    with server.refuses("device_revoked"):
        refusal(server.port, revoked)
    with server.refuses("device_inactive"):
        refusal(server.port, inactive)
    with server.refuses("ca_inactive"):
        refusal(server.port, sleeping.issue())
    admitted(server.port, active).close()
    assert server.metric("handshakes_total", kind="known") == 1


@pytest.fixture(scope="module")
def a_backup(server, root, work):
    """A backup with some rows in it."""
    known(server, root.issue("in the backup"))
    server.cli("backup", str(work / "a-backup"), "--yes")
    return work / "a-backup"


def manifest_of(folder, change):
    """Rewrites the manifest: change(manifest) returns a new one, or changes it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    changed = change(manifest)
    path.write_text(json.dumps(manifest if changed is None else changed))


def flip(path):
    """One bit, in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def largest(folder):
    return max((folder / "registry").iterdir(), key=lambda each: each.stat().st_size)


def outside(name):
    """A manifest that names a file elsewhere, with its right hash."""
    def spoil(folder):
        (folder / "x").write_bytes(b"x")
        sha256 = subprocess.run(["sha256sum", str(folder / "x")], capture_output=True, text=True).stdout.split()[0]
        manifest_of(folder, lambda manifest: manifest["files"].append(
            {"name": name.replace("FOLDER", str(folder)), "bytes": 1, "sha256": sha256}))
    return spoil


def symlinked(folder):
    """A file of the backup that is a link to the same bytes elsewhere."""
    victim = largest(folder)
    shutil.move(victim, folder / "elsewhere")
    os.symlink(folder / "elsewhere", victim)


def member(name, value):
    """Files[0] with a member of another type."""
    return lambda folder: manifest_of(folder, lambda manifest: manifest["files"][0].update({name: value}))


SPOILS = {
    "a changed file": lambda folder: flip(largest(folder)),
    "a shorter file": lambda folder: largest(folder).write_bytes(largest(folder).read_bytes()[:-1]),
    "a missing file": lambda folder: largest(folder).unlink(),
    "an extra file": lambda folder: (folder / "registry" / "000000.sst").write_bytes(b"x"),
    "a link": symlinked,
    "../x": outside("../x"),
    "an absolute path": outside("FOLDER/x"),
    "..": outside(".."),
    "an empty name": outside(""),
    "a name twice": lambda folder: manifest_of(folder, lambda m: m["files"].append(m["files"][0])),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "an empty manifest": lambda folder: (folder / "manifest.json").write_text(""),
    "a manifest that is a list": lambda folder: manifest_of(folder, lambda m: []),
    "another format": lambda folder: manifest_of(folder, lambda m: m.update(format=2)),
    "a format that is text": lambda folder: manifest_of(folder, lambda m: m.update(format="1")),
    "no files": lambda folder: manifest_of(folder, lambda m: m.update(files=[])),
    "files that is text": lambda folder: manifest_of(folder, lambda m: m.update(files="all")),
    "files of text": lambda folder: manifest_of(folder, lambda m: m.update(files=["CURRENT"])),
    "a name that is a number": member("name", 7),
    "a hash that is a number": member("sha256", 7),
    "bytes that are text": member("bytes", "7"),
    "a revision that is text": lambda folder: manifest_of(folder, lambda m: m.update(revision="7")),
    "no registry": lambda folder: shutil.rmtree(folder / "registry"),
}


@pytest.mark.parametrize("what", SPOILS)
def test_restore_refuses_what_is_not_whole(a_backup, tmp_path, what):
    """Exit 1 and one line that says why; the target has nothing in it, so that a good backup can be restored there."""
    spoilt, target = tmp_path / "spoilt", tmp_path / "target"
    shutil.copytree(a_backup, spoilt, symlinks=True)
    SPOILS[what](spoilt)
    done = restore(spoilt, target, status=1)
    assert len(done.stderr.splitlines()) == 1 and str(spoilt) in done.stderr, done
    assert not [each for each in target.rglob("*") if each.is_file()]
    restore(a_backup, target)


def test_restore_takes_only_a_registry_or_nothing(a_backup, tmp_path):
    """A folder with anything in it but a registry is refused and untouched; an empty one and an absent one are taken.
    A registry that is there is replaced, and kept beside the new one."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("mine")
    assert "not empty" in restore(a_backup, tmp_path / "full", status=1).stderr
    assert os.listdir(tmp_path / "full") == ["precious"]
    (tmp_path / "file").write_text("x")
    restore(a_backup, tmp_path / "file", status=1)
    assert (tmp_path / "file").read_text() == "x"
    (tmp_path / "empty").mkdir()
    restore(a_backup, tmp_path / "empty")
    assert "the registry that was there is in" in restore(a_backup, tmp_path / "empty").stdout
    assert len(list((tmp_path / "empty").glob("registry.before-*/CURRENT"))) == 1
    restore(a_backup, tmp_path / "absent" / "deep")
    assert restore(tmp_path / "nothing", tmp_path / "never", status=1).stderr


def test_who_comes_right_behind_a_server_that_ends_waits_for_it(serve_once, broker, site, a_backup, tmp_path):
    """A server is unreachable some moments before its registry is closed; then scripts go on."""
    server = serve_once([listener(site)], broker)
    server.stop()
    state = server.folder / "state"
    commands = {
        ("restore", str(a_backup), "--state-dir", str(state), "--yes"): "verified",
        ("listener", "reset", "mqtts", "--state-dir", str(state), "--yes"): "nothing was chosen at run time",
        ("serve", "--config", server.config): " ready ",
    }
    for command, expected in commands.items():
        said = tmp_path / command[0]
        with open(said, "wb") as out, open(state / "registry" / "LOCK", "r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            process = subprocess.Popen([BINARY, *command], stdout=out, stderr=out)
            time.sleep(0.5)
            assert process.poll() is None, said.read_text()
        try:
            until(f"{command[0]} goes on", lambda: expected in said.read_text())
        finally:
            process.terminate()
            process.wait(30)


def test_backup_takes_only_a_folder_of_its_own(server, work, tmp_path):
    """A folder with something in it is refused; relative paths are the caller's."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("mine")
    assert "not empty" in server.cli("backup", str(tmp_path / "full"), "--yes", status=1).stderr
    assert os.listdir(tmp_path / "full") == ["precious"]
    done = subprocess.run([BINARY, "backup", "relative", "--yes", "--socket", server.socket], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and (tmp_path / "relative" / "manifest.json").exists(), done
    assert ask(server.socket, "POST", "/v1/backup", {"dir": "relative"})[0] == 400
    assert ask(server.socket, "POST", "/v1/backup", {"name": "x"})[0] == 409  # no admin.backup_dir


def test_backup_over_the_network_stays_in_its_folder(work, broker, site, root, tmp_path):
    """A name goes into admin.backup_dir, which is made 0700; any path is refused, and nothing is written elsewhere."""
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o755)
    admin = Admin(work / "net-backup", [listener(site)], broker, {"backup_dir": str(folder)})
    try:
        token = admin.token()
        viewer = admin.token("viewer")
        assert admin.http("POST", "/v1/backup", viewer, {"name": "no"})[0] == 403
        status, _, answer = admin.http("POST", "/v1/backup", token, {"name": "nightly-1"})
        assert status == 201 and answer["path"] == str(folder / "nightly-1"), answer
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert admin.http("POST", "/v1/backup", token, {"name": "nightly-1"})[0] == 409
        for name in ("../x", "a/b", "/tmp/x", "..", ".", ".x", "", "a b", "x\0y", "x" * 101, "ä", 7, None):
            assert admin.http("POST", "/v1/backup", token, {"name": name})[0] == 400, name
        assert admin.http("POST", "/v1/backup", token, {"dir": str(tmp_path / "x")})[0] == 403
        assert admin.http("POST", "/v1/backup", token, {"name": "ok", "dir": str(tmp_path / "x")})[0] == 403
        assert os.listdir(folder) == ["nightly-1"] and sorted(os.listdir(tmp_path)) == ["backups"]
        done = admin.cli("backup", "by-name", "--yes", SALLYPORT_URL=f"http://127.0.0.1:{admin.port}",
                         SALLYPORT_TOKEN=token)
        assert str(folder / "by-name") in done.stdout
        restore(folder / "by-name", tmp_path / "restored")
        assert {each["who"] for each in admin.server.json("audit") if each["action"] == "backup"} == \
            {each["name"] for each in admin.server.json("token", "list") if each["role"] == "operator"}
    finally:
        admin.server.stop()
