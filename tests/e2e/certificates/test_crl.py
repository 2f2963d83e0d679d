"""CRLs: an import makes what they name revoked (or held), for devices seen and never seen, and for ever."""

import json
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.authority import Authority, days, new_key, now
from harness.device import admitted, refusal
from harness.lists import HOLD, crl, entry, file_of, held, imported, is_refused, known, post
from harness.server import NO_DEVICES, listener
from harness.wait import until


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    return running


# What is taken

@pytest.mark.parametrize("form", ["der", "pem"])
def test_der_and_pem_are_taken(server, ca, tmp_path, form):
    """`crl import` says first what it will do, then what it did; the audit log knows it."""
    seen, unseen, bystander = ca.issue("seen"), ca.issue("unseen"), ca.issue("bystander")
    known(server, seen, bystander)
    done = server.cli("crl", "import", file_of(crl(ca, seen, unseen), tmp_path, form), "--yes")
    assert "2 entries" in done.stderr and ca.id in done.stdout
    assert server.json("device", "show", seen.id)["status"] == "revoked"
    is_refused(server, seen)
    is_refused(server, unseen)
    admitted(server.port, bystander).close()
    assert any(each["action"] == "crl.import" and each["target"] == ca.id for each in server.json("audit"))
    again = server.cli("crl", "import", file_of(crl(ca, seen, unseen), tmp_path, form), "--yes", "-o", "json")
    assert '"unchanged": 2' in again.stdout


def test_several_crls_in_one_file_are_all_taken_or_none(server, work, tmp_path):
    """Of two lists in one PEM each is put in force; where one of them cannot be taken, none is, and it is named."""
    left, right, stranger = (Authority(work / f"{side}-of-several", f"{side} of several")
                             for side in ("left", "right", "stranger"))
    left.register(server)
    right.register(server)
    mine, yours = left.issue("mine"), right.issue("yours")
    known(server, mine, yours)

    def file(*lists, more=""):
        path = tmp_path / f"several-{time.monotonic_ns()}.pem"
        pems = [each.public_bytes(serialization.Encoding.PEM).decode() for each in lists]
        path.write_text("# a comment between\n".join(pems) + more)
        return str(path)

    refused = server.cli("crl", "import", file(crl(left, mine), crl(stranger, 7)), "--yes", status=1)
    assert "CRL 2 of 2, so none was taken" in refused.stderr
    refused = server.cli("crl", "import", file(crl(left, mine), more=open(left.identity.chain_file).read()), "--yes",
                         status=1)
    assert "object 2 of 2 in it is no CRL" in refused.stderr
    refused = server.cli("crl", "import", file(crl(left, mine), more="-----BEGIN X509 CRL-----\nMIIB\n"), "--yes", status=1)
    assert "damaged or cut off" in refused.stderr
    for identity in (mine, yours):
        assert server.json("device", "show", identity.id)["status"] == "active"
    done = json.loads(server.cli("crl", "import", file(crl(left, mine), crl(right, yours, 9)), "--yes", "-o", "json").stdout)
    assert (done["entries"], done["revoked"], done["not_seen_yet"], done["ca_id"]) == (3, 2, 1, None)
    assert [(each["ca_id"], each["revoked"]) for each in done["crls"]] == [(left.id, 1), (right.id, 1)]
    is_refused(server, mine)
    is_refused(server, yours)


def test_a_pem_body_is_taken_by_the_api(server, ca):
    """The same bytes whichever way they come; the answer counts what became of the entries."""
    seen = ca.issue("seen")
    known(server, seen)
    body = crl(ca, seen, 0xABCDEF, entry(0xFEDCBA, HOLD)).public_bytes(serialization.Encoding.PEM)
    assert imported(server, body) == {"ca_id": ca.id, "entries": 3, "revoked": 1, "held": 0, "not_seen_yet": 2,
                                      "cas_deactivated": 0, "unchanged": 0, "under_other_keys": []}
    assert imported(server, crl(ca, number=2), entries=0, revoked=0)["ca_id"] == ca.id  # an empty one is good


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_seen_serial_is_revoked_and_cut(server, ca, tls):
    """Its live sessions end at once, the certificate is refused from then on, another device's session goes on."""
    identity, bystander = ca.issue("seen"), ca.issue("bystander")
    with admitted(server.port, identity, tls) as device, admitted(server.port, bystander, tls) as witness:
        server.registered(identity)
        server.registered(bystander)
        imported(server, crl(ca, identity), revoked=1, not_seen_yet=0)
        assert device.end(1) == "close_notify"
        witness.ping()
    is_refused(server, identity)
    assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "active": 1, "revoked": 1}


