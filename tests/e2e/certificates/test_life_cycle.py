"""The life cycle of CA and device certificates, through the command line and the API alike."""

import hashlib
import json
import os
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from harness.authority import Authority, Identity, days, der, new_key, now, pem, with_signature
from harness.device import Device, Ended, admitted, refusal
from harness.server import NO_DEVICES, listener
from harness.unix_http import UnixConnection
from harness.wait import until

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    return running


def api(server, method, target, body=None, raw=None):
    """One request over the admin socket; (status, parsed JSON or text)."""
    connection = UnixConnection(server.socket)
    try:
        connection.request(method, target, raw if raw is not None else None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text, kind = answer.read().decode(), answer.getheader("content-type", "")
        if answer.status >= 400:
            assert kind == "application/problem+json", (answer.status, kind, text)
        return answer.status, json.loads(text) if "json" in kind else text
    finally:
        connection.close()


def known(server, identity, **options):
    """Connects once and goes, so that the device is registered."""
    admitted(server.port, identity, **options).close()
    shown = server.registered(identity)
    until("its session has ended", lambda: server.json("device", "show", identity.id)["sessions"] == 0)
    return shown


def refused(server, *arguments):
    """Exit 1, nothing on stdout; the last line of stderr, which says why."""
    done = server.cli(*arguments, status=1)
    assert done.stdout == ""
    return done.stderr.strip().splitlines()[-1]


def bundle(path, *certificates):
    path.write_text("".join(each if isinstance(each, str) else pem(each.certificate) for each in certificates))
    return str(path)


def spelled(serial):
    """As people copy a serial out of a browser: lower case with colons."""
    return ":".join(serial.lower()[at:at + 2] for at in range(0, len(serial), 2))


# CAs

def test_a_ca_is_found_and_shown_alike_by_command_and_api(server, ca):
    """List, search by serial in any spelling, show with counts, download, filter by status."""
    identities = [ca.issue(f"counted {n}") for n in range(4)]
    for identity in identities:
        known(server, identity)
    server.cli("device", "deactivate", identities[1].id)
    server.cli("device", "revoke", identities[2].id, "--yes")
    counts = {"active": 2, "inactive": 1, "pending": 0, "revoked": 1}
    for reference in (ca.id, ca.id[:8], ca.id[:20].upper(), ca.identity.serial, spelled(ca.identity.serial)):
        shown = server.json("ca", "show", reference)
        status, same = api(server, "GET", "/v1/cas/" + reference)
        assert status == 200 and same == shown
        assert (shown["id"], shown["devices"], shown["status"]) == (ca.id, counts, "active")
    assert shown["serial"] == ca.identity.serial and shown["auto_register"] and not shown["approve"]
    for serial in (ca.identity.serial, ca.identity.serial.lower(), spelled(ca.identity.serial)):
        assert [each["id"] for each in server.json("ca", "list", "--serial", serial)] == [ca.id]
        assert [each["id"] for each in api(server, "GET", "/v1/cas?serial=" + serial)[1]["items"]] == [ca.id]
    assert ca.id in server.cli("ca", "list", "-q").stdout and ca.id[:12] in server.cli("ca", "list").stdout and ca.id in server.cli("ca", "show", ca.id).stdout
    assert ca.id in {each["id"] for each in server.json("ca", "list", "--status", "active")}
    assert ca.id not in {each["id"] for each in server.json("ca", "list", "--status", "inactive")}
    download = server.cli("ca", "download", ca.id[:12]).stdout
    assert x509.load_pem_x509_certificate(download.encode()) == ca.certificate
    assert api(server, "GET", f"/v1/cas/{ca.id}/certificate") == (200, download)


def test_the_devices_of_a_ca_are_listed(server, ca, root):
    """`device list --ca` takes the id, a prefix or the serial and shows those of this CA alone."""
    mine = [ca.issue(f"mine {n}") for n in range(3)]
    for identity in (*mine, root.issue("another's")):
        known(server, identity)
    expected = {each.id for each in mine}
    for reference in (ca.id, ca.id[:10], ca.identity.serial, spelled(ca.identity.serial)):
        assert set(server.devices("--ca", reference)) == expected
        assert {each["id"] for each in api(server, "GET", "/v1/devices?ca=" + reference)[1]["items"]} == expected
    assert set(server.devices("--ca", ca.id, "--cn", "mine [12]*")) <= expected
    assert set(server.devices("--ca", ca.id, "--cn", "mine 1")) == {mine[1].id}
    assert set(server.devices("--ca", ca.id, "--status", "inactive")) == set()
    assert set(server.devices("--ca", ca.id, "--expires-within", "600d")) == expected
    assert set(server.devices("--ca", ca.id, "--expires-within", "30d")) == set()


@pytest.mark.parametrize("through", ["command", "api"])
def test_a_ca_goes_down_and_up(server, ca, through):
    """Deactivate refuses its devices and cuts them, activate lets them in; either twice changes nothing."""
    identity = ca.issue("of the sleeper")

    def set_to(action, status):
        for _ in range(2):
            if through == "command":
                server.cli("ca", action, ca.id, "--yes")
            else:
                answered, shown = api(server, "POST", f"/v1/cas/{ca.id}/{action}")
                assert (answered, shown["status"]) == (200, status)
        assert server.json("ca", "show", ca.id)["status"] == status

    with admitted(server.port, identity) as device:
        server.registered(identity)
        set_to("deactivate", "inactive")
        assert device.end(2) == "close_notify"
    with server.refuses("ca_inactive", serial=identity.serial):
        assert refusal(server.port, identity) == "certificate_unknown"
    shown = server.json("device", "show", identity.id)
    assert (shown["status"], shown["effective_status"]) == ("active", "ca_inactive")
    set_to("activate", "active")
    admitted(server.port, identity).close()
    assert server.json("device", "show", identity.id)["effective_status"] == "active"


def test_the_impact_is_said_before_it_happens(server, ca):
    """Deactivating and deleting a CA say how many live sessions of how many devices they hit."""
    identities = [ca.issue(f"hit {n}") for n in range(2)]
    sessions = [admitted(server.port, identities[0], client_id=f"hit-{n}") for n in range(2)]
    sessions.append(admitted(server.port, identities[1], client_id="hit-2"))
    for identity in identities:
        server.registered(identity)
    shown = until("all are seen", lambda: (found := server.json("ca", "show", ca.id))["sessions"] == 3 and found)
    assert shown["devices_online"] == 2
    assert "3 live sessions of 2 devices" in server.cli("ca", "deactivate", ca.id).stderr
    for session in sessions:
        session.end(2)
    assert "0 live sessions of 0 devices" in server.cli("ca", "delete", ca.id, status=1).stderr


def test_a_ca_in_use_is_not_deleted(server, ca):
    """Refused with counts while active or with active devices; afterwards it works and its devices are gone."""
    identities = [ca.issue(f"in use {n}") for n in range(3)]
    for identity in identities:
        known(server, identity)
    server.cli("device", "deactivate", identities[0].id)

    def is_refused(active, inactive):
        why = refused(server, "ca", "delete", ca.id)
        assert f"{active} active" in why and f"{inactive} inactive" in why and "--cascade" in why, why
        status, problem = api(server, "DELETE", "/v1/cas/" + ca.id)
        assert status == problem["status"] == 409 and f"{active} active" in problem["detail"]
        assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "active": active, "inactive": inactive}

    is_refused(2, 1)
    server.cli("ca", "deactivate", ca.id)
    is_refused(2, 1)
    server.cli("device", "deactivate", identities[1].id)
    is_refused(1, 2)
    server.cli("ca", "activate", ca.id)
    server.cli("device", "deactivate", identities[2].id)
    is_refused(0, 3)
    server.cli("ca", "deactivate", ca.id)
    server.cli("ca", "delete", ca.id)
    assert api(server, "GET", "/v1/cas/" + ca.id)[0] == 404
    assert not {each.id for each in identities} & set(server.devices())
    for identity in identities:
        assert api(server, "GET", "/v1/devices/" + identity.id)[0] == 404
        with server.refuses("ca_unknown", serial=identity.serial):
            assert refusal(server.port, identity) == "unknown_ca"
    assert api(server, "DELETE", "/v1/cas/" + ca.id)[0] == 404
    assert "no CA" in refused(server, "ca", "delete", ca.id)


