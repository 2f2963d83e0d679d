"""TLS tickets that never outlive standing: issued small, honoured only for a device in good standing, here, now."""

import base64
import datetime
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from harness import packet
from harness.authority import Authority, now
from harness.broker import answers, free_port
from harness.device import Device, Ended, admitted, client_context, refusal
from harness.reloading import Reloading
from harness.resuming import Held, with_session
from harness.s_client import SClient
from harness.server import BINARY, listener
from harness.wait import until

TLS = ["1.2", "1.3"]
WAYS = {"tls 1.2 id": ["-tls1_2", "-no_ticket"], "tls 1.2 ticket": ["-tls1_2"], "tls 1.3 ticket": ["-tls1_3"]}


@pytest.fixture(scope="module", params=["auto", "openssl"])
def server(request, broker, serve, site, root):
    running = serve([listener(site), listener(site, name="never", resumption=False), listener(site, name="other"),
                     listener(site, name="open", auth="one-way")], broker, proxy={"tls_engine": request.param})
    root.register(running)
    return running


def begin(server, identity, tls, port=None):
    """A first connection that is registered; returns the context and the session to resume it by."""
    context = client_context(identity, tls)
    with Device(port or server.port, context=context) as device:
        assert device.connect("first") == 0
        device.ping()
        session = device.tls.session
        server.registered(identity)
        device.close_notify()
    assert session.has_ticket
    return context, session


def again(port, context, session):
    """Resumes; the device, admitted, or Ended."""
    device = Device(port, context=with_session(context, session))
    assert device.connect("again") == 0
    return device


@pytest.mark.parametrize("tls", TLS)
def test_a_device_in_good_standing_resumes(server, root, tls):
    """The second handshake shows no certificate, is counted as resumed, and serves the same device."""
    identity = root.issue("resumer " + tls)
    context, session = begin(server, identity, tls)
    before = server.metric("handshakes_total", kind="resumed", version=tls)
    with again(server.port, context, session) as device:
        assert device.tls.session_reused
        shown = server.json("session", "list", "--device", identity.id)
        assert [each["resumed"] for each in shown] == [True]
        assert shown[0]["cn"] == identity.cn
        device.ping()
    assert server.metric("handshakes_total", kind="resumed", version=tls) == before + 1


@pytest.mark.parametrize("tls", TLS)
def test_tickets_are_small(server, root, tls):
    """No certificate is in them: a ticket is smaller than the certificate and its key exchange would be."""
    run = SClient(server.port, root.issue("small " + tls), "-tls" + tls.replace(".", "_"), "-msg")
    assert run.connack and run.ticket_sent, run.text
    lines = [line for line in run.text.splitlines() if " - " in line and line.strip()[:4].isalnum()]
    tickets = [line for line in lines if line.split(" - ")[0].strip().endswith("0")]
    assert 0 < len(tickets) * 16 < 900


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("change, reason", [("deactivate", "device_inactive"), ("revoke", "device_revoked")])
def test_lost_standing_declines_the_ticket(server, root, tls, change, reason):
    """Deactivated or revoked since: the ticket is declined, the full handshake is refused with the reason."""
    identity = root.issue(f"{change} {tls}")
    context, session = begin(server, identity, tls)
    server.cli("device", change, identity.id, "--yes")
    with server.refuses(reason, serial=identity.serial):
        with pytest.raises((Ended, AssertionError)):
            again(server.port, context, session).ping()


@pytest.mark.parametrize("tls", TLS)
def test_a_reactivated_device_proves_itself_again(server, root, tls):
    """A loss of standing ends the tickets of before for good; the next ones are honoured, and others' were all along."""
    identity, other = root.issue("back " + tls), root.issue("beside " + tls)
    context, session = begin(server, identity, tls)
    others = begin(server, other, tls)
    server.cli("device", "deactivate", identity.id)
    server.cli("device", "activate", identity.id)
    declined = server.metric("tickets_total", result="declined_standing")
    with again(server.port, context, session) as device:
        assert not device.tls.session_reused
    assert server.metric("tickets_total", result="declined_standing") == declined + 1
    for each in (begin(server, identity, tls), others):
        with again(server.port, *each) as device:
            assert device.tls.session_reused


