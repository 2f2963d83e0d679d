"""A device resumes at any node of a shared registry, by keys that are never in clear in PostgreSQL; and what it lost at one
node, an older ticket of it brings back at none."""

import contextlib
import json

import pytest

from harness.authority import Authority
from harness.device import Device, Ended, admitted, client_context
from harness.edge import Edge
from harness.resuming import with_session
from harness.server import BINARY
from harness.wait import until

TLS = ["1.2", "1.3"]


def key_file(folder, digits="5a"):
    path = folder / f"key-{digits}"
    path.write_text(digits * 32)
    path.chmod(0o600)
    return str(path)


def shares(node):
    return node.json("status")["registry"]["ticket_keys"] == "shared"


def key_rows(edge):
    return [row[0] for row in edge.postgres.sql("select encode(key, 'hex') from sallyport.entry where family = 5 and value "
                                                "is not null and key between 'ticket-key:'::bytea and 'ticket-key;'::bytea")]


def first_ticket(node, identity, tls):
    context = client_context(identity, tls)
    with Device(node.port, context=context) as device:
        assert device.connect("first") == 0
        device.ping()
        session = device.tls.session
        device.close_notify()
    assert session.has_ticket
    return context, session


def resumes(node, context, session):
    with Device(node.port, context=with_session(context, session)) as device:
        assert device.connect("again") == 0
        device.ping()
        return device.tls.session_reused


def ticket_for_all(edge, node, identity, tls):
    """A ticket of `node` that every node honours, once all have its key."""
    def honoured():
        ticket = first_ticket(node, identity, tls)
        return ticket if all(resumes(each, *ticket) for each in edge.nodes) else None
    return until("all have the new key", honoured, 20, pause=0.2)


@pytest.fixture(scope="module", params=["auto", "openssl"])
def edge(work, broker, site, request):
    running = Edge(work / f"tickets-{request.param}", broker, site, nodes=0, key_file=key_file(work))
    try:
        for _ in range(3):
            running.add(proxy={"tls_engine": request.param})
        for node in running.nodes:
            until("it shares its ticket keys", lambda n=node: shares(n))
        yield running
    finally:
        running.stop()


@pytest.fixture
def fleet(edge, work, request):
    name = "".join(each if each.isalnum() else "-" for each in request.node.name)[-50:]
    made = Authority(work / f"ca-{name}", name)
    made.register(edge.nodes[0])
    edge.settled()
    return made


@pytest.mark.parametrize("tls", TLS)
def test_a_device_resumes_at_any_node(edge, fleet, tls):
    """Also by a ticket that it was given in a resumption, and at a node that was started anew meanwhile."""
    device = edge.known(fleet, "roams")
    context, session = first_ticket(edge.nodes[0], device, tls)
    for node in edge.nodes:
        assert resumes(node, context, session), node.folder.name
    edge.nodes[1].stop()
    edge.nodes[1].start()
    assert resumes(edge.nodes[1], context, session)


@pytest.mark.parametrize("tls", TLS)
def test_what_was_lost_at_one_node_is_regained_at_none_by_an_older_ticket(edge, fleet, tls):
    """Deactivated at one and activated at another: a third one that was down sees it active, as it was, and declines."""
    device, other = edge.known(fleet, "lost"), edge.known(fleet, "beside")
    first, second, third = edge.nodes
    tickets = [first_ticket(node, device, tls) for node in edge.nodes]
    others = first_ticket(third, other, tls)
    third.stop()
    first.cli("device", "deactivate", device.id, "--yes", "--wait", "30s")
    second.cli("device", "activate", device.id, "--yes", "--wait", "30s")
    third.start()
    edge.settled()
    for node in edge.nodes:
        for context, session in tickets:
            assert not resumes(node, context, session), node.folder.name
        assert resumes(node, *others)
    again = first_ticket(second, device, tls)
    assert all(resumes(node, *again) for node in edge.nodes)


def test_keys_are_sealed_in_postgresql_and_on_disk(edge):
    """The rows hold a name, a time, and what AES-GCM made of 64 bytes; nothing of it is a key."""
    assert len(key_rows(edge)) == 1
    [[length]] = edge.postgres.sql("select length(value) from sallyport.entry where key between 'ticket-key:'::bytea and "
                                   "'ticket-key;'::bytea and value is not null")
    assert int(length) == 12 + 12 + 64 + 16