@pytest.mark.parametrize("through", ["command", "api"])
def test_cascade_takes_everything_but_the_revoked(server, ca, through):
    """An active CA with devices: sessions cut, devices gone from every list; registered again, its devices register
    anew, but those that were revoked are refused as revoked still."""
    online, idle, inactive, revoked = (ca.issue(name) for name in ("online", "idle", "inactive", "revoked"))
    for identity in (idle, inactive, revoked):
        known(server, identity)
    server.cli("device", "deactivate", inactive.id)
    server.cli("device", "revoke", revoked.id, "--yes")
    with admitted(server.port, online) as device:
        server.registered(online)
        if through == "command":
            server.cli("ca", "delete", ca.id, "--cascade", "--yes")
        else:
            assert api(server, "DELETE", f"/v1/cas/{ca.id}?cascade=true")[0] == 200
        assert device.end(2) == "close_notify"
    assert ca.id not in {each["id"] for each in server.json("ca", "list")}
    everybody = server.devices()
    for identity in (online, idle, inactive):
        assert identity.id not in everybody
        assert server.devices("--serial", identity.serial) == {}
        assert api(server, "GET", "/v1/devices/" + identity.id)[0] == 404
    assert everybody[revoked.id]["status"] == "revoked"
    for identity in (online, revoked):
        assert refusal(server.port, identity) in ("unknown_ca", "certificate_revoked")
    assert ca.register(server) == ca.id
    assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "revoked": 1}
    with server.refuses("device_revoked", serial=revoked.serial):
        assert refusal(server.port, revoked) == "certificate_revoked"
    for identity in (online, idle, inactive):
        shown = known(server, identity)
        assert (shown["status"], shown["registered_by"], shown["ca_id"]) == ("active", "auto", ca.id)
    assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "active": 3, "revoked": 1}
    assert set(server.devices("--ca", ca.id)) == {each.id for each in (online, idle, inactive, revoked)}


