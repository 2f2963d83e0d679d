"""PostgreSQL has another history than a node knows, or none that it can reach: an older backup, deletes that are forgotten,
a node that is new, one that was cut off."""

import json
import re

import pytest

from harness.device import admitted, refusal
from harness.edge import Edge, is_away, refuses_to_start
from harness.unix_http import got
from harness.wait import until


@pytest.fixture
def edge(work, broker, site, request):
    running = Edge(work / request.node.name[-40:], broker, site, nodes=getattr(request, "param", 3))
    yield running
    running.stop()


@pytest.mark.parametrize("edge", [2], indirect=True)
def test_a_node_behind_the_horizon_takes_a_snapshot(edge, fleet):
    """Deletes that it has not seen are forgotten over there: it compares all of it, and forgets them, too."""
    first, second = edge.nodes
    gone, stays_here = edge.known(fleet, "gone"), edge.known(fleet, "stays")
    second.kill9()
    first.cli("device", "delete", gone.id, "--yes")
    edge.postgres.sql("update sallyport.registry set horizon = revision")
    edge.postgres.sql("delete from sallyport.entry where value is null")
    second.start()
    until("a snapshot is taken", lambda: second.lines("snapshot-taken"))
    assert gone.id not in second.devices() and stays_here.id in second.devices()
    assert second.json("status")["devices"] == first.json("status")["devices"]


def test_an_older_backup_in_postgresql_loses_no_revocation(edge, fleet):
    """PostgreSQL comes back without the last commits. Nodes notice by themselves, take its content, and write the
    restrictions that they knew there again: of a device that it has, of one it never heard of, of a CA."""
    first, second, third = edge.nodes
    old = edge.known(fleet, "old")
    held = edge.known(fleet, "held")
    edge.postgres.stop()
    backup = edge.postgres.folder / "backup"
    edge.postgres.copy_cold(backup)
    edge.postgres.start()
    until("it is followed", lambda: not any(is_away(node) for node in edge.nodes))
    young, plain = edge.known(fleet, "young"), edge.known(fleet, "plain")
    for action, device in (("revoke", old), ("revoke", young), ("deactivate", held)):
        first.cli("device", action, device.id, "--yes", "--wait", "10s")
    edge.postgres.stop()
    edge.postgres.put_back(backup)
    edge.postgres.start()
    for node in edge.nodes:
        until("it took a snapshot", lambda n=node: n.lines("snapshot-taken"), 30)
    edge.settled()
    for node in edge.nodes:
        for device in (old, young, held):
            assert refusal(node.port, device), f"{device.cn} at {node.folder.name}"
    for device, status in ((old, "revoked"), (young, "revoked"), (held, "inactive")):
        for node in edge.nodes:
            until(f"{device.cn} is {status}",
                  lambda n=node, d=device, s=status: n.devices().get(d.id, {}).get("status") == s, 30)
    with admitted(third.port, plain):
        third.registered(plain)


@pytest.mark.parametrize("edge", [1], indirect=True)
def test_a_new_node_without_postgresql_does_not_start(edge):
    """It knows nobody, and says why; one that has been here before serves what it knows."""
    edge.postgres.kill9()
    assert "this node is new and cannot read the shared registry" in refuses_to_start(edge.add(start=False))
    edge.nodes[0].kill9()
    edge.nodes[0].start()
    edge.nodes[0].line("shared-registry-behind")


