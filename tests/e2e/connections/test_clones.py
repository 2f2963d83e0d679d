"""One certificate used from two places: what each value of `clones` does about it, over all shards."""

import pytest

from harness.broker import ScriptedBroker
from harness.device import Device, Ended, admitted
from harness.server import listener
from harness.wait import until

POLICIES = ["allow", "alert", "refuse-new", "cut-old"]


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    """Behind the listener of each policy a broker that has room for two of one client id: what ends is our doing."""
    lenient = ScriptedBroker()
    running = serve([listener(site, clones="cut-old")] +
                    [listener(site, name=each, clones=each, upstream="lenient") for each in POLICIES],
                    upstreams=[{"name": "broker", "servers": [broker.address]},
                               {"name": "lenient", "servers": [lenient.address]}], proxy={"shards": 2})
    root.register(running)
    yield running
    lenient.stop()


def clones_of(server, identity):
    return {each["client_id"] for each in server.json("session", "list", "--clones")
            if each["device_id"] == identity.id}


def sessions_of(server, identity):
    """Those whose client is there: a broker may take its time to end the others."""
    return [each["client_id"] for each in server.json("session", "list", "--device", identity.id)
            if each["state"] != "closing"]


@pytest.mark.parametrize("differs", ["address", "client id"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_clone(server, root, policy, differs):
    """Counted and listed whatever is done about it; the same device on the same way again is none."""
    identity, port = root.issue(f"{policy} {differs}"), server.ports[policy]
    before = server.metric("clones_total", listener=policy)
    old = admitted(port, identity, client_id="one", source="127.0.0.3")
    twin = admitted(port, identity, client_id="one", source="127.0.0.3")
    assert server.metric("clones_total", listener=policy) == before
    assert clones_of(server, identity) == set()
    source, name = ("127.0.0.4", "one") if differs == "address" else ("127.0.0.3", "two")
    device = Device(port, identity, source=source)
    code = device.connect(name)
    until("it is counted", lambda: server.metric("clones_total", listener=policy) == before + 1)
    assert code == (3 if policy == "refuse-new" else 0)
    if policy == "refuse-new":
        assert server.rejections(policy)["clone"] >= 1
        assert clones_of(server, identity) == set()
    elif policy == "cut-old":
        assert old.end() and twin.end()
        lines = until("both are logged", lambda: len(found := server.lines("ended", listener=policy, reason="clone")) >= 2
                      and found)
        assert all(line.fields["cause"] == "cut" for line in lines)
        until("they are gone", lambda: clones_of(server, identity) == set())
        assert sessions_of(server, identity) == [name]
    else:
        assert clones_of(server, identity) == {"one", name}
    if policy in ("alert", "cut-old"):
        server.line("clone", listener=policy, fingerprint=identity.id)
    warned = server.lines("clone", listener=policy, fingerprint=identity.id)
    assert len(warned) == (1 if policy in ("alert", "cut-old") else 0)
    assert all(line.level == "warning" for line in warned)
    for each in (old, twin, device):
        each.close()
    until("all are gone", lambda: not sessions_of(server, identity))
    admitted(port, identity, client_id="three", source="127.0.0.5").close()


def test_who_left_is_no_clone(server, root):
    """One after the other, from wherever: never a clone."""
    identity = root.issue("one after the other")
    admitted(server.ports["refuse-new"], identity, client_id="first", source="127.0.0.9").close()
    server.registered(identity)
    before = server.metric("clones_total", listener="refuse-new")
    for number in range(8):
        admitted(server.ports["refuse-new"], identity, client_id=f"n{number}", source=f"127.0.0.{10 + number}").close()
        until("it is gone", lambda: not sessions_of(server, identity))
    assert server.metric("clones_total", listener="refuse-new") == before


def test_clones_over_shards(server, root):
    """Sixteen at once, which the kernel spreads over both shards: one is left, the last that came."""
    identity = root.issue("many")
    devices = []
    for number in range(16):
        devices.append(Device(server.port, identity, source=f"127.0.0.{20 + number}"))
        assert devices[-1].connect(f"m{number}") == 0
    until("one is left", lambda: sessions_of(server, identity) == ["m15"])
    devices[-1].ping()
    for each in devices[:-1]:
        with pytest.raises(Ended):
            each.receive()
    for each in devices:
        each.close()