@pytest.mark.parametrize("tls", TLS)
def test_a_deleted_device_registers_anew(server, root, tls):
    """A forgotten device's ticket is declined; the full handshake registers it again."""
    identity = root.issue("forgotten " + tls)
    context, session = begin(server, identity, tls)
    server.cli("device", "delete", identity.id)
    with again(server.port, context, session) as device:
        assert not device.tls.session_reused
        assert server.registered(identity)["registered_by"] == "auto"


@pytest.mark.parametrize("tls", TLS)
def test_an_inactive_ca_declines_its_devices_tickets(server, work, tls):
    """The CA's standing counts on every resumption."""
    ca = Authority(work / ("sleepy" + tls), "Sleepy " + tls)
    ca_id = ca.register(server)
    identity = ca.issue("of the sleepy " + tls)
    context, session = begin(server, identity, tls)
    server.cli("ca", "deactivate", ca_id)
    with server.refuses("ca_inactive", serial=identity.serial):
        with pytest.raises((Ended, AssertionError)):
            again(server.port, context, session).ping()
    server.cli("ca", "activate", ca_id)
    with again(server.port, context, session) as device:
        assert not device.tls.session_reused, "of before the CA was deactivated"
    with again(server.port, *begin(server, identity, tls)) as device:
        assert device.tls.session_reused


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("where", ["other", "never"])
def test_a_ticket_taken_to_another_listener_is_declined(server, root, tls, where):
    """Tickets are of one listener: elsewhere a full handshake follows."""
    identity = root.issue(f"wanderer {tls} {where}")
    context, session = begin(server, identity, tls)
    with again(server.ports[where], context, session) as device:
        assert not device.tls.session_reused


@pytest.mark.parametrize("tls", TLS)
def test_a_ticket_taken_to_another_mode_opens_nothing(server, root, tls):
    """A session without a certificate never opens a mutual listener, and a switch of the mode ends old tickets."""
    context = client_context(None, tls)
    with Device(server.ports["open"], context=context) as device:
        assert device.connect("nobody") == 0
        device.ping()
        session = device.tls.session
        device.close_notify()
    with again(server.ports["open"], context, session) as device:
        assert device.tls.session_reused
    with pytest.raises((Ended, AssertionError)):
        again(server.port, context, session).ping()
    server.cli("listener", "auth", "open", "mutual", "--yes")
    try:
        with pytest.raises((Ended, AssertionError)):
            again(server.ports["open"], context, session).ping()
    finally:
        server.cli("listener", "reset", "open", "--yes")