@pytest.mark.parametrize("edge", [1], indirect=True)
def test_a_stale_node_refuses_what_it_cannot_know(edge, fleet, work):
    """After stale_after: "refuse-unknown" refuses new devices and serves known ones; "refuse-all" ends sessions, too. Both
    heal by themselves."""
    known = edge.known(fleet, "known")
    cautious = edge.add(stale_after="2s", stale="refuse-unknown")
    strict = edge.add(stale_after="2s", stale="refuse-all")
    edge.settled()
    session = admitted(strict.port, known)
    strict.registered(known)
    edge.postgres.kill9()
    assert session.end(60) is not None
    assert refusal(strict.port, known)
    until("it is stale", lambda: cautious.lines("stale"))
    with cautious.refuses("not_registered"):
        assert refusal(cautious.port, fleet.issue("stranger"))
    with admitted(cautious.port, known):
        pass
    assert cautious.metric("registry_stale") == 1 and cautious.metric("registry_connected") == 0
    assert cautious.probe("readyz") == 200 and strict.probe("readyz") == 503, "a balancer looks for another one"
    told = json.loads(strict.cli("explain", known.id, "-o", "json", status=1).stdout)
    assert told["reason"] == "ca_inactive" and "shared registry" in told["what_to_do"], told
    assert "it refuses every device" in told["steps"][-1]["found"], told
    for node in (cautious, strict):
        assert {"registry-stale", "registry-away"} <= {each["kind"] for each in got(node, "/v1/attention")["items"]}
    until("who was not heard of for long is seen", lambda: min(
        each["last_seen_seconds_ago"] for each in strict.json("node", "list")) > 2)
    edge.postgres.start()
    until("it is not stale any more", lambda: cautious.lines("not-stale") and strict.lines("not-stale"))
    for node in (cautious, strict):
        with admitted(node.port, known), admitted(node.port, fleet.issue("newcomer")):
            pass
        assert node.probe("readyz") == 200


@pytest.mark.parametrize("edge", [1], indirect=True)
def test_two_processes_of_one_name_are_listed_beside_each_other(edge, fleet):
    """One of them is listed beside the other, is counted and asked as itself, and says so, until the other is gone."""
    first = edge.nodes[0]
    second = edge.add(node="edge-0")
    said = until("the one that is not listed says so", lambda: [
        node for node in (first, second) if node.json("status")["registry"]["same_name"]], 40)[0]
    assert "node-name" in {each["kind"] for each in got(said, "/v1/attention")["items"]}
    beside = said.json("status")["registry"]["node"]
    assert re.fullmatch("edge-0#[0-9a-f]{4}", beside)
    assert f"{beside} BESIDE A PROCESS OF THE SAME NAME" in said.cli("status").stdout
    other = second if said is first else first
    for node in (said, other):
        until("both are listed", lambda n=node: n.cli("node", "list", "-q").stdout.split() == ["edge-0", beside])
    known = edge.known(fleet, "at both")
    with admitted(first.port, known, client_id="at the first"), admitted(second.port, known, client_id="at the second"):
        for node in (said, other):
            listed = node.json("session", "list", "--all-nodes")
            assert {(each["client_id"], each["node"]) for each in listed} == {
                ("at the first", beside if said is first else "edge-0"),
                ("at the second", "edge-0" if said is first else beside)}
    assert "in force on 2 of 2 nodes" in other.cli("device", "revoke", known.id, "--yes", "--wait", "30s").stderr
    other.kill9()  # or cut off: it may have sessions, and lack what is in force
    until("it has the name", lambda: said.json("status")["registry"]["node"] == "edge-0", 40)
    names = until("the silent one is beside it", lambda: [
        name for name in said.cli("node", "list", "-q").stdout.split() if name not in ("edge-0", beside)])
    assert said.cli("node", "list", "-q").stdout.split() == ["edge-0", *names]
    late = "in force on 1 of 2 nodes, " + names[0] + " last seen"
    assert late in said.cli("ca", "deactivate", fleet.id, "--yes", "--wait", "1s").stderr
    until("it may be forgotten", lambda: said.cli("node", "forget", names[0], "--yes", status=None).returncode == 0, 30)
    until("it is gone", lambda: said.cli("node", "list", "-q").stdout.split() == ["edge-0"])
    until("it is alone again", lambda: not said.json("status")["registry"]["same_name"], 40)
    until("it has its name", lambda: said.cli("node", "list", "-q").stdout.split() == ["edge-0"])
