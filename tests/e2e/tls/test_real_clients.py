"""TLS libraries that are neither ours nor only OpenSSL's: full and resumed, mutual and one-way, in both engines.

Each connection checks our certificate, echoes 300 KB, ends its half with a close_notify, and still gets what is on its way
(harness/clients/tls/README.md). Those that take longer than a second to start run by tests/clients.sh alone
(SALLYPORT_CLIENTS=all), and so does OpenSSL 3.5, in a chroot (SALLYPORT_TRIXIE).
"""

import os

import pytest

from harness import tls_stacks
from harness.real_clients import BYTES, CLIENTS, Echo, Program
from harness.server import listener

ALL = os.environ.get("SALLYPORT_CLIENTS") == "all"
TRIXIE = os.environ.get("SALLYPORT_TRIXIE", "")
NAMES = [name for name, each in CLIENTS.items() if ALL or not each.slow] + (["openssl-3.5"] if TRIXIE else [])
ENGINES = ["auto", "openssl"]


@pytest.fixture(scope="module")
def echoes():
    """One that ends when its client does, and one that ends by itself, for a client that never ends its half."""
    running = {"broker": Echo(), "until": Echo(ends_after=tls_stacks.NSS_BYTES)}
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture(scope="module", params=ENGINES)
def server(request, serve, site, root, echoes):
    running = serve([listener(site, protocol="tcp"), listener(site, name="open", protocol="tcp", auth="one-way"),
                     listener(site, name="no-tickets", protocol="tcp", resumption=False),
                     listener(site, name="until", protocol="tcp", upstream="until"),
                     listener(site, name="until-open", protocol="tcp", upstream="until", auth="one-way")],
                    upstreams=[{"name": name, "servers": [each.address]} for name, each in echoes.items()],
                    proxy={"tls_engine": request.param})
    running.engine = request.param
    root.register(running)
    return running


@pytest.fixture
def device(server, root, request):
    """A device that is registered already: the first ticket of a new one may come back before it is."""
    def issued(auth):
        if auth == "one-way":
            return None
        identity = root.issue(request.node.name[-60:])
        server.cli("device", "register", identity.chain_file)
        return identity
    return issued


@pytest.fixture(scope="module")
def programs(work):
    """Built once, when they are asked for first."""
    built = {}

    def program(name):
        if name not in built:
            prefix = []
            if name == "openssl-3.5":  # it has this machine's network, and /tmp
                inside = 'mount --bind /tmp "$0/tmp" && exec chroot "$0" "$@"'
                prefix = ["unshare", "--mount", "sh", "-c", inside, TRIXIE]
            client = CLIENTS["openssl" if prefix else name]._replace(name=name)
            built[name] = Program(client, work / "clients", prefix) if not prefix else \
                Program(client._replace(name="openssl"), work / "clients" / name, prefix)
        return built[name]
    return program


def made_by(server, engine):
    return server.metric("handshakes_total", engine=engine) or 0


# What Debian 12's ask for is OpenSSL's to judge: wolfSSL 5.5 has no renegotiation_info (RFC 5746), Go 1.19 no extended
# master secret (RFC 7627), and JSSE sends signature_algorithms_cert. Later ones may be plain.
MAY_BE_OPENSSLS = {("wolfssl", "1.2"), ("go", "1.2"), ("java", "1.2"), ("java", "1.3")}


@pytest.mark.parametrize("auth", ["mutual", "one-way"])
@pytest.mark.parametrize("name,version", [(name, version) for name in NAMES
                                          for version in CLIENTS[name.split("-")[0]].versions])
def test_it_echoes_and_resumes(server, programs, shop, device, name, version, auth):
    port = server.ports["mqtts" if auth == "mutual" else "open"]
    identity = device(auth)
    own, openssls = made_by(server, "own"), made_by(server, "openssl")
    met = programs(name).run(port, shop.identity.chain_file, identity, version)
    assert [each.count for each in met] == [BYTES, BYTES]
    assert [each.version for each in met] == [version, version]
    assert [each.resumed for each in met] == [False, True], met
    own, openssls = made_by(server, "own") - own, made_by(server, "openssl") - openssls
    assert own + openssls == 2
    # A ticket of TLS 1.2 is OpenSSL's to bring back.
    ours = 0 if server.engine == "openssl" else 2 if version == "1.3" else 1
    assert own == ours or ((name, version) in MAY_BE_OPENSSLS and own == 0), met


@pytest.mark.parametrize("auth", ["mutual", "one-way"])
@pytest.mark.parametrize("fragment", [512, 1024, 2048, 4096, 16384])
def test_mbedtls_asks_for_small_records(server, programs, shop, device, fragment, auth):
    """RFC 6066, section 4: a device without room for 16 KiB. OpenSSL's handshakes and records, with ChaCha20.

    mbedTLS 2.28 takes no handshake message that is longer than a record. OpenSSL's own tickets have the device's
    certificate in them and do not fit into 512 bytes: with tls_engine = "openssl" such devices need resumption = false.
    """
    too_long = server.engine == "openssl" and fragment == 512 and auth == "mutual"
    port = server.ports["no-tickets" if too_long else "mqtts" if auth == "mutual" else "open"]
    identity = device(auth)
    before = made_by(server, "openssl")
    met = programs("mbedtls").run(port, shop.identity.chain_file, identity, "1.2", fragment)
    assert [each.count for each in met] == [BYTES, BYTES]
    assert met[1].resumed == (not too_long)
    assert made_by(server, "openssl") == before + 2


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("auth", ["mutual", "one-way"])
def test_nss_echoes(server, shop, device, tmp_path, version, auth):
    """NSS's own client says what is in a file and never ends its half; its second connection resumes."""
    port = server.ports["until" if auth == "mutual" else "until-open"]
    resumed = server.metric("handshakes_total", kind="resumed", version=version) or 0
    said, text = tls_stacks.nss_echo(port, device(auth), version, shop.identity.chain_file, tmp_path, connections=2)
    assert said == 2 * tls_stacks.NSS_BYTES, text
    assert server.metric("handshakes_total", kind="resumed", version=version) == resumed + 1