def test_changing_a_ca_takes_the_full_id_or_its_serial(server, ca):
    """A prefix is not enough for a change; --serial is."""
    for action in ("deactivate", "activate", "delete"):
        assert "64 hex digits" in refused(server, "ca", action, ca.id[:16])
        method, target = ("DELETE", "") if action == "delete" else ("POST", "/" + action)
        assert api(server, method, f"/v1/cas/{ca.id[:16]}{target}")[0] == 400
    assert "64 hex digits" in refused(server, "ca", "set", ca.id[:16], "--approve", "on")
    assert api(server, "PATCH", f"/v1/cas/{ca.id[:16]}", {"approve": True})[0] == 400
    assert server.json("ca", "show", ca.id)["status"] == "active"
    server.cli("ca", "deactivate", "--serial", spelled(ca.identity.serial))
    assert server.json("ca", "show", ca.id)["status"] == "inactive"
    server.cli("ca", "delete", "--serial", ca.identity.serial.lower())
    assert server.json("ca", "list", "--serial", ca.identity.serial) == []


def test_no_auto_register_waits_for_the_operator(server, work):
    """Every device is not_registered until `device register`, then admitted."""
    ca = Authority(work / "by-hand", "By hand")
    ca.register(server, "--no-auto-register")
    assert server.json("ca", "show", ca.id)["auto_register"] is False
    identity = ca.issue("invited")
    for _ in range(2):
        with server.refuses("not_registered", serial=identity.serial):
            assert refusal(server.port, identity) == "certificate_unknown"
    assert server.devices("--ca", ca.id) == {}
    assert server.cli("device", "register", identity.chain_file).stdout.split() == [identity.id, "active"]
    admitted(server.port, identity).close()
    assert server.json("device", "show", identity.id)["registered_by"] == "operator"
    server.cli("device", "delete", identity.id)
    with server.refuses("not_registered", serial=identity.serial):
        refusal(server.port, identity)


def test_how_devices_join_is_changed(server, work):
    """`ca set`: what is said before, what is in force afterwards, by id or serial; registered devices stay as they are."""
    ca = Authority(work / "joining", "Joining")
    ca.register(server)
    known_one, newcomer = ca.issue("known one"), ca.issue("newcomer")
    known(server, known_one)
    done = server.cli("ca", "set", ca.id, "--auto-register", "off")
    assert "devices that are not registered are refused" in done.stderr
    assert done.stdout == f"{ca.id} auto-register off, approve off\n"
    with server.refuses("not_registered", serial=newcomer.serial):
        assert refusal(server.port, newcomer) == "certificate_unknown"
    admitted(server.port, known_one).close()
    server.cli("ca", "set", "--serial", spelled(ca.identity.serial), "--auto-register", "on", "--approve", "on")
    with server.refuses("device_pending", serial=newcomer.serial), Device(server.port, newcomer) as device:
        assert device.connect("newcomer") == 5
    for missing in ((), ("--yes",), ("--approve", "perhaps")):
        assert len(server.cli("ca", "set", ca.id, *missing, status=2).stderr.splitlines()) == 1
    line = server.json("audit")[0]
    assert (line["action"], line["after"]) == ("ca.joining", "auto_register on, approve on"), line


def test_approval_is_the_operators(server, work):
    """With --approve a new device is stored as pending and refused with CONNACK 0x05 (5: 0x87) until activated."""
    ca = Authority(work / "approving", "Approving")
    ca.register(server, "--approve")
    assert server.json("ca", "show", ca.id)["approve"] is True
    for version, code in ((4, 0x05), (5, 0x87)):
        identity = ca.issue(f"newcomer {version}")
        with server.refuses("device_pending", serial=identity.serial):
            with Device(server.port, identity) as device:
                assert device.connect("newcomer", version) == code
                device.end(5)
        assert server.registered(identity)["status"] == "pending"
        assert server.json("device", "show", identity.id)["effective_status"] == "pending"
        with server.refuses("device_pending", serial=identity.serial):
            assert refusal(server.port, identity) == "certificate_unknown"
        assert set(server.devices("--ca", ca.id, "--status", "pending")) == {identity.id}
        server.cli("device", "activate", identity.id)
        admitted(server.port, identity).close()
    known_by_operator = ca.issue("vouched for")
    assert server.cli("device", "register", known_by_operator.chain_file).stdout.split()[1] == "active"
    admitted(server.port, known_by_operator).close()
    assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "active": 3}


