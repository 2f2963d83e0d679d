"""A disk that hangs: the state folder is a loop mount, and fsfreeze holds every write to it."""

from harness.device import admitted
from harness.disk import is_refused, timed
from harness.server import listener
from harness.wait import until


def test_a_restriction_does_not_wait_for_a_disk_that_hangs(disk, serve_once, broker, site, root):
    """Revoked, deactivated, a listener made mutual while the disk hangs: in force at once, said to be not durable, more of
    them than there are admin workers; /readyz, status and the metric say why. What lets somebody in is refused. Once the
    disk answers, everything is durable: a kill and a start change nothing."""
    server = serve_once([listener(site), listener(site, "open", auth="one-way")], broker,
                        state_dir=str(disk.mount / "state"))
    root.register(server)
    fleet = [root.issue(f"hung {number}") for number in range(8)]
    held = root.issue("held")
    sessions = []
    for identity in [*fleet, held]:
        sessions.append(admitted(server.port, identity))
        server.registered(identity)
    server.cli("device", "deactivate", held.id)
    disk.freeze()
    try:
        for identity in fleet[:6]:
            done = timed("device revoke", lambda one=identity: server.cli("device", "revoke", one.id, "--yes", status=1))
            assert "in force, NOT durable yet" in done.stderr
            assert is_refused(server, identity)
        assert server.probe("livez") == 200 and server.probe("readyz") == 503
        assert server.json("status")["store_stalled"] is True
        assert server.metric("store_stalled") == 1
        done = timed("device activate", lambda: server.cli("device", "activate", held.id, status=1))
        assert "does not answer" in done.stderr and is_refused(server, held)
        timed("device show", lambda: server.cli("device", "show", fleet[7].id))
        assert not is_refused(server, fleet[7]), "who was known is served"
        done = timed("listener auth mutual", lambda: server.cli("listener", "auth", "open", "mutual", status=1))
        assert "in force, NOT durable yet" in done.stderr
        shown = {each["name"]: each["auth"] for each in server.json("listener", "list")}
        assert shown["open"] == "mutual", shown
        done = timed("listener auth one-way", lambda: server.cli("listener", "auth", "open", "one-way", status=1))
        assert "in force" not in done.stderr
        done = timed("ca deactivate", lambda: server.cli("ca", "deactivate", root.id, status=1))
        assert "in force, NOT durable yet" in done.stderr and is_refused(server, fleet[7])
    finally:
        disk.thaw()
    until("the disk answers", lambda: server.probe("readyz") == 200)
    until("nothing is owed", lambda: server.lines("durable-now"))
    timed("ca deactivate again", lambda: server.cli("ca", "deactivate", root.id))
    server.kill9()
    server.start()
    assert {server.json("device", "show", each.id)["status"] for each in fleet[:6]} == {"revoked"}
    assert server.json("device", "show", held.id)["status"] == "inactive"
    assert server.json("ca", "show", root.id)["status"] == "inactive"
    assert {each["name"]: each["auth"] for each in server.json("listener", "list")}["open"] == "mutual"
    for session in sessions:
        session.close()


def test_a_stop_ends_though_the_disk_hangs(disk, serve_once, broker, site, root):
    """SIGTERM while a write hangs: the process says what is lost and is gone once the disk lets it go."""
    server = serve_once([listener(site)], broker, state_dir=str(disk.mount / "state"))
    root.register(server)
    identity = root.issue("device")
    admitted(server.port, identity).close()
    server.registered(identity)
    disk.freeze()
    try:
        server.cli("device", "revoke", identity.id, "--yes", status=1)
        server.process.terminate()
        until("it says what is lost", lambda: server.lines("stopped-not-durable"))
        until("it gives up", lambda: server.lines("stopped-stalled"))
    finally:
        disk.thaw()
    assert server.wait(60) == 1


def test_sessions_are_drained_though_the_disk_hangs(disk, serve_once, broker, site, root, shop):
    """SIGTERM where nothing but the last refusals waits to be written: the device hears its end all the same."""
    server = serve_once([listener(site)], broker, state_dir=str(disk.mount / "state"))
    root.register(server)
    identity = root.issue("device")
    device = admitted(server.port, identity)
    server.registered(identity)
    assert is_refused(server, shop.issue("stranger"))
    disk.freeze()
    try:
        server.process.terminate()
        device.end(30)
    finally:
        disk.thaw()
    assert server.wait(60) == 0
