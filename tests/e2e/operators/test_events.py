"""What happens, as it happens: `GET /v1/events` and `sallyport tail`; the last hour as samples; the configuration as it
runs."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness.admin import Admin
from harness.authority import Authority
from harness.device import admitted, plain, refusal
from harness.server import BINARY, listener
from harness.unix_http import UnixConnection, ask
from harness.wait import PATIENCE, until


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site), listener(site, name="second")], broker)
    root.register(running)
    return running


@pytest.fixture(scope="module")
def stranger(work):
    return Authority(work / "strangers", "Strangers to events")


class Events:
    """A reader of the stream."""

    def __init__(self, server, query="", connection=None, token=None):
        self.connection = connection or UnixConnection(server.socket, 60)
        self.connection.request("GET", "/v1/events" + query, headers={"Authorization": f"Bearer {token}"} if token else {})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.getheader("content-type") == "application/x-ndjson"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.answer.close()
        self.connection.close()

    def next(self, *events):
        """The next event that is no heartbeat, or the next of these names; None: the stream has ended."""
        deadline = time.monotonic() + PATIENCE
        while line := self.answer.readline():
            found = json.loads(line)
            if found["event"] != "heartbeat" and (not events or found["event"] in events):
                return found
            assert time.monotonic() < deadline, f"waited in vain for {events}"
        return None


def tail(server, *arguments, **options):
    return subprocess.Popen([BINARY, "tail", "--socket", server.socket, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def events_of(pid):
    """Whether this process has had its answer's head: it waits for more on its one socket."""
    return any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for fd in os.listdir(f"/proc/{pid}/fd"))


def test_a_life_is_told(server, root, stranger):
    """Registered, begun, ended, refused: with the fields that the log has."""
    identity, second = root.issue("told of"), root.issue("of the second")
    with Events(server) as events, Events(server, "?listener=second") as of_second, \
            Events(server, f"?device={identity.id}&event=ended") as ends:
        with admitted(server.port, identity, client_id="told"):
            both = {each["event"]: each for each in (events.next("began", "device-registered") for _ in range(2))}
            began = both["began"]
            assert (began["client_id"], began["fingerprint"], began["kind"]) == ("told", identity.id, "new")
            assert both["device-registered"]["id"] == identity.id
        assert events.next("ended")["session"] == began["session"]
        admitted(server.ports["second"], second, client_id="elsewhere").close()
        assert [of_second.next()["event"] for _ in range(2)] == ["began", "ended"]
        assert refusal(server.port, stranger.issue("refused"))
        refused = events.next("rejected")
        assert (refused["reason"], refused["cn"]) == ("ca_unknown", "refused")
        admitted(server.port, identity, client_id="again").close()
        assert [ends.next()["client_id"] for _ in range(2)] == ["told", "again"]
        server.cli("device", "deactivate", identity.id, "--yes")
        assert events.next("admin")["path"].endswith("/deactivate")


def test_every_refusal_comes_whatever_the_log_leaves_out(server, stranger):
    """Of each shard the log has the first hundred of a kind and then ten a second."""
    with Events(server, "?reason=tls_error") as events:
        before = server.metric("rejections_total", reason="tls_error")
        for _ in range(400):
            with plain(server.port) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                sock.recv(100)
        until("all are counted", lambda: server.metric("rejections_total", reason="tls_error") == before + 400)
        assert {events.next()["event"] for _ in range(400)} == {"rejected"}
        assert len(server.lines("rejected", reason="tls_error")) < 400


def test_filters_that_make_no_sense_are_refused(server):
    for query, word in (("?reason=nonsense", "nonsense"), ("?kind=odd", "kind"), ("?device=zz", "device"),
                        ("?color=red", "color")):
        status, kind, answer = ask(server.socket, "GET", "/v1/events" + query)
        assert status in (400, 404) and kind == "application/problem+json" and word in answer["detail"], answer


def test_a_slow_reader_loses_events_and_is_told(server, stranger):
    """It reads nothing while more happens than its queue and its socket hold; the server goes on, and others hear all."""
    flood, value = 6000, "x" * 200
    with Events(server, "?event=admin") as slow:
        with closing(UnixConnection(server.socket)) as asking:
            for number in range(flood):
                asking.request("DELETE", f"/v1/sessions/{number}-{value * 3}")
                asking.getresponse().read()
        got = lost = 0
        while got + lost < flood:
            line = json.loads(slow.answer.readline())
            got += line["event"] == "admin"
            lost += line["count"] if line["event"] == "lost" else 0
        assert got + lost == flood and lost > 0


def test_readers_are_bounded_and_one_that_leaves_makes_room(server):
    readers = [Events(server) for _ in range(20)]
    try:
        status, _, answer = ask(server.socket, "GET", "/v1/events")
        assert status == 503 and "20" in answer["detail"], answer
        assert server.json("status")["state"] == "ready", "everything else is answered"
        readers.pop().close()
        until("there is room", lambda: not busy(server))
    finally:
        for each in readers:
            each.close()