def test_max_cas(serve_once, broker, site, work):
    """registry.max_cas: the next one is refused with 409 and the number; a deleted one makes room, the code serves."""
    server = serve_once([listener(site)], broker, registry={"max_cas": 2})
    first, second, third = (Authority(work / f"max-{n}", f"Max {n}") for n in range(3))
    first.register(server)
    second.register(server)
    proof = third.verification(server.cli("ca", "code").stdout.strip())
    why = refused(server, "ca", "register", third.identity.chain_file, proof.chain_file)
    assert "max_cas" in why and "2" in why, why
    status, problem = api(server, "POST", "/v1/cas", {"certificate": pem(third.certificate),
                                                      "verification_certificate": pem(proof.certificate)})
    assert status == 409 and "max_cas" in problem["detail"]
    assert {each["id"] for each in server.json("ca", "list")} == {first.id, second.id}
    server.cli("ca", "deactivate", first.id)
    server.cli("ca", "delete", first.id)
    done = server.cli("ca", "register", third.identity.chain_file, proof.chain_file)
    assert done.stdout == third.id + "\n"


def test_a_ca_is_registered_through_the_api(server, work):
    """Code, registration with its choices, 201 and the CA object; a second time is refused with 409."""
    ca = Authority(work / "through-api", "Through the API")
    status, code = api(server, "POST", "/v1/registration-codes", {"ttl_seconds": 60})
    assert status == 201 and code["expires_at"].endswith("Z")
    proof = ca.verification(code["code"])
    body = {"certificate": pem(ca.certificate), "verification_certificate": pem(proof.certificate),
            "auto_register": False, "approve": True}
    status, shown = api(server, "POST", "/v1/cas", body)
    assert status == 201 and shown["id"] == ca.id
    assert (shown["auto_register"], shown["approve"], shown["devices"]) == (False, True, NO_DEVICES)
    assert api(server, "POST", "/v1/cas", body)[0] == 409
    for broken in ({}, {**body, "certificate": "no PEM"}, {**body, "approve": "yes"}, {**body, "certificate": 7}):
        assert api(server, "POST", "/v1/cas", broken)[0] == 400


# Devices

def test_a_device_is_found_shown_and_downloaded_alike(server, root):
    """By id, prefix, serial in any spelling; every member that is promised; the certificate's own bytes."""
    identity = root.issue("well known")
    known(server, identity)
    for reference in (identity.id, identity.id[:8], identity.id[:9].upper(), identity.serial, spelled(identity.serial)):
        shown = server.json("device", "show", reference)
        assert shown["id"] == identity.id
        assert api(server, "GET", "/v1/devices/" + reference) == (200, shown)
    expected = {"id": identity.id, "serial": identity.serial, "cn": "well known", "ca_id": root.id, "status": "active",
                "effective_status": "active", "registered_by": "auto", "sessions": 0}
    assert {key: shown[key] for key in expected} == expected
    assert {"subject", "not_before", "not_after", "key_type", "registered_at", "last_seen"} <= set(shown)
    assert shown["last_seen"] is not None
    assert shown["not_after"] == identity.certificate.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    download = server.cli("device", "download", identity.id[:16]).stdout
    assert x509.load_pem_x509_certificate(download.encode()) == identity.certificate
    assert api(server, "GET", f"/v1/devices/{identity.id}/certificate") == (200, download)
    for spelling in (identity.serial, identity.serial.lower(), spelled(identity.serial)):
        assert set(server.devices("--serial", spelling)) == {identity.id}
    for nobody in ("0" * 64, "deadbeef", "AB:CD:EF:01:23"):
        assert api(server, "GET", "/v1/devices/" + nobody)[0] == 404
        refused(server, "device", "show", nobody)
    assert api(server, "GET", "/v1/devices/zebra")[0] == 400
    assert api(server, "GET", "/v1/devices?serial=zebra")[0] == 400
    assert api(server, "GET", "/v1/devices?status=asleep")[0] == 400


def test_revoking_is_terminal(server, ca):
    """Neither command nor API brings a revoked device back, nor forgets it before its notAfter."""
    identity = ca.issue("for ever")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        done = server.cli("device", "revoke", identity.id, "--yes")
        assert done.stdout.split() == [identity.id, "revoked"] and "final" in done.stderr
        assert device.end(2) == "close_notify"
    for action in ("activate", "deactivate"):
        status, problem = api(server, "POST", f"/v1/devices/{identity.id}/{action}")
        assert status == 409 and "revoked" in problem["detail"]
        assert "revoked" in refused(server, "device", action, identity.id)
    status, problem = api(server, "DELETE", "/v1/devices/" + identity.id)
    assert status == 409 and "revoked" in problem["detail"]
    refused(server, "device", "delete", identity.id)
    assert api(server, "POST", f"/v1/devices/{identity.id}/revoke")[0] == 200  # what is so already is no error
    with server.refuses("device_revoked", serial=identity.serial):
        assert refusal(server.port, identity) == "certificate_revoked"
    refused(server, "device", "register", identity.chain_file)
    assert server.json("device", "show", identity.id)["status"] == "revoked"


