"""Names in several spellings (RFC 5280, section 7.1), and a store of an earlier version, which kept names as they came."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from harness.authority import Authority
from harness.device import admitted, refusal
from harness.server import Sallyport, listener

STORES = Path(__file__).resolve().parents[2] / "cache/registry/stores"


def spelt(cn, kind):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sallyport tests", kind),
                      x509.NameAttribute(NameOID.COMMON_NAME, cn, kind)])


def respelled(folder, ca, cn):
    """The same CA: its key, and its name as another tool would write it."""
    return Authority(folder, spelt(cn, _ASN1Type.UTF8String), key=ca.key, parent=ca.parent)


@pytest.fixture(scope="module")
def server(broker, serve, site):
    return serve([listener(site)], broker)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["p256", "rsa"])  # the one is read without OpenSSL
def test_a_ca_in_another_spelling(server, work, tls, kind):
    """Printable, as most CAs are made, and UTF-8, as most devices name them: registered, known, and revoked for good."""
    ca = Authority(work / f"names-{kind}-{tls}", spelt(f"Names {kind} {tls}", _ASN1Type.PrintableString))
    ca_id = ca.register(server)
    again = respelled(work / f"names-{kind}-{tls}-again", ca, f" NAMES  {kind.upper()} {tls}")
    device = again.issue("meter", kind=kind)
    admitted(server.port, device, tls).close()
    assert server.registered(device)["ca_id"] == ca_id
    admitted(server.port, device, tls).close()
    twin = ca.issue("twin", kind=kind, serial=device.certificate.serial_number)
    with server.refuses("serial_conflict"):
        refusal(server.port, twin, tls)
    server.cli("device", "revoke", device.id, "--yes")
    for each in (device, twin):
        with server.refuses("device_revoked"):
            refusal(server.port, each, tls)


def test_a_store_of_an_earlier_version(work):
    """The first start brings it to this schema and says so; what was revoked is revoked in every spelling."""
    folder = work / "earlier"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", STORES / "schema_2.tar.gz", "-C", folder], check=True)
    ids = dict(line.split()[1:3] for line in (folder / "state/facts").read_text().splitlines() if line.count(" ") == 2)
    site = Authority(work / "earlier-shop", "Shop").server("localhost")
    server = Sallyport(folder, [listener(site), listener(site, "gate")],
                       upstreams=[{"name": "broker", "servers": ["127.0.0.1:1"]}])
    server.start()
    try:
        said = [line.fields["what"] for line in server.lines("migration")]
        assert "has schema 2 and is brought to schema 3" in said[0] and said[-1].endswith("has schema 3"), said
        status = {name: server.json("device", "show", ids[name])["status"] for name in
                  ("active", "active-again", "inactive-again", "revoked", "revoked-again", "listed", "listed-elsewhere")}
        assert status == {"active": "active", "active-again": "active", "inactive-again": "inactive",
                          "revoked": "revoked", "revoked-again": "revoked", "listed": "revoked",
                          "listed-elsewhere": "revoked"}
        by_migration = [each for each in server.json("audit") if each["who"] == "migration to schema 3"]
        assert len(by_migration) == 4, by_migration
        for name, told in {"good-respelled": "registers", "unseen-again": "device_revoked",
                           "listed-respelled": "device_revoked", "held": "device_inactive"}.items():
            explained = server.cli("explain", str(folder / f"state/{name}.pem"), status=None)
            assert told in explained.stdout, explained.stdout
        assert {each["name"]: each["auth"] for each in server.json("listener", "list")} == \
            {"mqtts": "mutual", "gate": "one-way"}
        server.stop()
        server.start()
        assert server.lines("migration") == [], "it is done once"
    finally:
        server.stop()
    shutil.rmtree(folder)
