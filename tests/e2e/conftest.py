"""Fixtures every end-to-end test shares: a short temporary folder, PKIs, a broker, servers that are always stopped."""

import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.authority import Authority  # noqa: E402
from harness.broker import Mosquitto  # noqa: E402
from harness.server import BINARY, Sallyport  # noqa: E402

_living = []  # servers a failing test wants to see the logs of


def pytest_sessionstart():
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"there is no sallyport at {BINARY}: build it, or set SALLYPORT_BIN", 2)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    report = (yield).get_result()
    if report.failed:
        for server in _living:
            if server.log_file.exists():
                report.sections.append((f"log of {server.folder}", server.log()[-6000:] + server.errors()[-2000:]))


@pytest.fixture(scope="session")
def work():
    """Short, because a unix socket's path holds 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="sally-", dir="/tmp"))
    yield folder
    if not os.environ.get("SALLYPORT_KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def root(work):
    """A P-256 root, the CA of most devices."""
    return Authority(work / "root", "Fleet root")


@pytest.fixture
def ca(server, work, request):
    """A CA of one test alone, registered with its module's server."""
    name = request.node.name[-60:]  # its end tells it from another; a common name has 64 characters at most
    made = Authority(work / request.module.__name__ / name, name)
    made.register(server)
    return made


@pytest.fixture(scope="session")
def shop(work):
    """Where the server certificates come from: not a CA of devices."""
    return Authority(work / "shop", "Server certificate shop")


@pytest.fixture(scope="session")
def site(shop):
    """The server certificate for localhost."""
    return shop.server("localhost")


@pytest.fixture(scope="module")
def broker(work, request):
    running = Mosquitto(work / request.module.__name__ / "broker").start()
    yield running
    running.stop()


def _servers(folder):
    started = []

    def start(listeners, broker=None, ready=200, **tables):
        server = Sallyport(folder / f"s{len(started)}", listeners, broker, **tables)
        started.append(server)
        _living.append(server)
        return server.start(ready=ready)

    yield start
    failures = []
    for server in started:
        try:
            server.stop()
            server.keeps_secrets()
        except AssertionError as failure:
            failures.append(str(failure))
        if server.process is not None:
            server.kill9()
    for server in started:
        _living.remove(server)
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def serve(work, request):
    """Starts servers that live as long as the module: serve(listeners, broker, **tables)."""
    yield from _servers(work / request.module.__name__)


@pytest.fixture
def serve_once(work, request):
    """Starts servers for one test, which may kill and restart them."""
    yield from _servers(Path(tempfile.mkdtemp(prefix="t-", dir=work)))