def test_a_revoked_device_can_be_forgotten_after_its_end(server, ca):
    """Once notAfter has passed the record may go: its dates refuse it now."""
    identity = ca.issue("short", not_after=now() + days(4 / 86400))
    known(server, identity)
    server.cli("device", "revoke", identity.id, "--yes")
    assert api(server, "DELETE", "/v1/devices/" + identity.id)[0] == 409
    until("its certificate has ended and it is deleted",
          lambda: api(server, "DELETE", "/v1/devices/" + identity.id)[0] == 200, 10, 0.3)
    assert identity.id not in server.devices("--ca", ca.id)
    with server.refuses("expired", serial=identity.serial):
        assert refusal(server.port, identity) == "certificate_expired"


@pytest.mark.parametrize("through", ["command", "serial", "api"])
def test_a_deleted_device_is_forgotten(server, ca, through):
    """Its live session is cut; its next connection registers it anew, whatever its status was."""
    identity = ca.issue("forgettable")
    with admitted(server.port, identity) as device:
        first = server.registered(identity)
        if through == "command":
            assert server.cli("device", "delete", identity.id).stdout.split() == [identity.id, "deleted"]
        elif through == "serial":
            server.cli("device", "delete", "--serial", spelled(identity.serial), "--ca", ca.id)
        else:
            assert api(server, "DELETE", "/v1/devices/" + identity.id)[0] == 200
        assert device.end(2) == "close_notify"
    assert api(server, "GET", "/v1/devices/" + identity.id)[0] == 404
    assert server.devices("--ca", ca.id) == {}
    assert server.json("ca", "show", ca.id)["devices"] == NO_DEVICES
    again = known(server, identity)
    assert (again["status"], again["registered_by"], again["id"]) == ("active", "auto", first["id"])
    server.cli("device", "deactivate", identity.id)
    server.cli("device", "delete", identity.id)
    assert known(server, identity)["status"] == "active"


def test_changing_a_device_takes_the_full_id_or_serial_and_ca(server, ca):
    """A prefix, or a serial without its CA, changes nothing."""
    identity = ca.issue("careful")
    known(server, identity)
    for action in ("activate", "deactivate", "revoke", "delete"):
        assert "64 hex digits" in refused(server, "device", action, identity.id[:20])
        server.cli("device", action, "--serial", identity.serial, status=2)
        method, target = ("DELETE", "") if action == "delete" else ("POST", "/" + action)
        assert api(server, method, f"/v1/devices/{identity.id[:20]}{target}")[0] == 400
        assert api(server, method, f"/v1/devices/{'0' * 64}{target}")[0] == 404
        assert "nothing" in refused(server, "device", action, "--serial", "AB12", "--ca", ca.id)
    assert server.json("device", "show", identity.id)["status"] == "active"
    server.cli("device", "deactivate", "--serial", spelled(identity.serial), "--ca", ca.id)
    assert server.json("device", "show", identity.id)["status"] == "inactive"
    server.cli("device", "activate", "--serial", identity.serial.lower(), "--ca", ca.identity.serial)
    assert server.json("device", "show", identity.id)["status"] == "active"


def test_one_serial_of_two_cas(server, work):
    """A search finds both, reading by it names both, changing by it needs the CA and hits that one alone."""
    left, right = (Authority(work / f"serial-{side}", f"Serial {side}") for side in ("left", "right"))
    left.register(server)
    right.register(server)
    serial = x509.random_serial_number() >> 8 | 1 << 140
    mine, yours = left.issue("mine", serial=serial), right.issue("yours", serial=serial)
    known(server, mine)
    known(server, yours)
    assert set(server.devices("--serial", mine.serial)) == {mine.id, yours.id}
    why = refused(server, "device", "show", mine.serial)
    assert mine.id in why and yours.id in why
    status, problem = api(server, "GET", "/v1/devices/" + mine.serial)
    assert status == 409 and mine.id in problem["detail"] and yours.id in problem["detail"]
    server.cli("device", "deactivate", "--serial", mine.serial, "--ca", right.id)
    assert [server.json("device", "show", each.id)["status"] for each in (mine, yours)] == ["active", "inactive"]
    with server.refuses("device_inactive", serial=yours.serial, fingerprint=yours.id):
        refusal(server.port, yours)
    admitted(server.port, mine).close()


def twins(ca, folder, digits=8):
    """Two certificates of one CA whose SHA-256 begin with the same hex digits.

    A signature per try would take minutes; with one nonce for all, a try costs two multiplications. (It gives the
    CA's key away, which is of no matter here.)
    """
    key = new_key()
    template = ca.issue("twin", key=key, serial=0x5A << 152 | 1)
    tbs = template.certificate.tbs_certificate_bytes
    marker = (0x5A << 152 | 1).to_bytes(20, "big")
    at = tbs.index(marker)
    secret = ca.key.private_numbers().private_value
    nonce = int.from_bytes(os.urandom(31), "big")
    r = ec.derive_private_key(nonce, ec.SECP256R1()).public_key().public_numbers().x % _P256_ORDER
    inverse, product = pow(nonce, -1, _P256_ORDER), r * secret % _P256_ORDER
    first_of, head, tail = {}, tbs[:at + 1], tbs[at + 20:]
    sample = with_signature(template.certificate, template.certificate.signature)
    assert der(sample) == der(template.certificate)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")

    def made(number):
        body = head + number.to_bytes(19, "big") + tail
        s = inverse * (int.from_bytes(hashlib.sha256(body).digest(), "big") + product) % _P256_ORDER
        signature = encode_dss_signature(r, s)
        bits = b"\x03" + bytes([len(signature) + 1]) + b"\0" + signature
        inner = body + algorithm + bits
        assert 256 <= len(inner) < 65536
        return b"\x30\x82" + len(inner).to_bytes(2, "big") + inner

    for number in range(1, 5_000_000):
        prefix = hashlib.sha256(made(number)).hexdigest()[:digits]
        other = first_of.setdefault(prefix, number)
        if other != number:
            return [Identity(folder, x509.load_der_x509_certificate(made(each)), key) for each in (other, number)]
    raise AssertionError("no twins")


