"""An operator at one node sees the sessions and refusals of all, and cuts any of them; a node that is gone is named, and
forgotten when it is gone for good."""

import json
import threading
from contextlib import closing

import pytest

from harness.authority import Authority
from harness.device import admitted, refusal
from harness.edge import Edge
from harness.server import listener
from harness.unix_http import UnixConnection, got
from harness.wait import until


@pytest.fixture(scope="module")
def edge(work, broker, site):
    running = Edge(work / "elsewhere", broker, site)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def fleet(edge, work):
    made = Authority(work / "elsewhere-ca", "Elsewhere")
    made.register(edge.nodes[0])
    edge.settled()
    return made


def post(node, target, body):
    with closing(UnixConnection(node.socket, 30)) as connection:
        connection.request("POST", target, json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def listed(node, *arguments):
    return {(each["cn"], each["node"]) for each in node.json("session", "list", *arguments)}


def test_sessions_of_every_node_are_seen_and_cut_at_any(edge, fleet):
    """By name, or of all; also by a filter. The cut is in the audit log, with who asked for it at which node."""
    first, second, third = edge.nodes
    devices = [fleet.issue(f"at-{n}") for n in range(3)]
    sessions = [admitted(node.port, device) for node, device in zip(edge.nodes, devices)]
    try:
        for node, device in zip(edge.nodes, devices):
            node.registered(device)
        everywhere = {("at-0", "edge-0"), ("at-1", "edge-1"), ("at-2", "edge-2")}
        for node in edge.nodes:
            assert listed(node, "--all-nodes") == everywhere
        assert listed(first, "--node", "edge-2") == {("at-2", "edge-2")}
        assert listed(first, "--all-nodes", "--device", devices[1].id) == {("at-1", "edge-1")}
        assert [each["cn"] for each in first.json("session", "list")] == ["at-0"], "its own alone, as ever"
        assert "edge-1" in first.cli("session", "list", "--all-nodes").stdout
        [there] = first.json("session", "list", "--node", "edge-2")
        assert f"{there['id']} --node edge-2" in first.cli("session", "list", "--all-nodes", "-q").stdout.splitlines()
        cut = first.cli("session", "cut", there["id"], "--node", "edge-2", "--yes")
        assert cut.stdout == f"{there['id']} cut\n"
        assert sessions[2].end(10) is not None
        until("it is in the audit log", lambda: [line["target"] for line in second.json("audit")
                                                 if line["action"] == "session.cut"] == [f"{there['id']} at edge-2"])
        [line] = [each for each in second.json("audit") if each["action"] == "session.cut"]
        assert line["from"].startswith("socket pid ") and line["from"].endswith(" at edge-0"), "the one that was asked"
        assert "no live session" in first.cli("session", "cut", "0" * 16, "--node", "edge-1", "--yes", status=1).stderr
        assert not edge.postgres.sql("select id from sallyport.ask") or until(
            "nothing is left over there", lambda: not edge.postgres.sql("select id from sallyport.ask"), 5)
    finally:
        for session in sessions:
            session.close()


def test_pages_go_on_from_node_to_node(edge, fleet):
    """A page has the sessions of one node; each comes once."""
    device = fleet.issue("many")
    sessions = [admitted(node.port, device) for node in edge.nodes for _ in range(3)]
    try:
        seen, token = [], ""
        for _ in range(20):
            page = got(edge.nodes[1], f"/v1/sessions?node=*&limit=2&device={device.id}&page_token={token}")
            assert len({each["node"] for each in page["items"]}) <= 1
            seen += [(each["node"], each["id"]) for each in page["items"]]
            token = page["next_page_token"]
            if not token:
                break
        assert len(seen) == 9 == len(set(seen))
    finally:
        for session in sessions:
            session.close()


def test_refusals_of_every_node(edge, work):
    stranger = Authority(work / "stranger", "Nobody knows").issue("stranger")
    assert refusal(edge.nodes[2].port, stranger)
    until("it is seen at another", lambda: [each["node"] for each in edge.nodes[0].json("rejections", "--all-nodes")
                                            if each["reason"] == "ca_unknown"] == ["edge-2"])
    assert [each["node"] for each in edge.nodes[0].json("rejections", "--node", "edge-2")] == ["edge-2"]
    assert "edge-2" in edge.nodes[0].cli("rejections", "--all-nodes").stdout


def test_many_sessions_of_another_node_are_cut_at_once(edge, fleet):
    """By their ids, or by a filter; looked at first. A body that is too long, or has a private key, goes nowhere."""
    first, second, _ = edge.nodes
    device = fleet.issue("crowd")
    sessions = [admitted(second.port, device) for _ in range(4)]
    try:
        second.registered(device)
        ids = [each["id"] for each in got(first, f"/v1/sessions?node=edge-1&device={device.id}")["items"]]
        assert len(ids) == 4
        cut = "/v1/sessions/cut?node=edge-1"
        status, looked = post(first, cut, {"filter": {"device": device.id}, "dry_run": True})
        assert (status, looked["matched"], looked["cut"], looked["node"]) == (200, 4, 0, "edge-1")
        assert post(first, cut, {"ids": ids[:2]})[1]["cut"] == 2
        assert post(first, cut, {"filter": {"device": device.id}})[1]["cut"] == 2
        assert all(each.end(10) is not None for each in sessions)
        assert post(first, cut, {"filter": {"nonsense": "x"}})[0] == 400
        assert "too long" in post(first, cut, {"ids": ids * 400})[1]["detail"]
        assert "private key" in post(first, cut, {"filter": {"cn_part": "-----BEGIN PRIVATE KEY-----"}})[1]["detail"]
        assert "one node at a time" in post(first, "/v1/sessions/cut?node=*", {"ids": ids})[1]["detail"]
    finally:
        for session in sessions:
            session.close()


def test_a_refusal_of_another_node_is_explained_there(edge, work):
    stranger = Authority(work / "another", "Nobody knows it either").issue("another stranger")
    assert refusal(edge.nodes[1].port, stranger)
    [group] = until("it is among the groups", lambda: [
        each for each in got(edge.nodes[0], "/v1/rejections/groups?node=edge-1")["items"] if each["fingerprint"] == stranger.id])
    assert group["node"] == "edge-1"
    status, told = post(edge.nodes[0], "/v1/explain?node=edge-1", {"refusal": group["ids"][0]})
    assert (status, told["reason"], told["id"]) == (200, "ca_unknown", stranger.id)
    assert post(edge.nodes[0], "/v1/explain", {"refusal": group["ids"][0]})[0] == 404, "here nobody knows of it"


@pytest.mark.parametrize("lie", [
    {"status": 204, "body": {"a": 1}}, {"status": 99999, "body": {}}, {"status": 101, "body": {}}, {"status": 4294967497, "body": {}},
    {"status": 200, "body": {"items": ["a"]}}, {"status": 200, "body": {"items": [], "next_page_token": 7}}, {"status": 200, "body": 3},
    ["nonsense"]])
def test_what_another_node_says_harms_nobody(edge, lie):
    """Whoever may write to PostgreSQL may answer anything. It is no answer then, and the asking node goes on."""
    first = edge.nodes[0]
    edge.postgres.sql("insert into sallyport.node (name, instance, revision, version) values ('liar', 'x', 0, 'x') "
                      "on conflict (name) do update set seen_at = clock_timestamp()")
    until("it is listed", lambda: "liar" in first.cli("node", "list", "-q").stdout)
    said = {}
    asking = threading.Thread(target=lambda: said.update(got(first, "/v1/sessions?node=liar")))
    asking.start()
    reply = json.dumps(lie).replace("'", "''")
    until("it is answered", lambda: edge.postgres.sql(
        f"insert into sallyport.answer (ask, reply) select id, convert_to('{reply}', 'UTF8') from sallyport.ask "
        "where node = 'liar' on conflict do nothing returning ask") or not asking.is_alive())
    asking.join()
    assert said["status"] == 503, said
    assert first.probe("livez") == 200
    edge.postgres.sql("delete from sallyport.node where name = 'liar'")
    for node in edge.nodes:
        until("it is gone", lambda n=node: "liar" not in n.cli("node", "list", "-q").stdout)


def test_a_list_of_another_node_that_never_ends_is_ended(edge):
    """It gives one page again and again, with a token for the next."""
    first = edge.nodes[0]
    edge.postgres.sql("insert into sallyport.node (name, instance, revision, version) values ('liar', 'x', 0, 'x') "
                      "on conflict (name) do update set seen_at = clock_timestamp()")
    until("it is listed", lambda: "liar" in first.cli("node", "list", "-q").stdout)
    said = []
    asking = threading.Thread(target=lambda: said.append(first.cli("session", "list", "--node", "liar", status=None)))
    asking.start()
    reply = json.dumps({"status": 200, "body": {"items": [], "next_page_token": "again"}})
    while asking.is_alive():
        edge.postgres.sql("update sallyport.node set seen_at = clock_timestamp() where name = 'liar'")
        edge.postgres.sql(f"insert into sallyport.answer (ask, reply) select id, convert_to('{reply}', 'UTF8') from "
                          "sallyport.ask where node = 'liar' on conflict do nothing")
        asking.join(0.05)
    assert said[0].returncode == 1 and "the same page again and again" in said[0].stderr
    edge.postgres.sql("delete from sallyport.node where name = 'liar'")
    for node in edge.nodes:
        until("it is gone", lambda n=node: "liar" not in n.cli("node", "list", "-q").stdout)


def test_what_is_asked_is_bounded(edge):
    """Of a node that is not there; of several at once; nothing but what another node is asked; and of no time."""
    first = edge.nodes[0]
    assert "there is no node 'edge-9'" in first.cli("session", "list", "--node", "edge-9", status=1).stderr
    edge.postgres.sql("insert into sallyport.ask (node, request, asked_by) values "
                      "('edge-1', '{\"method\": \"DELETE\", \"path\": \"/v1/tokens/x\"}', 'somebody'), "
                      "('edge-1', 'nonsense', 'somebody'), ('edge-1', convert_to(repeat('x', 20000), 'UTF8'), 'somebody')")
    until("the first two are answered", lambda: len(edge.postgres.sql("select ask from sallyport.answer")) == 2)
    replies = [json.loads(row[0]) for row in edge.postgres.sql("select btrim(convert_from(reply, 'UTF8'), E'\\n') from sallyport.answer")]
    assert [each["status"] for each in replies] == [400, 400]
    edge.postgres.sql("delete from sallyport.ask")
    edge.postgres.sql("insert into sallyport.ask (node, request, asked_by, at) values ('edge-9', 'x', 'somebody', 'infinity')")
    first.cli("session", "list", "--node", "edge-1")
    until("what is of the end of time is gone with the next", lambda: not edge.postgres.sql("select id from sallyport.ask"))


def test_a_node_that_does_not_answer_is_named_and_forgotten(edge):
    first, second, third = edge.nodes
    assert first.cli("node", "list", "-q").stdout.split() == ["edge-0", "edge-1", "edge-2"]
    refused = first.cli("node", "forget", "edge-2", "--yes", status=1)
    assert "was heard of within the last ten seconds" in refused.stderr
    third.stop()
    silent = first.cli("session", "list", "--all-nodes")
    assert "node edge-2 did not answer" in silent.stderr
    until("it may be forgotten", lambda: first.cli("node", "forget", "edge-2", "--yes", status=None).returncode == 0, 30)
    for node in (first, second):
        until("it is listed no more", lambda n=node: n.cli("node", "list", "-q").stdout.split() == ["edge-0", "edge-1"])
    assert "node.forget" in {line["action"] for line in second.json("audit")}
    third.start()
    until("it is back", lambda: "edge-2" in first.cli("node", "list", "-q").stdout)


def test_a_registry_of_its_own_has_no_other_node(serve_once, broker, site):
    server = serve_once([listener(site)], broker)
    assert server.json("session", "list", "--all-nodes") == []
    assert "machine's own" in server.cli("session", "list", "--node", "edge-1", status=1).stderr
    assert "machine's own" in server.cli("node", "forget", "edge-1", "--yes", status=1).stderr
