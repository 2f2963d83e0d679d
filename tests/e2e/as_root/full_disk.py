"""A disk that is full: the state folder is a loop mount without room."""

import signal
import subprocess
from pathlib import Path

from harness.admin import Admin
from harness.authority import der
from harness.device import Device, admitted
from harness.disk import is_refused, timed
from harness.server import BINARY, listener
from harness.wait import until


def test_a_restriction_holds_on_a_full_disk(disk, work, broker, site, root):
    """A device revoked, a CA deactivated, a token revoked without room: in force at once, said to be not durable, and
    again when they are repeated. What lets somebody in has not happened. With room again all of it is durable: a kill and
    a start change nothing."""
    admin = Admin(work / "full", [listener(site)], broker, {}, state_dir=str(disk.mount / "state"))
    server = admin.server
    try:
        root.register(server)
        revoked, below, held = (root.issue(cn) for cn in ("revoked", "below", "held"))
        for identity in (revoked, below, held):
            admitted(server.port, identity).close()
            server.registered(identity)
        server.cli("device", "deactivate", held.id)
        token = admin.token("operator", "thief")
        disk.fill()
        for what in (("device", "revoke", revoked.id), ("token", "revoke", "thief"), ("ca", "deactivate", root.id)):
            for _ in range(2):
                done = timed(" ".join(what[:2]), lambda: server.cli(*what, "--yes", status=1))
                assert "in force, NOT durable" in done.stderr, done
        assert is_refused(server, revoked) and is_refused(server, below)
        assert admin.http("GET", "/v1/status", token)[0] == 401
        status = server.json("status")
        assert status["store_free_bytes"] < 128 << 20 and status["restrictions_not_durable"] == 3, status
        shown = server.cli("status").stdout
        assert "below 128 MiB" in shown and "3 restrictions are in force and not on the disk yet" in shown, shown
        done = timed("device activate", lambda: server.cli("device", "activate", held.id, "--yes", status=1))
        assert "in force" not in done.stderr
        new = subprocess.run([BINARY, "serve", "--config", server.config, "--take-over"], capture_output=True, text=True,
                             timeout=60)
        assert new.returncode == 1 and "3 restrictions are in force there that are not on the disk yet" in new.stderr, new
        assert "free some of the disk" in new.stderr and server.line("takeover-refused")
        assert is_refused(server, revoked) and is_refused(server, below), "the old one serves on, and knows"
        disk.free()
        until("nothing is owed", lambda: server.lines("durable-now"), 60)
        assert server.json("status")["restrictions_not_durable"] == 0
        server.kill9()
        server.start()
        assert server.json("device", "show", revoked.id)["status"] == "revoked"
        assert server.json("device", "show", held.id)["status"] == "inactive"
        assert server.json("ca", "show", root.id)["status"] == "inactive"
        assert admin.http("GET", "/v1/status", token)[0] == 401
    finally:
        admin.server.stop()


def test_a_reload_is_all_or_nothing(disk, serve_once, broker, site, shop, root, tmp_path):
    """A new CA of trusted_cas that cannot be written: the listener's new certificate is not in force either, and the log
    says so truthfully. With room again the same reload takes all of it."""
    second = shop.server("localhost")
    server = serve_once([listener(site, auth="one-way")], broker, state_dir=str(disk.mount / "state"),
                        registry={"trusted_cas": []})
    config = Path(server.config)
    config.write_text(config.read_text().replace("trusted_cas = []", f'trusted_cas = ["{root.identity.chain_file}"]')
                      .replace(site.chain_file, second.chain_file).replace(site.key_file, second.key_file))
    disk.fill()
    server.signal(signal.SIGHUP)
    failed = until("the reload has failed", lambda: [line for line in server.lines("reload") if line.level == "error"])
    print(" ", failed[0].text[:200])
    assert failed[0].fields["what"] == "nothing has changed" and "trusted_cas" in failed[0].fields["why"]
    with Device(server.port) as device:
        assert device.tls.getpeercert(binary_form=True) == der(site.certificate)
    assert server.json("ca", "list") == []
    disk.free()

    def reloaded():
        server.signal(signal.SIGHUP)
        return server.lines("reload", what="done")

    until("the reload is done", reloaded, 60, pause=1)
    with Device(server.port) as device:
        assert device.tls.getpeercert(binary_form=True) == der(second.certificate)
    assert [each["id"] for each in server.json("ca", "list")] == [root.id]


def test_a_backup_and_a_start_on_a_full_disk(disk, serve_once, broker, site, root, tmp_path):
    """RocksDB ends its process where a write fails half-way. A backup to a full disk, and one of a registry whose own disk
    has not a byte left, are refused with why; where there is a little left it is made, and is whole. The server serves on,
    drains, and a start on the full disk says what it needs."""
    server = serve_once([listener(site)], broker, state_dir=str(disk.mount / "state"))
    root.register(server)
    known = root.issue("known")
    admitted(server.port, known).close()
    server.registered(known)
    disk.fill_up()
    for folder in (disk.mount / "copy", tmp_path / "copy"):
        refused = server.cli("backup", str(folder), status=1)
        assert "No space left on device" in refused.stderr, refused
    disk.free()
    disk.fill()
    made = server.cli("backup", str(tmp_path / "again"), status=1)
    assert "done, but its line in the audit log is NOT durable" in made.stderr, made
    disk.fill_up()
    admitted(server.port, known).close()
    server.cli("drain", "--yes", status=1)
    assert server.wait(60) == 0, "it drains, though its line in the audit log is not durable"
    disk.fill_up()  # also what the log had reserved
    started = subprocess.run([BINARY, "serve", "--config", server.config], capture_output=True, text=True, timeout=60)
    assert started.returncode == 1 and "No space left on device" in started.stderr + started.stdout, started
    restored = subprocess.run([BINARY, "restore", tmp_path / "again", "--state-dir", tmp_path / "other"],
                              capture_output=True, text=True, timeout=60)
    assert restored.returncode == 0, restored
    disk.free()
    server.start()
    admitted(server.port, known).close()