def test_an_ambiguous_prefix_is_an_error_that_lists_the_matches(server, ca):
    """Two devices whose ids share 8 digits: the shared part names none, one digit more names one."""
    one, other = twins(ca, ca.folder)
    assert one.id != other.id and one.id[:8] == other.id[:8]
    for identity in (one, other):
        server.cli("device", "register", identity.chain_file)
    why = refused(server, "device", "show", one.id[:8])
    assert one.id in why and other.id in why
    for command in (("device", "download"), ("session", "list", "--device")):
        assert one.id in refused(server, *command, one.id[:8])
    status, problem = api(server, "GET", "/v1/devices/" + one.id[:8])
    assert status == 409 and one.id in problem["detail"] and other.id in problem["detail"]
    same = len(os.path.commonprefix([one.id, other.id]))
    for identity in (one, other):
        assert server.json("device", "show", identity.id[:same + 1])["id"] == identity.id
    assert "8 hex" in refused(server, "device", "show", "xyz")


def test_a_prefix_that_is_also_a_serial_is_ambiguous(server, ca):
    """One device's id begins with another's serial: both are named."""
    by_id = ca.issue("by id")
    while int(by_id.id[:8], 16) < 0x10000000:
        by_id = ca.issue("by id")
    by_serial = ca.issue("by serial", serial=int(by_id.id[:8], 16))
    for identity in (by_id, by_serial):
        server.cli("device", "register", identity.chain_file)
    why = refused(server, "device", "show", by_id.id[:8])
    assert by_id.id in why and by_serial.id in why


# Registering before they come

def test_register_one_certificate(server, ca, tmp_path):
    """PEM or DER; shown as registered by the operator, never seen; a second time is no error; then it is known."""
    identity, second = ca.issue("early"), ca.issue("early, in DER")
    assert server.cli("device", "register", identity.chain_file).stdout.split() == [identity.id, "active"]
    shown = server.json("device", "show", identity.id)
    assert (shown["registered_by"], shown["last_seen"], shown["ca_id"]) == ("operator", None, ca.id)
    server.cli("device", "register", identity.chain_file)
    (tmp_path / "early.der").write_bytes(der(second.certificate))
    assert server.cli("device", "register", str(tmp_path / "early.der")).stdout.split()[0] == second.id
    third = ca.issue("early, through the API")
    status, answer = api(server, "POST", "/v1/devices", {"certificate": pem(third.certificate)})
    assert (status, answer["id"], answer["registered_by"]) == (201, third.id, "operator")
    assert api(server, "POST", "/v1/devices", {"certificate": pem(third.certificate)})[0] == 200
    before = server.metric("handshakes_total", kind="known")
    admitted(server.port, identity).close()
    assert server.metric("handshakes_total", kind="known") == before + 1
    until("it was seen", lambda: server.json("device", "show", identity.id)["last_seen"])
    assert server.json("device", "show", identity.id)["registered_by"] == "operator"


def test_register_refuses_what_a_connection_would_be_refused_for(server, ca, work):
    """Verified like a connection: the reason is the answer's type, and nothing is stored."""
    stranger = Authority(work / "register-stranger", "Stranger")
    cases = {"ca_unknown": stranger.issue("of a stranger"),
             "expired": ca.issue("past", not_before=now() - days(9), not_after=now() - days(1)),
             "not_yet_valid": ca.issue("future", not_before=now() + days(2)),
             "bad_signature": ca.issue("forged", signer=new_key()),
             "bad_purpose": ca.issue("server only", eku=[x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])}
    for reason, identity in cases.items():
        status, problem = api(server, "POST", "/v1/devices", {"certificate": pem(identity.certificate)})
        assert status == 409 and reason in problem["type"], problem
        assert reason in refused(server, "device", "register", identity.chain_file)
        assert api(server, "GET", "/v1/devices/" + identity.id)[0] == 404
    first = ca.issue("first", serial=0x1234567890ABCDEF00 + ca.certificate.serial_number % 65536)
    second = ca.issue("second", serial=first.certificate.serial_number)
    server.cli("device", "register", first.chain_file)
    assert "serial_conflict" in refused(server, "device", "register", second.chain_file)


