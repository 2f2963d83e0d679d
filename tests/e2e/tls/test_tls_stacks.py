"""Other TLS libraries than OpenSSL connect as devices: they meet our own handshakes."""

import pytest

from harness import tls_stacks
from harness.authority import Authority
from harness.server import listener


@pytest.fixture(scope="module", params=["auto", "openssl"])
def server(request, broker, serve, site, root):
    running = serve([listener(site)], broker, proxy={"tls_engine": request.param})
    root.register(running)
    return running


KINDS = ["p256", "p384", "rsa", "ed25519"]


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", KINDS)
def test_gnutls(server, shop, root, tls, kind):
    """Also checks our certificate and name as GnuTLS does."""
    identity = root.issue(f"gnutls {tls} {kind}", kind=kind)
    run = tls_stacks.gnutls(server.port, identity, tls, shop.identity.chain_file)
    assert run.connack, run.text
    server.registered(identity)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_gnutls_resumes(server, shop, root, tls):
    """It connects, leaves, and comes back with its ticket, which in TLS 1.3 our own handshake opens."""
    identity = root.issue(f"gnutls returns {tls}")
    assert tls_stacks.gnutls(server.port, identity, tls, shop.identity.chain_file).connack
    server.registered(identity)
    before = server.metric("handshakes_total", kind="resumed", version=tls)
    run = tls_stacks.gnutls(server.port, identity, tls, shop.identity.chain_file, "--resume", "--waitresumption")
    assert run.connack and "This is a resumed session" in run.text, run.text
    assert server.metric("handshakes_total", kind="resumed", version=tls) == before + 1


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_nss(server, shop, root, tmp_path, tls, kind):
    """NSS 3.87 cannot import Ed25519 keys."""
    identity = root.issue(f"nss {tls} {kind}", kind=kind)
    run = tls_stacks.nss(server.port, identity, tls, shop.identity.chain_file, tmp_path)
    assert run.connack, run.text
    server.registered(identity)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_stranger_of_gnutls_is_told_why(server, shop, tmp_path, tls):
    """The alert for a CA nobody registered reaches it."""
    run = tls_stacks.gnutls(server.port, Authority(tmp_path, "Nobody's").issue("stranger"), tls, shop.identity.chain_file)
    assert not run.connack
    assert "CA is unknown" in run.text, run.text
