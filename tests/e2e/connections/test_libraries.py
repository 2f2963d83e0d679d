"""The clients that people have, through Sallyport and directly at the broker: what they get, and what the broker gets of
them, is the same in 3.1, 3.1.1 and 5, with QoS 0 to 2, retained messages and Wills. Through Sallyport they lie about
who they are, and it makes no difference."""

import pytest

from harness import connects, libraries, packet
from harness.broker import Mosquitto
from harness.device import plain
from harness.server import listener


@pytest.fixture(scope="module")
def broker(work):
    folder = work / "libraries-broker"
    folder.mkdir()
    (folder / "acl").write_text("user operator\ntopic readwrite #\n\npattern readwrite devices/%u/#\n")
    running = Mosquitto(folder, f"acl_file {folder}/acl").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)],
                    upstreams=[{"name": "broker", "servers": [broker.address], "username": "{cn}", "client_id": "{cn}",
                                "user_properties": True}])
    root.register(running)
    return running


@pytest.fixture(scope="module")
def many_ids(broker, serve, site, root):
    """Where one device has two clients at once, its client ids stay its own."""
    running = serve([listener(site)], upstreams=[{"name": "broker", "servers": [broker.address], "username": "{cn}"}])
    root.register(running)
    return running


class Watcher:
    """All that the broker passes on, seen past Sallyport."""

    def __init__(self, port):
        self.sock, self.buffer = plain(port, timeout=30), bytearray()
        self.sock.sendall(connects.connect(client_id=b"watcher", flags=0x82, user=b"operator"))
        self.sock.sendall(packet.subscribe("devices/#", 2))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def until_the_will(self, name):
        """`TOPIC QOS PAYLOAD` of every message below the device's topics, and of any that was forged; in its order."""
        seen = []
        while True:
            while not (found := packet.take(self.buffer)):
                data = self.sock.recv(65536)
                assert data
                self.buffer += data
            kind, flags, body = found
            if kind == 6:  # PUBREL
                self.sock.sendall(packet.packet(7, body[:2]))
            if kind != packet.PUBLISH:
                continue
            topic, payload, packet_id = packet.published(flags, body)
            if flags >> 1 & 3:
                self.sock.sendall(packet.packet(4 if flags >> 1 & 3 == 1 else 5, packet_id.to_bytes(2, "big")))
            if flags & 1 or not (topic.startswith(f"devices/{name}/") or payload == b"forged"):
                continue  # retained, of an earlier run
            seen.append(f"{topic} {flags >> 1 & 3} {payload.decode()}")
            if topic == f"devices/{name}/will":
                return seen


def expected(name):
    own = f"devices/{name}"
    return [f"{own}/kept 1 kept", f"{own}/up 0 qos 0", f"{own}/up 1 qos 1", f"{own}/up 2 qos 2", f"{own}/last 2 last",
            f"{own}/will 1 gone"]


def both(broker, port, device, name, identity, shop):
    """Runs the device at the broker and then through Sallyport; what it got and what the broker got must be equal."""
    results = []
    for way in ((broker.port, "", None), (port, shop.identity.chain_file, identity)):
        with Watcher(broker.port) as watcher:
            got = device(*way)
            results.append((sorted(got), watcher.until_the_will(name)))
    direct, through = results
    assert through == direct
    assert through[1] == expected(name)
    assert f"devices/{name}/kept 1 1 kept" in through[0]


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("library", ["paho-python", "paho-c", "mqtt.js"])
def test_a_library_is_served_as_by_the_broker_itself(server, broker, root, shop, work, library, version):
    name = f"{library}-{version}"

    def device(port, ca, identity):
        return libraries.run(library, work, port, version, name, ca, identity)
    both(broker, server.port, device, name, root.issue(name), shop)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_mosquittos_own_clients(many_ids, broker, root, shop, version):
    name = f"mosquitto-{version}"

    def device(port, ca, identity):
        return libraries.run_mosquitto(port, version, name, ca, identity)
    both(broker, many_ids.port, device, name, root.issue(name), shop)