def test_a_never_seen_serial_is_refused_at_its_first_connection(server, ca):
    """A tombstone: shown as revoked, registered by the CRL, without what nobody knows; terminal like any other."""
    identity = ca.issue("never seen")
    imported(server, crl(ca, identity), revoked=0, not_seen_yet=1)
    is_refused(server, identity)
    shown, = server.devices("--serial", identity.serial).values()
    assert (shown["status"], shown["registered_by"], shown["ca_id"]) == ("revoked", "crl", ca.id)
    assert (shown["serial"], shown["not_after"], shown["last_seen"]) == (identity.serial, None, None)
    assert server.json("device", "show", identity.serial)["id"] == shown["id"]
    for action in ("activate", "deactivate", "delete"):
        server.cli("device", action, "--serial", identity.serial, "--ca", ca.id, "--yes", status=1)
    server.cli("device", "download", shown["id"], status=1)
    server.cli("device", "register", identity.chain_file, status=1)
    is_refused(server, identity)
    assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "revoked": 1}


def test_a_tombstone_is_of_the_issuing_key_alone(server, work):
    """Another CA of the same name, with another key: its device of that serial is admitted."""
    left, right = (Authority(work / f"crl-{side}", "One name for two CRLs") for side in ("left", "right"))
    left.register(server)
    right.register(server)
    serial = x509.random_serial_number()
    imported(server, crl(left, serial), not_seen_yet=1)
    known(server, right.issue("innocent", serial=serial))
    is_refused(server, left.issue("guilty", serial=serial))


def test_a_renewed_ca_does_not_lift_it(server, ca):
    """The same key in a new CA certificate: the serial stays revoked, and the old CA's CRL counts for both."""
    identity, later = ca.issue("revoked before"), ca.issue("revoked after")
    imported(server, crl(ca, identity))
    renewed = Authority(ca.folder / "renewed", ca.name, key=ca.key)
    renewed.register(server)
    known(server, later)
    imported(server, crl(renewed, identity, later, number=2))
    for each in (identity, later):
        is_refused(server, each)
    assert post(server, crl(ca, number=1))[0] == 409


def test_a_hold_is_not_final(server, ca):
    """certificateHold makes a device inactive, its session is cut; an operator may activate it again."""
    identity = ca.issue("held")
    with admitted(server.port, identity) as device:
        server.registered(identity)
        imported(server, crl(ca, held(identity)), held=1, revoked=0)
        assert device.end(1) == "close_notify"
    assert server.json("device", "show", identity.id)["status"] == "inactive"
    is_refused(server, identity, "device_inactive")
    server.cli("device", "activate", identity.id)
    admitted(server.port, identity).close()


def test_a_never_seen_serial_on_hold(server, ca):
    """Refused with device_inactive; deleting the entry lifts it, revoking it by a later CRL makes it final."""
    lifted, doomed = ca.issue("lifted"), ca.issue("doomed")
    imported(server, crl(ca, held(lifted), held(doomed)), not_seen_yet=2)
    for identity in (lifted, doomed):
        is_refused(server, identity, "device_inactive")
        shown, = server.devices("--serial", identity.serial).values()
        assert (shown["status"], shown["registered_by"]) == ("inactive", "crl")
    server.cli("device", "activate", "--serial", lifted.serial, "--ca", ca.id, status=1)
    server.cli("device", "delete", "--serial", lifted.serial, "--ca", ca.id)
    known(server, lifted)
    assert server.json("device", "show", lifted.id)["registered_by"] == "auto"
    imported(server, crl(ca, doomed, number=2), revoked=1)
    is_refused(server, doomed)
    assert server.json("ca", "show", ca.id)["devices"] == {**NO_DEVICES, "active": 1, "revoked": 1}


def test_a_hold_does_not_weaken_a_revocation(server, ca):
    """Revoked is terminal: a later list that only holds the serial changes nothing."""
    seen, unseen = ca.issue("seen"), ca.issue("unseen")
    known(server, seen)
    imported(server, crl(ca, seen, unseen))
    imported(server, crl(ca, held(seen), held(unseen), number=2), held=0, unchanged=2)
    imported(server, crl(ca, number=3), entries=0)  # and a list without them neither
    for identity in (seen, unseen):
        is_refused(server, identity)


