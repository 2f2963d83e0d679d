"""No resumption of any kind yet: nothing that could be resumed is issued, and what is replayed is not honoured."""

import subprocess
import tempfile

import pytest

from harness.broker import free_port, answers
from harness.device import Device, admitted, client_context
from harness.s_client import SClient
from harness.server import listener
from harness.wait import until

WAYS = {"tls 1.2 id": ["-tls1_2", "-no_ticket"], "tls 1.2 ticket": ["-tls1_2"], "tls 1.3 ticket": ["-tls1_3"]}


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site), listener(site, name="never", resumption=False)], broker)
    root.register(running)
    return running


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["mqtts", "never"])
def test_nothing_to_resume_is_issued(server, root, way, name):
    """No NewSessionTicket, and an empty session id in TLS 1.2."""
    device = root.issue("curious")
    run = SClient(server.ports[name], device, *WAYS[way], "-msg")
    assert run.connack, run.text
    assert not run.ticket_sent
    assert run.session_id == "" or "1_3" in WAYS[way][0], run.text


@pytest.mark.parametrize("way", WAYS)
def test_a_session_of_a_device_deactivated_meanwhile_is_refused(server, root, work, way):
    """What the first connection left behind is replayed after the deactivation: a full handshake, and a refusal."""
    device = root.issue("replayer")
    session = tempfile.mktemp(dir=work)
    first = SClient(server.port, device, *WAYS[way], "-sess_out", session)
    assert first.connack, first.text
    server.registered(device)
    server.cli("device", "deactivate", device.id)
    replay = ["-sess_in", session] if _exists(session) else []
    with server.refuses("device_inactive", serial=device.serial):
        second = SClient(server.port, device, *WAYS[way], *replay)
    assert not second.connack and not second.reused, second.text


@pytest.mark.parametrize("way", WAYS)
def test_a_foreign_session_is_declined_and_a_full_handshake_follows(server, root, site, work, way):
    """A genuine ticket or id of another TLS server, replayed by a good device and by a bad one."""
    device = root.issue("traveller")
    session = tempfile.mktemp(dir=work)
    port = free_port()
    other = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", site.chain_file,
                              "-key", site.key_file, "-quiet", "-no_dhe"],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("s_server answers", lambda: answers(port))
        SClient(port, device, *WAYS[way], "-sess_out", session, timeout=1.0)
    finally:
        other.kill()
        other.wait()
    assert _exists(session), "s_server left no session: the test would prove nothing"
    run = SClient(server.port, device, *WAYS[way], "-sess_in", session)
    assert run.connack and not run.reused, run.text
    server.registered(device)
    server.cli("device", "deactivate", device.id)
    with server.refuses("device_inactive", serial=device.serial):
        run = SClient(server.port, device, *WAYS[way], "-sess_in", session)
    assert not run.connack and not run.reused, run.text


def test_python_sessions_do_not_resume_either(server, root):
    """Another client library, which offers what it has: the second handshake is a full one."""
    device = root.issue("pythonic")
    for tls in ("1.2", "1.3"):
        context = client_context(device, tls)
        with Device(server.port, context=context) as first:
            assert first.connect("p1") == 0
            session = first.tls.session
        before = server.metric("handshakes_total", kind="resumed")
        with Device(server.port, context=context) as second:
            if session is not None:
                assert not session.has_ticket
            assert second.connect("p2") == 0
            assert not second.tls.session_reused
        assert server.metric("handshakes_total", kind="resumed") == before


def test_a_handshake_of_a_known_device_is_still_possible(server, root):
    """The counter-check: the server is alive and admits."""
    admitted(server.port, root.issue("fine")).close()


def _exists(path):
    try:
        return open(path, "rb").read(1) != b""
    except FileNotFoundError:
        return False
