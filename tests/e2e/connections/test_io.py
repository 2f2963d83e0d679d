"""Ways to the kernel: by epoll where io_uring is refused, as by a container's filter of system calls, or where the
configuration says so. Every end-to-end test runs by epoll, too: SALLYPORT_TEST_IO in tests/run.sh."""

import subprocess

import pytest

from harness.device import Device, admitted, client_context
from harness.refuses_calls import EPOLL_PWAIT2, IO_URING, launcher
from harness.server import BINARY, listener

ALLOWED = ["prlimit", "--memlock=65536:65536"]


def serves(server, root, name):
    """A device of each version registers, sends and gets much, comes back by a ticket; one is cut."""
    for tls in ("1.2", "1.3"):
        identity = root.issue(f"{name} {tls}")
        context = client_context(identity, tls)
        with Device(server.port, context=context) as device:
            assert device.connect(f"{name} {tls}") == 0
            device.subscribe("t")
            device.publish("t", b"x" * 300_000)
            assert device.message() == ("t", b"x" * 300_000)
            server.registered(identity)
    with admitted(server.port, identity) as device:
        server.cli("device", "deactivate", identity.id, "--yes")
        assert device.end()


@pytest.mark.parametrize("name, calls", [("EPERM", (IO_URING,)), ("ENOSYS", (IO_URING,)),
                                         ("EPERM", (IO_URING, EPOLL_PWAIT2))])
def test_where_io_uring_is_refused(serve_once, broker, site, root, name, calls):
    """It serves by epoll, and one line says so, whatever the number of shards."""
    server = serve_once([listener(site)], broker, proxy={"io": "auto", "shards": 3}, launcher=launcher(name, *calls))
    root.register(server)
    line, = server.lines("io-epoll")
    assert line.level == "warning" and "seccomp" in line.fields["why"]
    assert server.line("ready").fields["io"] == server.json("status")["io"] == "epoll"
    checked = subprocess.run([*launcher(name, *calls), BINARY, "check", "--config", server.config],
                             capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and "epoll will be in its place" in checked.stderr, checked.stderr
    serves(server, root, name + str(len(calls)))


def test_by_configuration(serve_once, broker, site, root):
    server = serve_once([listener(site)], broker, proxy={"io": "epoll"})
    root.register(server)
    assert server.lines("io-epoll") == [], "it was asked for"
    serves(server, root, "configured")


def test_with_little_memory_to_lock(serve_once, broker, site, root):
    server = serve_once([listener(site)], broker, proxy={"io": "auto"}, launcher=ALLOWED)
    root.register(server)
    serves(server, root, "memlock")


def test_io_uring_alone_does_not_start_without(serve_once, broker, site, root):
    """`check` says it beforehand; a take-over leads from one way to the other, and back."""
    server = serve_once([listener(site)], broker, proxy={"io": "io_uring", "drain": "2s"})
    root.register(server)
    refused = [*launcher("EPERM", IO_URING), BINARY]
    done = subprocess.run([*refused, "check", "--config", server.config], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "io_uring is refused" in done.stderr, done.stderr
    text = open(server.config).read()
    for io in ("epoll", "io_uring"):
        with open(server.config, "w") as file:
            file.write(text.replace('io = "io_uring"', f'io = "{io}"'))
        with admitted(server.port, root.issue(f"before {io}")) as device:
            old = server.process
            server.start(arguments=("--take-over",))
            for number in range(40):
                admitted(server.port, root.issue(f"{io} {number}")).close()
            device.end(30)
            assert old.wait(60) == 0
        serves(server, root, f"taken over by {io}")
    server.stop()
    server.launcher = launcher("EPERM", IO_URING)
    done = subprocess.run([*refused, "serve", "--config", server.config], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "io_uring is refused" in done.stderr