def declines(node, ticket):
    """A connection that ends before it has said so says nothing: it is made again."""
    try:
        return not resumes(node, *ticket)
    except Ended:
        return False


@pytest.mark.parametrize("tls", TLS)
def test_rotating_drops_them_everywhere(edge, fleet, tls):
    """Also where PostgreSQL is away: at that node at once, and at the others, which had gone on, as soon as it answers."""
    device = edge.known(fleet, "rotated")
    first, second, third = edge.nodes
    before = first_ticket(first, device, tls)
    first.cli("ticket-keys", "rotate", "--yes")
    assert not resumes(first, *before)
    for node in (second, third):
        until("it has dropped them", lambda n=node: declines(n, before))
    until("there is a new one", lambda: len(key_rows(edge)) == 1)
    new = key_rows(edge)
    before = ticket_for_all(edge, second, device, tls)
    edge.postgres.kill9()
    try:
        refused = third.cli("ticket-keys", "rotate", "--yes", status=1)
        assert "done on this node" in refused.stderr
        assert not resumes(third, *before)
        assert resumes(second, *before)
        third.kill9()
        third.start()
        assert not resumes(third, *before)
    finally:
        edge.postgres.start()
    until("the others have dropped them", lambda: declines(first, before) and declines(second, before))
    until("there is a new one", lambda: key_rows(edge) not in ([], new))
    edge.heal()
    ticket_for_all(edge, third, device, tls)
    assert [line["action"] for line in second.json("audit")].count("ticket-keys.rotate") >= 2


def test_a_node_without_the_key_file_says_so(edge, fleet, work):
    """Its own tickets are good there alone; `check` and `status` say why. The same with another key."""
    without = edge.add(key_file="")
    other = edge.add(key_file=key_file(work, "77"))
    try:
        assert without.json("status")["registry"]["ticket_keys"] == "its own: registry.key_file is not set"
        assert "ticket keys" in without.cli("status").stdout
        until("it says so", lambda: "another one than the other nodes'" in other.json("status")["registry"]["ticket_keys"])
        assert any("resumes at the node alone" in each["what"] for each in without.json("status")["warnings"])
        device = edge.known(fleet, "stays")
        for node in (without, other):
            ticket = first_ticket(node, device, "1.3")
            assert resumes(node, *ticket)
            assert not resumes(edge.nodes[0], *ticket)
    finally:
        for node in (without, other):
            node.stop()
            edge.nodes.remove(node)


def test_a_rolling_upgrade_across_a_schema(work, broker, site, root):
    """A registry of schema 1: nodes serve it, with ticket keys of their own. `registry migrate` reaches them while they run,
    and from then on a program of schema 1 writes nothing any more."""
    edge = Edge(work / "upgrade", broker, site, nodes=0, key_file=key_file(work))
    try:
        edge.postgres.sql("alter table sallyport.commit drop column schema; drop table sallyport.answer, "
                          "sallyport.ask; delete from sallyport.entry; "
                          "update sallyport.registry set schema = 1, oldest = 1")
        first, second = edge.add(), edge.add()
        assert "schema 1" in first.json("status")["registry"]["ticket_keys"]
        root.register(first)
        edge.settled()
        device = root.issue("upgraded")
        with admitted(second.port, device):
            first.registered(device)
        edge.settled()
        ticket = first_ticket(first, device, "1.3")
        assert resumes(first, *ticket) and not resumes(second, *ticket)
        assert edge.command("migrate").stdout == "schema 1 became 2\n"
        for node in edge.nodes:
            until("it shares its keys", lambda n=node: shares(n))
        ticket_for_all(edge, first, device, "1.3")
        assert second.cli("device", "deactivate", device.id, "--yes").returncode == 0
        assert json.loads(edge.command("status", "-o", "json").stdout)["schema"] == 2
        with contextlib.suppress(AssertionError):
            edge.postgres.sql("insert into sallyport.commit (revision, stamp, node) values (100000, '', 'old')")
            pytest.fail("a program of schema 1 can still write")
    finally:
        edge.stop()
