"""PostgreSQL dies or stops answering; a node dies: nothing acknowledged is lost, and every node ends with what PostgreSQL
has. One PostgreSQL and three nodes for all of them: each test leaves them as it found them."""

import os
import re
import threading
import time

import pytest

from harness.device import Device, Ended, admitted, client_context, refusal
from harness.edge import Edge, is_away
from harness.resuming import with_session
from harness.shut_out import ShutOut
from harness.wait import stays, until


@pytest.fixture(scope="module")
def machines(work, broker, site):
    running = Edge(work / "faults", broker, site)
    yield running
    running.stop()


@pytest.fixture
def edge(machines):
    machines.heal()
    return machines


def waits(node):
    return node.json("status")["registration_queue"]["depth"] == 1


def test_without_postgresql_nodes_serve_and_new_devices_wait_on_disk(edge, fleet):
    """Known devices come in, new ones too; an operator's change is refused with the reason. The waiting ones survive a
    crash of their node, and are registered when PostgreSQL is back."""
    first, second, _ = edge.nodes
    known = edge.known(fleet, "known")
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first) and is_away(second))
    late = fleet.issue("late")
    with admitted(first.port, known), admitted(first.port, late) as session:
        session.ping()
        until("it waits on disk", lambda: first.lines("registrations-aside") and waits(first))
    assert first.json("status")["registration_queue"]["depth"] == 1
    refused = first.cli("device", "deactivate", known.id, "--yes", status=1)
    assert "the shared registry cannot be changed" in refused.stderr and "--local" in refused.stderr
    assert first.json("device", "show", known.id)["status"] == "active", "what is refused has not happened"
    first.kill9()
    first.start()
    assert first.json("status")["registration_queue"]["depth"] == 1
    with admitted(first.port, known):
        pass
    edge.postgres.start()
    for node in edge.nodes:
        assert node.registered(late)["registered_by"] == "auto"
    until("nothing waits", lambda: first.json("status")["registration_queue"]["depth"] == 0)


def test_what_is_done_at_one_node_needs_no_postgresql(edge, fleet):
    """It is done, and said to be; its line in the audit log waits on the node's disk, through a crash."""
    first, second, _ = edge.nodes
    known = edge.known(fleet, "cut by hand")
    name = first.json("upstream", "list")[0]["name"]
    server = first.json("upstream", "show", name)["servers"][0]["server"]
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first))
    with admitted(first.port, known) as session:
        first.cli("session", "cut", first.json("session", "list")[0]["id"], "--yes")
        assert session.end() is not None
    first.cli("upstream", "drain", name, server)
    first.cli("upstream", "undrain", name, server)
    first.cli("log", "level", "debug")
    first.cli("backup", str(first.folder / "of-one-node"))
    first.kill9()
    first.start()
    first.cli("log", "level", "info")
    edge.postgres.start()
    edge.heal()

    def lines():
        return [line for line in second.json("audit") if "written later" in line["from"]]
    until("all lines are there", lambda: len(lines()) >= 6)
    assert sorted(line["action"] for line in lines()) == ["backup", "log.level", "log.level", "session.cut",
                                                          "upstream.drain", "upstream.undrain"]
    assert all(re.search(r"at edge-0 \(\d{4}-\d\d-\d\dT[0-9:.]+Z, written later\)$", line["from"]) for line in lines())


