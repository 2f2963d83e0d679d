"""PostgreSQL's primary is gone and its standby takes over: with every commit, or without the last ones. Every node follows
it, and what was restricted before stays so, everywhere and all the time."""

import json

import pytest

from harness.authority import Authority
from harness.device import admitted, refusal
from harness.edge import Edge, is_away
from harness.replication import wait_for_standby
from harness.shut_out import ShutOut
from harness.wait import until


@pytest.fixture
def edge(work, broker, site, request):
    running = Edge(work / request.node.name[-30:], broker, site, nodes=getattr(request, "param", 3), standby=True)
    yield running
    running.stop()


def status_of(node, device):
    return node.devices().get(device.id, {}).get("status")


def works_at(edge, fleet, node):
    """A new device comes in there, and is revoked there, everywhere."""
    device = fleet.issue(f"new at {node.folder.name}")
    with admitted(node.port, device) as session:
        for each in edge.nodes:
            each.registered(device)
        done = node.cli("device", "revoke", device.id, "--yes", "--wait", "30s")
        assert f"in force on {len(edge.nodes)} of {len(edge.nodes)} nodes" in done.stderr
        assert session.end() is not None


def test_a_synchronous_standby_has_every_commit_and_is_followed(edge, fleet):
    """No commit is acknowledged that it has not. When it takes over nothing is read twice, and sessions stay. Of a primary
    that has no standby of its own the nodes warn."""
    first, second, third = edge.nodes
    wait_for_standby(edge.postgres)
    first.kill9()
    first.start()
    second.line("shared-registry-alone")
    assert not first.lines("shared-registry-alone")
    assert json.loads(edge.command("status", "-o", "json").stdout)["synchronous_standby"]
    held, revoked, stays = (edge.known(fleet, name) for name in ("held", "revoked", "stays"))
    with ShutOut(edge.nodes) as shut_out, admitted(third.port, stays) as session:
        first.cli("device", "revoke", revoked.id, "--yes", "--wait", "30s")
        second.cli("device", "deactivate", held.id, "--yes", "--wait", "30s")
        shut_out.add(held, revoked)
        edge.postgres.kill9()
        edge.fail_over()
        for node in edge.nodes:
            until("it follows the new one", lambda n=node: str(edge.postgres.port) in
                  n.json("status")["registry"]["server"] and not is_away(n))
            works_at(edge, fleet, node)
            assert node.json("status")["registry"]["snapshots"] <= 1
            assert not [line for line in node.lines("snapshot") if "history" in line.text]
            assert (status_of(node, held), status_of(node, revoked)) == ("inactive", "revoked")
            node.line("shared-registry-alone")
        session.ping()


@pytest.mark.parametrize("edge", [2], indirect=True)
def test_a_synchronous_standby_that_is_away_acknowledges_nothing(edge, fleet):
    """The primary waits for it, and so does everybody: a revocation is said to be not known, one with --local is in
    force. When it is back both are, everywhere."""
    first, second = edge.nodes
    one, two = edge.known(fleet, "one"), edge.known(fleet, "two")
    wait_for_standby(edge.postgres)
    edge.standby.pause()
    try:
        refused = first.cli("device", "revoke", one.id, "--yes", status=1, timeout=30)
        assert "not known whether it is done" in refused.stderr
        done = second.cli("device", "revoke", two.id, "--yes", "--local", timeout=30)
        assert "in force on this node" in done.stderr
        assert refusal(second.port, two)
    finally:
        edge.standby.go_on()
    for node in edge.nodes:
        for device in (one, two):
            until(f"{device.cn} is revoked", lambda n=node, d=device: status_of(n, d) == "revoked")
            assert refusal(node.port, device)
    works_at(edge, fleet, first)


def test_a_standby_that_lacks_the_last_commits_lifts_no_restriction(edge, fleet, work):
    """Of devices that it knows, of one that it never heard of, of a CA: the nodes write them there again, and from the
    moment they were acknowledged nobody of them comes in anywhere."""
    first, second, third = edge.nodes
    other = Authority(work / "other", "Other CA")
    other.register(first)
    old, held, below = edge.known(fleet, "old"), edge.known(fleet, "held"), edge.known(other, "below")
    again, stays = edge.known(fleet, "again"), edge.known(fleet, "stays")
    first.cli("device", "deactivate", again.id, "--yes", "--wait", "30s")
    edge.standby.follows(edge.postgres).cut_off()
    young, plain = edge.known(fleet, "young"), edge.known(fleet, "plain")
    with ShutOut(edge.nodes) as shut_out, admitted(third.port, stays) as session:
        for node, device in ((first, old), (second, young)):
            node.cli("device", "revoke", device.id, "--yes", "--wait", "30s")
        third.cli("device", "deactivate", held.id, "--yes", "--wait", "30s")
        second.cli("ca", "deactivate", other.id, "--yes", "--wait", "30s")
        third.cli("device", "revoke", again.id, "--yes", "--wait", "30s")
        shut_out.add(old, young, held, below, again)
        edge.postgres.kill9()
        edge.fail_over()
        for node in edge.nodes:
            until("it took a snapshot of it", lambda n=node: len(n.lines("snapshot-taken")) == 2)
        for node in edge.nodes:
            for device, status in ((old, "revoked"), (young, "revoked"), (held, "inactive"), (again, "revoked")):
                until(f"{device.cn} is {status}", lambda n=node, d=device, s=status: status_of(n, d) == s)
            until("its CA is inactive", lambda n=node: n.json("ca", "show", other.id)["status"] == "inactive")
            works_at(edge, fleet, node)
        session.ping()
        with admitted(second.port, plain):
            third.registered(plain)


@pytest.mark.parametrize("edge", [2], indirect=True)
def test_a_primary_that_comes_back_is_written_by_nobody(edge, fleet):
    """It hung, its standby took over, and it goes on as if nothing had happened: nobody has fenced it off. What is
    acknowledged afterwards is in the new one's registry, from each node."""
    first, _ = edge.nodes
    device = edge.known(fleet, "device")
    old = edge.postgres
    edge.standby.follows(old)
    old.pause()
    try:
        edge.fail_over()
        for node in edge.nodes:
            until("it follows the new one", lambda n=node: str(edge.postgres.port) in
                  n.json("status")["registry"]["server"] and not is_away(n))
    finally:
        old.go_on()
    for node in edge.nodes:
        works_at(edge, fleet, node)
    first.cli("device", "revoke", device.id, "--yes", "--wait", "30s")
    revision = "select revision from sallyport.registry"
    assert int(old.sql(revision)[0][0]) < edge.revision()