def busy(server):
    with closing(UnixConnection(server.socket)) as connection:
        connection.request("GET", "/v1/events")
        return connection.getresponse().status == 503


def test_heartbeats_come_where_nothing_happens(server):
    with Events(server, "?event=nothing-is-called-so") as events:
        assert json.loads(events.answer.readline())["event"] == "heartbeat"


def test_http_10_gets_the_lines_as_they_are(server, root):
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(60)
        sock.connect(server.socket)
        sock.sendall(b"GET /v1/events?event=began HTTP/1.0\r\n\r\n")
        reader = sock.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += reader.readline()
        assert b"200 OK" in head and b"chunked" not in head
        admitted(server.port, root.issue("old way"), client_id="old way").close()
        while (found := json.loads(reader.readline()))["event"] == "heartbeat":
            pass
        assert found["client_id"] == "old way"


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_it_ends_with_its_token(work, broker, site, root, how):
    admin = Admin(work / f"events-{how}", [listener(site)], broker, {})
    try:
        root.register(admin.server)
        token = admin.token("viewer", "watcher", *(("--ttl", "3s") if how == "expired" else ()))
        with Events(admin.server, connection=admin.connection(60), token=token) as events:
            admitted(admin.server.port, root.issue("seen by " + how)).close()
            assert events.next("began")
            if how == "revoked":
                admin.server.cli("token", "revoke", "watcher", "--yes")
            while events.next():
                pass  # until its end
        assert admin.http("GET", "/v1/status", token)[0] == 401
        assert admin.http("GET", "/v1/events")[0] == 401
    finally:
        admin.server.stop()


def test_a_stop_ends_it(serve_once, broker, site):
    server = serve_once([listener(site)], broker)
    with Events(server) as events:
        following = tail(server)
        until("it is connected", lambda: events_of(following.pid))
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        while events.next():
            pass
    assert following.wait(60) == 1 and len(following.stderr.read().splitlines()) == 1
    following.stdout.close()
    following.stderr.close()


def lines_while(server, happens, *arguments):
    """The lines of `tail --count 1` while something happens again and again: whenever it has begun to watch, it hears."""
    process = tail(server, "--count", "1", *arguments)
    try:
        until("it has heard", lambda: happens() or process.poll() is not None, 60, 0.05)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and err == "", err
    return out.splitlines()


def test_tail_prints_a_line_for_a_person(server, root, stranger):
    line, = lines_while(server, lambda: refusal(server.port, stranger.issue("odd one")) and None, "--reason", "ca_unknown",
                        "--event", "rejected,ended")
    time_of_day, event, rest = line.split(None, 2)
    assert time.strptime(time_of_day, "%H:%M:%S") and event == "rejected"
    assert 'cn="odd one"' in rest and "reason=ca_unknown" in rest and "listener=mqtts" in rest and "\x1b" not in line
    assert "via=" not in rest, "what says nothing is left out"


@pytest.mark.parametrize("flag", [["--json"], ["-o", "json"]])
def test_tail_as_json(server, root, flag):
    identity = root.issue("tailed")
    line, = lines_while(server, lambda: admitted(server.ports["second"], identity).close(), "--listener", "second",
                        "--device", identity.id, "--event", "began", *flag)
    found = json.loads(line)
    assert (found["event"], found["fingerprint"], found["listener"]) == ("began", identity.id, "second")


def test_tail_filters_by_kind(server, root):
    identity = root.issue("kinds")
    admitted(server.port, identity).close()
    server.registered(identity)
    line, = lines_while(server, lambda: admitted(server.port, identity).close(), "--kind", "known", "-o", "json")
    assert json.loads(line)["kind"] == "known"


def test_tail_fails_where_it_must(server, tmp_path):
    def run(*arguments):
        return subprocess.run([BINARY, "tail", *arguments], capture_output=True, text=True, timeout=60)
    assert run("--socket", str(tmp_path / "none")).returncode == 1
    wrong = run("--socket", server.socket, "--reason", "nonsense")
    assert wrong.returncode == 1 and "nonsense" in wrong.stderr
    assert run("--socket", server.socket, "--nonsense").returncode == 2
    closed = tail(server, "--json")  # whoever reads it leaves: it ends in peace
    closed.stdout.close()
    until("it is connected", lambda: events_of(closed.pid))

    def ended():
        ask(server.socket, "DELETE", "/v1/sessions/0123456789abcdef")
        return closed.poll() is not None
    until("it ends", ended, 60, 0.2)
    closed.stderr.close()