@pytest.mark.parametrize("action, reason", [("revoke", "device_revoked"), ("deactivate", "device_inactive")])
def test_a_new_device_that_waits_is_restricted_on_the_spot(edge, fleet, action, reason):
    """Nobody else knows of it; it is cut, refused through a crash, and registered as what it was made, by no other way."""
    first, second, third = edge.nodes
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first))
    stolen, other = fleet.issue("stolen while it waits"), fleet.issue("waits, too")
    context = client_context(stolen, "1.3")
    with admitted(first.port, other), Device(first.port, context=context) as session:
        assert session.connect("with a ticket") == 0
        session.ping()
        ticket = session.tls.session
        until("they wait on disk", lambda: first.json("status")["registration_queue"]["depth"] == 2)
        done = first.cli("device", action, stolen.id, "--local", "--yes")
        assert "not registered yet" in done.stderr and "in force on this node" in done.stderr
        assert "1 restriction of --local in force here alone" in first.cli("status").stdout
        assert session.end() is not None
    assert first.json("status")["registration_queue"]["depth"] == 1
    assert refusal(first.port, stolen)
    with pytest.raises(Ended), Device(first.port, context=with_session(context, ticket)) as session:
        session.connect("by its ticket")
    first.kill9()
    first.start()
    assert refusal(first.port, stolen)
    edge.postgres.start()
    for node in edge.nodes:
        node.registered(other)
        found = until("it is registered", lambda n=node: n.devices().get(stolen.id))
        assert found["status"] == {"revoke": "revoked", "deactivate": "inactive"}[action]
    edge.heal()
    until("nothing of --local waits", lambda: first.json("status")["registry"]["restrictions_waiting"] == 0)
    for node in edge.nodes:
        with node.refuses(reason):
            assert refusal(node.port, stolen)
    line = [each for each in third.json("audit") if each["target"] == stolen.id]
    assert [each["action"] for each in line] == [f"device.{action}"] and "--local" in line[0]["from"], line
    if action == "deactivate":
        second.cli("device", "activate", stolen.id, "--yes", "--wait", "30s")
        with admitted(third.port, stolen):
            pass


def test_what_a_deleted_ca_has_left_is_no_registration(edge, fleet):
    """PostgreSQL went while its devices were taken out; the CA is back, and a device comes as a new one, and is put on hold."""
    first = edge.nodes[0]
    device = edge.known(fleet, "left behind")
    edge.postgres.sql("create function keeps() returns trigger language plpgsql as $$ begin raise exception 'kept'; end $$; "
                      "create trigger keeps before update on sallyport.entry for each row when (old.family = 4 and new.value "
                      "is null) execute function keeps()")
    first.cli("ca", "delete", fleet.id, "--yes", "--cascade", status=None)
    fleet.register(first)
    edge.settled()
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first))
    try:
        with admitted(first.port, device):
            until("it waits on disk", lambda: waits(first))
        first.cli("device", "deactivate", device.id, "--local", "--yes")
        assert refusal(first.port, device)
        first.kill9()
        first.start()
        assert refusal(first.port, device)
    finally:
        edge.postgres.start()
        edge.postgres.sql("drop trigger keeps on sallyport.entry; drop function keeps")
    edge.heal()
    for node in edge.nodes:
        until("it is on hold", lambda n=node: n.devices().get(device.id, {}).get("status") == "inactive")
        assert refusal(node.port, device)


def test_a_device_that_waits_is_revoked_after_it_was_put_on_hold(edge, fleet):
    first, second, third = edge.nodes
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first))
    stolen = fleet.issue("on hold, then stolen")
    with admitted(first.port, stolen):
        until("it waits on disk", lambda: waits(first))
    for action, status in (("deactivate", "inactive"), ("revoke", "revoked"), ("revoke", "revoked")):
        assert first.cli("device", action, stolen.id, "--local", "--yes").stdout == f"{stolen.id} {status}\n"
    assert "is final" in first.cli("device", "deactivate", stolen.id, "--local", "--yes", status=1).stderr
    first.kill9()
    first.start()
    assert refusal(first.port, stolen)
    edge.postgres.start()
    edge.heal()
    for node in edge.nodes:
        until("it is revoked", lambda n=node: n.devices().get(stolen.id, {}).get("status") == "revoked")
    until("both acts are in the audit log", lambda: sorted(
        each["action"] for each in third.json("audit") if each["target"] == stolen.id) ==
        ["device.deactivate", "device.revoke"])


