"""A node that is cut off: nothing is closed, and no byte comes through. It serves, holds what an operator restricts there, and
is one of all when it is back. Nodes whose clocks disagree by minutes."""

import pytest

from harness.authority import Authority
from harness.clock import Clock
from harness.device import admitted, refusal
from harness.edge import Edge, is_away
from harness.shut_out import ShutOut
from harness.wait import until
from harness.wire import Wire


@pytest.fixture(scope="module")
def machines(work, broker, site):
    """The first is on a wire of its own. The second one's clock is 10 minutes behind, the third one's 10 ahead."""
    running = Edge(work / "partition", broker, site, nodes=0)
    running.wire = Wire(running.postgres.port)
    try:
        running.add(shared=running.url.replace(str(running.postgres.port), str(running.wire.port)))
        for name, seconds in (("behind", -600), ("ahead", 600)):
            running.add(environment=Clock(work / f"clock-{name}", seconds).environment)
        yield running
    finally:
        running.wire.mend()
        running.stop()
        running.wire.stop()


@pytest.fixture
def edge(machines):
    machines.wire.mend()
    machines.heal()
    return machines


def status_of(node, device):
    return node.devices().get(device.id, {}).get("status")


def test_a_node_that_is_cut_off_holds_what_is_restricted_there(edge, fleet, work):
    """With --local while it is alone, also through a crash, while others let these devices in and one of them writes the
    opposite; and new devices that came to it. When it is back all of it is everywhere, and what others revoked is there."""
    first, second, third = edge.nodes
    other = Authority(work / "cut-off", "Cut off CA")
    other.register(first)
    revoked, held, elsewhere, opposite = (edge.known(fleet, name) for name in ("revoked", "held", "elsewhere", "opposite"))
    below = edge.known(other, "below")
    edge.wire.cut()
    until("it is noticed", lambda: is_away(first))
    for action, device in (("revoke", revoked), ("deactivate", held), ("revoke", opposite)):
        assert "in force on this node" in first.cli("device", action, device.id, "--local", "--yes").stderr
    first.cli("ca", "deactivate", other.id, "--local", "--yes")
    with ShutOut([first]) as shut_out:
        shut_out.add(revoked, held, opposite, below)
        done = third.cli("device", "revoke", elsewhere.id, "--yes", "--wait", "1s")
        assert "in force on 2 of 3 nodes, edge-0 last seen" in done.stderr
        third.cli("device", "deactivate", opposite.id, "--yes")
        second.cli("device", "activate", opposite.id, "--yes")
        for device in (revoked, held, opposite, below):
            with admitted(second.port, device):
                pass
        with admitted(first.port, elsewhere):  # nobody could tell it
            pass
        late = fleet.issue("late")
        with admitted(first.port, late):
            until("it waits on disk", lambda: first.json("status")["registration_queue"]["depth"] == 1)
        first.kill9()
        first.start()
        edge.wire.mend()
        for node in edge.nodes:
            node.registered(late)
            for device, status in ((revoked, "revoked"), (held, "inactive"), (elsewhere, "revoked"), (opposite, "revoked")):
                until(f"{device.cn} is {status}", lambda n=node, d=device, s=status: status_of(n, d) == s)
                assert refusal(node.port, device)
            until("its CA is inactive", lambda n=node: n.json("ca", "show", other.id)["status"] == "inactive")
            assert refusal(node.port, below)
        edge.settled()
    assert len({str(node.json("status")["devices"]) for node in edge.nodes}) == 1


def test_clocks_that_disagree_change_nothing(edge, fleet, work):
    """What is registered, revoked and logged has one order; how far a node is does not depend on its clock; and a code for a
    CA that one node gave out is good at another."""
    first, behind, ahead = edge.nodes
    for giver, taker in ((behind, ahead), (ahead, behind), (behind, first), (first, ahead)):
        made = Authority(work / f"ca-{giver.folder.name}-{taker.folder.name}", f"{giver.folder.name} {taker.folder.name}")
        proof = made.verification(giver.cli("ca", "code").stdout.strip())
        edge.settled()
        taker.cli("ca", "register", made.identity.chain_file, proof.chain_file)
    order = []
    for node in (ahead, behind, first, ahead, behind):
        device = fleet.issue(f"of {node.folder.name} {len(order)}")
        with admitted(node.port, device) as session:
            node.registered(device)
            done = node.cli("device", "revoke", device.id, "--yes", "--wait", "30s")
            assert "in force on 3 of 3 nodes" in done.stderr
            assert session.end() is not None
        order.append(device.id)
    edge.settled()
    for node in edge.nodes:
        lines = [line for line in node.json("audit") if line["action"] == "device.revoke" and line["target"] in order]
        assert sorted(lines, key=lambda line: line["at"]) in (lines, lines[::-1])
        assert [line["target"] for line in sorted(lines, key=lambda line: line["at"])] == order
        for each in node.json("node", "list"):
            assert each["last_seen_seconds_ago"] < 300, "the clocks differ by ten minutes"
