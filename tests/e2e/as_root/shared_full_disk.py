"""PostgreSQL's disk is full: its data lies on a loop mount without room."""

import pytest
from harness.device import admitted, refusal
from harness.disk import Disk, timed
from harness.edge import Edge
from harness.wait import until


@pytest.fixture
def disk(work):
    """Where PostgreSQL's user comes: pytest's own folders are root's alone."""
    made = Disk(work / "disk-of-pg")
    yield made
    made.remove()


@pytest.fixture
def edge(disk, work, broker, site):
    folder = work / "pg-full"
    folder.mkdir()
    (folder / "pg").symlink_to(disk.mount)
    running = Edge(folder, broker, site, nodes=2)
    yield running
    running.stop()


def test_a_full_disk_of_postgresql(disk, edge, root):
    """New devices come in and wait here, durably; what cannot be written says why; a restriction with --local holds at once,
    also through a crash. With room again all of it is everywhere."""
    first, second = edge.nodes
    root.register(first)
    edge.settled()
    known = [edge.known(root, f"known {i}") for i in range(3)]
    disk.fill_up()
    crowd = [root.issue(f"crowd {i}") for i in range(60)]
    for at, device in enumerate(crowd):
        admitted(edge.nodes[at % 2].port, device).close()
    for node in edge.nodes:
        until("they wait", lambda n=node: n.json("status")["registration_queue"]["depth"] > 0, 60)
    said = until("it says why", lambda: [line for node in edge.nodes for line in
                                         node.lines("registrations-wait") + node.lines("shared-registry-away")])
    print(" ", said[0].text[:200])
    restricted = []
    for device, action, status in ((known[1], "revoke", "revoked"), (known[2], "deactivate", "inactive")):
        done = timed(action, lambda: first.cli("device", action, device.id, "--yes", status=None))  # noqa: B023
        if done.returncode != 0:  # what fits into the pages that there are is written
            done = timed(f"{action} --local", lambda: first.cli("device", action, device.id, "--local", "--yes"))  # noqa: B023
            assert "in force on this node" in done.stderr
        restricted.append((device, status))
        assert refusal(first.port, device)
    first.kill9()
    first.start()
    for device, _ in restricted:
        assert refusal(first.port, device)
    assert first.json("status")["registration_queue"]["depth"] > 0
    disk.free()
    if edge.postgres.process.poll() is not None:  # without room for its log it ends itself
        edge.postgres.start()
    for node in edge.nodes:
        for device in crowd:
            node.registered(device)
        for device, status in restricted:
            until(f"{device.cn} is {status}", lambda n=node, d=device, s=status:
                  n.json("device", "show", d.id)["status"] == s)
            assert refusal(node.port, device)
    first.cli("device", "revoke", known[0].id, "--yes", "--wait", "30s")
    assert refusal(second.port, known[0])