def test_serials_of_every_length(server, ca):
    """One byte, a first bit that DER pads, and the 20 bytes RFC 5280 allows."""
    serials = [1, 0x7F, 0x80, 0xFF, 0x0100, 1 << 63, (1 << 159) - 1]
    identities = [ca.issue(f"serial {n}", serial=serial) for n, serial in enumerate(serials)]
    imported(server, crl(ca, *identities[::2]), not_seen_yet=4)
    for at, identity in enumerate(identities):
        if at % 2 == 0:
            is_refused(server, identity)
        else:
            admitted(server.port, identity).close()


# What is refused

def test_the_signature_must_fit_a_registered_ca(server, ca, tmp_path):
    """Another key under the CA's name, a touched byte: refused; the device is admitted still."""
    identity = ca.issue("defamed")
    known(server, identity)
    status, problem = post(server, crl(ca, identity, signer=new_key()))
    assert status == 400 and "signature" in problem["detail"]
    body = bytearray(crl(ca, identity).public_bytes(serialization.Encoding.DER))
    body[body.index(identity.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0"))] ^= 1
    assert post(server, bytes(body))[0] == 400
    done = server.cli("crl", "import", file_of(crl(ca, identity, signer=new_key()), tmp_path), "--yes", status=1)
    assert "signature" in done.stderr and done.stdout == ""
    admitted(server.port, identity).close()


def test_an_unknown_issuer_is_refused(server, work, tmp_path):
    """Nobody registered a CA of that name: 404 and the remedy."""
    stranger = Authority(work / "crl-stranger", "Stranger with a CRL")
    status, problem = post(server, crl(stranger, 5))
    assert status == 404 and "register" in problem["detail"]
    assert "register" in server.cli("crl", "import", file_of(crl(stranger, 5), tmp_path), "--yes", status=1).stderr


def test_an_older_list_is_a_replay(server, ca, tmp_path):
    """A lower number is refused with 409, the same or a higher one is not; numbers are numbers, not texts."""
    identity = ca.issue("revoked by the old one")
    for number in (9, 10, 255, 256, 1 << 64):
        imported(server, crl(ca, number=number))
    imported(server, crl(ca, number=1 << 64))
    for number in (1, 255, (1 << 64) - 1):
        status, problem = post(server, crl(ca, identity, number=number))
        assert status == 409 and "newer" in problem["detail"]
    server.cli("crl", "import", file_of(crl(ca, identity, number=7), tmp_path), "--yes", status=1)
    known(server, identity)


def test_without_numbers_the_date_decides(server, ca):
    """Lists of v1 have none: an older thisUpdate is a replay, one dated in the future is refused."""
    imported(server, crl(ca, number=None, at=now() - days(2)))
    imported(server, crl(ca, number=None, at=now() - days(1)))
    assert post(server, crl(ca, number=None, at=now() - days(2)))[0] == 409
    assert post(server, crl(ca, number=None, at=now() + days(1)))[0] == 400
    imported(server, crl(ca, number=None))


UNFIT = {
    "delta": [x509.DeltaCRLIndicator(1)],
    "indirect": [x509.IssuingDistributionPoint(None, None, False, False, None, True, False)],
    "some reasons": [x509.IssuingDistributionPoint(
        None, None, False, False, frozenset([x509.ReasonFlags.key_compromise]), False, False)],
    "unknown critical": [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")],
}


@pytest.mark.parametrize("kind", UNFIT)
def test_lists_that_say_less_or_more_than_they_seem_are_refused(server, ca, kind, tmp_path):
    """Delta, indirect, for some reasons only, unknown critical extension: 400, and nothing of it is in force."""
    identity = ca.issue("named by it")
    made = crl(ca, identity, extensions=UNFIT[kind])
    assert post(server, made)[0] == 400
    server.cli("crl", "import", file_of(made, tmp_path), "--yes", status=1)
    known(server, identity)
    imported(server, crl(ca, number=1), entries=0)  # nor did it count as the last one


def test_entries_that_are_not_understood(server, ca):
    """A certificateIssuer or an unknown critical extension in one entry refuses the whole list."""
    identity = ca.issue("named beside it")
    issuer = x509.CertificateIssuer([x509.DirectoryName(ca.name)])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), b"\x05\x00")
    for strange in (issuer, unknown):
        status, _ = post(server, crl(ca, identity, entry(5, None, strange)))
        assert status == 400
    known(server, identity)


@pytest.mark.parametrize("body", [b"", b"rubbish", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
                                  b"\x30\x84\xff\xff\xff\xff", "certificate", "trailing"],
                         ids=["empty", "rubbish", "bad pem", "bad der", "certificate", "trailing"])
def test_what_is_no_crl(server, ca, body):
    """400 with a sentence, and the server goes on."""
    if body == "certificate":
        body = ca.certificate.public_bytes(serialization.Encoding.DER)
    elif body == "trailing":
        body = crl(ca).public_bytes(serialization.Encoding.DER) + b"\0"
    status, problem = post(server, body)
    assert status == 400 and problem["detail"]


def test_critical_extensions_that_are_understood(server, ca):
    """An issuing distribution point that only narrows to user certificates is no obstacle."""
    identity = ca.issue("user certificate")
    point = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    imported(server, crl(ca, identity, extensions=[point]))
    is_refused(server, identity)


# CAs that a list names

def test_a_revoked_intermediate_ends_connections_through_it(server, ca):
    """Client-sent, never registered: sessions of known devices below it are cut, and no first one comes through."""
    middle, other = (Authority(ca.folder / name, name, parent=ca) for name in ("middle", "other"))
    online, idle, first = (middle.issue(name, sent=[middle.certificate]) for name in ("online", "idle", "first"))
    beside, direct = other.issue("beside", sent=[other.certificate]), ca.issue("direct")
    known(server, idle)
    with admitted(server.port, online) as cut, admitted(server.port, beside) as on, admitted(server.port, direct) as up:
        for identity in (online, beside, direct):
            server.registered(identity)
        imported(server, crl(ca, middle))
        assert cut.end(1) == "close_notify"
        on.ping()
        up.ping()
    for identity in (online, idle, first):
        with server.refuses("ca_inactive", serial=identity.serial):
            assert refusal(server.port, identity) == "certificate_unknown"
    for identity in (online, first):
        not_told_to_activate(server, identity)
    shown = server.json("device", "show", idle.id)
    assert shown["status"] == "active" and shown["effective_status"] == "ca_inactive", "nothing has expired"
    admitted(server.port, beside).close()
    server.cli("device", "register", first.chain_file, status=1)


def test_a_registered_sub_ca_becomes_inactive(server, ca):
    """Named by its parent's list: its status is inactive, its devices are cut and refused, the parent's are not."""
    sub = Authority(ca.folder / "sub", "Registered sub-CA", parent=ca)
    sub.register(server)
    below, above = sub.issue("below"), ca.issue("above")
    with admitted(server.port, below) as cut, admitted(server.port, above) as on:
        server.registered(below)
        server.registered(above)
        imported(server, crl(ca, sub), cas_deactivated=1)
        assert cut.end(1) == "close_notify"
        on.ping()
    assert server.json("ca", "show", sub.id)["status"] == "inactive"
    is_refused(server, below, "ca_inactive")
    admitted(server.port, above).close()
    not_told_to_activate(server, below)


def not_told_to_activate(server, identity):
    """`explain` names the CRL, and not a command that does not help."""
    shown = json.loads(server.cli("explain", identity.chain_file, "-o", "json", status=1).stdout)
    assert shown["reason"] == "ca_inactive"
    assert "CRL" in str(shown["steps"]) or "revoked" in shown["steps"][-1]["found"], shown
    assert "does not help" in shown["what_to_do"] and "lets its devices in again" not in shown["what_to_do"], shown


def test_a_registered_sub_ca_on_hold_becomes_inactive(server, ca):
    """certificateHold becomes inactive, for a CA as for a device."""
    sub = Authority(ca.folder / "sub", "Held sub-CA", parent=ca)
    sub.register(server)
    below = sub.issue("below")
    known(server, below)
    imported(server, crl(ca, held(sub.identity)))
    assert server.json("ca", "show", sub.id)["status"] == "inactive"
    is_refused(server, below, "ca_inactive")


def test_a_sub_ca_that_was_revoked_before_it_was_registered(server, ca):
    """The tombstone of its serial counts for it too: it is not registered, or not active, and admits nobody."""
    sub = Authority(ca.folder / "sub", "Registered too late", parent=ca)
    imported(server, crl(ca, sub))
    proof = sub.verification(server.cli("ca", "code").stdout.strip())
    server.cli("ca", "register", sub.identity.chain_file, proof.chain_file, status=None)
    assert refusal(server.port, sub.issue("below it"), timeout=2) in ("unknown_ca", "certificate_unknown")


def test_a_held_intermediate_ends_connections_through_it(server, ca):
    """A certificate on hold must not be relied on while the list stands (RFC 5280, section 5.3.1)."""
    middle = Authority(ca.folder / "middle", "Held middle", parent=ca)
    idle, first = (middle.issue(name, sent=[middle.certificate]) for name in ("idle", "first"))
    known(server, idle)
    imported(server, crl(ca, held(middle.identity)))
    for identity in (first, idle):
        assert refusal(server.port, identity, timeout=2) == "certificate_unknown"


# For ever

def test_tombstones_survive_restart_and_the_ca(serve_once, broker, site, work):
    """After a restart, after the CA was deleted and registered again, and after a restart of that: refused still."""
    server = serve_once([listener(site)], broker)
    ca = Authority(work / "lasting", "Lasting")
    ca.register(server)
    seen, unseen, waiting = ca.issue("seen"), ca.issue("unseen"), ca.issue("held, unseen")
    known(server, seen)
    imported(server, crl(ca, seen, unseen, held(waiting), number=5))
    counts = {**NO_DEVICES, "inactive": 1, "revoked": 2}

    def all_is_as_it_was():
        for identity in (seen, unseen):
            is_refused(server, identity)
        assert server.json("ca", "show", ca.id)["devices"]["revoked"] == 2
        assert post(server, crl(ca, number=4))[0] == 409

    all_is_as_it_was()
    server.stop()
    server.start()
    all_is_as_it_was()
    is_refused(server, waiting, "device_inactive")
    assert server.json("ca", "show", ca.id)["devices"] == counts
    server.cli("ca", "delete", ca.id, "--cascade", "--yes")
    ca.register(server)
    all_is_as_it_was()
    server.stop()
    server.start()
    all_is_as_it_was()


def test_counts_after_a_ca_with_a_held_unseen_serial_was_deleted(server, ca):
    """What `ca show` counts is what `device list` shows, also after the CA was deleted and registered again."""
    identity = ca.issue("held, unseen")
    imported(server, crl(ca, held(identity)))
    server.cli("ca", "delete", ca.id, "--cascade", "--yes")
    ca.register(server)
    is_refused(server, identity, "device_inactive")
    listed = server.devices("--ca", ca.id)
    counts = server.json("ca", "show", ca.id)["devices"]
    for each in listed:
        server.cli("device", "delete", each)
    afterwards = server.json("ca", "show", ca.id)["devices"]
    assert (counts, afterwards) == ({**NO_DEVICES, "inactive": len(listed)}, NO_DEVICES)
    known(server, identity)


def test_a_hundred_thousand_entries(serve_once, broker, site, work, tmp_path):
    """Imported while known and new devices connect; afterwards each of them is refused. How long it takes,
    build/release/bench/crl_import says."""
    server = serve_once([listener(site)], broker)
    ca = Authority(work / "hundred", "A hundred thousand")
    ca.register(server)
    old, listed = ca.issue("old"), [ca.issue(f"listed {n}") for n in range(3)]
    known(server, old, listed[0])
    base = 1 << 150
    when = now() - days(1)
    entries = [x509.RevokedCertificateBuilder(base + n, when).build() for n in range(100_000)]
    for at, identity in zip((0, 50_000, 99_999), listed):
        entries[at] = entry(identity.certificate.serial_number)
    path = file_of(crl(ca, *entries), tmp_path)
    imported = []

    def run():
        imported.append(server.cli("crl", "import", path, "--yes", status=None, timeout=120))

    thread = threading.Thread(target=run)
    newcomers = iter([ca.issue(f"newcomer {n}") for n in range(300)])
    with admitted(server.port, old) as session:
        thread.start()
        done = 0
        while thread.is_alive():
            admitted(server.port, old, client_id=f"meanwhile-{done}").close()
            newcomer = next(newcomers, None)
            if newcomer:
                admitted(server.port, newcomer).close()
            session.ping()
            done += 1
        thread.join()
    # A disk that takes too long for it is said to be slow: then it is in force, and durable when the disk has it.
    if imported[0].returncode != 0:
        assert "the disk does not answer" in imported[0].stderr, imported
        until("it is durable", lambda: server.lines("durable-now"))
    assert done >= 2, "nobody was served while it was imported"
    assert server.json("ca", "show", ca.id)["devices"]["revoked"] == 100_000
    for identity in listed:
        is_refused(server, identity)
    stray = ca.issue("in the middle", serial=base + 77_777)
    is_refused(server, stray)
    assert [each["registered_by"] for each in server.devices("--serial", stray.serial).values()] == ["crl"]
    server.stop()
    server.start()
    is_refused(server, stray)
    admitted(server.port, old).close()
