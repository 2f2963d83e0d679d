"""One registry for several machines: what is registered or revoked at one is known at every other."""

import pytest

from harness.device import admitted, refusal
from harness.edge import Edge
from harness.wait import until


@pytest.fixture(scope="module")
def edge(work, broker, site):
    running = Edge(work / "shared", broker, site)
    yield running
    running.stop()


def test_a_ca_registered_at_one_is_known_at_all(edge, fleet):
    """Its proof of possession was given once."""
    for node in edge.nodes:
        assert fleet.id in {each["id"] for each in node.json("ca", "list")}


def test_a_device_that_registers_at_one_is_known_at_every_other(edge, fleet):
    """It connects at the second as a known device: nothing is verified again, and nothing registered twice."""
    first, second, third = edge.nodes
    device = fleet.issue("wanderer")
    with admitted(first.port, device):
        first.registered(device)
    for node in (second, third):
        node.registered(device)
        known = node.metric("handshakes_total", kind="known")
        with admitted(node.port, device) as session:
            session.ping()
        assert node.metric("handshakes_total", kind="known") == known + 1
        assert node.json("device", "show", device.id)["registered_by"] == "auto"
    rows = edge.postgres.sql("select count(*) from sallyport.entry where family = 4 and value is not null and "
                             f"key = '\\x{device.id}'")
    assert rows == [["1"]]


@pytest.mark.parametrize("what", ["revoke", "deactivate"])
def test_what_is_taken_away_at_one_cuts_sessions_at_another(edge, fleet, what):
    first, second, third = edge.nodes
    device = fleet.issue("victim")
    with admitted(second.port, device) as session:
        second.registered(device)
        third.registered(device)
        third.cli("device", what, device.id, "--yes")
        assert session.end() is not None
    for node in edge.nodes:
        until("it is known", lambda n=node: n.json("device", "show", device.id)["status"] != "active")
        assert refusal(node.port, device)


def test_deleting_a_ca_at_one_forgets_its_devices_everywhere(edge, fleet):
    """Counts agree on every node, also after the CA is registered again and its devices come back."""
    first, second, third = edge.nodes
    devices = [fleet.issue(f"gone {i}") for i in range(3)]
    for device in devices:
        with admitted(first.port, device):
            first.registered(device)
    edge.settled()
    second.cli("device", "revoke", devices[0].id, "--yes")
    edge.settled()
    before = [node.json("status")["devices"] for node in edge.nodes]
    assert before[0] == before[1] == before[2]
    second.cli("ca", "delete", fleet.id, "--cascade", "--yes")
    edge.settled()
    for node in edge.nodes:
        assert refusal(node.port, devices[1])
        until("its devices are gone", lambda n=node: devices[1].id not in n.devices())
    fleet.register(third)
    edge.settled()
    with admitted(first.port, devices[1]):
        first.registered(devices[1])
    edge.settled()
    for node in edge.nodes:
        node.registered(devices[1])
        assert refusal(node.port, devices[0]), "a revoked one stays so"
        counts = {each["id"]: each["devices"] for each in node.json("ca", "list")}[fleet.id]
        assert counts == {"active": 1, "inactive": 0, "pending": 0, "revoked": 1}, node.folder.name
