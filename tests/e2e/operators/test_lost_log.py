"""What was answered as durable is there after a start, or there is no start: a log that was damaged between a kill and
the next start, a registry that was put back by hand."""

import shutil
import subprocess
from pathlib import Path

from harness.device import admitted
from harness.server import BINARY, listener


def refused_start(server):
    """Serving ends with exit status 1 and one line, which is returned."""
    done = subprocess.run([BINARY, "serve", "--config", server.config], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def on_line(server, root, name):
    """A device that has connected and is registered."""
    identity = root.issue(name)
    admitted(server.port, identity).close()
    server.registered(identity)
    return identity


def newest_log(server):
    return max(Path(server.folder, "state", "registry").glob("*.log"), key=lambda path: path.stat().st_size)


def test_a_damaged_byte_of_the_log_undoes_no_revocation(serve_once, broker, site, root):
    """kill -9, one byte of RocksDB's log flipped: the start is refused by one line that names the file and the ways
    out. Accepted once, the loss is in the log and in the audit log, and the next start needs no flag."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    fleet = [on_line(server, root, f"lost {number}") for number in range(8)]
    for identity in fleet:
        server.cli("device", "revoke", identity.id, "--yes")
    revision = server.json("status")["revision"]
    server.kill9()

    log = newest_log(server)
    whole = log.read_bytes()
    log.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    line = refused_start(server)
    assert f"revision {revision} was answered as durable" in line
    assert str(log) in line and "would be let in again" in line
    assert "restore a backup" in line and "serve --accept-loss" in line
    assert refused_start(server) == line, "the first refusal changed something"

    server.start(arguments=["--accept-loss"])
    (said,) = server.lines("loss-accepted")
    assert said.fields["answered"] == str(revision)
    (audit,) = [each for each in server.json("audit") if each["action"] == "registry.accept-loss"]
    assert audit["before"] == f"revision {revision}"
    assert server.json("status")["revision"] > revision
    server.stop()
    server.start()
    assert not server.lines("loss-accepted")


def test_the_same_log_with_its_byte_mended_serves(serve_once, broker, site, root):
    """A start that was refused has changed nothing."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    identity = on_line(server, root, "mended")
    server.cli("device", "revoke", identity.id, "--yes")
    server.kill9()
    log = newest_log(server)
    whole = log.read_bytes()
    log.write_bytes(whole[:-30])
    refused_start(server)
    log.write_bytes(whole)
    server.start()
    assert server.json("device", "show", identity.id)["status"] == "revoked"


def test_a_registry_put_back_by_hand_is_not_taken_for_the_present_one(serve_once, broker, site, root):
    """An older copy of the registry in its place is refused; `restore` into a new folder is the way, and starts."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    identity = on_line(server, root, "put back")
    backup = server.folder / "backup"
    server.cli("backup", str(backup))
    server.cli("device", "revoke", identity.id, "--yes")
    server.kill9()
    state = server.folder / "state"
    shutil.move(state / "registry", server.folder / "aside")
    assert "has lost changes" in refused_start(server)
    assert not (state / "registry").exists(), "a registry was begun anew"
    shutil.copytree(backup / "registry", state / "registry")
    assert "has lost changes" in refused_start(server)

    shutil.rmtree(state)
    done = subprocess.run([BINARY, "restore", str(backup), "--state-dir", str(state), "--yes"], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    server.start()
    assert server.json("device", "show", identity.id)["status"] == "active"