def test_a_revoked_one_that_waits_is_revoked_though_another_took_its_serial(edge, fleet):
    """What takes one of a serial away takes all: the other one does not stand for it, and neither can be deleted."""
    first, second, third = edge.nodes
    until("all know the CA", lambda: all(fleet.id in {each["id"] for each in node.json("ca", "list")} for node in edge.nodes))
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first) and is_away(second))
    stolen, other = fleet.issue("stolen", serial=4711), fleet.issue("of the same serial", serial=4711)
    with admitted(first.port, stolen), admitted(second.port, other):
        until("both wait", lambda: waits(first) and waits(second))
    first.cli("device", "revoke", stolen.id, "--local", "--yes")
    first.kill9()
    edge.postgres.start()
    third.registered(other)
    first.start()
    edge.heal()
    for node in edge.nodes:
        for each in (stolen, other):
            until("it is revoked", lambda n=node, d=each: n.devices().get(d.id, {}).get("status") == "revoked")
    for each in (stolen, other):
        assert "is revoked" in second.cli("device", "delete", each.id, "--yes", status=1).stderr
    for node in edge.nodes:
        for each in (stolen, other):
            assert refusal(node.port, each), "revoked is final"
    assert stolen.id in {each["target"] for each in third.json("audit")}


def test_a_local_restriction_holds_at_once_and_reaches_everybody(edge, fleet):
    """Through a crash of its node, while others cannot know, and against the row that says otherwise."""
    first, second, third = edge.nodes
    revoked, held, other = (edge.known(fleet, name) for name in ("revoked", "held", "other"))
    refused = first.cli("device", "revoke", revoked.id, "--local", "--yes", status=1)
    assert "leave --local away" in refused.stderr
    edge.postgres.kill9()
    until("it is noticed", lambda: all(is_away(node) for node in edge.nodes))
    said = first.cli("doctor", "--config", first.config, status=1).stdout
    assert "problem: shared registry: not followed: " in said and "--local" in said, said
    assert "`ca deactivate` with --local" in first.cli("ca", "code", status=1).stderr
    with admitted(first.port, revoked) as session:
        done = first.cli("device", "revoke", revoked.id, "--local", "--yes")
        assert "in force on this node" in done.stderr
        assert session.end() is not None
    first.cli("device", "deactivate", held.id, "--local", "--yes")
    second.cli("device", "deactivate", held.id, "--local", "--yes")
    first.cli("backup", str(first.folder / "while-it-is-away"))
    first.kill9()
    first.start()
    assert refusal(first.port, revoked) and refusal(first.port, held)
    with admitted(second.port, revoked), admitted(first.port, other):
        pass
    edge.postgres.start()
    for node in edge.nodes:
        until("it is revoked", lambda n=node: n.json("device", "show", revoked.id)["status"] == "revoked")
        until("it is inactive", lambda n=node: n.json("device", "show", held.id)["status"] == "inactive")
        assert refusal(node.port, revoked)
    until("both who deactivated it are in the audit log", lambda: {
        re.search(r" at (\S+) \(--local", each["from"]).group(1) for each in third.json("audit")
        if each["action"] == "device.deactivate" and each["target"] == held.id} == {"edge-0", "edge-1"})
    [line] = [each for each in third.json("audit") if each["action"] == "device.revoke" and each["target"] == revoked.id]
    assert (line["before"], line["after"]) == ("active", "revoked")
    where, when = re.fullmatch(r"socket pid \d+ at (\S+) \(--local, (\S+)\)", line["from"]).groups()
    assert where == "edge-0" and when < line["at"], "when it was in force there, and when it was written"


def test_a_ca_deactivated_on_one_node_alone_is_deactivated_everywhere(edge, fleet):
    first, second, _ = edge.nodes
    device = edge.known(fleet, "of it")
    edge.postgres.kill9()
    until("it is noticed", lambda: is_away(first))
    with admitted(first.port, device) as session:
        first.cli("ca", "deactivate", fleet.id, "--local", "--yes")
        assert session.end() is not None
    assert refusal(first.port, device)
    with admitted(second.port, device) as session:
        edge.postgres.start()
        assert session.end() is not None
    assert second.json("ca", "show", fleet.id)["status"] == "inactive"


def test_a_postgresql_that_does_not_answer_stops_nobody(edge, fleet):
    """SIGSTOP: connections stay open, and no answer comes. Nodes serve; a change is refused in seconds; afterwards all
    is as before."""
    first, second, _ = edge.nodes
    known = edge.known(fleet, "known")
    edge.postgres.pause()
    try:
        refused = first.cli("device", "deactivate", known.id, "--yes", status=1, timeout=30)
        assert "PostgreSQL" in refused.stderr
        late = fleet.issue("late")
        with admitted(second.port, known), admitted(second.port, late) as session:
            session.ping()
        first.cli("device", "revoke", known.id, "--local", "--yes")
        assert refusal(first.port, known)
    finally:
        edge.postgres.go_on()
    for node in edge.nodes:
        node.registered(late)
        until("it is revoked", lambda n=node: n.json("device", "show", known.id)["status"] == "revoked")


