"""A fleet arrives at once; the process dies in the middle; nothing acknowledged is lost."""

import concurrent.futures
import os
import subprocess
import threading
import time

import pytest

from harness import packet, unix_http
from harness.authority import Authority, new_key
from harness.device import Device, Ended, admitted
from harness.server import BINARY, listener
from harness.wait import until

THREADS = 16


def make_fleet(root, size, name):
    keys = [new_key() for _ in range(16)]  # keys are the dear part; every certificate is its own
    return [root.issue(f"{name} {number}", key=keys[number % len(keys)]) for number in range(size)]


def first_connection(port, identity):
    """TLS and CONNECT; True once the broker's CONNACK is there."""
    try:
        with admitted(port, identity, timeout=30) as device:
            device.send(packet.disconnect())
            return True
    except (Ended, OSError):
        return False


def test_five_hundred_new_devices_at_once_all_succeed(serve_once, broker, site, root):
    """All connections are open before the first handshake starts; every one is served at its first attempt, stays,
    and is registered."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    fleet = make_fleet(root, 500, "rush")
    gate = threading.Barrier(50)

    def arrive(part):
        gate.wait(30)
        return [admitted(server.port, identity, timeout=60) for identity in part]

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        sessions = [each for part in pool.map(arrive, [fleet[at::50] for at in range(50)]) for each in part]
    assert len(sessions) == 500
    assert server.rejections() == {}
    assert server.metric("sessions_open") == 500
    until("all are registered", lambda: len(server.devices()) == 500, 20, pause=0.2)
    assert set(server.devices()) == {identity.id for identity in fleet}
    assert server.metric("registration_queue_depth") == 0
    for each in sessions[::25]:
        each.ping()
    for each in sessions:
        each.reset()


def test_kill_9_during_a_thousand_first_connections(serve_once, broker, site, root):
    """Every device that `device list` showed before the kill is there after it, the store opens, what is listed is
    known without verifying again, and all devices connect again."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    fleet = make_fleet(root, 1000, "crash")
    port, stop = server.port, threading.Event()

    def connect_all(part):
        done = 0
        for identity in part:
            if stop.is_set():
                break
            done += first_connection(port, identity)
        return done

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        runs = [pool.submit(connect_all, fleet[at::THREADS]) for at in range(THREADS)]
        until("300 are registered", lambda: server.metric("devices", status="active") >= 300, 60, pause=0.01)
        acknowledged = set(server.devices())
        server.kill9()
        stop.set()
        served = sum(run.result(60) for run in runs)
    print(f"{served} served and {len(acknowledged)} acknowledged before the kill")
    assert 300 <= len(acknowledged) < 1000, "the kill came too late to prove anything"

    server.start()
    listed = set(server.devices())
    assert acknowledged <= listed
    assert listed <= {identity.id for identity in fleet}
    assert server.metric("devices", status="active") == len(listed)

    known_before = server.metric("handshakes_total", kind="known")
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(lambda identity: first_connection(server.port, identity), fleet))
    assert server.metric("handshakes_total", kind="known") - known_before == len(listed)
    assert server.rejections() == {}
    until("all thousand are registered", lambda: len(server.devices()) == 1000, 20, pause=0.2)
    assert set(server.devices()) == {identity.id for identity in fleet}
    pages, token = [], ""
    while not pages or token:
        _, _, page = unix_http.ask(server.socket, "GET", f"/v1/devices?limit=300&page_token={token}")
        pages.append([each["id"] for each in page["items"]])
        token = page["next_page_token"]
    assert [len(each) for each in pages] == [300, 300, 300, 100]
    assert {each for page in pages for each in page} == {identity.id for identity in fleet}


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01])
def test_kill_9_right_after_a_deactivation_was_acknowledged(serve_once, broker, site, root, delay):
    """Durable, then in force, then acknowledged: the status survives a kill at once after the answer."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    identity = root.issue("marked")
    admitted(server.port, identity).close()
    server.registered(identity)
    server.cli("device", "deactivate", identity.id)
    time.sleep(delay)
    server.kill9()
    server.start()
    assert server.json("device", "show", identity.id)["status"] == "inactive"


def test_kill_9_between_durable_and_in_force(serve_once, broker, site, root):
    """Killed amid a stream of changes: whatever was answered holds after the restart, and so does its audit line;
    what was not answered is either wholly there or not at all."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    fleet = make_fleet(root, 60, "churn")
    for identity in fleet:
        admitted(server.port, identity).close()
    until("all are registered", lambda: len(server.devices()) == len(fleet), 10)
    for round_, action in enumerate(["deactivate", "activate", "revoke"]):
        answered, threads = [], []

        def change(part):
            for identity in part:
                try:
                    status, _, body = unix_http.ask(server.socket, "POST", f"/v1/devices/{identity.id}/{action}")
                except OSError:
                    return
                assert status == 200, body
                answered.append(identity.id)

        threads = [threading.Thread(target=change, args=(fleet[at::4],)) for at in range(4)]
        for thread in threads:
            thread.start()
        until("some were answered", lambda: len(answered) >= 10 + 5 * round_, pause=0.0)
        server.kill9()
        for thread in threads:
            thread.join()
        server.start()
        wanted = {"deactivate": "inactive", "activate": "active", "revoke": "revoked"}[action]
        devices = server.devices()
        lines = [(line["action"], line["target"]) for line in server.json("audit")]
        for each in answered:
            assert devices[each]["status"] == wanted
            assert ("device." + action, each) in lines
        changed = {each for each in devices if ("device." + action, each) in lines}
        if action == "revoke":
            assert changed == {each for each, device in devices.items() if device["status"] == "revoked"}
            for identity in fleet:
                admitted_now = first_connection(server.port, identity)
                assert admitted_now == (devices[identity.id]["status"] == "active")
        else:
            for identity in fleet:  # the next round starts from one state
                server.cli("device", action, identity.id, "--yes")