def test_register_a_leaf_with_its_intermediate_behind_it(server, ca):
    """An unregistered intermediate comes in the same file; the nearest registered CA owns the device."""
    middle = Authority(ca.folder / "middle", "Middle", parent=ca)
    identity = middle.issue("far leaf", sent=[middle.certificate])
    alone = middle.issue("far leaf, alone")
    assert server.cli("device", "register", identity.chain_file).stdout.split() == [identity.id, "active"]
    assert server.json("device", "show", identity.id)["ca_id"] == ca.id
    assert list(server.devices("--ca", ca.id)) == [identity.id]  # the intermediate is none
    before = server.metric("handshakes_total", kind="known")
    admitted(server.port, identity).close()
    assert server.metric("handshakes_total", kind="known") == before + 1
    assert "ca_unknown" in refused(server, "device", "register", alone.chain_file)
    status, answer = api(server, "POST", "/v1/devices", {"certificate": pem(alone.certificate),
                                                         "intermediates": pem(middle.certificate)})
    assert (status, answer["ca_id"]) == (201, ca.id)
    status, answer = api(server, "POST", "/v1/devices", {"certificate": pem(middle.issue("listed").certificate),
                                                         "intermediates": [pem(middle.certificate)]})
    assert (status, answer["ca_id"]) == (201, ca.id)


@pytest.fixture
def mixed(ca, work, tmp_path):
    """A bundle of good and bad entries: (file, the good ones, {line: reason})."""
    stranger = Authority(work / f"bundle-{ca.id[:8]}", "Stranger of the bundle")
    good = [ca.issue(f"bundled {n}") for n in range(4)]
    lines = pem(ca.issue("to be broken").certificate).splitlines(keepends=True)
    broken = "".join([*lines[:3], "!!!! this is no base64 !!!!\n", *lines[4:]])
    entries = [(good[0], None), (broken, "unreadable"), (good[1], None), (stranger.issue("unknown"), "ca_unknown"),
               (ca.issue("past", not_before=now() - days(9), not_after=now() - days(1)), "expired"), (good[2], None),
               (Authority(ca.folder / "sub", "Sub", parent=ca).identity, "not_a_device"), (good[3], None)]
    text, expected = "# a comment, as `openssl s_client` and people leave them\n", {}
    for entry, reason in entries:
        if reason:
            expected[text.count("\n") + 1] = reason
        text += entry if isinstance(entry, str) else pem(entry.certificate)
    path = tmp_path / "bundle.pem"
    path.write_text(text)
    return str(path), good, expected


def test_register_a_bundle_with_bad_entries(server, ca, mixed):
    """Each bad one is reported as FILE:LINE: reason on stderr, exit 1; the rest is kept."""
    path, good, expected = mixed
    done = server.cli("device", "register", path, status=1)
    said = [line for line in done.stderr.splitlines() if path in line]
    assert len(said) == len(expected), done.stderr
    for (line, reason), text in zip(expected.items(), said):
        assert f"{path}:{line}: {reason}" in text, (text, expected)
    assert "4 registered" in done.stdout and "4 failed" in done.stdout
    assert set(server.devices("--ca", ca.id)) == {each.id for each in good}
    assert {each["registered_by"] for each in server.devices("--ca", ca.id).values()} == {"operator"}
    again = server.cli("device", "register", path, status=1)
    assert "0 registered" in again.stdout and "4 registered before" in again.stdout
    admitted(server.port, good[3]).close()


def test_import_through_the_api_reports_the_same(server, ca, mixed):
    """POST /v1/devices/import takes the PEM stream and answers counts and failures by line."""
    path, good, expected = mixed
    status, answer = api(server, "POST", "/v1/devices/import", raw=open(path).read())
    assert status == 200
    assert (answer["registered"], answer["already"], answer["failed"], answer["complete"]) == (4, 0, 4, True)
    assert {each["line"]: each["reason"] for each in answer["failures"]} == expected
    assert answer["failures_omitted"] == 0
    assert set(server.devices("--ca", ca.id)) == {each.id for each in good}


def test_lines_are_counted_in_each_file(server, ca, tmp_path, work):
    """Several files are one stream, but a failure names its own file and the line in it."""
    stranger = Authority(work / "many-files", "Stranger of many files")
    good = [ca.issue(f"filed {n}") for n in range(3)]
    one = bundle(tmp_path / "one.pem", good[0], good[1])
    two = bundle(tmp_path / "two.pem", "# a comment\n", good[2], stranger.issue("unknown"))
    line = open(two).read().split(pem(good[2].certificate))[0].count("\n") + pem(good[2].certificate).count("\n") + 1
    done = server.cli("device", "register", one, two, status=1)
    assert f"{two}:{line}: ca_unknown" in done.stderr and one not in done.stderr
    assert set(server.devices("--ca", ca.id)) == {each.id for each in good}


