"""With an OpenSSL that no test has seen, `serve` leaves its insides alone, says so once, and serves."""

import os

import pytest

from harness.resuming import served
from harness.server import listener

SHIM = os.environ.get("SALLYPORT_UNKNOWN_OPENSSL", "")


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    """Started with a library before OpenSSL's that says 3.99 when it is asked for its version."""
    assert os.path.exists(SHIM), "SALLYPORT_UNKNOWN_OPENSSL names no file: run this through ctest"
    os.environ["LD_PRELOAD"] = SHIM
    try:
        running = serve([listener(site)], broker)
    finally:
        del os.environ["LD_PRELOAD"]
    root.register(running)
    return running


def test_one_line_says_so(server):
    lines = server.lines("openssl-only")
    assert len(lines) == 1
    assert lines[0].fields["why"] == "this version is not among those tested"


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_devices_are_served_resumed_and_refused(server, root, tls):
    served(server, root.issue("device " + tls), tls)


def test_with_the_openssl_that_is_here_it_says_nothing(broker, serve_once, site):
    running = serve_once([listener(site)], broker)
    assert running.lines("openssl-only") == []