@pytest.mark.parametrize("tls", TLS)
def test_a_restart_forgets_tickets_and_nothing_else(serve_once, broker, site, root, tls):
    """Ticket keys live in memory alone: after a restart a full handshake of a known device follows."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    identity = root.issue("restarted " + tls)
    context, session = begin(server, identity, tls)
    server.stop()
    server.start()
    with again(server.port, context, session) as device:
        assert not device.tls.session_reused
    assert server.metric("handshakes_total", kind="known") == 1


def keeping(serve_once, broker, site, root, work, keep=True, drain="1s", **settings):
    key_file = work / "ticket.key"
    key_file.write_text("5a" * 32 + "\n")
    key_file.chmod(0o600)
    server = serve_once([listener(site, **settings)], broker, proxy={"drain": drain, "keep_ticket_keys": keep},
                        registry={"key_file": str(key_file)})
    root.register(server)
    return server, server.folder / "state" / "ticket-keys"


@pytest.mark.parametrize("tls", TLS)
def test_kept_keys_survive_a_planned_restart_alone(serve_once, broker, site, root, work, tls):
    """`keep_ticket_keys`: a device resumes over a planned restart; not where its standing was lost before, not after
    `ticket-keys rotate`, and not where the process was killed."""
    server, file = keeping(serve_once, broker, site, root, work)
    identity, lost = root.issue("kept " + tls), root.issue("lost " + tls)
    first, others = begin(server, identity, tls), begin(server, lost, tls)
    server.cli("device", "deactivate", lost.id)
    server.cli("device", "activate", lost.id)
    assert not file.exists(), "while a process runs there is none"
    server.stop()
    assert file.stat().st_mode & 0o777 == 0o600
    server.start()
    assert not file.exists()
    with again(server.port, *first) as device:
        assert device.tls.session_reused
    with again(server.port, *others) as device:
        assert not device.tls.session_reused, "lost before the restart"

    second = begin(server, identity, tls)
    server.cli("ticket-keys", "rotate", "--yes")
    third = begin(server, identity, tls)
    server.stop()
    server.start()
    with again(server.port, *second) as device:
        assert not device.tls.session_reused, "rotated keys do not come back"
    with again(server.port, *third) as device:
        assert device.tls.session_reused

    fourth = begin(server, identity, tls)
    server.kill9()
    assert not file.exists()
    server.start()
    with again(server.port, *fourth) as device:
        assert not device.tls.session_reused, "killed"


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("lost", ["device", "ca"])
def test_a_loss_that_is_undone_while_it_resumes_is_a_loss(server, work, tls, lost):
    """Its ticket was taken before, its Finished comes after: it has proven no key since."""
    authority = Authority(work / f"undone-{lost}-{tls}-{server.port}", f"Undone {lost} {tls} {server.port}")
    authority.register(server)
    identity = authority.issue("undone")
    held = Held(server.port, *begin(server, identity, tls))
    what = identity.id if lost == "device" else authority.id
    server.cli(lost, "deactivate", what, "--yes")
    server.cli(lost, "activate", what, "--yes")
    with server.refuses("device_inactive" if lost == "device" else "ca_inactive"):
        assert held.go_on(packet.connect("undone")) == b""
    with Held(server.port, *begin(server, identity, tls)).sock as fresh:
        assert fresh, "and one whose ticket is of after it is taken"


@pytest.mark.parametrize("tls", TLS)
def test_a_rotate_ends_what_is_being_resumed(server, root, tls):
    identity = root.issue(f"held {tls} {server.port}")
    context, session = begin(server, identity, tls)
    assert Held(server.port, context, session).go_on(packet.connect("held"))[:2] == b"\x20\x02"
    held = Held(server.port, *begin(server, identity, tls))
    server.cli("ticket-keys", "rotate", "--yes")
    with server.refuses("tls_error", what="all tickets were ended while its own was being resumed"):
        assert held.go_on(packet.connect("held")) == b""


def test_a_rotate_reaches_the_process_before(serve_once, broker, site, root, work):
    """After a take-over both have the keys: what the old one still has of connections ends."""
    server, _ = keeping(serve_once, broker, site, root, work, drain="60s")
    context, session = begin(server, root.issue("of the old one"), "1.3")
    held = Held(server.port, context, session)
    old = server.process
    server.start(arguments=("--take-over",))
    server.cli("ticket-keys", "rotate", "--yes")
    assert old.wait(30) == 0
    assert held.go_on(packet.connect("held")) == b""


def test_a_start_that_fails_costs_no_tickets(serve_once, broker, site, root, work):
    """The listener's port is taken: the kept keys are there for the next start, and what a killed process was writing
    is not."""
    server, file = keeping(serve_once, broker, site, root, work, address=f"127.0.0.1:{free_port()}")
    first = begin(server, root.issue("patient"), "1.3")
    server.stop()
    being_made = file.with_name("ticket-keys.new")
    being_made.write_text("half of it")
    with socket.create_server(("127.0.0.1", server.port)):
        done = subprocess.run([BINARY, "serve", "--config", server.config], capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "another program has the port" in done.stderr, done.stderr
    assert file.exists() and not being_made.exists()
    server.start()
    with again(server.port, *first) as device:
        assert device.tls.session_reused


def test_a_copy_of_kept_keys_is_worth_nothing_once_they_were_taken(serve_once, broker, site, root, work):
    """Whoever copied the file while nothing ran brings back no key that was wiped since."""
    server, file = keeping(serve_once, broker, site, root, work)
    first = begin(server, root.issue("copied"), "1.3")
    server.stop()
    copy = file.read_bytes()
    server.start()
    with again(server.port, *first) as device:
        assert device.tls.session_reused
    server.kill9()
    file.write_bytes(copy)
    file.chmod(0o600)
    server.start()
    assert server.line("ticket-keys").fields["what"].startswith("not taken")
    with again(server.port, *first) as device:
        assert not device.tls.session_reused


def without_its_secret(session):
    """The session of `session`, a file of s_client's, with another pre-shared key: SSL_SESSION_ASN1 has it behind the
    session id, as an OCTET STRING each."""
    lines = Path(session).read_text().splitlines()
    der = bytearray(base64.b64decode("".join(lines[1:-1])))
    at = der.index(b"\x04\x20", der.index(b"\x04\x20") + 34) + 2
    der[at:at + 32] = bytes(byte ^ 0xFF for byte in der[at:at + 32])
    body = base64.encodebytes(bytes(der)).decode()
    Path(session).write_text(f"{lines[0]}\n{body}{lines[-1]}\n")


@pytest.mark.parametrize("engine", ["auto", "openssl"])
def test_who_has_a_ticket_without_its_secret_resumes_nothing(serve_once, broker, site, root, work, engine):
    """Tickets pass by in clear. Whoever brings one back so is refused, and is not counted as resumed."""
    server = serve_once([listener(site)], broker, proxy={"tls_engine": engine})
    root.register(server)
    device, session = root.issue("seen " + engine), tempfile.mktemp(dir=work)
    suite = ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"]
    assert SClient(server.port, device, *suite, "-sess_out", session).connack
    server.registered(device)
    resumed = SClient(server.port, device, *suite, "-sess_in", session)
    assert resumed.reused, resumed.text
    assert server.metric("tickets_total", result="resumed") == 1
    without_its_secret(session)
    with server.refuses("tls_error"):
        forged = SClient(server.port, device, *suite, "-sess_in", session)
        assert not forged.connack, forged.text
    assert server.metric("tickets_total", result="resumed") == 1


def test_a_reload_decides_whether_keys_are_kept(serve_once, broker, site, root, work):
    """`keep_ticket_keys` and the key that they are sealed with are what the file said last."""
    server, file = keeping(serve_once, broker, site, root, work, keep=False)
    other = work / "other.key"
    other.write_text("a5" * 32 + "\n")
    other.chmod(0o600)
    reloading, identity = Reloading(server), root.issue("reloaded")
    reloading.edit("keep_ticket_keys = false", "keep_ticket_keys = true")
    reloading.edit("ticket.key", "other.key")
    reloading.reload()
    first = begin(server, identity, "1.3")
    server.stop()
    assert file.exists()
    server.start()
    with again(server.port, *first) as device:
        assert device.tls.session_reused
    reloading.edit("keep_ticket_keys = true", "keep_ticket_keys = false")
    reloading.reload()
    server.stop()
    assert not file.exists()


def test_a_damaged_file_of_ticket_keys_is_said_and_goes(serve_once, broker, site, root, work):
    """One line in the log, fresh keys, and the file is gone."""
    server, file = keeping(serve_once, broker, site, root, work)
    first = begin(server, root.issue("damaged"), "1.3")
    server.stop()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    server.start()
    server.exactly(1, "ticket-keys")
    assert not file.exists()
    with again(server.port, *first) as device:
        assert not device.tls.session_reused


@pytest.mark.parametrize("tls", TLS)
def test_kept_keys_go_to_who_takes_over(serve_once, broker, site, root, work, tls):
    """`serve --take-over`: what the old process issued, the new one honours."""
    server, file = keeping(serve_once, broker, site, root, work)
    first = begin(server, root.issue("taken over " + tls), tls)
    old = server.process
    server.start(arguments=("--take-over",))
    assert not file.exists()
    with again(server.port, *first) as device:
        assert device.tls.session_reused
    assert old.wait(60) == 0
    assert not file.exists()


@pytest.mark.parametrize("tls", TLS)
def test_rotated_keys_end_every_ticket(server, root, tls):
    """`ticket-keys rotate`: a full handshake for everybody once, a line in the audit log, counts in the metrics."""
    identity = root.issue("rotated " + tls)
    before = begin(server, identity, tls)
    issued = server.metric("tickets_total", result="issued")
    declined = server.metric("tickets_total", result="declined_key")
    resumed = server.metric("tickets_total", result="resumed")
    server.cli("ticket-keys", "rotate", "--yes")
    assert server.json("audit")[0]["action"] == "ticket-keys.rotate"
    with again(server.port, *before) as device:
        assert not device.tls.session_reused
    assert server.metric("tickets_total", result="declined_key") == declined + 1
    assert server.metric("tickets_total", result="issued") == issued + 1
    with again(server.port, *begin(server, identity, tls)) as device:
        assert device.tls.session_reused
    assert server.metric("tickets_total", result="resumed") == resumed + 1


@pytest.mark.parametrize("tls", TLS)
def test_a_ticket_ends_with_the_longest_age(serve_once, broker, site, root, tls):
    """`resumption_max_age` counts from the last full handshake, and a shorter one is in force after a reload."""
    server = serve_once([listener(site, resumption_max_age="8h")], broker)
    root.register(server)
    context, session = begin(server, root.issue("aging " + tls), tls)

    def resumes():
        nonlocal session
        with again(server.port, context, session) as device:
            reused = device.tls.session_reused
            device.ping()
            session = device.tls.session if reused else session
            device.close_notify()
            return reused

    assert resumes()
    reloading = Reloading(server)
    reloading.edit('resumption_max_age = "8h"', 'resumption_max_age = "1s"')
    reloading.reload()
    until("the chain of resumptions ends", lambda: not resumes())
    assert server.metric("tickets_total", result="declined_age") >= 1


@pytest.mark.parametrize("tls", TLS)
def test_a_ticket_is_of_one_server_name(server, root, tls):
    """RFC 6066, section 3: with another name a full handshake follows."""
    identity = root.issue("named " + tls)
    context, session = begin(server, identity, tls)
    with Device(server.port, context=with_session(context, session), server_name="other.example") as device:
        assert device.connect("again") == 0
        assert not device.tls.session_reused
    before = server.metrics()
    with again(server.port, context, session) as device:
        assert device.tls.session_reused, (before, server.metrics())


def test_a_deactivation_races_resumptions(server, root):
    """However the two meet, after the answer no resumed session passes a byte."""
    identity = root.issue("racer")
    for _ in range(8):
        context, session = begin(server, identity, "1.2")
        stop = threading.Event()
        living = []

        def resume():
            while not stop.is_set():
                try:
                    living.append(again(server.port, context, session))
                except (Ended, AssertionError, OSError):
                    pass

        threads = [threading.Thread(target=resume) for _ in range(3)]
        for thread in threads:
            thread.start()
        until("some resumed", lambda: len(living) > 3)
        server.cli("device", "deactivate", identity.id)
        stop.set()
        for thread in threads:
            thread.join()
        for device in living:
            device.end(2)
            device.close()
        assert server.json("session", "list", "--device", identity.id) == []
        server.cli("device", "activate", identity.id)


@pytest.mark.parametrize("tls", TLS)
def test_a_tickets_life_ends_with_the_certificate(server, root, tls):
    """Resumed until the certificate's end, never after it."""
    identity = root.issue("short " + tls, not_after=now() + datetime.timedelta(seconds=4))
    context, session = begin(server, identity, tls)
    with again(server.port, context, session) as device:
        assert device.tls.session_reused
        assert device.end(8) in ("close_notify", "truncated", "reset")
    assert "expired" in refusal(server.port, identity, tls)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_to_resume_is_issued_where_it_is_off(server, root, way):
    """`resumption = false`: no NewSessionTicket, and an empty session id in TLS 1.2."""
    run = SClient(server.ports["never"], root.issue("curious"), *WAYS[way], "-msg")
    assert run.connack, run.text
    assert not run.ticket_sent
    assert run.session_id == "" or "1_3" in WAYS[way][0], run.text


def test_there_are_no_session_ids_to_resume_by(server, root):
    """TLS 1.2 without the ticket extension: nothing is remembered here under an id."""
    run = SClient(server.port, root.issue("old"), "-tls1_2", "-no_ticket")
    assert run.connack and run.session_id == "", run.text


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
    assert open(session, "rb").read(1) != b"", "s_server left no session: the test would prove nothing"
    run = SClient(server.port, device, *WAYS[way], "-sess_in", session)
    assert run.connack and not run.reused, run.text
    server.registered(device)
    server.cli("device", "deactivate", device.id)
    with server.refuses("device_inactive", serial=device.serial):
        run = SClient(server.port, device, *WAYS[way], "-sess_in", session)
    assert not run.connack and not run.reused, run.text


def test_a_device_that_never_connected_cannot_resume(server, root):
    """The handshake gave a ticket, but no CONNECT came and nothing was registered: the ticket is declined."""
    identity = root.issue("half way")
    context = client_context(identity, "1.2")
    with Device(server.port, context=context) as device:
        session = device.tls.session
        device.close_notify()
    with again(server.port, context, session) as device:
        assert not device.tls.session_reused
    server.registered(identity)
    admitted(server.port, identity).close()