def test_a_private_key_in_the_stream_is_refused_as_a_whole(server, ca, tmp_path):
    """Whoever sends a key hears of it, exit 1 and HTTP 400; the key is repeated nowhere."""
    before, after = [ca.issue(f"before {n}") for n in range(2)], [ca.issue(f"after {n}") for n in range(2)]
    secret = after[0].key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                        serialization.NoEncryption()).decode()
    path = bundle(tmp_path / "with-key.pem", *before, secret, *after)
    assert "private key" in refused(server, "device", "register", path)
    assert server.devices("--ca", ca.id) == {}
    other = bundle(tmp_path / "clean.pem", after[1])
    assert "private key" in refused(server, "device", "register", path, other)
    assert not {each.id for each in after} & set(server.devices("--ca", ca.id))
    status, problem = api(server, "POST", "/v1/devices/import", raw=open(path).read())
    assert status == 400 and "private-key" in problem["type"] and "private key" in problem["detail"]
    assert not {each.id for each in after} & set(server.devices("--ca", ca.id))
    status, problem = api(server, "POST", "/v1/devices", {"certificate": open(path).read()})
    assert status == 400 and "private key" in problem["detail"]
    line_of_key = secret.splitlines()[1]
    assert line_of_key not in server.log() and line_of_key not in json.dumps(problem)


def test_nothing_of_a_stream_with_a_private_key_is_kept(server, ca, tmp_path):
    """Refused as a whole: certificates in front of the key are not registered either."""
    in_front = ca.issue("in front of the key")
    secret = in_front.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                        serialization.NoEncryption()).decode()
    status, _ = api(server, "POST", "/v1/devices/import", raw=pem(in_front.certificate) + secret)
    assert status == 400
    assert server.devices("--ca", ca.id) == {}


def test_a_bundle_of_nothing(server, tmp_path):
    """Empty files and rubbish are failures, not successes."""
    for text in ("", "rubbish\n"):
        (tmp_path / "nothing.pem").write_text(text)
        server.cli("device", "register", str(tmp_path / "nothing.pem"), status=1)
    server.cli("device", "register", str(tmp_path / "absent.pem"), status=1)


def test_an_import_that_breaks_off_keeps_what_came(server, ca):
    """The connection ends in the middle of the stream: whole certificates before it are registered, half ones not."""
    whole, half = ca.issue("whole"), ca.issue("half")
    text = pem(whole.certificate) + pem(half.certificate)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(server.socket)
        head = f"POST /v1/devices/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
        raw.sendall((head + text[:-200]).encode())
    server.registered(whole)
    assert list(server.devices("--ca", ca.id)) == [whole.id]


def test_devices_come_in_pages(server, ca, tmp_path):
    """`limit` and `page_token`: pages add up to everybody, none twice; wrong values are refused with 400."""
    identities = [ca.issue(f"paged {n}") for n in range(23)]
    server.cli("device", "register", bundle(tmp_path / "pages.pem", *identities))
    for query in ("", "ca=" + ca.id, "status=active&ca=" + ca.id, "cn=paged*"):
        seen, token, pages = [], "", 0
        while True:
            status, page = api(server, "GET", f"/v1/devices?{query}&limit=5&page_token={token}")
            assert status == 200 and len(page["items"]) <= 5
            seen += [each["id"] for each in page["items"]]
            pages, token = pages + 1, page["next_page_token"]
            if not token:
                break
            assert pages < 500
        assert len(seen) == len(set(seen)) and pages >= 5
        assert {each.id for each in identities} <= set(seen)
        assert query == "" or {each.id for each in identities} == set(seen)
    assert len(api(server, "GET", f"/v1/devices?ca={ca.id}&limit=1000")[1]["items"]) == 23
    for wrong in ("limit=0", "limit=1001", "limit=-1", "limit=five", "limit=5x", "page_token=zebra"):
        assert api(server, "GET", "/v1/devices?" + wrong)[0] == 400, wrong


def test_a_deletion_between_two_pages_loses_nobody_else(server, ca, tmp_path):
    """The page token outlives the device it points at."""
    identities = [ca.issue(f"turning {n}") for n in range(12)]
    server.cli("device", "register", bundle(tmp_path / "turning.pem", *identities))
    seen, token = [], ""
    while True:
        page = api(server, "GET", f"/v1/devices?ca={ca.id}&limit=3&page_token={token}")[1]
        seen += [each["id"] for each in page["items"]]
        token = page["next_page_token"]
        if not token:
            break
        if page["items"]:
            assert api(server, "DELETE", "/v1/devices/" + page["items"][-1]["id"])[0] == 200
    assert sorted(seen) == sorted(each.id for each in identities)


def test_a_serial_taken_by_other_bytes_is_a_conflict(server, ca):
    """Of two certificates with one serial the first registered stays; the other is refused."""
    first = ca.issue("first come", serial=0x77 << 64 | ca.certificate.serial_number % 2**60)
    second = ca.issue("second come", serial=first.certificate.serial_number)
    known(server, first)
    with server.refuses("serial_conflict", serial=second.serial):
        with pytest.raises((Ended, AssertionError)):
            admitted(server.port, second).ping()
    admitted(server.port, first).close()
