"""The first day of a customer: PKIs made by the guides' own commands, and the mosquitto clients they already use."""

import os
import subprocess
from types import SimpleNamespace

import pytest

from harness.guide import GuidePki
from harness.server import listener

# Mosquitto's --tls-version is a minimum: what it may use at most is said in OpenSSL's own configuration.
AT_MOST = """openssl_conf = main
[main]
ssl_conf = ssl
[ssl]
system_default = versions
[versions]
MaxProtocol = TLSv{}
"""


@pytest.fixture(scope="module", params=["rsa", "ecc"])
def guide(work, broker, serve, request):
    """One PKI and one server a key type; its CA is registered with the guides' verification certificate."""
    pki = GuidePki(work / f"guide-{request.param}", request.param)
    own = SimpleNamespace(chain_file=pki.path("server_chain.crt"), key_file=pki.path("server_pkcs8.key"))
    server = serve([listener(own)], broker)
    ca_id = pki.register(server)
    assert ca_id == pki.fingerprint("CA")
    return SimpleNamespace(pki=pki, server=server, ca_id=ca_id)


def mosquitto(program, guide, device, tls, *options):
    """Runs mosquitto_pub or mosquitto_sub as `device`, verifying the server's certificate and name."""
    versions = guide.pki.folder / f"at-most-{tls}.cnf"
    versions.write_text(AT_MOST.format(tls))
    done = subprocess.run(
        [f"mosquitto_{program}", "-h", "localhost", "-p", str(guide.server.port), "--tls-version", "tlsv" + tls,
         "--cafile", guide.pki.path("CA.crt"), "--cert", guide.pki.path(device + "_chain.crt"),
         "--key", guide.pki.path(device + "_pkcs8.key"), *options],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OPENSSL_CONF": str(versions)})
    assert done.returncode == 0, f"mosquitto_{program}: {done.returncode} {done.stderr}\n{guide.server.log()[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_device_publishes_and_subscribes_and_has_registered_itself(guide, tls):
    """An unknown device of a registered CA is served at its very first connection and then is in the registry."""
    name = "meter" + tls.replace(".", "")
    guide.pki.device(name, "meter-" + tls)
    topic = f"{guide.pki.kind}/{tls}"
    before = {kind: guide.server.metric("handshakes_total", version=tls, kind=kind) for kind in ("full", "known")}
    mosquitto("pub", guide, name, tls, "-t", topic, "-m", "hello " + topic, "-q", "1", "-r")
    device = guide.server.registered(SimpleNamespace(id=guide.pki.fingerprint(name), cn=name))
    assert device["status"] == device["effective_status"] == "active"
    assert device["serial"] == guide.pki.serial(name)
    assert device["cn"] == "meter-" + tls
    assert device["ca_id"] == guide.ca_id
    assert device["registered_by"] == "auto"
    assert mosquitto("sub", guide, name, tls, "-t", topic, "-C", "1", "-W", "10") == f"hello {topic}\n"
    for kind in ("full", "known"):
        assert guide.server.metric("handshakes_total", version=tls, kind=kind) > before[kind]


def test_a_device_may_leave_its_ca_out_of_the_chain(guide):
    """The registered CA is found by name and key; what the client sends of it is not needed."""
    guide.pki.device("lone", "lone", chain=())
    mosquitto("pub", guide, "lone", "1.3", "-t", "lone", "-m", "x", "-q", "1")
    guide.server.registered(SimpleNamespace(id=guide.pki.fingerprint("lone"), cn="lone"))


def test_intermediates_sent_by_the_client_lead_to_the_registered_root(guide):
    """Only the root is registered: the client's intermediate is path material, and the root owns the device."""
    guide.pki.intermediate("sub", "Sub CA")
    guide.pki.device("below", "below", issuer="sub", chain=("sub",))
    mosquitto("pub", guide, "below", "1.2", "-t", "below", "-m", "x", "-q", "1")
    device = guide.server.registered(SimpleNamespace(id=guide.pki.fingerprint("below"), cn="below"))
    assert device["ca_id"] == guide.ca_id


def test_a_registered_intermediate_is_an_anchor_by_itself(guide, broker, serve):
    """The root is unknown to this server; the intermediate is registered, and owns the device."""
    guide.pki.intermediate("anchor", "Anchor CA")
    guide.pki.device("leafy", "leafy", issuer="anchor", chain=())
    own = SimpleNamespace(chain_file=guide.pki.path("server_chain.crt"), key_file=guide.pki.path("server_pkcs8.key"))
    other = SimpleNamespace(pki=guide.pki, server=serve([listener(own)], broker))
    ca_id = guide.pki.register(other.server, "anchor")
    mosquitto("pub", other, "leafy", "1.3", "-t", "leafy", "-m", "x", "-q", "1")
    device = other.server.registered(SimpleNamespace(id=guide.pki.fingerprint("leafy"), cn="leafy"))
    assert device["ca_id"] == ca_id == guide.pki.fingerprint("anchor")


def test_a_deactivated_device_is_refused_and_let_in_again(guide):
    """The guide's life of a device: deregister refuses it, activate brings it back, by full id."""
    guide.pki.device("gate", "gate")
    mosquitto("pub", guide, "gate", "1.3", "-t", "gate", "-m", "x", "-q", "1")
    device_id = guide.pki.fingerprint("gate")
    guide.server.registered(SimpleNamespace(id=device_id, cn="gate"))
    guide.server.cli("device", "deactivate", device_id)
    with guide.server.refuses("device_inactive", fingerprint=device_id):
        with pytest.raises(AssertionError):
            mosquitto("pub", guide, "gate", "1.3", "-t", "gate", "-m", "x", "-q", "1")
    guide.server.cli("device", "activate", device_id)
    mosquitto("pub", guide, "gate", "1.3", "-t", "gate", "-m", "x", "-q", "1")