def test_kill_9_while_a_deleted_ca_is_purged(serve_once, broker, site, work):
    """Its devices are gone from the moment of the answer, whatever of their rows is still on disk."""
    server = serve_once([listener(site)], broker)
    ca = Authority(work / "purged", "To be purged")
    ca_id = ca.register(server)
    fleet = make_fleet(ca, 1500, "purged")
    bundle = server.folder / "bundle.pem"
    bundle.write_text("".join(open(each.chain_file).read() for each in fleet))
    assert "1,500 registered" in server.cli("device", "register", str(bundle)).stdout
    server.cli("ca", "delete", ca_id, "--cascade", "--yes")
    server.kill9()
    server.start()
    assert server.devices() == {}
    ca.register(server, "--no-auto-register")
    for identity in (fleet[0], fleet[-1]):
        with server.refuses("not_registered", serial=identity.serial):
            assert not first_connection(server.port, identity)
    assert server.metric("devices") == 0


def test_a_store_in_use_is_not_opened_twice(serve_once, broker, site, root, work):
    """A second server on the same state_dir ends with one line and exit 1; the first is not disturbed."""
    server = serve_once([listener(site)], broker)
    done = subprocess.run([BINARY, "serve", "--config", server.config], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert server.cli("status").returncode == 0
    assert os.path.exists(server.socket)


def test_a_stale_socket_file_is_replaced(serve_once, broker, site, root):
    """After a kill -9 the socket file is left over: the next start takes its place; its mode is 0660."""
    server = serve_once([listener(site)], broker)
    server.kill9()
    assert os.path.exists(server.socket)
    server.start()
    assert os.stat(server.socket).st_mode & 0o777 == 0o660
    root.register(server)
    with Device(server.port, root.issue("after the crash")) as device:
        assert device.connect("again") == 0
