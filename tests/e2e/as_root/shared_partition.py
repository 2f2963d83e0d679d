"""A network that is cut: PostgreSQL is in a network namespace, with a link of its own for each node."""

import itertools
import subprocess
import time

import pytest
from harness.device import admitted, refusal
from harness.edge import Edge, is_away
from harness.postgres import Postgres
from harness.wait import until

_numbers = itertools.count(1)


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=30)


class Far(Postgres):
    """In a namespace, at 10.77.NODE.2 for each node."""

    links = 3

    def __init__(self, folder):
        self.space = f"sallyport{next(_numbers)}"
        ip("netns", "add", self.space)
        ip("-n", self.space, "link", "set", "lo", "up")
        for link in range(self.links):
            ip("link", "add", f"sp{link}", "type", "veth", "peer", "name", "far", "netns", self.space)
            ip("-n", self.space, "link", "set", "far", "name", f"far{link}")
            ip("addr", "add", f"10.77.{link}.1/24", "dev", f"sp{link}")
            ip("-n", self.space, "addr", "add", f"10.77.{link}.2/24", "dev", f"far{link}")
            ip("link", "set", f"sp{link}", "up")
            ip("-n", self.space, "link", "set", f"far{link}", "up")
        self.host, self.launcher = "10.77.2.2", ("nsenter", f"--net=/run/netns/{self.space}", "setpriv", "--reuid=postgres",
                                                 "--regid=postgres", "--clear-groups")
        super().__init__(folder)

    @property
    def url(self):
        return super().url + "?sslmode=disable"

    def _configure(self):
        super()._configure()
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write("listen_addresses = '*'\n")
        with open(self.data / "pg_hba.conf", "a", encoding="utf-8") as file:
            file.write("host all all 10.77.0.0/16 trust\n")

    def _spawn(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*self.launcher, str(self.bin / "postgres"), "-D", str(self.data)], stdout=log,
                                            stderr=log, cwd=self.folder, start_new_session=True)

    def cut(self, link):
        ip("link", "set", f"sp{link}", "down")

    def heal(self, link):
        ip("link", "set", f"sp{link}", "up")

    def stop(self):
        super().stop()
        for link in range(self.links):
            subprocess.run(["ip", "link", "del", f"sp{link}"], check=False, timeout=30)
        subprocess.run(["ip", "netns", "del", self.space], check=False, timeout=30)


@pytest.fixture
def edge(work, broker, site):
    running = Edge(work / "net", broker, site, nodes=0, postgres=Far)
    try:
        for link in range(3):
            running.add(shared=f"postgresql://postgres@10.77.{link}.2:{running.postgres.port}/postgres?sslmode=disable")
        yield running
    finally:
        running.stop()


def test_a_node_behind_a_cut_network_is_healed(edge, root):
    """For half a minute; no end of a connection is told. What is restricted there with --local is everywhere afterwards,
    and what others revoked meanwhile is there."""
    first, second, third = edge.nodes
    root.register(first)
    edge.settled()
    here, there, late = edge.known(root, "here"), edge.known(root, "there"), root.issue("late")
    edge.postgres.cut(0)
    begun = time.monotonic()
    until("it is noticed", lambda: is_away(first))
    print(f"  noticed after {time.monotonic() - begun:.1f} s")
    assert "in force on this node" in first.cli("device", "revoke", here.id, "--local", "--yes").stderr
    done = second.cli("device", "revoke", there.id, "--yes", "--wait", "2s")
    assert "in force on 2 of 3 nodes, edge-0 last seen" in done.stderr
    with admitted(first.port, late), admitted(second.port, here):
        while time.monotonic() < begun + 30:
            assert refusal(first.port, here)
            time.sleep(0.5)
    edge.postgres.heal(0)
    begun = time.monotonic()
    for node in edge.nodes:
        for device in (here, there):
            until(f"{device.cn} is revoked", lambda n=node, d=device: n.json("device", "show", d.id)["status"] == "revoked")
            assert refusal(node.port, device)
    print(f"  everywhere {time.monotonic() - begun:.1f} s after it was healed")
    for node in edge.nodes:
        node.registered(late)
    done = third.cli("device", "revoke", late.id, "--yes", "--wait", "30s")
    assert "in force on 3 of 3 nodes" in done.stderr
