"""Many devices that a node takes in at once: while it serves, when it is new, and where it is killed in the middle of it.

SALLYPORT_SHARED_DEVICES says how many: 20,000 in the test command."""

import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness.device import admitted, refusal
from harness.edge import Edge
from harness.server import BINARY
from harness.wait import until

DEVICES = int(os.environ.get("SALLYPORT_SHARED_DEVICES", "20000"))
FILL = Path(BINARY).parent / "bench" / "registry_fill"
PATIENCE = 60 + DEVICES / 1000

pytestmark = pytest.mark.skipif(not FILL.exists(), reason=f"there is no registry_fill at {FILL.parent}")


@pytest.fixture(scope="module")
def filled(work):
    """A registry of its own with that many devices."""
    folder = work / "filled"
    subprocess.run([FILL, folder, str(DEVICES)], check=True, timeout=PATIENCE, capture_output=True)
    return folder


@pytest.fixture
def edge(work, broker, site, request, filled):
    """One node, and a second database of the same PostgreSQL with all these devices. Ids of chains do not meet."""
    running = Edge(work / request.node.name[-30:], broker, site, nodes=0)
    running.postgres.sql("update sallyport.registry set next_chain = 1000")
    running.add()
    running.postgres.sql("create database filled")
    running.filled = running.postgres.url.replace("/postgres", "/filled").replace("//filled", "//postgres")
    for command in (["init"], ["import", str(filled), "--yes"]):
        subprocess.run([BINARY, "registry", *command, "--shared", running.filled], check=True, timeout=PATIENCE,
                       capture_output=True)
    yield running
    running.stop()


def pour(edge):
    """What the other database has becomes a commit of somebody else, which is too large to be followed."""
    rows = edge.postgres.folder / "rows"
    edge.postgres.sql(f"copy (select family, key, value from sallyport.entry where family in (1, 2, 4)) to '{rows}' "
                      "(format binary)", database="filled")
    edge.postgres.sql(f"""
        create unlogged table poured (family smallint, key bytea, value bytea);
        copy poured from '{rows}' (format binary);
        begin;
        lock table sallyport.entry, sallyport.registry;
        insert into sallyport.entry select family, key, value, (select revision + 1 from sallyport.registry) from poured;
        update sallyport.registry set revision = revision + 1, stamp = 'sixteen bytes ok', horizon = revision + 1;
        insert into sallyport.commit (revision, stamp, node, schema) select revision, stamp, 'poured', 2 from sallyport.registry;
        commit;
        drop table poured""")


def memory_mib(node, field="VmRSS"):
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def counted(node):
    return sum(node.json("status")["devices"].values())


def test_a_snapshot_is_taken_while_a_node_serves(edge, fleet):
    """Its sessions go on, known and new devices come in, an operator is answered; and a new node has all of it as well."""
    node = edge.nodes[0]
    stays, known = edge.known(fleet, "stays"), edge.known(fleet, "known")
    before, slowest, taken = memory_mib(node), 0, len(node.lines("snapshot-taken"))
    with admitted(node.port, stays) as session:
        poured = threading.Thread(target=pour, args=(edge,))
        poured.start()
        begun = time.monotonic()
        while len(node.lines("snapshot-taken")) == taken:
            assert time.monotonic() < begun + PATIENCE
            asked = time.monotonic()
            session.ping()
            with admitted(node.port, known):
                pass
            slowest = max(slowest, time.monotonic() - asked)
        poured.join()
        with admitted(node.port, fleet.issue("new")):
            pass
    taken, grown = node.line("snapshot-taken"), memory_mib(node, "VmHWM") - before
    edge.settled()
    assert counted(node) == DEVICES + 3
    begun = time.monotonic()
    new = edge.add(start=False)
    new.start(timeout=PATIENCE)
    started = time.monotonic() - begun
    assert counted(new) == DEVICES + 3
    print(f"{DEVICES} devices: {taken.fields['ms']} ms into a node that serves, {grown:.0f} MiB more at the most, the "
          f"slowest of its connections {slowest * 1000:.0f} ms; {started:.1f} s until a new node serves, "
          f"{memory_mib(new, 'VmHWM'):.0f} MiB at the most")
    assert grown < 256 + DEVICES / 1000 and memory_mib(new, "VmHWM") < 512 + DEVICES / 1000
    with admitted(new.port, known):
        pass
    node.cli("device", "revoke", known.id, "--yes", "--wait", "30s")
    assert refusal(new.port, known)


def test_an_import_is_taken_in_by_nodes_that_follow_already(edge, filled):
    """It is one commit, which is more than a node has at once: they take a snapshot of it."""
    node = edge.nodes[0]
    edge.command("import", str(filled), "--yes")
    until("it has them", lambda: counted(node) == DEVICES, PATIENCE)
    edge.settled()
    node.exactly(2, "snapshot-taken")


def test_a_node_killed_while_it_takes_in_a_large_batch_comes_back_equal(edge, fleet):
    """At moments of chance, again and again: what it has is a whole commit or nothing of it, and in the end it has what the
    others have."""
    first = edge.nodes[0]
    known = edge.known(fleet, "known")
    pour(edge)
    second = edge.add(start=False)
    second.start(timeout=PATIENCE)
    until("the first has them, too", lambda: counted(first) == DEVICES + 1, PATIENCE)
    edge.settled()
    second.kill9()
    first.cli("device", "revoke", known.id, "--yes")
    # Every second device becomes inactive, in commits of 500.
    edge.postgres.sql("""
        begin;
        lock table sallyport.entry, sallyport.registry;
        update sallyport.entry e set value = set_byte(e.value, 0, 2), revision = c.revision from (
            select key, (select revision from sallyport.registry) + 1 + row_number() over (order by key) / 500 as revision
            from sallyport.entry where family = 4 and get_byte(value, 0) = 1 and get_byte(key, 0) % 2 = 0) c
            where e.family = 4 and e.key = c.key;
        insert into sallyport.commit (revision, stamp, node, schema)
            select distinct revision, 'sixteen bytes ok'::bytea, 'many', 2 from sallyport.entry
            where revision > (select revision from sallyport.registry);
        update sallyport.registry set revision = (select max(revision) from sallyport.commit), stamp = 'sixteen bytes ok';
        commit""")
    chance = random.Random(22)
    for _ in range(4):
        process = subprocess.Popen([BINARY, "serve", "--config", second.config], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.05, 0.8))
        process.kill()
        process.wait()
    second.start(timeout=PATIENCE)
    edge.settled()
    assert not second.lines("snapshot"), second.log()[-3000:]
    assert refusal(second.port, known)
    assert second.json("status")["devices"] == first.json("status")["devices"]
    assert second.json("status")["devices"]["inactive"] > DEVICES / 3
    if DEVICES <= 50_000:
        assert [(each, row["status"]) for each, row in second.devices().items()] == \
            [(each, row["status"]) for each, row in first.devices().items()]
