"""Which machines there are, how far each is, and on how many a change is in force."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.device import admitted
from harness.edge import Edge, refuses_to_start
from harness.lists import crl, file_of
from harness.server import BINARY, Sallyport, listener
from harness.unix_http import ask
from harness.wait import until


@pytest.fixture(scope="module")
def edge(work, broker, site):
    running = Edge(work / "nodes", broker, site)
    yield running
    running.stop()


@pytest.fixture
def device(edge, work, request):
    made = Authority(work / request.node.name, request.node.name[-60:])
    made.register(edge.nodes[0])
    edge.settled()
    issued = made.issue("victim")
    with admitted(edge.nodes[0].port, issued):
        edge.nodes[0].registered(issued)
    edge.settled()
    return issued


def test_every_node_lists_all(edge):
    for node in edge.nodes:
        until("all are listed", lambda n=node: {each["name"] for each in n.json("node", "list")} ==
              {"edge-0", "edge-1", "edge-2"})
        assert node.json("status")["registry"]["node"] == node.folder.name
    assert "edge-1" in edge.nodes[0].cli("node", "list").stdout
    assert "followed, 3 nodes" in edge.nodes[0].cli("status").stdout
    said = edge.nodes[0].cli("doctor", "--config", edge.nodes[0].config, status=None).stdout
    assert "ok: shared registry: followed at " in said and "as node edge-0" in said, said
    assert "warning: shared registry: PostgreSQL has no synchronous standby" in said, said


def test_doctor_asks_where_the_configuration_says(edge):
    """The server by its socket; without a server PostgreSQL, as a start would."""
    def doctor(config, status):
        done = subprocess.run([BINARY, "doctor", "--config", str(config)], capture_output=True, text=True, timeout=120,
                              env={name: value for name, value in os.environ.items() if name != "SALLYPORT_SOCKET"})
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout
    node = edge.nodes[2]
    assert "as node edge-2" in doctor(node.config, 0)
    node.stop()
    try:
        said = doctor(node.config, 0)
        assert "ok: shared registry: " in said and " answers" in said and "start it" in said, said
        assert "warning: shared registry: PostgreSQL has no synchronous standby" in said, said
        edge.postgres.sql("create role weak login; grant usage on schema sallyport to weak; "
                          "grant select on all tables in schema sallyport to weak")
        elsewhere = node.folder / "elsewhere.toml"
        elsewhere.write_text(Path(node.config).read_text().replace("postgres@", "weak@"))
        said = doctor(elsewhere, 1)
        assert "the role may not " in said and "insert node" in said and "select" not in said.split("may not")[1].split("\n")[0]
        elsewhere.write_text(Path(node.config).read_text().replace(edge.url, "postgresql://127.0.0.1:1/none"))
        said = doctor(elsewhere, 1)
        assert "problem: shared registry: 127.0.0.1:1/none: " in said, said
    finally:
        node.start()


def test_a_revocation_says_where_it_is_in_force(edge, device):
    done = edge.nodes[0].cli("device", "revoke", device.id, "--yes", "--wait", "30s")
    assert "in force on 3 of 3 nodes" in done.stderr
    assert done.stdout == f"{device.id} revoked\n", "what is piped is the id"


def test_a_list_and_a_bulk_change_say_where_they_are_in_force(edge, work, tmp_path):
    made = Authority(work / "lists", "A fleet with lists")
    made.register(edge.nodes[0])
    edge.settled()
    listed, chosen = made.issue("one of the list"), made.issue("one that is chosen")
    for each in (listed, chosen):
        with admitted(edge.nodes[0].port, each):
            edge.nodes[0].registered(each)
    edge.settled()
    done = edge.nodes[1].cli("crl", "import", file_of(crl(made, listed), tmp_path, "pem"), "--yes", "--wait", "30s")
    assert "in force on 3 of 3 nodes" in done.stderr and "nodes" not in done.stdout
    status, _, bulk = ask(edge.nodes[1].socket, "POST", "/v1/devices/bulk", {"action": "revoke", "ids": [chosen.id], "dry_run": False})
    assert (status, bulk["changed"], bulk["nodes"]["of"]) == (200, 1, 3), bulk
    for node in edge.nodes:
        for each in (listed, chosen):
            until("it is revoked", lambda n=node, d=each: n.devices()[d.id]["status"] == "revoked")


def test_a_node_that_is_gone_is_named(edge, device):
    """It is not waited for longer than was asked, and its lag grows."""
    edge.nodes[2].kill9()
    try:
        done = edge.nodes[0].cli("device", "deactivate", device.id, "--yes", "--wait", "2s", "-o", "json")
        nodes = json.loads(done.stdout)["nodes"]
        assert (nodes["in_force_on"], nodes["of"]) == (2, 3)
        assert [each["name"] for each in nodes["behind"]] == ["edge-2"]
        assert nodes["behind"][0]["last_seen_seconds_ago"] >= 1
        done = edge.nodes[1].cli("device", "activate", device.id, "--yes")
        assert "in force on 2 of 3 nodes, edge-2 last seen" in done.stderr
        until("its lag is seen", lambda: edge.nodes[0].metric("node_lag_seconds", node="edge-2") > 1)
        assert edge.nodes[0].metric("registry_connected") == 1
    finally:
        edge.nodes[2].start()
    until("it has caught up", lambda: edge.nodes[0].metric("node_lag_seconds", node="edge-2") == 0)


def test_a_registry_of_its_own_has_one_node_and_no_local_changes(serve_once, broker, site, root):
    server = serve_once([listener(site)], broker)
    assert [each["behind"] for each in server.json("node", "list")] == [0]
    root.register(server)
    refused = server.cli("ca", "deactivate", root.id, "--local", "--yes", status=1)
    assert "there is none" in refused.stderr
    assert server.json("status")["registry"] is None


def test_tokens_and_choices_of_one_node_are_all_nodes(edge):
    """A token made at one is valid at the others, revoked at another, and in the audit log of all."""
    first, second, third = edge.nodes
    first.cli("token", "create", "--name", "console", "--role", "viewer", "--yes")
    for node in (second, third):
        until("the token is there", lambda n=node: [each["name"] for each in n.json("token", "list")] == ["console"])
    second.cli("listener", "auth", "mqtts", "one-way", "--yes")
    for node in edge.nodes:
        until("it is one-way", lambda n=node: n.json("listener", "list")[0]["auth"] == "one-way")
    third.cli("listener", "reset", "mqtts", "--yes")
    for node in edge.nodes:
        until("it is as the file says", lambda n=node: n.json("listener", "list")[0]["auth"] == "mutual")
    third.cli("token", "revoke", "console", "--yes")
    for node in edge.nodes:
        until("the token is gone", lambda n=node: n.json("token", "list") == [])
    edge.settled()
    logs = [[(line["action"], line["at"], line["target"]) for line in node.json("audit")] for node in edge.nodes]
    assert logs[0] == logs[1] == logs[2]
    assert {"token.create", "token.revoke", "listener.auth", "listener.reset"} <= {line[0] for line in logs[0]}


def test_nodes_need_no_right_but_to_the_rows(work, broker, site, root):
    """A role that owns nothing: it registers, revokes and lists; it neither makes nor drops a table."""
    edge = Edge(work / "role", broker, site, nodes=2, role="sallyport_node")
    try:
        first, second = edge.nodes
        root.register(first)
        device = root.issue("of a role")
        with admitted(first.port, device):
            second.registered(device)
        assert "in force on 2 of 2" in second.cli("device", "revoke", device.id, "--yes", "--wait", "30s").stderr
        owners = edge.postgres.sql("select distinct tableowner from pg_tables where schemaname = 'sallyport'")
        assert owners == [["postgres"]]
        rights = edge.postgres.sql("select distinct privilege_type from information_schema.role_table_grants where "
                                   "grantee = 'sallyport_node' order by 1")
        assert rights == [["DELETE"], ["INSERT"], ["SELECT"], ["UPDATE"]]
    finally:
        edge.stop()


def test_registries_are_made_taken_over_and_copied_back(work, broker, site, root, serve_once):
    """An embedded registry becomes the shared one, and a shared one an embedded: with devices, revocations, CAs. A node
    does not throw a registry of its own away."""
    own = Sallyport(work / "own", [listener(site)], broker).start()
    root.register(own)
    good, bad = root.issue("good"), root.issue("bad")
    for each in (good, bad):
        with admitted(own.port, each):
            own.registered(each)
    own.cli("device", "revoke", bad.id, "--yes")
    own.stop()
    edge = Edge(work / "taken", broker, site, nodes=0)
    try:
        assert "already" in edge.command("init", status=1).stderr
        assert "nothing to do" in edge.command("migrate").stdout
        assert "2 devices, 1 CAs" in edge.command("import", own.config.replace("sallyport.toml", "state"), "--yes").stdout
        assert "not empty" in edge.command("import", str(own.folder / "state"), "--yes", status=1).stderr
        node = edge.add()
        assert {each["id"]: each["status"] for each in node.devices().values()} == {good.id: "active", bad.id: "revoked"}
        status = json.loads(edge.command("status", "-o", "json").stdout)
        assert (status["devices"], status["cas"], status["schema"]) == (2, 1, 2) and status["takes_changes"]
        refusing = Sallyport(work / "refusing", [listener(site)], broker, registry={"shared": edge.postgres.url})
        (work / "refusing" / "state").symlink_to(own.folder / "state")
        assert "holds a registry of its own" in refuses_to_start(refusing)
        assert "holds a registry of its own" in refusing.cli("check", "--config", refusing.config, status=2).stderr
        token = Sallyport(work / "token", [listener(site)], broker).start()
        token.cli("token", "create", "--name", "keepme", "--role", "viewer")
        token.stop()
        tempted = Sallyport(work / "tempted", [listener(site)], broker,
                            registry={"shared": edge.postgres.url, "stale_after": "5s"})
        (work / "tempted" / "state").symlink_to(token.folder / "state")
        assert "holds a registry of its own" in refuses_to_start(tempted), "tokens alone are lost as devices would be"
        said = tempted.cli("check", "--config", tempted.config, status=2).stderr
        assert "holds a registry of its own" in said and "'registry.stale_after' has no effect" in said, said
        alone = Sallyport(work / "alone", [listener(site)], broker)
        edge.command("export", str(alone.folder / "state"))
        alone.start()
        try:
            assert {each["id"]: each["status"] for each in alone.devices().values()} == \
                {good.id: "active", bad.id: "revoked"}
            third = root.issue("third")
            with admitted(alone.port, third):
                alone.registered(third)
        finally:
            alone.stop()
        node.cli("listener", "auth", "mqtts", "one-way", "--yes")
        assert "this is a copy of a replica" in node.cli("backup", str(work / "replica-backup")).stderr
        node.stop()
        state = str(node.folder / "state")
        refused = node.cli("listener", "reset", "mqtts", "--state-dir", state, "--yes", status=1)
        assert "holds a replica of a shared registry" in refused.stderr
        refused = node.cli("restore", str(work / "replica-backup"), "--state-dir", state, "--yes", status=1)
        assert "backup of a replica" in refused.stderr
        replica = Sallyport(work / "replica", [listener(site)], broker)
        (work / "replica" / "state").symlink_to(node.folder / "state")
        assert "holds a replica of a shared registry" in refuses_to_start(replica)
        assert "holds a replica of a shared registry" in replica.cli("check", "--config", replica.config, status=2).stderr
    finally:
        edge.stop()