def test_a_local_restriction_does_not_wait_for_postgresql(edge, fleet):
    """PostgreSQL stands still, nobody has noticed, and a change waits for it: `--local` refuses the device meanwhile."""
    first = edge.nodes[0]
    known, other = edge.known(fleet, "known"), edge.known(fleet, "other")
    edge.postgres.pause()
    try:
        told = []
        waiting = threading.Thread(
            target=lambda: told.append(first.cli("device", "deactivate", other.id, "--yes", status=None).stderr))
        waiting.start()
        time.sleep(0.5)
        first.cli("device", "revoke", known.id, "--local", "--yes")
        assert refusal(first.port, known)
        waiting.join()
        assert "does not wait for it" in told[0]
    finally:
        edge.postgres.go_on()
    for node in edge.nodes:
        until("it is revoked", lambda n=node: n.json("device", "show", known.id)["status"] == "revoked")


def test_a_node_that_was_down_catches_up_before_it_serves(edge, fleet):
    """What was revoked while it was down is refused at its first connection."""
    first, second, _ = edge.nodes
    device = edge.known(fleet, "victim")
    second.kill9()
    first.cli("device", "revoke", device.id, "--yes")
    newcomers = [fleet.issue(f"new {i}") for i in range(3)]
    for each in newcomers:
        with admitted(first.port, each):
            first.registered(each)
    second.start()
    assert refusal(second.port, device)
    assert second.json("status")["registry"]["snapshots"] == 0, "it follows: nothing is read twice"
    for each in newcomers:
        second.registered(each)


def test_two_certificates_with_one_serial_at_two_nodes_one_wins(edge, fleet):
    """Both are served, since neither node can know; where they are written one is refused, and its session cut."""
    first, second, _ = edge.nodes
    edge.postgres.pause()
    try:
        one = fleet.issue("twin", serial=4711)
        two = fleet.issue("twin", serial=4711)
        sessions = [admitted(first.port, one, client_id="one"), admitted(second.port, two, client_id="two")]
        until("both nodes have given up waiting", lambda: waits(first) and waits(second), 30)
    finally:
        edge.postgres.go_on()
    registered = until("one is registered", lambda: {one.id, two.id} & set(first.devices()), 30)
    edge.settled()
    assert len({one.id, two.id} & set(second.devices())) == 1
    loser = sessions[1] if one.id in registered else sessions[0]
    assert loser.end(30) is not None
    winner = sessions[0] if one.id in registered else sessions[1]
    stays("the winner stays", lambda: winner.ping() is None, 0.5)
    for each in sessions:
        each.close()


def test_the_same_device_at_two_nodes_at_once_is_one_record(edge, fleet):
    first, second, _ = edge.nodes
    device = fleet.issue("double")
    with admitted(first.port, device, client_id="one") as one, admitted(second.port, device, client_id="two") as two:
        first.registered(device)
        second.registered(device)
        one.ping()
        two.ping()
    assert edge.postgres.sql("select count(*) from sallyport.entry where family = 4 and value is not null and "
                             f"key = '\\x{device.id}'") == [["1"]]


