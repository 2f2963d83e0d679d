"""The sandboxes that are shipped let Sallyport do all it does: the system calls of the systemd unit, and those of the
seccomp profile for containers."""

import json
import shutil
from pathlib import Path

import pytest

from harness import allows_calls
from harness.device import Device, client_context
from harness.server import listener

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
pytestmark = pytest.mark.skipif(not allows_calls.numbers(), reason="the numbers of system calls are not known here")


def does_all(serve_once, broker, site, root, names, name):
    """Serves by io_uring, registers a device, passes messages, makes a backup, reloads and drains."""
    server = serve_once([listener(site)], broker, proxy={"io": "io_uring"}, launcher=allows_calls.only(names))
    root.register(server)
    identity = root.issue(name)
    with Device(server.port, context=client_context(identity, "1.3")) as device:
        assert device.connect(name) == 0
        device.subscribe("t")
        device.publish("t", b"x" * 100_000)
        assert device.message() == ("t", b"x" * 100_000)
        server.registered(identity)
    server.cli("backup", str(server.folder / "backup"))
    server.start(arguments=("--take-over",))
    assert [line.text for line in server.lines() if line.level in ("error", "warning")] == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze says which calls a set has")
def test_under_the_units_filter(serve_once, broker, site, root):
    names = allows_calls.of_unit(DEPLOY / "systemd/sallyport.service")
    assert {"io_uring_setup", "bind"} <= names and not {"mount", "ptrace", "bpf", "reboot", "kexec_load"} & names
    does_all(serve_once, broker, site, root, names, "under systemd")


def test_under_the_seccomp_profile(serve_once, broker, site, root):
    """clone3 counts as allowed here: it answers ENOSYS, and this filter knows EPERM alone."""
    profile = json.loads((DEPLOY / "seccomp/sallyport.json").read_text())
    names = {name for rule in profile["syscalls"] for name in rule["names"]}
    assert not {"mount", "ptrace", "bpf", "unshare", "setns", "keyctl", "perf_event_open"} & names
    does_all(serve_once, broker, site, root, names, "under seccomp")
