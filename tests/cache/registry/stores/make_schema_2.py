#!/usr/bin/env python3
"""Writes schema_2.tar.gz: a store as Sallyport of commit 360b363 wrote it, the last with schema 2.

    SALLYPORT_BIN=/path/to/that/sallyport python3 tests/cache/registry/stores/make_schema_2.py

It is kept so that every later version is shown to open it (tests/cache/registry/migration_test.cc), and is not made
again: the program that wrote it is gone from the tree. Beside the store lie `facts`, a line for everything in it, and
certificates that nobody has shown yet.

Names stand in it in several spellings, which were several names then: the CA "Fleet Root" is there with a
PrintableString and, with the same key, as "fleet  ROOT" with a UTF8String.
"""

import datetime
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "e2e"))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.x509.name import _ASN1Type  # noqa: E402
from cryptography.x509.oid import NameOID  # noqa: E402

from harness.authority import Authority  # noqa: E402
from harness.server import Sallyport, listener  # noqa: E402

SINCE, UNTIL = datetime.datetime(2024, 1, 1), datetime.datetime(2123, 1, 1)
OUT = Path(__file__).resolve().parent / "schema_2.tar.gz"


def name(cn, kind):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sallyport tests", kind),
                      x509.NameAttribute(NameOID.COMMON_NAME, cn, kind)])


def authority(folder, cn, kind=_ASN1Type.PrintableString, key=None, parent=None):
    return Authority(folder, name(cn, kind), key=key, parent=parent, not_before=SINCE, not_after=UNTIL)


def issue(ca, cn, **more):
    return ca.issue(cn, not_before=SINCE, not_after=UNTIL, **more)


def crl(ca, number, *entries):
    when = datetime.datetime(2024, 6, 1)
    made = []
    for serial, hold in entries:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
        if hold:
            one = one.add_extension(x509.CRLReason(x509.ReasonFlags.certificate_hold), critical=False)
        made.append(one.build())
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=made).issuer_name(ca.name)
    builder = builder.last_update(when).next_update(UNTIL).add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def main():
    work = Path(tempfile.mkdtemp(prefix="sally-", dir="/tmp"))
    facts = []
    site = Authority(work / "shop", "Server certificate shop").server("localhost")
    server = Sallyport(work / "s", [listener(site), listener(site, "gate")],
                       upstreams=[{"name": "broker", "servers": ["127.0.0.1:1"]}])
    server.start()

    def trust(ca, what):
        ca.register(server)
        facts.append(f"ca {what} {ca.id}")

    def enroll(what, identity):
        server.cli("device", "register", identity.chain_file)
        facts.append(f"device {what} {identity.id}")
        return identity

    def revoked_by(*args):
        path = work / "list.crl"
        path.write_bytes(crl(*args))
        server.cli("crl", "import", str(path), "--yes")

    fleet = authority(work / "fleet", "Fleet Root")
    again = authority(work / "again", "fleet  ROOT", _ASN1Type.UTF8String, key=fleet.key)
    trust(fleet, "fleet")
    trust(again, "again")
    enroll("active", issue(fleet, "active", serial=0x1001))
    inactive = enroll("inactive", issue(fleet, "inactive", serial=0x1002))
    revoked = enroll("revoked", issue(fleet, "revoked", serial=0x1003))
    enroll("listed", issue(fleet, "listed", serial=0x1004))
    enroll("listed-elsewhere", issue(fleet, "listed-elsewhere", serial=0x1005))
    # The same serial numbers in the other spelling.
    enroll("active-again", issue(again, "active-again", serial=0x1001))
    enroll("inactive-again", issue(again, "inactive-again", serial=0x1002))
    enroll("revoked-again", issue(again, "revoked-again", serial=0x1003))
    enroll("only-again", issue(again, "only-again", serial=0x1006))
    server.cli("device", "deactivate", inactive.id)
    server.cli("device", "revoke", revoked.id, "--yes")
    # Below a CA that the client sends.
    middle = authority(work / "middle", "Sent along", _ASN1Type.UTF8String, parent=fleet)
    enroll("below", issue(middle, "below", serial=0x2001, sent=[middle.certificate]))

    revoked_by(fleet, 7, (0x1004, False), (0x3001, False), (0x3002, True))
    revoked_by(again, 8, (0x3001, False), (0x3002, False), (0x1005, False), (0x3003, True))

    idle = authority(work / "idle", "Idle")
    trust(idle, "idle")
    server.cli("ca", "deactivate", idle.id, "--yes")

    # Deleted: of one a device tells its name, of the other nothing does.
    gone = authority(work / "gone", "Gone")
    gone.register(server)
    facts.append(f"deleted gone {gone.id}")
    of_gone = issue(gone, "of-gone", serial=0x4001)
    server.cli("device", "register", of_gone.chain_file)
    facts.append(f"tombstone of-gone {of_gone.id}")
    server.cli("device", "revoke", of_gone.id, "--yes")
    revoked_by(gone, 1, (0x4002, False))
    server.cli("ca", "delete", gone.id, "--cascade", "--yes")
    nameless = authority(work / "nameless", "Nameless")
    nameless.register(server)
    facts.append(f"deleted nameless {nameless.id}")
    revoked_by(nameless, 1, (0x5001, False))
    server.cli("ca", "delete", nameless.id, "--cascade", "--yes")

    server.cli("token", "create", "--name", "robot", "--role", "operator")
    server.cli("token", "create", "--name", "lost", "--role", "viewer")
    server.cli("token", "revoke", "lost", "--yes")
    server.cli("listener", "auth", "gate", "one-way", "--yes")
    server.cli("ca", "code")
    audit = server.json("audit")
    facts.append(f"audit {len(audit)}")
    server.stop()

    # What nobody has shown: each must be refused, in its first spelling and in another.
    probes = {
        "fleet": fleet, "again": again, "gone": gone, "nameless": nameless,
        "unseen": issue(fleet, "unseen", serial=0x3001),
        "unseen-again": issue(again, "unseen-again", serial=0x3001),
        "held-and-revoked": issue(fleet, "held-and-revoked", serial=0x3002),
        "held": issue(fleet, "held", serial=0x3003),
        "revoked-respelled": issue(again, "revoked-respelled", serial=0x1003),
        "listed-respelled": issue(again, "listed-respelled", serial=0x1004),
        "good-respelled": issue(again, "good-respelled", serial=0x1007),
    }
    for what, ca in (("gone", gone), ("nameless", nameless)):
        respelled = authority(work / f"{what}-again", what.upper() + " ", _ASN1Type.UTF8String, key=ca.key)
        probes[f"{what}-again"] = respelled
        serial = {"gone": 0x4002, "nameless": 0x5001}[what]
        probes[f"{what}-listed"] = issue(ca, f"{what}-listed", serial=serial)
        probes[f"{what}-listed-again"] = issue(respelled, f"{what}-listed-again", serial=serial)
    probes["gone-revoked-again"] = issue(probes["gone-again"], "gone-revoked-again", serial=0x4001)
    (work / "s" / "state" / "facts").write_text("".join(line + "\n" for line in facts))
    for what, each in probes.items():
        identity = each.identity if isinstance(each, Authority) else each
        (work / "s" / "state" / f"{what}.pem").write_text(
            identity.certificate.public_bytes(serialization.Encoding.PEM).decode())

    def plain(entry):
        if Path(entry.name).name.startswith(("LOG", "LOCK")):
            return None
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(OUT, "w:gz") as archive:
        archive.add(work / "s" / "state", arcname="state", filter=plain)
    subprocess.run(["tar", "-tvzf", str(OUT)], check=True)


if __name__ == "__main__":
    main()