def test_postgresql_is_killed_under_load_and_started_again(edge, fleet):
    """Devices come to every node all the time. Each that was let in is registered everywhere in the end, each once; and who
    was revoked meanwhile comes in nowhere."""
    victims = [edge.known(fleet, f"victim {i}") for i in range(2)]
    crowd = [fleet.issue(f"crowd {i}") for i in range(240)]
    ended, failures = threading.Event(), []

    def come(node, devices):
        for device in devices:
            try:
                admitted(node.port, device).close()
            except (Ended, AssertionError, OSError) as failure:
                failures.append(f"{device.cn}: {failure}")
            ended.wait(0.02)

    callers = [threading.Thread(target=come, args=(node, crowd[at::3])) for at, node in enumerate(edge.nodes)]
    with ShutOut(edge.nodes) as shut_out:
        edge.nodes[1].cli("device", "revoke", victims[0].id, "--yes", "--wait", "30s")
        shut_out.add(victims[0])
        for each in callers:
            each.start()
        for _ in range(2):
            until("some came", lambda: edge.nodes[0].json("status")["devices"]["active"] > 0)
            edge.postgres.kill9()
            ended.wait(0.7)
            edge.postgres.start()
            ended.wait(0.7)
        for each in callers:
            each.join()
        until("an operator's change is taken", lambda: edge.nodes[2].cli(
            "device", "revoke", victims[1].id, "--yes", "--wait", "30s", status=None).returncode == 0)
        shut_out.add(victims[1])
        assert not failures, failures[:5]
        for node in edge.nodes:
            until("nothing waits", lambda n=node: n.json("status")["registration_queue"]["depth"] == 0)
        edge.settled()
        for node in edge.nodes:
            missing = {device.id for device in crowd} - set(node.devices())
            assert not missing, f"{len(missing)} are missing at {node.folder.name}"


def test_a_postgresql_that_hangs_for_long(edge, fleet):
    """SIGSTOP for 10 s (SALLYPORT_SHARED_HANG says for how long): nodes serve all the time, and go on as before."""
    second = edge.nodes[1]
    known, victim = edge.known(fleet, "known"), edge.known(fleet, "victim")
    snapshots = [node.json("status")["registry"]["snapshots"] for node in edge.nodes]
    seconds = float(os.environ.get("SALLYPORT_SHARED_HANG", "10"))
    arrivals, slowest = [], 0
    edge.postgres.pause()
    try:
        until_then = time.monotonic() + seconds
        second.cli("device", "revoke", victim.id, "--local", "--yes", timeout=30)
        while time.monotonic() < until_then:
            for node in edge.nodes:
                asked = time.monotonic()
                arrivals.append(fleet.issue(f"arrival {len(arrivals)}"))
                with admitted(node.port, known, client_id=f"k{node.folder.name}"), admitted(node.port, arrivals[-1]):
                    pass
                slowest = max(slowest, time.monotonic() - asked)
            assert refusal(second.port, victim)
            time.sleep(0.3)
    finally:
        edge.postgres.go_on()
    print(f"hung for {seconds:g} s: the slowest connection took {slowest * 1000:.0f} ms")
    for node in edge.nodes:
        until("they are registered", lambda n=node: {device.id for device in arrivals} <= set(n.devices()))
        until("it is revoked", lambda n=node: n.json("device", "show", victim.id)["status"] == "revoked")
        assert refusal(node.port, victim)
    assert snapshots == [node.json("status")["registry"]["snapshots"] for node in edge.nodes], "they followed"


def test_a_postgresql_that_is_read_only_is_followed(edge, fleet):
    """Nothing can be written: a change is refused with the reason, new devices wait here, and each is said once. When it
    takes writes again all of it is written."""
    first, second, _ = edge.nodes
    known = edge.known(fleet, "known")
    said = [len(node.lines("registrations-wait")) for node in edge.nodes]
    edge.postgres.sql("alter system set default_transaction_read_only = on")
    edge.postgres.sql("select pg_reload_conf()")
    try:
        refused = first.cli("device", "deactivate", known.id, "--yes", status=1)
        assert "read-only" in refused.stderr
        done = first.cli("device", "deactivate", known.id, "--local", "--yes")
        assert "in force on this node" in done.stderr and refusal(first.port, known)
        late = fleet.issue("late")
        with admitted(second.port, late):
            until("it waits", lambda: waits(second))
        first.line("shared-registry-unwritable")
        time.sleep(3)
        for node, before in zip(edge.nodes, said):
            assert not is_away(node)
            assert len(node.lines("shared-registry-unwritable")) <= 1
            assert len(node.lines("registrations-wait")) <= before + 1
        assert "read-only" in first.json("status")["registry"]["why"]
    finally:
        edge.postgres.sql("alter system reset default_transaction_read_only")
        edge.postgres.sql("select pg_reload_conf()")
    for node in edge.nodes:
        node.registered(late)
        until("it is inactive", lambda n=node: n.json("device", "show", known.id)["status"] == "inactive")
    first.line("shared-registry-writable")