def on_a_terminal(arguments, columns=80, environment=None):
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"} | (environment or {})
    process = subprocess.Popen([BINARY, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert process.wait(60) == 0, said
    return said.decode().replace("\r\n", "\n")


def test_tables_fit_the_terminal_and_have_colours_there_alone(server, root):
    long = root.issue("a device with a name that is longer than most terminals have room for, by far, and then some")
    admitted(server.port, long).close()
    server.registered(long)
    asked = ["device", "list", "--cn", "a device with*", "--socket", server.socket]
    shown = on_a_terminal(asked, 100)
    assert "\x1b[32mactive\x1b[0m" in shown and long.id[:12] in shown and long.id not in shown
    bare = re.sub(r"\x1b\[\d+m", "", shown)
    assert all(len(line) <= 100 for line in bare.splitlines()) and "…" in bare, bare
    assert "\x1b" not in on_a_terminal(asked, 100, {"NO_COLOR": "1"})
    assert "\x1b" not in on_a_terminal(asked, 100, {"TERM": "dumb"})
    piped = server.cli("device", "list", "--cn", "a device with*").stdout
    assert "\x1b" not in piped and "…" not in piped and "and then some" in piped
    assert server.cli("device", "list", "--cn", "a device with*", "-o", "json").stdout.count(long.id) >= 1


def test_samples(server, root, stranger):
    """One every five seconds: what came in each."""
    identity = root.issue("sampled")
    with admitted(server.port, identity):
        refusal(server.port, stranger.issue("sampled"))
        server.registered(identity)

        def sums():
            items = ask(server.socket, "GET", "/v1/samples")[2]["items"]
            of = lambda pick: sum(pick(each) * each["seconds"] for each in items)
            return (of(lambda each: sum(each["handshakes_per_second"].values())),
                    of(lambda each: each["rejections_per_second"].get("ca_unknown", 0)),
                    of(lambda each: each["bytes_per_second"]["to_broker"]),
                    of(lambda each: each["registrations_per_second"]))

        def metrics():
            return (server.metric("handshakes_total"), server.metric("rejections_total", reason="ca_unknown"),
                    server.metric("bytes_total", direction="to_broker"), server.metric("registrations_total"))
        until("the samples have it all", lambda: all(abs(a - b) <= max(0.5, b * 0.01) for a, b in zip(sums(), metrics())),
              60, 0.5)
        items = ask(server.socket, "GET", "/v1/samples")[2]["items"]
        assert all(0 < each["seconds"] and len(each["upstreams"]) == 1 for each in items), items
        last = items[-1]
        assert last["sessions"] >= 1 and last["upstreams"][0] | {"sessions": 0} == {
            "name": "broker", "servers_up": 1, "servers": 1, "sessions": 0}
    since = ask(server.socket, "GET", f"/v1/samples?since={last['at']}")[2]["items"]
    assert last["at"] == since[0]["at"] and len(since) < len(items)
    assert ask(server.socket, "GET", "/v1/samples?since=yesterday")[0] == 400


def settings(server):
    status, _, shown = ask(server.socket, "GET", "/v1/config")
    assert status == 200
    return shown, {(each["key"], each["of"]): each for each in shown["settings"]}


def test_the_configuration_as_it_runs(serve_once, broker, site, shop, root):
    server = serve_once([listener(site, handshake_timeout="7s"), listener(site, name="second")], broker,
                        proxy={"drain": "2s", "shards": 2})
    root.register(server)
    shown, keys = settings(server)
    assert shown["file"] == server.config and shown["needs_restart"] == []
    assert keys["proxy.drain", None]["value"] == "2s" and keys["proxy.drain", None]["source"] == "file"
    assert keys["proxy.cuts_per_second", None]["source"] == "default"
    assert keys["listener.handshake_timeout", "mqtts"]["value"] == "7s"
    assert keys["listener.handshake_timeout", "second"] | {"default": 0} == {
        "key": "listener.handshake_timeout", "of": "second", "value": "10s", "source": "default", "file_value": None,
        "default": 0, "changes_by": "reload", "waits": None}
    # A path, and nothing of what is there.
    (files,) = keys["listener.certificates", "mqtts"]["value"]
    assert files == {"chain": site.chain_file, "key": site.key_file}
    secret = Path(site.key_file).read_text().splitlines()[1]
    assert secret not in json.dumps(shown)

    server.cli("listener", "auth", "second", "one-way", "--yes")
    server.cli("log", "level", "debug")
    text = Path(server.config).read_text()
    Path(server.config).write_text(text.replace('drain = "2s"', 'drain = "3s"').replace("shards = 2", "shards = 3"))
    server.cli("reload")
    shown, keys = settings(server)
    assert keys["proxy.drain", None]["value"] == "3s"
    assert (keys["proxy.shards", None]["value"], keys["proxy.shards", None]["waits"]) == (2, 3)
    assert shown["needs_restart"] == ["proxy.shards"]
    assert keys["listener.auth", "second"]["source"] == "run-time"
    assert keys["listener.auth", "second"]["value"] == "one-way"
    assert keys["listener.auth", "second"]["file_value"] == "mutual"
    assert keys["listener.auth", "mqtts"]["source"] in ("default", "file")
    assert keys["log.level", None]["source"] != "run-time", "a reload takes it back"
    server.cli("log", "level", "debug")
    keys = settings(server)[1]
    assert (keys["log.level", None]["value"], keys["log.level", None]["source"]) == ("debug", "run-time")
    Path(server.config).write_text("nonsense = 1\n")
    server.cli("reload", status=1)
    assert settings(server)[1]["proxy.drain", None]["value"] == "3s", "a bad file changes nothing"
